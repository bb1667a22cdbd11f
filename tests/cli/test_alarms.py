"""`bounced alarms`, and what a sync says at once."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from bounced.mailbox.demo_server import DemoServer, demo_server, fill
from bounced.model import Fault, Outcome, Reason, Returned, Verdict
from tests.cli.conftest import HARD, NASTY, NOW, reading, recorded
from tests.cli.test_parse import DSN
from tests.cli.test_sync import box, configure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bounced.model import Reading
    from tests.cli.conftest import Bounced

BLOCKED = Verdict(
    Outcome.BLOCKED, Reason.IP_BLOCKED, Fault.SENDER, 0.9, "test/blocked", "We are on a list."
)
LISTED = "554 5.7.1 client [192.0.2.7] blocked using zen.spamhaus.org"


@pytest.fixture
def server() -> Iterator[DemoServer]:
    with demo_server() as running:
        yield running


def sent_by(one: Reading, sender: str) -> Reading:
    report = replace(one.conclusion.report, returned=Returned(from_=sender))
    return replace(one, conclusion=replace(one.conclusion, report=report))


def test_refusals_are_grouped_counted_and_the_page_is_named(bounced: Bounced) -> None:
    dmarc = replace(BLOCKED, reason=Reason.AUTH_FAILURE)
    rejected = sent_by(reading(9, "x@example.net", "550 DMARC", dmarc), "News <news@example.org>")
    recorded(
        bounced.folder / "bounced.db",
        [
            reading(1, "a@gmail.com", LISTED, BLOCKED, NOW - timedelta(days=3)),
            reading(2, "b@gmail.com", LISTED, BLOCKED, NOW - timedelta(hours=1)),
            reading(3, "c@gmail.com", LISTED, BLOCKED, NOW - timedelta(days=40)),
            reading(4, "d@gmail.com", "550 no such user", HARD),
            rejected,
        ],
    )
    (bounced.folder / "config.toml").write_text("")
    result = bounced("alarms", "--json")
    assert result.exit_code == 1
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(r["who"], r["ours"], r["blocklist"], r["count"]) for r in rows] == [
        ("google", "192.0.2.7", "Spamhaus", 2),
        ("example.net", "example.org", None, 1),
    ]
    assert rows[0]["page"] == "https://check.spamhaus.org"
    shown = bounced("alarms").stdout
    assert "Google" in shown
    assert "\nSpamhaus: https://check.spamhaus.org\n" in shown
    assert (
        json.loads(bounced("alarms", "--since", "60d", "--json").stdout.splitlines()[0])["count"]
        == 3
    )
    assert bounced("suppressed").stdout == "d@gmail.com\n"


def test_old_refusals_are_shown_and_alarm_nobody(bounced: Bounced) -> None:
    old = NOW - timedelta(days=3)
    recorded(bounced.folder / "bounced.db", [reading(1, "a@gmail.com", NASTY, BLOCKED, old)])
    (bounced.folder / "config.toml").write_text("")
    result = bounced("alarms")
    assert result.exit_code == 0
    assert "\x1b" not in result.stdout
    assert bounced("alarms", "--since", "1d").stdout == "Nobody refuses us.\n"


def test_a_sync_says_at_once_that_our_login_is_refused(
    bounced: Bounced, server: DemoServer
) -> None:
    said = b"535 5.7.8 Error: authentication failed: authentication failure"
    letter = DSN
    for line in DSN.splitlines():
        if line.lower().startswith(b"diagnostic-code:"):
            letter = DSN.replace(line, b"Diagnostic-Code: smtp; " + said)
    letter = letter.replace(b"Status: 5.1.1", b"Status: 5.7.8")
    fill(server, [letter])
    configure(bounced.folder, box(server))
    for words in (("sync", "--plan"), ("sync",)):
        result = bounced(*words)
        assert result.exit_code == 1, result.output
        assert "our own SMTP login was refused, by 1 report:" in result.stderr
    told = json.loads(bounced("alarms", "--json").stdout)
    assert told["reason"] == "auth_failed"

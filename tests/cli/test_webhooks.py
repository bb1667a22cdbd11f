"""Webhooks from the command line: configured, told, killed in between, shown when they fail."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from bounced.model import Reason
from tests.cli.conftest import HARD, NOW, process, reading, recorded
from tests.test_webhooks import receiving

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Bounced

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NOTICE = b"""\
From: MAILER-DAEMON@example.net
To: bounces@example.com
Subject: Undelivered Mail Returned to Sender
Content-Type: multipart/report; report-type=delivery-status; boundary=b

--b

The mail could not be delivered.
--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.net

Final-Recipient: rfc822; ann@example.net
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 <ann@example.net>: Recipient address rejected: User unknown
--b--
"""


def configured(folder: Path, url: str, more: str = "") -> None:
    path = folder / "config.toml"
    path.write_text(
        f'[database]\nurl = "x.db"\n[[webhook]]\nname = "site"\nurl = "{url}"\n'
        f'secret = "{SECRET}"\n{more}'
    )
    path.chmod(0o600)
    (folder / "one.eml").write_bytes(NOTICE)


def test_what_a_sync_suppresses_is_told_and_then_forgotten(bounced: Bounced) -> None:
    with receiving(lambda _: 200) as receiver:
        configured(bounced.folder, receiver.url)
        assert bounced("ingest", "one.eml").exit_code == 0
        assert "site: 1 waiting" in bounced("webhooks", "list").output
        sent = bounced("webhooks", "send")
        assert (sent.exit_code, sent.output) == (0, "site: 1 taken.\n")
        assert bounced("webhooks", "list").output == "Nothing waits.\n"
        assert bounced("webhooks", "send").output == "site: 0 taken.\n"
    ((_, body),) = receiver.got
    told = json.loads(body)
    assert told["type"] == "address.suppressed"
    assert told["data"]["address"] == "ann@example.net"


@pytest.mark.parametrize("command", [("sync",), ("webhooks", "send")])
def test_a_suppression_that_has_ended_by_itself_is_told(
    bounced: Bounced, command: tuple[str, ...]
) -> None:
    disabled = replace(HARD, reason=Reason.MAILBOX_DISABLED)
    long_ago = NOW - timedelta(days=100)
    letters = [reading(1, "gone@example.com", "550 disabled", disabled, long_ago)]
    recorded(bounced.folder / "x.db", letters, at=long_ago)
    (bounced.folder / "box").mkdir()
    with receiving(lambda _: 200) as receiver:
        configured(bounced.folder, receiver.url, '[[mailbox]]\nname = "a"\npath = "box"\n')
        assert bounced(*command).exit_code == 0
        bounced("webhooks", "send")
    ((_, body),) = receiver.got
    told = json.loads(body)
    assert (told["type"], told["data"]["by"]) == ("address.released", "expiry")
    changes = bounced("explain", "gone@example.com", "--db", "x.db").output
    assert "hard-bounced (suppressed) -> hard-bounced, by expiry" in changes


def test_killed_between_commit_and_delivery_it_is_told_all_the_same(bounced: Bounced) -> None:
    with receiving(lambda _: 200) as receiver:
        configured(bounced.folder, receiver.url)
        killed = process(
            "ingest", "one.eml", cwd=bounced.folder, BOUNCED_FAILPOINT="committed:1:kill"
        )
        assert killed.wait(60) == -signal.SIGKILL
        assert bounced("webhooks", "send").output == "site: 1 taken.\n"
        assert bounced("ingest", "one.eml").exit_code == 0
        assert bounced("webhooks", "send").output == "site: 0 taken.\n"
    assert len(receiver.got) == 1


def test_killed_after_delivery_it_is_told_again_under_the_same_id(bounced: Bounced) -> None:
    with receiving(lambda _: 200) as receiver:
        configured(bounced.folder, receiver.url)
        bounced("ingest", "one.eml")
        killed = process("webhooks", "send", cwd=bounced.folder, BOUNCED_FAILPOINT="delivered")
        assert killed.wait(60) == -signal.SIGKILL
        bounced("webhooks", "retry")  # or wait for ten minutes, until the claim has run out
        assert bounced("webhooks", "send").output == "site: 1 taken.\n"
    first, second = (headers["webhook-id"] for headers, _ in receiver.got)
    assert first == second


def test_a_webhook_that_fails_keeps_its_notices_and_says_so(bounced: Bounced) -> None:
    with receiving(lambda count: 500 if count == 1 else 204) as receiver:
        configured(bounced.folder, receiver.url)
        bounced("ingest", "one.eml")
        failed = bounced("webhooks", "send")
        assert failed.exit_code == 75
        assert "site: 0 taken, 1 not (it answered 500); kept for later." in failed.output
        assert bounced("webhooks", "send").output == "site: 0 taken.\n", "it is left alone"
        assert "last trouble: it answered 500" in bounced("status").output
        assert bounced("webhooks", "retry").exit_code == 0
        assert bounced("webhooks", "send").output == "site: 1 taken.\n"
    assert len(receiver.got) == 2


def test_what_was_given_up_is_shown_and_needs_a_person(bounced: Bounced) -> None:
    with receiving(lambda _: 400) as receiver:
        configured(bounced.folder, receiver.url, 'give_up = "1s"\n')
        bounced("ingest", "one.eml")
        time.sleep(1.1)
        assert "1 of them given up" in bounced("webhooks", "send").output
    shown = bounced("status")
    assert shown.exit_code == 1
    assert "webhook site: 0 waiting, 1 given up" in shown.output
    assert "bounced webhooks retry" in shown.output


def test_a_running_program_tells_by_itself(bounced: Bounced) -> None:
    with receiving(lambda _: 200) as receiver:
        spool = bounced.folder / "spool"
        spool.mkdir()
        (spool / "one.eml").write_bytes(NOTICE)
        os.utime(spool / "one.eml", (1, 1))  # nobody is writing it any more
        configured(bounced.folder, receiver.url, '[[mailbox]]\nname = "m"\npath = "spool"\n')
        code = (
            "import bounced.cli.run as run; run.WEBHOOKS_EVERY = 0.3;"
            "from bounced.cli import main; main()"
        )
        running = process("run", cwd=bounced.folder, code=code)
        end = time.monotonic() + 30
        while not receiver.got and time.monotonic() < end:
            time.sleep(0.1)
        running.terminate()
        _, log = running.communicate(timeout=30)
    assert [json.loads(body)["type"] for _, body in receiver.got] == ["address.suppressed"]
    assert SECRET not in log


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('url = "http://www.example.com/"\nsecret = "0123456789abcdef"', "only https://"),
        ('url = "https://example.com/"', "secret: missing"),
        (
            'url = "https://example.com/"\nsecret = "0123456789abcdef"\nevents = ["address.lost"]',
            '"address.suppressed"',
        ),
    ],
)
def test_a_webhook_that_cannot_be_is_refused_with_its_place(
    bounced: Bounced, line: str, told: str
) -> None:
    (bounced.folder / "config.toml").write_text(f'[[webhook]]\nname = "site"\n{line}\n')
    refused = bounced("webhooks", "send")
    assert refused.exit_code == 2
    assert "webhook[0]." in refused.output
    assert told in refused.output


def test_a_secret_that_is_too_short_is_refused_without_being_shown(bounced: Bounced) -> None:
    configured(bounced.folder, "https://example.com/")
    path = bounced.folder / "config.toml"
    path.write_text(path.read_text().replace(SECRET, "abc123"))
    refused = bounced("webhooks", "send")
    assert refused.exit_code == 2
    assert "webhook site: a webhook's secret is too short" in refused.output
    assert "abc123" not in refused.output


def test_where_there_is_no_webhook_that_is_said(bounced: Bounced) -> None:
    (bounced.folder / "config.toml").write_text('[database]\nurl = "x.db"\n')
    said = bounced("webhooks", "send")
    assert said.exit_code == 2
    assert "There is no [[webhook]]" in said.output

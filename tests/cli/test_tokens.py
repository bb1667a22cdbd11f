"""Tokens made here are known here; the log of what was sent is read; what is unverified is shown."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from bounced.trust import Key, make, make_link
from tests.cli.conftest import HARD, reading
from tests.cli.test_webhooks import NOTICE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Bounced


@pytest.fixture
def config(bounced: Bounced, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BOUNCED_TOKEN_KEY", "sixteen letters or some more")
    path = bounced.folder / "config.toml"
    path.write_text('[[token_key]]\nid = "a"\nsecret_env = "BOUNCED_TOKEN_KEY"\n')
    return path


def test_a_token_that_is_made_is_verified_for_its_recipient_only(
    bounced: Bounced, config: Path
) -> None:
    words = ("--id", "news", "--domain", "bounces.example.com")
    address = bounced("token", "make", "ann@example.com", *words).output.strip()
    assert address.startswith("b+a")
    assert address.endswith("@bounces.example.com")
    good = bounced("token", "verify", address, "Ann@Example.com")
    assert (good.exit_code, good.output) == (0, "Verified: key a, id news.\n")
    bad = bounced("token", "verify", address, "bob@example.com")
    assert bad.exit_code == 1
    assert bad.output.startswith("Not verified")
    assert bounced("token", "verify", "ann@example.com", "ann@example.com").exit_code == 1


def test_a_new_key_makes_tokens_and_the_old_one_still_verifies(
    bounced: Bounced, config: Path
) -> None:
    old = bounced("token", "make", "ann@example.com").output.strip()
    text = '[[token_key]]\nid = "b"\nsecret = "another sixteen letters"\n' + config.read_text()
    config.write_text(text)
    assert bounced("token", "make", "ann@example.com").output.startswith("b")
    assert bounced("token", "verify", old, "ann@example.com").exit_code == 0
    config.write_text(text.partition('[[token_key]]\nid = "a"')[0])
    gone = bounced("token", "verify", old, "ann@example.com")
    assert gone.exit_code == 1
    assert "there is no key a" in gone.output


def test_without_a_key_there_are_no_tokens(bounced: Bounced) -> None:
    (bounced.folder / "config.toml").write_text("")
    refused = bounced("token", "make", "ann@example.com")
    assert refused.exit_code == 2
    assert "[[token_key]]" in refused.stderr


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[[token_key]]\nid = "a"\n', "token_key[0].secret: missing"),
        ('[policy]\ntrust = "verified"\n', 'policy.trust: "verified" needs a [[token_key]]'),
        ('[policy]\ntrust = "verifed"\n', "did you mean verified?"),
        ('token_key = "x"\n', "expected [[token_key]] tables"),
        ('[[token_key]]\nid = "a"\nsecret = "hush"\n', "too short"),
    ],
)
def test_a_slip_in_the_keys_is_told_and_no_secret_is(
    bounced: Bounced, text: str, told: str
) -> None:
    (bounced.folder / "config.toml").write_text(text)
    refused = bounced("token", "make", "ann@example.com")
    assert refused.exit_code == 2
    assert told in refused.stderr
    assert "hush" not in refused.output


def test_the_log_of_what_was_sent_is_read_once_and_bad_lines_are_told(bounced: Bounced) -> None:
    (bounced.folder / "sent.csv").write_text(
        "Email;Message-ID\nann@example.com;<1@example.com>\n;<2@example.com>\n"
    )
    words = ("sent", "import", "sent.csv", "--db", "x.db")
    first = bounced(*words)
    assert first.stdout == "1 message read, 1 new, 1 line not usable.\n"
    assert first.exit_code == 1
    assert "line 3" in first.stderr
    assert bounced(*words).stdout.startswith("1 message read, 0 new")
    assert bounced("sent", "purge", "--before", "60d", "--db", "x.db").output.startswith("0 ")
    assert bounced("sent", "purge", "--before", "2099-01-01", "--db", "x.db").output == (
        "1 entry forgotten.\n"
    )
    (bounced.folder / "sent.csv").write_text("email\nann@example.com\n")
    assert bounced(*words).exit_code == 2


def test_an_unverified_event_is_shown_as_such(bounced: Bounced, config: Path) -> None:
    from bounced.cli.settings import open_ledger
    from bounced.config import load
    from tests.cli.conftest import NOW

    config.write_text(config.read_text() + '[policy]\ntrust = "verified"\n')
    with open_ledger(load(config)) as ledger:
        visit = ledger.begin("news", owner="test", at=NOW)
        assert visit is not None
        ledger.select(visit, 1)
        ledger.record(visit, [reading(1, "ann@example.com", "no", HARD)], at=NOW)
        ledger.end(visit, at=NOW)
    told = bounced("explain", "ann@example.com").output
    assert "ann@example.com: active, may be mailed" in told
    assert "(unverified, does not count: claimed)" in told
    (event,) = json.loads(bounced("explain", "ann@example.com", "--json").output)["events"]
    assert (event["trust"], event["trusted"]) == ("claimed", False)
    assert bounced("suppressed").output == ""


def test_a_link_for_a_subscriber_is_made_and_taken_once(bounced: Bounced, config: Path) -> None:
    url = bounced("suppressed", "import", "-", "--from", "txt", stdin="ann@example.com\n")
    assert url.exit_code == 0, url.output
    made = bounced(
        "token", "reactivation", "ann@example.com", "--url", "https://www.example.com/back"
    )
    assert made.output.startswith("https://www.example.com/back?token=a.")
    token = made.output.strip().partition("token=")[2]
    assert "ann" not in token
    done = bounced("reactivate", token)
    assert (done.exit_code, done.output) == (0, "ann@example.com may be mailed again.\n")
    again = bounced("reactivate", "-", "--json", stdin=token + "\n")
    assert json.loads(again.output) == {
        "outcome": "not suppressed", "address": "ann@example.com", "may_be_mailed": True,
    }  # fmt: skip
    assert bounced("suppressed").output == ""


def test_a_forged_or_expired_link_changes_nothing(bounced: Bounced, config: Path) -> None:
    bounced("suppressed", "import", "-", "--from", "txt", stdin="ann@example.com\n")
    token = bounced("token", "reactivation", "ann@example.com", "--valid", "1").output.strip()
    forged = bounced("reactivate", token[:-1] + ("A" if token[-1] != "A" else "Q"))
    assert (forged.exit_code, forged.output) == (1, "This link was not made here.\n")

    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    old = make_link(
        Key("a", b"sixteen letters or some more"), "ann@example.com", at=long_ago, until=long_ago
    )
    expired = bounced("reactivate", old)
    assert (expired.exit_code, expired.output) == (1, "This link has run out.\n")
    assert bounced("suppressed").output == "ann@example.com\n"


def test_with_a_key_and_nothing_else_forged_and_replayed_bounces_suppress_nobody(
    bounced: Bounced, config: Path
) -> None:
    key = Key("a", b"sixteen letters or some more")
    today = datetime.now(UTC).date()

    def letter(token: str) -> bytes:
        arrived = f"Delivered-To: b+{token}@bounces.example.com\n".encode()
        return (arrived if token else b"") + NOTICE + f"\n{token}".encode()

    def ingested(token: str) -> str:
        (bounced.folder / "one.eml").write_bytes(letter(token))
        assert bounced("ingest", "one.eml").exit_code == 0
        return bounced("suppressed").output

    old = make(key, "ann@example.net", on=today - timedelta(days=31), id="x")
    others = make(key, "bob@example.net", on=today, id="x")
    assert [ingested(token) for token in ("", old, others)] == ["", "", ""]
    assert ingested(make(key, "ann@example.net", on=today, id="x")) == "ann@example.net\n"

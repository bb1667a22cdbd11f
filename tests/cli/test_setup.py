"""A configuration to start from, and a doctor who says what is wrong with it."""

from __future__ import annotations

import stat
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from bounced import config
from bounced.mailbox import MailboxCredentials
from bounced.mailbox.demo_server import demo_server, fill
from tests.cli.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Bounced


def test_init_writes_the_example_for_its_owner_alone(bounced: Bounced) -> None:
    result = bounced("init")
    path = bounced.folder / "config.toml"
    assert result.exit_code == 0
    assert path.read_text("utf-8") == (ROOT / "config.example.toml").read_text("utf-8")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "bounced doctor --config config.toml" in result.output
    assert config.load(path).mailboxes


def test_init_never_overwrites(bounced: Bounced) -> None:
    path = bounced.folder / "mine.toml"
    path.write_text("mine")
    result = bounced("init", "mine.toml")
    assert result.exit_code == 2
    assert path.read_text() == "mine"
    assert "mv mine.toml mine.toml.old" in result.stderr


def test_init_takes_a_folder(bounced: Bounced) -> None:
    (bounced.folder / "etc").mkdir()
    assert bounced("init", "etc").exit_code == 0
    assert (bounced.folder / "etc/config.toml").exists()


def test_init_into_nowhere_is_told(bounced: Bounced) -> None:
    result = bounced("init", "no/such/config.toml")
    assert result.exit_code == 2
    assert "no/such/config.toml: No such file or directory." in result.stderr


def verdicts(output: str) -> dict[str, str]:
    """`ok` or `WRONG` by the first word of what was looked at."""
    lines = [line.split() for line in output.splitlines() if line[:2] in ("ok", "WR")]
    return {words[1].rstrip(":"): words[0] for words in lines}


def write(folder: Path, host: str, port: int, **keys: str) -> None:
    table = {"name": '"news"', "host": f'"{host}"', "port": str(port), "user": '"demo"'}
    table |= {"tls": '"none"', "password": '"not it"'} | keys
    text = "[[mailbox]]\n" + "".join(f"{key} = {value}\n" for key, value in table.items())
    path = folder / "config.toml"
    path.write_text(text)
    path.chmod(0o600)


def test_doctor_finds_everything_well(bounced: Bounced) -> None:
    with demo_server() as server:
        fill(server, [b"Subject: hello\r\n\r\nhello\r\n"])
        write(bounced.folder, server.host, server.port, password=f'"{server.password}"')
        result = bounced("doctor")
    assert result.exit_code == 0, result.output
    assert set(verdicts(result.output).values()) == {"ok"}
    assert "1 letter waiting in INBOX" in result.output
    assert server.password not in result.output


def test_doctor_says_that_the_password_is_wrong_and_exits_2(bounced: Bounced) -> None:
    with demo_server() as server:
        write(bounced.folder, server.host, server.port)
        result = bounced("doctor")
    assert result.exit_code == 2
    assert verdicts(result.output) == {
        "configuration": "ok",
        "rules": "ok",
        "database": "ok",
        "mailbox": "WRONG",
    }
    assert MailboxCredentials.safe in result.output
    assert "not it" not in result.output


def test_doctor_says_that_the_server_is_away_and_exits_75(bounced: Bounced) -> None:
    with demo_server() as server:
        pass
    write(bounced.folder, server.host, server.port)
    result = bounced("doctor")
    assert result.exit_code == 75
    assert verdicts(result.output)["mailbox"] == "WRONG"


def test_doctor_tells_all_errors_of_the_configuration(bounced: Bounced) -> None:
    write(bounced.folder, "h", 99999, tlss='"none"')
    result = bounced("doctor")
    assert result.exit_code == 2
    assert "mailbox[0].port: expected a port number from 1 to 65535, got 99999" in result.output
    assert "mailbox[0].tlss: unknown key; did you mean tls?" in result.output


def test_doctor_looks_at_the_operators_rules(bounced: Bounced) -> None:
    (bounced.folder / "own.toml").write_text("[[rule]]\nid = 'own/x'\nsay = ['x']\n")
    (bounced.folder / "config.toml").write_text('rules = ["own.toml"]\n')
    result = bounced("doctor")
    assert result.exit_code == 2
    assert verdicts(result.output)["rules"] == "WRONG"
    assert "own.toml" in result.output


def test_doctor_says_who_else_may_read_a_password(bounced: Bounced) -> None:
    write(bounced.folder, "localhost", 1)
    (bounced.folder / "config.toml").chmod(0o644)
    output = bounced("doctor").output
    assert verdicts(output)["file"] == "WRONG"
    assert "chmod 600" in output


def test_doctor_says_that_a_database_is_of_a_later_version(bounced: Bounced) -> None:
    import sqlite3

    from bounced.ledger import Ledger

    Ledger.open(f"sqlite:///{bounced.folder}/bounced.db").close()
    with closing(sqlite3.connect(bounced.folder / "bounced.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    (bounced.folder / "config.toml").write_text("")
    result = bounced("doctor")
    assert result.exit_code == 2
    assert verdicts(result.output)["database"] == "WRONG"
    assert "later version" in result.output


@pytest.mark.parametrize("command", ["doctor", "sync", "run", "suppressed"])
def test_a_configuration_that_is_not_there_exits_2(bounced: Bounced, command: str) -> None:
    result = bounced(command, "--config", "nowhere.toml")
    assert result.exit_code == 2
    assert "nowhere.toml: cannot be read: No such file or directory" in result.output


def test_the_doctor_looks_for_the_secrets_of_webhooks_and_for_the_pepper(bounced: Bounced) -> None:
    path = bounced.folder / "config.toml"
    hook = '[[webhook]]\nname = "site"\nurl = "https://www.example.com/"\nsecret_env = "NO_SUCH"\n'
    path.write_text(f'{hook}[privacy]\npepper_file = "nowhere"\n')
    told = bounced("doctor").output
    assert "WRONG  webhook site" in told
    assert "the environment has no variable NO_SUCH" in told
    assert "WRONG  privacy" in told
    assert "pepper_file: cannot read" in told


def test_the_doctor_says_that_with_a_key_only_proof_counts(bounced: Bounced) -> None:
    path = bounced.folder / "config.toml"
    path.write_text('[[token_key]]\nid = "a"\nsecret = "sixteen letters or some more"\n')
    path.chmod(0o600)
    assert "trust: only reports that carry a token of yours count" in bounced("doctor").output


def test_the_doctor_says_when_reports_name_lists_that_nobody_has_named(bounced: Bounced) -> None:
    config = bounced.folder / "config.toml"
    letter = COMPLAINT.replace(b"LIST", b"news.lists.example.com")
    (bounced.folder / "one.eml").write_bytes(letter)
    plain = '[database]\nurl = "x.db"\n[policy]\nscope = "list"\n'
    config.write_text(plain)
    assert bounced("ingest", "one.eml").exit_code == 0
    told = bounced("doctor").stdout
    assert "lists that nobody has named: news.lists.example.com" in told
    asked = bounced("suppressed", "--list", "news")
    assert asked.exit_code == 2
    assert "there is no list news" in asked.stderr
    config.write_text(f'{plain}[policy.lists."news"]\nlist_ids = ["news.lists.example.com"]\n')
    assert bounced("reclassify", "--apply").exit_code == 0
    assert "ok     lists: 1 named, and reports speak of no others" in bounced("doctor").stdout
    assert bounced("suppressed", "--list", "news").stdout == "ann@example.net\n"


COMPLAINT = b"""\
From: fbl@example.org
To: bounces@example.com
Subject: complaint
Message-ID: <1@example.org>
Content-Type: multipart/report; report-type=feedback-report; boundary=b

--b

A complaint.
--b
Content-Type: message/feedback-report

Feedback-Type: abuse
User-Agent: example/1
Version: 1
Original-Rcpt-To: ann@example.net

--b
Content-Type: message/rfc822

From: news@example.com
To: ann@example.net
List-Id: <LIST>
Message-ID: <2@example.com>
Subject: The news

Hello.
--b--
"""

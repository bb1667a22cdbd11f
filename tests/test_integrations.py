"""The recipes of docs/integrations.md, done as they are written there, as far as a test can."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from datetime import UTC, datetime
from email import message_from_bytes
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import create_engine, make_url, text

from bounced import message
from bounced.decode import decode
from bounced.ledger import Ledger
from bounced.model import Destination, Reading
from bounced.rules import judge
from bounced.trust import Key
from tests.servers import database

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = Path(__file__).parents[1] / "docs"
NOW = datetime.now(UTC)
SECRET = b"sixteen bytes or some more of them"


def recipe(heading: str, language: str, page: str = "integrations.md") -> list[str]:
    """The code under a heading, in order."""
    told = (DOCS / page).read_text("utf-8")
    (section,) = re.findall(
        rf"^## {re.escape(heading)}$(.*?)(?=^## |\Z)", told, re.MULTILINE | re.DOTALL
    )
    return re.findall(rf"^```{language}\n(.*?)^```", section, re.MULTILINE | re.DOTALL)


def report(recipient: str, sender: str = "bounces@example.com") -> bytes:
    """What a mail server sends back for somebody whom nobody knows."""
    lines = f"""From: MAILER-DAEMON@mx.example.net
To: {sender}
Subject: Undelivered Mail
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="b"

--b
Content-Type: text/plain

The mail could not be delivered.
--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.net

Final-Recipient: rfc822; {recipient}
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 <{recipient}>: Recipient address rejected: User unknown
--b
Content-Type: text/rfc822-headers

Return-Path: <{sender}>
To: {recipient}
Subject: News
--b--
"""
    return lines.replace("\n", "\r\n").encode()


def bounced(url: str, *raws: bytes, **more: Any) -> None:
    """As a sync would record them."""
    with Ledger.open(url, migrate=True, **more) as ledger:
        visit = ledger.begin("bounces", owner="here:1", at=NOW)
        assert visit is not None
        ledger.select(visit, 1)
        readings = [
            Reading(
                n,
                NOW,
                sha256(raw).hexdigest(),
                sha256(raw).hexdigest(),
                judge(decode(message.read(raw))),
                Destination.PROCESSED,
            )
            for n, raw in enumerate(raws, 1)
        ]
        ledger.record(visit, readings, at=NOW)
        ledger.end(visit, at=NOW)


def done(url: str, *statements: str) -> list[tuple[Any, ...]]:
    """What the last of some statements returns."""
    engine = create_engine(database.driver(url))
    try:
        with engine.begin() as connection:
            for one in statements:
                for part in filter(str.strip, one.split(";\n")):
                    found = connection.execute(text(part))
            return [tuple(row) for row in found] if found.returns_rows else []
    finally:
        engine.dispose()


READERS = """CREATE TABLE reader (email varchar(200), active int);
INSERT INTO reader VALUES ('Ann@Example.org', 1), ('bob@example.org', 1), ('cat@example.org', 0)"""


def test_plain_sql_finds_marks_and_lets_go(url: str) -> None:
    bounced(url, report("ann@example.org"), report("dan@example.org"))
    select, mark = recipe("Plain SQL", "sql")
    done(url, READERS)
    assert sorted(done(url, select)) == [("bob@example.org",), ("cat@example.org",)]
    done(url, mark)
    every = "SELECT email, active FROM reader ORDER BY lower(email)"
    assert done(url, every) == [
        ("Ann@Example.org", 0),
        ("bob@example.org", 1),
        ("cat@example.org", 1),
    ]


@pytest.fixture
def beside(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """Somebody's database on a server, and the ledger beside it, called `bounced`."""
    kind = request.param
    with database.empty(kind, tmp_path) as theirs:
        made = make_url(theirs)
        if kind == "mariadb":
            name = f"{made.database}_bounced"
            own = made.set(database=name)
        else:
            name = f"{made.query['options']}_bounced".removeprefix("-csearch_path=")
            own = made.update_query_dict({"options": f"-csearch_path={name}"})
        kind_of = "DATABASE" if kind == "mariadb" else "SCHEMA"
        done(theirs, f"CREATE {kind_of} {name}")
        try:
            yield theirs, own.render_as_string(hide_password=False)
        finally:
            cascade = "" if kind == "mariadb" else " CASCADE"
            done(theirs, f"DROP {kind_of} {name}{cascade}")


def named(statement: str, ledger: str) -> str:
    """The recipe's words with the name that the ledger has in this test."""
    made = make_url(ledger)
    name = made.database if made.drivername == "mariadb" else str(made.query["options"])[14:]
    return statement.replace("bounced.suppression", f"{name}.suppression")


@pytest.mark.parametrize("beside", ["postgresql"], indirect=True)
def test_listmonks_subscribers_are_blocklisted(beside: tuple[str, str]) -> None:
    theirs, ledger = beside
    bounced(ledger, report("ann@example.org"))
    done(
        theirs,
        "CREATE TYPE subscriber_status AS ENUM ('enabled', 'disabled', 'blocklisted')",
        "CREATE TABLE subscribers (id serial, email text UNIQUE, updated_at timestamptz,"
        " status subscriber_status NOT NULL DEFAULT 'enabled')",
        "INSERT INTO subscribers (email) VALUES ('Ann@example.org'), ('bob@example.org')",
    )
    (statement,) = recipe("listmonk", "sql")
    for _ in range(2):  # done again it changes nothing
        done(theirs, named(statement, ledger))
    found = done(theirs, "SELECT email, status::text FROM subscribers ORDER BY id")
    assert found == [("Ann@example.org", "blocklisted"), ("bob@example.org", "enabled")]


@pytest.mark.parametrize("beside", ["mariadb"], indirect=True)
def test_phplists_subscribers_are_blacklisted(beside: tuple[str, str]) -> None:
    theirs, ledger = beside
    bounced(ledger, report("ann@example.org"))
    done(
        theirs,
        "CREATE TABLE phplist_user_user (id int, email varchar(255), blacklisted tinyint DEFAULT 0)",
        "CREATE TABLE phplist_user_blacklist (email varchar(255) UNIQUE, added datetime)",
        "CREATE TABLE phplist_user_blacklist_data"
        " (email varchar(150) UNIQUE, name varchar(25) NOT NULL, data text)",
        "INSERT INTO phplist_user_user (id, email) VALUES (1, 'Ann@example.org'), (2, 'bob@x.org')",
    )
    (statements,) = recipe("phpList", "sql")
    for _ in range(2):
        done(theirs, named(statements, ledger))
    assert done(theirs, "SELECT id, blacklisted FROM phplist_user_user ORDER BY id") == [
        (1, 1),
        (2, 0),
    ]
    assert done(theirs, "SELECT email FROM phplist_user_blacklist") == [("Ann@example.org",)]
    ((name, data),) = done(theirs, "SELECT name, data FROM phplist_user_blacklist_data")
    assert name == "reason"
    assert data


@pytest.mark.parametrize("beside", ["mariadb"], indirect=True)
def test_mautics_contacts_are_not_contacted_until_they_are_let_go(beside: tuple[str, str]) -> None:
    theirs, ledger = beside
    bounced(ledger, report("ann@example.org"), report("cat@example.org"))
    done(
        theirs,
        "CREATE TABLE leads (id int PRIMARY KEY, email varchar(191))",
        "CREATE TABLE lead_donotcontact (id int AUTO_INCREMENT PRIMARY KEY, lead_id int,"
        " date_added datetime NOT NULL, reason smallint NOT NULL, channel varchar(191) NOT NULL,"
        " channel_id int, comments longtext)",
        "INSERT INTO leads VALUES (1, 'Ann@example.org'), (2, 'bob@x.org'), (3, 'cat@example.org')",
        "INSERT INTO lead_donotcontact (lead_id, date_added, reason, channel)"
        " VALUES (3, now(), 1, 'email')",
    )
    mark, let_go = (named(one, ledger) for one in recipe("Mautic", "sql"))
    for _ in range(2):
        done(theirs, mark)
    every = "SELECT lead_id, reason FROM lead_donotcontact ORDER BY lead_id"
    assert done(theirs, every) == [(1, 2), (3, 1)]
    with Ledger.open(ledger) as opened:
        opened.release(["ann@example.org", "cat@example.org"], by="eve", note="", at=NOW)
    done(theirs, let_go)
    assert done(theirs, every) == [(3, 1)], "who signed off stays so"


SETTINGS = """
SECRET_KEY = "not one"
INSTALLED_APPS = ["news"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
EMAIL_HOST = "127.0.0.1"
"""
SEND = """
import json, sys
import django
from django.conf import settings
django.setup()
settings.EMAIL_PORT = int(sys.argv[1])
from news.letters import send_issue
readers = ["ann@example.org", "Bob@example.org"]
print(json.dumps(send_issue("News", "Nothing much.", readers, sys.argv[2].encode())))
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A Django project made of the pages' words."""
    letters, models, settings = recipe("Django", "python")
    (tokens,) = [
        one for one in recipe("Is it ours?", "python", "policy.md") if "def envelope_sender" in one
    ]
    folder = tmp_path / "site"
    (folder / "news").mkdir(parents=True)
    url = f"sqlite:///{tmp_path / 'bounced.db'}"
    Ledger.open(url).close()
    database_of = settings.replace("/var/lib/bounced/bounced.db", str(tmp_path / "bounced.db"))
    for name, words in {
        "news/__init__.py": "",
        "news/letters.py": letters,
        "news/models.py": models,
        "news/tokens.py": tokens,
        "settings.py": SETTINGS + database_of,
        "send.py": SEND,
    }.items():
        (folder / name).write_text(words, "utf-8")
    return folder


def sent(project: Path) -> list[tuple[str, str, str]]:
    """One issue: (envelope sender, recipient, From) of each letter that was sent."""
    from aiosmtpd.controller import Controller

    class Sink:
        def __init__(self) -> None:
            self.letters: list[tuple[str, str, str]] = []

        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
            told = message_from_bytes(envelope.content)
            for recipient in envelope.rcpt_tos:
                self.letters.append((envelope.mail_from, recipient, str(told["From"])))
            return "250 OK"

    sink = Sink()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    listening = Controller(sink, hostname="127.0.0.1", port=port)
    listening.start()
    try:
        words = [sys.executable, "send.py", str(port), SECRET.decode()]
        environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "settings"}
        run = subprocess.run(
            words, cwd=project, env=environment, capture_output=True, text=True, check=False
        )
    finally:
        listening.stop()
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == len(sink.letters)
    return sink.letters


def test_a_django_site_sends_with_tokens_and_spares_who_bounced(
    project: Path, tmp_path: Path
) -> None:
    pytest.importorskip("django")
    pytest.importorskip("aiosmtpd")
    first = sent(project)
    assert [recipient for _, recipient, _ in first] == ["ann@example.org", "Bob@example.org"]
    assert {shown for _, _, shown in first} == {"The News <news@example.com>"}
    envelope = {recipient: sender for sender, recipient, _ in first}
    url = f"sqlite:///{tmp_path / 'bounced.db'}"
    # one bounce with the token that was given to Bob, one that carries Ann's name without any
    genuine = report("Bob@example.org", envelope["Bob@example.org"])
    bounced(url, genuine, report("ann@example.org"), keys=lambda: [Key("a", SECRET)])
    with Ledger.open(url) as ledger:
        assert [one.trust for one in ledger.explain("Bob@example.org").events] == ["verified"]
        assert [one.trust for one in ledger.explain("ann@example.org").events] == ["claimed"]
        ledger.release(["ann@example.org"], by="eve", note="forged", at=NOW)
    assert [recipient for _, recipient, _ in sent(project)] == ["ann@example.org"]

"""`bounced parse`: one documented object a letter, whatever the letter."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from bounced.model import Kind
from tests.cli.conftest import process

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Bounced

DSN = b"""\
From: MAILER-DAEMON@mx.example.net
To: bounces@example.org
Message-ID: <1@mx.example.net>
Subject: Undelivered Mail
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="b"

--b
Content-Type: text/plain

It did not arrive.
--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.net

Final-Recipient: rfc822; gone@example.com
Original-Recipient: rfc822; Gone.Reader@example.org
Action: failed
Status: 5.1.1
Remote-MTA: dns; in.example.com
Diagnostic-Code: smtp; 550 5.1.1 <gone@example.com>: User unknown

--b
Content-Type: text/rfc822-headers

From: News <news@example.org>
To: gone@example.com
Subject: Hello
Message-ID: <2@example.org>
List-Id: <news.example.org>

--b--
"""
KEYS = {
    "source",
    "kind",
    "format",
    "message_id",
    "reporting_mta",
    "returned",
    "problems",
    "recipients",
}
RECIPIENT_KEYS = {
    "address",
    "original_address",
    "action",
    "status",
    "reply_code",
    "diagnostic",
    "remote_mta",
    "outcome",
    "reason",
    "fault",
    "confidence",
    "rule",
    "because",
}


def told(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


def test_a_report_becomes_the_documented_object(bounced: Bounced) -> None:
    (bounced.folder / "a.eml").write_bytes(DSN)
    result = bounced("parse", "--json", "a.eml")
    assert result.exit_code == 0
    (letter,) = told(result.output)
    (recipient,) = letter.pop("recipients")
    assert letter == {
        "source": "a.eml",
        "kind": "bounce",
        "format": letter["format"],
        "message_id": "<1@mx.example.net>",
        "reporting_mta": "mx.example.net",
        "returned": {
            "message_id": "<2@example.org>",
            "subject": "Hello",
            "list_id": letter["returned"]["list_id"],
            "from": letter["returned"]["from"],
            "to": "gone@example.com",
        },
        "problems": [],
    }
    assert recipient.keys() == RECIPIENT_KEYS
    assert recipient["address"] == "gone@example.com"
    assert recipient["original_address"] == "Gone.Reader@example.org"
    assert (recipient["action"], recipient["status"], recipient["reply_code"]) == (
        "failed",
        "5.1.1",
        550,
    )
    assert (recipient["outcome"], recipient["reason"], recipient["fault"]) == (
        "hard",
        "user_unknown",
        "recipient",
    )
    assert recipient["because"]
    assert recipient["rule"]


@pytest.mark.parametrize(
    "raw",
    [
        b"\x00",
        b"hello",
        b"Subject: =?x?q?=ff?=\n\n",
        b"\xff" * 500,
        DSN[:300],
        DSN.replace(b"b", b"\0"),
    ],
)
def test_every_key_is_there_whatever_the_letter(bounced: Bounced, raw: bytes) -> None:
    (bounced.folder / "a.eml").write_bytes(raw)
    (letter,) = told(bounced("parse", "--json", "a.eml").output)
    assert letter.keys() == KEYS
    assert set(letter["returned"]) == {"message_id", "subject", "list_id", "from", "to"}
    assert letter["kind"] in {kind.value for kind in Kind}


def test_all_forms_of_storage_are_read_in_one_go(bounced: Bounced) -> None:
    folder = bounced.folder
    (folder / "box.mbox").write_bytes(2 * (b"From x Mon Nov 23 10:00:00 2026\n" + DSN + b"\n"))
    for part in ("new", "cur", "tmp"):
        (folder / "maildir" / part).mkdir(parents=True)
    (folder / "maildir/new/1.host").write_bytes(DSN)
    (folder / "many").mkdir()
    (folder / "many/x.eml").write_bytes(DSN)
    words = ("parse", "--json", "box.mbox", "maildir", "many", "-")
    letters = told(bounced(*words, stdin=DSN).output)
    assert [letter["source"] for letter in letters] == [
        "box.mbox#1",
        "box.mbox#2",
        "maildir/new/1.host",
        "many/x.eml",
        "-",
    ]
    assert {letter["kind"] for letter in letters} == {"bounce"}


def test_a_bad_file_is_a_line_and_never_the_end(bounced: Bounced) -> None:
    (bounced.folder / "a.eml").write_bytes(DSN)
    (bounced.folder / "folder.eml").mkdir()
    result = bounced("parse", "--json", "nowhere.eml", "a.eml")
    assert result.exit_code == 1
    missing, read = told(result.output)
    assert missing["kind"] == "other"
    assert missing["problems"] == ["cannot be read: No such file or directory"]
    assert missing.keys() == KEYS
    assert read["kind"] == "bounce"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_told(bounced: Bounced) -> None:
    (bounced.folder / "a.eml").write_bytes(DSN)
    (bounced.folder / "a.eml").chmod(0)
    result = bounced("parse", "--json", "a.eml")
    assert result.exit_code == 1
    assert told(result.output)[0]["problems"] == ["cannot be read: Permission denied"]


def test_json_keeps_every_character_and_shows_none_that_steers(bounced: Bounced) -> None:
    said = "User unknown \x1b[31m 用户不存在 \u202e"
    raw = DSN.replace(b"User unknown", said.encode())
    (bounced.folder / "a.eml").write_bytes(raw)
    output = bounced("parse", "--json", "a.eml").output
    assert "\x1b" not in output
    assert "\u202e" not in output
    assert "\\u001b[31m" in output
    assert "用户不存在" in output, "UTF-8, not escapes"
    assert "\x1b" not in bounced("parse", "a.eml").output


def test_text_tells_who_what_and_why(bounced: Bounced) -> None:
    (bounced.folder / "a.eml").write_bytes(DSN)
    first, second, because, said = bounced("parse", "a.eml").output.splitlines()
    assert first.startswith("a.eml: bounce [")
    assert second.startswith("  gone@example.com  hard  user_unknown")
    assert because.strip().endswith(".")
    assert said == "    said: 550 5.1.1 <gone@example.com>: User unknown"


def test_parse_touches_neither_database_nor_configuration(bounced: Bounced) -> None:
    (bounced.folder / "config.toml").write_text("this is not TOML")
    (bounced.folder / "a.eml").write_bytes(DSN)
    assert bounced("parse", "a.eml").exit_code == 0
    assert sorted(path.name for path in bounced.folder.iterdir()) == ["a.eml", "config.toml"]


def test_parse_writes_utf8_wherever_it_runs(bounced: Bounced) -> None:
    (bounced.folder / "a.eml").write_bytes(DSN.replace(b"User unknown", "用户不存在".encode()))
    running = process("parse", "--json", "a.eml", cwd=bounced.folder, LC_ALL="C", PYTHONUTF8="0")
    out, err = running.communicate(timeout=60)
    assert (running.returncode, err) == (0, "")
    assert "用户不存在" in json.loads(out)["recipients"][0]["diagnostic"]


def many(folder: Path) -> None:
    for n in range(400):
        (folder / f"{n:03}.eml").write_bytes(DSN.replace(b"gone@", b"gone%d@" % n))
    (folder / "200.eml").write_bytes(b"")


@pytest.mark.parametrize("form", ["--json", None])
def test_several_jobs_print_what_one_prints(
    bounced: Bounced, tmp_path: Path, form: str | None
) -> None:
    many(tmp_path)
    words = ["parse", str(tmp_path), *([form] if form else [])]
    alone, together = bounced(*words), bounced(*words, "--jobs", "2")
    assert together.stdout == alone.stdout
    assert (alone.exit_code, together.exit_code) == (1, 1)
    assert "gone399@example.com" in together.stdout


def test_a_letter_that_kills_its_reader_takes_no_other_with_it(tmp_path: Path) -> None:
    many(tmp_path)
    code = (
        "import os, signal\n"
        "from bounced import reading\n"
        "real = reading.decode\n"
        "def decode(message):\n"
        "    report = real(message)\n"
        "    if 'gone333@' in report.recipients[0].address: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return report\n"
        "reading.decode = decode\n"
        "from bounced.cli import main\n"
        "main()"
    )
    running = process("parse", str(tmp_path), "--json", "--jobs", "2", cwd=tmp_path, code=code)
    out, _ = running.communicate(timeout=60)
    told = [json.loads(line) for line in out.splitlines()]
    assert [one["source"][-7:] for one in told] == [f"{n:03}.eml" for n in range(400)]
    silent = [n for n, one in enumerate(told) if not one["recipients"]]
    assert silent == [200, 333]
    assert told[333]["problems"] == ["cannot be read: the reader died of it"]
    assert running.returncode == 1

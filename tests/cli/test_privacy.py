"""Forgetting, handing out and purging, from the command line, down to the bytes on the disk."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import process
from tests.cli.test_webhooks import NOTICE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Bounced

ANN = b"ann@example.net"


@pytest.fixture
def known(bounced: Bounced) -> Path:
    """A folder in which Ann is known to the database and to raw copies, and Bob too."""
    folder = bounced.folder
    (folder / "pepper").write_text("a pepper of more than sixteen bytes\n")
    (folder / "config.toml").write_text(
        '[database]\nurl = "x.db"\n[privacy]\npepper_file = "pepper"\n'
        '[[mailbox]]\nname = "m"\npath = "spool"\n'
    )
    (folder / "ann.eml").write_bytes(NOTICE)
    (folder / "bob.eml").write_bytes(NOTICE.replace(ANN, b"bob@example.net"))
    (folder / "quarantine").mkdir()
    (folder / "quarantine" / "1.eml").write_bytes(b"To: bounces+ann=3Dexample.net@example.org\n")
    assert bounced("ingest", "ann.eml", "bob.eml").exit_code == 0
    (folder / "list.csv").write_text("email\nAnn@Example.net\nbob@example.net\n")
    bounced("subscribers", "import", "list.csv", "--list", "news")
    (folder / "ann.eml").unlink()
    return folder


def held(folder: Path) -> bytes:
    """Every byte that bounced keeps."""
    ours = [folder / "x.db", folder / "x.db-wal", folder / "quarantine", folder / "ingested"]
    files = [one for path in ours for one in ([path] if path.is_file() else path.rglob("*"))]
    return b"".join(one.read_bytes() for one in files if one.is_file()).lower()


def test_after_forgetting_no_file_of_ours_holds_the_address(bounced: Bounced, known: Path) -> None:
    assert ANN in held(known)
    done = bounced("forget", "Ann@example.net")
    assert done.exit_code == 0, done.output
    assert "Ann@example.net is forgotten. Deleted:" in done.output
    assert "2 raw copies." in done.output
    assert "Letters about it" not in done.output, "there was our copy only"
    assert ANN not in held(known)
    assert b"ann=" not in held(known)
    assert b"bob@example.net" in held(known)
    assert bounced("explain", "ann@example.net").output == (
        "ann@example.net: nothing is on record, and it is SUPPRESSED: "
        "This address was forgotten on request, and is not to be mailed.\n"
    )
    assert bounced("suppressed").output == "bob@example.net\n"
    assert bounced("audit").exit_code == 0


def test_who_is_forgotten_stays_so(bounced: Bounced, known: Path) -> None:
    bounced("forget", "ann@example.net")
    told = json.loads(bounced("explain", "Ann@example.net", "--json").stdout)
    assert (told["suppressed"], told["row"]["reason"]) == (True, "forgotten")
    again = bounced("subscribers", "import", "list.csv", "--list", "news").output
    assert "2 addresses read, 0 new" in again
    (known / "again.eml").write_bytes(NOTICE)
    bounced("ingest", "again.eml")
    (known / "again.eml").unlink()
    bounced("suppressed", "import", "-", "--from", "txt", stdin="ann@example.net\n")
    assert ANN not in held(known)
    asked = bounced("suppressed", "check", "ann@example.net")
    assert asked.exit_code == 1
    assert "suppressed (forgotten)" in asked.output
    assert bounced("clean", "list.csv").exit_code in (0, 1)
    assert "forgotten" in (known / "list.suppress.csv").read_text()
    lifted = bounced("forget", "--lift", "ann@example.net")
    assert lifted.output == "ann@example.net may be recorded and mailed again.\n"
    assert bounced("suppressed", "check", "ann@example.net").exit_code == 0


def test_letters_that_lie_in_mailboxes_are_told_of(bounced: Bounced, known: Path) -> None:
    spool = known / "spool"
    spool.mkdir()
    letter = NOTICE.replace(b"Subject:", b"Message-ID: <7@mx.example.net>\nSubject:")
    (spool / "one.eml").write_bytes(letter)
    os.utime(spool / "one.eml", (1, 1))
    assert bounced("sync").exit_code == 0
    told = bounced("forget", "ann@example.net").output
    assert "Letters about it are left in mailboxes, which bounced never deletes from:" in told
    assert "mailbox m, Bounced/Processed: Message-ID <7@mx.example.net>" in told


def test_without_a_pepper_it_is_said_how_to_make_one(bounced: Bounced, known: Path) -> None:
    (known / "config.toml").write_text('[database]\nurl = "x.db"\n')
    refused = bounced("forget", "ann@example.net")
    assert refused.exit_code == 2
    assert "pepper_file" in refused.output
    assert ANN in held(known)
    (known / "config.toml").write_text('[database]\nurl = "x.db"\n[privacy]\npepper = "short"\n')
    refused = bounced("forget", "ann@example.net")
    assert refused.exit_code == 2
    assert "too short" in refused.output
    assert "short\n" not in refused.output.replace("too short", "")


def test_everything_that_is_held_is_handed_out(bounced: Bounced, known: Path) -> None:
    told = json.loads(bounced("export-person", "ANN@example.net").output)
    assert {"address", "event", "judgement", "message", "subscriber", "transition"} <= told[
        "tables"
    ].keys()
    assert len(told["raw_copies"]) == 2
    assert "bob@" not in json.dumps(told)
    nobody = json.loads(bounced("export-person", "nobody@example.net").output)
    assert (nobody["tables"], nobody["raw_copies"]) == ({}, [])
    assert bounced("export-person", "nonsense").exit_code == 2


def test_raw_copies_are_kept_for_a_time(bounced: Bounced, known: Path) -> None:
    old = time.time() - 40 * 86400
    os.utime(known / "quarantine" / "1.eml", (old, old))
    assert "[privacy] sets no days" in bounced("purge").output
    config = known / "config.toml"
    config.write_text(config.read_text().replace("[privacy]\n", "[privacy]\nkeep_raw_days = 30\n"))
    assert "1 raw copies deleted" in bounced("purge").output
    assert not (known / "quarantine" / "1.eml").exists()
    assert len(list((known / "ingested").rglob("*.eml"))) == 2


def test_purging_redacts_what_is_stored_where_that_is_asked_for(
    bounced: Bounced, known: Path
) -> None:
    config = known / "config.toml"
    config.write_text(config.read_text().replace("[privacy]\n", "[privacy]\nredact = true\n"))
    assert "2 rows redacted" in bounced("purge").output
    assert "***@example.net" in bounced("explain", "ann@example.net").output
    assert bounced("suppressed").output == "ann@example.net\nbob@example.net\n"


def test_a_running_program_purges_by_itself(bounced: Bounced, known: Path) -> None:
    old = time.time() - 40 * 86400
    copy = known / "quarantine" / "1.eml"
    os.utime(copy, (old, old))
    (known / "spool").mkdir()
    config = known / "config.toml"
    config.write_text(config.read_text().replace("[privacy]\n", "[privacy]\nkeep_raw_days = 30\n"))
    running = process("run", cwd=known)
    end = time.monotonic() + 30
    while copy.exists() and time.monotonic() < end:
        time.sleep(0.1)
    running.terminate()
    _, log = running.communicate(timeout=30)
    assert not copy.exists()
    assert "event=purged raw_copies_deleted=1" in log

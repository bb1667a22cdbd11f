"""`bounced ingest` for an MTA's pipe and for files, and `[[mailbox]] path`."""

from __future__ import annotations

import os
import stat
import time
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import process
from tests.cli.test_audit import unreadable
from tests.cli.test_sync import configure, finished, letters
from tests.servers.database import rows

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Bounced

CHATTER = b"From: kim@example.com\r\nSubject: lunch?\r\n\r\nNoon?\r\n"


def kept(folder: Path, pile: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted((folder / "ingested" / pile).glob("*.eml"))]


def test_a_letter_from_a_pipe_is_recorded_before_exit_0(bounced: Bounced) -> None:
    configure(bounced.folder)
    (letter,) = letters(1)
    result = bounced("ingest", "-", stdin=letter)
    assert (result.exit_code, result.output) == (0, "")
    assert bounced("suppressed").stdout == "gone0@example.com\n"
    assert kept(bounced.folder, "processed") == [letter]
    (copy,) = (bounced.folder / "ingested" / "processed").iterdir()
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600


def test_the_same_letter_handed_over_twice_counts_once(bounced: Bounced) -> None:
    configure(bounced.folder)
    for _ in range(2):
        assert bounced("ingest", "-", stdin=letters(1)[0]).exit_code == 0
    url = f"sqlite:///{bounced.folder}/bounced.db"
    assert rows(url, "SELECT count(*) FROM event") == [(1,)]
    assert bounced("audit").exit_code == 0


def test_a_flood_that_comes_letter_by_letter_is_held_as_one(bounced: Bounced) -> None:
    configure(bounced.folder, more="[brake]\nshare = 0\nfloor = 3\n")
    for letter in letters(3):
        assert bounced("ingest", "-", stdin=letter).exit_code == 0
    assert len(bounced("suppressed").stdout.split()) == 3
    assert bounced("ingest", "-", stdin=letters(1, start=3)[0]).exit_code == 0, "it is recorded"
    assert bounced("suppressed").stdout == ""
    assert "The brake holds run 1." in bounced("status").stdout
    assert bounced("ingest", "-", stdin=letters(1, start=4)[0]).exit_code == 0
    assert bounced("hold", "accept", "1").exit_code == 0
    assert len(bounced("suppressed").stdout.split()) == 5
    assert bounced("ingest", "-", stdin=letters(1, start=5)[0]).exit_code == 0
    assert len(bounced("suppressed").stdout.split()) == 6, "after the word a new window begins"


def test_without_a_window_each_call_is_a_run_of_its_own(bounced: Bounced) -> None:
    configure(bounced.folder, more="[brake]\nshare = 0\nfloor = 3\nwindow_minutes = 0\n")
    for letter in letters(5):
        assert bounced("ingest", "-", stdin=letter).exit_code == 0
    assert len(bounced("suppressed").stdout.split()) == 5


def test_what_nobody_recognised_is_kept_even_with_discard(bounced: Bounced) -> None:
    configure(bounced.folder)
    assert bounced("ingest", "--discard", "-", stdin=CHATTER).exit_code == 0
    assert bounced("ingest", "--discard", "-", stdin=letters(1)[0]).exit_code == 0
    assert kept(bounced.folder, "unrecognised") == [CHATTER]
    assert kept(bounced.folder, "processed") == []


@pytest.mark.parametrize(
    "configuration",
    ["", "nonsense = 1\n", '[database]\nurl = "postgresql://u:canary@127.0.0.1:1/none"\n', None],
)
def test_whatever_is_wrong_asks_the_mta_to_try_again(
    bounced: Bounced, configuration: str | None
) -> None:
    if configuration is not None:
        (bounced.folder / "config.toml").write_text(configuration)
    result = bounced("ingest", "-", stdin=letters(1)[0])
    expected = 0 if configuration == "" else 75
    assert result.exit_code == expected, result.output
    assert bool(result.stderr) == bool(expected)
    assert "canary" not in result.output


def test_a_pipe_that_cannot_keep_the_letter_asks_to_try_again_and_then_loses_nothing(
    bounced: Bounced,
) -> None:
    configure(bounced.folder)
    (bounced.folder / "ingested").write_text("in the way")
    assert bounced("ingest", "-", stdin=letters(1)[0]).exit_code == 75
    (bounced.folder / "ingested").unlink()
    assert bounced("ingest", "-", stdin=letters(2)[1]).exit_code == 0
    assert bounced("ingest", "-", stdin=letters(1)[0]).exit_code == 0
    assert len(kept(bounced.folder, "processed")) == 2
    assert len(bounced("suppressed").stdout.split()) == 2


@pytest.mark.parametrize("deed", ["kill", "error"])
@pytest.mark.parametrize("step", ["leased", "attempt", "parsed", "committed", "moved", "filed"])
def test_a_pipe_cut_off_anywhere_is_whole_after_the_mta_tried_again(
    step: str, deed: str, tmp_path: Path
) -> None:
    configure(tmp_path)
    (tmp_path / "letter").write_bytes(letters(1)[0])
    code = (
        "import os, sys\n"
        "os.dup2(os.open('letter', os.O_RDONLY), 0)\n"
        "sys.argv[1:] = ['ingest', '-']\n"
        "from bounced.cli import main\n"
        "main()"
    )
    broken = finished(process(cwd=tmp_path, code=code, BOUNCED_FAILPOINT=f"{step}:1:{deed}"), 60)
    assert broken[0] != 0
    if deed == "error":
        assert broken[0] == 75
    assert finished(process(cwd=tmp_path, code=code), 60)[0] == 0
    url = f"sqlite:///{tmp_path}/bounced.db"
    assert rows(url, "SELECT count(*) FROM event") == [(1,)]
    assert rows(url, "SELECT state FROM message") == [("filed",)]
    assert len(kept(tmp_path, "processed")) == 1


def test_many_pipes_at_once_wait_for_each_other(bounced: Bounced) -> None:
    configure(bounced.folder)
    assert bounced("ingest", "-", stdin=letters(1)[0]).exit_code == 0
    running = [process("ingest", "-", cwd=bounced.folder) for _ in range(4)]
    for number, one in enumerate(running):
        assert one.stdin is not None
        one.stdin.write(letters(1, start=number + 1)[0].decode())
        one.stdin.close()
        one.stdin = None
    assert [finished(one, 60)[0] for one in running] == [0] * 4
    assert len(bounced("suppressed").stdout.split()) == 5


def test_files_and_mboxes_are_recorded_and_stay_where_they_are(bounced: Bounced) -> None:
    configure(bounced.folder)
    one, two, three = letters(3)
    (bounced.folder / "one.eml").write_bytes(one)
    stamp = b"From MAILER-DAEMON Thu Jan  1 00:00:00 2026\n"
    (bounced.folder / "two.mbox").write_bytes(stamp + two + b"\n" + stamp + three)
    assert bounced("ingest", "one.eml", "two.mbox").exit_code == 0
    assert len(bounced("suppressed").stdout.split()) == 3
    assert (bounced.folder / "one.eml").exists()
    assert bounced("ingest", "absent.eml").exit_code == 1


def test_a_letter_from_a_pipe_that_cannot_be_read_is_kept_and_read_later(
    bounced: Bounced, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(bounced.folder)
    with monkeypatch.context() as broken:
        unreadable(broken, b"gone0@")
        assert bounced("ingest", "-", stdin=letters(1)[0]).exit_code == 0
    assert len(list((bounced.folder / "quarantine").glob("*.eml"))) == 1
    assert bounced("retry").exit_code == 0
    assert bounced("suppressed").stdout == "gone0@example.com\n"


def test_a_maildir_of_the_configuration_is_emptied_audited_and_retried(
    bounced: Bounced, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = bounced.folder / "box"
    for part in ("new", "cur", "tmp"):
        (box / part).mkdir(parents=True)
    early = time.time() - 60
    for number, raw in enumerate([*letters(3), CHATTER]):
        path = box / "new" / f"1.{number}"
        path.write_bytes(raw)
        os.utime(path, (early, early))
    configure(bounced.folder, {"name": "local", "path": "box"})
    assert "4 letters waiting in" in bounced("doctor").stdout
    with monkeypatch.context() as broken:
        unreadable(broken, b"gone1@")
        assert bounced("sync").exit_code == 1
    beside = bounced.folder / "box-bounced"
    assert {pile.name: len(list(pile.iterdir())) for pile in beside.iterdir()} == {
        "Processed": 2,
        "Unrecognised": 1,
        "Quarantine": 1,
    }
    assert bounced("audit", "--folders").exit_code == 0
    retried = bounced("retry")
    assert retried.exit_code == 0, retried.output
    assert not any((beside / "Quarantine").iterdir())
    audited = bounced("audit", "--folders")
    assert audited.exit_code == 0, audited.output
    assert len(bounced("suppressed").stdout.split()) == 3


def test_several_jobs_record_what_one_records(bounced: Bounced, tmp_path: Path) -> None:
    there = tmp_path / "letters"
    there.mkdir()
    for n, letter in enumerate([*letters(700), CHATTER, b""]):
        (there / f"{n:03}.eml").write_bytes(letter)
    facts = "SELECT address, recipient, diagnostic, occurred_at < '2000' FROM event ORDER BY 1"
    piles = "SELECT destination, dedup_key FROM message ORDER BY 2"
    found = {}
    for jobs in ("1", "2"):
        url = f"sqlite:///{bounced.folder}/{jobs}.db"
        configure(bounced.folder, more=f'[database]\nurl = "{url}"\n[brake]\nfloor = 1000\n')
        result = bounced("ingest", str(there), "--jobs", jobs)
        assert (result.exit_code, "It is empty." in result.stderr) == (1, True)
        found[jobs] = rows(url, facts), rows(url, piles)
    assert len(found["1"][0]) == 700
    assert found["2"] == found["1"]

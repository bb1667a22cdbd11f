"""`bounced audit` and `bounced retry`: every letter accounted for, unreadable ones looked at twice."""

from __future__ import annotations

import hashlib
import itertools
import json
import signal
import stat
from typing import TYPE_CHECKING, Any

import pytest

from bounced import message
from bounced.mailbox.quarantine import Quarantine
from tests.cli.conftest import process
from tests.cli.test_dovecot import box, waiting
from tests.cli.test_sync import configure, finished, letters
from tests.servers.database import rows
from tests.test_failpoints import end_state, some_letters

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Bounced
    from tests.servers.dovecot import Dovecot

_users = itertools.count()
CHATTER = b"From: kim@example.com\r\nSubject: lunch?\r\n\r\nNoon?\r\n"


def unreadable(monkeypatch: pytest.MonkeyPatch, sign: bytes) -> None:
    """Make the reader stumble over letters that hold the sign."""
    whole = message.read

    def stumble(raw: bytes, **more: Any) -> Any:
        if sign in raw:
            raise RecursionError
        return whole(raw, **more)

    monkeypatch.setattr("bounced.message.read", stumble)


@pytest.fixture
def user(bounced: Bounced, server: Dovecot) -> str:
    """A mailbox with three bounces and a person's letter."""
    name = f"audit{next(_users)}"
    server.deliver(name, [*letters(3), CHATTER])
    configure(bounced.folder, box(server, name))
    return name


def copies(folder: Path) -> list[Path]:
    return sorted((folder / "quarantine").glob("*"))


def test_an_unreadable_letter_keeps_a_private_raw_copy_and_its_reason(
    bounced: Bounced, server: Dovecot, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    unreadable(monkeypatch, b"gone1@")
    result = bounced("sync")
    assert result.exit_code == 1
    assert "bounced retry" in result.stderr
    assert waiting(server, user, ".Bounced.Quarantine") == 1
    (copy,) = copies(bounced.folder)
    raw = copy.read_bytes()
    assert b"gone1@" in raw
    assert copy.name == f"{hashlib.sha256(raw).hexdigest()}.eml"
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert stat.S_IMODE(copy.parent.stat().st_mode) == 0o700
    url = f"sqlite:///{bounced.folder}/bounced.db"
    assert rows(url, "SELECT problems FROM message WHERE destination = 'quarantine'") == [
        ('["unreadable: RecursionError"]',)
    ]


def test_nothing_is_recorded_of_an_unreadable_letter_whose_copy_cannot_be_kept(
    bounced: Bounced, server: Dovecot, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    unreadable(monkeypatch, b"gone1@")
    (bounced.folder / "quarantine").write_text("in the way")
    assert bounced("sync").exit_code != 0
    assert waiting(server, user) == 4
    (bounced.folder / "quarantine").unlink()
    assert bounced("sync").exit_code == 1
    assert waiting(server, user) == 0
    assert bounced("audit", "--folders").exit_code == 0


def test_retry_ends_where_a_sync_would_have_that_could_read_everything(
    bounced: Bounced, server: Dovecot, tmp_path: Path
) -> None:
    states = []
    for name, sign in (("calm", b"no such words"), ("retried", b"Diagnostic-Code")):
        user = f"{name}{next(_users)}"
        server.deliver(user, some_letters())
        configure(tmp_path, box(server, user), more=f'[database]\nurl = "{name}.db"\n')
        with pytest.MonkeyPatch.context() as broken:
            unreadable(broken, sign)
            bounced("sync")
            if name == "retried":
                assert waiting(server, user, ".Bounced.Quarantine") >= 3
        result = bounced("retry")
        assert result.exit_code == 0, result.output
        assert waiting(server, user, ".Bounced.Quarantine") == 0
        audited = bounced("audit", "--folders")
        assert audited.exit_code == 0, audited.output
        state = end_state(f"sqlite:///{tmp_path}/{name}.db")
        states.append({table: found for table, found in state.items() if table != "run"})
    assert states[0] == states[1]
    assert copies(tmp_path) == []


def test_what_still_cannot_be_read_stays_where_it_is(
    bounced: Bounced, server: Dovecot, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    unreadable(monkeypatch, b"gone1@")
    bounced("sync")
    result = bounced("retry")
    assert result.exit_code == 1
    assert "0 letters can be read now, 1 still cannot" in result.stdout
    assert "1 × unreadable: RecursionError" in result.stdout
    assert waiting(server, user, ".Bounced.Quarantine") == 1
    assert len(copies(bounced.folder)) == 1


def test_retry_reads_from_the_folder_where_the_copy_was_lost(
    bounced: Bounced, server: Dovecot, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        unreadable(broken, b"gone1@")
        bounced("sync")
    copies(bounced.folder)[0].unlink()
    audited = bounced("audit")
    assert (audited.exit_code, "no raw copy" in audited.stdout) == (1, True)
    assert bounced("retry").exit_code == 0
    assert waiting(server, user, ".Bounced.Quarantine") == 0
    assert "gone1@example.com" in bounced("suppressed").output


def test_a_letter_of_an_earlier_numbering_can_be_read_again(
    bounced: Bounced, server: Dovecot, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        unreadable(broken, b"gone1@")
        bounced("sync")
    url = f"sqlite:///{bounced.folder}/bounced.db"
    before = rows(url, "SELECT epoch, last_uid FROM mailbox")
    rows(url, "UPDATE message SET epoch = 1")
    assert bounced("retry").exit_code == 0
    assert rows(url, "SELECT epoch, last_uid FROM mailbox") == before
    assert len(bounced("suppressed").output.split()) == 3


def test_the_books_balance_and_say_so(bounced: Bounced, user: str) -> None:
    bounced("sync")
    result = bounced("audit", "--folders")
    assert result.exit_code == 0, result.output
    assert (
        f"{user}: 4 fetched = 3 judged + 0 other + 1 set aside + 0 quarantined\n" in result.stdout
    )
    assert f"{user}: 0 waiting in INBOX\n" in result.stdout
    told = json.loads(bounced("audit", "--json").stdout)
    assert (told["fetched"], told["piles"]["unrecognised"], told["wrong"]) == (4, 1, [])


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("DELETE FROM judgement", "3 events have no judgement"),
        ("UPDATE message SET destination = NULL WHERE uid = 1", "but 3 are accounted for"),
        (
            "DELETE FROM address; DELETE FROM judgement; DELETE FROM event",
            "3 judged letters have no event",
        ),
    ],
)
def test_books_that_do_not_balance_exit_1(
    bounced: Bounced, user: str, damage: str, said: str
) -> None:
    import sqlite3

    bounced("sync")
    connection = sqlite3.connect(bounced.folder / "bounced.db")
    connection.executescript(damage)
    connection.close()
    result = bounced("audit")
    assert (result.exit_code, said in result.stdout) == (1, True), result.output


def test_a_letter_that_somebody_took_off_its_pile_is_noticed(
    bounced: Bounced, server: Dovecot, user: str
) -> None:
    bounced("sync")
    pile = server.where / "mail" / user / "Maildir" / ".Bounced.Processed"
    next(path for part in ("new", "cur") for path in (pile / part).iterdir()).unlink()
    result = bounced("audit", "--folders")
    assert result.exit_code == 1
    assert "WRONG  2 letters in Bounced/Processed" in result.stdout
    assert "the ledger says 3" in result.stdout
    assert "type: bounced audit --folders" in result.stderr


@pytest.mark.parametrize("step", ["committed", "moved", "filed"])
def test_the_books_agree_with_the_folders_wherever_a_sync_was_killed(
    bounced: Bounced, user: str, step: str
) -> None:
    code, _, _ = finished(process("sync", cwd=bounced.folder, BOUNCED_FAILPOINT=f"{step}:1:kill"))
    assert code == -signal.SIGKILL
    cut_off = bounced("audit", "--folders")
    assert cut_off.exit_code == 0, cut_off.output
    on_their_way = "3 letters in Bounced/Processed" in cut_off.stdout and step == "moved"
    said = "; the ledger says 0, and 3 that were still to be moved"
    assert (said in cut_off.stdout) is on_their_way
    assert bounced("sync").exit_code == 0
    after = bounced("audit", "--folders")
    assert (after.exit_code, "the ledger says" in after.stdout) == (0, False), after.output
    told = json.loads(bounced("audit", "--json").stdout)
    assert told["leaving"] == {"processed": 0, "unrecognised": 0, "quarantine": 0}


def test_flagged_mailboxes_are_counted_by_their_marks(bounced: Bounced, server: Dovecot) -> None:
    server.deliver("auditflag", letters(3))
    configure(bounced.folder, box(server, "auditflag", archive="flag"))
    bounced("sync")
    result = bounced("audit", "--folders")
    assert result.exit_code == 0, result.output
    assert "3 letters in INBOX (marked)" in result.stdout


def test_a_copy_that_is_not_what_its_name_says_is_not_taken_for_it(tmp_path: Path) -> None:
    kept = Quarantine(tmp_path / "q")
    path = kept.keep(b"one")
    assert kept.raw(path.stem) == b"one"
    path.write_bytes(b"another")
    assert kept.raw(path.stem) is None
    assert kept.raw("0" * 64) is None

"""Maildirs and folders of files keep the promises of an IMAP folder."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from bounced.ledger import Ledger
from bounced.mailbox import MailboxSettings, MailboxTemporary
from bounced.mailbox.folder import HEAD, LETTER
from bounced.mailbox.spool import HandedLetters, SpoolMailbox
from bounced.model import Destination
from bounced.sync import Observer, Tally, sync
from tests.test_sync import notice

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WHEN = datetime(2026, 11, 1, 12, tzinfo=UTC)


def put(path: Path, raw: bytes, at: datetime = WHEN) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(raw)
    os.utime(path, (at.timestamp(), at.timestamp()))
    return path


def maildir(folder: Path, *raws: bytes) -> Path:
    for part in ("new", "cur", "tmp"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for number, raw in enumerate(raws):
        put(folder / "new" / f"1700000000.{number}.host", raw)
    return folder


def spool(folder: Path) -> SpoolMailbox:
    piles = {pile: folder.parent / "piles" / pile.value for pile in Destination}
    return SpoolMailbox("local", folder, piles)


def listed(box: SpoolMailbox) -> list[int]:
    return [uid for piece in box.waiting() for uid in piece]


def filed(folder: Path, pile: Destination = Destination.PROCESSED) -> list[str]:
    return sorted(path.name for path in (folder.parent / "piles" / pile.value).iterdir())


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(f"sqlite:///{tmp_path}/test.db") as opened:
        yield opened


def emptied(folder: Path, ledger: Ledger) -> Tally:
    return sync(spool(folder), ledger, Observer(), owner="test:1")


def test_a_maildir_is_emptied_into_piles_beside_it(tmp_path: Path, ledger: Ledger) -> None:
    box = maildir(tmp_path / "box", notice("ann"), notice("bob"), b"Subject: hi\r\n\r\nlunch?\r\n")
    put(box / "cur" / "1700000009.9.host:2,S", notice("cat"))
    put(box / "tmp" / "1700000010.10.host", notice("dan"))
    tally = emptied(box, ledger)
    assert (tally.fetched, tally.events, tally.unfiled) == (4, 3, 0)
    assert not any((box / "new").iterdir())
    assert not any((box / "cur").iterdir())
    assert len(list((box / "tmp").iterdir())) == 1, "it is not delivered yet"
    assert len(filed(box)) == 3
    assert len(filed(box, Destination.UNRECOGNISED)) == 1


def test_of_a_plain_folder_only_settled_letters_are_read(tmp_path: Path) -> None:
    box = tmp_path / "box"
    for name in ("1.eml", "2.EML", "3.msg", "17"):
        put(box / name, b"Subject: x\r\n\r\nx\r\n")
    for name in ("notes.txt", ".hidden.eml", "box.mbox", "sub/4.eml"):
        put(box / name, b"Subject: x\r\n\r\nx\r\n")
    (box / "fresh.eml").write_bytes(b"half a let")
    (box / "link.eml").symlink_to("1.eml")
    mailbox = spool(box)
    mailbox.open()
    assert len(listed(mailbox)) == 4


def test_a_letter_has_the_same_number_in_every_run_and_whatever_its_flags(tmp_path: Path) -> None:
    box = maildir(tmp_path / "box", b"one", b"two")
    before = listed(spool(box))
    first = next((box / "new").iterdir())
    first.rename(box / "cur" / f"{first.name}:2,S")
    assert sorted(listed(spool(box))) == sorted(before)
    assert all(0 < uid < 2**56 for uid in before)


def test_a_name_that_is_used_again_is_a_new_letter(tmp_path: Path, ledger: Ledger) -> None:
    box = tmp_path / "box"
    put(box / "1.eml", notice("ann"))
    emptied(box, ledger)
    put(box / "1.eml", notice("bob"), WHEN.replace(hour=13))
    assert emptied(box, ledger).events == 1
    assert len(filed(box)) == 2, "no name is overwritten"


def test_a_letter_that_is_renamed_meanwhile_is_still_filed(tmp_path: Path) -> None:
    box = maildir(tmp_path / "box", b"one")
    mailbox = spool(box)
    mailbox.open()
    (uid,) = listed(mailbox)
    path = next((box / "new").iterdir())
    path.rename(box / "cur" / f"{path.name}:2,RS")
    assert mailbox.file([uid], Destination.PROCESSED) == {uid}
    assert not any((box / "cur").iterdir())
    assert len(filed(box)) == 1


def test_a_letter_that_changes_while_it_waits_is_left_alone(tmp_path: Path) -> None:
    box = tmp_path / "box"
    put(box / "1.eml", b"Subject: x\r\n\r\nx")
    mailbox = spool(box)
    mailbox.open()
    (uid,) = listed(mailbox)
    put(box / "1.eml", b"Subject: other\r\n\r\nother", WHEN.replace(hour=13))
    assert list(mailbox.fetch([uid])) == []
    assert mailbox.file([uid], Destination.PROCESSED) == {uid}, "that one is gone"
    assert (box / "1.eml").exists(), "and this one was never read"


def test_killed_between_link_and_unlink_the_next_run_ends_it(tmp_path: Path) -> None:
    box = maildir(tmp_path / "box", b"one")
    mailbox = spool(box)
    mailbox.open()
    (uid,) = listed(mailbox)
    path = next((box / "new").iterdir())
    os.link(path, tmp_path / "piles" / "processed" / path.name)
    assert mailbox.file([uid], Destination.PROCESSED) == {uid}
    assert filed(box) == [path.name]
    assert not path.exists()


def test_what_cannot_be_moved_stays_and_is_not_called_filed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    box = maildir(tmp_path / "box", b"one")
    mailbox = spool(box)
    mailbox.open()
    (uid,) = listed(mailbox)

    def refuse(number: int) -> None:
        def failing(*_: object) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr("pathlib.Path.hardlink_to", failing)

    refuse(errno.ENOSPC)
    assert mailbox.file([uid], Destination.PROCESSED) == set()
    refuse(errno.EXDEV)
    with pytest.raises(MailboxSettings, match="another file system"):
        mailbox.file([uid], Destination.PROCESSED)
    assert len(list((box / "new").iterdir())) == 1


def test_a_letter_over_the_limit_is_read_to_its_head_and_filed_whole(tmp_path: Path) -> None:
    box = tmp_path / "box"
    put(box / "1.eml", b"x" * (LETTER + 1))
    mailbox = spool(box)
    mailbox.open()
    (letter,) = mailbox.fetch(listed(mailbox))
    assert (len(letter.raw), letter.truncated, letter.received_at) == (HEAD, True, WHEN)
    mailbox.file([letter.uid], Destination.UNRECOGNISED)
    pile = tmp_path / "piles" / "unrecognised" / "1.eml"
    assert pile.stat().st_size == LETTER + 1


def test_a_folder_that_is_none_is_a_setting_and_a_broken_disk_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    with pytest.raises(MailboxSettings, match="is no folder"):
        spool(tmp_path / "absent").open()
    put(tmp_path / "file.mbox", b"From x")
    with pytest.raises(MailboxSettings, match="bounced ingest"):
        spool(tmp_path / "file.mbox").open()

    def broken(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    box = maildir(tmp_path / "box", b"one")
    monkeypatch.setattr("os.scandir", broken)
    with pytest.raises(MailboxTemporary, match="Input/output error"):
        listed(spool(box))


def test_oldest_letters_come_first_and_a_census_counts_them(tmp_path: Path) -> None:
    box = tmp_path / "box"
    for hour in (9, 7, 8):
        put(box / f"{hour}.eml", b"Subject: %d\r\n\r\nx" % hour, WHEN.replace(hour=hour))
    mailbox = spool(box)
    mailbox.open()
    hours = [one.received_at.hour for one in mailbox.fetch(listed(mailbox)) if one.received_at]
    assert hours == [7, 8, 9]
    mailbox.file(listed(mailbox)[:1], Destination.QUARANTINE)
    counted = mailbox.census()
    assert (counted.waiting, counted.filed, counted.piles[Destination.QUARANTINE]) == (2, 1, 1)


def test_an_earlier_letter_that_was_not_kept_is_not_called_filed() -> None:
    kept: list[bytes] = []
    first = HandedLetters("pipe", [(b"one", False)], lambda raws, _: kept.extend(raws))
    other = HandedLetters("pipe", [(b"two", False)], lambda raws, _: kept.extend(raws))
    (uids,) = first.waiting()
    assert other.file(uids, Destination.PROCESSED) == set()
    assert first.file(uids, Destination.PROCESSED) == set(uids)
    assert kept == [b"one"]

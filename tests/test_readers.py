"""Letters read by other processes: the same end, whoever dies or never comes to one."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from bounced import readers
from bounced.ledger import Ledger
from bounced.model import Letter
from bounced.readers import Readers
from bounced.reading import quarantined, read_letter
from tests.servers.database import rows

from .test_sync import AT, PILES, ListMailbox, notice, run, suppressed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from pathlib import Path

    from bounced.fetching import Promise
    from bounced.model import Reading

NAMES = [f"p{n}" for n in range(11)]
FACTS = (
    "SELECT uid, state, destination, kind, dedup_key, received_at FROM message ORDER BY uid",
    "SELECT address, diagnostic, occurred_at FROM event ORDER BY id",
)


def emptied(folder: Path, several: Readers | None) -> tuple[ListMailbox, Ledger, list[object]]:
    mailbox = ListMailbox(*map(notice, NAMES), b"Subject: hello\n\nfrom a friend\n")
    url = f"sqlite:///{folder}/test.db"
    ledger = Ledger.open(url)
    run(mailbox, ledger, readers=several)
    return mailbox, ledger, [rows(url, query) for query in FACTS]


@pytest.mark.parametrize("count", [1, 3])
def test_it_ends_as_when_letters_are_read_here(tmp_path: Path, count: int) -> None:
    ends = []
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
        with Readers(count) as several:
            mailbox, ledger, facts = emptied(
                tmp_path / place, several if place == "there" else None
            )
        ends.append((mailbox.piles, suppressed(ledger), facts))
        ledger.close()
    assert ends[0] == ends[1]
    assert len(ends[1][1]) == len(NAMES)


def deadly(uid: int, deed: Callable[[], object]) -> Callable[..., Reading]:
    """Reading that comes to a bad end with one letter, in a reader only."""
    parent = os.getpid()

    def read(letter: Letter, at: datetime, books: tuple[Path, ...]) -> Reading:
        if letter.uid == uid and os.getpid() != parent:
            deed()
        return read_letter(letter, at, books)

    return read


@pytest.mark.parametrize(
    "deed", [lambda: os.kill(os.getpid(), signal.SIGKILL), lambda: time.sleep(60)]
)
def test_a_letter_that_ends_its_reader_is_read_apart_and_nothing_is_lost(
    deed: Callable[[], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apart: list[int] = []

    def child(letter: Letter, at: datetime, books: tuple[Path, ...]) -> Reading:
        apart.append(letter.uid)
        bad = letter.uid == 5
        return quarantined(letter, at, "poison") if bad else read_letter(letter, at, books)

    monkeypatch.setattr(readers, "PATIENCE_SECONDS", 1)
    monkeypatch.setattr(readers, "read_letter", deadly(5, deed))
    monkeypatch.setattr(readers, "read_in_child", child)
    with Readers(2) as several:
        mailbox, ledger, _ = emptied(tmp_path, several)
    assert [sorted(mailbox.piles[pile]) for pile in PILES] == [
        [1, 2, 3, 4, 6, 7, 8, 9, 10, 11],
        [12],
        [5],
    ]
    assert len(suppressed(ledger)) == len(NAMES) - 1
    assert 5 in apart
    ledger.close()


class Noted:
    """Readers that read nothing, and tell what they were given."""

    def __init__(self) -> None:
        self.given: list[int] = []

    def begin(self, letters: Sequence[Letter], at: datetime) -> list[Promise]:
        self.given += [letter.uid for letter in letters]
        return [None] * len(letters)


def test_what_has_met_too_many_crashes_is_not_given_to_readers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: object) -> Reading:
        raise MemoryError

    noted = Noted()
    mailbox = ListMailbox(notice("ann"))
    ledger = Ledger.open(f"sqlite:///{tmp_path}/test.db")
    with monkeypatch.context() as bad:
        bad.setattr("bounced.sync.read_letter", dies)
        for _ in range(3):
            with pytest.raises(MemoryError):
                run(mailbox, ledger, readers=noted)
    assert noted.given == [1, 1, 1]
    run(mailbox, ledger, readers=noted)
    assert noted.given == [1, 1, 1]
    assert suppressed(ledger) == ["ann@example.com"]
    ledger.close()


def test_a_reading_is_of_the_time_at_which_it_was_begun() -> None:
    undated = Letter(1, notice("ann"))
    with Readers(1) as several:
        (promise,) = several.begin([undated], AT)
        assert promise is not None
        assert promise() == read_letter(undated, AT)

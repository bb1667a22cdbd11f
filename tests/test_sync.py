"""The promises of the loop: facts before filing, nothing lost, nothing twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from bounced import reading
from bounced.ledger import Ledger
from bounced.mailbox import MailboxTemporary
from bounced.model import Destination, Kind, Letter
from bounced.sync import LeaseTakenError, Observer, sync

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from bounced.model import Reading

AT = datetime(2026, 11, 1, 12, tzinfo=UTC)
PILES = (Destination.PROCESSED, Destination.UNRECOGNISED, Destination.QUARANTINE)


def notice(name: str, said: str = "550 5.1.1 User unknown") -> bytes:
    return (
        b"Return-Path: <>\r\nFrom: MAILER-DAEMON@mx.example.net\r\nTo: bounces@example.org\r\n"
        b"Subject: Undelivered Mail Returned to Sender\r\nDate: Sun, 1 Nov 2026 11:00:00 +0000\r\n"
        b"Message-ID: <%s@mx.example.net>\r\n\r\n<%s@example.com>: host mx.example.com said:\r\n    %s\r\n"
    ) % (name.encode(), name.encode(), said.encode())


class ListMailbox:
    """Letters in memory; what is filed leaves the folder for a pile."""

    name = "list"

    def __init__(self, *raws: bytes, epoch: int = 1) -> None:
        self.inbox = {uid: Letter(uid, raw, AT) for uid, raw in enumerate(raws, 1)}
        self.piles: dict[Destination, list[int]] = {pile: [] for pile in PILES}
        self.epoch = epoch
        self.closed = 0
        self.stubborn: set[int] = set()
        self.absent: set[int] = set()

    def open(self) -> int:
        return self.epoch

    def waiting(self) -> Iterator[Sequence[int]]:
        uids = sorted(self.inbox)
        for start in range(0, len(uids), 3):
            yield uids[start : start + 3]

    def fetch(self, uids: Sequence[int]) -> Iterator[Letter]:
        yield from (self.inbox[uid] for uid in uids if uid not in self.absent)

    def file(self, uids: Sequence[int], destination: Destination) -> set[int]:
        gone = set(uids) - self.stubborn
        for uid in gone:
            self.inbox.pop(uid, None)
            self.piles[destination].append(uid)
        return gone

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger.open(f"sqlite:///{tmp_path}/test.db")
    yield opened
    opened.close()


def run(mailbox: ListMailbox, ledger: Ledger, **more: object) -> object:
    return sync(mailbox, ledger, Observer(), owner="test:1", batch=2, clock=lambda: AT, **more)  # type: ignore[arg-type]


def suppressed(ledger: Ledger) -> list[str]:
    return sorted(row.address for row in ledger.suppressed(at=AT))


def test_every_letter_ends_on_its_pile_and_its_facts_in_the_ledger(ledger: Ledger) -> None:
    person = b"From: kim@example.com\r\nTo: bounces@example.org\r\nSubject: lunch\r\n\r\nNoon?\r\n"
    mailbox = ListMailbox(notice("ann"), person, notice("bob", "452 4.2.2 Mailbox full"))
    tally = sync(mailbox, ledger, Observer(), owner="test:1", clock=lambda: AT)
    assert (tally.fetched, tally.events, tally.suppressed, tally.unfiled) == (3, 2, 1, 0)
    assert tally.kinds == {Kind.BOUNCE: 2, Kind.OTHER: 1}
    assert mailbox.inbox == {}
    assert mailbox.piles[Destination.PROCESSED] == [1, 3]
    assert mailbox.piles[Destination.UNRECOGNISED] == [2]
    assert suppressed(ledger) == ["ann@example.com"]
    assert mailbox.closed == 1


def test_nothing_is_filed_when_recording_fails(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    mailbox = ListMailbox(notice("ann"), notice("bob"))
    with monkeypatch.context() as broken:
        broken.setattr(ledger, "record", no_space)
        with pytest.raises(OSError, match="no space"):
            run(mailbox, ledger)
    assert sorted(mailbox.inbox) == [1, 2]
    run(mailbox, ledger)
    assert suppressed(ledger) == ["ann@example.com", "bob@example.com"]


def test_a_letter_that_did_not_leave_is_filed_by_the_next_sync_and_not_read_again(
    ledger: Ledger,
) -> None:
    mailbox = ListMailbox(notice("ann"), notice("bob"))
    mailbox.stubborn = {1}
    run(mailbox, ledger)
    assert list(mailbox.inbox) == [1]
    mailbox.stubborn = set()
    heard: list[Reading] = []

    class Ear(Observer):
        def concluded(self, reading: Reading) -> None:
            heard.append(reading)

    sync(mailbox, ledger, Ear(), owner="test:1", clock=lambda: AT)
    assert (mailbox.inbox, heard) == ({}, [])


def test_of_a_letter_that_does_not_come_nothing_is_concluded(ledger: Ledger) -> None:
    mailbox = ListMailbox(notice("ann"), notice("bob"))
    mailbox.absent = {1}
    run(mailbox, ledger)
    assert list(mailbox.inbox) == [1]
    mailbox.absent = set()
    run(mailbox, ledger)
    assert suppressed(ledger) == ["ann@example.com", "bob@example.com"]


def test_the_same_mail_again_is_filed_and_counts_once(ledger: Ledger) -> None:
    run(ListMailbox(notice("ann", "552 5.2.2 Mailbox full")), ledger)
    again = ListMailbox(notice("ann", "552 5.2.2 Mailbox full"), epoch=2)
    tally = sync(again, ledger, Observer(), owner="test:1", clock=lambda: AT)
    assert (tally.events, tally.duplicates, again.inbox) == (0, 1, {})
    assert len(ledger.explain("ann@example.com").events) == 1


def test_after_a_new_epoch_old_numbers_mean_new_letters(ledger: Ledger) -> None:
    run(ListMailbox(notice("ann")), ledger)
    renumbered = ListMailbox(notice("bob"), epoch=2)
    run(renumbered, ledger)
    assert suppressed(ledger) == ["ann@example.com", "bob@example.com"]


def test_a_stop_ends_between_batches_and_the_next_sync_goes_on(ledger: Ledger) -> None:
    mailbox = ListMailbox(*(notice(f"r{n}") for n in range(7)))
    asked = iter([False, True])
    tally = sync(
        mailbox,
        ledger,
        Observer(),
        owner="t:1",
        batch=2,
        clock=lambda: AT,
        stop=lambda: next(asked),
    )
    assert (tally.stopped, tally.fetched, len(mailbox.inbox)) == (True, 2, 5)
    run(mailbox, ledger)
    assert len(suppressed(ledger)) == 7


def test_the_next_batch_is_fetched_while_this_one_is_read(ledger: Ledger) -> None:
    asked: list[Sequence[int]] = []
    fetched_before_recorded: list[int] = []

    class Eager(ListMailbox):
        def fetch(self, uids: Sequence[int]) -> Iterator[Letter]:
            asked.append(uids)
            return super().fetch(uids)

    class Ear(Observer):
        def recorded(self, done: int) -> None:
            fetched_before_recorded.append(sum(map(len, asked)) - done)

    mailbox = Eager(*(notice(f"r{n}") for n in range(6)))
    sync(mailbox, ledger, Ear(), owner="t:1", batch=2, clock=lambda: AT)
    # pieces of three letters make batches of two and one
    assert fetched_before_recorded == [1, 2, 1, 0]
    assert mailbox.inbox == {}


def test_when_fetching_ahead_loses_the_connection_that_is_what_is_told(ledger: Ledger) -> None:
    class Dying(ListMailbox):
        dead = False

        def fetch(self, uids: Sequence[int]) -> Iterator[Letter]:
            if 3 in uids:
                self.dead = True
                raise ConnectionError("the server hung up over letter 3")
            yield from super().fetch(uids)

        def file(self, uids: Sequence[int], destination: Destination) -> set[int]:
            if self.dead:
                raise ConnectionError("there is no connection any more")
            return super().file(uids, destination)

    mailbox = Dying(*(notice(f"r{n}") for n in range(4)))
    with pytest.raises(ConnectionError, match="hung up over letter 3"):
        run(mailbox, ledger)
    run(ListMailbox(), ledger)
    assert suppressed(ledger) == ["r0@example.com", "r1@example.com"]


def test_two_syncs_never_work_on_one_mailbox(ledger: Ledger) -> None:
    assert ledger.begin("list", owner="elsewhere:1", at=AT) is not None
    mailbox = ListMailbox(notice("ann"))
    with pytest.raises(LeaseTakenError):
        run(mailbox, ledger)
    assert list(mailbox.inbox) == [1]


def test_a_failed_sync_gives_its_lease_back_and_says_what_happened(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    mailbox = ListMailbox(notice("ann"))
    monkeypatch.setattr(mailbox, "open", lambda: (_ for _ in ()).throw(ConnectionError("gone")))
    with pytest.raises(ConnectionError):
        run(mailbox, ledger)
    row = next(iter(ledger.mailboxes()))
    assert "ConnectionError: gone" in (row.last_error or "")
    assert ledger.begin("list", owner="elsewhere:1", at=AT) is not None


def test_a_bounce_that_names_nobody_is_set_aside_for_a_person(ledger: Ledger) -> None:
    silent = notice("ann").replace(b"<ann@example.com>: host mx.example.com said:", b"Sorry:")
    mailbox = ListMailbox(silent)
    run(mailbox, ledger)
    assert mailbox.piles[Destination.UNRECOGNISED] == [1]


def test_a_letter_that_killed_its_reader_three_times_is_read_apart(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    apart: list[int] = []

    def child(letter: Letter, *rest: Any) -> Reading:
        apart.append(letter.uid)
        return reading.read_letter(letter, *rest)

    def dies(*_: object) -> Reading:
        raise MemoryError

    monkeypatch.setattr("bounced.sync.read_in_child", child)
    mailbox = ListMailbox(notice("ann"))
    with monkeypatch.context() as deadly:
        deadly.setattr("bounced.sync.read_letter", dies)
        for _ in range(3):
            with pytest.raises(MemoryError):
                run(mailbox, ledger)
    run(mailbox, ledger)
    assert (apart, suppressed(ledger)) == ([1], ["ann@example.com"])


class Frail(ListMailbox):
    """The connection breaks after so many letters, each time."""

    def __init__(self, *raws: bytes, after: int) -> None:
        super().__init__(*raws)
        self.after = after

    def fetch(self, uids: Sequence[int]) -> Iterator[Letter]:
        for number, letter in enumerate(super().fetch(uids)):
            if number == self.after:
                raise MailboxTemporary("The connection broke.")
            yield letter


def test_a_line_that_breaks_within_every_batch_still_empties_the_folder(ledger: Ledger) -> None:
    mailbox = Frail(*(notice(name) for name in ("ann", "bob", "cy")), after=1)
    for _ in range(2):
        with pytest.raises(MailboxTemporary):
            sync(mailbox, ledger, Observer(), owner="test:1", clock=lambda: AT)
    sync(mailbox, ledger, Observer(), owner="test:1", clock=lambda: AT)
    assert mailbox.inbox == {}
    assert suppressed(ledger) == [f"{name}@example.com" for name in ("ann", "bob", "cy")]


def test_a_slow_batch_is_recorded_in_pieces_and_keeps_its_lease(ledger: Ledger) -> None:
    moments = (AT + timedelta(seconds=45) * n for n in count())
    pieces: list[int] = []

    class Ear(Observer):
        def recorded(self, done: int) -> None:
            pieces.append(done)

    mailbox = ListMailbox(*(notice(name) for name in ("ann", "bob", "cy")))
    sync(mailbox, ledger, Ear(), owner="test:1", clock=lambda: next(moments))
    assert len(pieces) > 1
    assert pieces[-1] == 3
    assert len(mailbox.piles[Destination.PROCESSED]) == 3

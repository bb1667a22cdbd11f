"""Fetch, read, judge, record, file: in that order, and never another.

The order of steps is what makes the promise "nothing lost, nothing twice" hold: attempts are
counted before a letter is touched, facts are committed before a letter moves, and a letter
whose facts are safe but which did not move is simply moved by the next run. While a batch is
read and recorded, the next one, counted already, is being fetched. Each step has the name of its
failpoint (`bounced.failpoint`) so that tests can stop the program there.
"""

from __future__ import annotations

import pickle
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from bounced.failpoint import failpoint
from bounced.fetching import Ahead, nobody
from bounced.isolation import dismiss, read_in_child
from bounced.model import INTERRUPTED, STOPPED, Destination
from bounced.reading import read_letter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import IO

    from bounced.fetching import Begun, Promise
    from bounced.model import Kind, Letter, Reading, Recorded, Rehearsed, Visit

    # `bounced.reading.read_letter`, and whoever does the same
    Read = Callable[[Letter, datetime, tuple[Path, ...]], Reading]

# A healthy letter may meet this many crashes that were not its fault before it is read apart.
TRUSTED_ATTEMPTS = 3
# What takes longer to come and be read than this is recorded in pieces. A lease lasts ten minutes.
PIECE = timedelta(minutes=1)


class Mailbox(Protocol):
    """Where letters wait: an IMAP folder, a maildir, a list in a test.

    `name` is unique in the ledger and never changes for one folder. Errors are of
    `bounced.mailbox.MailboxError`.
    """

    name: str

    def open(self) -> int:
        """Connect and select; the folder's UIDVALIDITY, or another number for its epoch."""

    def waiting(self) -> Iterator[Sequence[int]]:
        """UIDs in the folder, ascending, in pieces of bounded length, each once a session.

        Letters filed between two pieces do not disturb the walk.
        """

    def fetch(self, uids: Sequence[int]) -> Iterator[Letter]:
        """The letters that could be had. Of one that does not come, nothing is concluded."""

    def file(self, uids: Sequence[int], destination: Destination) -> set[int]:
        """Put letters on their pile; those of which we have seen that they went."""

    def close(self) -> None:
        """Say goodbye; never raises."""


class Ledger(Protocol):
    """Where facts go. Every method is one transaction, committed when it returns."""

    def begin(
        self, mailbox: str, *, owner: str, at: datetime, gather: timedelta | None = None
    ) -> Visit | None:
        """Take the mailbox's lease and open a run, or go on with one that was cut off.

        With `gather`, visits within that time of the run's beginning are one run, so that the
        brake sees what comes letter by letter. None when another sync holds the lease.
        """

    def select(self, visit: Visit, epoch: int) -> None:
        """Note the folder's epoch; a new one starts a new numbering, old keys stay."""

    def unfiled(self, visit: Visit) -> Mapping[int, Destination]:
        """UIDs of this epoch whose facts are recorded but which have not been filed."""

    def unrecorded(self, visit: Visit, uids: Sequence[int]) -> Sequence[int]:
        """Those of the UIDs of this epoch that have no recorded row, in order."""

    def attempt(self, visit: Visit, uids: Sequence[int]) -> Mapping[int, int]:
        """Count an attempt for each; the number of attempts so far, this one included."""

    def record(self, visit: Visit, readings: Sequence[Reading], *, at: datetime) -> Recorded:
        """Facts, checkpoint and standings in one transaction, guarded by the fence."""

    def filed(self, visit: Visit, uids: Iterable[int]) -> None:
        """Note that letters have left the folder."""

    def end(self, visit: Visit, *, at: datetime, error: str | None = None) -> None:
        """Close the run (`error` None: it went through) and give the lease back."""


class Rehearsing(Protocol):
    """What foretelling asks of a ledger; nothing of it lasts."""

    def attempts(self, mailbox: str, epoch: int, uids: Sequence[int]) -> Mapping[int, int]:
        """Those of the UIDs that are not recorded yet, with how often each was tried."""

    def rehearse(
        self, mailbox: str, epoch: int, batches: Iterable[Sequence[Reading]], *, at: datetime
    ) -> Rehearsed:
        """Record the batches as a sync would, see what follows, and take it all back."""


class Readers(Protocol):
    """Others who read letters while we record (`bounced.readers`)."""

    def begin(self, letters: Sequence[Letter], at: datetime) -> Sequence[Promise]:
        """Let these be read; for each, what waits for its reading and gives it."""


class Observer:
    """Override what you want to hear about; the command line prints, tests collect."""

    def concluded(self, reading: Reading) -> None:
        """Called for each letter read, before it is recorded."""

    def recorded(self, done: int) -> None:
        """Called after each transaction with the number of letters recorded so far."""


@dataclass(slots=True)
class Tally:
    """What a pass over one mailbox did; `held` > 0 means the brake holds the run."""

    fetched: int = 0
    kinds: Counter[Kind] = field(default_factory=Counter)
    events: int = 0
    duplicates: int = 0
    suppressed: int = 0
    released: int = 0
    held: int = 0
    incidents: int = 0
    alarms: int = 0
    run_id: int | None = None
    quarantined: int = 0
    unfiled: int = 0
    stopped: bool = False

    def add(self, batch: Recorded) -> None:
        self.events += batch.events
        self.duplicates += batch.duplicates
        self.suppressed += batch.suppressed
        self.released += batch.released
        self.incidents += batch.incidents
        self.alarms += batch.alarms
        self.held = batch.held or self.held
        if self.held:
            self.suppressed = 0

    def count(self, readings: Sequence[Reading]) -> None:
        self.fetched += len(readings)
        self.kinds.update(reading.conclusion.report.kind for reading in readings)
        self.quarantined += sum(r.destination is Destination.QUARANTINE for r in readings)


class LeaseTakenError(Exception):
    """Another sync is at work on this mailbox; nothing was touched."""


def now() -> datetime:
    return datetime.now(UTC)


def sync(  # noqa: PLR0913 - the story has this many characters
    mailbox: Mailbox,
    ledger: Ledger,
    observer: Observer,
    *,
    owner: str,
    batch: int = 500,
    books: tuple[Path, ...] = (),
    keep: Callable[[bytes], object] | None = None,
    stop: Callable[[], bool] = lambda: False,
    gather: timedelta | None = None,
    clock: Callable[[], datetime] = now,
    read: Read | None = None,
    readers: Readers | None = None,
) -> Tally:
    """Empty one mailbox into the ledger. Raises what mailbox and ledger raise; both stay whole.

    `books` are the operator's own rule books; `keep` is given the bytes of a letter that cannot
    be read, before that is recorded; `stop` is asked between batches; `gather` makes one run of
    the passes within that time. `read` is for whoever has read the letters already; `readers` read
    them as they come; without either they are read here.
    """
    visit = ledger.begin(mailbox.name, owner=owner, at=clock(), gather=gather)
    if visit is None:
        raise LeaseTakenError(mailbox.name)
    tally = Tally(run_id=visit.run_id)
    reader = _reader(books, keep, clock, read)
    this = _Pass(mailbox, ledger, observer, visit, tally, reader, clock, Ahead(mailbox), readers)
    error: str | None = INTERRUPTED
    try:
        failpoint("leased")
        ledger.select(visit, mailbox.open())
        failpoint("selected")
        this.file(ledger.unfiled(visit))
        failpoint("recovered")
        this.empty(batch, stop)
        # a pass that was stopped goes on as the same run, so that the brake counts it as one
        error = STOPPED if tally.stopped else None
    except Exception as problem:
        error = f"{type(problem).__name__}: {problem}"
        raise
    finally:
        this.ahead.close()
        dismiss()
        mailbox.close()
        ledger.end(visit, at=clock(), error=error)
    return tally


@dataclass(frozen=True, slots=True)
class _Pass:
    """One pass over one mailbox, with everybody who takes part in it."""

    mailbox: Mailbox
    ledger: Ledger
    observer: Observer
    visit: Visit
    tally: Tally
    read: Callable[[Letter, int, Promise], Reading]
    clock: Callable[[], datetime]
    ahead: Ahead
    readers: Readers | None = None

    def empty(self, size: int, stop: Callable[[], bool]) -> None:
        """Work through what waits; the next batch is fetched while one is read and recorded."""
        coming = self._coming(size)
        batch = next(coming, None)
        while batch is not None:
            if stop():
                self.tally.stopped = True
                return
            following = next(coming, None)
            self._one_batch(*batch)
            batch = following

    def _coming(self, size: int) -> Iterator[tuple[Iterator[Begun], Mapping[int, int]]]:
        """Batches of which fetching has begun, each with the attempts at its letters so far."""
        for uids in self._batches(size):
            attempts = self.ledger.attempt(self.visit, uids)
            failpoint("attempt")
            yield self.ahead.ask(uids, partial(self._begin, attempts)), attempts

    def _begin(self, attempts: Mapping[int, int], letters: Sequence[Letter]) -> Sequence[Promise]:
        """Let those be read that need not be read apart, where somebody else does."""
        if self.readers is None or any(attempts[one.uid] > TRUSTED_ATTEMPTS for one in letters):
            return nobody(letters)
        return self.readers.begin(letters, self.clock())

    def _batches(self, size: int) -> Iterator[Sequence[int]]:
        for uids in self.mailbox.waiting():
            failpoint("searched")
            yield from _batched(self.ledger.unrecorded(self.visit, uids), size)

    def _one_batch(self, letters: Iterator[Begun], attempts: Mapping[int, int]) -> None:
        """Record what comes of a batch: in pieces, so that the lease outlives a slow server, and
        up to where the line breaks, so that one that breaks in every batch empties the folder too.
        """
        broken: list[Exception] = []
        readings: list[Reading] = []
        since = self.clock()
        for letter, promise in _until_broken(letters, broken):
            failpoint("fetched")
            reading = self.read(letter, attempts[letter.uid], promise)
            failpoint("parsed")
            self.observer.concluded(reading)
            readings.append(reading)
            if self.clock() - since >= PIECE:
                self._record(readings)
                self._file(readings)
                readings, since = [], self.clock()
        if readings or not broken:
            self._record(readings)
        if broken:
            raise broken[0]
        self._file(readings)

    def _record(self, readings: Sequence[Reading]) -> None:
        self.tally.add(self.ledger.record(self.visit, readings, at=self.clock()))
        failpoint("committed")
        self.tally.count(readings)
        self.observer.recorded(self.tally.fetched)

    def _file(self, readings: Sequence[Reading]) -> None:
        self.file({reading.uid: reading.destination for reading in readings})

    def file(self, piles: Mapping[int, Destination]) -> None:
        """Put letters on their piles, and note which of them have gone."""
        gone: set[int] = set()
        for destination in Destination:
            uids = [uid for uid, pile in piles.items() if pile is destination]
            if uids:
                gone |= self._move(uids, destination)
                failpoint("moved")
        if piles:
            self.ledger.filed(self.visit, gone)
            failpoint("filed")
        self.tally.unfiled += len(piles) - len(gone)

    def _move(self, uids: Sequence[int], destination: Destination) -> set[int]:
        try:
            return self.mailbox.file(uids, destination)
        except Exception as problem:  # noqa: BLE001 - raised again, or what led to it
            # fetching ahead may have lost the connection before us, and knows why
            raise self.ahead.problem or problem from None


def foretell(  # noqa: PLR0913 - the characters of `sync`, without those who change anything
    mailbox: Mailbox,
    ledger: Rehearsing,
    observer: Observer,
    *,
    batch: int = 500,
    books: tuple[Path, ...] = (),
    stop: Callable[[], bool] = lambda: False,
    clock: Callable[[], datetime] = now,
) -> tuple[Tally, Rehearsed]:
    """What `sync` would do now. Changes neither mailbox (open it to look only) nor ledger.

    Letters are read first and their readings kept in an unnamed temporary file, so that nobody
    has to wait for the ledger while they are fetched.
    """
    read = _reader(books, None, clock)
    tally = Tally()
    with tempfile.TemporaryFile() as kept:
        try:
            epoch = mailbox.open()
            for uids in mailbox.waiting():
                for some in _batched(uids, batch):
                    if stop():
                        tally.stopped = True
                        break
                    tried = ledger.attempts(mailbox.name, epoch, some)
                    fetched = mailbox.fetch(list(tried)) if tried else ()
                    readings = [read(letter, tried[letter.uid] + 1, None) for letter in fetched]
                    pickle.dump(readings, kept)
                    tally.count(readings)
                    observer.recorded(tally.fetched)
        finally:
            mailbox.close()
        kept.seek(0)
        told = ledger.rehearse(mailbox.name, epoch, _unpickled(kept), at=clock())
    tally.add(told.recorded)
    return tally, told


def _unpickled(file: IO[bytes]) -> Iterator[list[Reading]]:
    while True:
        try:
            yield pickle.load(file)  # noqa: S301 - nobody else can have written it
        except EOFError:
            return


def _reader(
    books: tuple[Path, ...],
    keep: Callable[[bytes], object] | None,
    clock: Callable[[], datetime],
    elsewhere: Read | None = None,
) -> Callable[[Letter, int, Promise], Reading]:
    """How letters are read: here, or apart once they have met too many crashes."""

    def read(letter: Letter, attempts: int, promise: Promise) -> Reading:
        apart = attempts > TRUSTED_ATTEMPTS
        reader = elsewhere or (read_in_child if apart else read_letter)
        reading = promise() if promise else reader(letter, clock(), books)
        if keep is not None and reading.destination is Destination.QUARANTINE:
            keep(letter.raw)
        return reading

    return read


def _until_broken(letters: Iterator[Begun], broken: list[Exception]) -> Iterator[Begun]:
    """The letters until fetching them fails, if it does; why then goes into `broken`."""
    try:
        yield from letters
    except Exception as problem:  # noqa: BLE001 - raised once what has come is recorded
        broken.append(problem)


def _batched(uids: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    rest = iter(uids)
    while some := list(islice(rest, size)):
        yield some

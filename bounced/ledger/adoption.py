"""Suppressions that others knew before us: taken over once, with the name of who said so.

Each becomes an event of a run over a mailbox called `import/…`, so that the brake, the audit,
releases and `explain` treat it like what a server said. It is hearsay: it suppresses, but is never
a second witness to anything, and the books have nothing to judge in it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bounced.ledger.engine import chunks
from bounced.ledger.facts import IMPORTED
from bounced.model import (
    Bounce,
    Conclusion,
    Destination,
    Fault,
    Kind,
    Outcome,
    Reading,
    Reason,
    RecipientReport,
    Reply,
    Report,
    Verdict,
)
from bounced.smtp import folded

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from bounced.ledger.book import Ledger
    from bounced.model import Visit

PORTION: Final = 1000


@dataclass(frozen=True, slots=True)
class Hearsay:
    """One line of somebody else's suppression list.

    `at` is when they put it there (aware; None: they do not say), `said` what they keep of the
    reason, in their words.
    """

    address: str
    complaint: bool = False
    said: str = ""
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """Who says so: the word under which it is kept, and what people call them."""

    word: str
    title: str


@dataclass(slots=True)
class Adopted:
    """What an import did; `held` > 0 means that the brake holds the run `run_id`."""

    run_id: int | None = None
    new: int = 0
    known: int = 0
    suppressed: int = 0
    held: int = 0


def adopt(  # noqa: PLR0913 - whose list, and whose word
    ledger: Ledger,
    source: Source,
    rows: Iterable[Hearsay],
    *,
    owner: str,
    at: datetime,
    by: str = "import",
) -> Adopted | None:
    """Take over a list. None where another import from this source is going on.

    The same line again is no news, even with another date: an address that was released here
    stays so. It is a decision of `by`, and can be undone.
    """
    visit = ledger.begin(f"{IMPORTED}{source.word}", owner=owner, at=at)
    if visit is None:
        return None
    told = Adopted(run_id=visit.run_id)
    error: str | None = "interrupted"
    try:
        # each import numbers its lines from one, and two may come within a second
        ledger.select(visit, int(at.timestamp() * 1_000_000))
        ledger.note_import(visit, by=by, at=at, title=source.title)
        uid = 0
        for some in chunks(rows, PORTION):
            readings = [_reading(uid + n, one, source, at) for n, one in enumerate(some, 1)]
            uid += len(some)
            _record(ledger, visit, readings, told, at)
        ledger.note_import(visit, by=by, at=at, title=source.title, over=True)
        error = None
    finally:
        ledger.end(visit, at=at, error=error)
    return told


def _record(
    ledger: Ledger, visit: Visit, readings: list[Reading], told: Adopted, at: datetime
) -> None:
    done = ledger.record(visit, readings, at=at)
    ledger.filed(visit, [reading.uid for reading in readings])
    told.new += done.events
    told.known += done.duplicates
    told.suppressed += done.suppressed
    told.held = done.held or told.held
    if told.held:
        told.suppressed = 0


def _reading(uid: int, line: Hearsay, source: Source, at: datetime) -> Reading:
    recipient = RecipientReport(line.address, Reply(line.said))
    kind = Kind.COMPLAINT if line.complaint else Kind.BOUNCE
    report = Report(kind, (recipient,), f"{IMPORTED}{source.word}")
    key = f"{IMPORTED}{source.word} {kind.value} {folded(line.address)}"
    digest = hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()
    conclusion = Conclusion(report, (Bounce(recipient, _verdict(line, source)),))
    when = at if line.at is None else min(line.at, at)
    return Reading(uid, when, digest, digest, conclusion, Destination.PROCESSED)


def _verdict(line: Hearsay, source: Source) -> Verdict:
    rule = f"{IMPORTED}{source.word}"
    if line.complaint:
        because = f"{source.title} had it on record that the recipient complained."
        return Verdict(Outcome.NONE, Reason.COMPLAINT, Fault.RECIPIENT, 1.0, rule, because)
    because = f"{source.title} had it on its own suppression list."
    return Verdict(Outcome.HARD, Reason.PROVIDER_SUPPRESSED, Fault.UNKNOWN, 1.0, rule, because)

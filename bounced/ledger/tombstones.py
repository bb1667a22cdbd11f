"""Who asked to be forgotten: known again by a keyed hash, and by nothing else.

A tombstone is the HMAC-SHA256 of a folded address under a pepper that is not in the database, so
that whoever has the database alone cannot try addresses against it.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from sqlalchemy import select

from bounced.ledger import facts
from bounced.ledger.engine import chunks
from bounced.ledger.errors import LedgerError
from bounced.ledger.rows import Clearance, SuppressedRow
from bounced.ledger.tables import tombstone
from bounced.model import Returned
from bounced.smtp import folded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from bounced.model import Reading

FORGOTTEN: Final = "forgotten"  # as reason, status and problem
FEW: Final = 10_000  # so many tombstones are read at once sooner than looked up one by one
BECAUSE: Final = "This address was forgotten on request, and is not to be mailed."


_PEPPERS: Final = select(tombstone.c.pepper).distinct()


def suppressed(address: str) -> SuppressedRow:
    """What is said of who was forgotten, where a line of the list is wanted."""
    return SuppressedRow(address, FORGOTTEN, FORGOTTEN, None, None, None, BECAUSE, None, None)


def unclear(address: str) -> Clearance:
    """The same for whole lists."""
    return Clearance(address, True, FORGOTTEN, None, None, BECAUSE)  # noqa: FBT003


def no_pepper() -> None:
    """What a ledger asks for a pepper that has none."""


@dataclass(slots=True)
class Tombstones:
    """The tombstones of one ledger. `pepper` is asked once, before any transaction."""

    pepper: Callable[[], bytes | None] = no_pepper
    _known: bytes | None = field(default=None, repr=False)

    def look_up(self) -> None:
        """Ask for the pepper: a command may have to be run for it."""
        if self._known is None:
            self._known = self.pepper()

    def among(self, connection: Connection, addresses: Iterable[str]) -> frozenset[str]:
        """Those of some addresses that were forgotten, as they are given.

        Raises LedgerError where there are tombstones and the pepper is another, or none: what was
        forgotten must not come back because of a slip in the configuration.
        """
        peppers = self._peppers(connection)
        if not peppers:
            return frozenset()
        if self._known is None or peppers != {self._mark()}:
            raise LedgerError(
                "Somebody was forgotten in this database, and the configuration has not the pepper "
                "by which they are known. Nothing was changed. Set [privacy] pepper_file, or "
                "pepper_env or pepper_command, to what it was then"
            )
        few = connection.execute(select(tombstone.c.digest).limit(FEW + 1)).scalars().all()
        if len(few) <= FEW:
            known = set(few)
            return frozenset(one for one in addresses if self._digest(one) in known)
        found: set[str] = set()
        for some in chunks(addresses):
            digests = [self._digest(one) for one in some]
            query = select(tombstone.c.digest).where(tombstone.c.digest.in_(digests))
            known = set(connection.execute(query).scalars())
            found.update(one for one, its in zip(some, digests, strict=True) if its in known)
        return frozenset(found)

    def put(self, connection: Connection, addresses: Iterable[str], at: datetime) -> None:
        """Remember to forget. Raises LedgerError without a pepper, or with another than before."""
        new = sorted({folded(one) for one in addresses} - self.among(connection, ()))
        there = self.among(connection, new)
        if self._known is None:
            raise LedgerError(
                "There is no pepper to remember by who is forgotten. Nothing was changed. Make one "
                "with: head -c 32 /dev/urandom | base64 > pepper; chmod 600 pepper (keep a copy "
                'apart from the database), and add to the configuration: [privacy] pepper_file = "'
                'pepper"'
            )
        rows = [
            {"digest": self._digest(one), "pepper": self._mark(), "at": at}
            for one in new
            if one not in there
        ]
        if rows:
            connection.execute(tombstone.insert(), rows)

    def lift(self, connection: Connection, address: str) -> bool:
        """Let an address be recorded and mailed again; whether it was forgotten."""
        if not self.among(connection, [address]):
            return False
        connection.execute(tombstone.delete().where(tombstone.c.digest == self._digest(address)))
        return True

    def without(
        self, connection: Connection, readings: Sequence[Reading], owners: Mapping[int, str]
    ) -> list[Reading]:
        """Readings from which everything about who was forgotten is gone."""
        if not self._peppers(connection):
            return list(readings)
        told = {
            reading.uid: facts.fates(reading.conclusion, owners.get(reading.uid))
            for reading in readings
        }
        gone = self.among(connection, {one for fates in told.values() for one in fates})
        if not gone:
            return list(readings)
        return [_without(one, gone) if gone & told[one.uid].keys() else one for one in readings]

    @staticmethod
    def _peppers(connection: Connection) -> set[str]:
        """The marks of all peppers by which anybody is known; there are none in most ledgers."""
        return set(connection.execute(_PEPPERS).scalars())

    def _digest(self, address: str) -> str:
        said = b"bounced-tombstone1|" + folded(address).encode("utf-8", "surrogatepass")
        return hmac.digest(self._known or b"", said, hashlib.sha256).hex()

    def _mark(self) -> str:
        """By which a pepper is told from another; it says nothing else of it."""
        return hmac.digest(self._known or b"", b"bounced-pepper1", hashlib.sha256).hex()[:16]


def _without(reading: Reading, gone: frozenset[str]) -> Reading:
    conclusion = reading.conclusion
    left = tuple(b for b in conclusion.bounces if facts.whose(b.recipient) not in gone)
    if len(conclusion.bounces) == 1:  # whom it is of may have been told by a token alone
        left = ()
    report = conclusion.report
    returned = report.returned
    # by these the others' reports are known for ours; the envelope is not kept at all
    kept = Returned(list_id=returned.list_id, message_id=_unless(returned.message_id, gone))
    report = replace(
        report,
        recipients=tuple(bounce.recipient for bounce in left),
        message_id=_unless(report.message_id, gone),
        returned=kept,
        problems=(*report.problems, FORGOTTEN),
    )
    return replace(reading, conclusion=replace(conclusion, report=report, bounces=left))


def _unless(text: str | None, gone: frozenset[str]) -> str | None:
    """A Message-ID, unless it names somebody in so many words, or as VERP does."""
    low = (text or "").lower()
    forms = (form for one in gone for form in (folded(one), folded(one).replace("@", "=")))
    return None if any(form in low for form in forms) else text

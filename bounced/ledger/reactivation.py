"""The way back for a subscriber who has a signed link: released once, by new rights only."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import select

from bounced.ledger import standings
from bounced.ledger.tables import address, release
from bounced.model import Status
from bounced.smtp import folded

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from bounced.ledger.book import Ledger
    from bounced.trust import Link

BY = "re-activation link"


class Reactivated(StrEnum):
    """What became of a link."""

    RELEASED = "released"
    NOT_SUPPRESSED = "not suppressed"  # it may be mailed as it is; nothing was changed
    USED = "used"  # by this link once, and suppressed again since
    NEWER = "newer"  # suppressed by what came after the link was made
    COMPLAINED = "complained"  # a complaint takes a person's word


def reactivate(
    ledger: Ledger, link: Link, *, at: datetime, complaints: bool = False
) -> Reactivated:
    """Release the address of a link, in every spelling on record, if it still may be.

    The release is a decision like an operator's: audited, and it can be undone. The link's
    signature and expiry are the caller's to check.
    """
    with ledger._database.writing() as connection:  # noqa: SLF001 - a room of the same house
        mine = select(address.c.address).where(address.c.folded == folded(link.address))
        names = list(connection.execute(mine).scalars())
        suppressed = standings.suppressing_rows(connection, names, at)
        if not suppressed:
            return Reactivated.NOT_SUPPRESSED
        if _used(connection, link):
            return Reactivated.USED
        later = link.issued_at + timedelta(seconds=1)  # a link knows whole seconds only
        if any(row["since"] is not None and row["since"] >= later for row in suppressed):
            return Reactivated.NEWER
        complained = any(row["status"] == Status.COMPLAINED.value for row in suppressed)
        if complained and not complaints:
            return Reactivated.COMPLAINED
        occasion = standings.Occasion(at, BY)
        ledger._release(connection, names, occasion, _note(link), link.address)  # noqa: SLF001
    return Reactivated.RELEASED


def _note(link: Link) -> str:
    return f"link {link.id}"


def _used(connection: Connection, link: Link) -> bool:
    by_it = (release.c.by == BY) & (release.c.note == _note(link))
    query = select(release.c.id).join(address, address.c.address == release.c.address)
    query = query.where(by_it, address.c.folded == folded(link.address)).limit(1)
    return connection.execute(query).first() is not None

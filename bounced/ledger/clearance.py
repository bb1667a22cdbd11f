"""Whole mailing lists against the ledger: which of many addresses not to mail now.

Addresses go to the database sorted and ten thousand in one parameter, so that the index is walked
from left to right and a page of it is read once, not once for each address.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select

from bounced.ledger import rulings
from bounced.ledger.engine import chunks
from bounced.ledger.rows import Clearance
from bounced.ledger.tables import address, list_standing, newly_suppressed, run
from bounced.model import Reason, Status
from bounced.smtp import folded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, RowMapping

    from bounced.domains import Ruling
    from bounced.ledger.engine import Database
    from bounced.ledger.standings import Judge

PORTION: Final = 10_000


def unclear(
    database: Database, judge: Judge, matched: Iterable[str], at: datetime, on: str | None = None
) -> dict[str, Clearance]:
    """Those of the folded addresses not to mail at a time, by folded address."""
    found: dict[str, Clearance] = {}
    with database.reading() as connection:
        waits = _anyone_waits(connection)
        unheard = _held_unheard(connection) if waits else {}
        dead = rulings.all_in_force(connection)
        for some in chunks(sorted(set(matched)), PORTION):
            if waits:
                found.update((key, unheard[key]) for key in some if key in unheard)
                found.update(_held(connection, database, some))
            for key, told in _standing(connection, database, judge, some, at):
                if key not in found or told.suppressed:  # of several spellings the worst counts
                    found[key] = told
            for key, told in _on_lists(connection, database, some, at, on):
                if key not in found or not found[key].suppressed:
                    found[key] = told
            if dead:
                found.update(_at_dead_domains(connection, database, judge, dead, some, found))
    return found


def _at_dead_domains(  # noqa: PLR0913, PLR0917 - whom, and what is known of them
    connection: Connection,
    database: Database,
    judge: Judge,
    dead: Mapping[str, Ruling],
    matched: Sequence[str],
    found: Mapping[str, Clearance],
) -> dict[str, Clearance]:
    """Those of whom nothing else is on record than that their domain is dead."""
    there = {key: dead[at] for key in matched if (at := key.rpartition("@")[2]) in dead}
    keys, parameters = (
        database.dialect.texts(),
        database.dialect.given(sorted(there.keys() - found.keys())),
    )
    query = select(address.c.folded).select_from(
        keys.join(address, address.c.folded == keys.c.value)
    )
    heard = set(connection.execute(query, parameters).scalars())
    return {
        key: Clearance(key, True, one.reason.value, one.since, None, one.because)  # noqa: FBT003
        for key, one in there.items()
        if key not in heard and key not in found and judge.spares(key) is None
    }


def _on_lists(
    connection: Connection, database: Database, matched: list[str], at: datetime, on: str | None
) -> Iterator[tuple[str, Clearance]]:
    """What single lists (or the one) have against some, where lists have standings."""
    own = list_standing.c
    keys, parameters = database.dialect.texts(), database.dialect.given(matched)
    query = select(list_standing).select_from(keys.join(list_standing, own.folded == keys.c.value))
    if on is not None:
        query = query.where(own.list == on)
    for row in connection.execute(query.where(own.suppressed), parameters).mappings():
        told = _suppressed(row, at)
        if told is not None:
            yield row["folded"], told


def _standing(
    connection: Connection, database: Database, judge: Judge, matched: list[str], at: datetime
) -> Iterator[tuple[str, Clearance]]:
    keys, parameters = database.dialect.texts(), database.dialect.given(matched)
    query = (
        select(
            address.c.folded,
            address.c.address,
            address.c.suppressed,
            address.c.reason,
            address.c.since,
            address.c.expires_at,
            address.c.because,
        )
        .select_from(keys.join(address, address.c.folded == keys.c.value))
        .where(address.c.suppressed | (address.c.status == Status.HARD_BOUNCED.value))
    )
    for row in connection.execute(query, parameters).mappings():
        told = _suppressed(row, at) if row["suppressed"] else _pending(row, judge, at)
        if told is not None:
            yield row["folded"], told


def _suppressed(row: RowMapping, at: datetime) -> Clearance | None:
    until = row["expires_at"]
    if until is not None and until <= at:
        return None
    words = row["reason"] or "", row["since"], until, row["because"]
    return Clearance(row["address"], True, *words)  # noqa: FBT003 - the row's own word


def _pending(row: RowMapping, judge: Judge, at: datetime) -> Clearance | None:
    """One hard bounce, not sure enough by itself: a second one soon after it proves nothing."""
    if row["reason"] is None or row["since"] is None or judge.spares(row["address"]):
        return None
    until = row["since"] + judge.policy.patience(Reason(row["reason"]))
    if until <= at:
        return None
    because = f"{row['because']} Mail again only after {until:%Y-%m-%d %H:%MZ}: that decides."
    words = row["reason"], row["since"], until, because
    return Clearance(row["address"], False, *words)  # noqa: FBT003


def _anyone_waits(connection: Connection) -> bool:
    query = select(run.c.id).where(run.c.state == "held").limit(1)
    return connection.execute(query).first() is not None


def _held(
    connection: Connection, database: Database, matched: list[str]
) -> Mapping[str, Clearance]:
    keys, parameters = database.dialect.texts(), database.dialect.given(matched)
    tables: Any = keys.join(address, address.c.folded == keys.c.value)
    tables = tables.join(newly_suppressed, newly_suppressed.c.address == address.c.address)
    tables = tables.join(run, run.c.id == newly_suppressed.c.run_id)
    columns = address.c.folded, address.c.address, run.c.id, run.c.started_at
    query = select(*columns).select_from(tables).where(run.c.state == "held")
    return {
        key: _held_by(whose, number, since)
        for key, whose, number, since in connection.execute(query, parameters)
    }


def _held_unheard(connection: Connection) -> dict[str, Clearance]:
    """Those who wait for the sake of their domain, and of whom nothing else is on record."""
    tables = newly_suppressed.join(run, run.c.id == newly_suppressed.c.run_id)
    tables = tables.outerjoin(address, address.c.address == newly_suppressed.c.address)
    query = select(newly_suppressed.c.address, run.c.id, run.c.started_at).select_from(tables)
    query = query.where(run.c.state == "held", address.c.address.is_(None))
    found = connection.execute(query)
    return {folded(whose): _held_by(whose, number, since) for whose, number, since in found}


def _held_by(whose: str, number: int, since: datetime) -> Clearance:
    return Clearance(
        whose,
        suppressed=False,
        reason="held",
        since=since,
        until=None,
        because=f"Run {number} would suppress it and waits for a decision: bounced hold list.",
    )

"""Whom a run would newly suppress if it counts: what the brake counts, and what a person decides.

Noted in `newly_suppressed` while a run is undecided, by standings and by rulings on whole domains
with the run's events and without them.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, func, select

from bounced.ledger import bulk, rulings
from bounced.ledger.engine import chunks
from bounced.ledger.standings import History, Waiting, changed_rulings, counted, load
from bounced.ledger.tables import address, newly_suppressed, subscriber

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Delete

    from bounced.domains import Turn
    from bounced.ledger.standings import Entry, Judge
    from bounced.model import Standing

# The states of runs whose count of newly suppressed addresses may still be asked for.
UNDECIDED = ("open", "failed", "held")


def with_run(run_id: int) -> Callable[[Entry], bool]:
    """Which events count if those of a run do."""

    def counts(entry: Entry) -> bool:
        return (entry.run_id == run_id and not entry.waits) or counted(entry)

    return counts


def conclude_with(
    judge: Judge, histories: Mapping[str, History], run_id: int, at: datetime
) -> dict[str, Standing]:
    """Standings as they are if the run counts."""
    with_this = with_run(run_id)
    return {
        whose: judge.conclude(whose, history, with_this, at) for whose, history in histories.items()
    }


def if_accepted(
    connection: Connection, judge: Judge, addresses: Sequence[str], run_id: int, at: datetime
) -> dict[str, tuple[str, Standing]]:
    """The standing of each address if a run counts: the list ("": all), and what it would be there.

    Where that does not suppress it on all lists, it is that on the first list that it does.
    """
    with_this = with_run(run_id)
    there = load(connection, addresses)
    domains = {whose.rpartition("@")[2] for whose in addresses}
    runs, waiting = rulings.Runs(with_=run_id), Waiting(connection)
    then = rulings.made_again(connection, judge.policy, domains, waiting, runs)
    found = {}
    for whose in addresses:
        history = there.get(whose) or History()
        history.ruling = then[whose.rpartition("@")[2]]
        overall = judge.conclude(whose, history, with_this, at)
        own = {} if overall.suppressed else judge.on_lists(whose, history, with_this, at)
        found[whose] = next(iter(own.items()), ("", overall))
    return found


def note_newly_suppressed(  # noqa: PLR0913, PLR0917 - whom, by which run, as far as is known
    connection: Connection,
    judge: Judge,
    histories: Mapping[str, History],
    run_id: int,
    at: datetime,
    found: Mapping[str, Standing] | None = None,
) -> int:
    """Note whom the run would newly suppress if it counts, on all lists or on one; how many so far.

    `found` are the standings `conclude_with` the run, where they are known.
    """
    with_this = with_run(run_id)
    found = found or conclude_with(judge, histories, run_id, at)
    without = _without(connection, judge, histories, run_id)

    def others(entry: Entry) -> bool:
        return entry.run_id != run_id and counted(entry)

    def is_new(whose: str, history: History) -> bool:
        before = without.get(whose, history)
        if judge.lists.apart:
            now = judge.suppressing(whose, history, with_this, at)
            return bool(now - judge.suppressing(whose, before, others, at))
        if not found[whose].suppressed:
            return False
        if before.ruling is None and not any(map(others, history.entries)):
            return True  # there was nothing before
        return not judge.conclude(whose, before, others, at).suppressed

    newly = [
        {"run_id": run_id, "address": whose}
        for whose, history in histories.items()
        if is_new(whose, history)
    ]
    _forget(connection, run_id, histories)
    bulk.put(connection, newly_suppressed, newly)
    return waiting_of(connection, run_id)


def _without(
    connection: Connection, judge: Judge, histories: Mapping[str, History], run_id: int
) -> dict[str, History]:
    """Histories of those at dead domains, with the ruling as it were had the run not been."""
    ruled = {whose: whose.rpartition("@")[2] for whose, one in histories.items() if one.ruling}
    if not ruled:
        return {}
    runs, waiting = rulings.Runs(without=run_id), Waiting(connection)
    then = rulings.made_again(connection, judge.policy, set(ruled.values()), waiting, runs)
    return {
        whose: replace(histories[whose], ruling=then[domain]) for whose, domain in ruled.items()
    }


def note_ruled(
    connection: Connection,
    judge: Judge,
    histories: Mapping[str, History],
    run_id: int,
    at: datetime,
) -> dict[str, Turn]:
    """Note whom new rulings would newly suppress if the run counts; returns those rulings.

    Rulings rest on a run's events like standings, so that the brake has to count their work.
    """
    with_this = with_run(run_id)
    newly: dict[str, None] = {}
    ruled = changed_rulings(connection, judge, histories, rulings.Runs(with_=run_id))
    holding = {domain: turn for domain, turn in ruled.items() if turn.now is not None}
    for some in chunks(rulings.concerned(connection, holding)):
        there = load(connection, some)
        for whose in some:
            history = there.get(whose) or History()
            history.ruling = holding[whose.rpartition("@")[2]].now
            then = judge.conclude(whose, history, with_this, at)
            if then.suppressed and not history.suppressed(at):
                newly[whose] = None
    for some in chunks(newly):
        _forget(connection, run_id, some)
        rows = [{"run_id": run_id, "address": whose} for whose in some]
        bulk.put(connection, newly_suppressed, rows)
    return ruled


def waiting_of(connection: Connection, run_id: int) -> int:
    """How many addresses a run would newly suppress, as far as that is noted."""
    return connection.execute(_WAITING, {"run": run_id}).scalar_one()


_WAITING = (
    select(func.count())
    .select_from(newly_suppressed)
    .where(newly_suppressed.c.run_id == bindparam("run"))
)


def _forget(connection: Connection, run_id: int, addresses: Iterable[str]) -> None:
    """Note no more that a run would newly suppress these."""
    given = bulk.given(connection, addresses)
    connection.execute(_noted(connection.dialect.name), {"run": run_id, **given})


@cache
def _noted(kind: str) -> Delete:
    mine = newly_suppressed.c.run_id == bindparam("run")
    return delete(newly_suppressed).where(mine, bulk.wanted(kind, newly_suppressed.c.address))


def count_again(
    connection: Connection, judge: Judge, histories: Mapping[str, History], at: datetime
) -> None:
    """Note again what undecided runs would newly suppress, after other events came to count."""
    by_run: dict[int, dict[str, History]] = {}
    for whose, history in histories.items():
        for entry in history.entries:
            if entry.run_state in UNDECIDED:
                by_run.setdefault(entry.run_id, {})[whose] = history
    for run_id, of_run in by_run.items():
        others = _others_noted(connection, run_id, of_run)
        note_newly_suppressed(connection, judge, {**others, **of_run}, run_id, at)
        note_ruled(connection, judge, of_run, run_id, at)


def _others_noted(
    connection: Connection, run_id: int, histories: Mapping[str, History]
) -> dict[str, History]:
    """Who else at the same domains is noted for a run, perhaps for the sake of a ruling."""
    domains = {whose.rpartition("@")[2] for whose in histories}
    noted = select(newly_suppressed.c.address).where(newly_suppressed.c.run_id == run_id)
    some = [
        whose
        for whose in connection.execute(noted).scalars()
        if whose not in histories and whose.rpartition("@")[2] in domains
    ]
    found: dict[str, History] = {}
    for part in chunks(some):
        there = load(connection, part)
        found |= {whose: there.get(whose) or History() for whose in part}
    return found


def subscribers(connection: Connection) -> int:
    """How many addresses are on any list."""
    return connection.execute(select(func.count(subscriber.c.address.distinct()))).scalar_one()


def on_record(connection: Connection, arriving: Iterable[History]) -> int:
    """How many addresses have a row, or get one in this transaction."""
    there = connection.execute(select(func.count()).select_from(address)).scalar_one()
    return there + sum(history.row is None for history in arriving)

"""What operators decided, and the taking back of it.

A decision is a fact like a bounce: standings follow from it. To undo one is to mark it undone, put
the run or the judgements it touched back, and make the standings of those addresses again, which
is audited like every other change. To redo one is the same the other way round.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, bindparam, delete, func, select, update

from bounced.ledger import counting, places, rulings, standings
from bounced.ledger.engine import chunks
from bounced.ledger.errors import LedgerError
from bounced.ledger.places import Place
from bounced.ledger.rows import DecisionRow, Undone
from bounced.ledger.tables import (
    decision,
    event,
    incident,
    judgement,
    mailbox,
    newly_suppressed,
    release,
    replaced_judgement,
    run,
    transition,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from sqlalchemy import Connection, Row

    from bounced.ledger.standings import Judge, Occasion

# The parts of a judgement, which change places with those they have replaced.
JUDGED = ("outcome", "reason", "fault", "confidence", "rule", "because")
# The states of a run that was cut off, or ended with an error, and that the next goes on with.
CUT_OFF = ("open", "failed")
VERSIONED = (*JUDGED, "rules_version", "judged_at")


def note(connection: Connection, what: str, occasion: Occasion, **more: object) -> Occasion:
    """Write a decision down; the occasion of all that follows from it."""
    row = {"what": what, "at": occasion.at, "by": occasion.actor, "run_id": occasion.run_id}
    written = decision.insert().values({**row, **more}).returning(decision.c.id)
    return replace(occasion, decision_id=int(connection.execute(written).scalar_one()))


def note_import(connection: Connection, occasion: Occasion, title: str, *, over: bool) -> None:
    """Write an import down when it begins; when it is over say how much it was, or forget it."""
    mine = (decision.c.what == "import") & (decision.c.run_id == occasion.run_id)
    known = connection.execute(select(decision.c.id).where(mine)).scalar()
    if known is None:
        states = {"run_without": "discarded", "run_with": "done"}
        note(connection, "import", occasion, subject=f"addresses from {title}", **states)
    if over:
        brought = select(func.count(event.c.address.distinct()))
        count = connection.execute(brought.where(event.c.run_id == occasion.run_id)).scalar_one()
        subject = f"{count} addresses from {title}"
        told = update(decision).values(subject=subject) if count else delete(decision)
        connection.execute(told.where(mine))


def listed(connection: Connection, limit: int) -> list[DecisionRow]:
    """The last decisions, newest first, with how many standings each changed when it was made."""
    changed = (
        select(func.count(transition.c.address.distinct()))
        .where(transition.c.decision_id == decision.c.id)
        .scalar_subquery()
    )
    names = [name for name in DecisionRow.__dataclass_fields__ if name != "addresses"]
    query = select(*(decision.c[name] for name in names), changed.label("addresses"))
    query = query.order_by(decision.c.id.desc()).limit(limit)
    return [DecisionRow(**row) for row in connection.execute(query).mappings()]


def undo(  # noqa: PLR0913 - whose word, about what, and which way
    connection: Connection,
    judge: Judge,
    number: int,
    occasion: Occasion,
    note: str,
    *,
    again: bool,
    clock: datetime,
) -> Undone:
    """Take a decision back, or with `again` back into force. Raises LedgerError if it cannot be.

    `clock` is the database's, by which leases run.
    """
    row = _to_undo(connection, number, clock, again=again)
    occasion = replace(occasion, run_id=row.run_id, decision_id=number)
    values: dict[str, object] = {
        "undone_at": occasion.at,
        "undone_by": occasion.actor,
        "undone_note": note,
    }
    if again:
        values = {"undone_at": None, "undone_by": None, "undone_note": ""}
    elif row.what == "import":  # the brake may have held it, and a person accepted it
        state = _state(connection, row.run_id)
        values["run_with"] = "done" if state in CUT_OFF else state
    # first the mark, since standings ask which releases are in force
    connection.execute(update(decision).where(decision.c.id == number).values(values))
    if row.run_id is not None:
        _put_run(connection, row, again=again)
    if row.what == "reclassify":
        _swap_judgements(connection, number)
    if row.what == "incident":
        mine = update(incident).where(incident.c.decision_id == number)
        connection.execute(mine.values(state=row.run_with if again else row.run_without))
    began = ended = 0
    for some in chunks(_addresses(connection, row)):
        histories = standings.load(connection, some)
        more = standings.write(connection, judge, occasion, histories)
        counting.count_again(connection, judge, histories, occasion.at)
        began, ended = began + more[0], ended + more[1]
    return Undone(row.what, row.subject, began, ended)


def _to_undo(connection: Connection, number: int, clock: datetime, *, again: bool) -> Row[Any]:
    row = connection.execute(select(decision).where(decision.c.id == number)).one_or_none()
    wrong = None
    if row is None:
        wrong = f"There is no decision {number}"
    elif again != (row.undone_at is not None):
        wrong = f"Decision {number} {'is in force' if again else 'was taken back already'}"
    else:
        wrong = _in_the_way(connection, row, clock)
    if row is None or wrong is not None:
        raise LedgerError(
            f"{wrong}. Nothing was changed. To see what was decided, type: bounced decisions"
        )
    return row


def _in_the_way(connection: Connection, row: Row[Any], clock: datetime) -> str | None:
    """What was decided since about the same, and has to be taken back first."""
    if row.what == "reclassify":
        mine = replaced_judgement.alias()
        same = mine.c.event_id == replaced_judgement.c.event_id
        query = (
            select(func.max(replaced_judgement.c.decision_id))
            .join(mine, same)
            .join(decision, decision.c.id == replaced_judgement.c.decision_id)
            .where(mine.c.decision_id == row.id, replaced_judgement.c.decision_id > row.id)
            .where(decision.c.undone_at.is_(None))
        )
        later = connection.execute(query).scalar()
        if later is not None:
            return f"Decision {later} judged the same events again; undo that one first"
    if row.what == "incident" and not _incidents(connection, row):
        return "It was decided otherwise since"
    if row.run_id is not None:
        state = _state(connection, row.run_id)
        expected = {row.run_with if row.undone_at is None else row.run_without}
        if row.what == "import" and row.undone_at is None:
            if _at_work(connection, row.run_id, clock):
                return "The import goes on, or was cut off just now: wait ten minutes"
            expected = {"done", "accepted"}
        cut_off = row.what == "import" and row.undone_at is None and state in CUT_OFF
        if state not in expected and not cut_off:
            return f"Run {row.run_id} is not {' or '.join(sorted(expected))} but {state}"
    return None


def _at_work(connection: Connection, run_id: int, clock: datetime) -> bool:
    """Whether a run is unfinished and somebody may still write to it."""
    query = select(run.c.id).join(mailbox, mailbox.c.id == run.c.mailbox_id)
    mine = query.where(run.c.id == run_id, run.c.finished_at.is_(None))
    return connection.execute(mine.where(mailbox.c.lease_until > clock)).first() is not None


def _state(connection: Connection, run_id: int) -> str:
    return str(connection.execute(select(run.c.state).where(run.c.id == run_id)).scalar_one())


def _put_run(connection: Connection, row: Row[Any], *, again: bool) -> None:
    state = row.run_with if again else row.run_without
    this = update(run).where(run.c.id == row.run_id)
    if state == "held":
        this = this.values(decided_by=None, decided_at=None)
    elif row.what in {"accept", "discard"}:
        this = this.values(decided_by=row.by, decided_at=row.at)
    if row.what == "import":  # one that was cut off is not gone on with
        this = this.values(finished_at=func.coalesce(run.c.finished_at, row.at))
    connection.execute(this.values(state=state))
    if state != "held":
        mine = newly_suppressed.c.run_id == row.run_id
        connection.execute(delete(newly_suppressed).where(mine))


def _swap_judgements(connection: Connection, number: int) -> None:
    """Let the judgements that a decision replaced and those in force change places."""
    mine = replaced_judgement.c.decision_id == number
    for some in chunks(connection.execute(select(replaced_judgement).where(mine)).mappings().all()):
        numbers = [row["event_id"] for row in some]
        query = select(judgement).where(judgement.c.event_id.in_(numbers))
        now = [dict(row) for row in connection.execute(query).mappings()]
        _put(connection, update(judgement), judgement.c.event_id, some)
        _put(connection, update(replaced_judgement).where(mine), replaced_judgement.c.event_id, now)


def _put(connection: Connection, change: Any, key: Any, rows: Iterable[Any]) -> None:
    values: dict[str, Any] = {name: bindparam(f"new_{name}") for name in VERSIONED}
    told = [
        {"this": row["event_id"], **{f"new_{name}": row[name] for name in VERSIONED}}
        for row in rows
    ]
    connection.execute(change.where(key == bindparam("this")).values(values), told)


def _addresses(connection: Connection, row: Row[Any]) -> Iterator[str]:
    """Everybody whose standing a decision bears upon, in order."""
    if row.what == "release":
        query = select(release.c.address).where(release.c.decision_id == row.id)
        for whose in _ordered(connection, query, release.c.address):
            domain = whose.removeprefix("@")
            yield from [whose] if domain == whose else rulings.everyone_at(connection, domain)
    elif row.what == "reclassify":
        query = select(event.c.address).join(
            replaced_judgement, replaced_judgement.c.event_id == event.c.id
        )
        query = query.where(replaced_judgement.c.decision_id == row.id)
        yield from _ordered(connection, query, event.c.address)
    elif row.what == "incident":
        for place in _incidents(connection, row):
            yield from places.addresses(connection, place)
    elif row.run_id is not None:
        yield from standings.addresses_of_run(connection, row.run_id)


def _incidents(connection: Connection, row: Row[Any]) -> list[Place]:
    columns = (incident.c[name] for name in Place._fields)
    query = select(*columns).where(incident.c.decision_id == row.id)
    return [Place(*found) for found in connection.execute(query)]


def _ordered(connection: Connection, query: Select[Any], column: Any) -> list[str]:
    return list(connection.execute(query.distinct().order_by(column)).scalars())

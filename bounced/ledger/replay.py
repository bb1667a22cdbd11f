"""History gone through again: by today's rules, or under another policy.

Facts stay as they are. What is made anew are the judgements of events and the standings that
follow, a bounded number of addresses at a time, so that a ledger of any size fits.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, func, literal, select, update

from bounced.ledger import decisions, facts, standings
from bounced.ledger.engine import CHUNK, chunks
from bounced.ledger.rows import Replay, StandingChange
from bounced.ledger.tables import address, event, judgement, message, replaced_judgement
from bounced.model import Kind, Report, Standing, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, RowMapping

    from bounced.ledger.engine import Database
    from bounced.ledger.standings import Entry, History, Judge, Occasion
    from bounced.model import RecipientReport, Verdict

    Classify = Callable[[RecipientReport, Report], Verdict]
    # `itertools.starmap`, or one that has several processes at work
    Over = Callable[[Classify, Iterable[tuple[RecipientReport, Report]]], Iterable[Verdict]]


def reclassified(  # noqa: PLR0913, PLR0917 - what is judged, by what, and by how many
    database: Database,
    judge: Judge,
    classify: Classify,
    at: datetime,
    since: datetime | None,
    over: Over,
) -> Iterator[Replay]:
    """What `reclassify` would change; changes nothing."""
    last: str | None = ""
    while last is not None:
        with database.reading() as connection:
            some = _next(connection, last, since)
            histories = standings.load(connection, some)
            kept = standings.rows_on_lists(connection, some)
            verdicts, told = _judged_again(connection, over, classify, some, since)
        _put(verdicts, histories)
        if some:
            changes = tuple(_against_rows(judge, histories, kept, at))
            yield Replay(len(some), changes, *told)
        last = some[-1] if some else None


def reclassify(  # noqa: PLR0913, PLR0917 - what is judged, by what, and on whose word
    database: Database,
    judge: Judge,
    classify: Classify,
    rules_version: str,
    occasion: Occasion,
    since: datetime | None,
    over: Over,
) -> Iterator[Replay]:
    """Judge stored events again and make their standings anew, one transaction a piece.

    Cut off anywhere it has done whole addresses, and done again it goes on from there.
    """
    last: str | None = ""
    while last is not None:
        with database.writing() as connection:
            some = _next(connection, last, since)
            histories = standings.load(connection, some)
            kept = standings.rows_on_lists(connection, some)
            verdicts, told = _judged_again(connection, over, classify, some, since)
            _put(verdicts, histories)
            changes = tuple(_against_rows(judge, histories, kept, occasion.at))
            if verdicts and occasion.decision_id is None:
                since_words = "" if since is None else f"since {since:%Y-%m-%d}"
                occasion = decisions.note(connection, "reclassify", occasion, subject=since_words)
            _keep_replaced(connection, verdicts, occasion)
            _write(connection, verdicts, rules_version, occasion.at)
            _put_version(verdicts, histories, rules_version)
            standings.write(connection, judge, occasion, histories)
            standings.count_again(connection, judge, histories, occasion.at)
        if some:
            yield Replay(len(some), changes, *told)
        last = some[-1] if some else None


def simulated(
    database: Database, judge: Judge, other: Judge, at: datetime, since: datetime | None
) -> Iterator[Replay]:
    """Where two policies differ over the same events (those from `since` on)."""

    def counts(entry: Entry) -> bool:
        return standings.counted(entry) and (since is None or entry.event.at >= since)

    last: str | None = ""
    while last is not None:
        with database.reading() as connection:
            some = _next(connection, last, since)
            histories = standings.load(connection, some)
        changes = []
        for whose, history in histories.items():
            now = judge.conclude(whose, history, counts, at)
            then = other.conclude(whose, history, counts, at)
            if (now.status, now.suppressed) != (then.status, then.suppressed):
                changes.append(_change(whose, _state(now), then))
        if some:
            yield Replay(len(some), tuple(changes))
        last = some[-1] if some else None


def _next(connection: Connection, after: str, since: datetime | None) -> list[str]:
    """The next addresses in order; with `since` only those of which we have heard from then on."""
    if since is None:
        query = select(address.c.address).where(address.c.address > after)
        query = query.order_by(address.c.address)
    else:
        heard = (event.c.occurred_at >= since) & (event.c.address > after)
        query = select(event.c.address).distinct().where(heard).order_by(event.c.address)
    return list(connection.execute(query.limit(CHUNK)).scalars())


def _judged_again(
    connection: Connection,
    over: Over,
    classify: Classify,
    addresses: Sequence[str],
    since: datetime | None,
) -> tuple[dict[int, Verdict], tuple[int, Mapping[tuple[str, str], int]]]:
    """New verdicts by event, only where they differ; how many were judged, and by which rules."""
    query = (
        select(
            event,
            message.c.kind.label("report_kind"),
            *(judgement.c[name] for name in decisions.JUDGED),
        )
        .join(judgement, judgement.c.event_id == event.c.id)
        .join(message, message.c.id == event.c.message_id)
        .where(event.c.address.in_(addresses))
        # hearsay has no words for the books
        .where(func.coalesce(message.c.format, "").startswith(facts.IMPORTED).is_(False))
    )
    if since is not None:
        query = query.where(event.c.occurred_at >= since)
    rows = connection.execute(query).mappings().all()
    reports = ((facts.recipient_report(row), Report(Kind(row["report_kind"]))) for row in rows)
    found = zip(rows, over(classify, reports), strict=True)
    verdicts = {
        row["id"]: (verdict, row["rule"]) for row, verdict in found if _differs(verdict, row)
    }
    rules = Counter((old, verdict.rule) for verdict, old in verdicts.values())
    return {number: verdict for number, (verdict, _) in verdicts.items()}, (len(rows), rules)


def _differs(verdict: Verdict, row: RowMapping) -> bool:
    return any(getattr(verdict, name) != row[name] for name in decisions.JUDGED)


def _put(verdicts: Mapping[int, Verdict], histories: Mapping[str, History]) -> None:
    """Let the histories be as if the events had been judged so."""
    for history in histories.values():
        history.entries = [_as_judged(entry, verdicts) for entry in history.entries]


def _as_judged(entry: Entry, verdicts: Mapping[int, Verdict]) -> Entry:
    verdict = verdicts.get(entry.event.id)
    if verdict is None:
        return entry
    past = replace(
        entry.event,
        outcome=verdict.outcome,
        reason=verdict.reason,
        fault=verdict.fault,
        confidence=verdict.confidence,
        rule=verdict.rule,
    )
    return replace(entry, event=past)


def _put_version(
    verdicts: Mapping[int, Verdict], histories: Mapping[str, History], version: str
) -> None:
    for history in histories.values():
        history.entries = [
            replace(entry, rules_version=version) if entry.event.id in verdicts else entry
            for entry in history.entries
        ]


def _keep_replaced(
    connection: Connection, verdicts: Mapping[int, Verdict], occasion: Occasion
) -> None:
    """Keep the judgements that give way, so that the decision can be taken back."""
    names = ["event_id", *decisions.VERSIONED]
    for some in chunks(verdicts):
        query = select(literal(occasion.decision_id), *(judgement.c[name] for name in names)).where(
            judgement.c.event_id.in_(some)
        )
        connection.execute(replaced_judgement.insert().from_select(["decision_id", *names], query))


def _write(
    connection: Connection, verdicts: Mapping[int, Verdict], version: str, at: datetime
) -> None:
    rows = [
        {"this": number, **facts.judgement_row(verdict, version, at)}
        for number, verdict in verdicts.items()
    ]
    if rows:
        this = update(judgement).where(judgement.c.event_id == bindparam("this"))
        names = [name for name in rows[0] if name != "this"]
        connection.execute(this.values({name: bindparam(name) for name in names}), rows)


def _against_rows(
    judge: Judge,
    histories: Mapping[str, History],
    kept: Mapping[tuple[str, str], RowMapping],
    at: datetime,
) -> Iterator[StandingChange]:
    of_each: dict[str, dict[str, RowMapping]] = {}
    for (whose, name), row in kept.items():
        of_each.setdefault(whose, {})[name] = row
    for whose, history in histories.items():
        found = judge.conclude(whose, history, standings.counted, at)
        before = history.suppressed(at)
        if standings.changed(history.row, before=before, found=found):
            yield _change(whose, _was(history.row, before=before), found)
        mine = of_each.get(whose, {})
        if judge.lists.apart or mine:
            on_lists = judge.on_lists(whose, history, standings.counted, at)
            for name in sorted(on_lists.keys() | mine.keys()):
                own, there = on_lists.get(name, Standing()), mine.get(name)
                before = standings.in_force(there, at)
                if standings.changed(there, before=before, found=own):
                    yield _change(whose, _was(there, before=before), own, name)


def _was(row: RowMapping | None, *, before: bool) -> tuple[str, bool, str | None, str | None]:
    known: Mapping[Any, Any] = row or {"status": Status.ACTIVE}
    return str(known["status"]), before, known.get("reason"), known.get("rule")


def _state(found: Standing) -> tuple[str, bool, str | None, str | None]:
    return found.status.value, found.suppressed, found.reason, found.rule


def _change(
    whose: str,
    was: tuple[str, bool, str | None, str | None],
    found: Standing,
    name: str = "",
) -> StandingChange:
    will = _state(found)
    return StandingChange(
        address=whose,
        from_status=was[0],
        to_status=will[0],
        from_suppressed=was[1],
        to_suppressed=will[1],
        from_reason=was[2],
        to_reason=will[2],
        from_rule=was[3],
        to_rule=will[3],
        because=found.because,
        list=name,
    )

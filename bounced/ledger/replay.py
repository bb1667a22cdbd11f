"""History gone through again: by today's rules, or under another policy.

Facts stay as they are. What is made anew are the judgements of events and the standings that
follow, a bounded number of addresses at a time, so that a ledger of any size fits; what is only
shown may be shared among processes.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from itertools import starmap
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from sqlalchemy import bindparam, func, literal, select, update

from bounced.domains import SIGNS
from bounced.ledger import counting, decisions, facts, rulings, standings
from bounced.ledger.engine import CHUNK, chunks
from bounced.ledger.rows import Replay, StandingChange
from bounced.ledger.tables import address, event, judgement, message, replaced_judgement
from bounced.model import Kind, Report, Standing, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Column, Connection, RowMapping, Select

    from bounced.domains import Ruling, Turn
    from bounced.ledger.engine import Database
    from bounced.ledger.standings import Entry, History, Judge, Occasion
    from bounced.model import RecipientReport, Verdict

    Classify = Callable[[RecipientReport, Report], Verdict]
    Standings = Mapping[str, Standing]  # by list, "" for all of them

T = TypeVar("T")
R = TypeVar("R")


class Over(Protocol):
    """`map`, or what does the same by several processes; then work and items are pickled."""

    def __call__(self, work: Callable[[T], R], items: Iterable[T], /) -> Iterable[R]: ...


def reclassified(  # noqa: PLR0913, PLR0917 - what is judged, by what, and by how many
    database: Database,
    judge: Judge,
    classify: Classify,
    at: datetime,
    since: datetime | None,
    over: Over,
) -> Iterator[Replay]:
    """What `reclassify` would change; changes nothing.

    All is judged before anything is told, since what follows for a whole domain rests on events
    of many addresses. Both passes are put to ranges of addresses by `over`, perhaps in other
    processes; no connection of this one is in use meanwhile.
    """
    with database.reading() as connection:
        ranges = [*_ranges(connection, since)]
    judged, heard = _put_together(over(partial(_judged, database, classify, since), ranges))
    with database.reading() as connection:
        ruled = _ruled_otherwise(connection, judge, judged, heard)
    met: set[str] = set()
    work = partial(_compared, database, judge, at, since, ruled)
    found = over(work, zip(ranges, (one.verdicts for one in judged), strict=True))
    for one, (count, changes, there) in zip(judged, found, strict=True):
        met.update(there)
        yield Replay(count, changes, one.events, one.rules)
    for some, histories, own in _others(database, ruled, met):
        _rule(ruled, histories)
        yield Replay(len(some), tuple(_against_rows(judge, histories, own, at)))


class _Range(NamedTuple):
    """A bounded number of addresses in order: those after one, up to another."""

    after: str
    up_to: str


class _Judged(NamedTuple):
    """What judging a range again gives: `verdicts` by event, only where they differ."""

    verdicts: dict[int, Verdict]
    events: int
    rules: Mapping[tuple[str, str], int]  # events judged otherwise, by (old, new) rule
    spoken_of: set[str]  # domains of which new verdicts say something as such


def _judged(
    database: Database, classify: Classify, since: datetime | None, some: _Range
) -> tuple[_Judged, set[str]]:
    """A range judged again, and the domains of its addresses."""
    with database.reading() as connection:
        addresses = _within(connection, some, since)
        judged = _judged_again(connection, classify, addresses, since)
    return judged, {whose.rpartition("@")[2] for whose in addresses}


def _put_together(
    found: Iterable[tuple[_Judged, set[str]]],
) -> tuple[list[_Judged], set[str]]:
    same: dict[Verdict, Verdict] = {}  # there are as many as rules, and perhaps a million events
    judged: list[_Judged] = []
    heard: set[str] = set()
    for one, domains in found:
        verdicts = {number: same.setdefault(v, v) for number, v in one.verdicts.items()}
        judged.append(one._replace(verdicts=verdicts))
        heard |= domains
    return judged, heard


def _ruled_otherwise(
    connection: Connection, judge: Judge, judged: Sequence[_Judged], heard: set[str]
) -> dict[str, Ruling | None]:
    """What would be concluded of domains, where that is not what is concluded now."""
    waiting = standings.Waiting(connection)
    kept = rulings.all_in_force(connection)
    spoken_of = rulings.spoken_of(connection).union(*(one.spoken_of for one in judged))
    verdicts = {number: verdict for one in judged for number, verdict in one.verdicts.items()}
    asked = heard & spoken_of
    then = rulings.foreseen(connection, judge.policy, asked, waiting, verdicts=verdicts)
    return {domain: then.get(domain) for domain in asked if then.get(domain) != kept.get(domain)}


def _compared(  # noqa: PLR0913, PLR0917 - where, by what, and what is known of it
    database: Database,
    judge: Judge,
    at: datetime,
    since: datetime | None,
    ruled: Mapping[str, Ruling | None],
    known: tuple[_Range, Mapping[int, Verdict]],
) -> tuple[int, tuple[StandingChange, ...], list[str]]:
    """How many are in a range, what would change for them, and who is at domains in `ruled`."""
    some, verdicts = known
    with database.reading() as connection:
        addresses = _within(connection, some, since)
        histories = standings.load(connection, addresses)
        own = standings.rows_on_lists(connection, addresses)
    _put(verdicts, histories)
    _rule(ruled, histories)
    changes = tuple(_against_rows(judge, histories, own, at))
    return len(addresses), changes, _at(ruled, addresses)


def _at(domains: Collection[str], addresses: Iterable[str]) -> list[str]:
    return [whose for whose in addresses if whose.rpartition("@")[2] in domains]


def _gone_through(
    database: Database, since: datetime | None, domains: Collection[str]
) -> Iterator[tuple[Sequence[str], dict[str, History]]]:
    """Everybody on record (heard of `since`), by pieces.

    Then everybody else at some domains, those of whom nothing was reported too.
    """
    met: set[str] = set()
    last: str | None = ""
    while last is not None:
        with database.reading() as connection:
            some = _next(connection, last, since)
            histories = standings.load(connection, some)
        if some:
            yield some, histories
        met.update(_at(domains, some))
        last = some[-1] if some else None
    for others, theirs, _ in _others(database, domains, met):
        yield others, theirs


def _others(
    database: Database, domains: Iterable[str], met: Collection[str]
) -> Iterator[tuple[Sequence[str], dict[str, History], dict[tuple[str, str], RowMapping]]]:
    """Everybody at some domains but those already `met`, with what lists have against them."""
    with database.reading() as connection:
        everyone = (
            o for domain in sorted(domains) for o in rulings.everyone_at(connection, domain)
        )
        others = [whose for whose in everyone if whose not in met]
    for some in chunks(others):
        with database.reading() as connection:
            histories, own = _loaded(connection, some)
        yield some, histories, own


def _loaded(
    connection: Connection, addresses: Sequence[str]
) -> tuple[dict[str, History], dict[tuple[str, str], RowMapping]]:
    """Histories of some, empty ones too, and what lists have against them."""
    found = standings.load(connection, addresses)
    histories = {whose: found.get(whose) or standings.History() for whose in addresses}
    return histories, standings.rows_on_lists(connection, addresses)


def reclassify(  # noqa: PLR0913, PLR0917 - what is judged, by what, and on whose word
    database: Database,
    judge: Judge,
    classify: Classify,
    rules_version: str,
    occasion: Occasion,
    since: datetime | None,
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
            judged = _judged_again(connection, classify, some, since)
            verdicts = judged.verdicts
            _put(verdicts, histories)
            if verdicts and occasion.decision_id is None:
                since_words = "" if since is None else f"since {since:%Y-%m-%d}"
                occasion = decisions.note(connection, "reclassify", occasion, subject=since_words)
            _keep_replaced(connection, verdicts, occasion)
            _write(connection, verdicts, rules_version, occasion.at)
            _put_version(verdicts, histories, rules_version)
            ruled = standings.changed_rulings(connection, judge, histories)
            changes = tuple(_with_rulings(connection, judge, histories, kept, ruled, occasion.at))
            standings.write(connection, judge, occasion, histories, ruled=ruled)
            counting.count_again(connection, judge, histories, occasion.at)
        if some:
            yield Replay(len(some), changes, judged.events, judged.rules)
        last = some[-1] if some else None


def _with_rulings(  # noqa: PLR0913, PLR0917 - of whom, against what, and by what
    connection: Connection,
    judge: Judge,
    histories: Mapping[str, History],
    kept: Mapping[tuple[str, str], RowMapping],
    ruled: Mapping[str, Turn],
    at: datetime,
) -> Iterator[StandingChange]:
    """What changes for some, and for everybody else whom new rulings concern."""
    _rule({domain: turn.now for domain, turn in ruled.items()}, histories)
    yield from _against_rows(judge, histories, kept, at)
    others = (o for o in rulings.concerned(connection, ruled) if o not in histories)
    for some in chunks(others):
        theirs, own = _loaded(connection, some)
        _rule({domain: turn.now for domain, turn in ruled.items()}, theirs)
        yield from _against_rows(judge, theirs, own, at)


def _rule(ruled: Mapping[str, Ruling | None], histories: Mapping[str, History]) -> None:
    """Let the histories be as if there were these rulings on domains (the others as they are)."""
    for whose, history in histories.items():
        history.ruling = ruled.get(whose.rpartition("@")[2], history.ruling)


def simulated(
    database: Database, judge: Judge, other: Judge, at: datetime, since: datetime | None
) -> Iterator[Replay]:
    """Where two policies differ over the same events (those from `since` on), list by list."""

    def counts(entry: Entry) -> bool:
        return standings.counted(entry) and (since is None or entry.event.at >= since)

    def concluded(by: Judge, whose: str, history: History, ruling: Ruling | None) -> Standings:
        history.ruling = ruling
        overall = by.conclude(whose, history, counts, at)
        return {"": overall, **by.on_lists(whose, history, counts, at)}

    with database.reading() as connection:
        waiting = standings.Waiting(connection)
        spoken_of = rulings.spoken_of(connection)
        here, there = (
            rulings.foreseen(connection, by.policy, spoken_of, waiting, since=since)
            for by in (judge, other)
        )
    for some, histories in _gone_through(database, since, here.keys() | there.keys()):
        changes: list[StandingChange] = []
        for whose, history in histories.items():
            domain = whose.rpartition("@")[2]
            now = concluded(judge, whose, history, here.get(domain))
            then = concluded(other, whose, history, there.get(domain))
            changes += _between(whose, now, then)
        yield Replay(len(some), tuple(changes))


def _between(whose: str, now: Standings, then: Standings) -> Iterator[StandingChange]:
    for name in sorted(now.keys() | then.keys()):
        was, will = now.get(name, Standing()), then.get(name, Standing())
        if (was.status, was.suppressed) != (will.status, will.suppressed):
            yield _change(whose, _state(was), will, name)


def _ranges(connection: Connection, since: datetime | None) -> Iterator[_Range]:
    """Everybody on record (heard of `since`), by ranges, of which but the ends are fetched."""
    column, query = _on_record(since)
    rest = query.where(column > bindparam("after"))
    full = rest.order_by(column).offset(CHUNK - 1).limit(1)
    final = rest.order_by(column.desc()).limit(1)
    last = ""
    while True:
        given = {"after": last}
        end = connection.scalar(full, given) or connection.scalar(final, given)
        if end is None:
            return
        yield _Range(last, end)
        last = end


def _next(connection: Connection, after: str, since: datetime | None) -> list[str]:
    """The next addresses in order; with `since` only those of which we have heard from then on."""
    column, query = _on_record(since)
    query = query.where(column > after).order_by(column).limit(CHUNK)
    return list(connection.execute(query).scalars())


def _within(connection: Connection, some: _Range, since: datetime | None) -> list[str]:
    """The addresses of a range, as `_next` has them."""
    column, query = _on_record(since)
    query = query.where(column > some.after, column <= some.up_to).order_by(column)
    return list(connection.execute(query).scalars())


def _on_record(since: datetime | None) -> tuple[Column[str], Select[str]]:
    """The column that has the addresses, and everybody in it."""
    if since is None:
        return address.c.address, select(address.c.address)
    heard = select(event.c.address).distinct().where(event.c.occurred_at >= since)
    return event.c.address, heard


def _judged_again(
    connection: Connection,
    classify: Classify,
    addresses: Sequence[str],
    since: datetime | None,
) -> _Judged:
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
    found = zip(rows, starmap(classify, reports), strict=True)
    differing = [(row, verdict) for row, verdict in found if _differs(verdict, row)]
    return _Judged(
        {row["id"]: verdict for row, verdict in differing},
        len(rows),
        Counter((row["rule"], verdict.rule) for row, verdict in differing),
        {row["domain"] for row, verdict in differing if verdict.reason in SIGNS},
    )


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
    past = entry.event._replace(
        outcome=verdict.outcome,
        reason=verdict.reason,
        fault=verdict.fault,
        confidence=verdict.confidence,
        rule=verdict.rule,
    )
    return entry._replace(event=past)


def _put_version(
    verdicts: Mapping[int, Verdict], histories: Mapping[str, History], version: str
) -> None:
    for history in histories.values():
        history.entries = [
            entry._replace(rules_version=version) if entry.event.id in verdicts else entry
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

"""History gone through again: by today's rules, or under another policy.

Facts stay as they are. What is made anew are the judgements of events and the standings that
follow, a bounded number of addresses at a time, so that a ledger of any size fits.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, func, literal, select, update

from bounced.domains import SIGNS
from bounced.ledger import bulk, counting, decisions, facts, rulings, standings
from bounced.ledger.engine import CHUNK, chunks
from bounced.ledger.rows import Replay, StandingChange
from bounced.ledger.tables import address, event, judgement, message, replaced_judgement
from bounced.model import Kind, Report, Standing, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, RowMapping

    from bounced.domains import Ruling, Turn
    from bounced.ledger.engine import Database
    from bounced.ledger.standings import Entry, History, Judge, Occasion
    from bounced.model import RecipientReport, Verdict

    Classify = Callable[[RecipientReport, Report], Verdict]
    # `itertools.starmap`, or one that has several processes at work
    Standings = Mapping[str, Standing]  # by list, "" for all of them
    _Counts = tuple[int, Mapping[tuple[str, str], int]]  # events judged, and by (old, new) rule
    Over = Callable[[Classify, Iterable[tuple[RecipientReport, Report]]], Iterable[Verdict]]


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
    of many addresses.
    """
    verdicts, counts, domains = _all_judged(database, classify, since, over)
    with database.reading() as connection:
        waiting = standings.Waiting(connection)
        kept = rulings.all_in_force(connection)
        domains &= rulings.spoken_of(connection) | _spoken_of_now(connection, verdicts)
        then = rulings.foreseen(connection, judge.policy, domains, waiting, verdicts=verdicts)
    ruled = {domain: then.get(domain) for domain in domains if then.get(domain) != kept.get(domain)}
    for some, histories, own in _gone_through(database, since, ruled):
        _put(verdicts, histories)
        _rule(ruled, histories)
        changes = tuple(_against_rows(judge, histories, own, at))
        yield Replay(len(some), changes, *(counts.pop(0) if counts else ()))


def _all_judged(
    database: Database, classify: Classify, since: datetime | None, over: Over
) -> tuple[dict[int, Verdict], list[_Counts], set[str]]:
    """New verdicts of all events where they differ, the counts by pieces, and whose domains."""
    verdicts: dict[int, Verdict] = {}
    same: dict[Verdict, Verdict] = {}  # there are as many as rules, and perhaps a million events
    counts = []
    domains: set[str] = set()
    last: str | None = ""
    while last is not None:
        with database.reading() as connection:
            some = _next(connection, last, since)
            found, told = _judged_again(connection, over, classify, some, since)
        verdicts.update((n, same.setdefault(verdict, verdict)) for n, verdict in found.items())
        if some:
            counts.append(told)
        domains.update(whose.rpartition("@")[2] for whose in some)
        last = some[-1] if some else None
    return verdicts, counts, domains


def _spoken_of_now(connection: Connection, verdicts: Mapping[int, Verdict]) -> set[str]:
    """The domains of which something is said as such by new verdicts."""
    found: set[str] = set()
    for some in chunks(number for number, one in verdicts.items() if one.reason in SIGNS):
        query = select(event.c.domain).where(bulk.among(connection, event.c.id, some)).distinct()
        found.update(connection.execute(query).scalars())
    return found


def _gone_through(
    database: Database, since: datetime | None, domains: Collection[str]
) -> Iterator[tuple[Sequence[str], dict[str, History], dict[tuple[str, str], RowMapping]]]:
    """Everybody on record (heard of `since`), by pieces, with what lists have against them.

    Then everybody else at some domains, those of whom nothing was reported too.
    """
    met: set[str] = set()
    last: str | None = ""
    while last is not None:
        with database.reading() as connection:
            some = _next(connection, last, since)
            histories = standings.load(connection, some)
            own = standings.rows_on_lists(connection, some)
        if some:
            yield some, histories, own
        met.update(whose for whose in some if whose.rpartition("@")[2] in domains)
        last = some[-1] if some else None
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
            yield Replay(len(some), changes, *told)
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
    for some, histories, _ in _gone_through(database, since, here.keys() | there.keys()):
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
) -> tuple[dict[int, Verdict], _Counts]:
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

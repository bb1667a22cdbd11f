"""Rulings on whole domains: made again from events, kept in `domain_ruling` while they hold."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import BigInteger, and_, bindparam, delete, func, literal, or_, select

from bounced.domains import (
    ALIVE_KINDS,
    ALIVE_REASONS,
    SIGNS,
    Ruling,
    Sign,
    Turn,
    by_its_own_host,
    ruling,
)
from bounced.ledger import bulk
from bounced.ledger.dialects import dialect_of
from bounced.ledger.rows import TypoRow
from bounced.ledger.tables import (
    decision,
    domain_ruling,
    event,
    judgement,
    release,
    run,
    subscriber,
)
from bounced.model import Fault, Kind, Outcome, Reason
from bounced.trust import ENOUGH
from bounced.typos import meant

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from sqlalchemy import BindParameter, ColumnElement, Connection, FromClause, Select

    from bounced.ledger.dialects import Dialect
    from bounced.ledger.standings import Waiting
    from bounced.model import Verdict
    from bounced.policy import Policy

_MEMBERS = event.join(judgement, judgement.c.event_id == event.c.id).join(
    run, run.c.id == event.c.run_id
)
_BLAMELESS = (Fault.SENDER.value, Fault.MESSAGE.value)


class Runs(NamedTuple):
    """Whose events count: those of all runs that do, and of `with_`, but not of `without`."""

    with_: int = 0
    without: int = 0


class _AnyRuns(NamedTuple):
    """The same as parameters of a statement that is kept."""

    with_: BindParameter[int]
    without: BindParameter[int]


def in_force(connection: Connection, domains: Iterable[str]) -> dict[str, Ruling]:
    """The rulings that are kept, of those domains that have one."""
    query = _rulings_on(connection.dialect.name)
    rows = connection.execute(query, bulk.given(connection, domains)).mappings()
    return {row["domain"]: _kept(row) for row in rows}


@cache
def _rulings_on(kind: str) -> Select[Any]:
    return select(domain_ruling).where(bulk.wanted(kind, domain_ruling.c.domain))


def all_in_force(connection: Connection) -> dict[str, Ruling]:
    """Every ruling that is kept, by domain, in order."""
    query = select(domain_ruling).order_by(domain_ruling.c.domain)
    return {row["domain"]: _kept(row) for row in connection.execute(query).mappings()}


def _kept(row: Any) -> Ruling:
    return Ruling(
        Reason(row["reason"]),
        row["since"],
        row["last_at"],
        row["rule"],
        row["because"],
        tuple(json.loads(row["events"])),
    )


def made_again(
    connection: Connection,
    policy: Policy,
    domains: Collection[str],
    waiting: Waiting,
    runs: Runs | None = None,
) -> dict[str, Ruling | None]:
    """What follows for each domain from the events that count, now (or of other `runs`)."""
    runs = runs or Runs()
    signs: dict[str, list[Sign]] = {domain: [] for domain in domains}
    released = _released_at(connection, domains)
    dialect = dialect_of(connection)
    query = _signs(dialect, policy.trust)
    parameters = {**dialect.given([*signs]), **runs._asdict()}
    for (
        domain, number, at, reason, rule, host, provider, outcome, fault, sure,
    ) in connection.execute(query, parameters).all():  # fmt: skip
        if domain in released and at <= released[domain]:
            continue
        blamed = outcome == "hard" and fault not in _BLAMELESS
        if _speaks(domain, reason, host, blamed=blamed, waits=waiting.at(at, domain, provider)):
            signs[domain].append(Sign(number, at, Reason(reason), rule, sure))
    return {domain: ruling(said, policy) for domain, said in signs.items()}


def _speaks(domain: str, reason: str, host: str | None, *, blamed: bool, waits: int | None) -> bool:
    """Whether what gives one of `SIGNS` as its reason speaks of the domain, and counts."""
    if reason == Reason.RELAY_DENIED.value:
        return by_its_own_host(host, domain)
    return blamed and waits is None


def spoken_of(connection: Connection) -> set[str]:
    """The domains that are given up, and those of which anything was said as such."""
    said = select(event.c.domain).join(judgement, judgement.c.event_id == event.c.id)
    said = said.where(judgement.c.reason.in_([*map(str, SIGNS)]))
    return set(connection.execute(said.union(select(domain_ruling.c.domain))).scalars())


def foreseen(  # noqa: PLR0913 - of what, by what, and as if what
    connection: Connection,
    policy: Policy,
    domains: Iterable[str],
    waiting: Waiting,
    *,
    verdicts: Mapping[int, Verdict] | None = None,
    since: datetime | None = None,
) -> dict[str, Ruling]:
    """What would follow for domains if events were judged so (the others as they are).

    Those of which nothing would follow are not in it. As `made_again`, which asks the database
    alone and so knows what is written only.
    """
    wanted = sorted(domains)
    released = _released_at(connection, wanted)
    query = _told(policy.trust)
    found = {}
    for domain in wanted:
        alive = max(released.get(domain, _NEVER), since or _NEVER)
        signs: list[Sign] = []
        told = {"domain": domain, "since": since or _NEVER}
        for number, at, kind, host, provider, *judged in connection.execute(query, told):
            verdict = (verdicts or {}).get(number)
            words = judged if verdict is None else [getattr(verdict, name) for name in _WORDS]
            outcome, reason, fault, rule, sure = words
            if kind in ALIVE_KINDS or (kind == Kind.BOUNCE and host and reason in ALIVE_REASONS):
                alive = max(alive, at)
            elif reason in SIGNS:
                blamed = outcome == Outcome.HARD and fault not in _BLAMELESS
                waits = waiting.at(at, domain, provider)
                if _speaks(domain, reason, host, blamed=blamed, waits=waits):
                    signs.append(Sign(number, at, Reason(reason), rule, sure))
        held = ruling([sign for sign in signs if sign.at > alive], policy)
        if held is not None:
            found[domain] = held
    return found


_NEVER = datetime.min.replace(tzinfo=UTC)
_WORDS = ("outcome", "reason", "fault", "rule", "confidence")


@cache
def _told(trust: str) -> Select[Any]:
    """What was reported from one domain, made once as `_signs` is."""
    facts = (event.c[name] for name in ("id", "occurred_at", "kind", "remote_mta", "provider"))
    query = select(*facts, *(judgement.c[name] for name in _WORDS)).select_from(_MEMBERS)
    here = event.c.domain == bindparam("domain")
    since = event.c.occurred_at >= bindparam("since")
    return query.where(here, since, _counts(trust, event, Runs()))


@cache
def _signs(dialect: Dialect, trust: str) -> Select[Any]:
    """What was said of domains as such since the last sign of life of each.

    Made once, because that takes ten times as long as to execute it.
    """
    runs = _AnyRuns(*(bindparam(name, type_=BigInteger) for name in Runs._fields))
    asked = dialect.texts()
    alive = _alive(trust, runs).where(event.c.domain == asked.c.value).correlate(asked)
    told = event.alias("told")
    members = asked.join(told, told.c.domain == asked.c.value)
    members = members.join(judgement, judgement.c.event_id == told.c.id)
    members = members.join(run, run.c.id == told.c.run_id)
    since = func.coalesce(alive.scalar_subquery(), literal(datetime.min.replace(tzinfo=UTC)))
    query = select(
        told.c.domain, told.c.id, told.c.occurred_at, judgement.c.reason, judgement.c.rule,
        told.c.remote_mta, told.c.provider, judgement.c.outcome, judgement.c.fault,
        judgement.c.confidence,
    ).select_from(members)  # fmt: skip
    query = query.where(told.c.occurred_at > since, judgement.c.reason.in_([*map(str, SIGNS)]))
    return query.where(_counts(trust, told, runs))


def _counts(trust: str, told: FromClause, runs: Runs | _AnyRuns) -> ColumnElement[bool]:
    trusted = [one.value for one in ENOUGH[trust]]
    return and_(
        or_(run.c.state.not_in(("held", "discarded")), run.c.id == runs.with_),
        run.c.id != runs.without,
        or_(told.c.trust.is_(None), told.c.trust.in_(trusted)),
    )


def _alive(trust: str, runs: Runs | _AnyRuns) -> Select[datetime]:
    """The last sign of life; of a living domain it is found at once, from the newest event back."""
    answered = and_(
        event.c.kind == Kind.BOUNCE.value,
        event.c.remote_mta.is_not(None),
        judgement.c.reason.in_([*map(str, ALIVE_REASONS)]),
    )
    alive = or_(event.c.kind.in_([*map(str, ALIVE_KINDS)]), answered)
    query = (
        select(event.c.occurred_at).select_from(_MEMBERS).where(_counts(trust, event, runs), alive)
    )
    return query.order_by(event.c.occurred_at.desc()).limit(1)


def _released_at(connection: Connection, domains: Iterable[str]) -> dict[str, datetime]:
    """When an operator last let whole domains be mailed again, of those where one did."""
    given = bulk.given(connection, (f"@{domain}" for domain in domains))
    found = connection.execute(_last_releases(connection.dialect.name), given)
    return {address[1:]: at for address, at in found}


@cache
def _last_releases(kind: str) -> Select[Any]:
    return (
        select(release.c.address, func.max(release.c.at))
        .outerjoin(decision, decision.c.id == release.c.decision_id)
        .where(bulk.wanted(kind, release.c.address), decision.c.undone_at.is_(None))
        .group_by(release.c.address)
    )


def keep(connection: Connection, turns: Mapping[str, Turn], version: str) -> None:
    """Keep rulings as they are now."""
    gone = bulk.among(connection, domain_ruling.c.domain, turns)
    connection.execute(delete(domain_ruling).where(gone))
    rows = [
        {
            "domain": domain,
            "reason": one.reason.value,
            "since": one.since,
            "last_at": one.last_at,
            "rule": one.rule,
            "because": one.because,
            "events": json.dumps(one.events),
            "policy_version": version,
        }
        for domain, (_, one) in turns.items()
        if one is not None
    ]
    bulk.put(connection, domain_ruling, rows)


def typos(connection: Connection, policy: Policy) -> list[TypoRow]:
    """Domains that are one slip away from a well-known one, and of which nothing shows life."""
    domains = select(event.c.domain).union(select(subscriber.c.domain))
    found = []
    for domain in sorted(connection.execute(domains).scalars()):
        other = meant(domain)
        alive = _alive(policy.trust, Runs()).where(event.c.domain == domain)
        if other is not None and connection.execute(alive).first() is None:
            found.append(TypoRow(domain, other, len(everyone_at(connection, domain))))
    return found


def concerned(connection: Connection, turns: Mapping[str, Turn]) -> Iterator[str]:
    """Whose standing another ruling may change, each once."""
    again = {domain: turn.before for domain, turn in turns.items() if turn.only_said_again}
    oldest = min((kept.last_at for kept in again.values() if kept), default=None)
    if oldest is not None:
        freed = select(release.c.address).distinct().where(release.c.at >= oldest)
        names = connection.execute(freed).scalars()
        yield from (name for name in names if name.rpartition("@")[2] in again)
    for domain in turns.keys() - again.keys():
        yield from everyone_at(connection, domain)


def everyone_at(connection: Connection, domain: str) -> list[str]:
    """Every address at a domain of which something is on record, or which is on a list."""
    heard = select(event.c.address).where(event.c.domain == domain)
    mailed = select(subscriber.c.address).where(subscriber.c.domain == domain)
    return sorted(set(connection.execute(heard.union(mailed)).scalars()))

"""Standings from events: loaded, concluded by policy, written, audited, all in one transaction.

A standing is never changed by adding to it. It is made again from every event of the address that
counts, so that repeats, crashes and decisions about a held run cannot leave anything behind.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import delete, select

from bounced.domains import SIGNS, Turn
from bounced.ledger import bulk, facts, outbox, rulings
from bounced.ledger.engine import chunks
from bounced.ledger.tables import (
    address,
    decision,
    event,
    incident,
    judgement,
    list_standing,
    release,
    run,
    transition,
)
from bounced.model import (
    Fault,
    Kind,
    NoticeKind,
    Outcome,
    PastEvent,
    Reason,
    Release,
    Standing,
    Status,
)
from bounced.policy import Lists, Policy, about_the_list, standing, waits_for_incidents
from bounced.smtp import folded
from bounced.trust import ENOUGH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, RowMapping, Select

    from bounced.domains import Ruling
    from bounced.model import Subscription

# The states of runs whose events do not count.
LEFT_OUT = frozenset({"held", "discarded"})


@dataclass(frozen=True, slots=True)
class Judge:
    """What stays the same for every address: the policy and whom it must never suppress.

    `never_suppress` holds addresses, folded, domains, and roles at any domain (`abuse@`).
    `subscriptions` are the webhooks that want to hear of changes.
    """

    policy: Policy
    never_suppress: frozenset[str]
    version: str
    subscriptions: tuple[Subscription, ...] = ()
    lists: Lists = field(default_factory=Lists)

    def conclude(
        self, whose: str, history: History, counts: Callable[[Entry], bool], at: datetime
    ) -> Standing:
        """The address's standing at a time, by the entries that count."""
        found = self._standing(whose, history, counts, at, "", self.policy)
        return self._ruled(whose, found, history) if history.ruling is not None else found

    def _ruled(self, whose: str, found: Standing, history: History) -> Standing:
        """The standing as it is with what is concluded of the address's whole domain."""
        ruling = history.ruling
        if ruling is None or (found.suppressed and found.expires_at is None):
            return found
        if any(release.at >= ruling.last_at for release in history.releases):
            return found
        told = Standing(
            Status.HARD_BOUNCED,
            suppressed=True,
            reason=ruling.reason,
            since=ruling.since,
            score=found.score,
            rule=ruling.rule,
            because=ruling.because,
            events=ruling.events,
        )
        return self._spared(whose, told)

    def on_lists(
        self, whose: str, history: History, counts: Callable[[Entry], bool], at: datetime
    ) -> dict[str, Standing]:
        """What single lists have against the address, beyond its standing on all of them."""
        if not self.lists.apart:
            return {}
        overall = self.conclude(whose, history, counts, at)
        names = {self.lists.today(entry.list) for entry in history.entries}
        names |= set(self.lists.policies)
        found = {}
        for name in sorted(names - {""}):
            policy = self.lists.policies.get(name, self.policy)
            own = self._standing(whose, history, counts, at, name, policy)
            if own.suppressed and not _covers(overall, own):
                found[name] = own
        return found

    def suppressing(
        self, whose: str, history: History, counts: Callable[[Entry], bool], at: datetime
    ) -> set[str]:
        """On which lists the address is suppressed; "" stands for all of them."""
        everywhere = {""} if self.conclude(whose, history, counts, at).suppressed else set()
        return everywhere | set(self.on_lists(whose, history, counts, at))

    def _standing(  # noqa: PLR0913, PLR0917 - whose, on which list, by what
        self,
        whose: str,
        history: History,
        counts: Callable[[Entry], bool],
        at: datetime,
        name: str,
        policy: Policy,
    ) -> Standing:
        apart = self.lists.apart
        events = [
            entry.event
            for entry in history.entries
            if (entry.trust is None or self.trusts(entry.trust))
            and counts(entry)
            and (not apart or self._bears_on(name, entry))
        ]
        found = standing(events, history.releases, policy, at)
        return self._spared(whose, found) if found.suppressed else found

    def _bears_on(self, name: str, entry: Entry) -> bool:
        """Whether an event counts for a list ("": for all of them), where lists are apart."""
        if self.lists.today(entry.list) in {"", name}:
            return True
        return not about_the_list(entry.event)

    def trusts(self, trust: str | None) -> bool:
        """Whether an event is trusted as much as the policy requires.

        What was recorded when there was nothing to ask (no key, no `sent` log) counts.
        """
        return trust is None or trust in ENOUGH[self.policy.trust]

    def spares(self, whose: str) -> str | None:
        """The entry of never_suppress that names the address or its domain."""
        if not self.never_suppress:
            return None
        matched = folded(whose)
        local, _, domain = matched.rpartition("@")
        names = (matched, domain, f"{local}@")
        return next((name for name in names if name in self.never_suppress), None)

    def _spared(self, whose: str, found: Standing) -> Standing:
        by = self.spares(whose)
        if by is None:
            return found
        because = f"{found.because} Not suppressed: never_suppress names {by}."
        return replace(found, suppressed=False, expires_at=None, because=because)


class Entry(NamedTuple):
    """An event of an address with the run that brought it."""

    event: PastEvent
    run_id: int
    run_state: str
    rules_version: str = ""
    trust: str | None = None
    list: str = ""
    incident: int | None = None  # one that waits or was discarded, of the time and place

    @property
    def waits(self) -> bool:
        """Whether an incident keeps the event from counting."""
        return self.incident is not None and waits_for_incidents(self.event)


@dataclass(slots=True)
class History:
    """What a standing is made from, and the row that is there now."""

    entries: list[Entry] = field(default_factory=list)
    releases: list[Release] = field(default_factory=list)
    row: RowMapping | None = None
    ruling: Ruling | None = None  # on the whole domain

    def suppressed(self, at: datetime) -> bool:
        """Whether the row says suppressed, and that has not run out."""
        return in_force(self.row, at)

    @property
    def span(self) -> tuple[datetime, datetime] | tuple[None, None]:
        """When the first event was and when the last."""
        if len(self.entries) == 1:
            return self.entries[0].event.at, self.entries[0].event.at
        times = [entry.event.at for entry in self.entries]
        return (min(times), max(times)) if times else (None, None)

    @property
    def heard_since_release(self) -> bool:
        """Whether anything is on record that no release has made stop counting."""
        last = max((release.at for release in self.releases), default=None)
        return any(last is None or entry.event.at > last for entry in self.entries)


def in_force(row: RowMapping | None, at: datetime) -> bool:
    """Whether a row says suppressed, and that has not run out."""
    if row is None or not row["suppressed"]:
        return False
    return row["expires_at"] is None or row["expires_at"] > at


def _covers(overall: Standing, own: Standing) -> bool:
    """Whether what holds on all lists lasts at least as long as what one list has of its own."""
    if not overall.suppressed:
        return False
    if overall.expires_at is None or own.expires_at is None:
        return overall.expires_at is None
    return overall.expires_at >= own.expires_at


@dataclass(frozen=True, slots=True)
class Occasion:
    """Why standings are made again: when, by whom, in which run, by which decision."""

    at: datetime
    actor: str
    run_id: int | None = None
    decision_id: int | None = None


# Looked up several times an event: a dictionary takes a fifth of the time of an Enum's call.
_KINDS = {str(word): word for word in Kind}
_OUTCOMES = {str(word): word for word in Outcome}
_REASONS = {str(word): word for word in Reason}
_FAULTS = {str(word): word for word in Fault}


def counted(entry: Entry) -> bool:
    """Events of held and of discarded runs and incidents do not count."""
    return entry.run_state not in LEFT_OUT and not entry.waits


def load(connection: Connection, addresses: Sequence[str]) -> dict[str, History]:
    """Everything on record of some addresses (at most a chunk of them), four queries in all."""
    histories: dict[str, History] = defaultdict(History)
    waiting = Waiting(connection)
    dialect, given = connection.dialect.name, bulk.given(connection, addresses)
    for (
        whose,
        run_id,
        state,
        number,
        at,
        kind,
        outcome,
        reason,
        fault,
        sure,
        rule,
        version,
        trust,
        name,
        provider,
    ) in connection.execute(_events_of(dialect), given).all():
        words = _KINDS[kind], _OUTCOMES[outcome], _REASONS[reason], _FAULTS[fault]
        past = PastEvent(number, at, *words, sure, rule)
        around = waiting.at(at, whose.rpartition("@")[2], provider)
        entry = Entry(past, run_id, state, version, trust, name, around)
        histories[whose].entries.append(entry)
    for whose, at, by, note in connection.execute(_releases_of(dialect), given):
        histories[whose].releases.append(Release(at, by, note))
    for row in connection.execute(_rows_of(dialect), given).mappings().all():
        histories[row["address"]].row = row
    put_rulings(connection, histories, addresses)
    return histories


@cache
def _events_of(kind: str) -> Select[Any]:
    return (
        select(
            event.c.address,
            event.c.run_id,
            run.c.state,
            event.c.id,
            event.c.occurred_at,
            event.c.kind,
            judgement.c.outcome,
            judgement.c.reason,
            judgement.c.fault,
            judgement.c.confidence,
            judgement.c.rule,
            judgement.c.rules_version,
            event.c.trust,
            event.c.list,
            event.c.provider,
        )
        .join(judgement, judgement.c.event_id == event.c.id)
        .join(run, run.c.id == event.c.run_id)
        .where(bulk.wanted(kind, event.c.address))
    )


@cache
def _releases_of(kind: str) -> Select[Any]:
    return (
        select(release.c.address, release.c.at, release.c.by, release.c.note)
        .outerjoin(decision, decision.c.id == release.c.decision_id)
        .where(bulk.wanted(kind, release.c.address), decision.c.undone_at.is_(None))
        .order_by(release.c.id)
    )


@cache
def _rows_of(kind: str) -> Select[Any]:
    return select(address).where(bulk.wanted(kind, address.c.address))


def put_rulings(
    connection: Connection, histories: dict[str, History], addresses: Iterable[str]
) -> None:
    """Give each history the ruling on its domain that holds now.

    One is made for each of the addresses of which there is nothing else to say.
    """
    found = rulings.in_force(connection, {whose.rpartition("@")[2] for whose in addresses})
    for whose in addresses:
        ruling = found.get(whose.rpartition("@")[2])
        if ruling is not None:
            histories.setdefault(whose, History())
        if whose in histories:
            histories[whose].ruling = ruling


class Waiting:
    """The incidents whose events do not count, to be asked for each event."""

    _query = select(
        *(incident.c[name] for name in ("scope", "name", "begins_at", "ends_at", "id"))
    ).where(incident.c.state.in_(("open", "discarded")))

    def __init__(self, connection: Connection) -> None:
        self._places: dict[tuple[str, str], list[tuple[datetime, datetime, int]]] = {}
        for scope, name, begins, ends, number in connection.execute(self._query):
            self._places.setdefault((scope, name), []).append((begins, ends, number))

    def at(self, at: datetime, domain: str, provider: str | None) -> int | None:
        if not self._places:
            return None
        windows = [*self._places.get(("domain", domain), ())]
        windows += self._places.get(("provider", provider or ""), ())
        return next((number for begins, ends, number in windows if begins <= at < ends), None)


def settle(
    connection: Connection,
    judge: Judge,
    occasion: Occasion,
    addresses: Iterable[str],
) -> tuple[int, int]:
    """Make standings again and write what changed; how many suppressions began and ended."""
    began = ended = 0
    for some in chunks(addresses):
        more = write(connection, judge, occasion, load(connection, some))
        began, ended = began + more[0], ended + more[1]
    return began, ended


def write(  # noqa: PLR0913, PLR0917 - of whom, and what is known of them already
    connection: Connection,
    judge: Judge,
    occasion: Occasion,
    histories: Mapping[str, History],
    found: Mapping[str, Standing] | None = None,
    ruled: Mapping[str, Turn] | None = None,
) -> tuple[int, int]:
    """The same for histories that are loaded already; `found` and `ruled` where they are known.

    `found` are the standings before `ruled`, the rulings that are others than those kept.
    """
    rows, changes = [], []
    began = ended = 0
    known = dict(found or {})
    if ruled is None:
        ruled = changed_rulings(connection, judge, histories)
    if ruled:
        _rule(connection, judge, occasion, ruled)
        histories = dict(histories)
        put_rulings(connection, histories, tuple(histories))
        for whose in histories:
            if whose.rpartition("@")[2] in ruled:
                known.pop(whose, None)
    for whose, history in histories.items():
        now = known.get(whose) or judge.conclude(whose, history, counted, occasion.at)
        rows.append(_row(whose, now, history, judge.version))
        before = history.suppressed(occasion.at)
        began += now.suppressed and not before
        ended += before and not now.suppressed
        if changed(history.row, before=before, found=now):
            change = _change(now, history, occasion, before=before)
            changes.append({**change, "address": whose, "policy_version": judge.version})
    bulk.put(connection, address, rows, key="address")
    bulk.put(connection, transition, changes)
    _announce(connection, judge, occasion, changes, rows)
    on_lists = _write_on_lists(connection, judge, occasion, histories)
    began, ended = began + on_lists[0], ended + on_lists[1]
    if ruled:
        others = [o for o in rulings.concerned(connection, ruled) if o not in histories]
        more = settle(connection, judge, occasion, others)
        began, ended = began + more[0], ended + more[1]
    return began, ended


def changed_rulings(
    connection: Connection,
    judge: Judge,
    histories: Mapping[str, History],
    runs: rulings.Runs | None = None,
) -> dict[str, Turn]:
    """Rulings on the domains of some addresses that are others than those kept, now."""
    before: dict[str, Ruling | None] = {}
    for whose, history in histories.items():
        signs = any(entry.event.reason in SIGNS for entry in history.entries)
        if signs or history.ruling is not None:
            before[whose.rpartition("@")[2]] = history.ruling
    if not before:
        return {}
    now = rulings.made_again(connection, judge.policy, before, Waiting(connection), runs)
    turns = {domain: Turn(before[domain], ruling) for domain, ruling in now.items()}
    return {domain: turn for domain, turn in turns.items() if turn.now != turn.before}


def _rule(
    connection: Connection,
    judge: Judge,
    occasion: Occasion,
    ruled: Mapping[str, Turn],
) -> None:
    """Keep rulings that are new or hold no more, and note each in the audit as `@domain`."""
    rulings.keep(connection, ruled, judge.version)
    changes = []
    for domain, (kept, now) in ruled.items():
        before = kept is not None
        told = now or kept
        if told is None or before == (now is not None):
            continue  # it rests on other events, and holds as before
        states = Status.HARD_BOUNCED.value, Status.ACTIVE.value
        changes.append(
            {
                "address": f"@{domain}",
                "at": occasion.at,
                "from_status": states[now is not None],
                "to_status": states[now is None],
                "from_suppressed": before,
                "to_suppressed": now is not None,
                "reason": told.reason.value,
                "rule": told.rule,
                "because": told.because if now else "The domain may be mailed again.",
                # those that a ruling rested on may be forgotten by the time it ends
                "event_id": now.events[-1] if now else None,
                "run_id": occasion.run_id,
                "actor": occasion.actor,
                "decision_id": occasion.decision_id,
                "events": _numbers(told.events),
                "rules_version": None,
                "policy_version": judge.version,
            }
        )
    bulk.put(connection, transition, changes)


def _announce(
    connection: Connection,
    judge: Judge,
    occasion: Occasion,
    changes: Sequence[Mapping[str, Any]],
    rows: Sequence[Mapping[str, Any]],
) -> None:
    """Tell webhooks of suppressions that began and ended."""
    if not judge.subscriptions:
        return
    ends = {(row["address"], row.get("list", "")): row["expires_at"] for row in rows}
    began = [one for one in changes if one["to_suppressed"] and not one["from_suppressed"]]
    ended = [one for one in changes if one["from_suppressed"] and not one["to_suppressed"]]
    for kind, some in ((NoticeKind.SUPPRESSED, began), (NoticeKind.RELEASED, ended)):
        about = [
            outbox.told(change, ends.get((change["address"], change.get("list", ""))))
            for change in some
        ]
        outbox.announce(connection, judge.subscriptions, kind, about, occasion.at)


def rows_on_lists(
    connection: Connection, addresses: Iterable[str]
) -> dict[tuple[str, str], RowMapping]:
    """What single lists have against some addresses, as it is kept, by address and list."""
    mine = _rows_on_lists_of(connection.dialect.name)
    rows = connection.execute(mine, bulk.given(connection, addresses)).mappings()
    return {(row["address"], row["list"]): row for row in rows}


@cache
def _rows_on_lists_of(kind: str) -> Select[Any]:
    return select(list_standing).where(bulk.wanted(kind, list_standing.c.address))


def suppressing_rows(
    connection: Connection, addresses: Iterable[str], at: datetime
) -> list[RowMapping]:
    """What suppresses some addresses at a time, on all lists and on single ones, as it is kept."""
    wanted = list(addresses)
    mine = bulk.among(connection, address.c.address, wanted)
    rows = list(connection.execute(select(address).where(mine, address.c.suppressed)).mappings())
    rows += rows_on_lists(connection, wanted).values()
    return [row for row in rows if in_force(row, at)]


def to_release(
    connection: Connection, addresses: Sequence[str], at: datetime
) -> tuple[dict[str, History], set[str]]:
    """Those of some addresses whom a release would do anything for, and who is suppressed.

    To release once more where nothing was reported since the last release does nothing.
    """
    suppressed = {row["address"] for row in suppressing_rows(connection, addresses, at)}
    histories = load(connection, addresses)
    wanted = {w: h for w, h in histories.items() if w in suppressed or h.heard_since_release}
    return wanted, suppressed & wanted.keys()


def _write_on_lists(
    connection: Connection, judge: Judge, occasion: Occasion, histories: Mapping[str, History]
) -> tuple[int, int]:
    """The same for what single lists have against the addresses, beyond the rest."""
    there = rows_on_lists(connection, histories)
    if not there and not judge.lists.apart:
        return 0, 0
    found = {
        (whose, name): own
        for whose, history in histories.items()
        for name, own in judge.on_lists(whose, history, counted, occasion.at).items()
    }
    connection.execute(
        delete(list_standing).where(bulk.among(connection, list_standing.c.address, histories))
    )
    rows, changes = [], []
    began = ended = 0
    for (whose, name), own in found.items():
        row = _row(whose, own, histories[whose], _version(judge, name))
        rows.append({**{key: row[key] for key in row if key in list_standing.c}, "list": name})
    for key in sorted(there.keys() | found.keys()):
        whose, name = key
        own, before = found.get(key, Standing()), in_force(there.get(key), occasion.at)
        began += own.suppressed and not before
        ended += before and not own.suppressed
        if changed(there.get(key), before=before, found=own):
            was = replace(histories[whose], row=there.get(key))
            change = _change(own, was, occasion, before=before)
            more = {"address": whose, "list": name, "policy_version": _version(judge, name)}
            changes.append({**change, **more})
    bulk.put(connection, list_standing, rows)
    bulk.put(connection, transition, changes)
    _announce(connection, judge, occasion, changes, rows)
    return began, ended


def _version(judge: Judge, name: str) -> str:
    return judge.lists.policies[name].version if name in judge.lists.policies else judge.version


def _row(whose: str, found: Standing, history: History, version: str) -> dict[str, object]:
    first_at, last_at = history.span
    return {
        "address": whose,
        "status": found.status._value_,
        "suppressed": found.suppressed,
        "reason": found.reason and found.reason._value_,
        "since": found.since,
        "expires_at": found.expires_at,
        "score": found.score,
        "rule": found.rule,
        "because": found.because,
        "event_id": found.events[-1] if found.events else None,
        "policy_version": version,
        "first_event_at": first_at,
        "last_event_at": last_at,
        "folded": facts.matched(whose),
    }


def changed(row: RowMapping | None, *, before: bool, found: Standing) -> bool:
    """Whether a standing is another than the row says; `before` is whether that suppresses now."""
    was = (row["status"], row["reason"]) if row is not None else (Status.ACTIVE, None)
    # A standing that goes back to nothing has no reason of its own; that alone is no change.
    reason = found.reason if found.status is not Status.ACTIVE else was[1]
    return (was[0], before, was[1]) != (found.status, found.suppressed, reason)


def _change(
    found: Standing, history: History, occasion: Occasion, *, before: bool
) -> dict[str, object]:
    decided = found.events[-1] if found.events else None
    versions = (e.rules_version for e in history.entries if e.event.id == decided)
    return {
        "at": occasion.at,
        "from_status": history.row["status"] if history.row else Status.ACTIVE.value,
        "to_status": found.status._value_,
        "from_suppressed": before,
        "to_suppressed": found.suppressed,
        "reason": found.reason and found.reason._value_,
        "rule": found.rule,
        "because": found.because,
        "event_id": decided,
        "run_id": occasion.run_id,
        "actor": occasion.actor,
        "decision_id": occasion.decision_id,
        "events": _numbers(found.events),
        "rules_version": next(versions, None),
    }


def _numbers(events: Sequence[int]) -> str:
    return str([*events])  # as JSON has them


def addresses_of_run(connection: Connection, run_id: int) -> list[str]:
    """Every address a run brought an event of, in order."""
    query = select(event.c.address).distinct().where(event.c.run_id == run_id)
    return list(connection.execute(query.order_by(event.c.address)).scalars())

"""The writing side: what `bounced.sync` does to the ledger, step by step.

Every function works inside the caller's one transaction. A visit is good for as long as its fence
is the mailbox's: whoever took the lease after us has raised it, and our writes are refused.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import bindparam, delete, func, select, update

from bounced.alarms import AT_ONCE
from bounced.ledger import bulk, counting, facts, incidents, outbox, refusals, standings
from bounced.ledger.engine import chunks
from bounced.ledger.errors import lease_lost
from bounced.ledger.tables import (
    event,
    judgement,
    mailbox,
    message,
    newly_suppressed,
    run,
    seen,
    sent,
)
from bounced.ledger.tombstones import Tombstones
from bounced.model import INTERRUPTED, STOPPED, Destination, NoticeKind, Outcome, Recorded, Visit
from bounced.policy import Incidents, brake_holds
from bounced.smtp import folded
from bounced.trust import Trust

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime, timedelta

    from sqlalchemy import Connection, Row, RowMapping, Select, Update

    from bounced.ledger.engine import Database
    from bounced.ledger.rows import IncidentRow
    from bounced.model import Bounce, Reading
    from bounced.policy import Brake
    from bounced.trust import Key

    Told = tuple[Reading, str, int, Bounce]

DONE = ("recorded", "filed")
PLACE = ("mailbox_id", "epoch", "uid")
ERROR_LIMIT = 500


class _Noted(NamedTuple):
    """What a batch of letters told.

    `again` are duplicates, `touched` addresses, `arisen` new incidents, and `refused` events that
    say that our own login was refused.
    """

    new: int
    again: int
    touched: list[str]
    arisen: list[IncidentRow]
    refused: int


@dataclass(slots=True)
class Visits:
    """The visits to all mailboxes of one ledger.

    `rules_version` is stored with each judgement; None takes that of the built-in books.
    """

    database: Database
    judge: standings.Judge
    brake: Brake
    lease: timedelta
    rules_version: str | None
    keys: Callable[[], Sequence[Key]]
    watch: incidents.Watch = field(default_factory=lambda: incidents.Watch(Incidents()))
    tombstones: Tombstones = field(default_factory=Tombstones)
    redact: bool = False
    _keys: Sequence[Key] = ()
    _subscribers: tuple[int, int] = (0, 0)  # (run, how many), counted once a run

    def begin(
        self,
        connection: Connection,
        name: str,
        *,
        owner: str,
        at: datetime,
        gather: timedelta | None = None,
    ) -> Visit | None:
        """See `bounced.sync.Ledger.begin`."""
        query = select(mailbox).where(mailbox.c.name == name).with_for_update()
        row = connection.execute(query).mappings().one_or_none()
        if row is None:  # writers follow one another: nobody else makes it meanwhile
            connection.execute(mailbox.insert(), {"name": name})
            row = connection.execute(query).mappings().one()
        clock = self.database.clock(connection)
        if not is_free(row["lease_owner"], row["lease_until"], owner, clock):
            return None
        fence = row["fence"] + 1
        connection.execute(
            update(mailbox)
            .where(mailbox.c.id == row["id"])
            .values(lease_owner=owner, lease_until=clock + self.lease, fence=fence)
        )
        number, started_at = _run(connection, row["id"], at, gather)
        until = None if gather is None else started_at + gather
        return Visit(row["id"], number, fence, until)

    def select(self, connection: Connection, visit: Visit, epoch: int) -> None:
        """See `bounced.sync.Ledger.select`."""
        row = self._guard(connection, visit)
        if row["epoch"] != epoch:
            connection.execute(
                update(mailbox)
                .where(mailbox.c.id == visit.mailbox_id)
                .values(epoch=epoch, last_uid=0)
            )

    def unfiled(self, connection: Connection, visit: Visit) -> dict[int, Destination]:
        """See `bounced.sync.Ledger.unfiled`."""
        row = self._guard(connection, visit)
        query = (
            select(message.c.uid, message.c.destination)
            .where(_here(row), message.c.state == "recorded")
            .order_by(message.c.uid)
        )
        return {uid: Destination(pile) for uid, pile in connection.execute(query)}

    def unrecorded(self, connection: Connection, visit: Visit, uids: Sequence[int]) -> list[int]:
        """See `bounced.sync.Ledger.unrecorded`."""
        row = self._guard(connection, visit)
        done: set[int] = set()
        for some in chunks(uids):
            known = _known(connection, row, some)
            done.update(uid for uid, one in known.items() if one.state in DONE)
        return [uid for uid in uids if uid not in done]

    def attempt(self, connection: Connection, visit: Visit, uids: Sequence[int]) -> dict[int, int]:
        """See `bounced.sync.Ledger.attempt`."""
        row = self._guard(connection, visit)
        known = _known(connection, row, uids)
        ids = iter(bulk.new_ids(connection, message, len(uids) - len(known)))
        place = {"mailbox_id": visit.mailbox_id, "epoch": row["epoch"], "run_id": visit.run_id}
        counted = [
            {"id": known[uid].id if uid in known else next(ids), **place, "uid": uid,
             "attempts": known[uid].attempts + 1 if uid in known else 1, "state": "tried"}
            for uid in uids
        ]  # fmt: skip
        bulk.put(connection, message, counted, key="id", kept=(*PLACE, "state"))
        self._renew(connection, visit)
        return {one["uid"]: one["attempts"] for one in counted}

    def record(
        self, connection: Connection, visit: Visit, readings: Sequence[Reading], *, at: datetime
    ) -> Recorded:
        """See `bounced.sync.Ledger.record`."""
        row = self._guard(connection, visit)
        events = duplicates = suppressed = released = held = opened = refused = 0
        for some in chunks(readings, 500):
            noted = self._facts(connection, visit, row, some, at)
            opened, refused = opened + len(noted.arisen), refused + noted.refused
            # before the brake counts, since what waits for an incident suppresses nobody
            released += self._let_wait(connection, visit, noted.arisen, at)
            events, duplicates = events + noted.new, duplicates + noted.again
            began, ended, held = self._standings(connection, visit, noted.touched, at)
            suppressed, released = suppressed + began, released + ended
        highest = max((reading.uid for reading in readings), default=0)
        self._renew(connection, visit, last_uid=max(row["last_uid"], highest))
        if held:
            suppressed = released = 0
        return Recorded(events, duplicates, suppressed, released, held, opened, refused)

    def filed(self, connection: Connection, visit: Visit, uids: Iterable[int]) -> None:
        """See `bounced.sync.Ledger.filed`."""
        row = self._guard(connection, visit)
        for some in chunks(uids):
            given = {"box": row["id"], "era": row["epoch"], **bulk.given(connection, some)}
            connection.execute(_file(connection.dialect.name), given)

    def end(self, connection: Connection, visit: Visit, *, at: datetime, error: str | None) -> None:
        """See `bounced.sync.Ledger.end`. Says nothing when the lease is another's by now."""
        mine = (mailbox.c.id == visit.mailbox_id) & (mailbox.c.fence == visit.fence)
        if connection.execute(select(mailbox.c.id).where(mine)).scalar() is None:
            return
        told = health(error, at)
        if "failing_since" in told and error is not None:
            since = select(mailbox.c.failing_since).where(mine)
            if connection.execute(since).scalar() is None:  # the first failure in a row
                self._tell(connection, NoticeKind.FAILING, visit, at, why=told["last_error"])
        values = {"lease_owner": None, "lease_until": None, "last_sync_at": at}
        connection.execute(update(mailbox).where(mine).values(**values, **told))
        if error is not None:
            # Not finished: the next sync goes on with it, so that the brake sees the whole pass.
            this = update(run).where(run.c.id == visit.run_id)
            connection.execute(this.where(run.c.state == "open").values(state="failed"))
        elif visit.gathers_until is None or at >= visit.gathers_until:
            _finish(connection, visit.run_id, at)

    def _tell(
        self, connection: Connection, kind: NoticeKind, visit: Visit, at: datetime, **more: object
    ) -> None:
        """Tell webhooks of what happened to a mailbox."""
        if not self.judge.subscriptions:
            return
        query = select(mailbox.c.name).where(mailbox.c.id == visit.mailbox_id)
        data = {"mailbox": connection.execute(query).scalar_one(), **more}
        outbox.announce(connection, self.judge.subscriptions, kind, [data], at)

    def _guard(self, connection: Connection, visit: Visit) -> RowMapping:
        """The mailbox's row; raises LeaseLost where the fence is not ours any more.

        Writers follow one another, so that in a writing transaction it stays as it is read here.
        """
        row = connection.execute(_MAILBOX, {"this": visit.mailbox_id}).mappings().one()
        if row["fence"] != visit.fence:
            raise lease_lost(row["name"])
        return row

    def _renew(self, connection: Connection, visit: Visit, **values: int) -> None:
        until = self.database.clock(connection) + self.lease
        mine = mailbox.c.id == visit.mailbox_id
        connection.execute(update(mailbox).where(mine).values(lease_until=until, **values))

    def _facts(
        self,
        connection: Connection,
        visit: Visit,
        row: RowMapping,
        readings: Sequence[Reading],
        at: datetime,
    ) -> _Noted:
        """Write messages, events and judgements, and look for incidents among them."""
        readings = self.tombstones.without(connection, readings, self._owners(readings))
        fresh, ids = _write_messages(connection, visit, row, readings, at, redact=self.redact)
        first_seen = _write_seen(connection, fresh, ids)
        again = [r for r in fresh if first_seen[r.dedup_key] != ids[r.uid]]
        if again:
            connection.execute(
                update(message)
                .where(message.c.id == bindparam("this"))
                .values(duplicate_of=bindparam("first")),
                [{"this": ids[r.uid], "first": first_seen[r.dedup_key]} for r in again],
            )
        owners = self._owners(fresh)
        told = [
            (reading, address, ordinal, bounce)
            for reading in fresh
            if first_seen[reading.dedup_key] == ids[reading.uid]
            for address, (ordinal, bounce) in facts.fates(
                reading.conclusion, owners.get(reading.uid)
            ).items()
        ]
        trusts = self._trusts(connection, told, owners)
        lists = self._lists(row["name"], told, owners)
        numbers = bulk.new_ids(connection, event, len(told))
        rows = [
            {
                "id": number,
                **facts.event_row(*one, redact=self.redact),
                "run_id": visit.run_id,
                "message_id": ids[one[0].uid],
                "trust": trust,
                "list": lists[one[0].uid],
            }
            for number, one, trust in zip(numbers, told, trusts, strict=True)
        ]
        self._raise_alarms(connection, visit, told, rows, at)  # before there are more to know of
        self._write_events(connection, told, rows, at)
        touched = list(dict.fromkeys(address for _, address, _, _ in told))
        judged = [
            {**row, **_judged(one)}
            for row, one in zip(rows, told, strict=True)
            if one[3].verdict.outcome is Outcome.HARD  # others make no incident
        ]
        arisen = self.watch.open(connection, judged, standings.Occasion(at, "sync", visit.run_id))
        refused = sum(bounce.verdict.reason in AT_ONCE for *_, bounce in told)
        return _Noted(len(told), len(again), touched, arisen, refused)

    def _let_wait(
        self, connection: Connection, visit: Visit, arisen: Sequence[IncidentRow], at: datetime
    ) -> int:
        """Take back what the events of new incidents have done so far; suppressions ended."""
        ended = 0
        occasion = standings.Occasion(at, "sync", visit.run_id)
        for one in arisen:
            place = [incidents.place_of(asdict(one))]
            ended += incidents.settle(connection, self.judge, occasion, place)[1]
            said = {"incident": one.id, "name": one.name, "addresses": one.addresses}
            self._tell(connection, NoticeKind.INCIDENT, visit, at, **said)
        return ended

    def _raise_alarms(
        self,
        connection: Connection,
        visit: Visit,
        told: Sequence[Told],
        rows: Sequence[Mapping[str, Any]],
        at: datetime,
    ) -> None:
        """Tell webhooks who has begun to refuse us, by events that are to be written."""
        if not any(NoticeKind.ALARM in one.kinds for one in self.judge.subscriptions):
            return
        refused = [
            refusals.Refusal(
                row["provider"],
                row["domain"],
                row["diagnostic"],
                row["occurred_at"],
                one[3].verdict.reason.value,
                one[0].conclusion.report.returned.from_,
            )
            for row, one in zip(rows, told, strict=True)
            if refusals.refuses_us(one[3].verdict)
        ]
        for alarm in refusals.news(connection, refused, at):
            said = {name: getattr(alarm, name) for name in ("who", "reason", "ours", "blocklist")}
            more = {"page": alarm.page, "events": alarm.count}
            self._tell(connection, NoticeKind.ALARM, visit, at, **said, **more)

    def look_up_keys(self) -> None:
        """Ask for keys and pepper once, before any transaction: a command may have to be run."""
        if not self._keys:
            self._keys = self.keys()
        self.tombstones.look_up()

    def _owners(self, fresh: Sequence[Reading]) -> dict[int, str]:
        """By UID: to whom the token in a letter was given, where it carries one that is right."""
        if not self._keys:
            return {}
        found = ((reading.uid, facts.token_owner(reading, self._keys)) for reading in fresh)
        return {uid: owner for uid, owner in found if owner is not None}

    def _lists(
        self, mailbox_name: str, told: Sequence[Told], owners: Mapping[int, str]
    ) -> dict[int, str]:
        """By UID: the list whose mail a letter is about, "" where nothing says."""
        names: dict[int, str] = {}
        lists = self.judge.lists
        for reading, *_ in told:
            if reading.uid not in names:
                owner = owners.get(reading.uid) if lists.token_ids else None
                token_id = owner and facts.token_id(reading, owner, self._keys)
                list_id = facts.list_id(reading)
                names[reading.uid] = lists.named(token_id, list_id, mailbox_name)
        return names

    def _trusts(
        self, connection: Connection, told: Sequence[Told], owners: Mapping[int, str]
    ) -> list[str | None]:
        """How sure each event is about mail of ours; None where there is nothing to ask."""
        asked = bool(self._keys) or self.judge.policy.trust != "any"
        if not asked and connection.execute(select(sent.c.message_id).limit(1)).first() is None:
            return [None] * len(told)
        claims = [_claim(one) for one in told]
        known = _known_sent(connection, {message_id for message_id, _ in claims if message_id})
        trusts: list[str | None] = []
        for one, claim in zip(told, claims, strict=True):
            if (one[0].conclusion.report.format or "").startswith(facts.IMPORTED):
                trusts.append(None)  # it came by the operator's hand, not by mail
            elif owners.get(one[0].uid) is not None and folded(owners[one[0].uid]) == claim[1]:
                trusts.append(Trust.VERIFIED.value)
            else:
                trusts.append((Trust.MATCHED if claim in known else Trust.CLAIMED).value)
        return trusts

    def _write_events(
        self,
        connection: Connection,
        told: Sequence[Told],
        rows: Sequence[Mapping[str, Any]],
        at: datetime,
    ) -> None:
        bulk.put(connection, event, rows)
        version = self.books_version() if told else ""
        judgements = [
            {"event_id": row["id"], **facts.judgement_row(bounce.verdict, version, at)}
            for row, (_, _, _, bounce) in zip(rows, told, strict=True)
        ]
        bulk.put(connection, judgement, judgements)

    def books_version(self) -> str:
        """The version of the rule books that judge today."""
        if self.rules_version is None:
            # Late, because the reading side has no need of the rule books.
            from bounced.rules import RULES_VERSION  # noqa: PLC0415

            self.rules_version = RULES_VERSION
        return self.rules_version

    def _standings(
        self, connection: Connection, visit: Visit, touched: Sequence[str], at: datetime
    ) -> tuple[int, int, int]:
        """Rebuild the standings of the addresses touched: suppressed, released, held."""
        occasion = standings.Occasion(at, "sync", visit.run_id)
        run_id = visit.run_id
        newly, began, ended = 0, 0, 0
        loaded = [standings.load(connection, some) for some in chunks(touched)] or [{}]
        with_this = [counting.conclude_with(self.judge, them, run_id, at) for them in loaded]
        for them, found in zip(loaded, with_this, strict=True):
            newly = counting.note_newly_suppressed(connection, self.judge, them, run_id, at, found)
        ruled = [counting.note_ruled(connection, self.judge, them, run_id, at) for them in loaded]
        if any(ruled):
            newly = counting.waiting_of(connection, run_id)
        state = connection.execute(select(run.c.state).where(run.c.id == run_id)).scalar_one()
        if state == "open" and self._too_many(connection, visit, newly, loaded):
            # The whole run waits, its earlier transactions too: nothing it said counts for now.
            connection.execute(update(run).where(run.c.id == run_id).values(state="held"))
            everyone = standings.addresses_of_run(connection, run_id)
            standings.settle(connection, self.judge, occasion, everyone)
            self._tell(connection, NoticeKind.HELD, visit, at, run=visit.run_id, addresses=newly)
            return 0, 0, newly
        if state in standings.LEFT_OUT:  # what was concluded with it is not to be used
            began, ended = standings.settle(connection, self.judge, occasion, touched)
            return began, ended, newly if state == "held" else 0
        settled = False
        for them, found, rulings in zip(loaded, with_this, ruled, strict=True):
            if settled:  # a whole domain, and perhaps these with it
                more = standings.settle(connection, self.judge, occasion, them)
            else:
                more = standings.write(connection, self.judge, occasion, them, found, rulings)
            settled = settled or bool(rulings)
            began, ended = began + more[0], ended + more[1]
        return began, ended, 0

    def _too_many(
        self, connection: Connection, visit: Visit, newly: int, loaded: Sequence[Any]
    ) -> bool:
        if newly <= self.brake.floor:
            return False
        if self._subscribers[0] != visit.run_id:
            self._subscribers = (visit.run_id, counting.subscribers(connection))
        arriving = (history for histories in loaded for history in histories.values())
        known = self._subscribers[1] or counting.on_record(connection, arriving)
        return brake_holds(newly, known, self.brake)


_MAILBOX = select(mailbox).where(mailbox.c.id == bindparam("this"))


def _judged(one: Told) -> dict[str, str]:
    verdict = one[3].verdict
    return {"outcome": verdict.outcome, "fault": verdict.fault, "reason": verdict.reason}


def _claim(one: Told) -> tuple[str, str]:
    """(Message-ID, folded recipient) of the mail that an event says it is about."""
    reading, address, _, _ = one
    return facts.message_id(reading.conclusion.report.returned.message_id or ""), folded(address)


def _known_sent(connection: Connection, message_ids: Iterable[str]) -> set[tuple[str, str]]:
    """Which mail with these Message-IDs was sent, and to whom."""
    known: set[tuple[str, str]] = set()
    for some in chunks(message_ids):
        query = select(sent.c.message_id, sent.c.address)
        query = query.where(bulk.among(connection, sent.c.message_id, some))
        known.update((message_id, address) for message_id, address in connection.execute(query))
    return known


def forget_newly_suppressed(connection: Connection, run_id: int) -> None:
    """Once nobody waits for it any more."""
    connection.execute(delete(newly_suppressed).where(newly_suppressed.c.run_id == run_id))


def is_free(holder: str | None, until: datetime | None, owner: str, clock: datetime) -> bool:
    """Whether the lease may be taken: free, run out, our own, or of a dead process on this host."""
    if holder is None or until is None or until <= clock or holder == owner:
        return True
    return is_dead(holder, owner)


def is_dead(holder: str, owner: str) -> bool:
    """Whether a process (`host:pid`) was one of the owner's host and is no more."""
    host, _, pid = holder.rpartition(":")
    if host != owner.rpartition(":")[0] or not pid.isdecimal() or int(pid) < 1:
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except OSError:  # it lives, and is somebody else's
        return False
    return False


def health(error: str | None, at: datetime) -> dict[str, Any]:
    """What a pass that ended so tells of its mailbox; one that was asked to stop has not failed."""
    if error is None:
        return {"last_error": None, "last_success_at": at, "failing_since": None}
    told = {"last_error": facts.clean(error, ERROR_LIMIT)}
    if error in (STOPPED, INTERRUPTED):
        return told
    return {**told, "failing_since": func.coalesce(mailbox.c.failing_since, at)}


def _finish(connection: Connection, run_id: int, at: datetime) -> None:
    """Close a run; what waits for nobody's word counts, and is not kept apart any more."""
    this = update(run).where(run.c.id == run_id)
    connection.execute(this.values(finished_at=at))
    unheld = run.c.state.in_(("open", "failed"))
    if connection.execute(this.where(unheld).values(state="done")).rowcount:
        forget_newly_suppressed(connection, run_id)


def _run(
    connection: Connection, mailbox_id: int, at: datetime, gather: timedelta | None
) -> tuple[int, datetime]:
    """The mailbox's unfinished run to go on with, else a new one; and when it began.

    One that began longer ago than `gather` is closed.
    """
    unfinished = (run.c.mailbox_id == mailbox_id) & run.c.finished_at.is_(None)
    found = connection.execute(
        select(run.c.id, run.c.state, run.c.started_at)
        .where(unfinished)
        .order_by(run.c.id.desc())
        .limit(1)
    ).one_or_none()
    if found is not None and gather is not None and at - found.started_at >= gather:
        _finish(connection, found.id, at)
        found = None
    if found is None:
        opened = run.insert().values(mailbox_id=mailbox_id, started_at=at, state="open")
        return int(connection.execute(opened.returning(run.c.id)).scalar_one()), at
    if found.state == "failed":
        connection.execute(update(run).where(run.c.id == found.id).values(state="open"))
    return int(found.id), found.started_at


@cache
def _file(kind: str) -> Update:
    these = bulk.wanted(kind, message.c.uid)
    return update(message).where(_HERE, these, message.c.state == "recorded").values(state="filed")


# the same as parameters of statements that are kept
_HERE = (message.c.mailbox_id == bindparam("box")) & (message.c.epoch == bindparam("era"))


def _here(row: RowMapping) -> Any:
    """Messages of this mailbox in its present epoch."""
    return (message.c.mailbox_id == row["id"]) & (message.c.epoch == row["epoch"])


def _known(
    connection: Connection, row: RowMapping, uids: Iterable[int]
) -> dict[int, Row[int, int, int, str]]:
    """Id, attempts and state of messages that have a row, by UID."""
    given = {"box": row["id"], "era": row["epoch"], **bulk.given(connection, uids)}
    found = connection.execute(_known_by_uid(connection.dialect.name), given)
    return {one[0]: one for one in found.all()}


@cache
def _known_by_uid(kind: str) -> Select[int, int, int, str]:
    columns = message.c.uid, message.c.id, message.c.attempts, message.c.state
    return select(*columns).where(_HERE, bulk.wanted(kind, message.c.uid))


def _write_messages(  # noqa: PLR0913 - what a row says, and of what
    connection: Connection,
    visit: Visit,
    row: RowMapping,
    readings: Sequence[Reading],
    at: datetime,
    *,
    redact: bool,
) -> tuple[list[Reading], dict[int, int]]:
    """Those not recorded yet, and the ids of their rows by UID, whoever made these."""
    by_uid = {reading.uid: reading for reading in readings}
    known = _known(connection, row, by_uid)
    fresh = [r for uid, r in by_uid.items() if uid not in known or known[uid].state not in DONE]
    strangers = [reading.uid for reading in fresh if reading.uid not in known]
    ids = {uid: known[uid].id for uid in known}
    ids |= zip(strangers, bulk.new_ids(connection, message, len(strangers)), strict=True)
    place = {"mailbox_id": visit.mailbox_id, "epoch": row["epoch"], "run_id": visit.run_id}
    rows = [
        {"id": ids[r.uid], **place, **facts.message_row(r, redact=redact), "recorded_at": at}
        for r in fresh
    ]
    # an index is written for every column that is set, even to what it was
    kept = (*PLACE, "run_id")
    bulk.replace(connection, message, [r for r in rows if r["uid"] in known], key="id", kept=kept)
    bulk.put(connection, message, [r for r in rows if r["uid"] not in known])
    return fresh, ids


def _write_seen(
    connection: Connection, readings: Sequence[Reading], ids: dict[int, int]
) -> dict[str, int]:
    """For each dedup key the message that had it first, in this batch or ever."""
    keys = dict.fromkeys(reading.dedup_key for reading in readings)
    found = connection.execute(_seen(connection.dialect.name), bulk.given(connection, keys))
    known = {row.dedup_key: row.message_id for row in found.all()}
    new: dict[str, int] = {}
    for reading in readings:
        if reading.dedup_key not in known:
            new.setdefault(reading.dedup_key, ids[reading.uid])
    rows = [{"dedup_key": key, "message_id": number} for key, number in new.items()]
    bulk.put(connection, seen, rows)
    return known | new


@cache
def _seen(kind: str) -> Select[str, int]:
    query = select(seen.c.dedup_key, seen.c.message_id)
    return query.where(bulk.wanted(kind, seen.c.dedup_key))

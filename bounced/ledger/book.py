"""The ledger itself: every method one transaction, committed when it returns."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, select, tuple_, update

from bounced.ledger import (
    bulk,
    clearance,
    counting,
    decisions,
    expiry,
    facts,
    incidents,
    places,
    readership,
    reading,
    refusals,
    rehearsal,
    replay,
    rulings,
    schema,
    selection,
    standings,
    tombstones,
    visits,
)
from bounced.ledger.engine import Database, chunks
from bounced.ledger.errors import LedgerError
from bounced.ledger.incidents import Watch
from bounced.ledger.rows import Released
from bounced.ledger.tables import address as address_table
from bounced.ledger.tables import mailbox, newly_suppressed, release, run, sent, subscriber
from bounced.model import Release
from bounced.policy import Brake, Incidents, Lists, Policy, brake_holds
from bounced.smtp import canonical, folded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime
    from types import TracebackType
    from typing import Self

    from sqlalchemy import Connection, Table

    from bounced.domains import Ruling
    from bounced.ledger.rows import (
        AddressHistory,
        AlarmRow,
        Clearance,
        DecisionRow,
        EventRow,
        HoldRow,
        IncidentRow,
        MailboxRow,
        Replay,
        SubscriberRow,
        SuppressedRow,
        TypoRow,
        UndeterminedRow,
        Undone,
    )
    from bounced.ledger.selection import Selection
    from bounced.model import Destination, Held, Reading, Recorded, Rehearsed, Subscription, Visit
    from bounced.trust import Key

LEASE = timedelta(minutes=10)


class Ledger:
    """Facts, conclusions and standings in SQLite or PostgreSQL.

    The writing side is `bounced.sync`'s protocol of the same name. Every method may raise
    LedgerUnavailable (try again) and LedgerError; those that take a visit also LeaseLost.
    """

    def __init__(self, database: Database, judge: standings.Judge, visits_: visits.Visits) -> None:
        self._database = database
        self._judge = judge
        self._visits = visits_
        self._tombstones = visits_.tombstones
        self.upgraded: tuple[str | None, str] | None = None

    @classmethod
    def open(  # noqa: PLR0913 - the wiring of the house
        cls,
        url: str,
        *,
        policy: Policy | None = None,
        brake: Brake | None = None,
        never_suppress: Sequence[str] = (),
        migrate: bool | None = None,
        lease: timedelta = LEASE,
        rules_version: str | None = None,
        keys: Callable[[], Sequence[Key]] = tuple,
        subscriptions: Sequence[Subscription] = (),
        lists: Lists | None = None,
        unusual: Incidents | None = None,
        pepper: Callable[[], bytes | None] = tombstones.no_pepper,
        redact: bool = False,
    ) -> Ledger:
        """Connect, and see that the schema fits.

        With `migrate` None a SQLite database is created or upgraded by itself (`upgraded` says
        from what to what); others raise LedgerOutdated. A schema of a later version raises
        LedgerTooNew. `never_suppress` holds addresses, domains (`example.com` or
        `@example.com`) and roles at any domain (`abuse@`). `rules_version` is stored with every
        judgement (None: that of the built-in books). `keys` is asked for the keys of
        tokens when a mailbox is visited first. `subscriptions` are the webhooks to be told;
        `lists` says whether lists have standings of their own, `unusual` when an incident is
        opened. `pepper` is asked for what forgotten addresses are known by; with `redact`
        diagnostics are kept without names.
        """
        database = Database(url)
        policy = policy or Policy()
        spared = frozenset(_spared(name) for name in never_suppress)
        judge = standings.Judge(
            policy, spared, policy.version, tuple(subscriptions), lists or Lists()
        )
        stones = tombstones.Tombstones(pepper)
        ledger = cls(
            database,
            judge,
            visits.Visits(
                database,
                judge,
                brake or Brake(),
                lease,
                rules_version,
                keys,
                Watch(unusual or Incidents()),
                stones,
                redact,
            ),
        )
        try:
            ledger.upgraded = schema.prepare(database, migrate=migrate)
        except BaseException:
            database.close()
            raise
        return ledger

    def upgrade(self) -> tuple[str | None, str]:
        """Bring the schema to the newest revision: (from, to), alike where nothing was to do."""
        return schema.upgrade(self._database)

    def close(self) -> None:
        """Give all connections back; what is asked next takes new ones."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # What bounced.sync does, in the order in which it does it; the meaning is told there.

    def begin(
        self, mailbox: str, *, owner: str, at: datetime, gather: timedelta | None = None
    ) -> Visit | None:
        self._visits.look_up_keys()
        with self._database.writing() as connection:
            return self._visits.begin(connection, mailbox, owner=owner, at=at, gather=gather)

    def select(self, visit: Visit, epoch: int) -> None:
        with self._database.writing() as connection:
            self._visits.select(connection, visit, epoch)

    def unfiled(self, visit: Visit) -> Mapping[int, Destination]:
        with self._database.reading() as connection:
            return self._visits.unfiled(connection, visit)

    def unrecorded(self, visit: Visit, uids: Sequence[int]) -> Sequence[int]:
        with self._database.reading() as connection:
            return self._visits.unrecorded(connection, visit, uids)

    def attempt(self, visit: Visit, uids: Sequence[int]) -> Mapping[int, int]:
        # counts readers that die; a letter read once more after a power cut does no harm
        with self._database.writing(hasty=True) as connection:
            return self._visits.attempt(connection, visit, uids)

    def record(self, visit: Visit, readings: Sequence[Reading], *, at: datetime) -> Recorded:
        with self._database.writing() as connection:
            return self._visits.record(connection, visit, readings, at=at)

    def filed(self, visit: Visit, uids: Iterable[int]) -> None:
        # a letter that has gone and is not noted so is looked for, and noted, by the next sync
        with self._database.writing(hasty=True) as connection:
            self._visits.filed(connection, visit, uids)

    def end(self, visit: Visit, *, at: datetime, error: str | None = None) -> None:
        with self._database.writing() as connection:
            self._visits.end(connection, visit, at=at, error=error)

    def attempts(self, mailbox: str, epoch: int, uids: Sequence[int]) -> Mapping[int, int]:
        with self._database.reading() as connection:
            return rehearsal.attempts(connection, mailbox, epoch, uids)

    def rehearse(
        self, mailbox: str, epoch: int, batches: Iterable[Sequence[Reading]], *, at: datetime
    ) -> Rehearsed:
        self._visits.look_up_keys()
        return rehearsal.rehearse(self._database, self._visits, mailbox, epoch, batches, at)

    # What a person decides.

    def decide(self, run_id: int, *, accept: bool, by: str, at: datetime) -> int:
        """Let a held run count as if it had never been held, or never let it count.

        Returns how many addresses waited. Raises LedgerError where the run does not wait, or is
        still being read.
        """
        with self._database.writing() as connection:
            self._must_wait(connection, run_id)
            state = "accepted" if accept else "discarded"
            this = update(run).where(run.c.id == run_id)
            connection.execute(this.values(state=state, decided_by=by, decided_at=at))
            connection.execute(this.where(run.c.finished_at.is_(None)).values(finished_at=at))
            waiting = select(func.count()).where(newly_suppressed.c.run_id == run_id)
            count = connection.execute(waiting).scalar_one()
            visits.forget_newly_suppressed(connection, run_id)
            occasion = decisions.note(
                connection,
                "accept" if accept else "discard",
                standings.Occasion(at, by, run_id),
                run_without="held",
                run_with=state,
            )
            everyone = standings.addresses_of_run(connection, run_id)
            standings.settle(connection, self._judge, occasion, everyone)
            return count

    def _must_wait(self, connection: Connection, run_id: int) -> None:
        query = (
            select(run.c.state, run.c.finished_at, mailbox.c.name, mailbox.c.lease_until)
            .join(mailbox, mailbox.c.id == run.c.mailbox_id)
            .where(run.c.id == run_id)
        )
        found = connection.execute(query).one_or_none()
        if found is None or found.state != "held":
            why = "There is no run {}" if found is None else "Run {} is not held (but {})"
            raise LedgerError(
                f"{why.format(run_id, found and found.state)}. Nothing was changed. "
                "To see what waits, type: bounced hold list"
            )
        leased = found.lease_until is not None and found.lease_until > self._database.clock(
            connection
        )
        if found.finished_at is None and leased:
            raise LedgerError(
                f"Run {run_id} over the mailbox {found.name} is still going on, and may hold more "
                "when it is through. Nothing was changed. Try again when the sync has ended"
            )

    def release(self, addresses: Sequence[str], *, by: str, note: str, at: datetime) -> Released:
        """Let addresses be mailed again: what was recorded up to `at` stops counting.

        An address is released in every spelling on record that differs only in case. Passed over
        are those not on record, and those of whom nothing counts since their last release.
        """
        freed = others = 0
        occasion = standings.Occasion(at, by)
        with self._database.writing() as connection:
            for some in chunks(dict.fromkeys(folded(given) for given in addresses)):
                known = select(address_table.c.address).where(address_table.c.folded.in_(some))
                rows = list(connection.execute(known).scalars())
                subject = ", ".join(addresses)
                occasion, more = self._release(connection, rows, occasion, note, subject)
                freed, others = freed + more.addresses, others + more.others
        return Released(freed, others)

    def release_selected(
        self, chosen: Selection, *, by: str, note: str, at: datetime
    ) -> Iterator[int]:
        """Release whoever is suppressed and fits; a transaction and a count for each piece."""
        last = ""
        occasion = standings.Occasion(at, by)
        while True:
            with self._database.writing() as connection:
                rows = selection.page(connection, chosen, at, last)
                occasion, told = self._release(connection, rows, occasion, note, chosen.described())
            if not rows:
                return
            yield told.addresses
            last = rows[-1]

    def selected(self, chosen: Selection, *, at: datetime) -> Iterator[SuppressedRow]:
        """Whom `release_selected` would release, by address, streamed."""
        return selection.rows(self._database, chosen, at)

    def _release(
        self,
        connection: Connection,
        addresses: Sequence[str],
        occasion: standings.Occasion,
        note: str,
        subject: str,
    ) -> tuple[standings.Occasion, Released]:
        """Release some, as far as there is anything to release them from."""
        histories, suppressed = standings.to_release(connection, addresses, occasion.at)
        if not histories:
            return occasion, Released()
        if occasion.decision_id is None:
            about = facts.clean(subject, facts.TEXT_LIMIT)
            occasion = decisions.note(connection, "release", occasion, subject=about, note=note)
        said = {"at": occasion.at, "by": occasion.actor, "note": note}
        row = {**said, "decision_id": occasion.decision_id}
        connection.execute(release.insert(), [{"address": whose, **row} for whose in histories])
        for history in histories.values():
            history.releases.append(Release(occasion.at, occasion.actor, note))
        standings.write(connection, self._judge, occasion, histories)
        counting.count_again(connection, self._judge, histories, occasion.at)
        left = standings.suppressing_rows(connection, suppressed, occasion.at)
        freed = suppressed - {row["address"] for row in left}
        return occasion, Released(len(freed), len(histories) - len(suppressed))

    def end_expired(self, *, at: datetime) -> int:
        """Note, and let webhooks be told of, suppressions that had ended by a time; how many."""
        ended = 0
        while True:
            with self._database.reading() as connection:  # most often there are none
                some = expiry.some_over(connection, at)
            if not some:
                return ended
            with self._database.writing() as connection:
                ended += expiry.end(connection, self._judge, some, at)

    def decisions(self, limit: int = 50) -> Sequence[DecisionRow]:
        """What operators decided last, newest first."""
        with self._database.reading() as connection:
            return decisions.listed(connection, limit)

    def undo(
        self, number: int, *, by: str, at: datetime, note: str = "", again: bool = False
    ) -> Undone:
        """Take a decision back (`again`: put one back into force); the standings follow.

        Raises LedgerError where there is no such decision, or a later one is in the way.
        """
        occasion = standings.Occasion(at, by)
        with self._database.writing() as connection:
            clock = self._database.clock(connection)
            return decisions.undo(
                connection, self._judge, number, occasion, note, again=again, clock=clock
            )

    def domains(self) -> Mapping[str, Ruling]:
        """Domains of which it is concluded that they receive nothing any more, in order."""
        with self._database.reading() as connection:
            return rulings.all_in_force(connection)

    def typos(self) -> Sequence[TypoRow]:
        """Domains that look like a slip and where nothing has shown a sign of life, by name."""
        with self._database.reading() as connection:
            return rulings.typos(connection, self._judge.policy)

    def release_domain(self, domain: str, *, by: str, note: str, at: datetime) -> int:
        """Let a whole domain be mailed again; how many suppressions ended thereby.

        What was reported of the domain up to `at` stops counting; what was said of single
        addresses there goes on. Raises LedgerError where nothing is concluded of it.
        """
        occasion = standings.Occasion(at, by)
        with self._database.writing() as connection:
            if domain not in rulings.in_force(connection, [domain]):
                raise LedgerError(
                    f"Nothing is concluded of the domain {domain}. Nothing was changed. To see the "
                    "domains that are given up, type: bounced domains; to release single "
                    f"addresses there, type: bounced release --domain {domain}"
                )
            subject = f"the domain {domain}"
            occasion = decisions.note(connection, "release", occasion, subject=subject, note=note)
            row = {"address": f"@{domain}", "at": at, "by": by, "note": note}
            row["decision_id"] = occasion.decision_id
            connection.execute(release.insert(), [row])
            everyone = rulings.everyone_at(connection, domain)
            return standings.settle(connection, self._judge, occasion, everyone)[1]

    def alarms(self, since: datetime) -> Sequence[AlarmRow]:
        """Who has refused us as senders since a time: most urgent first, then most often."""
        return refusals.since(self._database, since)

    def incidents(self, *, all_states: bool = False) -> Sequence[IncidentRow]:
        """The incidents that wait for a person's word (or all of them), oldest first."""
        with self._database.reading() as connection:
            return incidents.listed(connection, all_states=all_states)

    def incident_addresses(self, number: int) -> Sequence[str]:
        """Everybody whose hard bounces are in an incident, in order.

        Raises LedgerError where there is no such incident.
        """
        with self._database.reading() as connection:
            found = incidents.listed(connection, all_states=True)
            at = [incidents.place_of(asdict(one)) for one in found if one.id == number]
            if not at:
                raise incidents.unfit(number)
            return list(places.addresses(connection, at[0]))

    def decide_incident(
        self, number: int, *, accept: bool, by: str, at: datetime
    ) -> tuple[int, int]:
        """Let the hard bounces of an incident count, or never: suppressions begun and ended.

        Raises LedgerError where it does not wait.
        """
        occasion = standings.Occasion(at, by)
        with self._database.writing() as connection:
            return incidents.decide(connection, self._judge, number, occasion, accept=accept)

    def note_import(
        self, visit: Visit, *, by: str, at: datetime, title: str, over: bool = False
    ) -> None:
        """Write an import down as a decision, so that it can be taken back.

        Before its first line, so that it can be even when it is cut off; and once it is `over`
        with how many addresses it brought, where it brought any.
        """
        occasion = standings.Occasion(at, by, visit.run_id)
        with self._database.writing() as connection:
            decisions.note_import(connection, occasion, title, over=over)

    def import_subscribers(self, rows: Iterable[tuple[str, str]], *, at: datetime) -> int:
        """Add (address, list) pairs; those there already are left alone. Returns the new ones.

        Who was forgotten is passed over, here and in all that is imported; who has another address
        by now is meant by that.
        """
        new = 0
        self._tombstones.look_up()
        for some in chunks(rows):
            given = [(facts.kept(who), name) for who, name in some]
            with self._database.writing() as connection:
                became = readership.today(connection, {who for who, _ in given})
                pairs = [(became.get(who, who), name) for who, name in given]
                gone = self._tombstones.among(connection, {who for who, _ in pairs})
                kept = [one for one in pairs if one[0] not in gone]
                new += _add_missing(connection, subscriber, readership.rows_of(kept, at))
                self._settle_at_dead_domains(connection, (one for one, _ in kept), at)
        return new

    def _settle_at_dead_domains(
        self, connection: Connection, addresses: Iterable[str], at: datetime
    ) -> None:
        """Suppress those who have come to a domain that was given up before."""
        everyone = dict.fromkeys(addresses)
        dead = rulings.in_force(connection, {whose.rpartition("@")[2] for whose in everyone})
        there = [whose for whose in everyone if whose.rpartition("@")[2] in dead]
        standings.settle(connection, self._judge, standings.Occasion(at, "import"), there)

    def is_list(self, name: str) -> bool:
        """Whether lists have no standings of their own, or there is one of that name."""
        lists = self._judge.lists
        with self._database.reading() as connection:
            return not lists.apart or readership.is_list(connection, lists, name)

    def strange_lists(self) -> Sequence[str]:
        """Lists that reports alone name, by their List-Id, and that so are nobody's, in order."""
        with self._database.reading() as connection:
            return readership.named_by_reports_alone(connection, self._judge.lists)

    def rename_subscriber(self, old: str, new: str, *, by: str, at: datetime) -> Sequence[str]:
        """Let a subscriber have another address on all of their lists; these, in order.

        Lists that are imported with the old one later mean the new one. Raises LedgerError where
        the old one is on no list, or the new one was forgotten.
        """
        self._tombstones.look_up()
        before, now = facts.kept(old), facts.kept(new)
        with self._database.writing() as connection:
            if self._tombstones.among(connection, {now}):
                raise LedgerError(
                    f"The address {now} was forgotten at its owner's wish. Nothing was changed"
                )
            lists = readership.rename(connection, before, now, by=by, at=at)
            self._settle_at_dead_domains(connection, [now], at)
        return lists

    def subscribers(self, *, on: str | None = None) -> Iterator[SubscriberRow]:
        """Everybody on the lists (`on`: on one of them), by address, streamed."""
        return readership.exported(self._database, on)

    def import_sent(self, rows: Iterable[tuple[str, str]], *, at: datetime) -> int:
        """Add (Message-ID, recipient) pairs of mail that was sent. Returns the new ones."""
        new = 0
        self._tombstones.look_up()
        for some in chunks(rows):
            pairs = dict.fromkeys(
                (facts.message_id(text), facts.matched(who)) for text, who in some
            )
            with self._database.writing() as connection:
                gone = self._tombstones.among(connection, {who for _, who in pairs})
                added = [
                    {"message_id": m, "address": who, "imported_at": at}
                    for m, who in pairs
                    if who not in gone
                ]
                new += _add_missing(connection, sent, added)
        return new

    def purge_sent(self, before: datetime) -> int:
        """Forget what was imported into the log of sent mail before a time; how many entries."""
        with self._database.writing() as connection:
            return connection.execute(delete(sent).where(sent.c.imported_at < before)).rowcount

    # History gone through again (bounced.ledger.replay).

    def reclassified(
        self,
        classify: replay.Classify,
        *,
        at: datetime,
        since: datetime | None = None,
        over: replay.Over = map,
    ) -> Iterator[Replay]:
        """What `reclassify` would change, streamed by pieces; changes nothing.

        `over` puts work to many ranges of addresses, in order. It may do so in other processes,
        where the work has connections of its own; `classify` is pickled then.
        """
        return replay.reclassified(self._database, self._judge, classify, at, since, over)

    def reclassify(
        self,
        classify: replay.Classify,
        *,
        by: str,
        at: datetime,
        since: datetime | None = None,
    ) -> Iterator[Replay]:
        """Judge stored events again (those from `since` on), and make the standings that follow.

        Works while it is iterated, a transaction for each piece; what it changes is in the audit
        under the name `by`.
        """
        occasion = standings.Occasion(at, by)
        version = self._visits.books_version()
        return replay.reclassify(self._database, self._judge, classify, version, occasion, since)

    def simulated(
        self,
        policy: Policy,
        *,
        at: datetime,
        since: datetime | None = None,
        lists: Lists | None = None,
    ) -> Iterator[Replay]:
        """Where standings by another policy (and other lists') differ from the present ones.

        With `since` both policies see only the events from then on. Changes nothing.
        """
        other = replace(self._judge, policy=policy, version=policy.version, lists=lists or Lists())
        return replay.simulated(self._database, self._judge, other, at, since)

    def too_many(self, newly: int) -> bool:
        """Whether the brake would stop a sync that newly suppresses so many."""
        with self._database.reading() as connection:
            known = counting.subscribers(connection) or counting.on_record(connection, ())
        return brake_holds(newly, known, self._visits.brake)

    # What people and other programs ask.

    def explain(self, address: str) -> AddressHistory:
        """Everything on record of one address."""
        with self._database.reading() as connection:
            now = self._database.clock(connection)
            return reading.explain(connection, address, self._judge, now)

    def suppressed(self, *, at: datetime, on: str | None = None) -> Iterator[SuppressedRow]:
        """The suppression list, by address, streamed; with `on` as far as it holds on that list."""
        return reading.suppressed(self._database, at, on)

    def check(
        self, addresses: Iterable[str], *, at: datetime, on: str | None = None
    ) -> Iterator[tuple[str, SuppressedRow | None]]:
        """Each address with its line of the suppression list, or None; streamed, in order.

        With `on` as far as it holds on that list.
        """
        self._tombstones.look_up()
        for some in chunks(addresses):
            with self._database.reading() as connection:
                gone = self._tombstones.among(connection, some)
            for given, row in reading.check(self._database, self._judge, some, at, on):
                yield given, tombstones.suppressed(given) if given in gone else row

    def unclear(
        self, matched: Iterable[str], *, at: datetime, on: str | None = None
    ) -> Mapping[str, Clearance]:
        """Which of many folded addresses (`smtp.folded`) not to mail now, and why.

        With `on`, as far as that list is concerned. Made for lists: sorted and looked up many in
        one statement. Who is not in it may be mailed.
        """
        self._tombstones.look_up()
        asked = set(matched)
        with self._database.reading() as connection:
            gone = self._tombstones.among(connection, asked)
        found = clearance.unclear(self._database, self._judge, asked, at, on)
        return found | {one: tombstones.unclear(one) for one in gone}

    def recent(self, limit: int) -> Sequence[EventRow]:
        """The last events recorded, newest first."""
        with self._database.reading() as connection:
            return reading.recent(connection, limit)

    def undetermined(self, *, below: float = 0.5) -> Iterator[UndeterminedRow]:
        """Failed deliveries not understood, or judged with a confidence under `below`; streamed."""
        return reading.undetermined(self._database, below)

    def holds(self) -> Sequence[HoldRow]:
        """The runs that wait for a person's word."""
        with self._database.reading() as connection:
            return reading.holds(connection)

    def waiting(self, run_id: int | None = None) -> Iterator[Held]:
        """Whom accepting a held run, or every one, would suppress, and why; streamed."""
        return reading.waiting(self._database, self._judge, run_id)

    def mailboxes(self) -> Sequence[MailboxRow]:
        """How every mailbox is doing."""
        with self._database.reading() as connection:
            return reading.mailboxes(connection, self._database.clock(connection))


def _add_missing(connection: Connection, table: Table, rows: list[dict[str, object]]) -> int:
    """Insert the rows whose primary key is not there; how many those were."""
    key = list(table.primary_key)
    keys = [tuple(row[column.name] for column in key) for row in rows]
    query = select(*key).where(tuple_(*key).in_(keys))
    there = {tuple(row) for row in connection.execute(query)}
    new = [row for row, mine in zip(rows, keys, strict=True) if mine not in there]
    bulk.put(connection, table, new)
    return len(new)


def _spared(name: str) -> str:
    """A domain as `example.com`, a role as `abuse@`, an address as look-ups fold it."""
    name = name.strip()
    if name.endswith("@") and name.count("@") == 1:
        return folded(name)
    if "@" in name.lstrip("@"):
        return folded(name)
    return canonical(f"x@{name.lstrip('@')}").partition("@")[2]

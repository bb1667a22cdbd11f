"""Incidents: hard bounces of one provider or domain that are too many at once to be believed.

A provider that loses its directory answers "no such user" for everyone. Its events stay facts, but
wait until a person accepts or discards them. Nothing is marked in the events: which of them an
incident keeps waiting follows from its name and its window, so that what was decided late is as
if it had been decided at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, update

from bounced import receivers
from bounced.ledger import bulk, counting, decisions, places, standings
from bounced.ledger.engine import chunks
from bounced.ledger.errors import LedgerError
from bounced.ledger.places import Place
from bounced.ledger.rows import IncidentRow
from bounced.ledger.tables import event, incident, run
from bounced.model import Kind, Outcome, Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, RowMapping

    from bounced.ledger.standings import Judge, Occasion
    from bounced.policy import Incidents


@dataclass(slots=True)
class Watch:
    """Looks for incidents in what is recorded; remembers what is usual where."""

    settings: Incidents
    _usual: dict[Place, float] = field(default_factory=dict)

    def open(
        self, connection: Connection, rows: Sequence[dict[str, Any]], occasion: Occasion
    ) -> list[IncidentRow]:
        """Open incidents for events just written (columns of event and judgement)."""
        if not self.settings.floor:
            return []
        met = {place for row in rows if _is_hard(row) for place in self._places(row)}
        if not met:
            return []
        old_enough = self._old_enough(connection)
        if old_enough is None:
            return []
        opened = []
        late = {place for place in met if place.ends_at > old_enough}
        fresh = sorted(late - _known(connection, late))
        for place, count in places.crowded(connection, fresh, self.settings.floor).items():
            usual = self._usually(connection, place)
            if self.settings.unusual(count, usual):
                opened.append(_write(connection, place, count, usual, occasion))
        return opened

    def _places(self, row: dict[str, Any]) -> Iterator[Place]:
        window = self.settings.window(row["occurred_at"])
        provider, domain = row["provider"], row["domain"]
        if not receivers.owns(provider, domain):
            yield Place("domain", domain, *window)
        if provider is not None:
            yield Place("provider", provider, *window)

    def _old_enough(self, connection: Connection) -> datetime | None:
        """From when on the ledger has seen enough to know what is usual."""
        first = connection.execute(select(run.c.started_at).order_by(run.c.id).limit(1)).scalar()
        return None if first is None else first + timedelta(days=self.settings.young_days)

    def _usually(self, connection: Connection, place: Place) -> float:
        """How many addresses answer hard there in a window in which any does."""
        if place not in self._usual:
            since = place.begins_at - timedelta(days=self.settings.history_days)
            before = Place(place.scope, place.name, since, place.begins_at)
            query = select(event.c.occurred_at, event.c.address).select_from(places.JUDGED)
            found: dict[datetime, set[str]] = {}
            for at, whose in connection.execute(query.where(places.hard_at(before))):
                found.setdefault(self.settings.window(at)[0], set()).add(whose)
            counts = [len(one) for one in found.values()]
            if len(self._usual) > REMEMBERED:
                self._usual.clear()
            self._usual[place] = sum(counts) / len(counts) if counts else 0.0
        return self._usual[place]


REMEMBERED = 10_000


def _is_hard(row: dict[str, Any]) -> bool:
    return (
        row["kind"] == Kind.BOUNCE.value
        and row["outcome"] == Outcome.HARD.value
        and row["fault"] in places.BLAMED
        and row["reason"] != Reason.PROVIDER_SUPPRESSED.value
    )


def _known(connection: Connection, met: Iterable[Place]) -> set[Place]:
    """Those places that have an incident already, whatever was decided of it."""
    columns = (incident.c[name] for name in Place._fields)
    names = sorted({place.name for place in met})
    query = select(*columns).where(bulk.among(connection, incident.c.name, names))
    return {Place(*row) for row in connection.execute(query)}


def _write(
    connection: Connection, place: Place, count: int, usual: float, occasion: Occasion
) -> IncidentRow:
    values: dict[str, Any] = {
        **place._asdict(),
        "state": "open",
        "usual": usual,
        "opened_at": occasion.at,
        "run_id": occasion.run_id,
    }
    written = incident.insert().values(values).returning(incident.c.id)
    number = int(connection.execute(written).scalar_one())
    shown = {**values, "addresses": count}
    del shown["run_id"]
    return IncidentRow(id=number, **shown)


def listed(connection: Connection, *, all_states: bool = False) -> list[IncidentRow]:
    """Incidents that wait (or all), oldest first, with how many addresses are in each."""
    query = select(*(incident.c[name] for name in _COLUMNS)).order_by(incident.c.id)
    if not all_states:
        query = query.where(incident.c.state == "open")
    found = connection.execute(query).mappings().all()
    return [IncidentRow(**row, addresses=places.count(connection, place_of(row))) for row in found]


_COLUMNS = ("id", "scope", "name", "begins_at", "ends_at", "state", "usual", "opened_at")


def place_of(row: Mapping[str, Any] | RowMapping) -> Place:
    """Where and when an incident (a row of it) is."""
    return Place(*(row[name] for name in Place._fields))


def unfit(number: int, state: str | None = None) -> LedgerError:
    """That there is no such incident, or one that waits no more."""
    why = f"Incident {number} is {state} already" if state else f"There is no incident {number}"
    return LedgerError(
        f"{why}. Nothing was changed. To see them all, type: bounced incidents --all"
    )


def decide(
    connection: Connection, judge: Judge, number: int, occasion: Occasion, *, accept: bool
) -> tuple[int, int]:
    """Let an incident's events count, or never count: suppressions begun and ended.

    Raises LedgerError where it does not wait.
    """
    this = select(incident).where(incident.c.id == number)
    row = connection.execute(this).mappings().one_or_none()
    if row is None or row["state"] != "open":
        raise unfit(number, row["state"] if row else None)
    state = "accepted" if accept else "discarded"
    subject = f"{'accept' if accept else 'discard'} incident {number} ({row['name']})"
    states = {"run_without": "open", "run_with": state}
    occasion = decisions.note(connection, "incident", occasion, subject=subject, **states)
    values = {"state": state, "decision_id": occasion.decision_id}
    connection.execute(update(incident).where(incident.c.id == number).values(values))
    return settle(connection, judge, occasion, [place_of(row)])


def settle(
    connection: Connection, judge: Judge, occasion: Occasion, at: Iterable[Place]
) -> tuple[int, int]:
    """Make the standings of everybody in some incidents again, and what runs would suppress."""
    began = ended = 0
    everyone = dict.fromkeys(one for place in at for one in places.addresses(connection, place))
    for some in chunks(everyone):
        histories = standings.load(connection, some)
        more = standings.write(connection, judge, occasion, histories)
        counting.count_again(connection, judge, histories, occasion.at)
        began, ended = began + more[0], ended + more[1]
    return began, ended

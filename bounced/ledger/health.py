"""How mailboxes are doing, and who empties them: what operators, monitors and metrics ask.

Functions over a `Ledger`; each is one transaction. A mailbox's row tells of its last pass; the
heartbeat tells that somebody is there to make the next one.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, select, update

from bounced.ledger import visits
from bounced.ledger.tables import address, heartbeat, mailbox, message, run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from bounced.ledger.book import Ledger

# A sign of life of a process that did not end as it should is forgotten after so long.
FORGOTTEN_AFTER = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The last sign of life of one `bounced run` (`host:pid`), by the database's clock."""

    owner: str
    started_at: datetime
    beat_at: datetime
    silent: timedelta


@dataclass(frozen=True, slots=True)
class Letters:
    """What became of the letters of one mailbox: how many of each kind and on each pile.

    `unfiled` are recorded and have not left their folder; the oldest was recorded `oldest` ago.
    """

    kinds: Mapping[str, int] = field(default_factory=dict)
    piles: Mapping[str, int] = field(default_factory=dict)
    unfiled: int = 0
    oldest: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Figures:
    """What a monitor wants to know at one moment; `now` is the database's clock.

    `letters` by mailbox; `suppressed` addresses at this moment; `held` runs that wait for a word.
    """

    now: datetime
    letters: Mapping[str, Letters]
    suppressed: int
    held: int


def beat(ledger: Ledger, owner: str) -> None:
    """Give a sign of life; what the dead of this host, or anybody long ago, left is forgotten."""
    with ledger._database.writing() as connection:  # noqa: SLF001 - a room of the same house
        now = ledger._database.clock(connection)  # noqa: SLF001
        everybody = connection.execute(select(heartbeat.c.owner)).scalars()
        dead = heartbeat.c.owner.in_([one for one in everybody if visits.is_dead(one, owner)])
        old = heartbeat.c.beat_at < now - FORGOTTEN_AFTER
        connection.execute(delete(heartbeat).where(dead | old))
        again = update(heartbeat).where(heartbeat.c.owner == owner).values(beat_at=now)
        if not connection.execute(again).rowcount:
            row = {"owner": owner, "started_at": now, "beat_at": now}
            connection.execute(heartbeat.insert().values(row))


def rest(ledger: Ledger, owner: str) -> None:
    """Say that whoever gave signs of life has ended as it should."""
    with ledger._database.writing() as connection:  # noqa: SLF001
        connection.execute(delete(heartbeat).where(heartbeat.c.owner == owner))


def heartbeats(ledger: Ledger) -> Sequence[Heartbeat]:
    """Everybody who gave a sign of life and has not said that it ends, by name."""
    with ledger._database.reading() as connection:  # noqa: SLF001
        now = ledger._database.clock(connection)  # noqa: SLF001
        return [
            Heartbeat(row.owner, row.started_at, row.beat_at, now - row.beat_at)
            for row in connection.execute(select(heartbeat).order_by(heartbeat.c.owner))
        ]


def note_trouble(ledger: Ledger, name: str, error: str, *, at: datetime) -> None:
    """Note that a mailbox could not even be begun with: no pass, so no run tells of it."""
    with ledger._database.writing() as connection:  # noqa: SLF001
        told = {"last_sync_at": at, **visits.health(error, at)}
        again = update(mailbox).where(mailbox.c.name == name).values(told)
        if not connection.execute(again).rowcount:
            connection.execute(mailbox.insert(), {"name": name})
            connection.execute(again)


def figures(ledger: Ledger) -> Figures:
    """Everything counted now; costs a walk over the table of letters."""
    with ledger._database.reading() as connection:  # noqa: SLF001
        now = ledger._database.clock(connection)  # noqa: SLF001
        expires = address.c.expires_at
        listed = address.c.suppressed & (expires.is_(None) | (expires > now))
        suppressed = select(func.count()).select_from(address).where(listed)
        held = select(func.count()).select_from(run).where(run.c.state == "held")
        return Figures(
            now,
            _letters(connection, now),
            connection.execute(suppressed).scalar_one(),
            connection.execute(held).scalar_one(),
        )


def _letters(connection: Connection, now: datetime) -> dict[str, Letters]:
    kinds: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    piles: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    columns = message.c.mailbox_id, message.c.kind, message.c.destination
    counted = select(*columns, func.count()).where(message.c.state.in_(visits.DONE))
    for number, kind, pile, count in connection.execute(counted.group_by(*columns)):
        kinds[number][kind] += count
        piles[number][pile] += count
    waiting = select(message.c.mailbox_id, func.count(), func.min(message.c.recorded_at))
    waiting = waiting.where(message.c.state == "recorded").group_by(message.c.mailbox_id)
    late = {number: (count, now - first) for number, count, first in connection.execute(waiting)}
    names = connection.execute(select(mailbox.c.id, mailbox.c.name).order_by(mailbox.c.name))
    return {
        name: Letters(dict(kinds[number]), dict(piles[number]), *late.get(number, (0, None)))
        for number, name in names
    }

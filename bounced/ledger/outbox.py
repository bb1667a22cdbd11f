"""What webhooks are to be told: written with the change that it tells, kept until it is taken.

A notice is a row for each webhook that asked for its kind, in the transaction of the change itself:
what was committed will be told, and what was not never is. Whoever delivers claims a few notices
for some minutes; killed in between, they come up again, under the same id.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import case, delete, func, select, update

from bounced.ledger.tables import outbox
from bounced.model import Notice

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from bounced.ledger.book import Ledger
    from bounced.model import NoticeKind, Setback, Subscription

# How long a notice that somebody has claimed is left to them: longer than they may take to hand
# over all that they claimed at once (`bounced.webhooks.DEADLINE` for each), so that it is told
# twice only where they were killed.
CLAIM: Final = timedelta(minutes=15)
AT_ONCE: Final = 20


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """How one webhook is doing: notices that wait, since when, and those that were given up."""

    webhook: str
    waiting: int
    oldest: datetime | None
    dead: int
    last_error: str | None


def announce(
    connection: Connection,
    subscriptions: Iterable[Subscription],
    kind: NoticeKind,
    about: Sequence[Mapping[str, Any]],
    at: datetime,
) -> None:
    """Note what is to be told, one notice for each of `about`, to whoever asked for this kind.

    `about` is what JSON knows, times as texts; its `address`, where it has one, is whom the
    notice is forgotten with.
    """
    webhooks = [one.webhook for one in subscriptions if kind in one.kinds]
    if not webhooks or not about:
        return
    moment = _text(at)
    rows = []
    for data in about:
        said = {"type": kind.value, "timestamp": moment, "data": data}
        told = {
            "message_id": f"msg_{uuid.uuid4().hex}",
            "address": data.get("address"),
            "payload": json.dumps(said, ensure_ascii=True, separators=(",", ":")),
            "created_at": at,
            "next_at": at,
        }
        rows += [{**told, "webhook": name} for name in webhooks]
    connection.execute(outbox.insert(), rows)


def told(change: Mapping[str, Any], expires_at: datetime | None = None) -> dict[str, Any]:
    """What is told of a row of the audit (`transition`), and when that ends by itself."""
    return {
        "address": change["address"],
        "status": str(change["to_status"]),
        "reason": None if change["reason"] is None else str(change["reason"]),
        "rule": change["rule"],
        "because": change["because"],
        "by": change["actor"],
        "run": change["run_id"],
        "at": _text(change["at"]),
        "expires_at": None if expires_at is None else _text(expires_at),
        "list": change.get("list", ""),
    }


def _text(at: datetime) -> str:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")


class Outbox:
    """The outbox of a ledger, as `bounced.webhooks` wants it."""

    def __init__(self, ledger: Ledger) -> None:
        self._database = ledger._database  # noqa: SLF001 - a room of the same house

    def claim(self, webhook: str, *, at: datetime, limit: int = AT_ONCE) -> list[Notice]:
        """The next notices of a webhook, oldest first; nobody else gets them for `CLAIM`."""
        mine = (outbox.c.webhook == webhook) & outbox.c.dead_at.is_(None) & (outbox.c.next_at <= at)
        query = select(
            outbox.c.id,
            outbox.c.message_id,
            outbox.c.payload,
            outbox.c.created_at,
            outbox.c.attempts + 1,
        )
        with self._database.reading() as connection:  # most often there is nothing to claim
            if connection.execute(select(outbox.c.id).where(mine).limit(1)).first() is None:
                return []
        with self._database.writing() as connection:
            found = connection.execute(query.where(mine).order_by(outbox.c.id).limit(limit))
            notices = [Notice(*row) for row in found]
            if notices:
                these = update(outbox).where(outbox.c.id.in_([one.id for one in notices]))
                connection.execute(these.values(next_at=at + CLAIM))
        return notices

    def settle(
        self,
        webhook: str,
        notices: Sequence[Notice],
        *,
        taken: Collection[int],
        setbacks: Sequence[Setback],
        at: datetime,
    ) -> None:
        """Forget the claimed notices that were taken, put off those that were not.

        Those that nobody tried are anyone's again, at once or when the webhook is tried again.
        """
        pause = max((one.until for one in setbacks if one.all_wait and one.until), default=at)
        tried = {*taken, *(one.notice.id for one in setbacks)}
        untried = [one.id for one in notices if one.id not in tried]
        mine = outbox.c.webhook == webhook
        with self._database.writing() as connection:
            connection.execute(delete(outbox).where(outbox.c.id.in_(list(taken))))
            free = update(outbox).where(outbox.c.id.in_(untried)).values(next_at=pause)
            connection.execute(free)
            if pause > at:
                early = update(outbox).where(mine, outbox.c.next_at < pause)
                connection.execute(early.values(next_at=pause))
            for one in setbacks:
                when = {"dead_at": at} if one.until is None else {"next_at": one.until}
                values = {"attempts": one.notice.attempts, "last_error": one.error, **when}
                this = update(outbox).where(outbox.c.id == one.notice.id)
                connection.execute(this.values(**values))


def revive(ledger: Ledger, *, at: datetime) -> int:
    """Try everything that was given up, and everything that waits, at once; how many in all.

    What was given up starts again as if it had just been written.
    """
    with ledger._database.writing() as connection:  # noqa: SLF001
        dead = update(outbox).where(outbox.c.dead_at.is_not(None))
        connection.execute(dead.values(dead_at=None, created_at=at, attempts=0))
        return connection.execute(update(outbox).values(next_at=at)).rowcount


def outboxes(ledger: Ledger) -> list[OutboxRow]:
    """One line for each webhook for which something waits or was given up, by name."""
    alive = outbox.c.dead_at.is_(None)
    waiting = func.count(case((alive, outbox.c.id)))
    oldest = func.min(case((alive, outbox.c.created_at)))
    dead = func.count(case((~alive, outbox.c.id)))
    query = select(outbox.c.webhook, waiting, oldest, dead).group_by(outbox.c.webhook)
    with ledger._database.reading() as connection:  # noqa: SLF001
        return [
            OutboxRow(name, waits, since, given_up, _last_error(connection, name))
            for name, waits, since, given_up in connection.execute(query.order_by("webhook")).all()
        ]


def _last_error(connection: Connection, webhook: str) -> str | None:
    failed = (outbox.c.webhook == webhook) & outbox.c.last_error.is_not(None)
    query = select(outbox.c.last_error).where(failed).order_by(outbox.c.id.desc()).limit(1)
    return connection.execute(query).scalar()

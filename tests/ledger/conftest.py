"""Databases for the contract suite, and readings in short words."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from bounced.ledger import Ledger
from bounced.model import (
    Action,
    Bounce,
    Conclusion,
    Destination,
    Fault,
    Kind,
    Outcome,
    Reading,
    Reason,
    RecipientReport,
    Recorded,
    Reply,
    Report,
    Verdict,
    Visit,
)
from bounced.policy import Brake

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

START = datetime(2026, 1, 1, 12, tzinfo=UTC)


def day(number: float) -> datetime:
    return START + timedelta(days=number)


WORDS: dict[str, tuple[Kind, Action, Outcome, Reason, Fault, float]] = {
    "hard": (Kind.BOUNCE, Action.FAILED, Outcome.HARD, Reason.USER_UNKNOWN, Fault.RECIPIENT, 0.95),
    "unsure": (Kind.BOUNCE, Action.FAILED, Outcome.HARD, Reason.USER_UNKNOWN, Fault.RECIPIENT, 0.6),
    "gone": (Kind.BOUNCE, Action.FAILED, Outcome.HARD, Reason.MAILBOX_DISABLED, Fault.RECIPIENT, 1),
    "soft": (Kind.BOUNCE, Action.FAILED, Outcome.SOFT, Reason.EXPIRED, Fault.NETWORK, 0.9),
    "delivered": (Kind.BOUNCE, Action.DELIVERED, Outcome.NONE, Reason.DELIVERED, Fault.NONE, 1),
}


def bounce(address: str, word: str = "hard", **more: Any) -> Bounce:
    _, action, outcome, reason, fault, confidence = WORDS[word]
    known: dict[str, Any] = {"reply": Reply(f"550 5.1.1 no {address}", code=550), "action": action}
    verdict = Verdict(outcome, reason, fault, confidence, f"test/{word}", f"It was {word}.")
    return Bounce(RecipientReport(address, **{**known, **more}), verdict)


def judged_alike(_recipient: RecipientReport, _report: Report) -> Verdict:
    """The rules that judge as `bounce` does of a bare address."""
    return bounce("").verdict


def reading(
    uid: int,
    *bounces: Bounce | str,
    at: datetime = START,
    key: str | None = None,
    pile: Destination = Destination.PROCESSED,
) -> Reading:
    """A letter about some recipients; a bare address bounced hard."""
    told = tuple(bounce(one) if isinstance(one, str) else one for one in bounces)
    dedup_key = hashlib.sha256((key or f"letter {uid}").encode()).hexdigest()
    report = Report(Kind.BOUNCE, tuple(one.recipient for one in told), format="rfc3464")
    return Reading(uid, at, dedup_key, dedup_key, Conclusion(report, told), pile)


class Pass:
    """One sync's way through the ledger, as `bounced.sync` goes it."""

    def __init__(self, ledger: Ledger, mailbox: str = "news", *, epoch: int = 7) -> None:
        self.ledger = ledger
        visit = ledger.begin(mailbox, owner="here:1", at=START)
        assert visit is not None
        self.visit: Visit = visit
        ledger.select(visit, epoch)

    def batch(self, *readings: Reading, at: datetime | None = None) -> Recorded:
        uids = [one.uid for one in readings]
        self.ledger.attempt(self.visit, uids)
        return self.ledger.record(self.visit, readings, at=at or day(0))

    def end(self, error: str | None = None) -> None:
        self.ledger.end(self.visit, at=day(0), error=error)


def synced(ledger: Ledger, *batches: Sequence[Reading], **where: Any) -> Recorded:
    """A whole pass in one call; what the last transaction added."""
    this = Pass(ledger, **where)
    told = Recorded()
    for batch in batches:
        told = this.batch(*batch)
    this.end()
    return told


def on_the_list(ledger: Ledger, *, on: float = 1) -> list[str]:
    return [row.address for row in ledger.suppressed(at=day(on))]


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    """An open ledger with a brake that does not hold a handful."""
    with opened(url) as made:
        yield made


def opened(url: str, **more: Any) -> Ledger:
    known: dict[str, Any] = {"migrate": True, "rules_version": "books-1", "brake": Brake()}
    return Ledger.open(url, **{**known, **more})

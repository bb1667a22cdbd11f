"""From an address's history to its standing, and the brake on a run that would suppress too much.

Everything here is a pure function of its arguments: no clock, no database. The numbers are the
field's (the ISPs' and ESPs' handshake of 2002 of three bounces over more than 14 days, Mailman's
one point a day) and every one of them is a field of `Policy`.

The walk goes through the events by time and keeps what counts. Only two things wipe it: evidence
of delivery and an operator's release. Each kind of evidence has its own clock, and a suppression
lasts as long as its reason says. So a longer past can only suppress more, never less, and one
more delivery can only suppress less: that is what the property tests hold us to.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Literal, NamedTuple

from bounced.model import Fault, Kind, Outcome, PastEvent, Reason, Release, Standing, Status

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date, datetime

# What one soft bounce weighs. A reason that is not here weighs nothing: greylisting and rate
# limits are about how we send, a too big message is about the message, and a full mailbox has a
# clock of its own (`mailbox_full_events`).
SOFT_WEIGHTS: Mapping[Reason, float] = {
    Reason.EXPIRED: 1.0,  # the sending server has already tried for days
    Reason.MAILBOX_UNAVAILABLE_TEMP: 0.5,
    Reason.SYSTEM_FULL: 0.5,
    Reason.SYSTEM_BUSY: 0.5,
    Reason.SYSTEM_UNAVAILABLE: 0.5,
    Reason.SYSTEM_ERROR: 0.5,
    Reason.NETWORK_ERROR: 0.5,
    Reason.DNS_FAILURE: 0.5,
    Reason.ROUTING_LOOP: 0.5,
    Reason.UNDETERMINED: 0.25,
}

# Days after which a suppression ends by itself; reasons that are not here last until a release.
EXPIRES_DAYS: Mapping[Reason, int] = {
    Reason.MAILBOX_DISABLED: 90,
    Reason.MAILBOX_FULL_PERSISTENT: 90,
    Reason.RECIPIENT_REFUSED: 30,
}

# A declaration (RFC 7505) and a provider's own list need no second opinion.
AT_ONCE = frozenset({Reason.NULL_MX, Reason.PROVIDER_SUPPRESSED})
# Whoever caused these, it was not the subscriber.
BLAMELESS = frozenset({Fault.SENDER, Fault.MESSAGE})
# Floating sums of tenths must not miss a threshold by their last bit.
EPSILON = 1e-9


@dataclass(frozen=True, slots=True)
class Policy:
    """When an address is suppressed, and for how long.

    Confidences are in [0, 1]; hours and days are what their names say. `soft_weights` and
    `expires_days` override single reasons of `SOFT_WEIGHTS` and `EXPIRES_DAYS` (0 days: never
    ends). Raises ValueError, naming every field that is out of range.
    """

    hard_at_once: float = 0.9  # a hard bounce this sure suppresses by itself
    hard_pending: float = 0.5  # less sure than this, it is only a doubt (weighs like undetermined)
    pending_hours: float = 72.0  # between the first and the second hard bounce of middling sureness
    host_unknown_hours: float = 48.0  # the same for a domain that does not exist
    soft_threshold: float = 3.0
    soft_span_days: int = 14  # from the first to the last soft bounce that counts
    soft_half_life_days: int = 30  # the score halves for each such stretch without an event
    soft_expires_days: int = 90  # a suppression by score ends so long after its last event
    soft_weights: Mapping[Reason, float] = field(default_factory=dict)
    mailbox_full_events: int = 5
    mailbox_full_days: int = 30
    relay_events: int = 3  # "relaying denied" by a domain's own servers, before it is given up
    relay_days: int = 14  # from the first to the last of them
    refused_events: int = 2  # refusals by the recipient, on different days
    forget_days: int = 90  # so long without a soft event (or refusal) and the old ones are void
    expires_days: Mapping[Reason, int] = field(default_factory=dict)
    # how sure it must be that an event is about mail of ours (`bounced.trust`) to count at all
    trust: Literal["any", "matched", "verified"] = "any"

    def __post_init__(self) -> None:
        wrong = [
            f"{name} must be {what}, not {getattr(self, name)!r}"
            for name, what, right in self._conditions()
            if not right
        ]
        if wrong:
            raise ValueError("; ".join(wrong))

    def _conditions(self) -> list[tuple[str, str, bool]]:
        positive = ("soft_threshold", "soft_half_life_days", "forget_days")
        natural = ("pending_hours", "host_unknown_hours", "soft_span_days", "soft_expires_days")
        return [
            ("hard_at_once", "between 0 and 1", 0 <= self.hard_at_once <= 1),
            ("hard_pending", "at most hard_at_once", 0 <= self.hard_pending <= self.hard_at_once),
            *((name, "above 0", getattr(self, name) > 0) for name in positive),
            *((name, "0 or more", getattr(self, name) >= 0) for name in natural),
            ("mailbox_full_days", "0 or more", self.mailbox_full_days >= 0),
            ("mailbox_full_events", "1 or more", self.mailbox_full_events >= 1),
            ("relay_events", "1 or more", self.relay_events >= 1),
            ("relay_days", "0 or more", self.relay_days >= 0),
            ("refused_events", "1 or more", self.refused_events >= 1),
            ("soft_weights", "0 or more each", all(w >= 0 for w in self.soft_weights.values())),
            ("expires_days", "0 or more each", all(d >= 0 for d in self.expires_days.values())),
            ("trust", "any, matched or verified", self.trust in ("any", "matched", "verified")),
        ]

    @property
    def version(self) -> str:
        """A short name for exactly these values: the same values, the same name."""
        values = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(values.encode()).hexdigest()[:12]

    def weight(self, event: PastEvent) -> float:
        """What a soft event adds to the score; nothing when it was not the recipient's side."""
        if event.fault in BLAMELESS:
            return 0.0
        return self.soft_weights.get(event.reason, SOFT_WEIGHTS.get(event.reason, 0.0))

    def patience(self, reason: Reason) -> timedelta:
        """How long after a hard bounce that is not sure enough by itself a second one counts."""
        host = reason is Reason.HOST_UNKNOWN
        return timedelta(hours=self.host_unknown_hours if host else self.pending_hours)

    def expires(self, reason: Reason, at: datetime) -> datetime | None:
        """When a suppression for this reason ends, if it was last confirmed at that time."""
        days = self.expires_days.get(reason, EXPIRES_DAYS.get(reason, 0))
        return at + timedelta(days=days) if days else None


@dataclass(frozen=True, slots=True)
class Lists:
    """Whether lists have standings of their own, and which list a report is about.

    With `scope` "list" a list's own policy (`policies`, by name) can suppress an address on that
    list; complaints and the recipient's refusals count only there. `token_ids` and `list_ids`
    (RFC 2919, lower case) give names to what reports carry, `mailboxes` is by name of the mailbox.
    """

    scope: Literal["global", "list"] = "global"
    policies: Mapping[str, Policy] = field(default_factory=dict)
    token_ids: Mapping[str, str] = field(default_factory=dict)
    list_ids: Mapping[str, str] = field(default_factory=dict)
    mailboxes: Mapping[str, str] = field(default_factory=dict)

    @property
    def apart(self) -> bool:
        """Whether lists have standings of their own."""
        return self.scope == "list"

    def today(self, name: str) -> str:
        """What a list is called whose mail bounced before its List-Id was given a name."""
        return self.list_ids.get(name, name)

    @property
    def names(self) -> frozenset[str]:
        """The lists that the configuration names."""
        given = (self.token_ids, self.list_ids, self.mailboxes)
        return frozenset(self.policies).union(*(one.values() for one in given))

    def named(self, token_id: str | None, list_id: str | None, mailbox: str) -> str:
        """The list by its token, else its List-Id, else the mailbox; "" where nothing says."""
        if token_id is not None and token_id in self.token_ids:
            return self.token_ids[token_id]
        if list_id:
            return self.list_ids.get(list_id, list_id)
        return self.mailboxes.get(mailbox, "")


def about_the_list(event: PastEvent) -> bool:
    """Whether an event is the person's word on one list's mail, and not about the mailbox.

    A mailbox that is dead, full or away is so for every list.
    """
    if event.kind is Kind.COMPLAINT:
        return True
    return event.kind is Kind.BOUNCE and event.reason is Reason.RECIPIENT_REFUSED


@dataclass(frozen=True, slots=True)
class Brake:
    """How many addresses one run may newly suppress before it stops and asks.

    More than `floor`, and more than `share` of the known list, is too many. What is handed over
    letter by letter within `window_minutes` is one run. Raises ValueError.
    """

    share: float = 0.05
    floor: int = 50
    window_minutes: float = 60.0

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(f"share must be between 0 and 1, not {self.share!r}")
        if self.floor < 0:
            raise ValueError(f"floor must be 0 or more, not {self.floor!r}")
        if not 0 <= self.window_minutes <= 10_000:
            raise ValueError(f"window_minutes must be 0 to 10000, not {self.window_minutes!r}")


@dataclass(frozen=True, slots=True)
class Incidents:
    """When a provider's or a domain's hard bounces are too many at once to be believed.

    More than `floor` addresses in one window of `hours`, and more than `factor` times what is
    usual there (the mean of the windows in which it answered hard at all, in the last
    `history_days`). Of the first `young_days` of a ledger nothing is usual, and the brake has to
    do; a floor of 0 asks for no incidents at all. Raises ValueError.
    """

    floor: int = 20
    factor: float = 10.0
    hours: int = 6
    history_days: int = 90
    young_days: int = 7

    def __post_init__(self) -> None:
        wrong = [
            f"{name} must be {least} or more, not {getattr(self, name)!r}"
            for name, least in (("floor", 0), ("factor", 1), ("history_days", 1), ("young_days", 0))
            if getattr(self, name) < least
        ]
        if not 1 <= self.hours <= 24 or 24 % self.hours:
            wrong.append(f"hours must divide a day (1 to 24), not {self.hours!r}")
        if wrong:
            raise ValueError("; ".join(wrong))

    def window(self, at: datetime) -> tuple[datetime, datetime]:
        """The window that a moment is in: its first instant, and the first one behind it."""
        begins = at.replace(hour=at.hour - at.hour % self.hours, minute=0, second=0, microsecond=0)
        return begins, begins + timedelta(hours=self.hours)

    def unusual(self, count: int, usual: float) -> bool:
        """Whether so many addresses in one window are too many, where so many are usual."""
        return count > max(self.floor, self.factor * usual)


def waits_for_incidents(event: PastEvent) -> bool:
    """Whether an event is one of those that an incident keeps waiting: a hard bounce."""
    return (
        event.kind is Kind.BOUNCE
        and event.outcome is Outcome.HARD
        and event.fault not in BLAMELESS
        and event.reason is not Reason.PROVIDER_SUPPRESSED
    )


def brake_holds(newly: int, known: int, brake: Brake) -> bool:
    """Whether a run that newly suppresses so many of so many known addresses has to wait."""
    return newly > max(brake.floor, brake.share * known)


def standing(
    events: Sequence[PastEvent], releases: Sequence[Release], policy: Policy, now: datetime
) -> Standing:
    """What we hold of an address at `now`, given all that counts of its past.

    The order of `events` does not matter. Events at or before the last release do not count.
    """
    released = max(releases, key=lambda release: release.at, default=None)
    walk = _Walk(policy, released)
    # most addresses have one event, and a key has six parts
    for event in sorted(events, key=_by_time) if len(events) > 1 else events:
        if released is None or event.at > released.at:
            walk.see(event)
    return walk.standing(now)


def _by_time(event: PastEvent) -> tuple[datetime, bool, str, str, float, int]:
    # At the same instant a delivery has the last word; ids, the order of arrival, come last.
    return (
        event.at,
        event.kind is Kind.DELIVERY,
        event.reason,
        event.rule,
        event.confidence,
        event.id,
    )


@dataclass(slots=True)
class _Score:
    """The soft score: at most the heaviest event of a UTC day, halved by quiet stretches."""

    half_life_days: int
    forget_days: int
    total: float = 0.0
    understood: float = 0.0
    first_day: date | None = None
    last_day: date | None = None
    today: float = 0.0
    today_understood: float = 0.0
    events: list[int] = field(default_factory=list)

    def add(self, event: PastEvent, weight: float, *, understood: bool) -> None:
        day = event.at.date()
        if self.last_day is None or (day - self.last_day).days >= self.forget_days:
            self.forget()
            self.first_day = self.last_day = day
        if day != self.last_day:
            factor = self._decay(day)
            self.total, self.understood = self.total * factor, self.understood * factor
            self.today = self.today_understood = 0.0
            self.last_day = day
        self.total += max(0.0, weight - self.today)
        self.today = max(self.today, weight)
        if understood:
            self.understood += max(0.0, weight - self.today_understood)
            self.today_understood = max(self.today_understood, weight)
        self.events.append(event.id)

    def forget(self) -> None:
        self.total = self.understood = self.today = self.today_understood = 0.0
        self.first_day = self.last_day = None
        self.events = []

    def at(self, day: date) -> float:
        if self.last_day is None or (day - self.last_day).days >= self.forget_days:
            return 0.0
        return self.total * self._decay(day)

    @property
    def span_days(self) -> int:
        if self.first_day is None or self.last_day is None:
            return 0
        return (self.last_day - self.first_day).days

    def _decay(self, day: date) -> float:
        assert self.last_day is not None  # noqa: S101 - callers have seen to it
        return float(0.5 ** max(0, (day - self.last_day).days // self.half_life_days))


@dataclass(slots=True)
class _Days:
    """Events of one sort, at most one per UTC day; a long silence makes the old ones void."""

    forget_days: int
    kept: list[PastEvent] = field(default_factory=list)

    def add(self, event: PastEvent) -> None:
        if self.kept:
            gap = (event.at.date() - self.kept[-1].at.date()).days
            if gap == 0:
                return
            if gap >= self.forget_days:
                self.kept = []
        self.kept.append(event)

    def span_days(self, at: datetime) -> int:
        return (at.date() - self.kept[0].at.date()).days if self.kept else 0

    def ids(self, last: PastEvent) -> tuple[int, ...]:
        return (*(event.id for event in self.kept if event.id != last.id), last.id)


@dataclass(frozen=True, slots=True)
class _Hold:
    """A suppression. The higher rank survives: 2 a complaint, 1 a new owner, 0 the rest."""

    rank: int
    standing: Standing

    def lasts(self, at: datetime) -> bool:
        return self.standing.expires_at is None or self.standing.expires_at > at


class _Last(NamedTuple):
    """What was thought after an event; most often a later one or a suppression has the word."""

    status: Status
    since: datetime
    event: PastEvent
    because: str

    def standing(self) -> Standing:
        return Standing(
            status=self.status,
            reason=self.event.reason,
            since=self.since,
            rule=self.event.rule,
            because=_sentence(self.because, self.event),
            events=(self.event.id,),
        )


class _Walk:
    """One pass through a history, oldest event first."""

    __slots__ = ("full", "hards", "hold", "last", "policy", "refused", "released", "score")

    def __init__(self, policy: Policy, released: Release | None) -> None:
        self.policy = policy
        self.hards: list[PastEvent] = []
        # made where the first event wants them; most histories are short
        self.score: _Score | None = None
        self.full: _Days | None = None
        self.refused: _Days | None = None
        self.hold: _Hold | None = None
        self.released = released
        self.last: _Last | None = None

    def see(self, event: PastEvent) -> None:
        if event.kind is Kind.COMPLAINT and event.reason is Reason.COMPLAINT:
            self._conclude(Status.COMPLAINED, event, "The recipient complained")
            self._suppress(event, Status.COMPLAINED, "The recipient complained", rank=2)
        elif event.kind is Kind.DELIVERY:
            self._delivered(event)
        elif event.kind is Kind.BOUNCE and event.outcome is Outcome.HARD:
            self._hard(event)
        elif event.kind is Kind.BOUNCE and event.outcome is Outcome.SOFT:
            self._soft(event)
        elif event.kind is Kind.BOUNCE and event.outcome is Outcome.BLOCKED:
            self._blocked(event)
        # Delays, automatic replies, receipts, challenges and all else never count.

    def standing(self, now: datetime) -> Standing:
        score = 0.0 if self.score is None else round(self.score.at(now.date()), 6)
        if self.hold is not None and self.hold.lasts(now):
            found = self.hold.standing
        else:
            found = self._unheld()
        return replace(found, score=score) if score else found

    def _unheld(self) -> Standing:
        """What is thought where no suppression lasts, or none any more."""
        if self.last is not None:
            found = self.last.standing()
        elif self.released is not None:
            note = f": {self.released.note}" if self.released.note else ""
            because = f"Released by {self.released.by} on {self.released.at:%Y-%m-%d}{note}."
            found = Standing(since=self.released.at, because=because)
        else:
            found = Standing()
        if self.hold is None or found.status is Status.ACTIVE:
            return found
        ended = self.hold.standing
        because = (
            f"{found.because} The suppression ({ended.reason}) ended on "
            f"{ended.expires_at:%Y-%m-%d}."
        )
        return replace(found, because=because)

    def _delivered(self, event: PastEvent) -> None:
        self.hards = []
        self.score = self.full = self.refused = None
        if self.hold is not None and self.hold.rank:
            return
        self.hold = None
        self._conclude(Status.ACTIVE, event, "A delivery was reported")

    def _hard(self, event: PastEvent) -> None:
        if event.fault in BLAMELESS:
            return
        sure = f"sure to {event.confidence:.2f}"
        if event.confidence < self.policy.hard_pending:
            self._conclude(Status.SOFT_BOUNCED, event, f"A hard bounce too unsure to count, {sure}")
            doubt = self.policy.soft_weights.get(
                Reason.UNDETERMINED, SOFT_WEIGHTS[Reason.UNDETERMINED]
            )
            self._count(event, doubt, understood=False)
            return
        because = f"A hard bounce, {sure}"
        self._conclude(Status.HARD_BOUNCED, event, because)
        first = self.hards[0] if self.hards else None
        if event.reason is not Reason.PROVIDER_SUPPRESSED:  # hearsay is no second witness
            self.hards.append(event)
        rank = int(event.reason is Reason.OWNER_CHANGED)
        if self._alone_enough(event):
            self._suppress(event, Status.HARD_BOUNCED, because, rank=rank)
        elif first is not None and event.at - first.at >= self.policy.patience(event.reason):
            because = f"A second hard bounce after the one of {first.at:%Y-%m-%d}"
            self._suppress(
                event, Status.HARD_BOUNCED, because, rank=rank, events=(first.id, event.id)
            )

    def _alone_enough(self, event: PastEvent) -> bool:
        if event.reason in AT_ONCE:
            return True
        if event.reason is Reason.HOST_UNKNOWN:  # a domain's name service may be ill for a day
            return False
        return event.confidence >= self.policy.hard_at_once

    def _soft(self, event: PastEvent) -> None:
        self._conclude(Status.SOFT_BOUNCED, event, "A soft bounce")
        if event.reason is Reason.MAILBOX_FULL and event.fault not in BLAMELESS:
            self._full(event)
        self._count(
            event, self.policy.weight(event), understood=event.reason is not Reason.UNDETERMINED
        )

    def _full(self, event: PastEvent) -> None:
        full = self.full = self.full or _Days(self.policy.forget_days)
        full.add(event)
        span = full.span_days(event.at)
        count = len(full.kept)
        if count < self.policy.mailbox_full_events or span < self.policy.mailbox_full_days:
            return
        self._suppress(
            event,
            Status.HARD_BOUNCED,
            f"The mailbox was full {count} times over {span} days",
            reason=Reason.MAILBOX_FULL_PERSISTENT,
            events=full.ids(event),
        )

    def _count(self, event: PastEvent, weight: float, *, understood: bool) -> None:
        if weight <= 0:
            return
        policy = self.policy
        if self.score is None:
            self.score = _Score(policy.soft_half_life_days, policy.forget_days)
        score = self.score
        score.add(event, weight, understood=understood)
        threshold = policy.soft_threshold - EPSILON
        # What nobody understood may add to a case but never make one (half must be understood).
        if score.total < threshold or score.understood < threshold / 2:
            return
        if score.span_days < policy.soft_span_days:
            return
        days = policy.soft_expires_days
        self._suppress(
            event,
            Status.SOFT_BOUNCED,
            f"Soft bounces with a score of {score.total:.2f} over {score.span_days} days",
            expires_at=event.at + timedelta(days=days) if days else None,
            events=tuple(score.events),
            by_score=True,
        )

    def _blocked(self, event: PastEvent) -> None:
        self._conclude(Status.BLOCKED, event, "Refused because of who sends or what is sent")
        if event.reason is not Reason.RECIPIENT_REFUSED or event.fault in BLAMELESS:
            return
        refused = self.refused = self.refused or _Days(self.policy.forget_days)
        refused.add(event)
        count = len(refused.kept)
        if count >= self.policy.refused_events:
            because = f"The recipient refused our mail {count} times"
            self._suppress(event, Status.BLOCKED, because, events=refused.ids(event))

    def _conclude(self, status: Status, event: PastEvent, because: str) -> None:
        """Note what we think after this event, whether or not the address is suppressed."""
        since = event.at
        if self.last is not None:
            if self.last.status is status:
                since = self.last.since
        elif self.released is not None and status is Status.ACTIVE:
            since = self.released.at
        self.last = _Last(status, since, event, because)

    def _suppress(  # noqa: PLR0913 - a suppression has this much to say
        self,
        event: PastEvent,
        status: Status,
        because: str,
        *,
        rank: int = 0,
        reason: Reason | None = None,
        expires_at: datetime | None = None,
        events: tuple[int, ...] = (),
        by_score: bool = False,
    ) -> None:
        reason = reason or event.reason
        if not by_score:
            expires_at = self.policy.expires(reason, event.at)
        now_held = self.hold if self.hold is not None and self.hold.lasts(event.at) else None
        if now_held is not None and not _stronger(rank, expires_at, now_held):
            return
        found = Standing(
            status=status,
            suppressed=True,
            reason=reason,
            since=now_held.standing.since if now_held is not None else event.at,
            expires_at=expires_at,
            rule=event.rule,
            because=_sentence(because, event, reason),
            events=events or (event.id,),
        )
        self.hold = _Hold(rank, found)


def _stronger(rank: int, expires_at: datetime | None, held: _Hold) -> bool:
    """Whether a new suppression replaces the one in force: of higher rank, or lasting longer."""
    if rank != held.rank:
        return rank > held.rank
    until = held.standing.expires_at
    return until is not None and (expires_at is None or expires_at > until)


def _sentence(because: str, event: PastEvent, reason: Reason | None = None) -> str:
    return f"{because} ({reason or event.reason}, {event.at:%Y-%m-%d}, rule {event.rule})."

"""What the reading side hands out: plain frozen records, times aware UTC."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from bounced.model import Release, Standing


@dataclass(frozen=True, slots=True)
class SuppressedRow:
    """One line of the suppression list: the columns of the SQL view, under the same names.

    `said` is what the server said in the event that decided (None after a decision without one).
    `list` is the one that it holds on, "" for all of them.
    """

    address: str
    status: str
    reason: str | None
    since: datetime | None
    expires_at: datetime | None
    rule: str | None
    because: str
    said: str | None
    last_event_at: datetime | None
    list: str = ""


@dataclass(frozen=True, slots=True)
class Clearance:
    """Why an address is not to be mailed now: suppressed, or waiting.

    `suppressed` is False for one that waits: for a person's word about a held run (`until` is
    None), or for the time after which a second hard bounce would be a second witness.
    """

    address: str
    suppressed: bool
    reason: str
    since: datetime | None
    until: datetime | None
    because: str


@dataclass(frozen=True, slots=True)
class EventRow:
    """One event with its judgement, as a table shows it. `said` is the server's diagnostic."""

    address: str
    outcome: str
    reason: str
    said: str
    when: datetime
    mailbox: str
    rule: str


@dataclass(frozen=True, slots=True)
class UndeterminedRow:
    """A failed delivery that the rules could not say much of. `said` is the server's diagnostic."""

    address: str
    recipient: str
    said: str
    outcome: str
    reason: str
    confidence: float
    rule: str
    remote_mta: str | None


@dataclass(frozen=True, slots=True)
class EventFacts:
    """An event whole: what the server said, what we concluded, and whether it counts.

    `counts` is False while the event's run is held by the brake or an `incident` keeps it waiting,
    and for good once that is discarded.
    `trust` is `verified`, `matched` or `claimed`, None where there was nothing to ask, and
    `trusted` whether that is enough for the policy.
    """

    id: int
    at: datetime
    mailbox: str
    kind: str
    action: str
    recipient: str
    original_address: str | None
    status: str | None
    reply_code: int | None
    reply_status: str | None
    command: str | None
    diagnostic: str
    diagnostic_type: str | None
    remote_mta: str | None
    reporting_mta: str | None
    message_id: str | None
    returned_message_id: str | None
    outcome: str
    reason: str
    fault: str
    confidence: float
    rule: str
    because: str
    rules_version: str
    run_id: int
    counts: bool
    trust: str | None
    trusted: bool
    list: str = ""
    incident: int | None = None


@dataclass(frozen=True, slots=True)
class TransitionRow:
    """One line of the audit: what changed, why, and by whom (`sync` or a person)."""

    at: datetime
    from_status: str
    to_status: str
    from_suppressed: bool
    to_suppressed: bool
    reason: str | None
    rule: str | None
    because: str
    event_id: int | None
    run_id: int | None
    actor: str
    policy_version: str
    rules_version: str | None
    decision_id: int | None = None
    events: tuple[int, ...] = ()
    list: str = ""


@dataclass(frozen=True, slots=True)
class DecisionRow:
    """What an operator decided; `undone_at` is None while it is in force.

    `what` is `release`, `accept` or `discard` (of a held run), `import`, `reclassify` or
    `incident`; `subject` says of what, for people; `addresses` is how many standings it changed.
    """

    id: int
    at: datetime
    by: str
    what: str
    subject: str
    note: str
    run_id: int | None
    undone_at: datetime | None
    undone_by: str | None
    undone_note: str
    addresses: int


@dataclass(frozen=True, slots=True)
class Released:
    """What a release did: how many `addresses` it freed, and of how many `others` (not
    suppressed as it was) it made what is on record stop counting.
    """

    addresses: int = 0
    others: int = 0


@dataclass(frozen=True, slots=True)
class Undone:
    """A decision taken back (or into force again): suppressions that began and ended thereby."""

    what: str
    subject: str
    suppressed: int
    released: int


@dataclass(frozen=True, slots=True)
class StandingChange:
    """What a standing is and what it would be: under today's rules, or under another policy."""

    address: str
    from_status: str
    to_status: str
    from_suppressed: bool
    to_suppressed: bool
    from_reason: str | None
    to_reason: str | None
    from_rule: str | None
    to_rule: str | None
    because: str
    list: str = ""


@dataclass(frozen=True, slots=True)
class Replay:
    """A piece of history gone through again, a bounded number of addresses at a time.

    `judged` counts the events judged again, `rules` those that other rules judge now, by
    (old rule, new rule).
    """

    addresses: int
    changes: tuple[StandingChange, ...]
    judged: int = 0
    rules: Mapping[tuple[str, str], int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AddressHistory:
    """All that is on record of one address; `standing` is None when nothing is.

    `spellings` are addresses on record that differ from it in nothing but case, `on_lists` what
    single lists have against it beyond its `standing` on all of them; `became` is the subscriber's
    new address, and `before` are those they had before this one.
    """

    address: str
    standing: Standing | None
    events: tuple[EventFacts, ...] = ()
    transitions: tuple[TransitionRow, ...] = ()
    releases: tuple[Release, ...] = ()
    lists: tuple[str, ...] = ()
    spellings: tuple[str, ...] = ()
    on_lists: Mapping[str, Standing] = field(default_factory=dict)
    became: str | None = None
    before: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class IncidentRow:
    """So many hard bounces at one provider or domain (`scope`) that they wait for a person.

    `state` is `open`, `accepted` or `discarded`; `usual` is how many addresses answered hard there
    in other windows, `addresses` how many in this one.
    """

    id: int
    scope: str
    name: str
    begins_at: datetime
    ends_at: datetime
    state: str
    usual: float
    opened_at: datetime
    addresses: int


@dataclass(frozen=True, slots=True)
class AlarmRow:
    """Refusals of us as senders: by `who` (a provider's name or a domain), for one reason.

    `ours` is the IP address or domain that is refused and `blocklist` the list that is named,
    where replies say; `page` is where to look it up, `said` the last reply.
    """

    who: str
    ours: str | None
    reason: str
    blocklist: str | None
    count: int
    first_at: datetime
    last_at: datetime
    page: str | None
    said: str


@dataclass(frozen=True, slots=True)
class SubscriberRow:
    """Somebody on a list."""

    address: str
    list: str
    imported_at: datetime


@dataclass(frozen=True, slots=True)
class TypoRow:
    """A domain that looks like a slip for another, and how many addresses are at it."""

    domain: str
    meant: str
    addresses: int


@dataclass(frozen=True, slots=True)
class HoldRow:
    """A run that the brake holds, since `at`; `addresses` is how many it would newly suppress.

    `finished` is False while the pass over the mailbox goes on (or was cut off) and more may come.
    """

    run_id: int
    mailbox: str
    at: datetime
    addresses: int
    events: int
    finished: bool


@dataclass(frozen=True, slots=True)
class MailboxRow:
    """How a mailbox is doing.

    `checkpoint` is the highest UID recorded in the present epoch (UIDVALIDITY); `states` counts
    letters that were `tried`, `recorded` (facts safe, not yet moved) and `filed`, `destinations`
    those recorded, by pile; `busy` is whether a sync holds the lease; `imported` lines came by
    hand (`bounced suppressed import`), and no sync looks for them. `failing_since` is when the
    first of those passes failed after which none has gone well.
    """

    mailbox: str
    epoch: int | None
    checkpoint: int
    last_sync_at: datetime | None
    last_error: str | None
    busy: bool
    last_success_at: datetime | None = None
    failing_since: datetime | None = None
    states: Mapping[str, int] = field(default_factory=dict)
    destinations: Mapping[str, int] = field(default_factory=dict)
    imported: bool = False

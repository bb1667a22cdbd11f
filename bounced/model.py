"""The nouns of the program: immutable facts and conclusions, no behaviour that touches the world.

Names are those of the standards they come from: RFC 5321 (reply), RFC 3463 (enhanced status),
RFC 3464 (report, action, recipient), RFC 5965 (complaint), RFC 3834 (automatic reply).

A letter walks one way through them::

    Letter --read--> Message --decode--> Report --judge--> Conclusion --record--> facts
        --policy--> Standing --> the suppression list
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - compiled classes look up what their fields are
from enum import StrEnum
from typing import ClassVar, Final, NamedTuple, Self


class Kind(StrEnum):
    """What sort of message arrived in the bounce mailbox."""

    BOUNCE = "bounce"  # delivery failed for good (RFC 3464 action "failed")
    DELAY = "delay"  # not delivered yet, the sending server keeps trying
    DELIVERY = "delivery"  # delivered, relayed or expanded
    COMPLAINT = "complaint"  # a feedback report (RFC 5965)
    AUTO_REPLY = "auto_reply"  # vacation notices and the like (RFC 3834)
    RECEIPT = "receipt"  # a read receipt (RFC 8098)
    CHALLENGE = "challenge"  # "prove that you are a person"
    OTHER = "other"  # not a report; set aside for a person to look at


class Action(StrEnum):
    """What became of a recipient's copy (RFC 3464, 2.3.3)."""

    FAILED = "failed"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    RELAYED = "relayed"
    EXPANDED = "expanded"


class Outcome(StrEnum):
    """What an event means for the address."""

    HARD = "hard"  # the address cannot receive mail, now or later
    SOFT = "soft"  # not delivered now; the address may be fine
    BLOCKED = "blocked"  # refused because of who sends or what is sent
    NONE = "none"  # nothing failed


class Fault(StrEnum):
    """Whose fault it was. Only the recipient's own counts against a subscriber."""

    RECIPIENT = "recipient"
    RECIPIENT_SYSTEM = "recipient_system"
    SENDER = "sender"
    MESSAGE = "message"
    NETWORK = "network"
    NONE = "none"
    UNKNOWN = "unknown"


class Reason(StrEnum):
    """Why, in words an operator can act on. The rule books say what leads to each."""

    # the address is dead
    USER_UNKNOWN = "user_unknown"
    BAD_ADDRESS_SYNTAX = "bad_address_syntax"
    HOST_UNKNOWN = "host_unknown"
    NULL_MX = "null_mx"
    MAILBOX_DISABLED = "mailbox_disabled"
    USER_MOVED = "user_moved"
    OWNER_CHANGED = "owner_changed"
    PROVIDER_SUPPRESSED = "provider_suppressed"
    MAILBOX_FULL_PERSISTENT = "mailbox_full_persistent"  # derived by policy, never by a rule
    # not now
    MAILBOX_FULL = "mailbox_full"
    MAILBOX_UNAVAILABLE_TEMP = "mailbox_unavailable_temp"
    GREYLISTED = "greylisted"
    RATE_LIMITED = "rate_limited"
    RECIPIENT_RATE_LIMITED = "recipient_rate_limited"
    SYSTEM_FULL = "system_full"
    SYSTEM_BUSY = "system_busy"
    SYSTEM_UNAVAILABLE = "system_unavailable"
    SYSTEM_ERROR = "system_error"
    NETWORK_ERROR = "network_error"
    DNS_FAILURE = "dns_failure"
    ROUTING_LOOP = "routing_loop"
    EXPIRED = "expired"
    MESSAGE_TOO_BIG = "message_too_big"
    TOO_MANY_RECIPIENTS = "too_many_recipients"
    UNDETERMINED = "undetermined"
    # the sender or the message was refused
    RECIPIENT_REFUSED = "recipient_refused"
    IP_BLOCKED = "ip_blocked"
    DOMAIN_BLOCKED = "domain_blocked"
    SENDER_BLOCKED = "sender_blocked"
    SENDER_REJECTED = "sender_rejected"
    SENDER_DNS = "sender_dns"
    SENDER_DNS_PTR = "sender_dns_ptr"
    AUTH_FAILURE = "auth_failure"  # SPF, DKIM, DMARC, ARC
    SPAM_BLOCK = "spam_block"
    SPAM_CONTENT = "spam_content"
    VIRUS_DETECTED = "virus_detected"
    CONTENT_REJECTED = "content_rejected"
    ATTACHMENT_REJECTED = "attachment_rejected"
    POLICY_BLOCK = "policy_block"
    RELAY_DENIED = "relay_denied"
    AUTH_REQUIRED = "auth_required"  # SMTP AUTH wanted of us
    AUTH_FAILED = "auth_failed"  # SMTP AUTH of ours refused
    PROTOCOL_ERROR = "protocol_error"
    TLS_REQUIRED = "tls_required"
    TLS_FAILED = "tls_failed"
    EAI_UNSUPPORTED = "eai_unsupported"
    # nothing failed
    NOT_A_FAILURE = "not_a_failure"  # a 2xx or 3xx reply that a notice quotes
    COMPLAINT = "complaint"
    AUTO_REPLY = "auto_reply"
    CHALLENGE_RESPONSE = "challenge_response"
    MDN = "mdn"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    RELAYED = "relayed"
    EXPANDED = "expanded"
    NOT_A_BOUNCE = "not_a_bounce"


class Status(StrEnum):
    """What we last concluded of an address; whether it is suppressed is a fact of its own."""

    ACTIVE = "active"
    SOFT_BOUNCED = "soft-bounced"
    HARD_BOUNCED = "hard-bounced"
    BLOCKED = "blocked"
    COMPLAINED = "complained"


class Destination(StrEnum):
    """Which pile a letter belongs on once its facts are safe."""

    PROCESSED = "processed"  # understood and recorded
    UNRECOGNISED = "unrecognised"  # recorded as "other", for a person to look at
    QUARANTINE = "quarantine"  # could not be read within limits


class Noun:
    """What is handed from process to process by the values of its fields, as a tuple would be."""

    __slots__ = ()
    __match_args__: ClassVar[tuple[str, ...]]

    def __reduce__(self) -> tuple[type[Self], tuple[object, ...]]:
        return type(self), tuple([getattr(self, name) for name in self.__match_args__])


class EnhancedStatus(NamedTuple):
    """An RFC 3463 code as a server wrote it. Never invented by us."""

    class_: int
    subject: int
    detail: int

    def __str__(self) -> str:
        return f"{self.class_}.{self.subject}.{self.detail}"


@dataclass(frozen=True, slots=True)
class Letter(Noun):
    """One mail as the mailbox holds it.

    `uid` is the mailbox's own number (IMAP UID, or a file's place in a folder); `received_at` is
    when the mailbox took it in (aware UTC) and None where the mailbox does not say; `truncated`
    means that only the beginning was fetched because the mail is over the size limit.
    """

    uid: int
    raw: bytes
    received_at: datetime | None = None
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class Reply(Noun):
    """What a server answered (RFC 5321, 4.2), as observed.

    `text` keeps the server's words with white space folded; `code` and `status` are None where
    the text holds none; `command` is the SMTP command it answered (RCPT, MAIL, DATA, …) where the
    notice says so; `quoted` is the reply inside a reply
    (`554 4.4.7 expired … <421 4.2.2 over quota>`).
    """

    text: str = ""
    code: int | None = None
    status: EnhancedStatus | None = None
    command: str | None = None
    quoted: Reply | None = None


@dataclass(frozen=True, slots=True)
class RecipientReport(Noun):
    """One recipient's fate as the report tells it, before anyone has judged it.

    `address` is the final recipient and `original_address` the one that was mailed, where the
    report names both (RFC 3464, 2.3.1 and 2.3.2). `status` is the report's own `Status:` field;
    the server's own code is in `reply.status`. `diagnostic_type` is the type of
    Diagnostic-Code (`smtp`, `x-postfix`, …). Unknown is None, never a guess.
    """

    address: str
    reply: Reply = Reply()
    action: Action = Action.FAILED
    original_address: str | None = None
    status: EnhancedStatus | None = None
    remote_mta: str | None = None
    diagnostic_type: str | None = None

    @property
    def best_status(self) -> EnhancedStatus | None:
        """The remote server's own code, else the report's `Status:`."""
        return self.reply.status or self.status


@dataclass(frozen=True, slots=True)
class Returned(Noun):
    """The returned message's own headers, where the notice encloses them (RFC 6522)."""

    message_id: str | None = None
    subject: str | None = None
    list_id: str | None = None
    from_: str | None = None
    to: str | None = None


@dataclass(frozen=True, slots=True)
class Report(Noun):
    """Everything one message told about deliveries.

    `format` names the dialect that was recognised (`rfc3464`, `qmail`, …; None for none);
    `problems` says in short words what was wrong with the message (`truncated`, …). `envelope` is
    where a token of ours may be: the addresses to which the notice was delivered and written, and
    those the returned message was sent from (`bounced.trust`).
    """

    kind: Kind
    recipients: tuple[RecipientReport, ...] = ()
    format: str | None = None
    message_id: str | None = None
    reporting_mta: str | None = None
    returned: Returned = Returned()
    problems: tuple[str, ...] = ()
    envelope: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict(Noun):
    """A judgement that can explain itself.

    `confidence` is in [0, 1]: how often this rule's word is right. `rule` is the stable id of the
    rule that decided; `because` is one sentence for people.
    """

    outcome: Outcome
    reason: Reason
    fault: Fault
    confidence: float
    rule: str
    because: str


@dataclass(frozen=True, slots=True)
class Bounce(Noun):
    """A recipient report with its verdict, ready to be recorded."""

    recipient: RecipientReport
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Conclusion(Noun):
    """A whole report with a verdict for each of its recipients."""

    report: Report
    bounces: tuple[Bounce, ...] = ()


@dataclass(frozen=True, slots=True)
class Reading(Noun):
    """A letter with what was concluded from it: what the ledger records.

    `dedup_key` is the same for the same mail wherever it turns up again (hex SHA-256);
    `raw_sha256` is that of the bytes as fetched.
    """

    uid: int
    received_at: datetime
    dedup_key: str
    raw_sha256: str
    conclusion: Conclusion
    destination: Destination


class PastEvent(NamedTuple):
    """One line of an address's history, as policy sees it. `at` is aware UTC."""

    id: int
    at: datetime
    kind: Kind
    outcome: Outcome
    reason: Reason
    fault: Fault
    confidence: float
    rule: str


@dataclass(frozen=True, slots=True)
class Release:
    """An operator's word that an address may be mailed again; earlier events stop counting.

    One that was taken back (`undone_at`) is as if it had never been given.
    """

    at: datetime
    by: str
    note: str = ""
    undone_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """What we hold of an address: a pure function of its events, releases and the policy.

    `since` is when the present suppression (or, if there is none, the present status) began and
    `expires_at` when the suppression ends (None: never). `score` is the soft score that counts
    today. `events` are the ids that led here, `because` one sentence for people.
    """

    status: Status = Status.ACTIVE
    suppressed: bool = False
    reason: Reason | None = None
    since: datetime | None = None
    expires_at: datetime | None = None
    score: float = 0.0
    rule: str | None = None
    because: str = ""
    events: tuple[int, ...] = ()


# Why a pass did not come to its end that somebody stopped; the mailbox has not failed, and the
# next pass goes on with it.
STOPPED: Final = "stopped before the end"
INTERRUPTED: Final = "interrupted"


@dataclass(frozen=True, slots=True)
class Visit:
    """The right to work on one mailbox: the ledger's row, this run, and the fencing number.

    A run that gathers letters handed over one by one stays open until `gathers_until`.
    """

    mailbox_id: int
    run_id: int
    fence: int
    gathers_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """What one transaction added.

    `events` counts new events, `duplicates` letters seen before, `suppressed` and `released`
    addresses whose suppression changed, `held` the addresses that the brake keeps waiting
    (0 unless the brake holds this run), `incidents` those that were opened, `alarms`
    new events that say that our own login was refused.
    """

    events: int = 0
    duplicates: int = 0
    suppressed: int = 0
    released: int = 0
    held: int = 0
    incidents: int = 0
    alarms: int = 0


@dataclass(frozen=True, slots=True)
class Foretold:
    """How the standing of an address (or of a `@domain`) would change; `list` "": on all."""

    address: str
    from_status: str
    to_status: str
    from_suppressed: bool
    to_suppressed: bool
    rule: str | None
    because: str
    list: str = ""


@dataclass(frozen=True, slots=True)
class Held:
    """An address that a run would newly suppress (`list` "": on all) and the brake keeps waiting.

    `reason`, `rule` and `because` are those of the standing that it would have.
    """

    run_id: int
    address: str
    reason: str | None
    rule: str | None
    because: str
    list: str = ""


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """What a sync would have done. `waiting` are those whom the brake would keep waiting."""

    recorded: Recorded
    changes: tuple[Foretold, ...] = ()
    waiting: tuple[Held, ...] = ()


class NoticeKind(StrEnum):
    """What webhooks can be told of; the words are those on the wire."""

    SUPPRESSED = "address.suppressed"
    RELEASED = "address.released"
    HELD = "run.held"
    INCIDENT = "incident.opened"
    ALARM = "alarm.raised"
    FAILING = "mailbox.failing"


@dataclass(frozen=True, slots=True)
class Subscription:
    """A webhook by its name, and the kinds of notices that it asked for."""

    webhook: str
    kinds: frozenset[NoticeKind]


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing to tell one webhook, as the outbox keeps it.

    `message_id` is the same for all webhooks and at every attempt; `payload` is the JSON to send;
    `attempts` counts this one.
    """

    id: int
    message_id: str
    payload: str
    created_at: datetime
    attempts: int


@dataclass(frozen=True, slots=True)
class Setback:
    """A notice that was not taken: why, and when to try it again (`until` None: never by itself).

    With `all_wait` it is the webhook's own trouble, and everything for it waits as long.
    """

    notice: Notice
    error: str
    until: datetime | None
    all_wait: bool

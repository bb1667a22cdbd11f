"""The tables, and nothing that runs. docs/database.md tells their story.

Facts (`message`, `event`) never change. Conclusions (`judgement`) can be drawn again from them.
Standings (`address`) are derived from both: rebuilt whole, never counted up. The view
`suppression` over them is the contract with the outside; migrations/ creates it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.types import TypeDecorator

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Dialect

# The newest revision in migrations/versions; a test holds the two together.
HEAD = "0017"

VIEW = "suppression"

# What an operator can decide, and take back.
DECISIONS = ("release", "accept", "discard", "import", "reclassify", "incident")


class UtcDateTime(TypeDecorator[datetime]):
    """Aware UTC in, aware UTC out, on every database. A naive time is a bug and raises."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("the ledger takes aware times only")
        return value.astimezone(UTC)

    def result_processor(
        self, dialect: Dialect, coltype: object
    ) -> Callable[[Any], datetime | None] | None:
        """As the type itself has it; SQLite's texts, which hold no zone, in a single step."""
        if dialect.name == "sqlite":
            return _from_text
        return super().result_processor(dialect, coltype)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _from_text(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(f"{text}+00:00")


# SQLite numbers rows by itself only in a column of exactly INTEGER.
Id = BigInteger().with_variant(Integer, "sqlite")

# Texts that are keys. MariaDB alone wants their longest length, and a key has 3072 bytes there.
Word = String().with_variant(String(64), "mariadb")  # of ours, or the hexadecimal SHA-256
Address = String().with_variant(String(320), "mariadb")  # 64 octets, "@", 255 (RFC 5321, 4.5.3.1)
MessageId = String().with_variant(String(448), "mariadb")
Name = String().with_variant(String(400), "mariadb")

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _among(column: str, *words: str) -> CheckConstraint:
    # not IN, for which SQLite makes a table of more than two words, and that for every row
    return CheckConstraint(" OR ".join(f"{column} = {word!r}" for word in words), name=column)


def _ending() -> Index:
    """By which suppressions are found whose time has come; few have an end."""
    some = text("expires_at IS NOT NULL")
    return Index(None, "expires_at", sqlite_where=some, postgresql_where=some)


def _suppressed_only() -> Index:
    """By which the list is had in order; SQLite takes it where it is asked in these very words."""
    some = text("suppressed = 1"), text("suppressed")
    return Index(None, "suppressed", "address", sqlite_where=some[0], postgresql_where=some[1])


mailbox = Table(
    "mailbox",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", Name, nullable=False, unique=True),
    Column("epoch", BigInteger),  # UIDVALIDITY (RFC 3501, 2.3.1.1); None before the first visit
    Column("last_uid", BigInteger, nullable=False, server_default="0"),
    Column("lease_owner", String),
    Column("lease_until", UtcDateTime),  # by the database's clock
    Column("fence", BigInteger, nullable=False, server_default="0"),
    Column("last_sync_at", UtcDateTime),
    Column("last_error", Text),
    Column("last_success_at", UtcDateTime),
    Column("failing_since", UtcDateTime),  # None: the last pass went well, or there was none
)

# Who runs `bounced run` now; the row goes when it ends as it should.
heartbeat = Table(
    "heartbeat",
    metadata,
    Column("owner", Name, primary_key=True),  # host:pid
    Column("started_at", UtcDateTime, nullable=False),
    Column("beat_at", UtcDateTime, nullable=False),  # by the database's clock, like started_at
)

run = Table(
    "run",
    metadata,
    Column("id", Id, primary_key=True),
    Column("mailbox_id", ForeignKey("mailbox.id"), nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime),  # None: cut off, the next sync goes on with this run
    Column("state", Word, nullable=False),
    Column("decided_by", String),
    Column("decided_at", UtcDateTime),
    _among("state", "open", "done", "failed", "held", "accepted", "discarded"),
    Index(None, "mailbox_id", "finished_at"),
)

message = Table(
    "message",
    metadata,
    Column("id", Id, primary_key=True),
    Column("mailbox_id", ForeignKey("mailbox.id"), nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("uid", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("state", Word, nullable=False),
    Column("destination", Word),
    Column("kind", Word),
    Column("format", String),
    Column("dedup_key", Word),
    Column("raw_sha256", Word),
    Column("duplicate_of", ForeignKey("message.id")),
    Column("message_id", String),
    Column("reporting_mta", String),
    Column("returned_message_id", String),
    Column("returned_subject", String),
    Column("returned_list_id", String),
    Column("returned_from", String),
    Column("returned_to", String),
    Column("problems", Text, nullable=False, server_default="[]"),  # a JSON list of short words
    Column("received_at", UtcDateTime),
    Column("recorded_at", UtcDateTime),
    Column("run_id", ForeignKey("run.id"), index=True),
    UniqueConstraint("mailbox_id", "epoch", "uid"),
    _among("state", "tried", "recorded", "filed"),
    Index(None, "mailbox_id", "epoch", "state", "destination"),
)

seen = Table(
    "seen",
    metadata,
    Column("dedup_key", Word, primary_key=True),
    Column("message_id", ForeignKey("message.id"), nullable=False),
)

event = Table(
    "event",
    metadata,
    Column("id", Id, primary_key=True),
    Column("message_id", ForeignKey("message.id"), nullable=False, index=True),
    Column("dedup_key", Word, nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("address", Address, nullable=False),  # canonical; whose standing it touches
    Column("recipient", String, nullable=False),  # as reported
    Column("original_address", String),
    Column("action", Word, nullable=False),
    Column("kind", Word, nullable=False),
    Column("status", String),  # the report's own Status: field
    Column("reply_code", Integer),
    Column("reply_status", String),
    Column("command", String),
    Column("diagnostic", Text, nullable=False),
    Column("diagnostic_type", String),
    Column("remote_mta", String),
    Column("occurred_at", UtcDateTime, nullable=False),
    Column("run_id", ForeignKey("run.id"), nullable=False, index=True),
    # bounced.trust.Trust; None where nothing was there to ask, and then the event counts
    Column("trust", Word),
    # the list whose mail bounced, as far as the report or the mailbox tells
    Column("list", Name, nullable=False, server_default=""),
    # who answered: the recipient's domain, and the provider where it is one of bounced.receivers
    Column("domain", Name, nullable=False, server_default=""),
    Column("provider", Word),
    UniqueConstraint("address", "dedup_key"),  # in this order it finds events by address as well
    Index(None, "domain", "occurred_at"),
    Index(None, "provider", "occurred_at"),
)

# So many hard bounces at one provider or domain that they wait for a person. Which events belong
# to one follows from its name and its window.
incident = Table(
    "incident",
    metadata,
    Column("id", Id, primary_key=True),
    Column("scope", Word, nullable=False),
    Column("name", Name, nullable=False),
    Column("begins_at", UtcDateTime, nullable=False),
    Column("ends_at", UtcDateTime, nullable=False),
    Column("state", Word, nullable=False),
    Column("usual", Float, nullable=False),  # addresses in a window, when it was opened
    Column("opened_at", UtcDateTime, nullable=False),
    Column("run_id", ForeignKey("run.id")),
    Column("decision_id", ForeignKey("decision.id")),
    UniqueConstraint("scope", "name", "begins_at"),
    _among("scope", "provider", "domain"),
    _among("state", "open", "accepted", "discarded"),
)

judgement = Table(
    "judgement",
    metadata,
    Column("event_id", ForeignKey("event.id"), primary_key=True, autoincrement=False),
    Column("outcome", Word, nullable=False),
    Column("reason", Word, nullable=False),
    Column("fault", Word, nullable=False),
    Column("confidence", Float, nullable=False),
    Column("rule", String, nullable=False),
    Column("because", Text, nullable=False),
    Column("rules_version", String, nullable=False),
    Column("judged_at", UtcDateTime, nullable=False),
    _among("outcome", "hard", "soft", "blocked", "none"),
)

address = Table(
    "address",
    metadata,
    Column("address", Address, primary_key=True),
    Column("status", Word, nullable=False),
    Column("suppressed", Boolean, nullable=False, server_default=false()),
    Column("reason", Word),
    Column("since", UtcDateTime),
    Column("expires_at", UtcDateTime),
    Column("score", Float, nullable=False, server_default="0"),
    Column("rule", String),
    Column("because", Text, nullable=False, server_default=""),
    Column("event_id", ForeignKey("event.id")),  # the event that decided
    Column("policy_version", String, nullable=False),
    Column("first_event_at", UtcDateTime),
    Column("last_event_at", UtcDateTime),
    # smtp.folded(address): what look-ups compare, while the address stays as it was mailed
    Column("folded", Address, nullable=False, server_default="", index=True),
    _among("status", "active", "soft-bounced", "hard-bounced", "blocked", "complained"),
    _suppressed_only(),
    _ending(),
)

# What a list has against an address beyond what `address` says, where scope = "list".
list_standing = Table(
    "list_standing",
    metadata,
    Column("address", Address, primary_key=True),
    Column("list", Name, primary_key=True),
    Column("status", Word, nullable=False),
    Column("suppressed", Boolean, nullable=False),
    Column("reason", Word),
    Column("since", UtcDateTime),
    Column("expires_at", UtcDateTime),
    Column("score", Float, nullable=False, server_default="0"),
    Column("rule", String),
    Column("because", Text, nullable=False, server_default=""),
    Column("event_id", ForeignKey("event.id")),
    Column("policy_version", String, nullable=False),
    Column("folded", Address, nullable=False, index=True),
    _among("status", "active", "soft-bounced", "hard-bounced", "blocked", "complained"),
    _ending(),
)

# Which addresses an unfinished or held run would newly suppress: what the brake counts.
newly_suppressed = Table(
    "newly_suppressed",
    metadata,
    Column("run_id", ForeignKey("run.id"), primary_key=True, autoincrement=False),
    Column("address", Address, primary_key=True),
)

transition = Table(
    "transition",
    metadata,
    Column("id", Id, primary_key=True),
    Column("address", Address, nullable=False, index=True),
    Column("at", UtcDateTime, nullable=False),
    Column("from_status", Word, nullable=False),
    Column("to_status", Word, nullable=False),
    Column("from_suppressed", Boolean, nullable=False),
    Column("to_suppressed", Boolean, nullable=False),
    Column("reason", Word),
    Column("rule", String),
    Column("because", Text, nullable=False),
    Column("event_id", ForeignKey("event.id")),
    Column("run_id", ForeignKey("run.id")),
    Column("actor", String, nullable=False),
    Column("policy_version", String, nullable=False),
    Column("rules_version", String),  # of the books that judged the deciding event
    Column("decision_id", ForeignKey("decision.id")),  # the operator's, where one led here
    Column("events", Text, nullable=False, server_default="[]"),  # JSON: ids of all that led here
    Column("list", Name, nullable=False, server_default=""),  # whose standing; "": on all
)

# What operators decided. Standings follow from decisions as from facts, so that taking one back
# is marking it undone and making again what it touched.
decision = Table(
    "decision",
    metadata,
    Column("id", Id, primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    Column("by", String, nullable=False),
    Column("what", String, nullable=False),
    Column("subject", Text, nullable=False, server_default=""),  # in words, for people
    Column("note", Text, nullable=False, server_default=""),
    # a decision about a run or an incident: its state without the decision, and with it
    Column("run_id", ForeignKey("run.id")),
    Column("run_without", String),
    Column("run_with", String),
    Column("undone_at", UtcDateTime),
    Column("undone_by", String),
    Column("undone_note", Text, nullable=False, server_default=""),
    _among("what", *DECISIONS),
)

# The judgements that a decision to judge again has replaced; undone, the two change places.
replaced_judgement = Table(
    "replaced_judgement",
    metadata,
    Column("decision_id", ForeignKey("decision.id"), primary_key=True, autoincrement=False),
    Column("event_id", ForeignKey("event.id"), primary_key=True, autoincrement=False),
    Column("outcome", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("fault", String, nullable=False),
    Column("confidence", Float, nullable=False),
    Column("rule", String, nullable=False),
    Column("because", Text, nullable=False),
    Column("rules_version", String, nullable=False),
    Column("judged_at", UtcDateTime, nullable=False),
)

subscriber = Table(
    "subscriber",
    metadata,
    Column("address", Address, primary_key=True),
    Column("list", Name, primary_key=True),
    Column("imported_at", UtcDateTime, nullable=False),
    Column("domain", Name, nullable=False, server_default="", index=True),
)

# Addresses that subscribers have given up for others.
moved = Table(
    "moved",
    metadata,
    Column("address", Address, primary_key=True),
    Column("became", Address, nullable=False, index=True),
    Column("at", UtcDateTime, nullable=False),
    Column("by", String, nullable=False),
)

# What is concluded of all addresses of a domain, while it holds (bounced.domains).
domain_ruling = Table(
    "domain_ruling",
    metadata,
    Column("domain", Name, primary_key=True),
    Column("reason", Word, nullable=False),
    Column("since", UtcDateTime, nullable=False),
    Column("last_at", UtcDateTime, nullable=False),
    Column("rule", String, nullable=False),
    Column("because", Text, nullable=False),
    Column("events", Text, nullable=False),  # JSON: ids
    Column("policy_version", String, nullable=False),
)

# What was sent to whom, as far as the operator tells us; by it a report is `matched`.
sent = Table(
    "sent",
    metadata,
    Column("message_id", MessageId, primary_key=True),  # without angle brackets
    Column("address", Address, primary_key=True),  # folded
    Column("imported_at", UtcDateTime, nullable=False),
)

release = Table(
    "release",
    metadata,
    Column("id", Id, primary_key=True),
    Column("address", Address, nullable=False, index=True),
    Column("at", UtcDateTime, nullable=False),
    Column("by", String, nullable=False),
    Column("note", Text, nullable=False, server_default=""),
    Column("decision_id", ForeignKey("decision.id"), index=True),
)

# What webhooks are to be told; a row goes when it was taken (bounced.ledger.outbox).
outbox = Table(
    "outbox",
    metadata,
    Column("id", Id, primary_key=True),
    Column("webhook", Name, nullable=False),
    Column("message_id", String, nullable=False),  # the same at every attempt and for all webhooks
    Column("address", Address, index=True),
    Column("payload", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("next_at", UtcDateTime, nullable=False),
    Column("last_error", Text),
    Column("dead_at", UtcDateTime),  # given up
    Index(None, "webhook", "next_at"),
)

# Who asked to be forgotten, by a hash whose key is not in the database (bounced.ledger.tombstones).
tombstone = Table(
    "tombstone",
    metadata,
    Column("digest", Word, primary_key=True),
    Column("pepper", Word, nullable=False),  # by which one pepper is told from another
    Column("at", UtcDateTime, nullable=False),
)

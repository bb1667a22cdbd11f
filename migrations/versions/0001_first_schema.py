"""The first schema: facts, conclusions, standings, and the view `suppression`."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from bounced.ledger.dialects import dialect_of

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
WORD = sa.String().with_variant(sa.String(64), "mariadb")
ADDRESS = sa.String().with_variant(sa.String(320), "mariadb")
NAME = sa.String().with_variant(sa.String(400), "mariadb")

# What other programs read. Its columns are a contract: add at the end, never rename.
# Times are stored in UTC, on SQLite as text that sorts like time, as CURRENT_TIMESTAMP's does.
SUPPRESSION = """
CREATE VIEW suppression (
    address, status, reason, since, expires_at, rule, because, said, last_event_at
) AS
SELECT a.address, a.status, a.reason, a.since, a.expires_at, a.rule, a.because,
       e.diagnostic, a.last_event_at
  FROM address AS a
  LEFT JOIN event AS e ON e.id = a.event_id
 WHERE a.suppressed AND (a.expires_at IS NULL OR a.expires_at > {now})
"""


def upgrade() -> None:
    op.create_table(
        "mailbox",
        sa.Column("id", ID, nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=True),
        sa.Column("last_uid", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("lease_owner", sa.String(), nullable=True),
        sa.Column("lease_until", TIME, nullable=True),
        sa.Column("fence", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("last_sync_at", TIME, nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mailbox")),
        sa.UniqueConstraint("name", name=op.f("uq_mailbox_name")),
    )
    op.create_table(
        "release",
        sa.Column("id", ID, nullable=False),
        sa.Column("address", ADDRESS, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("note", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_release")),
    )
    op.create_index(op.f("ix_release_address"), "release", ["address"], unique=False)
    op.create_table(
        "subscriber",
        sa.Column("address", ADDRESS, nullable=False),
        sa.Column("list", NAME, nullable=False),
        sa.Column("imported_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("address", "list", name=op.f("pk_subscriber")),
    )
    op.create_table(
        "run",
        sa.Column("id", ID, nullable=False),
        sa.Column("mailbox_id", ID, nullable=False),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("finished_at", TIME, nullable=True),
        sa.Column("state", WORD, nullable=False),
        sa.Column("decided_by", sa.String(), nullable=True),
        sa.Column("decided_at", TIME, nullable=True),
        sa.CheckConstraint(
            "state IN ('open', 'done', 'failed', 'held', 'accepted', 'discarded')",
            name=op.f("ck_run_state"),
        ),
        sa.ForeignKeyConstraint(
            ["mailbox_id"], ["mailbox.id"], name=op.f("fk_run_mailbox_id_mailbox")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run")),
    )
    op.create_index(
        op.f("ix_run_mailbox_id_finished_at"), "run", ["mailbox_id", "finished_at"], unique=False
    )
    op.create_table(
        "message",
        sa.Column("id", ID, nullable=False),
        sa.Column("mailbox_id", ID, nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("uid", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("state", WORD, nullable=False),
        sa.Column("destination", WORD, nullable=True),
        sa.Column("kind", WORD, nullable=True),
        sa.Column("format", sa.String(), nullable=True),
        sa.Column("dedup_key", WORD, nullable=True),
        sa.Column("raw_sha256", WORD, nullable=True),
        sa.Column("duplicate_of", ID, nullable=True),
        sa.Column("message_id", sa.String(), nullable=True),
        sa.Column("reporting_mta", sa.String(), nullable=True),
        sa.Column("returned_message_id", sa.String(), nullable=True),
        sa.Column("returned_subject", sa.String(), nullable=True),
        sa.Column("returned_list_id", sa.String(), nullable=True),
        sa.Column("returned_from", sa.String(), nullable=True),
        sa.Column("returned_to", sa.String(), nullable=True),
        sa.Column("problems", sa.Text(), server_default="[]", nullable=False),
        sa.Column("received_at", TIME, nullable=True),
        sa.Column("recorded_at", TIME, nullable=True),
        sa.Column("run_id", ID, nullable=True),
        sa.CheckConstraint(
            "state IN ('tried', 'recorded', 'filed')", name=op.f("ck_message_state")
        ),
        sa.ForeignKeyConstraint(
            ["duplicate_of"], ["message.id"], name=op.f("fk_message_duplicate_of_message")
        ),
        sa.ForeignKeyConstraint(
            ["mailbox_id"], ["mailbox.id"], name=op.f("fk_message_mailbox_id_mailbox")
        ),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_message_run_id_run")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_message")),
        sa.UniqueConstraint(
            "mailbox_id", "epoch", "uid", name=op.f("uq_message_mailbox_id_epoch_uid")
        ),
    )
    op.create_index(
        op.f("ix_message_mailbox_id_epoch_state"),
        "message",
        ["mailbox_id", "epoch", "state"],
        unique=False,
    )
    op.create_index(op.f("ix_message_run_id"), "message", ["run_id"], unique=False)
    op.create_table(
        "newly_suppressed",
        sa.Column("run_id", ID, autoincrement=False, nullable=False),
        sa.Column("address", ADDRESS, nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"], ["run.id"], name=op.f("fk_newly_suppressed_run_id_run")
        ),
        sa.PrimaryKeyConstraint("run_id", "address", name=op.f("pk_newly_suppressed")),
    )
    op.create_table(
        "event",
        sa.Column("id", ID, nullable=False),
        sa.Column("message_id", ID, nullable=False),
        sa.Column("dedup_key", WORD, nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("address", ADDRESS, nullable=False),
        sa.Column("recipient", sa.String(), nullable=False),
        sa.Column("original_address", sa.String(), nullable=True),
        sa.Column("action", WORD, nullable=False),
        sa.Column("kind", WORD, nullable=False),
        sa.Column("status", sa.String(), nullable=True),
        sa.Column("reply_code", sa.Integer(), nullable=True),
        sa.Column("reply_status", sa.String(), nullable=True),
        sa.Column("command", sa.String(), nullable=True),
        sa.Column("diagnostic", sa.Text(), nullable=False),
        sa.Column("diagnostic_type", sa.String(), nullable=True),
        sa.Column("remote_mta", sa.String(), nullable=True),
        sa.Column("occurred_at", TIME, nullable=False),
        sa.Column("run_id", ID, nullable=False),
        sa.ForeignKeyConstraint(
            ["message_id"], ["message.id"], name=op.f("fk_event_message_id_message")
        ),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_event_run_id_run")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event")),
        sa.UniqueConstraint("dedup_key", "address", name=op.f("uq_event_dedup_key_address")),
    )
    op.create_index(op.f("ix_event_address"), "event", ["address"], unique=False)
    op.create_index(op.f("ix_event_message_id"), "event", ["message_id"], unique=False)
    op.create_index(op.f("ix_event_run_id"), "event", ["run_id"], unique=False)
    op.create_table(
        "seen",
        sa.Column("dedup_key", WORD, nullable=False),
        sa.Column("message_id", ID, nullable=False),
        sa.ForeignKeyConstraint(
            ["message_id"], ["message.id"], name=op.f("fk_seen_message_id_message")
        ),
        sa.PrimaryKeyConstraint("dedup_key", name=op.f("pk_seen")),
    )
    op.create_table(
        "address",
        sa.Column("address", ADDRESS, nullable=False),
        sa.Column("status", WORD, nullable=False),
        sa.Column("suppressed", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("reason", WORD, nullable=True),
        sa.Column("since", TIME, nullable=True),
        sa.Column("expires_at", TIME, nullable=True),
        sa.Column("score", sa.Float(), server_default="0", nullable=False),
        sa.Column("rule", sa.String(), nullable=True),
        sa.Column("because", sa.Text(), server_default="", nullable=False),
        sa.Column("event_id", ID, nullable=True),
        sa.Column("policy_version", sa.String(), nullable=False),
        sa.Column("first_event_at", TIME, nullable=True),
        sa.Column("last_event_at", TIME, nullable=True),
        sa.CheckConstraint(
            "status IN ('active', 'soft-bounced', 'hard-bounced', 'blocked', 'complained')",
            name=op.f("ck_address_status"),
        ),
        sa.ForeignKeyConstraint(["event_id"], ["event.id"], name=op.f("fk_address_event_id_event")),
        sa.PrimaryKeyConstraint("address", name=op.f("pk_address")),
    )
    op.create_index(
        op.f("ix_address_suppressed_address"), "address", ["suppressed", "address"], unique=False
    )
    op.create_table(
        "judgement",
        sa.Column("event_id", ID, autoincrement=False, nullable=False),
        sa.Column("outcome", WORD, nullable=False),
        sa.Column("reason", WORD, nullable=False),
        sa.Column("fault", WORD, nullable=False),
        sa.Column("confidence", sa.Float(), nullable=False),
        sa.Column("rule", sa.String(), nullable=False),
        sa.Column("because", sa.Text(), nullable=False),
        sa.Column("rules_version", sa.String(), nullable=False),
        sa.Column("judged_at", TIME, nullable=False),
        sa.CheckConstraint(
            "outcome IN ('hard', 'soft', 'blocked', 'none')", name=op.f("ck_judgement_outcome")
        ),
        sa.ForeignKeyConstraint(
            ["event_id"], ["event.id"], name=op.f("fk_judgement_event_id_event")
        ),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_judgement")),
    )
    op.create_table(
        "transition",
        sa.Column("id", ID, nullable=False),
        sa.Column("address", ADDRESS, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("from_status", WORD, nullable=False),
        sa.Column("to_status", WORD, nullable=False),
        sa.Column("from_suppressed", sa.Boolean(), nullable=False),
        sa.Column("to_suppressed", sa.Boolean(), nullable=False),
        sa.Column("reason", WORD, nullable=True),
        sa.Column("rule", sa.String(), nullable=True),
        sa.Column("because", sa.Text(), nullable=False),
        sa.Column("event_id", ID, nullable=True),
        sa.Column("run_id", ID, nullable=True),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("policy_version", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["event_id"], ["event.id"], name=op.f("fk_transition_event_id_event")
        ),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_transition_run_id_run")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_transition")),
    )
    op.create_index(op.f("ix_transition_address"), "transition", ["address"], unique=False)
    op.execute(SUPPRESSION.format(now=dialect_of(op.get_bind()).view_now))


def downgrade() -> None:
    op.execute("DROP VIEW suppression")
    op.drop_table("transition")
    op.drop_table("judgement")
    op.drop_table("address")
    op.drop_table("seen")
    op.drop_table("event")
    op.drop_table("newly_suppressed")
    op.drop_table("message")
    op.drop_table("run")
    op.drop_table("subscriber")
    op.drop_table("release")
    op.drop_table("mailbox")

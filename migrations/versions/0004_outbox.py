"""What webhooks are to be told."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

ADDRESS = sa.String().with_variant(sa.String(320), "mariadb")
NAME = sa.String().with_variant(sa.String(400), "mariadb")
Id = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", Id, nullable=False),
        sa.Column("webhook", NAME, nullable=False),
        sa.Column("message_id", sa.String(), nullable=False),
        sa.Column("address", ADDRESS, nullable=True),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("dead_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
    )
    op.create_index(op.f("ix_outbox_address"), "outbox", ["address"], unique=False)
    by_turn = op.f("ix_outbox_webhook_next_at")
    op.create_index(by_turn, "outbox", ["webhook", "next_at"], unique=False)


def downgrade() -> None:
    op.drop_table("outbox")

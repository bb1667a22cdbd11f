"""How mailboxes are doing, and the sign of life of whoever empties them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

NAME = sa.String().with_variant(sa.String(400), "mariadb")


def upgrade() -> None:
    time = sa.DateTime(timezone=True)
    op.add_column("mailbox", sa.Column("last_success_at", time, nullable=True))
    op.add_column("mailbox", sa.Column("failing_since", time, nullable=True))
    op.create_table(
        "heartbeat",
        sa.Column("owner", NAME, nullable=False),
        sa.Column("started_at", time, nullable=False),
        sa.Column("beat_at", time, nullable=False),
        sa.PrimaryKeyConstraint("owner", name=op.f("pk_heartbeat")),
    )
    op.execute("UPDATE mailbox SET last_success_at = last_sync_at WHERE last_error IS NULL")
    op.execute(
        "UPDATE mailbox SET failing_since = last_sync_at"
        " WHERE last_error IS NOT NULL AND last_error <> 'stopped before the end'"
    )


def downgrade() -> None:
    op.drop_table("heartbeat")
    op.drop_column("mailbox", "failing_since")
    op.drop_column("mailbox", "last_success_at")

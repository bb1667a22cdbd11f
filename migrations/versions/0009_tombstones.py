"""Who asked to be forgotten."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

WORD = sa.String().with_variant(sa.String(64), "mariadb")


def upgrade() -> None:
    op.create_table(
        "tombstone",
        sa.Column("digest", WORD, nullable=False),
        sa.Column("pepper", WORD, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_tombstone")),
    )


def downgrade() -> None:
    op.drop_table("tombstone")

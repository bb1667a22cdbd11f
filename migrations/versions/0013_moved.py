"""Addresses that subscribers have given up for others."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

ADDRESS = sa.String().with_variant(sa.String(320), "mariadb")


def upgrade() -> None:
    op.create_table(
        "moved",
        sa.Column("address", ADDRESS, nullable=False),
        sa.Column("became", ADDRESS, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("address", name=op.f("pk_moved")),
    )
    op.create_index(op.f("ix_moved_became"), "moved", ["became"], unique=False)


def downgrade() -> None:
    op.drop_table("moved")

"""Suppressions found by the time at which they end."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

TABLES = ("address", "list_standing")
SOME = sa.text("expires_at IS NOT NULL")


def upgrade() -> None:
    for table in TABLES:
        name = op.f(f"ix_{table}_expires_at")
        op.create_index(name, table, ["expires_at"], sqlite_where=SOME, postgresql_where=SOME)


def downgrade() -> None:
    for table in TABLES:
        op.drop_index(op.f(f"ix_{table}_expires_at"), table_name=table)

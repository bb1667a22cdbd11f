"""Only suppressed addresses in the index of suppressed addresses; most are not."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

NAME = "ix_address_suppressed_address"
COLUMNS = ["suppressed", "address"]
# as SQLAlchemy asks for them: SQLite compares the words
IN_SQLITE, IN_POSTGRESQL = sa.text("suppressed = 1"), sa.text("suppressed")


def upgrade() -> None:
    if op.get_bind().dialect.name != "mariadb":  # it has no partial indices
        op.drop_index(op.f(NAME), table_name="address")
        op.create_index(
            op.f(NAME), "address", COLUMNS, sqlite_where=IN_SQLITE, postgresql_where=IN_POSTGRESQL
        )


def downgrade() -> None:
    if op.get_bind().dialect.name != "mariadb":
        op.drop_index(op.f(NAME), table_name="address")
        op.create_index(op.f(NAME), "address", COLUMNS)

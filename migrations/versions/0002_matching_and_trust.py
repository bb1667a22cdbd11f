"""Folded addresses for look-ups, trust in events, and the rules' version in the audit."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from bounced.ledger.dialects import dialect_of
from bounced.smtp import folded

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

COLUMNS = "address, status, reason, since, expires_at, rule, because, said, last_event_at"
SUPPRESSION = """
CREATE VIEW suppression ({columns}) AS
SELECT a.address, a.status, a.reason, a.since, a.expires_at, a.rule, a.because,
       e.diagnostic, a.last_event_at{more}
  FROM address AS a
  LEFT JOIN event AS e ON e.id = a.event_id
 WHERE a.suppressed AND (a.expires_at IS NULL OR a.expires_at > {now})
"""
CHUNK = 5000
WORD = sa.String().with_variant(sa.String(64), "mariadb")
ADDRESS = sa.String().with_variant(sa.String(320), "mariadb")
MESSAGE_ID = sa.String().with_variant(sa.String(448), "mariadb")


def upgrade() -> None:
    op.execute("DROP VIEW suppression")
    op.add_column("transition", sa.Column("rules_version", sa.String(), nullable=True))
    op.add_column("event", sa.Column("trust", WORD, nullable=True))
    op.create_table(
        "sent",
        sa.Column("message_id", MESSAGE_ID, nullable=False),
        sa.Column("address", ADDRESS, nullable=False),
        sa.Column("imported_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("message_id", "address", name=op.f("pk_sent")),
    )
    op.add_column("address", sa.Column("folded", ADDRESS, server_default="", nullable=False))
    _fold()
    op.create_index(op.f("ix_address_folded"), "address", ["folded"], unique=False)
    _view(f"{COLUMNS}, folded", ", a.folded")


def _view(columns: str, more: str) -> None:
    now = dialect_of(op.get_bind()).view_now
    op.execute(SUPPRESSION.format(columns=columns, more=more, now=now))


def _fold() -> None:
    """Fill the new column; only Python folds all letters alike on every database."""
    connection = op.get_bind()
    table = sa.table("address", sa.column("address", sa.String), sa.column("folded", sa.String))
    change = sa.update(table).where(table.c.address == sa.bindparam("whose"))
    change = change.values(folded=sa.bindparam("as_matched"))
    last = ""
    while True:
        query = sa.select(table.c.address).where(table.c.address > last)
        some = list(connection.execute(query.order_by(table.c.address).limit(CHUNK)).scalars())
        if not some:
            return
        connection.execute(change, [{"whose": one, "as_matched": folded(one)} for one in some])
        last = some[-1]


def downgrade() -> None:
    op.execute("DROP VIEW suppression")
    op.drop_index(op.f("ix_address_folded"), table_name="address")
    op.drop_column("address", "folded")
    op.drop_table("sent")
    op.drop_column("event", "trust")
    op.drop_column("transition", "rules_version")
    _view(COLUMNS, "")

"""Lists: whose mail bounced, and standings of their own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from bounced.ledger.dialects import dialect_of

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

WORD = sa.String().with_variant(sa.String(64), "mariadb")
ADDRESS = sa.String().with_variant(sa.String(320), "mariadb")
NAME = sa.String().with_variant(sa.String(400), "mariadb")
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
STATUSES = ("active", "soft-bounced", "hard-bounced", "blocked", "complained")
COLUMNS = "address, status, reason, since, expires_at, rule, because, said, last_event_at, folded"
OF_ALL = """
CREATE VIEW suppression ({columns}) AS
SELECT a.address, a.status, a.reason, a.since, a.expires_at, a.rule, a.because,
       e.diagnostic, a.last_event_at, a.folded{more}
  FROM address AS a
  LEFT JOIN event AS e ON e.id = a.event_id
 WHERE a.suppressed AND (a.expires_at IS NULL OR a.expires_at > {now})
"""
OF_LISTS = """
 UNION ALL
SELECT s.address, s.status, s.reason, s.since, s.expires_at, s.rule, s.because,
       e.diagnostic, a.last_event_at, s.folded, s.list
  FROM list_standing AS s
  JOIN address AS a ON a.address = s.address
  LEFT JOIN event AS e ON e.id = s.event_id
 WHERE s.suppressed AND (s.expires_at IS NULL OR s.expires_at > {now})
"""


def upgrade() -> None:
    op.execute("DROP VIEW suppression")
    for table in ("event", "transition"):
        op.add_column(table, sa.Column("list", NAME, server_default="", nullable=False))
    op.create_table(
        "list_standing",
        sa.Column("address", ADDRESS, nullable=False),
        sa.Column("list", NAME, nullable=False),
        sa.Column("status", WORD, nullable=False),
        sa.Column("suppressed", sa.Boolean(), nullable=False),
        sa.Column("reason", WORD, nullable=True),
        sa.Column("since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("score", sa.Float(), server_default="0", nullable=False),
        sa.Column("rule", sa.String(), nullable=True),
        sa.Column("because", sa.Text(), server_default="", nullable=False),
        sa.Column("event_id", ID, nullable=True),
        sa.Column("policy_version", sa.String(), nullable=False),
        sa.Column("folded", ADDRESS, nullable=False),
        sa.CheckConstraint(
            f"status IN ({', '.join(map(repr, STATUSES))})", name=op.f("ck_list_standing_status")
        ),
        sa.ForeignKeyConstraint(
            ["event_id"], ["event.id"], name=op.f("fk_list_standing_event_id_event")
        ),
        sa.PrimaryKeyConstraint("address", "list", name=op.f("pk_list_standing")),
    )
    op.create_index(op.f("ix_list_standing_folded"), "list_standing", ["folded"], unique=False)
    now = dialect_of(op.get_bind()).view_now
    of_all = OF_ALL.format(columns=f"{COLUMNS}, list", more=", ''", now=now)
    op.execute(of_all + OF_LISTS.format(now=now))


def downgrade() -> None:
    op.execute("DROP VIEW suppression")
    op.drop_index(op.f("ix_list_standing_folded"), table_name="list_standing")
    op.drop_table("list_standing")
    op.drop_column("transition", "list")
    op.drop_column("event", "list")
    now = dialect_of(op.get_bind()).view_now
    op.execute(OF_ALL.format(columns=COLUMNS, more="", now=now))

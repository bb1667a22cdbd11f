"""Whole domains: what is concluded of them, and which subscribers are there."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

WORD = sa.String().with_variant(sa.String(64), "mariadb")
NAME = sa.String().with_variant(sa.String(400), "mariadb")
CHUNK = 5000


def upgrade() -> None:
    op.add_column("subscriber", sa.Column("domain", NAME, server_default="", nullable=False))
    _fill()
    op.create_index(op.f("ix_subscriber_domain"), "subscriber", ["domain"], unique=False)
    op.create_table(
        "domain_ruling",
        sa.Column("domain", NAME, nullable=False),
        sa.Column("reason", WORD, nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("rule", sa.String(), nullable=False),
        sa.Column("because", sa.Text(), nullable=False),
        sa.Column("events", sa.Text(), nullable=False),
        sa.Column("policy_version", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("domain", name=op.f("pk_domain_ruling")),
    )


def _fill() -> None:
    """Say at which domain the subscribers from before are."""
    connection = op.get_bind()
    subscriber = sa.table("subscriber", sa.column("address"), sa.column("domain"))
    change = sa.update(subscriber).where(subscriber.c.address == sa.bindparam("whose"))
    change = change.values(domain=sa.bindparam("at"))
    last = ""
    while True:
        query = sa.select(subscriber.c.address).distinct().where(subscriber.c.address > last)
        query = query.order_by(subscriber.c.address).limit(CHUNK)
        some = list(connection.execute(query).scalars())
        if not some:
            return
        connection.execute(change, [{"whose": one, "at": one.rpartition("@")[2]} for one in some])
        last = some[-1]


def downgrade() -> None:
    op.drop_table("domain_ruling")
    op.drop_index(op.f("ix_subscriber_domain"), table_name="subscriber")
    op.drop_column("subscriber", "domain")

"""Who answered, and incidents: too many hard bounces at one provider or domain."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from bounced.receivers import receiver_of

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

WORD = sa.String().with_variant(sa.String(64), "mariadb")
NAME = sa.String().with_variant(sa.String(400), "mariadb")
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
CHUNK = 5000


def upgrade() -> None:
    op.add_column("event", sa.Column("domain", NAME, server_default="", nullable=False))
    op.add_column("event", sa.Column("provider", WORD, nullable=True))
    _fill()
    for name in ("domain", "provider"):
        index = op.f(f"ix_event_{name}_occurred_at")
        op.create_index(index, "event", [name, "occurred_at"], unique=False)
    time = sa.DateTime(timezone=True)
    op.create_table(
        "incident",
        sa.Column("id", ID, nullable=False),
        sa.Column("scope", WORD, nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("begins_at", time, nullable=False),
        sa.Column("ends_at", time, nullable=False),
        sa.Column("state", WORD, nullable=False),
        sa.Column("usual", sa.Float(), nullable=False),
        sa.Column("opened_at", time, nullable=False),
        sa.Column("run_id", ID, nullable=True),
        sa.Column("decision_id", ID, nullable=True),
        sa.CheckConstraint("scope IN ('provider', 'domain')", name=op.f("ck_incident_scope")),
        sa.CheckConstraint(
            "state IN ('open', 'accepted', 'discarded')", name=op.f("ck_incident_state")
        ),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_incident_run_id_run")),
        sa.ForeignKeyConstraint(
            ["decision_id"], ["decision.id"], name=op.f("fk_incident_decision_id_decision")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_incident")),
        sa.UniqueConstraint(
            "scope", "name", "begins_at", name=op.f("uq_incident_scope_name_begins_at")
        ),
    )


def _fill() -> None:
    """Say of events from before who answered."""
    connection = op.get_bind()
    names = ("id", "address", "remote_mta", "domain", "provider")
    event = sa.table("event", *map(sa.column, names))
    change = sa.update(event).where(event.c.id == sa.bindparam("this"))
    change = change.values(domain=sa.bindparam("at"), provider=sa.bindparam("by"))
    last = 0
    while True:
        query = sa.select(event.c.id, event.c.address, event.c.remote_mta)
        query = query.where(event.c.id > last).order_by(event.c.id).limit(CHUNK)
        some = connection.execute(query).all()
        if not some:
            return
        told = [(row, row.address.rpartition("@")[2]) for row in some]
        rows = [
            {"this": row.id, "at": domain, "by": receiver_of(row.remote_mta, domain)}
            for row, domain in told
        ]
        connection.execute(change, rows)
        last = some[-1].id


def downgrade() -> None:
    op.drop_table("incident")
    for name in ("domain", "provider"):
        op.drop_index(op.f(f"ix_event_{name}_occurred_at"), table_name="event")
    op.drop_column("event", "provider")
    op.drop_column("event", "domain")

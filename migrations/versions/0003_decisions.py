"""Operators' decisions as rows of their own, so that each can be taken back."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

WHAT = ("release", "accept", "discard", "import", "reclassify", "incident")
RUN = ("run_id", "run_without", "run_with")
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _decision()
    _replaced_judgement()
    with op.batch_alter_table("release") as batch:
        batch.add_column(sa.Column("decision_id", ID, nullable=True))
        batch.create_foreign_key(
            op.f("fk_release_decision_id_decision"), "decision", ["decision_id"], ["id"]
        )
    op.create_index(op.f("ix_release_decision_id"), "release", ["decision_id"], unique=False)
    with op.batch_alter_table("transition") as batch:
        batch.add_column(sa.Column("decision_id", ID, nullable=True))
        batch.add_column(sa.Column("events", sa.Text(), server_default="[]", nullable=False))
        batch.create_foreign_key(
            op.f("fk_transition_decision_id_decision"), "decision", ["decision_id"], ["id"]
        )
    _decided_before()


def _decision() -> None:
    time = sa.DateTime(timezone=True)
    op.create_table(
        "decision",
        sa.Column("id", ID, nullable=False),
        sa.Column("at", time, nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("what", sa.String(), nullable=False),
        sa.Column("subject", sa.Text(), server_default="", nullable=False),
        sa.Column("note", sa.Text(), server_default="", nullable=False),
        sa.Column("run_id", ID, nullable=True),
        sa.Column("run_without", sa.String(), nullable=True),
        sa.Column("run_with", sa.String(), nullable=True),
        sa.Column("undone_at", time, nullable=True),
        sa.Column("undone_by", sa.String(), nullable=True),
        sa.Column("undone_note", sa.Text(), server_default="", nullable=False),
        sa.CheckConstraint(
            f"what IN ({', '.join(map(repr, WHAT))})", name=op.f("ck_decision_what")
        ),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_decision_run_id_run")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_decision")),
    )


def _replaced_judgement() -> None:
    words = ("outcome", "reason", "fault")
    op.create_table(
        "replaced_judgement",
        sa.Column("decision_id", ID, autoincrement=False, nullable=False),
        sa.Column("event_id", ID, autoincrement=False, nullable=False),
        *(sa.Column(name, sa.String(), nullable=False) for name in words),
        sa.Column("confidence", sa.Float(), nullable=False),
        sa.Column("rule", sa.String(), nullable=False),
        sa.Column("because", sa.Text(), nullable=False),
        sa.Column("rules_version", sa.String(), nullable=False),
        sa.Column("judged_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["decision_id"],
            ["decision.id"],
            name=op.f("fk_replaced_judgement_decision_id_decision"),
        ),
        sa.ForeignKeyConstraint(
            ["event_id"], ["event.id"], name=op.f("fk_replaced_judgement_event_id_event")
        ),
        sa.PrimaryKeyConstraint("decision_id", "event_id", name=op.f("pk_replaced_judgement")),
    )


def _decided_before() -> None:
    """Releases and words on held runs from before can be taken back like those to come."""
    decision = sa.table("decision", *map(sa.column, ("id", "at", "by", "what", "note", *RUN)))
    release = sa.table("release", *map(sa.column, ("at", "by", "note", "decision_id")))
    run = sa.table("run", *map(sa.column, ("id", "state", "decided_by", "decided_at")))
    same = [release.c[name] for name in ("at", "by", "note")]
    released = sa.select(*same, sa.literal("release")).distinct()
    op.execute(decision.insert().from_select(["at", "by", "note", "what"], released))
    of_it = sa.and_(*(decision.c[name] == release.c[name] for name in ("at", "by", "note")))
    number = sa.select(sa.func.min(decision.c.id)).where(of_it).scalar_subquery()
    op.execute(release.update().values(decision_id=number))
    word = sa.case((run.c.state == "accepted", "accept"), else_="discard")
    words = (run.c.decided_at, run.c.decided_by, word, run.c.id, sa.literal("held"), run.c.state)
    decided = sa.select(*words).where(
        run.c.state.in_(("accepted", "discarded")), run.c.decided_by.is_not(None)
    )
    op.execute(decision.insert().from_select(["at", "by", "what", *RUN], decided))


def downgrade() -> None:
    with op.batch_alter_table("transition") as batch:
        batch.drop_constraint(op.f("fk_transition_decision_id_decision"), type_="foreignkey")
        batch.drop_column("events")
        batch.drop_column("decision_id")
    decision = sa.table("decision", sa.column("id"), sa.column("undone_at"))
    release = sa.table("release", sa.column("decision_id"))
    undone = sa.select(decision.c.id).where(decision.c.undone_at.is_not(None))
    op.execute(sa.delete(release).where(release.c.decision_id.in_(undone)))
    with op.batch_alter_table("release") as batch:
        batch.drop_constraint(op.f("fk_release_decision_id_decision"), type_="foreignkey")
    op.drop_index(op.f("ix_release_decision_id"), table_name="release")
    with op.batch_alter_table("release") as batch:
        batch.drop_column("decision_id")
    op.drop_table("replaced_judgement")
    op.drop_table("decision")

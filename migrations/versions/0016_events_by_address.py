"""One index for the address of an event and for its uniqueness."""

from __future__ import annotations

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

BEFORE = ["dedup_key", "address"]
AFTER = ["address", "dedup_key"]


def upgrade() -> None:
    op.drop_index(op.f("ix_event_address"), table_name="event")
    _replace(BEFORE, AFTER)


def downgrade() -> None:
    _replace(AFTER, BEFORE)
    op.create_index(op.f("ix_event_address"), "event", ["address"], unique=False)


def _replace(one: list[str], other: list[str]) -> None:
    old, new = (op.f(f"uq_event_{'_'.join(columns)}") for columns in (one, other))
    if op.get_bind().dialect.name == "sqlite":
        _make_anew(old, new, other)
    else:
        op.create_unique_constraint(new, "event", other)
        op.drop_constraint(old, "event", type_="unique")


def _make_anew(old: str, new: str, columns: list[str]) -> None:
    """SQLite's constraints are part of the table, of which no view or trigger may speak meanwhile.

    They come back as they were, an operator's own as well.
    """
    bind = op.get_bind()
    speaking = "SELECT type, name, sql FROM sqlite_master WHERE type IN ('view', 'trigger')"
    kept = bind.exec_driver_sql(f"{speaking} ORDER BY type DESC").all()  # triggers may be on views
    quote = bind.dialect.identifier_preparer.quote_identifier
    for kind, name, _ in reversed(kept):
        bind.exec_driver_sql(f"DROP {kind} {quote(name)}")
    with op.batch_alter_table("event", recreate="always") as batch:
        batch.drop_constraint(old, type_="unique")
        batch.create_unique_constraint(new, columns)
    for *_, words in kept:
        bind.exec_driver_sql(words)

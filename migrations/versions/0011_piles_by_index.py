"""Letters counted by state and pile without a look at the letters themselves."""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

BEFORE = ["mailbox_id", "epoch", "state"]
AFTER = [*BEFORE, "destination"]


def upgrade() -> None:
    _change(BEFORE, AFTER)


def downgrade() -> None:
    _change(AFTER, BEFORE)


def _change(one: list[str], other: list[str]) -> None:
    op.create_index(op.f(f"ix_message_{'_'.join(other)}"), "message", other, unique=False)
    op.drop_index(op.f(f"ix_message_{'_'.join(one)}"), table_name="message")

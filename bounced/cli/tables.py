"""Tables for people, through rich; what came from mail is shown as text, never as markup."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any

from bounced.text import safe

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# Where nobody's terminal sets the width (a pipe, a log), long replies still stay readable.
PLAIN_WIDTH = 150


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str = "") -> None:
    """One row a line: what is too long is cut, the widest columns first, with an ellipsis."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*(Text(cell(one), no_wrap=True, overflow="ellipsis") for one in row))
    width = None if sys.stdout.isatty() else PLAIN_WIDTH
    Console(file=sys.stdout, width=width, highlight=False).print(table)


def cell(value: Any) -> str:
    """A value as people read it: no times to the microsecond, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%MZ}"
    if isinstance(value, Enum):
        return str(value.value)
    return safe(str(value))

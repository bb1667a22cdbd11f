"""Tables for people, through rich; what came from mail is shown as text, never as markup."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any

import click

from bounced.text import safe

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# Where nobody's terminal sets the width (a pipe, a log), long replies still stay readable.
PLAIN_WIDTH = 150


# A column of words narrower than this says nothing any more.
LEGIBLE = 14


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str = "") -> None:
    """One row a line: words that are too long are cut with an ellipsis, numbers and times never.

    Where a terminal is too narrow for that, each row is printed as a paragraph, and nothing cut.
    """
    from rich import box
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    values = [tuple(row) for row in rows]
    texts = [tuple(cell(one) for one in row) for row in values]
    console = Console(
        file=sys.stdout, width=None if sys.stdout.isatty() else PLAIN_WIDTH, highlight=False
    )
    table = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    needed = 0
    for number, column in enumerate(columns):
        whole = all(isinstance(row[number], int | datetime | None) for row in values)
        width = max(cell_len(text) for text in (column, *(row[number] for row in texts)))
        needed += 3 + (width if whole else min(width, LEGIBLE))
        table.add_column(column, no_wrap=whole)
    if needed > console.width:
        _print_paragraphs(columns, texts, title)
        return
    for row in texts:
        table.add_row(*(Text(one, no_wrap=True, overflow="ellipsis") for one in row))
    console.print(table)


def _print_paragraphs(columns: Sequence[str], texts: Sequence[Sequence[str]], title: str) -> None:
    if title:
        click.echo(title)
    width = max(map(len, columns))
    for row in texts:
        click.echo()
        for column, text in zip(columns, row, strict=True):
            if text:
                click.echo(f"{column:<{width}}  {text}")
    click.echo()


def counted(number: int, one: str, many: str = "") -> str:
    """A number with its noun: `1 address`, `2 addresses`; many is one with an s unless given."""
    return f"{number} {one if number == 1 else many or one + 's'}"


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

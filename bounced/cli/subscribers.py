"""`bounced subscribers`: the list as it is mailed, so that the brake knows its size."""

from __future__ import annotations

import csv
import re
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from bounced.cli.settings import Settings, ledger_options, on_a_terminal, operator, say
from bounced.text import safe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

# What the column that holds the address is called in the files that list software writes.
ADDRESS_COLUMNS = ("email", "e-mail", "address", "email address", "e-mail address", "mail")
MAX_LINE = 65_536
STEP = 1000  # rows between two looks at the bar
# RFC 5321, 4.5.3.1.3: a path is at most 256 octets, two of them angle brackets
MAX_ADDRESS = 254
# blanks, brackets, and letters of another charset that could not be read
_NOT_IN_ADDRESSES = re.compile("[\\s<>\0\ufffd\ud800-\udfff]")


@click.group()
def subscribers() -> None:
    """The addresses that are mailed."""


@subscribers.command("import")
@click.argument("path", type=click.Path(allow_dash=True))
@click.option("--list", "list_name", default="", metavar="NAME", help="The list they belong to.")
@ledger_options
@click.pass_obj
@click.pass_context
def import_file(context: click.Context, settings: Settings, path: str, list_name: str) -> None:
    """Add the addresses of a CSV file with a header row; those known already stay as they are.

    Without --list, a column `list` says on which list each is. Lines with an address that was
    renamed since mean the new one.
    """
    from bounced.cli.failures import Exit
    from bounced.cli.tables import counted

    # a letter in another charset must not stop an import: its line is told and left out
    with click.open_file(path, encoding="utf-8-sig", errors="replace") as file:
        sheet = Sheet(file, list_name)
        with settings.ledger(create=True) as ledger, _bar(path) as show:
            rows = _shown(sheet, show)
            new = ledger.import_subscribers(rows, at=datetime.now(UTC))
    read = counted(sheet.good, "address", "addresses")
    click.echo(f"{read} read, {new} new, {counted(sheet.bad, 'line')} not usable.")
    context.exit(Exit.PERSON_NEEDED if sheet.bad else Exit.DONE)


@subscribers.command("export")
@click.option("--list", "list_name", metavar="NAME", help="Only who is on this list.")
@ledger_options
@click.pass_obj
def export_file(settings: Settings, list_name: str | None) -> None:
    """Print who is on the lists as CSV: address, list, and when it was imported."""
    from bounced.ledger.rows import SubscriberRow
    from bounced.report import write_csv

    with settings.ledger() as ledger:
        columns = tuple(SubscriberRow.__dataclass_fields__)
        write_csv(ledger.subscribers(on=list_name), columns, sys.stdout)


@subscribers.command()
@click.argument("old")
@click.argument("new")
@ledger_options
@click.pass_obj
def rename(settings: Settings, old: str, new: str) -> None:
    """Let the subscriber OLD be NEW on all of their lists, after a change of address.

    What is on record of either stays its own: a dead old address does not harm the new one.
    """
    if not is_address(new):
        raise click.UsageError(f"{safe(new)} is no address")
    with settings.ledger() as ledger:
        lists = ledger.rename_subscriber(old, new, by=operator(), at=datetime.now(UTC))
    names = ", ".join(name or "(unnamed)" for name in lists)
    click.echo(f"{safe(old)} is {safe(new)} now, on: {safe(names)}")


@contextmanager
def _bar(path: str) -> Iterator[Callable[[int], object]]:
    """Something to be told how many characters are read; a bar on a terminal."""
    if path == "-" or not on_a_terminal():
        yield lambda _done: None
        return
    from bounced.cli.progress import filling

    with filling(Path(path).name, Path(path).stat().st_size) as show:
        yield show


def _shown(sheet: Sheet, show: Callable[[int], object]) -> Iterator[tuple[str, str]]:
    for number, row in enumerate(sheet.rows()):
        if number % STEP == 0:
            show(sheet.read)
        yield row


class Sheet:
    """A CSV file with a header row, read line by line; what cannot be used is told and counted."""

    def __init__(self, file: IO[str], list_name: str) -> None:
        self.good = 0
        self.bad = 0
        self.read = 0  # characters
        self._list = list_name
        first = file.readline(MAX_LINE)
        self._delimiter = max(",;\t", key=first.count)
        header = next(csv.reader([first], delimiter=self._delimiter), [])
        names = [name.strip().lower() for name in header]
        columns = [names.index(name) for name in ADDRESS_COLUMNS if name in names]
        if not columns:
            raise click.UsageError(
                f"the first line names no column {', '.join(ADDRESS_COLUMNS[:3])}; "
                f"it holds: {safe(first.strip())[:200] or 'nothing'}"
            )
        self._column = columns[0]
        self._list_column = names.index("list") if "list" in names and not list_name else None
        self._file = file

    def rows(self) -> Iterator[tuple[str, str]]:
        """(address, list) of every usable line."""
        # One line, one address: a stray quote must not swallow the lines after it.
        for number, line in enumerate(self._file, 2):
            self.read += len(line)
            if not line.strip():
                continue
            cells = next(csv.reader([line], delimiter=self._delimiter), [])
            address = cells[self._column].strip() if len(cells) > self._column else ""
            if is_address(address):
                self.good += 1
                yield address, self._list_of(cells)
            else:
                self.bad += 1
                say(f"line {number}: no address: {line.strip()[:80]}")

    def _list_of(self, cells: Sequence[str]) -> str:
        if self._list_column is None or self._list_column >= len(cells):
            return self._list
        return cells[self._list_column].strip()


def is_address(text: str) -> bool:
    """Whether a cell can be one address, loosely; never for one with broken letters in it."""
    local, _, domain = text.rpartition("@")
    wrong = not local or not domain or len(text.encode(errors="replace")) > MAX_ADDRESS
    return not wrong and _NOT_IN_ADDRESSES.search(text) is None

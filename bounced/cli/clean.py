"""`bounced clean`: a mailing list, split into whom to mail, whom not to, and whom not now."""

from __future__ import annotations

import csv
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import click

from bounced.cli.settings import (
    Settings,
    ledger_options,
    on_list_option,
    see_that_it_is_a_list,
)
from bounced.cli.subscribers import ADDRESS_COLUMNS, MAX_LINE, is_address
from bounced.smtp import folded
from bounced.text import safe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from bounced.ledger import Clearance, Ledger

PILES: Final = ("send", "suppress", "hold")
# What is said of an address that is not to be mailed, behind the list's own columns.
SAID: Final = ("bounced_reason", "bounced_since", "bounced_until", "bounced_because")
# Rows that are held in memory at once: fewer, where each has many columns.
MOST_ROWS: Final = 200_000
MOST_CELLS: Final = 1_000_000
NO_ADDRESS: Final = "no_address"


@click.command()
@click.argument("path", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--column", metavar="NAME", help="The column that holds the address.")
@click.option("--json", "as_json", is_flag=True, help="Print the counts as one JSON object.")
@on_list_option
@ledger_options
@click.pass_obj
def clean(
    settings: Settings, path: Path, *, column: str | None, as_json: bool, on_list: str | None
) -> None:
    """Split the mailing list PATH into LIST.send.csv, LIST.suppress.csv and LIST.hold.csv.

    All columns stay; those not to be mailed get four more that say why. LIST.hold.csv has those of
    whom nobody can say yet: one hard bounce a short while ago, a run that waits for your
    decision, or a line without a usable address (then it exits 1). Files of these names are
    overwritten.
    """
    from bounced.report import json_line

    now = datetime.now(UTC)
    with settings.ledger() as ledger, opened(path, column) as mailing_list:
        see_that_it_is_a_list(ledger, on_list)
        counts = split(ledger, mailing_list, path, now, on_list)
    files = {pile: str(target(path, pile)) for pile in PILES}
    if as_json:
        told = [{"pile": p, "reason": r, "addresses": n} for (p, r), n in counts.most_common()]
        click.echo(json_line({"files": files, "counts": told}))
    else:
        _tell(counts, files)
    _exit(counts)


def _tell(counts: Counter[tuple[str, str]], files: dict[str, str]) -> None:
    for pile in PILES:
        reasons = {reason: n for (name, reason), n in counts.items() if name == pile}
        click.echo(f"{sum(reasons.values()):>9}  {pile:<8}  {safe(files[pile])}")
        for reason, number in sorted(reasons.items(), key=lambda pair: -pair[1]):
            if reason:
                click.echo(f"{number:>9}    {safe(reason)}")


def _exit(counts: Counter[tuple[str, str]]) -> None:
    from bounced.cli.failures import Exit

    if counts["hold", NO_ADDRESS]:
        raise click.exceptions.Exit(Exit.PERSON_NEEDED)


@dataclass(slots=True)
class MailingList:
    """A list as it lies in its file: rows of cells, one of which holds the address."""

    rows: Iterator[list[str]]
    header: list[str] | None
    column: int
    width: int
    encoding: str
    delimiter: str
    line_end: str

    def address(self, row: Sequence[str]) -> str | None:
        """The row's address; None where it has none, or where the row is not to be trusted.

        More cells than columns, or an address over two lines, come of a quote gone astray.
        """
        if not self.column < len(row) <= self.width:
            return None
        cell = row[self.column].strip()
        if cell.endswith(">"):
            cell = cell[cell.rfind("<") + 1 : -1].strip()
        return cell if is_address(cell) else None


@contextmanager
def opened(path: Path, column: str | None) -> Iterator[MailingList]:
    """The list with its separator, charset and address column found out. Raises UsageError.

    Bytes that are no UTF-8 come out again as they went in.
    """
    encoding = _encoding(path)
    with path.open(encoding=encoding, errors="surrogateescape", newline="") as file:
        first = file.readline(MAX_LINE)
        delimiter = max(",;\t", key=first.count)
        file.seek(0)
        rows = _rows(file, delimiter)
        head = next(rows, [])
        at, has_header = _column(head, column)
        if not has_header:
            rows = _chain(head, rows)
        end = "\r\n" if first.endswith("\r\n") else "\n"
        header = head if has_header else None
        yield MailingList(rows, header, at, len(head), encoding, delimiter, end)


def _rows(file: IO[str], delimiter: str) -> Iterator[list[str]]:
    reader = csv.reader(file, delimiter=delimiter)
    try:
        yield from (row for row in reader if row)
    except (csv.Error, UnicodeError) as problem:
        raise click.UsageError(
            f"the list cannot be read after line {reader.line_num} ({problem}); is there a quote "
            "without its partner? No file was written."
        ) from None


def _chain(first: list[str], rows: Iterable[list[str]]) -> Iterator[list[str]]:
    yield first
    yield from rows


def _encoding(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(3)
    if start[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        return "utf-16"
    return "utf-8-sig" if start == b"\xef\xbb\xbf" else "utf-8"


def _column(head: Sequence[str], wanted: str | None) -> tuple[int, bool]:
    """Which cell holds the address, and whether the first line is a header."""
    names = [cell.strip().lower() for cell in head]
    for name in (wanted.strip().lower(),) if wanted is not None else ADDRESS_COLUMNS:
        if name in names:
            return names.index(name), True
    for number, cell in enumerate(head):
        if wanted is None and is_address(cell.strip()):
            return number, False
    raise click.UsageError(
        f"the first line names no column {wanted or ', '.join(ADDRESS_COLUMNS[:3])}; "
        f"it holds: {safe(', '.join(head))[:200] or 'nothing'}"
    )


def target(path: Path, pile: str) -> Path:
    """Where a pile goes: LIST.send.csv beside LIST.csv."""
    return path.with_name(f"{path.stem}.{pile}{path.suffix}")


def split(
    ledger: Ledger, mailing_list: MailingList, path: Path, at: datetime, on: str | None = None
) -> Counter[tuple[str, str]]:
    """Write the three files, whole or not at all; rows by (pile, reason)."""
    counts: Counter[tuple[str, str]] = Counter()

    def unclear(matched: Iterable[str]) -> Mapping[str, Clearance]:
        return ledger.unclear(matched, at=at, on=on)

    with _writers(mailing_list, path) as writers:
        size = max(1, min(MOST_ROWS, MOST_CELLS // max(1, mailing_list.width)))
        while window := list(islice(mailing_list.rows, size)):
            _one_window(unclear, mailing_list, window, writers, counts)
    return counts


def _one_window(
    asked: Callable[[Iterable[str]], Mapping[str, Clearance]],
    mailing_list: MailingList,
    window: list[list[str]],
    writers: dict[str, Any],
    counts: Counter[tuple[str, str]],
) -> None:
    addresses = [mailing_list.address(row) for row in window]
    matched = [None if one is None else folded(one) for one in addresses]
    unclear = asked(one for one in matched if one is not None)
    said: tuple[str, ...]
    for row, key in zip(window, matched, strict=True):
        told = None if key is None else unclear.get(key)
        if key is not None and told is None:
            pile, reason, said = "send", "", ()
        elif told is None:
            pile, reason, said = "hold", NO_ADDRESS, (NO_ADDRESS, "", "", "No usable address.")
        else:
            pile = "suppress" if told.suppressed else "hold"
            reason, said = told.reason, _said(told)
        counts[pile, reason] += 1
        padding = [""] * (mailing_list.width - len(row)) if said else ()
        writers[pile].writerow((*row, *padding, *said))


def _said(told: Clearance) -> tuple[str, ...]:
    return told.reason, _time(told.since), _time(told.until), safe(told.because)


def _time(when: datetime | None) -> str:
    return "" if when is None else f"{when:%Y-%m-%dT%H:%M:%SZ}"


@contextmanager
def _writers(mailing_list: MailingList, path: Path) -> Iterator[dict[str, Any]]:
    """A CSV writer for each pile; their files get their names when all is written."""
    targets = {pile: target(path, pile) for pile in PILES}
    parts = {pile: one.with_name(f"{one.name}.part") for pile, one in targets.items()}
    try:
        with ExitStack() as stack:
            writers = {}
            for pile, part in parts.items():
                file = stack.enter_context(_create(part, mailing_list))
                writers[pile] = _writer(file, mailing_list, pile)
            yield writers
        for pile, part in parts.items():
            part.replace(targets[pile])
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)


def _create(part: Path, mailing_list: MailingList) -> IO[str]:
    return part.open("w", encoding=mailing_list.encoding, errors="surrogateescape", newline="")


def _writer(file: IO[str], mailing_list: MailingList, pile: str) -> Any:
    writer = csv.writer(
        file, delimiter=mailing_list.delimiter, lineterminator=mailing_list.line_end
    )
    if mailing_list.header is not None:
        writer.writerow((*mailing_list.header, *(() if pile == "send" else SAID)))
    return writer

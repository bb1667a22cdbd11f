r"""Any row of the ledger, or any mapping, written for machines.

What came from mail is never trusted to be one harmless line: CSV cells go through `safe()`, and
JSON keeps every character but shows what could steer a terminal as `\uXXXX`.
"""

from __future__ import annotations

import csv
import dataclasses
import json
from datetime import UTC, datetime
from enum import Enum
from typing import IO, TYPE_CHECKING, Any, Final

from bounced.model import EnhancedStatus
from bounced.text import safe

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# A spreadsheet takes a cell that begins so for a formula, or for a way round that rule.
FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r")


def write_csv(
    rows: Iterable[Any], columns: Sequence[str], out: IO[str], *, for_spreadsheet: bool = False
) -> int:
    """A header and one line a row; returns the number of rows.

    Cells are written as they are for machines; `for_spreadsheet` puts an apostrophe before those
    that a spreadsheet would calculate.
    """
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    count = 0
    for count, row in enumerate(rows, 1):  # noqa: B007 - the last number is the answer
        writer.writerow([_cell(getattr(row, column), for_spreadsheet) for column in columns])
    return count


def write_json(rows: Iterable[Any], out: IO[str]) -> int:
    """One JSON object a line; returns the number of rows."""
    count = 0
    for count, row in enumerate(rows, 1):  # noqa: B007
        out.write(json_line(row) + "\n")
    return count


def json_line(value: Any) -> str:
    r"""Lossless JSON on one line, in UTF-8, with steering characters as `\uXXXX`."""
    text = json.dumps(plain(value), ensure_ascii=False)
    if safe(text) == text:
        return text
    return "".join(char if safe(char) == char else f"\\u{ord(char):04x}" for char in text)


def plain(value: Any) -> Any:
    """The value in what JSON knows: dataclasses as objects, times as UTC ISO 8601, enums' words."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {part.name: plain(getattr(value, part.name)) for part in dataclasses.fields(value)}
    if isinstance(value, datetime):
        return _time(value)
    if isinstance(value, dict):
        return {str(key): plain(part) for key, part in value.items()}
    if value is None or isinstance(value, str | int | float | bool):
        return value.value if isinstance(value, Enum) else value
    # EnhancedStatus is a tuple by nature and a word ("5.1.1") to everyone who reads it
    if isinstance(value, list | tuple | set | frozenset) and not isinstance(value, EnhancedStatus):
        return [plain(part) for part in value]
    return str(value)


def _time(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _cell(value: Any, for_spreadsheet: bool) -> str:  # noqa: FBT001
    simple = plain(value)
    if simple is None:
        return ""
    if isinstance(simple, bool):
        return "true" if simple else "false"
    text = safe(json.dumps(simple) if isinstance(simple, list | dict) else str(simple))
    raw = simple if isinstance(simple, str) else text
    return "'" + text if for_spreadsheet and raw.startswith(FORMULA_STARTS) else text

"""Times as they are typed: `180d` ago, a date, or a date and time."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Command = TypeVar("Command", bound=Callable[..., Any])

_AGO: Final = re.compile(r"(\d{1,6})\s*([hdw])")
_UNIT: Final = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


def moment_option(
    name: str, meaning: str, *, required: bool = False
) -> Callable[[Command], Command]:
    """An option that takes a time and hands on an aware one in UTC (None where it is not given).

    What names no zone is taken as UTC, a date as its first instant.
    """
    return click.option(name, metavar="WHEN", callback=_convert, required=required, help=meaning)


def _convert(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> datetime | None:
    if value is None:
        return None
    try:
        return _read(value.strip())
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{value!r} is no time; write 180d, 12h, 2w, 2026-01-31 or 2026-01-31T12:00",
            context,
            parameter,
        ) from None


def _read(text: str) -> datetime:
    ago = _AGO.fullmatch(text)
    if ago is not None:
        return datetime.now(UTC) - int(ago[1]) * _UNIT[ago[2]]
    told = datetime.fromisoformat(text)
    return told.replace(tzinfo=UTC) if told.tzinfo is None else told.astimezone(UTC)

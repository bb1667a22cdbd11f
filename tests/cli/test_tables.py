"""Tables keep to one line a row and show what came from mail as text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

from bounced.cli.tables import PLAIN_WIDTH, cell, print_table

if TYPE_CHECKING:
    import pytest


def test_a_long_cell_is_cut_and_every_row_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [("a@example.com", "x" * 500), ("b@example.com", "short")]
    print_table(("address", "the server said"), rows)
    lines = [line for line in capsys.readouterr().out.splitlines() if "@" in line]
    assert len(lines) == 2
    assert lines[0].rstrip().endswith("…")
    assert lines[0].startswith(" a@example.com ")
    assert all(len(line) <= PLAIN_WIDTH for line in lines)


def test_markup_and_escape_sequences_in_mail_stay_text(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_table(("said",), [("[bold red]no[/] \x1b[31msuch user",)])
    out = capsys.readouterr().out
    assert "[bold red]no[/] \\x1b[31msuch user" in out
    assert "\x1b" not in out


def test_times_are_shown_in_utc_and_say_so() -> None:
    taipei = timezone(timedelta(hours=8))
    assert cell(datetime(2026, 11, 23, 20, 0, tzinfo=taipei)) == "2026-11-23 12:00Z"
    assert cell(datetime(2026, 11, 23, 20, 0, tzinfo=UTC)) == "2026-11-23 20:00Z"
    assert (cell(None), cell(7)) == ("", "7")

"""Tables keep to one line a row and show what came from mail as text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from bounced.cli import tables
from bounced.cli.tables import PLAIN_WIDTH, cell, counted, print_table


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


@pytest.mark.parametrize("width", [80, 150])
def test_numbers_and_times_are_never_cut(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tables, "PLAIN_WIDTH", width)
    row = (1234567, datetime(2026, 11, 23, 20, 0, tzinfo=UTC), "x" * 200)
    print_table(("number", "when", "note"), [row])
    out = capsys.readouterr().out
    assert " 1234567 " in out
    assert " 2026-11-23 20:00Z " in out
    assert "…" in out


def test_where_a_row_does_not_fit_it_is_a_paragraph_with_everything_in_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tables, "PLAIN_WIDTH", 60)
    rows = [(7, "authentication", "mail.example.com", "", "we do not like you, said \x1b[1m he")]
    print_table(("times", "reason", "where", "by list", "said"), rows, title="Refused")
    assert capsys.readouterr().out.splitlines() == [
        "Refused",
        "",
        "times    7",
        "reason   authentication",
        "where    mail.example.com",
        "said     we do not like you, said \\x1b[1m he",
        "",
    ]


def test_one_is_counted_as_one() -> None:
    assert [counted(n, "line") for n in (0, 1, 2)] == ["0 lines", "1 line", "2 lines"]
    assert counted(2, "address", "addresses") == "2 addresses"

"""`bounced decisions`, `undo` and `redo`: operators' words, and taking them back."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from bounced.cli.settings import Settings, json_option, ledger_options, operator, say
from bounced.text import safe


@click.command()
@click.option("--limit", type=click.IntRange(1), default=20, help="How many, newest first.")
@json_option
@ledger_options
@click.pass_obj
def decisions(settings: Settings, *, limit: int, as_json: bool) -> None:
    """List releases, words on held runs, imports and reclassifications, newest first."""
    from bounced.cli.tables import cell, print_table
    from bounced.report import json_line

    with settings.ledger() as ledger:
        rows = ledger.decisions(limit)
    if as_json:
        for row in rows:
            click.echo(json_line(row))
        return
    if not rows:
        click.echo("Nothing was decided yet.")
        return
    columns = ("number", "when", "by", "what", "of what", "changed", "note", "undone")
    print_table(
        columns,
        [
            (
                row.id,
                row.at,
                row.by,
                row.what,
                row.subject or (f"run {row.run_id}" if row.run_id else ""),
                row.addresses,
                row.note,
                f"{cell(row.undone_at)} by {row.undone_by}" if row.undone_at else "",
            )
            for row in rows
        ],
    )
    say(f"To take one back: bounced undo {rows[0].id}")


@click.command()
@click.argument("number", type=int)
@click.option("--note", default="", help="Why; it is kept with the decision.")
@ledger_options
@click.pass_obj
def undo(settings: Settings, number: int, *, note: str) -> None:
    """Take decision NUMBER back, as if it had never been made; the standings follow.

    A release, a word on a held run (which waits again then), an import, a reclassification.
    NUMBER is what `bounced decisions` shows. Each change is kept with your name.
    """
    _undo(settings, number, note, again=False)


@click.command()
@click.argument("number", type=int)
@ledger_options
@click.pass_obj
def redo(settings: Settings, number: int) -> None:
    """Put decision NUMBER, which was taken back, into force again."""
    _undo(settings, number, "", again=True)


def _undo(settings: Settings, number: int, note: str, *, again: bool) -> None:
    with settings.ledger() as ledger:
        now = datetime.now(UTC)
        told = ledger.undo(number, by=operator(), at=now, note=note, again=again)
    word = "is in force again" if again else "was taken back"
    about = f" ({told.subject})" if told.subject else ""
    click.echo(
        f"Decision {number}, {told.what}{safe(about)}, {word}: "
        f"{told.suppressed} suppressed, {told.released} released."
    )

"""`bounced db`: the database and its schema."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from bounced.cli.settings import Settings, ledger_options, refuse_absent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bounced.ledger import Copied


@click.group()
def db() -> None:
    """The database and its schema."""


@db.command()
@ledger_options
@click.pass_obj
def upgrade(settings: Settings) -> None:
    """Bring the database to the newest schema; creates it where there is none."""
    with settings.ledger(create=True, migrate=True) as ledger:
        before, after = ledger.upgraded or ledger.upgrade()
    if before == after:
        click.echo(f"The database is at the newest revision ({after}) already.")
    elif before is None:
        click.echo(f"The database was created at revision {after}.")
    else:
        click.echo(f"The database was upgraded from revision {before} to {after}.")


@db.command(name="copy")
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
def copy_(source: str, target: str) -> None:
    """Copy a ledger into an empty database, of any kind: URL or path, FROM and TO.

    All is read back and compared before anything is committed; cut off, it has done nothing.
    Nobody can write into either meanwhile. FROM is not changed.
    """
    from contextlib import closing

    from bounced.cli.tables import print_table
    from bounced.config import database_url
    from bounced.ledger import transfer

    refuse_absent(database_url(source))
    done: dict[str, int] = {}
    with closing(transfer(database_url(source), database_url(target))) as steps:
        for step in _shown(steps):
            if step.verified:
                done[step.table] = step.rows
    print_table(("table", "rows"), done.items())
    click.echo(
        "Copied and read back; both are alike. "
        "Now name it in the configuration ([database] url) and sync into it only: the ledger "
        "that was copied knows nothing of what comes."
    )


def _shown(steps: Iterator[Copied]) -> Iterator[Copied]:
    """The steps, and how far they are on a terminal."""
    from bounced.cli.settings import on_a_terminal

    if not on_a_terminal():
        yield from steps
        return
    from rich.console import Console

    with Console(stderr=True).status("…") as moving:
        for step in steps:
            what = "read back" if step.verified else "copied"
            moving.update(f"{step.table}: {step.rows} rows {what}")
            yield step

"""`bounced db`: the database's schema."""

from __future__ import annotations

import click

from bounced.cli.settings import Settings, ledger_options


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

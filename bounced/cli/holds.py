"""`bounced hold`: what the brake keeps waiting, and the operator's word on it."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from bounced.cli.settings import Settings, ledger_options, operator, say
from bounced.text import safe


@click.group()
def hold() -> None:
    """Suppressions that the brake holds back until you decide."""


@hold.command("list")
@ledger_options
@click.pass_obj
def list_holds(settings: Settings) -> None:
    """Show the runs that wait for a decision."""
    from bounced.cli.tables import print_table

    with settings.ledger() as ledger:
        rows = [
            (row.run_id, row.mailbox, row.at, row.addresses, row.events) for row in ledger.holds()
        ]
    if not rows:
        click.echo("Nothing is held.")
        return
    print_table(("run", "mailbox", "since", "would suppress", "events"), rows)
    say_how_to_decide(rows[0][0])


@hold.command()
@click.argument("run_id", type=int, required=False)
@ledger_options
@click.pass_obj
def show(settings: Settings, run_id: int | None) -> None:
    """List the addresses that accepting RUN_ID (or every held run) would suppress."""
    with settings.ledger() as ledger:
        number = None
        for number, address in ledger.waiting(run_id):
            click.echo(f"{number}  {safe(address)}")
    if number is None:
        say("Nothing is held." if run_id is None else f"Run {run_id} holds nothing.")
    else:
        say_how_to_decide(number)


@hold.command()
@click.argument("run_id", type=int)
@ledger_options
@click.pass_obj
def accept(settings: Settings, run_id: int) -> None:
    """Suppress what run RUN_ID found."""
    _decide(settings, run_id, accept=True)


@hold.command()
@click.argument("run_id", type=int)
@ledger_options
@click.pass_obj
def discard(settings: Settings, run_id: int) -> None:
    """Keep the events of run RUN_ID as facts, but never suppress anyone for them."""
    _decide(settings, run_id, accept=False)


def _decide(settings: Settings, run_id: int, *, accept: bool) -> None:
    with settings.ledger() as ledger:
        count = ledger.decide(run_id, accept=accept, by=operator(), at=datetime.now(UTC))
    word = "now suppressed" if accept else "left as they were"
    click.echo(f"Run {run_id}: {count} addresses {word}.")


def say_how_to_decide(run_id: int | None) -> None:
    """The commands that end a hold, as they are to be typed."""
    say(f"To see the addresses:     bounced hold show {run_id}")
    say(f"To suppress them:         bounced hold accept {run_id}")
    say(f"To leave them as they are: bounced hold discard {run_id}")

"""`bounced hold`: what the brake keeps waiting, and the operator's word on it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from bounced.cli.settings import Settings, json_option, ledger_options, operator, say
from bounced.text import safe

if TYPE_CHECKING:
    from bounced.model import Held


@click.group()
def hold() -> None:
    """Suppressions that the brake holds back until you decide."""


@hold.command("list")
@json_option
@ledger_options
@click.pass_obj
def list_holds(settings: Settings, *, as_json: bool) -> None:
    """Show the runs that wait for a decision."""
    from bounced.cli.tables import print_table
    from bounced.report import json_line

    with settings.ledger() as ledger:
        found = ledger.holds()
    if as_json:
        for row in found:
            click.echo(json_line(row))
        return
    if not found:
        click.echo("Nothing is held.")
        return
    rows = [(row.run_id, row.mailbox, row.at, row.addresses, row.events) for row in found]
    print_table(("run", "mailbox", "since", "would suppress", "events"), rows)
    say_how_to_decide(found[0].run_id)


@hold.command()
@click.argument("run_id", type=int, required=False)
@json_option
@ledger_options
@click.pass_obj
def show(settings: Settings, run_id: int | None, *, as_json: bool) -> None:
    """List the addresses that accepting RUN_ID (or every held run) would suppress."""
    from bounced.report import json_line

    with settings.ledger() as ledger:
        number = None
        for one in ledger.waiting(run_id):
            number = one.run_id
            click.echo(json_line(one) if as_json else f"{number}  {held_line(one)}")
    if as_json:
        return
    if number is None:
        say("Nothing is held." if run_id is None else f"Run {run_id} holds nothing.")
        say("To see what waits, type: bounced hold list")
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
    from bounced.cli.tables import counted

    with settings.ledger() as ledger:
        count = ledger.decide(run_id, accept=accept, by=operator(), at=datetime.now(UTC))
    word = "now suppressed" if accept else "left as before"
    click.echo(f"Run {run_id}: {counted(count, 'address', 'addresses')} {word}.")


def held_line(one: Held) -> str:
    """An address that waits, and why it would be suppressed."""
    on = f" on {safe(one.list)}" if one.list else ""
    return f"{safe(one.address)}{on}  {safe(one.because)}"


def say_how_to_decide(run_id: int | None) -> None:
    """The commands that end a hold, as they are to be typed."""
    say(f"To see the addresses:      bounced hold show {run_id}")
    say(f"To suppress them:          bounced hold accept {run_id}")
    say(f"To leave them as they are: bounced hold discard {run_id}")

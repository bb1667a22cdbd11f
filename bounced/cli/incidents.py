"""`bounced incidents`: a provider that suddenly answers hard, and the operator's word on it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from bounced.cli.settings import Settings, json_option, ledger_options, operator, say
from bounced.text import safe

if TYPE_CHECKING:
    from bounced.ledger import IncidentRow


@click.group(invoke_without_command=True)
@click.option("--all", "all_states", is_flag=True, help="Those that are decided, too.")
@json_option
@ledger_options
@click.pass_context
def incidents(context: click.Context, *, all_states: bool, as_json: bool) -> None:
    """List providers and domains that answered hard for unusually many addresses at once.

    Their hard bounces are on record and suppress nobody until you accept or discard them. Exits
    with 1 when any wait.
    """
    if context.invoked_subcommand is None:
        _list(context, all_states=all_states, as_json=as_json)


def _list(context: click.Context, *, all_states: bool, as_json: bool) -> None:
    from bounced.cli.failures import Exit
    from bounced.cli.tables import print_table
    from bounced.report import json_line

    with context.ensure_object(Settings).ledger() as ledger:
        found = ledger.incidents(all_states=all_states)
    waiting = [one for one in found if one.state == "open"]
    if as_json:
        for one in found:
            click.echo(json_line(one))
    elif not found:
        click.echo("No incident.")
    else:
        columns = ("number", "who", "from", "to", "addresses", "usual", "state")
        rows = [
            (one.id, _who(one.name), *_when(one), one.addresses, f"{one.usual:.1f}", one.state)
            for one in found
        ]
        print_table(columns, rows)
        if waiting:
            _say_how_to_decide(waiting[0].id)
    context.exit(Exit.PERSON_NEEDED if waiting else Exit.DONE)


def _when(row: IncidentRow) -> tuple[datetime, datetime]:
    return row.begins_at, row.ends_at


def _who(name: str) -> str:
    from bounced.receivers import receivers

    known = receivers().get(name)
    return known.title if known else name


@incidents.command("list")
@click.option("--all", "all_states", is_flag=True, help="Those that are decided, too.")
@json_option
@ledger_options
@click.pass_context
def list_incidents(context: click.Context, *, all_states: bool, as_json: bool) -> None:
    """The same as without a word."""
    _list(context, all_states=all_states, as_json=as_json)


@incidents.command()
@click.argument("number", type=int)
@json_option
@ledger_options
@click.pass_obj
def show(settings: Settings, number: int, *, as_json: bool) -> None:
    """List the addresses of incident NUMBER."""
    from bounced.report import json_line

    with settings.ledger() as ledger:
        found = ledger.incident_addresses(number)
    for address in found:
        row = {"incident": number, "address": address}
        click.echo(json_line(row) if as_json else safe(address))


@incidents.command()
@click.argument("number", type=int)
@ledger_options
@click.pass_obj
def accept(settings: Settings, number: int) -> None:
    """Believe the hard bounces of incident NUMBER."""
    _decide(settings, number, accept=True)


@incidents.command()
@click.argument("number", type=int)
@ledger_options
@click.pass_obj
def discard(settings: Settings, number: int) -> None:
    """Keep the hard bounces of incident NUMBER as facts, but never suppress anyone for them."""
    _decide(settings, number, accept=False)


def _decide(settings: Settings, number: int, *, accept: bool) -> None:
    from bounced.cli.tables import counted

    with settings.ledger() as ledger:
        began, _ = ledger.decide_incident(
            number, accept=accept, by=operator(), at=datetime.now(UTC)
        )
    word = (
        f"{counted(began, 'address', 'addresses')} now suppressed"
        if accept
        else "nobody is suppressed for it"
    )
    click.echo(f"Incident {number}: {word}.")


def say_incidents(mailbox: str, count: int) -> None:
    """What a sync says when it has opened some."""
    from bounced.cli.tables import counted

    say(
        f"{mailbox}: {counted(count, 'incident')}: a provider or domain answers hard for "
        "unusually many addresses. Their events are recorded and wait; "
        "nobody was suppressed for them."
    )
    say("To see and decide: bounced incidents")


def _say_how_to_decide(number: int) -> None:
    say(f"To see the addresses:      bounced incidents show {number}")
    say(f"To believe and suppress:   bounced incidents accept {number}")
    say(f"To leave them mailable:    bounced incidents discard {number}")

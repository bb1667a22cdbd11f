"""`bounced status`: how the mailboxes and the list are doing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from bounced.cli.settings import Settings, ledger_options

if TYPE_CHECKING:
    from bounced.ledger.rows import MailboxRow


@click.command(short_help="Show how each mailbox is doing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a mailbox.")
@ledger_options
@click.pass_obj
def status(settings: Settings, *, as_json: bool) -> None:
    """Show each mailbox: when it was last emptied, and what was found in it."""
    from bounced.report import json_line

    with settings.ledger() as ledger:
        rows = ledger.mailboxes()
        holds = ledger.holds()
    if as_json:
        for row in rows:
            click.echo(json_line(row))
        return
    if not rows:
        click.echo("No mailbox has been emptied yet. Type: bounced sync")
    for row in rows:
        _show(row)
    if holds:
        waiting = ", ".join(str(held.run_id) for held in holds)
        click.echo(f"The brake holds run {waiting}. Type: bounced hold list")


def _show(row: MailboxRow) -> None:
    from bounced.cli.tables import cell
    from bounced.text import safe

    when = f"last emptied {cell(row.last_sync_at)}" if row.last_sync_at else "never emptied"
    click.echo(f"{safe(row.name)}: {when}{', at work now' if row.busy else ''}")
    piles = ", ".join(f"{count} {pile}" for pile, count in sorted(row.destinations.items()))
    click.echo(f"  letters: {piles or 'none'}")
    if waiting := row.states.get("recorded"):
        click.echo(f"  recorded, still to be moved: {waiting}")
    if row.last_error:
        click.echo(f"  the last sync failed: {safe(row.last_error)}")

"""`bounced status`: how the mailboxes and the list are doing."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from bounced.cli.failures import Exit
from bounced.cli.settings import Settings, ledger_options

if TYPE_CHECKING:
    from bounced.ledger.rows import MailboxRow


@click.command(short_help="Show how each mailbox is doing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a mailbox.")
@click.option(
    "--patience",
    type=click.FloatRange(0),
    default=60,
    show_default=True,
    help="Exit with 1 when a mailbox has been failing for more minutes than these.",
)
@ledger_options
@click.pass_context
def status(context: click.Context, *, as_json: bool, patience: float) -> None:
    """Show each mailbox: when it was last emptied, and what was found in it.

    Exits with 1 when one has been failing for long, or something could not be told to a webhook,
    so that a monitor can ask it.
    """
    from bounced.cli.webhooks import waiting as webhook_line
    from bounced.ledger.audit import failing_since
    from bounced.ledger.outbox import outboxes
    from bounced.report import json_line

    with context.ensure_object(Settings).ledger() as ledger:
        rows = ledger.mailboxes()
        unsaid = [row for row in outboxes(ledger) if row.dead or row.last_error]
        holds = ledger.holds()
        failing = failing_since(ledger)
    now = datetime.now(UTC)
    late = any(now - since > timedelta(minutes=patience) for since in failing.values())
    given_up = any(row.dead for row in unsaid)
    code = Exit.PERSON_NEEDED if late or given_up else Exit.DONE
    if as_json:
        for row in rows:
            click.echo(json_line({**asdict(row), "failing_since": failing.get(row.name)}))
        context.exit(code)
    if not rows:
        click.echo("No mailbox has been emptied yet. Type: bounced sync")
    for row in rows:
        _show(row, failing.get(row.name))
    if holds:
        waiting = ", ".join(str(held.run_id) for held in holds)
        click.echo(f"The brake holds run {waiting}. Type: bounced hold list")
    for untold in unsaid:
        click.echo(webhook_line(untold))
    context.exit(code)


def _show(row: MailboxRow, failing: datetime | None) -> None:
    from bounced.cli.tables import cell
    from bounced.text import safe

    when = f"last emptied {cell(row.last_sync_at)}" if row.last_sync_at else "never emptied"
    click.echo(f"{safe(row.name)}: {when}{', at work now' if row.busy else ''}")
    piles = ", ".join(f"{count} {pile}" for pile, count in sorted(row.destinations.items()))
    click.echo(f"  letters: {piles or 'none'}")
    if waiting := row.states.get("recorded"):
        click.echo(f"  recorded, still to be moved: {waiting}")
    if row.last_error:
        since = f" (failing since {cell(failing)})" if failing else ""
        click.echo(f"  the last sync failed{since}: {safe(row.last_error)}")

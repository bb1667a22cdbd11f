"""`bounced status`: how the mailboxes and the list are doing."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from bounced.cli.failures import Exit
from bounced.cli.metrics import abandoned, metrics_text, see_that_it_is_there
from bounced.cli.settings import Settings, ledger_options
from bounced.report import json_line
from bounced.text import safe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bounced.ledger.health import Heartbeat
    from bounced.ledger.outbox import OutboxRow
    from bounced.ledger.rows import HoldRow, IncidentRow, MailboxRow


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a mailbox.")
@click.option(
    "--patience",
    type=click.FloatRange(0),
    default=60,
    show_default=True,
    help="Exit with 1 when a mailbox has been failing for more minutes than these.",
)
@click.option("--metrics", is_flag=True, help="Print figures in Prometheus' text format.")
@ledger_options
@click.pass_context
def status(context: click.Context, *, as_json: bool, patience: float, metrics: bool) -> None:
    """Show each mailbox: when it was last emptied, and what was found in it.

    Exits with 1 when one of the configuration has been failing for long, a `bounced run` has
    given no sign of life for as long, or something could not be told to a webhook, so that a
    monitor can ask it.
    """
    from bounced.ledger import health
    from bounced.ledger.outbox import outboxes

    if metrics:
        see_that_it_is_there()
    settings = context.ensure_object(Settings)
    config = settings.ledger_config()
    with settings.ledger() as ledger:
        rows = ledger.mailboxes()
        unsaid = [row for row in outboxes(ledger) if row.dead or row.last_error]
        holds = ledger.holds()
        incidents = ledger.incidents()
        beats = health.heartbeats(ledger)
        text = metrics_text(ledger, config) if metrics else ""
    limit = timedelta(minutes=patience)
    now = datetime.now(UTC)
    left = {row.mailbox for row in rows if abandoned(row, config, now)}
    since = [row.failing_since for row in rows if row.failing_since and row.mailbox not in left]
    silent = [beat for beat in beats if beat.silent > limit]
    late = silent or any(now - one > limit for one in since)
    given_up = any(row.dead for row in unsaid)
    if metrics:
        for line in text.splitlines():
            click.echo(safe(line))
    elif as_json:
        for row in rows:
            click.echo(json_line(asdict(row)))
    else:
        _show_all(rows, left, holds, incidents, unsaid, silent)
    context.exit(Exit.PERSON_NEEDED if late or given_up else Exit.DONE)


def _show_all(  # noqa: PLR0913, PLR0917 - one for each thing that is shown
    rows: Sequence[MailboxRow],
    left: set[str],
    holds: Sequence[HoldRow],
    incidents: Sequence[IncidentRow],
    unsaid: Sequence[OutboxRow],
    silent: Sequence[Heartbeat],
) -> None:
    from bounced.cli.webhooks import waiting as webhook_line

    if not rows:
        click.echo("No mailbox has been emptied yet. Type: bounced sync")
    for row in rows:
        _show(row, left=row.mailbox in left)
    if holds:
        waiting = ", ".join(str(held.run_id) for held in holds)
        click.echo(f"The brake holds run {waiting}. Type: bounced hold list")
    if incidents:
        names = ", ".join(f"{one.id} ({safe(one.name)})" for one in incidents)
        click.echo(f"Hard bounces wait for your word on incident {names}. Type: bounced incidents")
    for untold in unsaid:
        click.echo(webhook_line(untold))
    for beat in silent:
        minutes = int(beat.silent.total_seconds() // 60)
        click.echo(
            f"bounced run ({safe(beat.owner)}) has given no sign of life for {minutes} minutes."
        )


def _show(row: MailboxRow, *, left: bool) -> None:
    from bounced.cli.tables import cell, counted

    if row.imported:
        count = counted(sum(row.states.values()), "line")
        click.echo(f"{safe(row.mailbox)}: last imported {cell(row.last_sync_at)}, {count} in all")
        return
    well = row.last_success_at
    when = f"last emptied {cell(well)}" if well else "never emptied"
    click.echo(f"{safe(row.mailbox)}: {when}{', at work now' if row.busy else ''}")
    piles = ", ".join(f"{count} {pile}" for pile, count in sorted(row.destinations.items()))
    click.echo(f"  letters: {piles or 'none'}")
    if waiting := row.states.get("recorded"):
        click.echo(f"  recorded, still to be moved: {waiting}")
    if left:
        click.echo(f"  not in the configuration, and last tried {cell(row.last_sync_at)}")
    elif row.last_error:
        since = f" (failing since {cell(row.failing_since)})" if row.failing_since else ""
        click.echo(f"  the last sync failed{since}: {safe(row.last_error)}")

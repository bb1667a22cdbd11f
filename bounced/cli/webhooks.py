"""`bounced webhooks`: tell other programs of changes, and see what could not be told."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from bounced.cli.failures import Exit
from bounced.cli.settings import Settings, ledger_options, say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from bounced.ledger import Ledger
    from bounced.ledger.outbox import OutboxRow
    from bounced.webhooks import Delivered, Webhook


@click.group()
def webhooks() -> None:
    """Tell other programs when an address is suppressed or released, or a mailbox fails."""


@webhooks.command()
@ledger_options
@click.pass_obj
@click.pass_context
def send(context: click.Context, settings: Settings) -> None:
    """Hand over what waits, once; `bounced run` does it all the time.

    Exits with 75 when a webhook did not take something: it is kept and tried again later.
    """
    from bounced.cli.stopping import Stop

    config = settings.ledger_config()
    if not config.webhooks:
        say(
            "There is no [[webhook]] in the configuration, so nobody to tell. "
            "docs/webhooks.md shows one."
        )
        context.exit(Exit.CONFIGURATION)
    known = [one.reveal() for one in config.webhooks]
    stop = Stop.on_signals()
    failed = False
    with settings.ledger() as ledger:
        ledger.end_expired(at=_now())
        for webhook, done in delivered(known, ledger, stop):
            failed |= bool(done.failed)
            click.echo(_told(webhook, done))
    context.exit(Exit.TRY_AGAIN if failed else Exit.DONE)


def delivered(
    known: Iterable[Webhook], ledger: Ledger, stop: Callable[[], bool]
) -> Iterator[tuple[Webhook, Delivered]]:
    """One pass over webhooks: what became of each one's notices."""
    from bounced.ledger.outbox import Outbox
    from bounced.webhooks import deliver

    for webhook in known:
        yield webhook, deliver(Outbox(ledger), webhook, clock=_now, stop=stop)


def _now() -> datetime:
    return datetime.now(UTC)


def _told(webhook: Webhook, done: Delivered) -> str:
    from bounced.text import safe

    told = f"{safe(webhook.name)}: {done.taken} taken"
    if done.failed:
        told += f", {done.failed} not ({safe(done.error or '')}); kept for later"
    return f"{told}, {done.dead} of them given up." if done.dead else f"{told}."


@webhooks.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a webhook.")
@ledger_options
@click.pass_obj
def list_(settings: Settings, *, as_json: bool) -> None:
    """Show for each webhook what waits and what was given up."""
    from bounced.ledger.outbox import outboxes
    from bounced.report import json_line

    with settings.ledger() as ledger:
        rows = outboxes(ledger)
    for row in rows:
        click.echo(json_line(asdict(row)) if as_json else waiting(row))
    if not rows and not as_json:
        click.echo("Nothing waits.")


def waiting(row: OutboxRow) -> str:
    """One webhook's line."""
    from bounced.cli.tables import cell
    from bounced.text import safe

    told = f"webhook {safe(row.webhook)}: {row.waiting} waiting"
    if row.oldest is not None:
        told += f" since {cell(row.oldest)}"
    if row.dead:
        told += f", {row.dead} given up (to try them again: bounced webhooks retry)"
    return f"{told}; last trouble: {safe(row.last_error)}" if row.last_error else told


@webhooks.command()
@ledger_options
@click.pass_obj
def retry(settings: Settings) -> None:
    """Try again at once whatever waits or was given up."""
    from bounced.cli.tables import counted
    from bounced.ledger.outbox import revive

    with settings.ledger() as ledger:
        count = revive(ledger, at=_now())
    if count:
        notices = counted(count, "notice")
        click.echo(f"{notices} to be told by the next `bounced webhooks send` or `bounced run`.")
    else:
        click.echo("Nothing waits.")

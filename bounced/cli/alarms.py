"""`bounced alarms`: which of our addresses and domains is refused where, and where to go."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from bounced.cli.moments import moment_option
from bounced.cli.settings import Settings, json_option, ledger_options, say
from bounced.text import safe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bounced.ledger import AlarmRow

USUAL = timedelta(days=30)


@click.command()
@moment_option("--since", "Refusals from then on; else of the last 30 days.")
@json_option
@ledger_options
@click.pass_context
def alarms(context: click.Context, *, since: datetime | None, as_json: bool) -> None:
    """Show which of our IP addresses and domains are refused where, since when, by which list.

    None of it counts against a subscriber. Exits with 1 when any was reported in the last 48
    hours.
    """
    from bounced.alarms import FRESH
    from bounced.cli.failures import Exit
    from bounced.report import json_line

    now = datetime.now(UTC)
    with context.ensure_object(Settings).ledger() as ledger:
        found = ledger.alarms(since or now - USUAL)
    if as_json:
        for row in found:
            click.echo(json_line(row))
    elif not found:
        click.echo("Nobody refuses us.")
    else:
        _show(found)
    fresh = any(now - row.last_at < FRESH for row in found)
    context.exit(Exit.PERSON_NEEDED if fresh else Exit.DONE)


def _show(found: Sequence[AlarmRow]) -> None:
    from bounced.cli.tables import print_table
    from bounced.receivers import receivers

    titles = {name: one.title for name, one in receivers().items()}
    columns = ("times", "reason", "of ours", "where", "by list", "since", "last")
    print_table(
        columns,
        [
            (
                row.count,
                row.reason,
                row.ours or "",
                titles.get(row.who, row.who),
                row.blocklist or "",
                row.first_at,
                row.last_at,
            )
            for row in found
        ],
    )
    pages = {row.blocklist or titles.get(row.who, row.who): row.page for row in found if row.page}
    for who, page in pages.items():
        click.echo(f"{safe(who)}: {safe(page)}")


def say_alarms(mailbox: str, count: int) -> None:
    """What a sync says at once: our login was refused, and all of our mail with it."""
    from bounced.cli.tables import counted

    say(
        f"{mailbox}: our own SMTP login was refused, by {counted(count, 'report')}: all mail may "
        "be failing. No subscriber is blamed for it. To see more: bounced alarms"
    )

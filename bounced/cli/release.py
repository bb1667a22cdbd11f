"""`bounced release`: the way back, for one address or for all that an outage has suppressed."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from bounced.cli.moments import moment_option
from bounced.cli.settings import Settings, ledger_options, operator, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bounced.ledger import Ledger, Selection


@click.command()
@click.argument("addresses", nargs=-1)
@click.option("--domain", "domains", multiple=True, help="All suppressed at this domain.")
@click.option("--reason", "reasons", multiple=True, help="All suppressed for this reason.")
@click.option("--rule", "rules", multiple=True, help="All suppressed by the word of this rule.")
@click.option("--run", "run_id", type=int, help="All that this run suppressed.")
@click.option("--incident", "incident_id", type=int, help="All suppressed by its events.")
@moment_option("--since", "Only suppressions that began then or later.")
@moment_option("--until", "Only suppressions that began before.")
@click.option("--note", default="", help="Why; it is kept with the release.")
@click.option("--dry-run", is_flag=True, help="Say whom it would release, and change nothing.")
@ledger_options
@click.pass_obj
def release(
    settings: Settings,
    /,
    addresses: tuple[str, ...],
    *,
    note: str,
    dry_run: bool,
    **chosen: Any,
) -> None:
    """Let ADDRESSES, or all that the options choose, be mailed again.

    Options narrow each other; one given twice takes either. What happened before the release stays
    on record and stops counting, however late it is read: only what is received later can
    suppress again.
    """
    from bounced.ledger import Selection

    now = datetime.now(UTC)
    wanted = Selection(addresses=addresses, **chosen)
    if wanted.empty:
        raise click.UsageError("name addresses, or choose with --domain, --reason, --rule, …")
    with settings.ledger() as ledger:
        if dry_run:
            _foretell(ledger, wanted, now)
        elif wanted == Selection(addresses=addresses):
            _release_named(ledger, addresses, note, now)
        else:
            done = ledger.release_selected(wanted, by=operator(), note=note, at=now)
            click.echo(_said(sum(done)))


def _foretell(ledger: Ledger, wanted: Selection, at: datetime) -> None:
    from bounced.cli.tables import counted
    from bounced.text import safe

    causes: Counter[tuple[str | None, str | None]] = Counter()
    everyone = set()  # who is suppressed on several lists is one
    for row in ledger.selected(wanted, at=at):
        causes[row.reason, row.rule] += 1
        everyone.add(row.address)
    number = counted(len(everyone), "address", "addresses")
    click.echo(f"{number} would be released. Nothing was changed.")
    for (reason, rule), count in causes.most_common():
        click.echo(f"{count:>8}  {safe(reason or 'no reason')}, by rule {safe(rule or 'none')}")


def _release_named(ledger: Ledger, addresses: Sequence[str], note: str, at: datetime) -> None:
    from bounced.cli.failures import Exit

    known = [address for address in addresses if ledger.explain(address).standing is not None]
    told = ledger.release(known, by=operator(), note=note, at=at)
    click.echo(_said(told.addresses, told.others))
    unknown = [address for address in addresses if address not in known]
    for address in unknown:
        say(f"{address}: nothing is on record of it; is it spelt as it was mailed?")
    if unknown:
        raise click.exceptions.Exit(Exit.PERSON_NEEDED)


def _said(released: int, others: int = 0) -> str:
    from bounced.cli.tables import counted

    if released:
        return f"{counted(released, 'address', 'addresses')} may be mailed again."
    if others:
        whose = counted(others, "address", "addresses")
        return f"Nobody was suppressed; what is on record of {whose} up to now stops counting."
    return "Nobody was released: what was asked for is not suppressed."

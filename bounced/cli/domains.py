"""`bounced domains`: domains that are given up, the way back, and likely slips."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from bounced.cli.settings import Settings, json_option, ledger_options, operator, say
from bounced.cli.tables import counted
from bounced.text import safe


@click.group(invoke_without_command=True)
@json_option
@ledger_options
@click.pass_context
def domains(context: click.Context, *, as_json: bool) -> None:
    """List domains of which it is concluded that nobody there receives mail.

    Everyone at them is suppressed, those on your lists of whom nothing was reported, too. It ends
    by itself with the first sign of life.
    """
    from bounced.cli.tables import print_table
    from bounced.report import json_line

    if context.invoked_subcommand is not None:
        return
    with context.ensure_object(Settings).ledger() as ledger:
        found = ledger.domains()
    if as_json:
        for domain, ruling in found.items():
            click.echo(json_line({"domain": domain, **ruling._asdict()}))
    elif not found:
        click.echo("No domain is given up.")
    else:
        rows = [(name, one.reason, one.since, one.because) for name, one in found.items()]
        print_table(("domain", "reason", "since", "because"), rows)
        say(f"To mail one again: bounced domains release {next(iter(found))}")


@domains.command()
@click.argument("domain")
@click.option("--note", default="", help="Why; it is kept with the release.")
@ledger_options
@click.pass_obj
def release(settings: Settings, domain: str, *, note: str) -> None:
    """Let DOMAIN be mailed again; only new reports can give it up once more."""
    from bounced.smtp import canonical

    name = canonical(f"x@{domain.removeprefix('@')}").rpartition("@")[2]
    with settings.ledger() as ledger:
        count = ledger.release_domain(name, by=operator(), note=note, at=datetime.now(UTC))
    click.echo(f"{safe(name)}: {counted(count, 'address', 'addresses')} may be mailed again.")


@domains.command()
@json_option
@ledger_options
@click.pass_obj
def typos(settings: Settings, *, as_json: bool) -> None:
    """Report domains that look like a slip (gmial.com for gmail.com). Nothing is changed.

    Only domains where nothing has shown a sign of life. Ask the person, or look at the form where
    the address was typed: an address that looks right may still be another's.
    """
    from bounced.cli.tables import print_table
    from bounced.report import json_line

    with settings.ledger() as ledger:
        found = ledger.typos()
    if as_json:
        for row in found:
            click.echo(json_line(row))
    elif not found:
        click.echo("No domain looks like a slip.")
    else:
        rows = [(row.domain, row.meant, row.addresses) for row in found]
        print_table(("domain", "perhaps", "addresses"), rows)

"""`bounced explain` and `bounced suppressed`: questions about addresses."""

from __future__ import annotations

import sys
from dataclasses import fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from bounced.cli import exchange, services
from bounced.cli.settings import (
    Settings,
    json_option,
    ledger_options,
    on_list_option,
    say,
    see_that_it_is_a_list,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bounced.ledger.rows import AddressHistory, EventFacts, SuppressedRow, TransitionRow
    from bounced.model import Standing


@click.command()
@click.argument("address")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@ledger_options
@click.pass_obj
def explain(settings: Settings, address: str, *, as_json: bool) -> None:
    """Tell all that is known of ADDRESS, and why."""
    from bounced.report import json_line

    with settings.ledger() as ledger:
        history = ledger.explain(address)
        # who was forgotten has no history, and must not be mailed all the same
        ((_, listed),) = ledger.check([address], at=datetime.now(UTC))
    if as_json:
        known = {one.name: getattr(history, one.name) for one in fields(history)}
        click.echo(json_line({**known, "suppressed": listed is not None, "row": listed}))
        return
    for line in told(history, listed):
        click.echo(line)


def told(history: AddressHistory, listed: SuppressedRow | None = None) -> Iterator[str]:
    """The history in words, oldest event first; `listed` is the address's line of the list."""
    from bounced.cli.tables import cell
    from bounced.text import safe

    yield from _moved(history)
    if history.standing is None:
        yield from _stranger(history, listed)
        return
    yield from _standing(history.address, history.standing)
    for name, own in history.on_lists.items():
        yield from _standing(f"  on the list {name}", own)
    yield from _lists(history)
    if history.spellings:
        yield f"  also on record, told apart by case only: {safe(', '.join(history.spellings))}"
    for event in history.events:
        yield ""
        yield from _event(event)
    for release in history.releases:
        note = f": {safe(release.note)}" if release.note else ""
        back = f" (taken back {cell(release.undone_at)})" if release.undone_at else ""
        yield f"\n{cell(release.at)}  released by {safe(release.by)}{note}{back}"
    if history.transitions:
        yield "\nChanges:"
    for change in history.transitions:
        before = _state(change.from_status, suppressed=change.from_suppressed)
        after = _state(change.to_status, suppressed=change.to_suppressed)
        on = f"on {safe(change.list)}: " if change.list else ""
        by = f"{safe(change.actor)}{_decided(change)}"
        yield f"  {cell(change.at)}  {on}{before} -> {after}, by {by}"
        yield f"    {safe(change.because)}"


def _moved(history: AddressHistory) -> Iterator[str]:
    from bounced.text import safe

    if history.became:
        yield f"{safe(history.address)} has become {safe(history.became)}."
    if history.before:
        yield f"{safe(history.address)} was before: {safe(', '.join(history.before))}."


def _decided(change: TransitionRow) -> str:
    return f" (decision {change.decision_id})" if change.decision_id is not None else ""


def _state(status: str, *, suppressed: bool) -> str:
    return f"{status} (suppressed)" if suppressed else status


def _standing(address: str, standing: Standing) -> Iterator[str]:
    from bounced.cli.tables import cell
    from bounced.text import safe

    if standing.suppressed:
        until = f"until {cell(standing.expires_at)}" if standing.expires_at else "for good"
        state = f"{standing.status.value}, SUPPRESSED since {cell(standing.since)}, {until}"
    else:
        state = f"{standing.status.value}, may be mailed"
    yield f"{safe(address)}: {state}"
    if standing.because:
        yield f"  {safe(standing.because)}"
    if standing.score:
        yield f"  soft score today: {standing.score:.2f}"


def _event(event: EventFacts) -> Iterator[str]:
    from bounced.cli.tables import cell
    from bounced.text import safe

    waits = "" if event.counts else "  (does not count: its run is held or discarded)"
    if event.incident is not None:
        waits = f"  (does not count: incident {event.incident} waits or was discarded)"
    if not event.trusted:
        waits += f"  (unverified, does not count: {event.trust})"
    elif event.trust is not None:
        waits += f"  ({event.trust})"
    about = f", list {safe(event.list)}" if event.list else ""
    yield (
        f"{cell(event.at)}  {event.kind}, {event.outcome}: {event.reason}"
        f"  (mailbox {safe(event.mailbox)}, event {event.id}{about}){waits}"
    )
    if event.original_address and event.original_address != event.recipient:
        yield f"  mailed to: {safe(event.original_address)}"
    if event.diagnostic:
        by = f" by {safe(event.remote_mta)}" if event.remote_mta else ""
        yield f"  said{by}: {safe(event.diagnostic)}"
    yield f"  judged by {safe(event.rule)} ({event.confidence:.2f}): {safe(event.because)}"


def _stranger(history: AddressHistory, listed: SuppressedRow | None) -> Iterator[str]:
    """What is said of an address of which nothing was reported."""
    from bounced.cli.subscribers import is_address
    from bounced.text import safe

    name = safe(history.address)
    if listed is not None:
        yield f"{name}: nothing is on record, and it is SUPPRESSED: {safe(listed.because)}"
    elif is_address(history.address):
        yield f"{name}: nothing is on record; it may be mailed."
    else:
        yield f"{name}: nothing is on record, and it is no address."
    yield from _lists(history)


def _lists(history: AddressHistory) -> Iterator[str]:
    from bounced.text import safe

    if history.lists:
        yield f"  lists: {safe(', '.join(name or '(unnamed)' for name in history.lists))}"


@click.group(invoke_without_command=True)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "csv", "json", *services.outgoing()]),
    default="text",
    help="Text is one address a line; others are as that service takes them, or hashes.",
)
@click.option(
    "--for-spreadsheet",
    is_flag=True,
    help="In CSV, put an apostrophe before what a spreadsheet would take for a formula.",
)
@on_list_option
@ledger_options
@click.pass_context
def suppressed(
    context: click.Context, form: str, *, for_spreadsheet: bool, on_list: str | None
) -> None:
    """Print the addresses that must not be mailed now."""
    from bounced.cli.tables import counted

    if context.invoked_subcommand is not None:
        return
    if for_spreadsheet and form != "csv":
        raise click.UsageError("--for-spreadsheet goes with --format csv only")
    with context.ensure_object(Settings).ledger() as ledger:
        see_that_it_is_a_list(ledger, on_list)
        rows = ledger.suppressed(at=datetime.now(UTC), on=on_list)
        _write(rows, form, for_spreadsheet=for_spreadsheet)
        waiting = sum(held.addresses for held in ledger.holds())
    if waiting:
        say(
            f"{counted(waiting, 'address', 'addresses')} more wait for your word: bounced hold list"
        )


def _write(rows: Iterable[SuppressedRow], form: str, *, for_spreadsheet: bool) -> None:
    from bounced.ledger.rows import SuppressedRow
    from bounced.report import write_csv, write_json
    from bounced.text import safe

    if form == "csv":
        columns = [column.name for column in fields(SuppressedRow)]
        write_csv(rows, columns, sys.stdout, for_spreadsheet=for_spreadsheet)
    elif form == "json":
        write_json(rows, sys.stdout)
    elif form in services.outgoing():
        services.write(rows, form, sys.stdout)
    else:
        for row in rows:
            sys.stdout.write(safe(row.address) + "\n")


@suppressed.command()
@click.argument("addresses", nargs=-1)
@json_option
@on_list_option
@ledger_options
@click.pass_context
def check(
    context: click.Context, addresses: tuple[str, ...], *, as_json: bool, on_list: str | None
) -> None:
    """Say which of ADDRESSES (or of the lines of stdin) are on the list; exits 1 if any is."""
    from bounced.cli.failures import Exit
    from bounced.report import json_line

    asked = addresses or (line.strip() for line in sys.stdin)
    found = 0
    with context.ensure_object(Settings).ledger() as ledger:
        see_that_it_is_a_list(ledger, on_list)
        wanted = (address for address in asked if address)
        for address, row in ledger.check(wanted, at=datetime.now(UTC), on=on_list):
            found += row is not None
            click.echo(
                json_line({"address": address, "suppressed": row is not None, "row": row})
                if as_json
                else _answer(address, row)
            )
    context.exit(Exit.PERSON_NEEDED if found else Exit.DONE)


def _answer(address: str, row: SuppressedRow | None) -> str:
    from bounced.text import safe

    if row is None:
        return f"{safe(address)}: not suppressed"
    on = f" on the list {safe(row.list)}" if row.list else ""
    return f"{safe(address)}: suppressed{on} ({row.reason}): {safe(row.because)}"


suppressed.add_command(exchange.import_file)

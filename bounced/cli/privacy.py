"""`bounced forget`, `export-person` and `purge`: what is held of people, and for how long."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from bounced.cli.failures import Exit
from bounced.cli.settings import Settings, config_option, ledger_options, say
from bounced.cli.subscribers import is_address

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from bounced.config import Config
    from bounced.ledger import Ledger
    from bounced.ledger.erasure import Erased, LetterRow, Names

# How long notices are kept that no webhook took.
KEEP_UNTOLD = timedelta(days=30)


@click.command("export-person")
@click.argument("address")
@ledger_options
@click.pass_obj
def export_person(settings: Settings, address: str) -> None:
    """Print everything that is held of ADDRESS, in every spelling, as one JSON object.

    Rows of the database by table, and raw copies of letters that name it, by their paths.
    """
    from bounced.ledger.erasure import Names, export
    from bounced.report import json_line

    _must_be_address(address)
    now = datetime.now(UTC)
    with settings.ledger() as ledger:
        tables, others = export(ledger, address)
    digests = {str(row["raw_sha256"]) for row in tables.get("message", ())}
    copies = [str(path) for path in _copies(settings.ledger_config(), [Names(address)], digests)]
    told = {"address": address, "at": now, "tables": tables, "raw_copies": copies}
    told["named_in_rows_of_others"] = others
    click.echo(json_line(told))


@click.command()
@click.argument("addresses", nargs=-1, required=True)
@click.option("--lift", is_flag=True, help="Let them be recorded and mailed again instead.")
@ledger_options
@click.pass_context
def forget(context: click.Context, addresses: tuple[str, ...], *, lift: bool) -> None:
    """Delete everything that is held of ADDRESSES, and see that it does not come back.

    What stays is a hash under the pepper of the configuration: imports and reports about them
    are passed over, and `clean` and `suppressed check` say that they are not to be mailed. Letters
    in mailboxes are never deleted; where to find them is told.
    """
    settings = context.ensure_object(Settings)
    for address in addresses:
        _must_be_address(address)
    with settings.ledger() as ledger:
        if lift:
            _lift(ledger, addresses)
            return
        whole = _forget(settings.ledger_config(), ledger, addresses)
    context.exit(Exit.DONE if whole else Exit.PERSON_NEEDED)


def _must_be_address(text: str) -> None:
    from bounced.text import safe

    if not is_address(text):
        raise click.UsageError(f"this is no address: {safe(text)[:80]}")


def _lift(ledger: Ledger, addresses: Sequence[str]) -> None:
    from bounced.ledger.erasure import lift
    from bounced.text import safe

    for address in addresses:
        known = lift(ledger, address)
        end = "may be recorded and mailed again." if known else "was not forgotten."
        click.echo(f"{safe(address)} {end}")


def _forget(config: Config, ledger: Ledger, addresses: Sequence[str]) -> bool:
    """Forget some; whether all of it is gone from this machine."""
    from bounced.ledger import erasure

    now = datetime.now(UTC)
    letters: list[LetterRow] = []
    for address in addresses:
        told = erasure.forget(ledger, address, at=now)
        digests = {one.raw_sha256 for one in told.letters if one.raw_sha256}
        copies = list(_copies(config, [erasure.Names(address)], digests))
        letters += _left(config, told.letters, {path.stem for path in copies})
        _say_what_went(address, told, _delete(copies))
    _say_where_letters_are(config, letters)
    if erasure.scour(ledger):
        return True
    _say_what_is_left(config)
    return False


def _left(config: Config, letters: Sequence[LetterRow], gone: set[str]) -> Iterator[LetterRow]:
    """Those that still lie in a mailbox: of an ingested letter there was our copy only."""
    boxes = {box.name for one in config.mailboxes for box in one.each_folder()}
    for one in letters:
        if one.mailbox in boxes or one.raw_sha256 not in gone:
            yield one


def _say_what_went(address: str, told: Erased, copies: int) -> None:
    from bounced.text import safe

    rows = ", ".join(f"{count} {table}" for table, count in told.deleted.items() if count)
    for other in told.former:
        click.echo(f"  The same person as {safe(other)}: to forget that too, type it as well.")
    masked = told.masked.total()
    click.echo(f"{safe(address)} is forgotten. Deleted: {rows or 'no rows'}, {copies} raw copies.")
    if masked:
        click.echo(f"  It was named in {masked} other rows, and is masked there.")


def _say_where_letters_are(config: Config, letters: Sequence[LetterRow]) -> None:
    from bounced.cli.tables import cell
    from bounced.text import safe

    if not letters:
        return
    boxes = {box.name: box for one in config.mailboxes for box in one.each_folder()}
    click.echo("Letters about it are left in mailboxes, which bounced never deletes from:")
    for one in letters:
        box = boxes.get(one.mailbox)
        pile = one.destination or "processed"
        place = str(getattr(box, pile)) if box else pile
        named = f"Message-ID {one.message_id}" if one.message_id else "without a Message-ID"
        when = cell(one.received_at)
        click.echo(f"  mailbox {safe(one.mailbox)}, {safe(place)}: {safe(named)}, of {when}")


def _say_what_is_left(config: Config) -> None:
    if config.database.url.startswith("sqlite"):
        say("Another program is reading the database: traces are left in its file. Type it again.")
    else:
        say(
            "The database overwrites deleted rows in time; to have it done now: VACUUM FULL "
            "(PostgreSQL), OPTIMIZE TABLE (MariaDB). Its logs and backups are yours to look after."
        )


def _folders(config: Config) -> list[Path]:
    return [config.quarantine_folder, config.ingested_folder]


def _copies(config: Config, names: Sequence[Names], digests: set[str]) -> Iterator[Path]:
    """Raw copies that are of a letter on record, or name somebody in so many words."""
    for folder in _folders(config):
        for path in sorted(folder.rglob("*.eml")) if folder.is_dir() else ():
            if path.stem in digests or _names_any(path, names):
                yield path


def _names_any(path: Path, names: Sequence[Names]) -> bool:
    """As bytes, and with quoted-printable undone; what is base64 is known by its digest only."""
    import quopri

    raw = path.read_bytes()
    texts = (raw.decode("utf-8", "replace"), quopri.decodestring(raw).decode("utf-8", "replace"))
    return any(one.within(text) for one in names for text in texts)


def _delete(paths: Sequence[Path]) -> int:
    for path in paths:
        path.unlink(missing_ok=True)
    return len(paths)


@click.command()
@config_option
@click.pass_obj
def purge(settings: Settings) -> None:
    """Delete what is kept for longer than [privacy] says; `bounced run` does it every day.

    Without keep_raw_days, keep_events_days and keep_sent_days nothing is deleted but notices that
    no webhook took for a month. What a suppression rests on stays.
    """
    config = settings.config()
    with settings.ledger() as ledger:
        told = purged(config, ledger)
    for what, count in told.items():
        click.echo(f"{count} {what}")
    if not told:
        click.echo("Nothing is kept for a time only: [privacy] sets no days.")


def purged(config: Config, ledger: Ledger) -> dict[str, int]:
    """Do what [privacy] says now; how much of what."""
    from bounced.ledger import retention

    now = datetime.now(UTC)
    keep = config.privacy
    told: dict[str, int] = {}
    if keep.keep_raw_days:
        told["raw copies deleted"] = _delete(list(_older(config, keep.keep_raw_days)))
    if keep.keep_sent_days:
        before = now - timedelta(days=keep.keep_sent_days)
        told["entries of sent mail deleted"] = ledger.purge_sent(before)
    if keep.keep_events_days:
        before = now - timedelta(days=keep.keep_events_days)
        told["events deleted"] = sum(retention.purge_events(ledger, before, at=now))
    if keep.redact:
        told["rows redacted"] = sum(retention.redact(ledger))
    webhooks = [webhook.name for webhook in config.webhooks]
    if untold := retention.purge_outbox(ledger, now - KEEP_UNTOLD, webhooks):
        told["notices dropped that no webhook took"] = untold
    return told


def _older(config: Config, days: int) -> Iterator[Path]:
    oldest = time.time() - days * 86400
    for folder in _folders(config):
        for path in sorted(folder.rglob("*.eml")) if folder.is_dir() else ():
            if path.stat().st_mtime < oldest:
                yield path


def facts_of(told: dict[str, int]) -> dict[str, Any]:
    """What was purged, as a log line wants it."""
    return {what.replace(" ", "_"): count for what, count in told.items() if count}

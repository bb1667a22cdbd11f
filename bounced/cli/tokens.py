"""`bounced token` and `bounced sent`: how a report proves that it is about mail of ours."""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from bounced.cli.moments import moment_option
from bounced.cli.settings import Settings, config_option, ledger_options, say
from bounced.cli.subscribers import ADDRESS_COLUMNS, MAX_LINE, is_address
from bounced.text import safe

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import IO

    from bounced.trust import Key

ID_COLUMNS = ("message-id", "message_id", "messageid", "message id")


@click.group()
def token() -> None:
    """Tokens in the envelope sender, by which bounces are known for ours."""


@token.command()
@click.argument("recipient")
@click.option("--id", "name", default="x", show_default=True, help="Yours, of a-z and 2-7.")
@click.option("--domain", help="Print a whole address at this domain.")
@click.option("--prefix", default="b+", show_default=True, help="What stands before the token.")
@config_option
@click.pass_obj
def make(settings: Settings, recipient: str, name: str, domain: str | None, prefix: str) -> None:
    """Print the token for mail to RECIPIENT that is sent today, made with the first key."""
    from bounced import trust

    keys = _keys(settings)
    try:
        made = trust.make(keys[0], recipient, on=datetime.now(UTC).date(), id=name)
    except ValueError as problem:
        raise click.UsageError(str(problem)) from None
    click.echo(made if domain is None else f"{prefix}{made}@{domain}")


@token.command()
@click.argument("address")
@click.argument("recipient")
@config_option
@click.pass_obj
@click.pass_context
def verify(context: click.Context, settings: Settings, address: str, recipient: str) -> None:
    """Say whether the token in ADDRESS was given to RECIPIENT in the last 30 days; exits 1 if not.

    It is a token by itself, or an address that holds one.
    """
    from bounced import trust
    from bounced.cli.failures import Exit

    found = trust.find(address)
    keys = _keys(settings)
    if found is None:
        click.echo("No token in it.")
    elif trust.verify(found, recipient, keys, on=datetime.now(UTC).date()):
        click.echo(f"Verified: key {found.key}, id {found.id}.")
        return
    else:
        known = "" if found.key in {key.id for key in keys} else f" (there is no key {found.key})"
        click.echo(f"Not verified: forged, older than 30 days, or another recipient's{known}.")
    context.exit(Exit.PERSON_NEEDED)


def _keys(settings: Settings) -> Sequence[Key]:
    from bounced.config import ConfigError

    chosen = settings.config()
    keys = chosen.keys()
    if not keys:
        raise ConfigError(("there is no [[token_key]] to make or verify tokens with",), chosen.path)
    return keys


@click.group()
def sent() -> None:
    """What was sent, so that reports which return it are known for ours."""


@sent.command("import")
@click.argument("path", type=click.Path(allow_dash=True))
@ledger_options
@click.pass_obj
@click.pass_context
def import_file(context: click.Context, settings: Settings, path: str) -> None:
    """Add Message-IDs and recipients from a CSV file with a header row (message-id, email)."""
    from bounced.cli.failures import Exit

    with click.open_file(path, encoding="utf-8-sig", errors="replace") as file:
        log = SentLog(file)
        with settings.ledger(create=True) as ledger:
            new = ledger.import_sent(log.rows(), at=datetime.now(UTC))
    click.echo(f"{log.good} messages read, {new} new, {log.bad} lines not usable.")
    context.exit(Exit.PERSON_NEEDED if log.bad else Exit.DONE)


@sent.command()
@moment_option("--before", "What was imported before then goes; such as 60d.", required=True)
@ledger_options
@click.pass_obj
def purge(settings: Settings, before: datetime) -> None:
    """Forget old entries of the log; bounces of mail that old are not known for ours by it."""
    with settings.ledger() as ledger:
        click.echo(f"{ledger.purge_sent(before)} entries forgotten.")


class SentLog:
    """A CSV file of what was sent, read line by line; what cannot be used is told and counted."""

    def __init__(self, file: IO[str]) -> None:
        self.good = self.bad = 0
        self._file = file
        first = file.readline(MAX_LINE)
        self._delimiter = max(",;\t", key=first.count)
        header = next(csv.reader([first], delimiter=self._delimiter), [])
        names = [name.strip().lower() for name in header]
        self._id = self._column(names, ID_COLUMNS)
        self._address = self._column(names, ADDRESS_COLUMNS)

    @staticmethod
    def _column(names: list[str], wanted: Sequence[str]) -> int:
        for name in wanted:
            if name in names:
                return names.index(name)
        raise click.UsageError(
            f"the first line names no column {' or '.join(wanted[:3])}; "
            f"it holds: {safe(', '.join(names))[:200] or 'nothing'}"
        )

    def rows(self) -> Iterator[tuple[str, str]]:
        """(Message-ID, recipient) of every usable line."""
        for number, line in enumerate(self._file, 2):
            if not line.strip():
                continue
            cells = next(csv.reader([line], delimiter=self._delimiter), [])
            pair = self._pair(cells)
            if pair is None:
                self.bad += 1
                say(f"line {number}: no Message-ID and address: {line.strip()[:80]}")
            else:
                self.good += 1
                yield pair

    def _pair(self, cells: Sequence[str]) -> tuple[str, str] | None:
        if max(self._id, self._address) >= len(cells):
            return None
        message_id, address = cells[self._id].strip(), cells[self._address].strip()
        return (message_id, address) if message_id.strip("<>") and is_address(address) else None

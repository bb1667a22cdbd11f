"""`bounced token`, `reactivate` and `sent`: what proves that somebody has heard from us."""

from __future__ import annotations

import csv
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import click

from bounced.cli.moments import moment_option
from bounced.cli.settings import Settings, config_option, ledger_options, say
from bounced.cli.subscribers import ADDRESS_COLUMNS, MAX_LINE, is_address
from bounced.text import safe

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
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


@token.command()
@click.argument("address")
@click.option(
    "--valid",
    type=click.IntRange(1, 365),
    default=7,
    show_default=True,
    metavar="DAYS",
    help="How long the link is good for.",
)
@click.option("--url", help="Print a whole link: this address with the token behind it.")
@config_option
@click.pass_obj
def reactivation(settings: Settings, address: str, valid: int, url: str | None) -> None:
    """Print a token with which ADDRESS may be mailed again, for a link in a letter to its owner.

    It is good once, until it runs out; `bounced reactivate TOKEN` takes it. Made with the first
    key; nothing is written down.
    """
    from bounced import trust

    if not is_address(address):
        raise click.UsageError(f"this is no address: {safe(address)[:80]}")
    now = datetime.now(UTC)
    made = trust.make_link(_keys(settings)[0], address, at=now, until=now + timedelta(days=valid))
    click.echo(made if url is None else f"{url}{'&' if '?' in url else '?'}token={made}")


# What is said of a link, and whether its holder may be mailed now.
ANSWERS: Final[Mapping[str, tuple[str, bool]]] = {
    "released": ("may be mailed again.", True),
    "not suppressed": ("may be mailed; there was nothing to do.", True),
    "used": ("was suppressed again since this link was used. Nothing was changed.", False),
    "newer": ("was suppressed after this link was made. Nothing was changed.", False),
    "complained": ("has complained: only an operator can release it. Nothing was changed.", False),
}


@click.command()
@click.argument("given", metavar="TOKEN")
@click.option("--even-after-complaint", is_flag=True, help="Release who has complained, too.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@ledger_options
@click.pass_obj
@click.pass_context
def reactivate(
    context: click.Context,
    settings: Settings,
    given: str,
    *,
    even_after_complaint: bool,
    as_json: bool,
) -> None:
    """Let the address that TOKEN was made for be mailed again (`-` reads it from stdin).

    Exits with 0 when it may be mailed now, and with 1 when the link is forged, has run out or was
    used, or when there is newer evidence or a complaint. To repeat it changes nothing.
    """
    from bounced import trust
    from bounced.cli.failures import Exit
    from bounced.ledger.reactivation import reactivate as release_by
    from bounced.report import json_line

    now = datetime.now(UTC)
    text = sys.stdin.readline(MAX_LINE) if given == "-" else given
    link = trust.read_link(text, _keys(settings))
    if link is None or link.expires_at < now:
        outcome = "forged" if link is None else "expired"
        words = "This link was not made here." if link is None else "This link has run out."
        allowed = False
    else:
        with settings.ledger() as ledger:
            outcome = release_by(ledger, link, at=now, complaints=even_after_complaint).value
        words, allowed = ANSWERS[outcome]
        words = f"{safe(link.address)} {words}"
    about = {
        "outcome": outcome,
        "address": link.address if link else None,
        "may_be_mailed": allowed,
    }
    click.echo(json_line(about) if as_json else words)
    context.exit(Exit.DONE if allowed else Exit.PERSON_NEEDED)


def _keys(settings: Settings) -> Sequence[Key]:
    from bounced.config import ConfigError

    chosen = settings.config()
    keys = chosen.keys()
    if not keys:
        known = "config.example.toml shows one; for its secret type: openssl rand -base64 32"
        raise ConfigError(
            (f"there is no [[token_key]] to make or verify tokens with; {known}",), chosen.path
        )
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
    from bounced.cli.tables import counted

    with click.open_file(path, encoding="utf-8-sig", errors="replace") as file:
        log = SentLog(file)
        with settings.ledger(create=True) as ledger:
            new = ledger.import_sent(log.rows(), at=datetime.now(UTC))
    read = counted(log.good, "message")
    click.echo(f"{read} read, {new} new, {counted(log.bad, 'line')} not usable.")
    if new and settings.ledger_config().policy.trust == "any":
        say('Every report counts all the same; see trust = "matched" in [policy].')
    context.exit(Exit.PERSON_NEEDED if log.bad else Exit.DONE)


@sent.command()
@moment_option("--before", "What was imported before then goes; such as 60d.", required=True)
@ledger_options
@click.pass_obj
def purge(settings: Settings, before: datetime) -> None:
    """Forget old entries of the log; bounces of mail that old are not known for ours by it."""
    from bounced.cli.tables import counted

    with settings.ledger() as ledger:
        count = ledger.purge_sent(before)
    click.echo(f"{counted(count, 'entry', 'entries')} forgotten.")


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

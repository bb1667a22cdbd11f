"""`bounced demo`: a real sync, from a real IMAP server, with nothing to prepare."""

from __future__ import annotations

import shlex
import shutil
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from string import ascii_letters
from typing import TYPE_CHECKING

import click

from bounced.cli.stopping import Stop

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bounced.config import Config, MailboxConfig
    from bounced.ledger import EventRow, Ledger
    from bounced.mailbox.demo_server import DemoServer
    from bounced.sync import Tally

DATABASE = "bounced-demo.db"
LISTED = 8  # rows of the suppression list that are shown


@click.command()
def demo() -> None:
    """Sync sample bounces from a small IMAP server of its own into ./bounced-demo.db."""
    from bounced.config import Config, Database, database_url
    from bounced.mailbox.demo_server import demo_letters, demo_server, fill
    from bounced.policy import Brake

    letters = demo_letters()
    config = Config(
        Database(database_url(DATABASE)),
        # every letter here is meant to be judged at once; a real list keeps the brake
        brake=Brake(share=1.0, floor=len(letters)),
    )
    with demo_server() as server:
        count = fill(server, (path.read_bytes() for path in letters))
        click.echo(f"An IMAP server on {server.host}:{server.port} holds {count} sample letters.")
        ledger = _emptied(config, server)
    try:
        _show(ledger, letters)
    finally:
        ledger.close()


def _emptied(config: Config, server: DemoServer) -> Ledger:
    from bounced.cli.settings import open_ledger
    from bounced.cli.sync import empty, summary
    from bounced.sync import Observer

    ledger = open_ledger(config)
    began = time.monotonic()
    tally: Tally = empty(_mailbox(server), ledger, Stop(), Observer())
    click.echo(summary("demo", tally, time.monotonic() - began) + f", into ./{DATABASE}\n")
    return ledger


def _mailbox(server: DemoServer) -> MailboxConfig:
    from bounced.config import MailboxConfig, Port, Secret

    return MailboxConfig(
        name="demo",
        host=server.host,
        port=Port(server.port),
        tls="none",
        allow_plaintext=True,
        user=server.user,
        password=Secret("password", server.password),
    )


def _show(ledger: Ledger, letters: Sequence[Path]) -> None:
    from bounced.cli.tables import print_table

    events = list(reversed(ledger.recent(10 * len(letters))))
    rows = [(e.address, e.outcome, e.reason, e.said) for e in _one_of_each(events)]
    title = f"Concluded: {len(events)} fates, here one of each reason"
    print_table(("address", "outcome", "reason", "the server said"), rows, title=title)
    listed = list(ledger.suppressed(at=datetime.now(UTC)))
    columns = ("address", "reason", "until", "because")
    lines = [(s.address, s.reason, s.expires_at or "for good", s.because) for s in listed[:LISTED]]
    title = f"Suppressed: {len(listed)} addresses not to be mailed, here the first {len(lines)}"
    print_table(columns, lines, title=title)
    # an address that is easy to type, with a server's own words on record
    known = next(row.address for row in listed if row.said and row.address[0] in ascii_letters)
    click.echo("Try next:")
    for command in _next_commands(known, letters[0]):
        click.echo(f"  {command}")


def _one_of_each(events: Sequence[EventRow]) -> list[EventRow]:
    """The first event of each reason, those first that say most against an address."""
    from bounced.model import Outcome

    order = list(Outcome)
    firsts = {(e.outcome, e.reason): e for e in reversed(events)}
    return sorted(firsts.values(), key=lambda e: (order.index(Outcome(e.outcome)), e.reason))


def _next_commands(address: str, letter: Path) -> Iterator[str]:
    program = _program()
    yield f"{program} explain {shlex.quote(address)} --db {DATABASE}"
    yield f"{program} suppressed --format csv --db {DATABASE}"
    yield f"{program} release {shlex.quote(address)} --note 'wrote to us' --db {DATABASE}"
    yield f"{program} parse {shlex.quote(_near(letter))}"
    if not Path("config.toml").exists():
        yield f"{program} init"


def _program() -> str:
    """What to type to start this program again, from here."""
    typed = sys.argv[0]
    known = shutil.which("bounced")
    same = known is not None and Path(typed).exists() and Path(known).samefile(typed)
    return "bounced" if same or Path(typed).name != "bounced" else shlex.quote(typed)


def _near(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)

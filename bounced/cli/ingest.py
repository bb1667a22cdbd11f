"""`bounced ingest`: letters handed over by an MTA, or lying in files, without a mailbox."""

from __future__ import annotations

import sys
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from bounced.cli.failures import Exit, failure, most_urgent
from bounced.cli.settings import Settings, config_option, open_ledger, say
from bounced.cli.sync import owner, summary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bounced.config import Config
    from bounced.ledger import Ledger
    from bounced.mailbox.folder import Found
    from bounced.model import Destination
    from bounced.sync import Tally

# An MTA may hand over many letters at once; each waits for its turn so long.
PATIENCE = 60.0


@click.command(short_help="Record letters from standard input or files.")
@click.argument("paths", nargs=-1, metavar="PATH...", required=True)
@click.option("--mailbox", default="ingest", show_default=True, help="What the ledger calls them.")
@click.option("--discard", is_flag=True, help="Keep no copy of what was understood and recorded.")
@config_option
@click.pass_context
def ingest(context: click.Context, paths: tuple[str, ...], *, mailbox: str, discard: bool) -> None:
    """Record the letters at each PATH: .eml, mbox, maildir, folder; `-` is standard input.

    For an MTA's pipe ("|bounced ingest -"): whatever goes wrong exits with 75, so that the MTA
    keeps the letter and tries again; 0 means that it is recorded. Files stay where they are.
    """
    piped = "-" in paths
    try:
        code = _ingest(context.ensure_object(Settings), paths, mailbox, discard=discard)
    except Exception as problem:
        if not piped:
            raise
        # an MTA takes every other code for a refusal, and the letter would be lost
        for sentence in failure(problem).sentences:
            say(sentence)
        code = Exit.TRY_AGAIN
    context.exit(code)


def _ingest(settings: Settings, paths: Sequence[str], mailbox: str, *, discard: bool) -> Exit:
    config = settings.config()
    ledger = open_ledger(config)
    codes = [Exit.DONE]
    try:
        for path in paths:
            for found in _batches(path):
                codes += [_unread(one) for one in found if one.problem]
                letters = [(one.raw, one.truncated) for one in found if not one.problem]
                began = time.monotonic()
                tally = record_letters(letters, mailbox, ledger, config, discard=discard)
                if sys.stdout.isatty():
                    click.echo(summary(mailbox, tally, time.monotonic() - began))
                held = tally.held and path != "-"
                codes.append(Exit.PERSON_NEEDED if held else Exit.DONE)
    finally:
        ledger.close()
    return most_urgent(codes)


def _batches(path: str) -> Iterator[list[Found]]:
    """Letters in bounded lists, for one run each."""
    from bounced.mailbox.folder import read_path

    some: list[Found] = []
    size = 0
    for found in read_path(path):
        some.append(found)
        size += len(found.raw)
        if len(some) >= 200 or size > 16_000_000:
            yield some
            some, size = [], 0
    if some:
        yield some


def _unread(found: Found) -> Exit:
    say(f"{found.source}: {found.problem}")
    return Exit.TRY_AGAIN if found.source == "-" else Exit.PERSON_NEEDED


def record_letters(
    letters: Sequence[tuple[bytes, bool]],
    mailbox: str,
    ledger: Ledger,
    config: Config,
    *,
    discard: bool,
) -> Tally:
    """Record letters that lie in no mailbox: bytes, and whether these are only the beginning.

    When it returns, the facts are committed and a copy of each letter is on the disk. What comes
    within the brake's window is one run. Raises what `bounced.sync.sync` raises; a mailbox that
    somebody else is at work on is waited for.
    """
    from bounced import sync as loop
    from bounced.mailbox.quarantine import Quarantine
    from bounced.mailbox.spool import HandedLetters

    handed = HandedLetters(mailbox, letters, _keeper(config, discard=discard))
    keep = Quarantine(config.quarantine_folder).keep
    gather = timedelta(minutes=config.brake.window_minutes)
    began = time.monotonic()
    while True:
        try:
            return loop.sync(
                handed,
                ledger,
                loop.Observer(),
                owner=owner(),
                books=config.rules,
                keep=keep,
                gather=gather,
            )
        except loop.LeaseTakenError:
            if time.monotonic() - began > PATIENCE:
                raise
            time.sleep(0.2)


def _keeper(config: Config, *, discard: bool) -> Callable[[bytes, Destination], object]:
    """Where letters go that lie in no mailbox: one folder for each pile, near the database."""
    from bounced.mailbox.quarantine import Quarantine
    from bounced.model import Destination as To

    def keep(raw: bytes, pile: Destination) -> None:
        if pile is not To.QUARANTINE and not (discard and pile is To.PROCESSED):
            Quarantine(config.ingested_folder / pile.value).keep(raw)

    return keep

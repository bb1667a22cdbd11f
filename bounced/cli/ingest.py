"""`bounced ingest`: letters handed over by an MTA, or lying in files, without a mailbox."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import click

from bounced.cli.failures import Exit, failure, most_urgent
from bounced.cli.settings import Settings, config_option, jobs_option, open_ledger, say
from bounced.cli.sync import owner, summary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from bounced.config import Config
    from bounced.jobs import Jobs
    from bounced.ledger import Ledger
    from bounced.mailbox.folder import Found
    from bounced.model import Destination, Letter, Reading
    from bounced.sync import Tally

# An MTA may hand over many letters at once; each waits for its turn so long.
PATIENCE = 60.0
# Letters that are recorded at once: twice as many as of a mailbox, since these are here already.
BATCH = 1000


@click.command()
@click.argument("paths", nargs=-1, metavar="PATH...", required=True)
@click.option("--mailbox", default="ingest", show_default=True, help="What the ledger calls them.")
@click.option("--discard", is_flag=True, help="Keep no copy of what was understood and recorded.")
@jobs_option
@config_option
@click.pass_context
def ingest(
    context: click.Context, paths: tuple[str, ...], *, mailbox: str, discard: bool, jobs: int
) -> None:
    """Record the letters at each PATH: .eml, mbox, maildir, folder; `-` is standard input.

    For an MTA's pipe ("|bounced ingest -"): whatever goes wrong exits with 75, so that the MTA
    keeps the letter and tries again; 0 means that it is recorded. Files stay where they are.
    """
    piped = "-" in paths
    try:
        code = _ingest(context.ensure_object(Settings), paths, mailbox, discard=discard, jobs=jobs)
    except Exception as problem:
        if not piped:
            raise
        # an MTA takes every other code for a refusal, and the letter would be lost
        for sentence in failure(problem).sentences:
            say(sentence)
        code = Exit.TRY_AGAIN
    context.exit(code)


def _ingest(
    settings: Settings, paths: Sequence[str], mailbox: str, *, discard: bool, jobs: int
) -> Exit:
    from bounced.jobs import Jobs
    from bounced.rules import rulebook

    config = settings.config()
    rulebook(config.rules)  # made once, before there are several of us
    codes = [Exit.DONE]
    work = partial(_read, books=config.rules)
    with Jobs(jobs, work, _deadly, lambda found: len(found.raw)) as several:
        ledger = open_ledger(config)
        try:
            for path in paths:
                for some in _batches(path, several if jobs > 1 else None):
                    codes += [_unread(found) for found, _ in some if found.problem]
                    letters = [(one.raw, one.truncated) for one, _ in some if not one.problem]
                    read = {reading.uid: reading for _, reading in some if reading is not None}
                    began = time.monotonic()
                    tally = record_letters(
                        letters, mailbox, ledger, config, discard=discard, read=read
                    )
                    if sys.stdout.isatty():
                        click.echo(summary(mailbox, tally, time.monotonic() - began))
                    held = tally.held and path != "-"
                    codes.append(Exit.PERSON_NEEDED if held else Exit.DONE)
        finally:
            ledger.close()
    return most_urgent(codes)


def _read(some: Sequence[Found], books: tuple[Path, ...]) -> list[Reading | None]:
    """What another process makes of letters; None where there is nothing to read."""
    from bounced.mailbox.spool import number_of
    from bounced.model import Letter
    from bounced.reading import read_letter

    now = datetime.now(UTC)

    def letter(one: Found) -> Letter:
        return Letter(number_of(one.raw), one.raw, None, one.truncated)

    return [None if one.problem else read_letter(letter(one), now, books) for one in some]


def _deadly(found: Found) -> Reading:
    from bounced.mailbox.spool import number_of
    from bounced.model import Letter
    from bounced.reading import quarantined

    letter = Letter(number_of(found.raw), found.raw)
    return quarantined(letter, datetime.now(UTC), "poison: the reader died of it")


def _batches(
    path: str, several: Jobs[Found, Reading | None] | None
) -> Iterator[list[tuple[Found, Reading | None]]]:
    """Letters, and what others have made of them, in bounded lists, for one run each."""
    from bounced.mailbox.folder import read_path

    letters = read_path(path)
    some: list[tuple[Found, Reading | None]] = []
    size = 0
    for one in ((found, None) for found in letters) if several is None else several.pairs(letters):
        some.append(one)
        size += len(one[0].raw)
        if len(some) >= BATCH or size > 16_000_000:
            yield some
            some, size = [], 0
    if some:
        yield some


def _unread(found: Found) -> Exit:
    say(f"{found.source}: {found.problem}")
    return Exit.TRY_AGAIN if found.source == "-" else Exit.PERSON_NEEDED


def record_letters(  # noqa: PLR0913 - what is handed over, where to, and what is known of it
    letters: Sequence[tuple[bytes, bool]],
    mailbox: str,
    ledger: Ledger,
    config: Config,
    *,
    discard: bool,
    read: Mapping[int, Reading] | None = None,
) -> Tally:
    """Record letters that lie in no mailbox: bytes, and whether these are only the beginning.

    When it returns, the facts are committed and a copy of each letter is on the disk. What comes
    within the brake's window is one run. Raises what `bounced.sync.sync` raises; a mailbox that
    somebody else is at work on is waited for. `read` holds what others have made of the letters
    already, by their numbers.
    """
    from bounced import sync as loop
    from bounced.mailbox.quarantine import Quarantine
    from bounced.mailbox.spool import HandedLetters

    def reader(letter: Letter, at: datetime, _: tuple[Path, ...]) -> Reading:
        assert read is not None  # noqa: S101 - asked only then
        found = read[letter.uid]
        return found if found.received_at <= at else replace(found, received_at=at)

    handed = HandedLetters(mailbox, letters, _keeper(config, discard=discard))
    keep = Quarantine(config.quarantine_folder).keep
    gather = timedelta(minutes=config.brake.window_minutes)
    began = time.monotonic()
    while True:
        try:
            tally = loop.sync(
                handed,
                ledger,
                loop.Observer(),
                owner=owner(),
                batch=BATCH,
                books=config.rules,
                keep=keep,
                gather=gather,
                read=reader if read else None,
            )
            _drop_unkept(config, ledger, tally)
        except loop.LeaseTakenError:
            if time.monotonic() - began > PATIENCE:
                raise
            time.sleep(0.2)
        else:
            return tally


def _drop_unkept(config: Config, ledger: Ledger, tally: Tally) -> None:
    """Keep no copy of a letter about somebody who was forgotten."""
    from bounced.ledger.erasure import unkept
    from bounced.mailbox.quarantine import Quarantine
    from bounced.model import Destination

    for digest in unkept(ledger, tally.run_id):
        for pile in Destination:
            Quarantine(config.ingested_folder / pile.value).forget(digest)


def _keeper(config: Config, *, discard: bool) -> Callable[[Sequence[bytes], Destination], object]:
    """Where letters go that lie in no mailbox: one folder for each pile, near the database."""
    from bounced.mailbox.quarantine import Quarantine
    from bounced.model import Destination as To

    def keep(raws: Sequence[bytes], pile: Destination) -> None:
        if pile is not To.QUARANTINE and not (discard and pile is To.PROCESSED):
            Quarantine(config.ingested_folder / pile.value).keep_all(raws)

    return keep

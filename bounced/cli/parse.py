"""`bounced parse`: what letters on disk tell, without a database or a configuration."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bounced.model import Conclusion


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a letter.")
@click.pass_context
def parse(context: click.Context, paths: tuple[str, ...], *, as_json: bool) -> None:
    """Print what is concluded from the letters at PATH.

    PATH is an .eml file, an mbox, a maildir, a folder of these, or - for standard input. Exits 1
    when something there could not be read; the rest is printed all the same.
    """
    from bounced.cli.failures import Exit
    from bounced.report import as_object, as_text, json_line

    unread = 0
    for source, conclusion, was_read in conclusions(paths):
        unread += not was_read
        if as_json:
            sys.stdout.write(json_line(as_object(source, conclusion)) + "\n")
        else:
            sys.stdout.writelines(f"{line}\n" for line in as_text(source, conclusion))
    context.exit(Exit.PERSON_NEEDED if unread else Exit.DONE)


def conclusions(paths: tuple[str, ...]) -> Iterator[tuple[str, Conclusion, bool]]:
    """Source, conclusion and whether it could be read, for every letter; never raises for mail."""
    from bounced.mailbox.folder import read_path
    from bounced.model import Letter
    from bounced.reading import read_letter
    from bounced.report import unread

    for path in paths:
        for uid, found in enumerate(read_path(path), 1):
            if found.problem is not None:
                why = found.problem.removeprefix("It cannot be read: ").rstrip(".")
                yield found.source, unread(why), False
            else:
                letter = Letter(uid=uid, raw=found.raw, truncated=found.truncated)
                yield found.source, read_letter(letter, datetime.now(UTC)).conclusion, True

"""`bounced parse`: what letters on disk tell, without a database or a configuration."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import click

from bounced.cli.settings import jobs_option

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bounced.mailbox.folder import Found
    from bounced.model import Conclusion


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a letter.")
@jobs_option
@click.pass_context
def parse(context: click.Context, paths: tuple[str, ...], *, as_json: bool, jobs: int) -> None:
    """Print what is concluded from the letters at PATH.

    PATH is an .eml file, an mbox, a maildir, a folder of these, or - for standard input. Exits 1
    when something there could not be read; the rest is printed all the same.
    """
    from bounced.cli.failures import Exit
    from bounced.jobs import Jobs
    from bounced.rules import rulebook

    rulebook(())  # made once, before there are several of us
    unread = 0
    work, rescue = partial(told, as_json=as_json), partial(deadly, as_json=as_json)
    with Jobs(jobs, work, rescue, lambda found: len(found.raw)) as several:
        for text, was_read in several.results(letters(paths)):
            unread += not was_read
            sys.stdout.write(text)
    context.exit(Exit.PERSON_NEEDED if unread else Exit.DONE)


def letters(paths: tuple[str, ...]) -> Iterator[Found]:
    """Every letter at the paths, in their order; never raises for mail."""
    from bounced.mailbox.folder import read_path

    for path in paths:
        yield from read_path(path)


def told(some: Sequence[Found], *, as_json: bool) -> list[tuple[str, bool]]:
    """What is printed of each letter, and whether it could be read."""
    return [_told(found, as_json=as_json) for found in some]


def deadly(found: Found, *, as_json: bool) -> tuple[str, bool]:
    """The same of a letter that has killed a process which did nothing but read it."""
    from bounced.report import unread

    return _printed(found.source, unread("the reader died of it"), as_json=as_json), False


def _told(found: Found, *, as_json: bool) -> tuple[str, bool]:
    from bounced.model import Letter
    from bounced.reading import read_letter
    from bounced.report import unread

    if found.problem is not None:
        why = found.problem.removeprefix("It cannot be read: ").rstrip(".")
        return _printed(found.source, unread(why), as_json=as_json), False
    letter = Letter(uid=1, raw=found.raw, truncated=found.truncated)
    conclusion = read_letter(letter, datetime.now(UTC)).conclusion
    return _printed(found.source, conclusion, as_json=as_json), True


def _printed(source: str, conclusion: Conclusion, *, as_json: bool) -> str:
    from bounced.report import as_object, as_text, json_line

    if as_json:
        return json_line(as_object(source, conclusion)) + "\n"
    return "".join(f"{line}\n" for line in as_text(source, conclusion))

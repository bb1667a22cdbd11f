"""`bounced review`: what the rules did not understand, and a rule of the operator's own for it."""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bounced.cli.rules import book_option, books
from bounced.cli.settings import Settings, json_option, ledger_options, say
from bounced.text import safe

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bounced.ledger.rows import UndeterminedRow
    from bounced.model import Reason
    from bounced.rules.templates import Draft

HEADER = """\
# Rules of our own. They are asked before the built-in ones; the first that fits wins.
# To test them:               bounced rules test
# To judge the past by them:  bounced reclassify
"""
OUTCOMES = ("hard", "soft", "blocked", "none")


@dataclass(slots=True)
class Cluster:
    """Replies that differ only in names and numbers."""

    template: str
    example: UndeterminedRow
    events: int = 0
    addresses: set[int] = field(default_factory=set)  # hashes: a list may be long

    def add(self, row: UndeterminedRow) -> None:
        self.events += 1
        self.addresses.add(hash(row.address))


@dataclass(frozen=True, slots=True)
class Choice:
    """What the operator typed of the rule to be written."""

    pick: int
    outcome: str | None
    reason: str | None
    because: str | None
    phrase: str | None
    anyway: bool


@click.command()
@click.option("--below", default=0.5, show_default=True, help="Count as unsure below this.")
@click.option("--limit", default=20, show_default=True, help="How many groups to show.")
@click.option("--pick", type=int, metavar="N", help="Write a rule for group N of the list.")
@click.option("--outcome", type=click.Choice(OUTCOMES), help="What such a reply means.")
@click.option("--reason", help="Why, as in: user_unknown, mailbox_full, policy_block.")
@click.option("--because", help="The rule's sentence for people.")
@click.option("--phrase", help="Words to go by instead of the whole reply's (… = then, later on).")
@click.option("--anyway", is_flag=True, help="Write it even if it wins other rules' examples.")
@json_option
@book_option
@ledger_options
@click.pass_obj
def review(  # noqa: PLR0913 - a rule has many parts
    settings: Settings,
    *,
    below: float,
    limit: int,
    pick: int | None,
    outcome: str | None,
    reason: str | None,
    because: str | None,
    phrase: str | None,
    anyway: bool,
    as_json: bool,
    book: Path | None,
) -> None:
    """List replies that no rule understood, grouped, those that touch most addresses first.

    With --pick a rule for one group is added to your own book (--book, else the first that the
    configuration names), asking for what was not typed. A book is checked before it is written.
    """
    with settings.ledger() as ledger:
        every = clusters(ledger.undetermined(below=below))
    found = _unanswered(every, settings, book)
    if len(found) < len(every):
        say(f"Left out: {len(every) - len(found)} groups for which you have written a rule.")
        say("To judge what is on record by it, type: bounced reclassify --apply")
    if pick is None and as_json:
        _print_json(found[:limit])
        return
    if pick is None:
        _show(found, limit)
        return
    if not 1 <= pick <= len(found):
        raise click.UsageError(f"there is no group {pick}; there are {len(found)}")
    choice = Choice(pick, outcome, reason, because, phrase, anyway)
    _write(settings, draft(found[pick - 1], choice), book, anyway=anyway)


def clusters(rows: Iterable[UndeterminedRow]) -> list[Cluster]:
    """Rows by template; most addresses first, then most events, then by template."""
    from bounced.rules.templates import template

    found: dict[str, Cluster] = {}
    for row in rows:
        of = template(row.said, row.address, row.recipient)
        found.setdefault(of, Cluster(of, row)).add(row)
    return sorted(found.values(), key=lambda one: (-len(one.addresses), -one.events, one.template))


def _unanswered(found: list[Cluster], settings: Settings, book: Path | None) -> list[Cluster]:
    """Without the groups that a rule of the operator's own would decide today."""
    from bounced.model import RecipientReport
    from bounced.rules import matching, unproven
    from bounced.smtp import parse_reply

    configured = tuple(path for path in books(settings, book) if path.exists())
    if not configured:
        return found
    every = unproven(configured)

    def answered(row: UndeterminedRow) -> bool:
        report = RecipientReport(row.recipient, parse_reply(row.said), remote_mta=row.remote_mta)
        winner = next(matching(report, rules=every), None)
        return winner is not None and not winner.level and winner.id != row.rule

    return [one for one in found if not answered(one.example)]


def _print_json(found: Iterable[Cluster]) -> None:
    from bounced.report import json_line

    for number, one in enumerate(found, 1):
        example = one.example
        counts = {"group": number, "addresses": len(one.addresses), "events": one.events}
        judged = {name: getattr(example, name) for name in ("outcome", "reason", "confidence")}
        click.echo(json_line({**counts, **judged, "rule": example.rule, "said": example.said}))


def _show(found: Sequence[Cluster], limit: int) -> None:
    from bounced.cli.tables import print_table

    if not found:
        click.echo("Nothing waits for review.")
        return
    rows = [
        (
            number,
            len(one.addresses),
            one.events,
            f"{one.example.outcome}, {one.example.reason}",
            one.example.said or "(no text)",
        )
        for number, one in enumerate(found[:limit], 1)
    ]
    print_table(("group", "addresses", "events", "judged", "for example"), rows)
    if len(found) > limit:
        say(f"{len(found) - limit} more groups; to see them, add --limit {len(found)}")
    say("To see how one is judged:  bounced rules show 'TEXT'")
    say("To write a rule for one:   bounced review --pick 1 --outcome hard --reason user_unknown")


def draft(cluster: Cluster, choice: Choice) -> Draft:
    """The rule for a group, without its id. Asks on a terminal for what was not typed."""
    from bounced.model import Outcome
    from bounced.rules.templates import Draft, example, phrase

    row = cluster.example
    says = choice.phrase or phrase(cluster.template)
    if not says:
        raise click.UsageError("this reply has no words to go by; give --phrase")
    if choice.outcome is None or choice.reason is None:
        click.echo(f"said: {safe(row.said)}", err=True)
        click.echo(f"words to go by: {safe(says)}", err=True)
    outcome = choice.outcome or _asked("outcome", OUTCOMES)
    reason = _reason(choice.reason)
    because = choice.because or f"Our own judgement of such a reply: {outcome}, {reason.value}."
    count = f"{cluster.events} replies" if cluster.events > 1 else "a reply"
    source = f"{count} on record on {datetime.now(UTC):%Y-%m-%d}"
    return Draft("", says, Outcome(outcome), reason, because, source, example(row.said))


def _asked(what: str, choices: Sequence[str]) -> str:
    if not sys.stdin.isatty():
        raise click.UsageError(f"give --{what}: one of {', '.join(choices)}")
    answer: str = click.prompt(what, type=click.Choice(choices), show_choices=True, err=True)
    return answer


def _reason(given: str | None) -> Reason:
    from bounced.model import Reason
    from bounced.rules.books import nearest

    choices = [reason.value for reason in Reason if reason is not Reason.MAILBOX_FULL_PERSISTENT]
    given = given or _asked("reason", choices)
    if given not in choices:
        raise click.UsageError(f"--reason {given!r} is not one of ours{nearest(given, choices)}")
    return Reason(given)


def _write(settings: Settings, new: Draft, book: Path | None, *, anyway: bool) -> None:
    """Add the rule to the book once the whole of it has been checked, and say what comes next."""
    from dataclasses import replace

    from bounced.rules.templates import fresh_id, ids, proven

    configured = books(settings, None)
    target = book or (configured[0] if configured else Path("rules.toml"))
    before = target.read_text("utf-8") if target.exists() else HEADER
    others = [path for path in configured if not _same(path, target)]
    pages = [(path.name, path.read_text("utf-8")) for path in others]
    new = replace(new, id=fresh_id(new.says, ids([*pages, (target.name, before)])))
    after = f"{before.rstrip()}\n\n{new.toml()}"
    stolen = proven([(target.name, after), *pages], new.id)
    if stolen and not anyway:
        _refuse(new, stolen)
    replace_file(target, after)
    click.echo(new.toml().rstrip())
    say(f"Added to {target}.")
    if not any(_same(path, target) for path in configured):
        say(f'So that it is read, write into the configuration: rules = ["{target.resolve()}"]')
    say("To judge what is on record by it, type: bounced reclassify")


def _refuse(new: Draft, stolen: Sequence[str]) -> None:
    from bounced.cli.failures import Exit

    say("Nothing was written.")
    say(f"{new.says!r} would also decide {len(stolen)} replies that other rules know,")
    say(f"for example: {stolen[0]}")
    say("Give words of its own with --phrase, or add --anyway.")
    raise click.exceptions.Exit(Exit.PERSON_NEEDED)


def _same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()


def replace_file(path: Path, text: str) -> None:
    """Write a file so that it is either the old or the new one, whatever happens meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    number, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(number, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise

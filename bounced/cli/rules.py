"""`bounced rules`: the books of judgement put to the test, and asked what a reply means."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bounced.cli.settings import Settings, config_option, say
from bounced.text import safe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bounced.model import RecipientReport
    from bounced.rules import Lapse, Rule

book_option = click.option(
    "--book",
    "book",
    type=click.Path(path_type=Path),
    help="A book of yours (else those that the configuration names under rules).",
)


@click.group()
def rules() -> None:
    """The books that say what a server's reply means."""


@rules.command()
@book_option
@config_option
@click.pass_context
def test(context: click.Context, book: Path | None) -> None:
    """Run every example and counterexample of all books, yours too; exit 1 where one fails."""
    from bounced.cli.failures import Exit
    from bounced.rules import lapses, unproven

    every = unproven(books(context.find_object(Settings) or Settings(), book))
    failed = list(lapses(every))
    for lapse in failed:
        click.echo("\n".join(_told(lapse)))
    texts = sum(len(rule.examples) + len(rule.counterexamples) for rule in every)
    own = sum(not rule.level for rule in every)
    click.echo(f"{len(every)} rules ({own} yours), {texts} texts, {len(failed)} failures.")
    context.exit(Exit.PERSON_NEEDED if failed else Exit.DONE)


def books(settings: Settings, book: Path | None) -> tuple[Path, ...]:
    """The operator's books: the one named, else the configuration's, else none."""
    from bounced import config

    if book is not None:
        return (book,)
    if settings.config_path is None and not any(place.is_file() for place in config.places()):
        return ()
    return settings.config().rules


def place(rule: Rule) -> str:
    """Where a rule stands: `phrases/4-dead.toml:120`."""
    return f"{safe(rule.book)}:{rule.line}" if rule.line else safe(rule.book)


def _told(lapse: Lapse) -> Iterator[str]:
    wins = "does not win its example" if lapse.wanted else "wins its counterexample"
    yield f"{place(lapse.rule)}: {safe(lapse.rule.id)} {wins}"
    yield f"    {safe(lapse.text)}"
    if lapse.wanted:
        found = lapse.winner
        who = f"{safe(found.id)} ({place(found)})" if found else "no rule"
        yield f"    won by {who}"


@rules.command()
@click.argument("text")
@click.option("--to", "address", default="", metavar="ADDRESS", help="The recipient.")
@click.option("--mta", metavar="HOST", help="The host that answered.")
@click.option("--command", metavar="VERB", help="The SMTP command that it answered, such as RCPT.")
@book_option
@config_option
@click.pass_obj
def show(  # noqa: PLR0913 - one parameter for each thing a report may tell
    settings: Settings,
    *,
    text: str,
    address: str,
    mta: str | None,
    command: str | None,
    book: Path | None,
) -> None:
    """Show every rule that fits the reply TEXT (- reads standard input), the winner first."""
    from bounced.model import RecipientReport
    from bounced.rules import classify, matching, rulebook
    from bounced.smtp import parse_reply

    text = sys.stdin.read() if text == "-" else text
    every = rulebook(books(settings, book))
    reply = parse_reply(text, command=command.upper() if command else None)
    recipient = RecipientReport(address, reply, remote_mta=mta)
    for line in _read(recipient):
        click.echo(line)
    verdict = classify(recipient, rules=every)
    click.echo(
        f"verdict: {verdict.outcome.value}, {verdict.reason.value}, {verdict.confidence:.2f}"
    )
    click.echo(f"  {safe(verdict.because)}")
    number = 0
    for number, rule in enumerate(matching(recipient, rules=every), 1):
        what = f"{rule.outcome.value}, {rule.reason.value}"
        click.echo(f"{number:3}. {safe(rule.id)}  ({what})  {place(rule)}")
    if not number:
        say("No rule fits. To write one of your own, see: bounced review --help")


def _read(recipient: RecipientReport) -> Iterator[str]:
    """What was found in the text, which is what the rules go by."""
    from bounced.rules.templates import template

    for name, reply in (("read", recipient.reply), ("quoted", recipient.reply.quoted)):
        if reply is not None:
            code, status = reply.code or "no code", reply.status or "no status"
            told = template(reply.text, recipient.address)
            yield f"{name}: {code}, {status}, {reply.command or 'no command'}; {safe(told)}"

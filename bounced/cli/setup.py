"""`bounced init` and `bounced doctor`: a configuration to start from, and what is wrong with it."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from bounced.cli.failures import Exit, failure, most_urgent
from bounced.cli.settings import Settings, config_option, say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bounced.config import Config, MailboxConfig, WebhookConfig


@click.command()
@click.argument("path", type=click.Path(path_type=Path), default=Path("config.toml"))
@click.pass_context
def init(context: click.Context, path: Path) -> None:
    """Write a commented configuration to PATH (config.toml), to be edited."""
    from bounced.config import example

    target = path / "config.toml" if path.is_dir() else path
    text = example()
    try:
        # 0600 from its first moment: a password may be written into it
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        say(f"{target} exists already and was left as it is.")
        say(f"To check it, type: bounced doctor --config {target}")
        say(f"To start afresh, type: mv {target} {target}.old && bounced init {target}")
        context.exit(Exit.CONFIGURATION)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    click.echo(f"Wrote {target}. Put your mail server, user and password in, then type:")
    click.echo(f"  bounced doctor --config {target}")


class Check(NamedTuple):
    """One thing looked at: what, whether it is well, and what to say of it."""

    what: str
    code: Exit
    words: tuple[str, ...] = ()


@click.command()
@config_option
@click.pass_context
def doctor(context: click.Context) -> None:
    """Check configuration, rules, database and mailboxes, and say in words what is wrong."""
    codes: list[Exit] = []
    for check in checks(context.ensure_object(Settings)):
        codes.append(check.code)
        mark = "ok   " if check.code is Exit.DONE else "WRONG"
        click.echo(f"{mark}  {_safe(check.what)}")
        for line in check.words:
            click.echo(f"       {_safe(line)}")
    if most_urgent(codes) is Exit.DONE:
        click.echo("All is well. Type: bounced sync")
    context.exit(most_urgent(codes))


# What counts, by [policy] trust; those with a key have not always said so themselves.
TRUSTED = {
    "matched": "only reports of mail in the imported log, or with a token of yours, count",
    "verified": "only reports that carry a token of yours count (docs/policy.md)",
}


def checks(settings: Settings) -> Iterator[Check]:
    """Every check in the order in which trouble is best mended."""
    try:
        config = settings.config()
    except Exception as problem:  # noqa: BLE001 - a doctor reports, whatever it is
        yield _wrong("configuration", problem)
        return
    yield Check(f"configuration {config.path}", Exit.DONE)
    for warning in config.warnings:
        yield Check("file permissions", Exit.PERSON_NEEDED, (warning,))
    yield _tried("rules", partial(_rules, config))
    yield _tried("database", partial(_database, config))
    if config.lists.apart:
        yield _tried("lists", partial(_lists, config))
    if config.policy.trust != "any":
        yield Check(f"trust: {TRUSTED[config.policy.trust]}", Exit.DONE)
    for webhook in config.webhooks:
        yield _tried(f"webhook {webhook.name}", partial(_webhook, webhook))
    if config.privacy.pepper is not None:
        yield _tried("privacy", partial(_pepper, config))
    if not config.mailboxes:
        words = (f"{config.path} has no [[mailbox]]; take one from: bounced init example.toml",)
        yield Check("mailboxes", Exit.CONFIGURATION, words)
    for box in (box for mailbox in config.mailboxes for box in mailbox.each_folder()):
        yield _tried(f"mailbox {box.name}", partial(_mailbox, box, config))


def _tried(what: str, look: Callable[[], str]) -> Check:
    try:
        return Check(f"{what}: {look()}", Exit.DONE)
    except Exception as problem:  # noqa: BLE001 - a doctor reports, whatever it is
        return _wrong(what, problem)


def _wrong(what: str, problem: Exception) -> Check:
    told = failure(problem)
    return Check(what, told.code, told.sentences)


def _rules(config: Config) -> str:
    from bounced.rules import RuleError, example_report, matching, rulebook

    book = rulebook(config.rules)
    lost = [
        f"{rule.id} does not win its own example: {example}"
        for rule in book
        for example in rule.examples
        if next(matching(example_report(rule, example), rules=book), None) is not rule
    ]
    if lost:
        raise RuleError("\n".join(lost))
    return f"{len(book)} rules, each wins its examples"


def _database(config: Config) -> str:
    from bounced.cli.settings import open_ledger
    from bounced.config import hide_password

    ledger = open_ledger(config)
    try:
        mailboxes, holds = len(ledger.mailboxes()), ledger.holds()
    finally:
        ledger.close()
    waits = f"; {len(holds)} runs are held (bounced hold list)" if holds else ""
    return (
        f"{hide_password(config.database.url)} can be used, {mailboxes} mailboxes on record{waits}"
    )


def _lists(config: Config) -> str:
    from bounced.cli.settings import open_ledger
    from bounced.ledger import LedgerError

    with open_ledger(config) as ledger:
        strange = ledger.strange_lists()
    if strange:
        raise LedgerError(
            f"reports are about lists that nobody has named: {', '.join(strange)}. Who complained "
            "of one of these is suppressed there and on no list of yours. Say which are yours, "
            'by list_ids under [policy.lists."NAME"], and type: bounced reclassify --apply'
        )
    return f"{len(config.lists.names)} named, and reports speak of no others"


def _webhook(webhook: WebhookConfig) -> str:
    known = webhook.reveal()
    return f"{known.url}, its secret is there"


def _pepper(config: Config) -> str:
    config.privacy.reveal()
    return "the pepper is there"


def _mailbox(mailbox: MailboxConfig, config: Config) -> str:
    from bounced.cli.sync import folder_of
    from bounced.cli.tables import counted

    folder = folder_of(mailbox, tokens=config.tokens)
    try:
        folder.open()
        waiting = sum(len(uids) for uids in folder.waiting())
    finally:
        folder.close()
    if mailbox.path is not None:
        return f"{counted(waiting, 'letter')} waiting in {mailbox.path}"
    return f"logged in to {mailbox.host}, {counted(waiting, 'letter')} waiting in {mailbox.folder}"


def _safe(text: str) -> str:
    from bounced.text import safe

    return safe(text)

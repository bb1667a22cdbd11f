"""`bounced sync`: one pass over the mailboxes, and what `bounced run` shares with it."""

from __future__ import annotations

import os
import socket
import time
from contextlib import AbstractContextManager, closing, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bounced.cli.alarms import say_alarms
from bounced.cli.failures import Exit, failure, most_urgent, tell
from bounced.cli.holds import say_how_to_decide
from bounced.cli.incidents import say_incidents
from bounced.cli.settings import (
    Settings,
    config_option,
    jobs_option,
    on_a_terminal,
    open_ledger,
    say,
)
from bounced.cli.stopping import Stop
from bounced.cli.tables import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bounced.config import Config, MailboxConfig
    from bounced.ledger import Ledger
    from bounced.mailbox.imap import ImapMailbox
    from bounced.mailbox.oauth2 import TokenSource
    from bounced.mailbox.spool import SpoolMailbox
    from bounced.readers import Readers
    from bounced.sync import Observer, Tally


@click.command()
@click.argument("mailboxes", nargs=-1, metavar="[MAILBOX]...")
@click.option("--plan", is_flag=True, help="Say what it would do, and touch nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a mailbox.")
@jobs_option
@config_option
@click.pass_context
def sync(
    context: click.Context, mailboxes: tuple[str, ...], *, plan: bool, as_json: bool, jobs: int
) -> None:
    """Empty every mailbox of the configuration (or those named) into the database, once.

    With --plan letters are read and judged, and you are told who would be suppressed or released;
    no letter is moved or marked, and nothing is recorded. Exits with 1 when a person would be
    needed.
    """
    config = context.ensure_object(Settings).config()
    warn(config)
    chosen = chosen_mailboxes(config, mailboxes)
    stop = Stop.on_signals()
    if plan:
        from bounced.cli.plan import foretell_all

        context.exit(foretell_all(chosen, config, stop, as_json=as_json))
    with _readers(jobs, config) as readers, closing(open_ledger(config)) as ledger:
        ledger.end_expired(at=datetime.now(UTC))
        codes = [
            _sync_and_tell(mailbox, ledger, stop, config, readers, as_json=as_json)
            for mailbox in chosen
        ]
    if stop():
        say("Stopped as asked; the next sync goes on from here.")
    context.exit(most_urgent(codes))


def _readers(jobs: int, config: Config) -> AbstractContextManager[Readers | None]:
    """Whoever reads letters beside us; with one job nobody does."""
    if jobs == 1:
        return nullcontext()
    from bounced.readers import Readers

    return Readers(jobs, config.rules)


def chosen_mailboxes(config: Config, names: Sequence[str]) -> list[MailboxConfig]:
    """Those named, in the order of the configuration; all of them when none is.

    One for each folder; the name of the account stands for all its folders.
    """
    boxes = [box for mailbox in config.mailboxes for box in mailbox.each_folder()]
    known = list(dict.fromkeys(name for box in boxes for name in (box.account, box.name)))
    strangers = [name for name in names if name not in known]
    if strangers:
        raise click.UsageError(
            f"the configuration has no mailbox {', '.join(strangers)}; "
            f"it has: {', '.join(known) or 'none'}"
        )
    if not known:
        raise click.UsageError(f"{config.path} has no [[mailbox]]; add one, then: bounced doctor")
    return [box for box in boxes if not names or {box.name, box.account} & set(names)]


def warn(config: Config) -> None:
    for warning in config.warnings:
        say(f"Warning: {warning}")


def folder_of(
    mailbox: MailboxConfig,
    folder: str | None = None,
    *,
    tokens: Path | None = None,
    look_only: bool = False,
) -> ImapMailbox | SpoolMailbox:
    """The mailbox to be worked on, or another `folder` of the same account.

    OAuth2 tokens are kept in the folder `tokens`. Raises ConfigError when its password cannot be
    had.
    """
    if mailbox.path is not None:
        from bounced.mailbox.spool import SpoolMailbox
        from bounced.model import Destination

        piles = {Destination(key): path for key, path in mailbox.piles.items()}
        place = Path(folder or mailbox.path)
        is_pile = folder is not None
        return SpoolMailbox(mailbox.name, place, piles, is_pile=is_pile, look_only=look_only)
    from bounced.mailbox.imap import ImapMailbox

    return ImapMailbox(
        mailbox.name,
        host=mailbox.host,
        user=mailbox.user,
        password=mailbox.password.reveal() if mailbox.password else "",
        port=mailbox.port,
        tls=mailbox.tls,
        folder=folder or mailbox.folder,
        archive=mailbox.archive,
        processed=mailbox.processed,
        unrecognised=mailbox.unrecognised,
        quarantine=mailbox.quarantine,
        ca_file=_maybe(mailbox.ca_file),
        client_certificate=_maybe(mailbox.client_certificate),
        client_key=_maybe(mailbox.client_key),
        allow_plaintext=mailbox.allow_plaintext,
        tokens=tokens_of(mailbox, tokens or Path("tokens")),
        look_only=look_only,
    )


def folder_to_empty(
    mailbox: MailboxConfig, ledger: Ledger, config: Config
) -> ImapMailbox | SpoolMailbox:
    """As `folder_of`; that there is none (no password, say) is noted in the ledger."""
    from bounced.ledger import health

    try:
        return folder_of(mailbox, tokens=config.tokens)
    except Exception as problem:
        why = f"{type(problem).__name__}: {problem}"
        health.note_trouble(ledger, mailbox.name, why, at=datetime.now(UTC))
        raise


def _maybe(path: Path | None) -> str | None:
    return None if path is None else str(path)


def tokens_of(mailbox: MailboxConfig, folder: Path) -> TokenSource | None:
    """Where the mailbox's access tokens come from; None for one with a password."""
    if mailbox.oauth2 is None:
        return None
    from bounced.mailbox.oauth2 import OAuth2, token_source
    from bounced.mailbox.tokens import FileStore, KeyringStore

    login = mailbox.oauth2
    settings = OAuth2(
        user=mailbox.user,
        flow=login.flow,
        provider=login.provider,
        client_id=login.client_id,
        client_secret=login.client_secret.reveal() if login.client_secret else "",
        refresh_token=login.refresh_token.reveal() if login.refresh_token else "",
        tenant=login.tenant,
        scope=login.scope,
        token_url=login.token_url,
        device_url=login.device_url,
        key_file=login.key_file,
        mailbox=mailbox.account,
    )
    kept = KeyringStore if login.store == "keyring" else FileStore
    return token_source(settings, kept(folder, mailbox.account))


def empty(  # noqa: PLR0913, PLR0917 - what one pass needs
    mailbox: MailboxConfig,
    ledger: Ledger,
    stop: Callable[[], bool],
    observer: Observer,
    config: Config | None = None,
    folder: ImapMailbox | SpoolMailbox | None = None,
    readers: Readers | None = None,
) -> Tally:
    """One pass over one mailbox. Raises whatever stops it; mailbox and ledger stay whole.

    Of `config` the rule books and the folder for raw copies of unreadable letters count.
    """
    from bounced import sync as loop
    from bounced.mailbox.quarantine import Quarantine

    return loop.sync(
        folder or folder_of(mailbox),
        ledger,
        observer,
        owner=owner(),
        batch=mailbox.batch,
        books=() if config is None else config.rules,
        keep=None if config is None else Quarantine(config.quarantine_folder).keep,
        stop=stop,
        readers=readers,
    )


def owner() -> str:
    """Who holds a lease: the ledger frees those of dead processes on this host at once."""
    return f"{socket.gethostname()}:{os.getpid()}"


def _sync_and_tell(  # noqa: PLR0913 - what one pass needs
    mailbox: MailboxConfig,
    ledger: Ledger,
    stop: Stop,
    config: Config,
    readers: Readers | None,
    *,
    as_json: bool,
) -> Exit:
    from bounced.report import json_line

    if stop():
        return Exit.DONE
    began = time.monotonic()
    try:
        folder = folder_to_empty(mailbox, ledger, config)
        with progress(mailbox.name) as observer, stop.hurried_by(folder.interrupt):
            tally = empty(mailbox, ledger, stop, observer, config, folder, readers)
    except Exception as problem:  # noqa: BLE001 - told; the other mailboxes get their turn
        if as_json:
            told = failure(problem)
            click.echo(json_line({"mailbox": mailbox.name, "error": " ".join(told.sentences)}))
            return told.code
        say(f"{mailbox.name}:")
        return tell(problem)
    seconds = time.monotonic() - began
    if as_json:
        click.echo(json_line({"mailbox": mailbox.name, "error": None, **figures(tally, seconds)}))
    else:
        click.echo(summary(mailbox.name, tally, seconds))
    if tally.held:
        say(
            f"{mailbox.name}: the brake holds run {tally.run_id}: it would suppress {tally.held} "
            "addresses at once. Their events are recorded; nobody was suppressed."
        )
        say_how_to_decide(tally.run_id)
    if tally.alarms:
        say_alarms(mailbox.name, tally.alarms)
    if tally.incidents:
        say_incidents(mailbox.name, tally.incidents)
    if tally.quarantined:
        where = mailbox.piles.get("quarantine", mailbox.quarantine)
        say(
            f"{mailbox.name}: {tally.quarantined} letters could not be read; they are in {where}, "
            f"whole, and {config.quarantine_folder} has a copy of each. "
            "After an upgrade of bounced, type: bounced retry"
        )
    needed = tally.held or tally.quarantined or tally.incidents or tally.alarms
    return Exit.PERSON_NEEDED if needed else Exit.DONE


def figures(tally: Tally, seconds: float) -> dict[str, Any]:
    """What a pass did, under the names that logs and `--json` use."""
    return {
        "run": tally.run_id,
        "letters": tally.fetched,
        **{kind.value: count for kind, count in sorted(tally.kinds.items())},
        "events": tally.events,
        "duplicates": tally.duplicates,
        "suppressed": tally.suppressed,
        "released": tally.released,
        "held": tally.held,
        "incidents": tally.incidents,
        "alarms": tally.alarms,
        "quarantined": tally.quarantined,
        "unfiled": tally.unfiled,
        "stopped": tally.stopped,
        "seconds": round(seconds, 2),
    }


def summary(name: str, tally: Tally, seconds: float) -> str:
    """The one line when all is well."""
    kinds = ", ".join(f"{count} {kind.value}" for kind, count in sorted(tally.kinds.items()))
    parts = [f"{counted(tally.fetched, 'letter')} ({kinds})" if kinds else "nothing new"]
    for count, words in (
        (tally.duplicates, "seen before"),
        (tally.suppressed, "newly suppressed"),
        (tally.released, "no longer suppressed"),
        (tally.unfiled, "still to be moved"),
    ):
        if count:
            parts.append(f"{count} {words}")
    return f"{name}: {', '.join(parts)}; {seconds:.1f} s"


def progress(name: str) -> AbstractContextManager[Observer]:
    """A bar on a terminal; silence elsewhere."""
    from bounced.sync import Observer

    if on_a_terminal():
        from bounced.cli.progress import bar

        return bar(name)
    return nullcontext(Observer())

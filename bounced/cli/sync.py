"""`bounced sync` and `bounced run`: one pass over the mailboxes, and one after another."""

from __future__ import annotations

import logging
import os
import socket
import time
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from bounced.cli.failures import Exit, failure, most_urgent, tell
from bounced.cli.holds import say_how_to_decide
from bounced.cli.logs import log_to_stderr
from bounced.cli.settings import Settings, config_option, on_a_terminal, open_ledger, say
from bounced.cli.stopping import Stop

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from bounced.config import Config, MailboxConfig
    from bounced.ledger import Ledger
    from bounced.mailbox.imap import ImapMailbox
    from bounced.sync import Observer, Tally

_log = logging.getLogger("bounced.run")


@click.command(short_help="Empty the mailboxes into the database, once.")
@click.argument("mailboxes", nargs=-1, metavar="[MAILBOX]...")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a mailbox.")
@config_option
@click.pass_context
def sync(context: click.Context, mailboxes: tuple[str, ...], *, as_json: bool) -> None:
    """Empty every mailbox of the configuration (or those named) into the database, once."""
    config = context.ensure_object(Settings).config()
    _warn(config)
    chosen = chosen_mailboxes(config, mailboxes)
    stop = Stop.on_signals()
    ledger = open_ledger(config)
    try:
        codes = [
            _sync_and_tell(mailbox, ledger, stop, config.rules, as_json=as_json)
            for mailbox in chosen
        ]
    finally:
        ledger.close()
    if stop():
        say("Stopped as asked; the next sync goes on from here.")
    context.exit(most_urgent(codes))


@click.command(short_help="Empty the mailboxes again and again, at their times.")
@click.option("--log-json", is_flag=True, help="Log one JSON object a line.")
@config_option
@click.pass_obj
def run(settings: Settings, *, log_json: bool) -> None:
    """Empty every mailbox again and again, at its times, until stopped."""
    from bounced import schedule

    config = settings.config()
    _warn(config)
    chosen = chosen_mailboxes(config, ())
    log_to_stderr(as_json=log_json)
    stop = Stop.on_signals()
    ledger = open_ledger(config)
    jobs = [
        schedule.Job(
            name=mailbox.name,
            work=partial(_sync_and_log, mailbox, ledger, stop, config.rules),
            every=mailbox.every,
            cron=mailbox.cron,
        )
        for mailbox in chosen
    ]
    _log.info("started", extra={"mailboxes": len(jobs), "pid": os.getpid()})
    try:
        schedule.run(jobs, stop.wait)
    finally:
        ledger.close()
    _log.info("stopped")


def chosen_mailboxes(config: Config, names: Sequence[str]) -> list[MailboxConfig]:
    """Those named, in the order of the configuration; all of them when none is."""
    known = [mailbox.name for mailbox in config.mailboxes]
    strangers = [name for name in names if name not in known]
    if strangers:
        raise click.UsageError(
            f"the configuration has no mailbox {', '.join(strangers)}; "
            f"it has: {', '.join(known) or 'none'}"
        )
    if not known:
        raise click.UsageError(f"{config.path} has no [[mailbox]]; add one, then: bounced doctor")
    return [mailbox for mailbox in config.mailboxes if not names or mailbox.name in names]


def _warn(config: Config) -> None:
    for warning in config.warnings:
        say(f"Warning: {warning}")


def folder_of(mailbox: MailboxConfig) -> ImapMailbox:
    """The mailbox to be worked on. Raises ConfigError when its password cannot be had."""
    from bounced.mailbox.imap import ImapMailbox

    return ImapMailbox(
        mailbox.name,
        host=mailbox.host,
        user=mailbox.user,
        password=mailbox.password.reveal(),
        port=mailbox.port,
        tls=mailbox.tls,
        folder=mailbox.folder,
        archive=mailbox.archive,
        processed=mailbox.processed,
        unrecognised=mailbox.unrecognised,
        quarantine=mailbox.quarantine,
        ca_file=None if mailbox.ca_file is None else str(mailbox.ca_file),
        allow_plaintext=mailbox.allow_plaintext,
    )


def empty(
    mailbox: MailboxConfig,
    ledger: Ledger,
    stop: Callable[[], bool],
    observer: Observer,
    books: tuple[Path, ...] = (),
) -> Tally:
    """One pass over one mailbox. Raises whatever stops it; mailbox and ledger stay whole."""
    from bounced import sync as loop

    return loop.sync(
        folder_of(mailbox),
        ledger,
        observer,
        owner=_owner(),
        batch=mailbox.batch,
        books=books,
        stop=stop,
    )


def _owner() -> str:
    """Who holds a lease: the ledger frees those of dead processes on this host at once."""
    return f"{socket.gethostname()}:{os.getpid()}"


def _sync_and_tell(
    mailbox: MailboxConfig,
    ledger: Ledger,
    stop: Stop,
    books: tuple[Path, ...],
    *,
    as_json: bool,
) -> Exit:
    from bounced.report import json_line

    if stop():
        return Exit.DONE
    began = time.monotonic()
    try:
        with _progress(mailbox.name) as observer:
            tally = empty(mailbox, ledger, stop, observer, books)
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
    if tally.quarantined:
        say(
            f"{mailbox.name}: {tally.quarantined} letters could not be read; they are in "
            f"{mailbox.quarantine}, whole."
        )
    return Exit.PERSON_NEEDED if tally.held or tally.quarantined else Exit.DONE


def _sync_and_log(
    mailbox: MailboxConfig, ledger: Ledger, stop: Stop, books: tuple[Path, ...]
) -> None:
    from bounced.sync import LeaseTakenError, Observer

    if stop():
        return
    began = time.monotonic()
    name = {"mailbox": mailbox.name}
    try:
        tally = empty(mailbox, ledger, stop, Observer(), books)
    except LeaseTakenError:
        _log.info("skipped", extra={**name, "why": "another sync is at work on it"})
        return
    except Exception as problem:  # noqa: BLE001 - one mailbox's trouble never ends the process
        told = failure(problem)
        facts = {**name, "exit": int(told.code), "why": " ".join(told.sentences)}
        _log.error("failed", extra=facts, exc_info=told.code is Exit.OUR_MISTAKE)
        return
    _log.info("synced", extra={**name, **figures(tally, time.monotonic() - began)})
    if tally.held:
        _log.warning("held", extra={**name, "run": tally.run_id, "type": "bounced hold list"})


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
        "quarantined": tally.quarantined,
        "unfiled": tally.unfiled,
        "stopped": tally.stopped,
        "seconds": round(seconds, 2),
    }


def summary(name: str, tally: Tally, seconds: float) -> str:
    """The one line when all is well."""
    kinds = ", ".join(f"{count} {kind.value}" for kind, count in sorted(tally.kinds.items()))
    parts = [f"{tally.fetched} letters ({kinds})" if kinds else "nothing new"]
    for count, words in (
        (tally.duplicates, "seen before"),
        (tally.suppressed, "newly suppressed"),
        (tally.released, "no longer suppressed"),
        (tally.unfiled, "still to be moved"),
    ):
        if count:
            parts.append(f"{count} {words}")
    return f"{name}: {', '.join(parts)}; {seconds:.1f} s"


def _progress(name: str) -> AbstractContextManager[Observer]:
    """A bar on a terminal; silence elsewhere."""
    from bounced.sync import Observer

    if on_a_terminal():
        from bounced.cli.progress import bar

        return bar(name)
    return nullcontext(Observer())

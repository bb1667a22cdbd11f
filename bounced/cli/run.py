"""`bounced run`: the mailboxes again and again, at their times, until stopped."""

from __future__ import annotations

import logging
import os
import time
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import click

from bounced.cli.failures import Exit, failure
from bounced.cli.logs import log_to_stderr
from bounced.cli.metrics import see_that_it_is_there, served_metrics
from bounced.cli.places import loopback_option
from bounced.cli.settings import Settings, config_option, open_ledger
from bounced.cli.stopping import Stop
from bounced.cli.supervisor import notify, notify_reloading, watchdog_seconds
from bounced.cli.sync import (
    chosen_mailboxes,
    empty,
    figures,
    folder_of,
    folder_to_empty,
    owner,
    warn,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from bounced.config import Config, MailboxConfig
    from bounced.ledger import Ledger

# A refused login is not tried again for so long: many servers lock accounts for such tries.
AFTER_REFUSAL = 1800.0
# How often a sign of life goes into the database (seconds).
BEATS_EVERY = 60.0
# How often the ends of suppressions are noted (seconds).
ENDS_EVERY = 60.0
# How often webhooks are told what is new (seconds); each has its own pauses after a failure.
WEBHOOKS_EVERY = 15.0
# How often what is old is deleted (seconds).
PURGE_EVERY = 86400.0
# How long a broken connection that waited for news is left alone (seconds), at first and at most.
WATCH_AGAIN = (30.0, 1800.0)

_log = logging.getLogger("bounced.run")


@click.command()
@click.option("--log-json", is_flag=True, help="Log one JSON object a line.")
@click.option(
    "--metrics",
    metavar="HOST:PORT",
    callback=loopback_option,
    help="Serve figures for Prometheus there, on this machine only.",
)
@config_option
@click.pass_obj
def run(settings: Settings, *, log_json: bool, metrics: tuple[str, int] | None) -> None:
    """Empty every mailbox again and again, at its times, until stopped.

    SIGTERM ends it, SIGHUP makes it read its configuration again.
    """
    if metrics is not None:
        see_that_it_is_there()
    config: Config | None = settings.config()
    log_to_stderr(as_json=log_json)
    stop = Stop.on_signals(reload=True)
    while config is not None:
        warn(config)
        config = _until_told(settings, config, stop, metrics)
    notify("STOPPING=1")
    _log.info("stopped")


def _until_told(
    settings: Settings, config: Config, stop: Stop, metrics: tuple[str, int] | None
) -> Config | None:
    """Work by one configuration; the next one, or None when it is time to stop."""
    from bounced import schedule

    chosen = chosen_mailboxes(config, ())
    successor: list[Config] = []

    def over() -> bool:
        return stop() or bool(successor)

    ledger = open_ledger(config)
    jobs = [
        schedule.Job(
            name=mailbox.name,
            work=partial(_sync_and_log, mailbox, ledger, over, stop, config),
            every=mailbox.every,
            cron=mailbox.cron,
            watch=partial(_watch, mailbox, over, config) if mailbox.idle else None,
        )
        for mailbox in chosen
    ]
    jobs.append(schedule.Job(name="(heartbeat)", work=partial(_beat, ledger), every=BEATS_EVERY))
    ends = partial(_note_ends, ledger)
    jobs.append(schedule.Job(name="(ends)", work=ends, every=ENDS_EVERY))
    if config.webhooks:
        work = partial(_tell_webhooks, ledger, over, config)
        jobs.append(schedule.Job(name="(webhooks)", work=work, every=WEBHOOKS_EVERY))
    tidy = partial(_purge, ledger, config)
    jobs.append(schedule.Job(name="(purge)", work=tidy, every=PURGE_EVERY))
    try:
        with served_metrics(ledger, config, metrics):
            _log.info("started", extra={"mailboxes": len(chosen), "pid": os.getpid()})
            notify(f"READY=1\nSTATUS={len(chosen)} mailboxes")
            schedule.run(jobs, partial(_wait, settings, stop, successor))
        _rest(ledger)
    finally:
        ledger.close()
    return successor[0] if successor and not stop() else None


def _wait(settings: Settings, stop: Stop, successor: list[Config]) -> None:
    """Until it is time to stop, or there is a configuration to go on with."""
    pause = watchdog_seconds()
    while not stop():
        notify("WATCHDOG=1")
        stop.wait(pause)
        if stop.reload_asked() and not stop():
            try:
                config = settings.config()
                chosen_mailboxes(config, ())
            except Exception as problem:  # noqa: BLE001 - told; what worked so far goes on working
                why = " ".join(failure(problem).sentences)
                _log.error("configuration not read", extra={"why": why})
                continue
            notify_reloading()
            _log.info("reloading", extra={"config": str(config.path)})
            successor.append(config)
            return
    _log.info("stopping")


def _beat(ledger: Ledger) -> None:
    """A sign of life in the database; nothing depends on a single one."""
    from bounced.ledger import health

    try:
        health.beat(ledger, owner())
    except Exception as problem:  # noqa: BLE001 - the syncs meet the same trouble and tell it
        _log.debug("no heartbeat", extra={"why": " ".join(failure(problem).sentences)})


def _rest(ledger: Ledger) -> None:
    from bounced.ledger import health

    try:
        health.rest(ledger, owner())
    except Exception as problem:  # noqa: BLE001 - the work is done, and whole
        _log.warning("not signed off", extra={"why": " ".join(failure(problem).sentences)})


def _sync_and_log(
    mailbox: MailboxConfig, ledger: Ledger, over: Callable[[], bool], stop: Stop, config: Config
) -> float | None:
    """One pass; None when it went well, else how long to leave the mailbox alone at least."""
    from bounced.sync import LeaseTakenError, Observer

    if over():
        return None
    began = time.monotonic()
    name = {"mailbox": mailbox.name}
    try:
        folder = folder_to_empty(mailbox, ledger, config)
        with stop.hurried_by(folder.interrupt):
            tally = empty(mailbox, ledger, over, Observer(), config, folder)
    except LeaseTakenError:
        _log.info("skipped", extra={**name, "why": "another sync is at work on it"})
        return None
    except Exception as problem:  # noqa: BLE001 - one mailbox's trouble never ends the process
        told = failure(problem)
        facts = {**name, "exit": int(told.code), "why": " ".join(told.sentences)}
        _log.error("failed", extra=facts, exc_info=told.code is Exit.OUR_MISTAKE)
        return AFTER_REFUSAL if told.code is Exit.CONFIGURATION else 0.0
    _log.info("synced", extra={**name, **figures(tally, time.monotonic() - began)})
    if tally.alarms:
        _log.error("our login is refused", extra={**name, "letters": tally.alarms})
    if tally.incidents:
        _log.warning(
            "incidents", extra={**name, "new": tally.incidents, "type": "bounced incidents"}
        )
    if tally.held:
        _log.warning("held", extra={**name, "run": tally.run_id, "type": "bounced hold list"})
    return None


def _note_ends(ledger: Ledger) -> float | None:
    """Note suppressions that are over, so that the audit has them and webhooks hear of them."""
    try:
        if ended := ledger.end_expired(at=datetime.now(UTC)):
            _log.info("suppressions ended", extra={"count": ended})
    except Exception as problem:  # noqa: BLE001 - told; nothing depends on when it is noted
        why = " ".join(failure(problem).sentences)
        _log.warning("ends not noted", extra={"why": why})
        return 0.0
    return None


def _tell_webhooks(ledger: Ledger, over: Callable[[], bool], config: Config) -> float | None:
    """One pass over the webhooks; what they do not take is kept and has a time of its own."""
    from bounced.cli.webhooks import delivered

    try:
        known = [one.reveal() for one in config.webhooks]
        for webhook, done in delivered(known, ledger, over):
            facts = {"webhook": webhook.name, "taken": done.taken, "failed": done.failed}
            if done.failed:
                _log.warning("not told", extra={**facts, "given_up": done.dead, "why": done.error})
            elif done.taken:
                _log.info("told", extra=facts)
    except Exception as problem:  # noqa: BLE001 - a webhook's trouble never ends the process
        told = failure(problem)
        _log.error("webhooks failed", extra={"why": " ".join(told.sentences)})
        return 0.0
    return None


def _purge(ledger: Ledger, config: Config) -> float | None:
    """Delete what is older than [privacy] says."""
    from bounced.cli.privacy import facts_of, purged

    try:
        told = facts_of(purged(config, ledger))
    except Exception as problem:  # noqa: BLE001 - told; tomorrow is another day
        why = " ".join(failure(problem).sentences)
        _log.error("not purged", extra={"why": why})
        return 0.0
    if told:
        _log.info("purged", extra=told)
    return None


def _watch(
    mailbox: MailboxConfig, stop: Callable[[], bool], config: Config, news: Callable[[], None]
) -> None:
    """Wait for news on a connection of its own; what breaks it is left to the polling sync."""
    pause, longest = WATCH_AGAIN
    while not stop():
        began = time.monotonic()
        try:
            if not folder_of(mailbox, tokens=config.tokens).watch(news, stop):
                return
        except Exception as problem:  # noqa: BLE001 - the sync meets the same trouble and tells it
            why = " ".join(failure(problem).sentences)
            _log.debug("not watching", extra={"mailbox": mailbox.name, "why": why})
        if time.monotonic() - began > longest:
            pause = WATCH_AGAIN[0]
        again = time.monotonic() + pause
        while not stop() and time.monotonic() < again:
            time.sleep(0.5)
        pause = min(longest, 2 * pause)

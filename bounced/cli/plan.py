"""`bounced sync --plan`: what a sync would do, told without doing it."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from bounced.cli.alarms import say_alarms
from bounced.cli.failures import Exit, failure, most_urgent, tell
from bounced.cli.settings import open_ledger, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bounced.cli.stopping import Stop
    from bounced.config import Config, MailboxConfig
    from bounced.ledger import Ledger
    from bounced.model import Foretold, Rehearsed
    from bounced.sync import Tally


def foretell_all(
    mailboxes: Sequence[MailboxConfig], config: Config, stop: Stop, *, as_json: bool
) -> Exit:
    """Foretell the sync of each mailbox, as if it were the only one."""
    ledger = _ledger(config)
    try:
        codes = [
            _foretell(mailbox, ledger, stop, config, as_json=as_json)
            for mailbox in mailboxes
            if not stop()
        ]
    finally:
        ledger.close()
    return most_urgent(codes)


def _ledger(config: Config) -> Ledger:
    """The ledger as it is; where there is none yet, an empty one in memory."""
    from pathlib import Path

    from bounced.config import Database

    kind, _, name = config.database.url.partition(":///")
    if kind == "sqlite" and name and not Path(name).exists():
        return open_ledger(replace(config, database=Database("sqlite://")), migrate=True)
    return open_ledger(config, migrate=False)


def _foretell(
    mailbox: MailboxConfig, ledger: Ledger, stop: Stop, config: Config, *, as_json: bool
) -> Exit:
    from bounced.cli.sync import folder_of, progress
    from bounced.report import json_line
    from bounced.sync import foretell

    began = time.monotonic()
    try:
        folder = folder_of(mailbox, tokens=config.tokens, look_only=True)
        with progress(mailbox.name) as observer, stop.hurried_by(folder.interrupt):
            tally, told = foretell(
                folder, ledger, observer, batch=mailbox.batch, books=config.rules, stop=stop
            )
    except Exception as problem:  # noqa: BLE001 - told; the other mailboxes get their turn
        if as_json:
            trouble = failure(problem)
            sentences = " ".join(trouble.sentences)
            click.echo(json_line({"mailbox": mailbox.name, "plan": True, "error": sentences}))
            return trouble.code
        say(f"{mailbox.name}:")
        return tell(problem)
    _tell(mailbox.name, tally, told, time.monotonic() - began, as_json=as_json)
    needed = tally.held or tally.quarantined or tally.incidents or tally.alarms
    return Exit.PERSON_NEEDED if needed else Exit.DONE


def _tell(name: str, tally: Tally, told: Rehearsed, seconds: float, *, as_json: bool) -> None:
    from bounced.cli.holds import held_line
    from bounced.cli.sync import figures, summary
    from bounced.cli.tables import counted
    from bounced.report import json_line
    from bounced.text import safe

    if as_json:
        known = {"mailbox": name, "plan": True, "error": None, **figures(tally, seconds)}
        known.pop("run")
        lists = {"changes": told.changes, "waiting": told.waiting}
        click.echo(json_line({**known, **lists}))
        return
    click.echo(f"A sync would find: {summary(name, tally, seconds)}")
    rules = Counter((one.to_suppressed, one.rule) for one in told.changes if _matters(one))
    for (suppressed, rule), count in rules.most_common():
        word = "suppressed" if suppressed else "released"
        click.echo(f"{count:>8}  {word} by rule {safe(rule or 'none')}")
    for one in told.changes:
        if _matters(one):
            mark = "+" if one.to_suppressed else "-"
            on = f" on {safe(one.list)}" if one.list else ""
            click.echo(f"{mark} {safe(one.address)}{on}  {safe(one.because)}")
    for held in told.waiting:
        click.echo(f"? {held_line(held)}")
    if told.waiting:
        say(
            f"{name}: the brake would hold the run: it would suppress {len(told.waiting)} "
            "addresses at once (marked ? above)."
        )
    if tally.alarms:
        say_alarms(name, tally.alarms)
    if tally.incidents:
        say(f"{name}: {counted(tally.incidents, 'incident')} would be opened; see docs/policy.md.")
    if tally.quarantined:
        unread = counted(tally.quarantined, "letter")
        say(f"{name}: {unread} could not be read and would go to quarantine.")
    say(f"{name}: nothing was changed.")


def _matters(change: Foretold) -> bool:
    return change.from_suppressed != change.to_suppressed

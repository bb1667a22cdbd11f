"""`bounced lmtp`: letters that an MTA on this machine hands over, one connection for many."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bounced.cli.failures import Exit, failure
from bounced.cli.ingest import record_letters
from bounced.cli.logs import log_to_stderr
from bounced.cli.places import loopback
from bounced.cli.settings import Settings, config_option, open_ledger
from bounced.cli.stopping import Stop
from bounced.cli.supervisor import notify, watchdog_seconds
from bounced.cli.sync import figures, warn

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bounced.config import Config
    from bounced.ledger import Ledger

_log = logging.getLogger("bounced.lmtp")


class _Mode(click.ParamType[int]):
    name = "rights"

    def convert(
        self,
        value: object,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> int:
        text = str(value)
        if not 3 <= len(text) <= 4 or set(text) - set("01234567"):
            self.fail(f"{text} are no rights; write for example 0660", param, ctx)
        return int(text, 8)


@click.command()
@click.argument("place", metavar="SOCKET|HOST:PORT")
@click.option("--mailbox", default="lmtp", show_default=True, help="What the ledger calls them.")
@click.option("--discard", is_flag=True, help="Keep no copy of what was understood and recorded.")
@click.option(
    "--mode", type=_Mode(), default="0660", show_default=True, help="Rights of the unix socket."
)
@click.option(
    "--connections",
    type=click.IntRange(1, 1000),
    default=20,
    show_default=True,
    help="How many connections at once.",
)
@click.option("--log-json", is_flag=True, help="Log one JSON object a line.")
@config_option
@click.pass_obj
def lmtp(  # noqa: PLR0913 - one for each option
    settings: Settings,
    place: str,
    *,
    mailbox: str,
    discard: bool,
    mode: int,
    connections: int,
    log_json: bool,
) -> None:
    """Listen for an MTA at a unix SOCKET (a path with a slash) or a loopback HOST:PORT.

    A letter is answered with 250 only when it is recorded and a copy kept, and with 451, so that
    the MTA tries again, on any trouble. SIGTERM ends it.
    """
    try:
        from bounced.mailbox.lmtp import Limits, Listener
    except ModuleNotFoundError:
        raise click.UsageError(
            "LMTP needs a library that is not installed; type: pip install 'bounced-mail[lmtp]'"
        ) from None

    where = (
        Path(place) if "/" in place else loopback(place, example=f"./{place} or 127.0.0.1:10024")
    )
    config = settings.config()
    log_to_stderr(as_json=log_json)
    warn(config)
    stop = Stop.on_signals()
    ledger = open_ledger(config)
    record = _recording(mailbox, ledger, config, discard=discard)
    listener = Listener(where, record, mode=mode, limits=Limits(connections=connections))
    try:
        listener.start()
        _log.info("started", extra={"place": place, "pid": os.getpid()})
        notify(f"READY=1\nSTATUS=listening at {place}")
        while not stop():
            notify("WATCHDOG=1")
            stop.wait(watchdog_seconds())
        notify("STOPPING=1")
        listener.stop()
    finally:
        ledger.close()
    _log.info("stopped")


def _recording(
    mailbox: str, ledger: Ledger, config: Config, *, discard: bool
) -> Callable[[Sequence[tuple[bytes, bool]]], None]:
    """How letters are recorded, and what the log says of it."""

    def record(letters: Sequence[tuple[bytes, bool]]) -> None:
        began = time.monotonic()
        name = {"mailbox": mailbox}
        try:
            tally = record_letters(letters, mailbox, ledger, config, discard=discard)
        except Exception as problem:
            told = failure(problem)
            facts = {**name, "letters": len(letters), "why": " ".join(told.sentences)}
            _log.error("not recorded", extra=facts, exc_info=told.code is Exit.OUR_MISTAKE)
            raise
        _log.info("recorded", extra={**name, **figures(tally, time.monotonic() - began)})
        if tally.held:
            _log.warning("held", extra={**name, "run": tally.run_id, "type": "bounced hold list"})

    return record

"""The one place where trouble becomes a sentence and an exit code.

0 done, 1 a person is needed, 2 usage or configuration, 70 a mistake of ours, 75 try again.
"""

from __future__ import annotations

import errno
import io
import os
import sys
import traceback
from enum import IntEnum
from importlib import import_module
from typing import Any, NamedTuple

import click

from bounced.cli.settings import Settings, say


class Exit(IntEnum):
    """Exit codes; the last two are sysexits' EX_SOFTWARE and EX_TEMPFAIL."""

    DONE = 0
    PERSON_NEEDED = 1
    CONFIGURATION = 2
    OUR_MISTAKE = 70
    TRY_AGAIN = 75


# Of several outcomes, the one that a person must look at first decides.
URGENCY = (Exit.DONE, Exit.TRY_AGAIN, Exit.PERSON_NEEDED, Exit.CONFIGURATION, Exit.OUR_MISTAKE)


class Failure(NamedTuple):
    """What happened, what to type next (empty where that is plain), and how to exit."""

    sentences: tuple[str, ...]
    code: Exit


def most_urgent(codes: list[Exit]) -> Exit:
    return max(codes, key=URGENCY.index, default=Exit.DONE)


def failure(problem: BaseException) -> Failure:
    """The sentences and the exit code for any exception; unexpected ones are our mistake."""
    from bounced.config import ConfigError

    if isinstance(problem, ConfigError):
        return _configuration(problem)
    for told in (_lease, _mailbox, _ledger, _rules):
        if (found := told(problem)) is not None:
            return found
    if isinstance(problem, OSError) and problem.errno in _PASSING:
        where = f"{problem.filename}: " if problem.filename else ""
        text = f"{where}{problem.strerror}. What was recorded is safe. {_SHORT}"
        return Failure((text,), Exit.TRY_AGAIN)
    if isinstance(problem, OSError) and problem.filename:
        return Failure((f"{problem.filename}: {problem.strerror}.",), Exit.CONFIGURATION)
    what = f"{type(problem).__name__}: {problem}"
    return Failure(
        (f"A mistake in bounced itself, not in your mail or settings: {what}.", DEBUG_HINT),
        Exit.OUR_MISTAKE,
    )


# The machine is short of something now, and may not be later.
_PASSING = (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.EIO)
_SHORT = (
    "When the machine has enough again (df -h shows the disks, ulimit -n how many files may be "
    "open), run the same command again; it goes on from there."
)
TYPED = ("bounced ", "pip ")
DEBUG_HINT = "What was recorded is safe. For the traceback, type: bounced --debug (your command)"


def _configuration(problem: Any) -> Failure:
    where = f"{problem.path}: " if problem.path else ""
    lines = [f"{where}{line}" for line in problem.problems]
    if problem.path is None and "no configuration found" in problem.problems[0]:
        lines.append("To write one to start from, type: bounced init")
    return Failure(tuple(lines), Exit.CONFIGURATION)


def _module(name: str) -> Any:
    """A module if it is loaded: no exception can be of one that is not, and loading is slow."""
    return sys.modules.get(name)


def _lease(problem: BaseException) -> Failure | None:
    loop = _module("bounced.sync")
    if loop is None or not isinstance(problem, loop.LeaseTakenError):
        return None
    text = (
        f"{problem}: another sync is at work on this mailbox; nothing was touched. Run the same "
        "command again when it is done; whether it is, says: bounced status"
    )
    return Failure((text,), Exit.TRY_AGAIN)


def _mailbox(problem: BaseException) -> Failure | None:
    from bounced.mailbox import MailboxError, MailboxProtocol, MailboxSettings

    if not isinstance(problem, MailboxError):
        return None
    if isinstance(problem, MailboxSettings):
        return Failure((str(problem),), Exit.CONFIGURATION)
    code = Exit.PERSON_NEEDED if isinstance(problem, MailboxProtocol) else Exit.TRY_AGAIN
    return Failure((str(problem),), code)


def _ledger(problem: BaseException) -> Failure | None:
    ledger = _module("bounced.ledger")
    if ledger is None or not isinstance(problem, ledger.LedgerError):
        return None
    passing = isinstance(problem, ledger.LedgerUnavailable | ledger.LeaseLost)
    text = str(problem).rstrip(".")
    # a full stop behind a command would be copied with it
    text += "" if text.rpartition(": ")[2].startswith(TYPED) else "."
    return Failure((text,), Exit.TRY_AGAIN if passing else Exit.CONFIGURATION)


def _rules(problem: BaseException) -> Failure | None:
    rules = _module("bounced.rules")
    if rules is None or not isinstance(problem, rules.RuleError):
        return None
    lines = [f"Rules: {line}" for line in str(problem).splitlines()]
    return Failure((*lines, "Correct the book, then type: bounced doctor"), Exit.CONFIGURATION)


def tell(problem: BaseException) -> Exit:
    """Say what happened on stderr, with `--debug` where in the program; how to exit."""
    told = failure(problem)
    for sentence in told.sentences:
        say(sentence)
    context = click.get_current_context(silent=True)
    if told.code is Exit.OUR_MISTAKE and context and context.ensure_object(Settings).debug:
        traceback.print_exception(problem)
    return told.code


def _speak_utf8() -> None:
    """JSON and CSV are UTF-8 whatever the locale, and nobody's letters must stop the printing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


class Entrance(click.Group):
    """The group that every command runs in, so that trouble is told the same way everywhere.

    Commands of `lazy` (name: where it is defined as "module:attribute", and what the list of
    commands says of it) are imported only when they are called: most of them are not, each time.
    """

    def __init__(
        self, *args: Any, lazy: dict[str, tuple[str, str]] | None = None, **attributes: Any
    ) -> None:
        super().__init__(*args, **attributes)
        self.lazy = lazy or {}

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """In the order in which an operator meets them."""
        return list(self.lazy) or list(self.commands)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self.lazy and cmd_name not in self.commands:
            module, _, attribute = self.lazy[cmd_name][0].partition(":")
            self.add_command(getattr(import_module(module), attribute), cmd_name)
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands in `--help`, for which none of the lazy ones is imported."""
        if self.lazy:
            with formatter.section("Commands"):
                formatter.write_dl([(name, short) for name, (_, short) in self.lazy.items()])
        else:
            super().format_commands(ctx, formatter)

    def invoke(self, ctx: click.Context) -> Any:
        _speak_utf8()
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except (click.ClickException, click.exceptions.Exit, click.Abort, KeyboardInterrupt):
            raise
        except BrokenPipeError:
            # the reader has seen enough; what is left in the buffer must not complain either
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(Exit.DONE)
        except Exception as problem:  # noqa: BLE001 - the last net of the program
            ctx.exit(tell(problem))
        return result

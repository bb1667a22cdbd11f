"""The door: what it imports, what it says when something is wrong, and how it exits."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner

from bounced import __version__
from bounced.cli import COMMANDS, main
from bounced.cli.failures import Entrance, Exit, failure, most_urgent
from bounced.config import ConfigError
from bounced.ledger import LeaseLost, LedgerError, LedgerOutdated, LedgerTooNew, LedgerUnavailable
from bounced.mailbox import (
    MailboxCredentials,
    MailboxError,
    MailboxProtocol,
    MailboxSettings,
    MailboxTemporary,
)
from bounced.rules import RuleError
from tests.cli.conftest import ROOT

if TYPE_CHECKING:
    from tests.cli.conftest import Bounced

HEAVY = (
    "sqlalchemy",
    "alembic",
    "flanker",
    "imapclient",
    "apscheduler",
    "rich",
    "pymap",
    "asyncio",
)


def modules_after(*words: str) -> list[str]:
    """What a process of its own has imported when the command line has done these words."""
    code = (
        "import json, sys\n"
        "from bounced.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "print(json.dumps([name for name in sys.modules]), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, check=True, cwd=ROOT, text=True
    )
    loaded: list[str] = json.loads(done.stderr)
    return loaded


@pytest.mark.parametrize(
    "words", [["--help"], ["--version"], ["sync", "--help"], ["explain", "-h"]]
)
def test_help_and_version_import_nothing_heavy(words: list[str]) -> None:
    loaded = {name.partition(".")[0] for name in modules_after(*words)}
    assert loaded & set(HEAVY) == set()
    assert "click" in loaded


def test_help_imports_no_command_and_a_command_none_but_those_it_is_made_of() -> None:
    def rooms(*words: str) -> set[str]:
        loaded = modules_after(*words)
        return {name.removeprefix("bounced.cli.") for name in loaded if "bounced.cli." in name}

    assert rooms("--help") == {"failures", "settings"}
    assert "database" in rooms("db", "--help")
    assert "sync" not in rooms("db", "--help")


def test_the_list_of_commands_names_each_in_full_on_one_line() -> None:
    lines = CliRunner().invoke(main, ["--help"], terminal_width=80).output.splitlines()
    listed = [line.split()[0] for line in lines[lines.index("Commands:") + 1 :]]
    assert listed == list(COMMANDS)
    assert not [line for line in lines if "..." in line and "[ARGS]" not in line]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_found_by_the_name_that_it_has(name: str) -> None:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    assert command.name == name


def test_the_package_itself_imports_nothing_but_the_standard_library() -> None:
    code = "import json, sys, bounced; print(json.dumps([name for name in sys.modules]))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, cwd=ROOT, text=True
    )
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert loaded & {*HEAVY, "click"} == set()


def test_the_version_is_told(bounced: Bounced) -> None:
    assert __version__ in bounced("--version").output


def test_every_command_has_help() -> None:
    def walk(command: click.Command, words: tuple[str, ...]) -> int:
        result = CliRunner().invoke(main, [*words, "--help"])
        assert result.exit_code == 0, words
        assert len(result.output.splitlines()) > 3, words
        if not isinstance(command, click.Group):
            return 1
        context = click.Context(command)
        below = {
            name: command.get_command(context, name) for name in command.list_commands(context)
        }
        return 1 + sum(walk(part, (*words, name)) for name, part in below.items() if part)

    assert walk(main, ()) > 50


@pytest.mark.parametrize(
    ("problem", "code"),
    [
        (ConfigError(("mailbox[0].prot: unknown key",)), Exit.CONFIGURATION),
        (MailboxCredentials("The password was refused."), Exit.CONFIGURATION),
        (MailboxSettings("There is no such folder."), Exit.CONFIGURATION),
        (MailboxTemporary("The server is away."), Exit.TRY_AGAIN),
        (MailboxProtocol("It spoke in riddles."), Exit.PERSON_NEEDED),
        (MailboxError("Something."), Exit.TRY_AGAIN),
        (LedgerUnavailable("locked"), Exit.TRY_AGAIN),
        (LeaseLost("taken over"), Exit.TRY_AGAIN),
        (LedgerOutdated("old"), Exit.CONFIGURATION),
        (LedgerTooNew("new"), Exit.CONFIGURATION),
        (LedgerError("refused"), Exit.CONFIGURATION),
        (RuleError("own.toml: rule 'x' is odd"), Exit.CONFIGURATION),
        (PermissionError(13, "Permission denied", "list.csv"), Exit.CONFIGURATION),
        (ZeroDivisionError("division by zero"), Exit.OUR_MISTAKE),
    ],
)
def test_every_trouble_has_its_sentence_and_its_exit_code(problem: Exception, code: Exit) -> None:
    told = failure(problem)
    assert told.code is code
    assert told.sentences[0].strip()
    assert (
        str(problem).rstrip(".").split("'")[0] in " ".join(told.sentences)
        or "list.csv" in (told.sentences[0])
    )


def entrance(problem: BaseException) -> click.Group:
    @click.group(cls=Entrance)
    @click.option("--debug", is_flag=True)
    @click.pass_context
    def door(context: click.Context, *, debug: bool) -> None:
        from bounced.cli.settings import Settings

        context.ensure_object(Settings).debug = debug

    @door.command()
    def work() -> None:
        raise problem

    return door


def test_expected_trouble_never_shows_a_traceback() -> None:
    door = entrance(MailboxTemporary("The server is away."))
    for words in (["work"], ["--debug", "work"]):
        result = CliRunner().invoke(door, words)
        assert result.exit_code == 75
        assert "Traceback" not in result.output
        assert "The server is away." in result.stderr
        assert result.stdout == ""


def test_a_mistake_of_ours_is_one_sentence_and_a_traceback_only_with_debug() -> None:
    door = entrance(ZeroDivisionError("oops"))
    quiet = CliRunner().invoke(door, ["work"])
    assert quiet.exit_code == 70
    assert "ZeroDivisionError: oops" in quiet.stderr
    assert "Traceback" not in quiet.stderr
    loud = CliRunner().invoke(door, ["--debug", "work"])
    assert loud.exit_code == 70
    assert "Traceback (most recent call last)" in loud.stderr


def test_what_a_server_says_in_an_error_cannot_steer_the_terminal() -> None:
    result = CliRunner().invoke(entrance(MailboxTemporary("It said \x1b[2Jhello")), ["work"])
    assert "\x1b" not in result.stderr
    assert "\\x1b[2Jhello" in result.stderr


@pytest.mark.parametrize(
    "words", [["snyc"], ["sync", "--jsno"], ["explain"], ["hold", "accept", "x"]]
)
def test_wrong_usage_exits_2(bounced: Bounced, words: list[str]) -> None:
    assert bounced(*words).exit_code == 2


def test_the_most_urgent_of_several_outcomes_decides() -> None:
    assert most_urgent([]) is Exit.DONE
    assert most_urgent([Exit.DONE, Exit.TRY_AGAIN]) is Exit.TRY_AGAIN
    assert most_urgent([Exit.TRY_AGAIN, Exit.PERSON_NEEDED, Exit.DONE]) is Exit.PERSON_NEEDED
    assert most_urgent([Exit.CONFIGURATION, Exit.PERSON_NEEDED]) is Exit.CONFIGURATION

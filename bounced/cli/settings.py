"""What every command may be told: which configuration, which database."""

from __future__ import annotations

import getpass
import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bounced.config import Config
    from bounced.ledger import Ledger

Command = TypeVar("Command", bound="Callable[..., Any]")


@dataclass(slots=True)
class Settings:
    """The options as typed; nothing is read before `config()` or `ledger()` is called."""

    config_path: Path | None = None
    database: str | None = None
    debug: bool = False

    def config(self) -> Config:
        """The configuration that applies. Raises ConfigError."""
        from bounced import config

        return config.load(self.config_path or config.find())

    def ledger_config(self) -> Config:
        """As `config()`; with `--db` there need not be one.

        Where there is one its policy, keys and all else are those of any other database, too.
        """
        from dataclasses import replace

        from bounced import config

        if self.database is None:
            return self.config()
        database = config.Database(config.database_url(self.database))
        if self.config_path is None and not any(one.is_file() for one in config.places(os.environ)):
            return config.Config(database=database)
        return replace(self.config(), database=database)

    @contextmanager
    def ledger(self, *, create: bool = False, migrate: bool | None = None) -> Iterator[Ledger]:
        """The ledger, open for the length of a `with`. Raises ConfigError and LedgerError.

        Only with `create` is an SQLite file made that is not there: a question about a list must
        not be answered from an empty one because of a slip in its name.
        """
        chosen = self.ledger_config()
        if not create:
            refuse_absent(chosen.database.url)
        ledger = open_ledger(chosen, migrate=migrate)
        try:
            yield ledger
        finally:
            ledger.close()


def refuse_absent(url: str) -> None:
    from bounced.config import ConfigError

    kind, _, name = url.partition(":///")
    if kind == "sqlite" and name and not Path(name).exists():
        raise ConfigError((f"there is no database {name}; bounced sync makes it",))


def open_ledger(chosen: Config, *, migrate: bool | None = None) -> Ledger:
    """Open what the configuration names; says so when that brought the database up to date."""
    from bounced.ledger import Ledger
    from bounced.rules import rules_version

    ledger = Ledger.open(
        chosen.database.url,
        policy=chosen.policy,
        brake=chosen.brake,
        unusual=chosen.incidents,
        never_suppress=chosen.never_suppress,
        migrate=migrate,
        rules_version=rules_version(chosen.rules) if chosen.rules else None,
        keys=chosen.keys,
        subscriptions=[webhook.subscription for webhook in chosen.webhooks],
        lists=chosen.lists,
        pepper=chosen.privacy.reveal,
        redact=chosen.privacy.redact,
    )
    if ledger.upgraded and migrate is None:
        before, after = ledger.upgraded
        if before is not None:
            say(f"The database was upgraded from revision {before} to {after}.")
    return ledger


def say(text: str) -> None:
    """One line for the person at the terminal, on stderr; stdout is for what was asked for."""
    from bounced.text import safe

    # the stream by its name, because a bar that moves there puts itself in its place
    click.echo(safe(text), file=sys.stderr)


def operator() -> str:
    """Whose word it is, for the audit."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        return f"uid {os.getuid()}"


def on_a_terminal() -> bool:
    return sys.stderr.isatty()


def ledger_options(command: Command) -> Command:
    """`--config` and `--db`, before or after the command's name."""
    for option in (
        click.option(
            "--db",
            "database",
            metavar="URL|PATH",
            expose_value=False,
            callback=_note("database"),
            help="Use this database, whatever the configuration says.",
        ),
        config_option,
    ):
        command = option(command)
    return command


def on_list_option(command: Command) -> Command:
    """`--list`, where lists have standings of their own."""
    return click.option(
        "--list",
        "on_list",
        metavar="NAME",
        help='As far as this list is concerned (scope = "list" in [policy]); else any list.',
    )(command)


def see_that_it_is_a_list(ledger: Ledger, name: str | None) -> None:
    """Refuse a list that nobody knows: what single lists have against people would be left out."""
    if name is not None and not ledger.is_list(name):
        raise click.UsageError(
            f"there is no list {name}: neither [policy.lists] nor an import of subscribers names "
            "it. Without --list all lists are asked"
        )


def json_option(command: Command) -> Command:
    """`--json`, for what is listed."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")(
        command
    )


def jobs_option(command: Command) -> Command:
    """`--jobs`: how many processes share the reading."""
    return click.option(
        "--jobs",
        type=click.IntRange(1, 64),
        default=1,
        show_default=True,
        metavar="N",
        help="Read in so many processes; the results and their order stay the same.",
    )(command)


def config_option(command: Command) -> Command:
    """`--config`, before or after the command's name."""
    return click.option(
        "--config",
        "config_path",
        metavar="PATH",
        type=click.Path(path_type=Path),
        expose_value=False,
        callback=_note("config_path"),
        help="Configuration (else ./config.toml, $BOUNCED_CONFIG, ~/.config/bounced/config.toml).",
    )(command)


def _note(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def note(context: click.Context, _parameter: click.Parameter, value: Any) -> None:
        if value is not None:
            setattr(context.ensure_object(Settings), name, value)

    return note

"""Which schema a database has, and how it gets the one this program needs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import String, column, inspect, select, table

from bounced.ledger.errors import LedgerError, half_upgraded, outdated, too_new
from bounced.ledger.tables import HEAD

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection

    from bounced.ledger.engine import Database


def scripts() -> Path:
    """Where the migrations are: inside an installed package, or next to it in a checkout.

    The directory of this very package counts; an editable install may leave a stale copy
    elsewhere.
    """
    package = Path(__file__).resolve().parent.parent
    shipped = package / "_migrations"
    return shipped if (shipped / "env.py").exists() else package.parent / "migrations"


def config(connection: Connection | None = None) -> Config:
    """A configuration for alembic, built without an .ini file."""
    from alembic.config import Config  # noqa: PLC0415 - only those who migrate pay for it

    made = Config()
    made.set_main_option("script_location", str(scripts()).replace("%", "%%"))
    made.set_main_option("path_separator", "os")
    made.attributes["connection"] = connection
    return made


def revision(connection: Connection) -> str | None:
    """The schema's revision; None where there is no ledger yet."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    version = select(column("version_num", String)).select_from(table("alembic_version"))
    return connection.execute(version).scalar()


def prepare(database: Database, *, migrate: bool | None) -> tuple[str | None, str] | None:
    """See that the schema fits; (from, to) where that took an upgrade.

    Raises LedgerOutdated where an upgrade is needed and not allowed, LedgerTooNew where the
    schema is none we know.
    """
    with database.reading() as connection:
        found = revision(connection)
    if found == HEAD:
        return None
    if migrate or (migrate is None and database.sqlite):
        before, after = upgrade(database)
        return None if before == after else (before, after)
    if found is not None and not _known(found):
        raise too_new(database.url, found, HEAD)
    raise outdated(database.url, found, HEAD)


def upgrade(database: Database) -> tuple[str | None, str]:
    """Bring the schema to HEAD in one transaction; (from, to), alike where nothing was to do."""
    from alembic import command  # noqa: PLC0415

    begun = False
    try:
        with database.altering() as connection:
            found = revision(connection)  # again: another process may have been faster
            if found is not None and not _known(found):
                raise too_new(database.url, found, HEAD)
            if found != HEAD:
                begun = True
                command.upgrade(config(connection), "head")
    except LedgerError as problem:
        if not begun or database.dialect.undoes_ddl:
            raise
        raise half_upgraded(database.url, problem) from None
    return found, HEAD


def _known(found: str) -> bool:
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    known = ScriptDirectory.from_config(config()).walk_revisions()
    return any(script.revision == found for script in known)

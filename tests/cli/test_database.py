"""The schema is made and brought up to date, and commands say so when they did it."""

from __future__ import annotations

import sqlite3
import stat
from contextlib import closing
from typing import TYPE_CHECKING

from bounced.ledger.tables import HEAD

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Bounced


def test_upgrade_makes_a_database_and_has_nothing_to_do_the_second_time(bounced: Bounced) -> None:
    made = bounced("db", "upgrade", "--db", "new.db")
    assert (made.exit_code, made.output) == (0, f"The database was created at revision {HEAD}.\n")
    again = bounced("db", "upgrade", "--db", "new.db")
    assert again.output == f"The database is at the newest revision ({HEAD}) already.\n"


def test_a_later_database_is_refused_by_every_command(bounced: Bounced, database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    for words in (["suppressed"], ["db", "upgrade"], ["status"], ["explain", "x@example.com"]):
        result = bounced(*words, "--db", str(database))
        assert result.exit_code == 2, words
        assert "Nothing was changed" in result.stderr


def test_a_file_that_is_no_database_is_told(bounced: Bounced) -> None:
    (bounced.folder / "x.db").write_text("this is a letter, not a database\n" * 100)
    result = bounced("suppressed", "--db", "x.db")
    assert result.exit_code in (2, 75)
    assert "x.db" in result.stderr
    assert "Traceback" not in result.stderr


def test_status_tells_of_each_mailbox(bounced: Bounced, database: Path) -> None:
    output = bounced("status", "--db", str(database)).output
    assert output.startswith("news: last emptied ")
    assert "letters: 2 processed" in output


def test_status_of_an_empty_ledger_says_what_to_type(bounced: Bounced) -> None:
    bounced("db", "upgrade", "--db", "new.db")
    output = bounced("status", "--db", "new.db").output
    assert output == "No mailbox has been emptied yet. Type: bounced sync\n"


def test_a_copy_says_what_it_holds_and_how_to_go_on(bounced: Bounced, database: Path) -> None:
    told = bounced("db", "copy", str(database), "copy.db")
    assert told.exit_code == 0
    assert "both are alike" in told.stdout
    assert "name it in the configuration" in told.stdout
    before = bounced("suppressed", "--db", str(database)).output
    assert bounced("suppressed", "--db", "copy.db").output == before
    assert stat.S_IMODE((bounced.folder / "copy.db").stat().st_mode) == 0o600


def test_a_copy_into_a_ledger_is_refused_and_changes_nothing(
    bounced: Bounced, database: Path
) -> None:
    assert bounced("db", "copy", str(database), "copy.db").exit_code == 0
    again = bounced("db", "copy", str(database), "copy.db")
    assert again.exit_code == 2
    assert "is not empty" in again.stderr
    assert "Name an empty database" in again.stderr


def test_a_copy_of_nothing_is_refused(bounced: Bounced) -> None:
    told = bounced("db", "copy", "nowhere.db", "copy.db")
    assert told.exit_code == 2
    assert "there is no database" in told.stderr
    assert not (bounced.folder / "copy.db").exists()

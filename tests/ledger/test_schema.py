"""Migrations, and what is said when a database does not fit."""

from __future__ import annotations

import re
import sqlite3
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import MetaData, create_engine, inspect

from bounced.ledger import (
    Ledger,
    LedgerError,
    LedgerOutdated,
    LedgerTooNew,
    LedgerUnavailable,
    schema,
)
from bounced.ledger.engine import Database
from bounced.ledger.tables import HEAD, metadata, seen
from tests.servers.database import driver, rows

from .conftest import opened, reading, synced

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Connection


@pytest.fixture
def url(bare_url: str) -> str:
    """Migrations begin with nothing."""
    return bare_url


@pytest.fixture
def connection(url: str) -> Iterator[Connection]:
    database = Database(url)
    with database.altering() as connection:
        yield connection
    database.close()


def tables(connection: Connection) -> set[str]:
    return set(inspect(connection).get_table_names()) - {"alembic_version"}


def test_every_revision_goes_up_and_down_and_up_again(connection: Connection) -> None:
    script = ScriptDirectory.from_config(schema.config())
    revisions = [step.revision for step in script.walk_revisions()][::-1]
    for revision in revisions:
        command.upgrade(schema.config(connection), revision)
        command.downgrade(schema.config(connection), "-1")
        command.upgrade(schema.config(connection), revision)
    assert tables(connection) == set(metadata.tables)
    command.downgrade(schema.config(connection), "base")
    assert tables(connection) == set()
    assert inspect(connection).get_view_names() == []


def test_the_migrations_make_what_the_tables_say(connection: Connection) -> None:
    command.upgrade(schema.config(connection), "head")
    command.check(schema.config(connection))  # raises when they differ


def test_the_migrations_check_what_the_tables_say(tmp_path: Path) -> None:
    def checks(url: str) -> set[str]:
        made = rows(url, "SELECT sql FROM sqlite_master WHERE type = 'table'")
        return {check for (words,) in made for check in re.findall(r"CONSTRAINT ck_.*", words)}

    anew = f"sqlite:///{tmp_path}/anew.db"
    engine = create_engine(anew)
    metadata.create_all(engine)
    engine.dispose()
    migrated = f"sqlite:///{tmp_path}/migrated.db"
    opened(migrated).close()
    assert checks(migrated) == checks(anew) != set()
    assert rows(migrated, "PRAGMA integrity_check") == [("ok",)]
    with closing(Database(migrated)) as database:
        for step, move in (("0016", command.downgrade), ("head", command.upgrade)):
            with database.altering() as connection:
                move(schema.config(connection), step)
            assert (checks(migrated) == checks(anew)) == (step == "head")
            with pytest.raises(Exception, match="ck_run_state"):
                rows(migrated, "INSERT INTO run (mailbox_id, started_at, state) VALUES (1, 1, '')")


def test_addresses_recorded_before_they_were_folded_are_found_after_the_upgrade(url: str) -> None:
    with opened(url) as ledger:
        synced(ledger, [reading(1, "Ann.Ä@example.com"), reading(2, "bob@example.com")])
    before = rows(url, "SELECT * FROM address ORDER BY address")
    database = Database(url)
    with database.altering() as connection:
        command.downgrade(schema.config(connection), "0001")
        assert "folded" not in {c["name"] for c in inspect(connection).get_columns("address")}
    with database.altering() as connection:
        command.upgrade(schema.config(connection), "head")
    database.close()
    assert rows(url, "SELECT * FROM address ORDER BY address") == before
    assert rows(url, "SELECT folded FROM suppression ORDER BY folded") == [
        ("ann.ä@example.com",),
        ("bob@example.com",),
    ]


def test_a_table_made_anew_keeps_what_refers_to_it_and_is_referred_to_as_before(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path}/x.db"
    with opened(url) as ledger:
        synced(ledger, [reading(1, "ann@example.com"), reading(2, "bob@example.com")])
    everything = "SELECT e.*, j.*, a.* FROM event e JOIN judgement j ON j.event_id = e.id"
    everything += " JOIN address a ON a.event_id = e.id ORDER BY e.id"
    before = rows(url, everything), rows(url, "SELECT * FROM suppression ORDER BY address")
    assert len(before[0]) == len(before[1]) == 2
    with closing(Database(url)) as database:
        for step, move in (("0015", command.downgrade), ("head", command.upgrade)):
            with database.altering() as connection:
                move(schema.config(connection), step)
                assert not connection.exec_driver_sql("PRAGMA foreign_key_check").all()
            after = rows(url, everything), rows(url, "SELECT * FROM suppression ORDER BY address")
            assert after == before
        with pytest.raises(LedgerError, match="FOREIGN KEY"), database.writing() as connection:
            connection.execute(seen.insert(), {"dedup_key": "0", "message_id": 99})


def test_views_and_triggers_of_the_operator_survive_an_upgrade(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/x.db"
    opened(url).close()
    own = (
        'CREATE VIEW "for-crm" AS SELECT address FROM event',
        'CREATE TRIGGER "told of" AFTER INSERT ON event BEGIN SELECT 1; END',
        "CREATE TRIGGER noted AFTER INSERT ON seen BEGIN DELETE FROM event WHERE id < 0; END",
        'CREATE TRIGGER unseen INSTEAD OF DELETE ON "for-crm" BEGIN SELECT 1; END',
    )
    made = "SELECT name, sql FROM sqlite_master WHERE type IN ('view', 'trigger') ORDER BY name"
    with closing(Database(url)) as database:
        with database.altering() as connection:
            command.downgrade(schema.config(connection), "0015")
            for words in own:
                connection.exec_driver_sql(words)
            before = connection.exec_driver_sql(made).all()
        with database.altering() as connection:
            command.upgrade(schema.config(connection), "head")
            assert connection.exec_driver_sql(made).all() == before


def test_a_word_the_program_does_not_know_is_refused_by_the_database(
    ledger: Ledger, url: str
) -> None:
    synced(ledger, [reading(1, "ann@example.com")])
    nonsense = {
        "ck_run_state": "UPDATE run SET state = 'nonsense'",
        "ck_message_state": "UPDATE message SET state = 'nonsense'",
        "ck_judgement_outcome": "UPDATE judgement SET outcome = 'nonsense'",
        "ck_address_status": "UPDATE address SET status = 'nonsense'",
    }
    for constraint, statement in nonsense.items():
        with pytest.raises(Exception, match=constraint):
            rows(url, statement)


def test_the_program_knows_which_revision_is_the_newest() -> None:
    assert ScriptDirectory.from_config(schema.config()).get_current_head() == HEAD


def test_an_empty_database_is_created_on_demand(url: str) -> None:
    with opened(url) as ledger:
        assert ledger.upgraded == (None, HEAD)
        assert ledger.upgrade() == (HEAD, HEAD)
    with opened(url, migrate=None) as ledger:
        assert ledger.upgraded is None


def test_sqlite_is_created_by_itself_and_others_only_when_told(url: str) -> None:
    if url.startswith("sqlite"):
        with opened(url, migrate=None) as ledger:
            assert ledger.upgraded == (None, HEAD)
        return
    with pytest.raises(
        LedgerOutdated, match=r"holds no ledger yet.*Nothing was changed.*bounced db upgrade"
    ):
        opened(url, migrate=None)


def test_many_may_open_a_new_database_at_once(url: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        ledgers = list(pool.map(lambda _: opened(url), range(8)))
    for ledger in ledgers:
        assert ledger.holds() == []
        ledger.close()
    assert [ledger.upgraded for ledger in ledgers].count((None, HEAD)) == 1


def test_a_new_file_that_another_is_making_ready_is_waited_for(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "x.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN EXCLUSIVE")
    done = threading.Timer(0.3, other.close)
    done.start()
    ledger = opened(f"sqlite:///{tmp_path}/x.db?timeout=0")
    done.join()
    assert ledger.holds() == []
    ledger.close()


def test_an_old_database_is_not_used_as_it_is(url: str) -> None:
    database = Database(url)
    with database.writing() as connection:
        command.upgrade(schema.config(connection), "head")
        command.downgrade(schema.config(connection), "base")
    database.close()
    with pytest.raises(LedgerOutdated, match="bounced db upgrade"):
        opened(url, migrate=False)
    with opened(url) as ledger:
        assert ledger.upgraded == (None, HEAD)


@pytest.mark.parametrize("migrate", [None, True, False])
def test_a_database_of_a_later_version_is_left_alone(url: str, *, migrate: bool | None) -> None:
    opened(url).close()
    rows(url, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(LedgerTooNew, match=r"9999.*Nothing was changed.*Upgrade the program"):
        opened(url, migrate=migrate)


def test_a_sqlite_file_is_private_and_durable(tmp_path: Path) -> None:
    path = tmp_path / "bounced.db"
    with opened(f"sqlite:///{path}") as ledger:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with ledger._database.reading() as connection:
            told = [
                connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
            ]
    assert told == ["wal", 2, 1, 30000]


def test_a_locked_database_is_told_as_one_to_try_again(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'bounced.db'}?timeout=0.05"
    with (
        opened(url) as ledger,
        closing(Database(url)) as other,
        other.writing(),
        pytest.raises(LedgerUnavailable, match="locked"),
    ):
        ledger.import_subscribers([("ann@example.com", "news")], at=reading(1).received_at)


def test_a_missing_directory_is_told_with_the_place(tmp_path: Path) -> None:
    with pytest.raises(LedgerUnavailable, match=r"missing/bounced\.db.*run the same command again"):
        opened(f"sqlite:///{tmp_path / 'missing' / 'bounced.db'}")


def test_a_file_that_is_no_database_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_text("Dear Ann, this is certainly no database, whatever the name says.\n" * 20)
    before = path.read_bytes()
    with pytest.raises(LedgerError, match="not a database"):
        opened(f"sqlite:///{path}")
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://bounced:s3cr3t@127.0.0.1:1/news?connect_timeout=1",
        "postgresql://bounced@127.0.0.1:1/news?password=s3cr3t",
        "postgresql://bounced:s3cr3t@127.0.0.1:1/news?no_such_option=1",
        "mysql://bounced:s3cr3t@127.0.0.1/news",
        "oracle+nothing://bounced:s3cr3t@127.0.0.1/news",
        "bounced:s3cr3t@127.0.0.1",
    ],
)
def test_no_error_tells_the_password(url: str) -> None:
    with pytest.raises(LedgerError) as told:
        opened(url)
    problem: BaseException | None = told.value
    while problem is not None:
        assert "s3cr3t" not in f"{problem!s} {problem!r}"
        problem = None if problem.__suppress_context__ else problem.__context__


def test_a_server_that_does_not_answer_is_told_as_one_to_try_again() -> None:
    with pytest.raises(LedgerUnavailable, match=r"postgresql://bounced:\*\*\*@127.0.0.1:1/news"):
        opened("postgresql://bounced:s3cr3t@127.0.0.1:1/news")


def test_the_migrations_are_found_next_to_the_package_in_a_checkout() -> None:
    assert (schema.scripts() / "env.py").exists()


def test_the_view_is_no_table_of_ours(url: str) -> None:
    opened(url).close()
    engine = create_engine(driver(url))
    found = MetaData()
    found.reflect(engine)
    engine.dispose()
    assert "suppression" not in found.tables

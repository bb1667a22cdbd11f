"""What must not differ between databases: which texts are equal, times, turns, and trouble."""

from __future__ import annotations

import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import create_engine, select, text

from bounced.ledger import Ledger, LedgerError, LedgerUnavailable, dialects
from bounced.ledger.engine import Database
from bounced.ledger.tables import address
from bounced.model import Reply
from tests.servers import database
from tests.servers.database import driver, rows

from .conftest import Pass, bounce, day, on_the_list, opened, reading, synced

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ALMOST_ALIKE = (
    "strasse@example.com",
    "straße@example.com",
    "ää@example.com",
    "aa@example.com",
    "a\u0308a\u0308@example.com",  # decomposed
    "łódź@example.com",
    "lodz@example.com",
    "ﬁ@example.com",
    "fi@example.com",
    "😀@example.com",
    "😁@example.com",
)


@pytest.fixture
def mariadb(tmp_path: Path) -> Iterator[str]:
    with database.empty("mariadb", tmp_path) as own:
        yield own


def test_addresses_that_a_collation_takes_for_one_stay_apart(ledger: Ledger) -> None:
    synced(ledger, [reading(n, whose) for n, whose in enumerate(ALMOST_ALIKE)])
    assert sorted(on_the_list(ledger)) == sorted(ALMOST_ALIKE)
    for whose in ALMOST_ALIKE:
        assert len(ledger.explain(whose).events) == 1, whose
    strangers = ["ÄÅ@example.com", "aä@example.com", "łodz@example.com", "😂@example.com"]
    assert [row for _, row in ledger.check(strangers, at=day(1))] == [None] * len(strangers)
    assert ledger.unclear(strangers, at=day(1)) == {}
    assert set(ledger.unclear(["straße@example.com"], at=day(1))) == {"straße@example.com"}


def test_blanks_and_case_make_other_lists(ledger: Ledger) -> None:
    lists = ["news", "News", "news ", "néws", "news\u00a0"]
    pairs = [("ann@example.com", name) for name in lists]
    assert ledger.import_subscribers(pairs, at=day(0)) == len(lists)
    assert ledger.import_subscribers(pairs, at=day(1)) == 0
    assert sorted(ledger.explain("ann@example.com").lists) == sorted(lists)


def test_times_come_back_to_the_microsecond_whatever_zone_they_came_from(ledger: Ledger) -> None:
    summer = timezone(timedelta(hours=5, minutes=30))
    at = datetime(2026, 7, 1, 3, 4, 5, 678901, tzinfo=summer)
    synced(ledger, [reading(1, "ann@example.com", at=at)])
    (heard,) = ledger.explain("ann@example.com").events
    assert heard.at == at
    assert heard.at.utcoffset() == timedelta(0)


def test_the_databases_clock_is_the_worlds(url: str) -> None:
    with closing(Database(url)) as made, made.reading() as connection:
        assert abs(made.clock(connection) - datetime.now(UTC)) < timedelta(minutes=1)


def test_the_view_ends_a_suppression_on_the_minute_in_every_time_zone(
    ledger: Ledger, url: str
) -> None:
    synced(ledger, [reading(1, "over@example.com"), reading(2, "on@example.com")])
    now = datetime.now(UTC)
    with ledger._database.writing() as connection:
        for whose, minutes in (("over@example.com", -1), ("on@example.com", 1)):
            later = now + timedelta(minutes=minutes)
            query = address.update().where(address.c.address == whose).values(expires_at=later)
            connection.execute(query)
    zones = {"postgresql": "SET TIME ZONE 'Asia/Tokyo'", "mariadb": "SET time_zone = '+09:00'"}
    engine = create_engine(driver(url))
    try:
        with engine.begin() as connection:
            if engine.dialect.name in zones:
                connection.execute(text(zones[engine.dialect.name]))
            seen = connection.execute(text("SELECT address FROM suppression")).scalars().all()
    finally:
        engine.dispose()
    assert seen == ["on@example.com"]


def test_the_longest_words_that_mail_can_hold_are_kept_and_do_not_stop_a_transaction(
    ledger: Ledger,
) -> None:
    wide = "\U0001f600" * 3000
    endless = f"{'ä' * 300}@{'.'.join(['中' * 20] * 12)}.example"
    letters = [
        reading(1, bounce(f"ann@{'x' * 900}", reply=Reply(wide), remote_mta=wide)),
        reading(2, bounce(endless, original_address="İ" * 60 + "@example.com")),
        reading(3, bounce("bob@example.com", original_address=endless, status=None)),
    ]
    assert synced(ledger, letters).events == 3
    assert ledger.import_sent([("<" + "m" * 5000 + ">", endless)], at=day(0)) == 1
    assert ledger.import_sent([("<" + "m" * 5000 + ">", endless)], at=day(0)) == 0


def test_a_thousand_recipients_with_long_words_are_written_at_once(ledger: Ledger) -> None:
    words = Reply("\U0001f600" * 2000)
    many = [bounce(f"{n}@example.com", "soft", reply=words) for n in range(1200)]
    assert synced(ledger, [reading(1, *many)]).events == 1200


def test_writers_of_one_ledger_wait_for_each_other(url: str) -> None:
    with opened(url) as ledger, closing(Database(url)) as other:
        at_work, may_end, order = threading.Event(), threading.Event(), []

        def first() -> None:
            with other.writing() as connection:
                connection.execute(select(address.c.address))
                at_work.set()
                may_end.wait(20)
                order.append("first")

        thread = threading.Thread(target=first)
        thread.start()
        assert at_work.wait(20)
        threading.Timer(0.3, may_end.set).start()
        ledger.import_subscribers([("ann@example.com", "news")], at=day(0))
        order.append("second")
        thread.join()
    assert order == ["first", "second"]


def test_a_turn_that_failed_is_given_back(url: str) -> None:
    with opened(url), closing(Database(url)) as one, closing(Database(url)) as other:
        with pytest.raises(LedgerError), one.writing() as connection:
            connection.execute(text("SELECT nonsense FROM nowhere"))
        with pytest.raises(ValueError, match="ours"), one.writing() as connection:
            raise ValueError("ours")
        with other.writing() as connection:
            assert connection.execute(select(address.c.address)).all() == []


def test_nobody_waits_for_the_writer_of_another_ledger(mariadb: str, tmp_path: Path) -> None:
    with (
        database.empty("mariadb", tmp_path) as second,
        closing(Database(mariadb)) as one,
        closing(Database(second)) as other,
        one.writing(),
        other.writing() as connection,
    ):
        assert connection.execute(text("SELECT 1")).scalar_one() == 1


def test_a_busy_mariadb_is_told_as_one_to_try_again(
    mariadb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialects, "PATIENCE_SECONDS", 0)
    with (
        opened(mariadb) as ledger,
        closing(Database(mariadb)) as other,
        other.writing(),
        pytest.raises(LedgerUnavailable, match="another writer is at work"),
    ):
        ledger.import_subscribers([("ann@example.com", "news")], at=day(0))


def test_a_connection_that_is_killed_is_told_as_one_to_try_again(mariadb: str) -> None:
    with opened(mariadb) as ledger:
        this = Pass(ledger)

        def cut_off() -> None:
            with ledger._database.writing() as connection:
                number = connection.execute(text("SELECT CONNECTION_ID()")).scalar_one()
                rows(mariadb, f"KILL CONNECTION {number}")
                connection.execute(select(address.c.address))

        with pytest.raises(LedgerUnavailable):
            cut_off()
        assert this.batch(reading(1, "ann@example.com")).events == 1  # the next one is whole again
        assert on_the_list(ledger) == ["ann@example.com"]


def test_a_deadlock_is_told_as_one_to_try_again(mariadb: str) -> None:
    """Somebody else's program, who takes rows in another order, may be the cause."""
    with opened(mariadb) as ledger:
        synced(ledger, [reading(1, "ann@example.com"), reading(2, "bob@example.com")])
        engine = create_engine(driver(mariadb))
        touch = "UPDATE address SET score = score + 1 WHERE address = '{}@example.com'"
        both = threading.Barrier(2)
        problems: list[BaseException] = []

        def stranger() -> None:
            try:
                with engine.begin() as connection:
                    # many rows written: the server ends the smaller transaction, which is ours
                    connection.execute(text("UPDATE event SET ordinal = ordinal + 1"))
                    connection.execute(text("UPDATE judgement SET confidence = confidence / 2"))
                    connection.execute(text(touch.format("ann")))
                    both.wait(20)
                    connection.execute(text(touch.format("bob")))
            except Exception as problem:  # noqa: BLE001 - told below
                problems.append(problem)

        def ours() -> None:
            with ledger._database.writing() as connection:
                connection.execute(text(touch.format("bob")))
                both.wait(20)
                connection.execute(text(touch.format("ann")))

        thread = threading.Thread(target=stranger)
        thread.start()
        with pytest.raises(LedgerUnavailable, match=r"[Dd]eadlock"):
            ours()
        thread.join()
        engine.dispose()
        assert problems == []


def test_a_mistake_in_a_statement_is_not_told_as_one_to_try_again(mariadb: str) -> None:
    for words in ("SELECT nonsense FROM address", "SELECT 1 FROM nowhere", "SELEC"):
        with (
            opened(mariadb) as ledger,
            pytest.raises(LedgerError, match="refused the work") as told,
            ledger._database.reading() as connection,
        ):
            connection.execute(text(words))
        assert not isinstance(told.value, LedgerUnavailable)


def test_a_mysql_url_is_refused_with_what_to_type() -> None:
    with pytest.raises(LedgerError, match=r"kind this program does not know.*mariadb://user"):
        opened("mysql://bounced@127.0.0.1/news")


DURABLE = {
    "sqlite": ("PRAGMA synchronous", 2, 1),
    "postgresql": ("SHOW synchronous_commit", "on", "off"),
}


def test_only_notes_may_be_committed_without_waiting_for_the_disk(url: str) -> None:
    if url.startswith("mariadb"):
        pytest.skip("MariaDB has no such choice for a transaction")
    if url.startswith("postgresql"):
        url += "%20-csynchronous_commit%3Don"  # the tests' server has it off
    with closing(Database(url)) as own:
        query, waits, hastens = DURABLE[own.dialect.name]
        for hasty in (False, True, False):
            with own.writing(hasty=hasty) as connection:
                found = connection.exec_driver_sql(query).scalar_one()
            assert found == (hastens if hasty else waits)


def test_an_upgrade_that_stops_half_way_on_mariadb_asks_for_the_backup(mariadb: str) -> None:
    rows(mariadb, "CREATE TABLE outbox (id INT)")  # in the way of a later step
    with pytest.raises(LedgerError, match=r"outbox.*Restore the backup.*bounced db upgrade"):
        opened(mariadb)


def test_an_upgrade_that_stops_half_way_elsewhere_is_taken_back(tmp_path: Path) -> None:
    for kind in ("sqlite", "postgresql"):
        if kind == "sqlite" or database.SERVERS[kind]:
            with database.empty(kind, tmp_path) as own:
                rows(own, "CREATE TABLE outbox (id INT)")
                with pytest.raises(LedgerError, match="rolled back"):
                    opened(own)
                rows(own, "DROP TABLE outbox")
                opened(own).close()

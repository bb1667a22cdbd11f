"""A ledger copied between databases of every kind: the same afterwards, or nothing at all."""

from __future__ import annotations

import itertools
import tracemalloc
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from bounced.ledger import (
    LedgerError,
    LedgerOutdated,
    LedgerUnavailable,
    bulk,
    transfer,
)
from bounced.ledger.engine import Database
from bounced.ledger.tables import metadata
from bounced.policy import Brake
from tests.servers import database
from tests.servers.database import rows

from .conftest import Pass, bounce, day, on_the_list, opened, reading, synced
from .test_dialects import ALMOST_ALIKE
from .test_migrations import contents, fill

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DIRECTIONS = [*itertools.permutations(database.KINDS, 2), ("sqlite", "sqlite")]


@contextmanager
def two(
    kinds: tuple[str, str], folder: Path, ledgers: database.Ledgers
) -> Iterator[tuple[str, str]]:
    """A ledger, and a database with nothing in it."""
    with ledgers.lent(kinds[0], folder) as source, database.empty(kinds[1], folder) as target:
        yield source, target


@pytest.fixture(params=DIRECTIONS, ids="-to-".join)
def pair(
    request: pytest.FixtureRequest, tmp_path: Path, ledgers: database.Ledgers
) -> Iterator[tuple[str, str]]:
    with two(request.param, tmp_path, ledgers) as urls:
        yield urls


@pytest.fixture
def files(tmp_path: Path, ledgers: database.Ledgers) -> Iterator[tuple[str, str]]:
    with two(("sqlite", "sqlite"), tmp_path, ledgers) as urls:
        yield urls


def copied(source: str, target: str) -> dict[str, int]:
    return {step.table: step.rows for step in transfer(source, target) if step.verified}


def held(url: str) -> Any:
    with closing(Database(url)) as made, made.reading() as connection:
        return contents(connection)


def lived(url: str) -> None:
    """A ledger with a past: repeats, releases, a held run, lists, more rows than a chunk."""
    with opened(url, brake=Brake(share=0.5, floor=20)) as ledger:
        synced(ledger, [reading(n, whose) for n, whose in enumerate(ALMOST_ALIKE, 1)])
        synced(ledger, [reading(50, "ann@example.com", key="twice")], epoch=8)
        synced(ledger, [reading(51, "ann@example.com", key="twice")], epoch=9)
        many = [bounce(f"{n}@example.org", "soft") for n in range(1100)]
        synced(ledger, [reading(60, *many, at=day(0.123456789))])
        ledger.release(["ann@example.com"], by="eve", note="she's \\ back", at=day(1))
        ledger.import_subscribers([("ann@example.com", "news"), ("bob@x.example", "")], at=day(0))
        ledger.import_sent([("1@example.com", "ann@example.com")], at=day(0))
        flood = [bounce(f"{n}@flood.example") for n in range(1200)]
        assert synced(ledger, [reading(70, *flood)], mailbox="other").held == 1200


def test_a_ledger_is_the_same_in_every_other_database(pair: tuple[str, str]) -> None:
    source, target = pair
    lived(source)
    before = held(source)
    told = copied(source, target)
    assert set(told) == set(metadata.tables)
    assert told["event"] == len(ALMOST_ALIKE) + 1 + 1100 + 1200
    # as each database tells it: truth is 1 on some
    assert [len(before[name]) for name in told] == list(told.values())
    assert held(source) == before
    with opened(source) as old, opened(target) as new:
        assert on_the_list(new) == on_the_list(old)
        assert [row.addresses for row in new.holds()] == [1200]
        for whose in ("ann@example.com", "7@example.org", "straße@example.com"):
            assert new.explain(whose) == old.explain(whose)


def test_life_goes_on_in_the_copy(pair: tuple[str, str]) -> None:
    source, target = pair
    lived(source)
    copied(source, target)
    with opened(target) as ledger:
        again = synced(ledger, [reading(99, "ann@example.com", key="twice")], epoch=10)
        assert (again.events, again.duplicates) == (0, 1)
        assert synced(ledger, [reading(100, "new@example.com")], epoch=10).events == 1
        ledger.release(["new@example.com"], by="eve", note="", at=day(2))
        (run,) = ledger.holds()
        assert ledger.decide(run.run_id, accept=True, by="eve", at=day(2)) == 1200
        assert len(on_the_list(ledger)) == len(ALMOST_ALIKE) + 1200


def test_every_column_of_every_table_comes_along(pair: tuple[str, str]) -> None:
    source, target = pair
    opened(source).close()
    with closing(Database(source)) as made, made.writing() as connection:
        fill(connection)
    assert copied(source, target) == dict.fromkeys(metadata.tables, 1)


def test_a_letter_that_points_to_a_later_one_comes_along(pair: tuple[str, str]) -> None:
    source, target = pair
    with opened(source) as ledger:
        synced(ledger, [reading(1, "a@example.com", key="x"), reading(2, "a@example.com", key="x")])
    rows(source, "UPDATE message SET duplicate_of = NULL WHERE uid = 2")
    rows(source, "UPDATE message SET duplicate_of = 2 WHERE uid = 1")
    copied(source, target)
    query = "SELECT uid, duplicate_of FROM message ORDER BY uid"
    assert rows(target, query) == [(1, 2), (2, None)]


def test_a_target_with_anything_in_it_is_refused(files: tuple[str, str]) -> None:
    source, target = files
    lived(source)
    with opened(target) as ledger:
        ledger.import_subscribers([("bob@example.com", "news")], at=day(0))
    with pytest.raises(LedgerError, match=r"subscriber is not empty.*Nothing was changed"):
        copied(source, target)
    assert rows(target, "SELECT address FROM subscriber") == [("bob@example.com",)]
    assert rows(target, "SELECT * FROM event") == []


def test_cut_off_it_has_done_nothing_and_done_again_it_is_whole(pair: tuple[str, str]) -> None:
    source, target = pair
    lived(source)
    steps = transfer(source, target)
    for step in steps:
        if step.table == "event" and step.rows > 1000:
            break
    steps.close()
    assert {name for name, found in held(target).items() if found} == set()
    assert copied(source, target)["event"] == len(ALMOST_ALIKE) + 1 + 1100 + 1200


def test_what_does_not_read_back_alike_is_taken_back(
    pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = pair
    lived(source)
    put = bulk.put

    def careless(connection: Any, table: Any, told: list[dict[str, Any]], **more: Any) -> None:
        if table.name == "event" and len(told) > 3:
            told[3]["diagnostic"] += " "
        put(connection, table, told, **more)

    monkeypatch.setattr(bulk, "put", careless)
    with pytest.raises(LedgerError, match=r"event.*does not hold what was read.*taken back"):
        copied(source, target)
    assert rows(target, "SELECT * FROM event") == []


def test_rows_that_are_lost_or_swapped_are_noticed(
    files: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = files
    lived(source)
    put = bulk.put

    def forgetful(connection: Any, table: Any, told: list[dict[str, Any]], **more: Any) -> None:
        put(connection, table, told[:-1] if table.name == "sent" else told, **more)

    monkeypatch.setattr(bulk, "put", forgetful)
    with pytest.raises(LedgerError, match=r"sent .*0 rows of 1"):
        copied(source, target)


def test_no_copy_is_made_while_a_sync_is_at_work(files: tuple[str, str]) -> None:
    source, target = files
    with opened(source) as ledger:
        this = Pass(ledger)
        with pytest.raises(LedgerUnavailable, match="sync of the mailbox news is at work"):
            copied(source, target)
        this.end()
    assert copied(source, target)["mailbox"] == 1


def test_nobody_writes_into_either_meanwhile(files: tuple[str, str]) -> None:
    source, target = files
    lived(source)
    steps = transfer(source, target)
    next(steps)
    for url in (source, target):
        with opened(f"{url}?timeout=0.05") as ledger, pytest.raises(LedgerUnavailable):
            ledger.import_subscribers([("bob@example.com", "news")], at=day(0))
    steps.close()


def test_a_ledger_of_an_older_schema_is_upgraded_first(files: tuple[str, str]) -> None:
    source, target = files
    opened(source).close()
    rows(source, "UPDATE alembic_version SET version_num = '0001'")
    with pytest.raises(LedgerOutdated, match="bounced db upgrade"):
        copied(source, target)


def test_a_ledger_is_not_copied_into_itself(files: tuple[str, str]) -> None:
    lived(files[0])
    with pytest.raises(LedgerError, match="into itself"):
        copied(files[0], files[0])


def test_memory_does_not_grow_with_the_ledger(files: tuple[str, str]) -> None:
    source, target = files
    with opened(source, brake=Brake(floor=100_000)) as ledger:
        for n in range(4):
            many = [bounce(f"{n}-{m}@example.org", "soft") for m in range(4000)]
            synced(ledger, [reading(n, *many)])
    tracemalloc.start()
    try:
        assert copied(source, target)["event"] == 16_000
        assert tracemalloc.get_traced_memory()[1] < 30_000_000  # all rows take several times that
    finally:
        tracemalloc.stop()

"""Rows written many at a time are the rows that SQLAlchemy would have written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from bounced.ledger import bulk, schema
from bounced.ledger.engine import Database
from bounced.ledger.tables import address, mailbox, seen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

AT = datetime(2026, 3, 1, 9, 30, 1, 250, tzinfo=UTC)
ODD = (
    "o'neil@example.com",
    'x"y\\z@example.com',
    "größe😀@example.com",
    "%s{}@example.com",
    "\u2028",
)


@pytest.fixture
def connection(url: str) -> Iterator[Connection]:
    database = Database(url)
    schema.prepare(database, migrate=True)
    with database.writing() as open_:
        yield open_
    database.close()


def standing(whose: str, **more: Any) -> dict[str, Any]:
    row: dict[str, Any] = {
        "address": whose,
        "status": "active",
        "suppressed": False,
        "score": 0,
        "because": "",
        "policy_version": "1",
        "last_event_at": None,
    }
    return {**row, **more}


def test_what_is_put_is_what_is_read(connection: Connection) -> None:
    elsewhere = AT.astimezone(timezone(timedelta(hours=-5)))
    rows = [standing(who, score=n / 2, last_event_at=elsewhere) for n, who in enumerate(ODD)]
    bulk.put(connection, address, [*rows, standing("nobody@example.com", suppressed=True)])
    names = [address.c[name] for name in rows[0]]
    found = {row.address: row for row in connection.execute(select(*names))}
    assert [found[who].score for who in ODD] == [0, 0.5, 1, 1.5, 2]
    assert {found[who].last_event_at for who in ODD} == {AT}
    assert found["nobody@example.com"].last_event_at is None
    assert [who for who, row in found.items() if row.suppressed] == ["nobody@example.com"]


def test_a_row_with_the_same_key_is_replaced_but_for_what_is_kept(connection: Connection) -> None:
    bulk.put(connection, address, [standing("a@example.com", because="old", policy_version="1")])
    again = [standing(who, because="new", policy_version="2") for who in ("a@example.com", "b@x")]
    bulk.put(connection, address, again, key="address", kept=["policy_version"])
    query = select(address.c.because, address.c.policy_version).order_by(address.c.address)
    assert [tuple(row) for row in connection.execute(query)] == [("new", "1"), ("new", "2")]


def test_rows_that_are_there_are_replaced_but_for_what_is_kept(connection: Connection) -> None:
    rows = [standing(who, because="old", policy_version="1") for who in ODD]
    bulk.put(connection, address, [*rows, standing("b@x", because="old", last_event_at=AT)])
    again = [standing(who, because="new", policy_version="2") for who in (*ODD, "b@x")]
    bulk.replace(connection, address, again, key="address", kept=["policy_version"])
    bulk.replace(connection, address, [], key="address")
    columns = address.c.because, address.c.policy_version, address.c.last_event_at
    found = connection.execute(select(*columns)).all()
    assert [tuple(row) for row in found] == [("new", "1", None)] * len(again)


def test_numbers_are_new_and_ascend(connection: Connection) -> None:
    connection.execute(mailbox.insert(), [{"name": name} for name in "abc"])
    taken = set(connection.execute(select(mailbox.c.id)).scalars())
    numbers = list(bulk.new_ids(connection, mailbox, 4))
    assert numbers == sorted(set(numbers) - taken)
    assert len(numbers) == 4
    assert list(bulk.new_ids(connection, mailbox, 0)) == []
    bulk.put(connection, mailbox, [{"id": n, "name": str(n)} for n in numbers])
    # and whoever lets the database number its rows does not meet ours
    connection.execute(mailbox.insert(), {"name": "last"})


def test_many_texts_are_found_whatever_is_in_them(connection: Connection) -> None:
    bulk.put(connection, address, [standing(who) for who in (*ODD, "ann@example.com")])
    wanted = bulk.among(connection, address.c.address, [*ODD, "not there"])
    found = connection.execute(select(address.c.address).where(wanted)).scalars()
    assert set(found) == set(ODD)
    nobody = bulk.among(connection, seen.c.message_id, [])
    assert connection.execute(select(seen.c.message_id).where(nobody)).all() == []


def test_a_time_without_zone_is_refused(connection: Connection) -> None:
    naive = standing("a@example.com", last_event_at=AT.replace(tzinfo=None))
    with pytest.raises(ValueError, match="aware"):
        bulk.put(connection, address, [naive])

"""Whether PostgreSQL's events would gain by being partitioned by month: the same rows, both ways.

    python benchmarks/partitions.py postgresql://user@host/empty [--events 1000000]

Two tables of events with the ledger's columns and indices, one of them in thirteen partitions by
month (whose keys have to hold the month), get the same rows. Told are medians of `--rounds`.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from sqlalchemy import Connection, create_engine, text  # noqa: E402

COLUMNS = """
    id bigint NOT NULL, message_id bigint NOT NULL, dedup_key varchar NOT NULL,
    ordinal int NOT NULL, address varchar NOT NULL, recipient varchar NOT NULL,
    action varchar NOT NULL, kind varchar NOT NULL, diagnostic text NOT NULL,
    occurred_at timestamptz NOT NULL, run_id bigint NOT NULL"""
ROWS = """
SELECT n, n, encode(sha256(n::text::bytea), 'hex'), 0, whose, whose, 'failed', 'bounce',
       '550 5.1.1 <' || whose || '>: Recipient address rejected: User unknown',
       timestamptz '2026-01-01' + n % 395 * interval '1 day', 1
  FROM generate_series({first}, {last}) AS n,
       LATERAL (SELECT 'reader' || n % {addresses} || '@example.com' AS whose) AS named"""
INDICES = ("address", "message_id", "run_id")
MONTHS = [(2026 + m // 12, m % 12 + 1) for m in range(14)]


def made(connection: Connection, events: int) -> None:
    for table in ("plain", "parted"):
        connection.execute(text(f"DROP TABLE IF EXISTS {table}"))
    connection.execute(
        text(f"CREATE TABLE plain ({COLUMNS}, PRIMARY KEY (id), UNIQUE (dedup_key, address))")
    )
    keys = "PRIMARY KEY (id, occurred_at), UNIQUE (dedup_key, address, occurred_at)"
    connection.execute(
        text(f"CREATE TABLE parted ({COLUMNS}, {keys}) PARTITION BY RANGE (occurred_at)")
    )
    for (year, month), (after, next_month) in pairwise(MONTHS):
        bounds = f"FROM ('{year}-{month}-1') TO ('{after}-{next_month}-1')"
        connection.execute(
            text(f"CREATE TABLE parted_{year}_{month} PARTITION OF parted FOR VALUES {bounds}")
        )
    for table in ("plain", "parted"):
        for column in INDICES:
            connection.execute(text(f"CREATE INDEX ON {table} ({column})"))
        connection.execute(text(f"INSERT INTO {table} {rows(1, events, events)}"))


def rows(first: int, last: int, events: int) -> str:
    return ROWS.format(first=first, last=last, addresses=max(1, events // 3))


def asked(table: str, events: int, turn: int) -> dict[str, str]:
    first = events + 1 + turn * 1000
    some = "SELECT 'reader' || n * 37 || '@example.com' FROM generate_series(1, 200) AS n"
    numbers = f"SELECT n * {events // 1000} FROM generate_series(1, 200) AS n"
    week = "occurred_at >= '2026-06-01' AND occurred_at < '2026-06-08'"
    every = f"SELECT * FROM {table}"
    return {
        "write 1000 events": f"INSERT INTO {table} {rows(first, first + 999, events)}",
        "all events of one address": f"{every} WHERE address = 'reader77@example.com'",
        "all events of 200 addresses": f"{every} WHERE address = ANY (ARRAY({some}))",
        "200 events by number": f"{every} WHERE id = ANY (ARRAY({numbers}))",
        "the last 50 events": f"{every} ORDER BY id DESC LIMIT 50",
        "events of a week": f"{every} WHERE {week}",
    }


def seconds(connection: Connection, words: str) -> float:
    began = time.perf_counter()
    found = connection.execute(text(words))
    if found.returns_rows:
        found.all()
    connection.commit()
    return time.perf_counter() - began


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("url")
    words.add_argument("--events", type=int, default=10**6)
    words.add_argument("--rounds", type=int, default=5)
    chosen = words.parse_args()
    engine = create_engine(chosen.url.replace("postgresql:", "postgresql+psycopg:"))
    told: dict[str, dict[str, float]] = {"plain": {}, "parted": {}}
    with engine.connect() as connection:
        made(connection, chosen.events)
        connection.commit()
        connection.execute(text("ANALYZE plain"))
        connection.execute(text("ANALYZE parted"))
        connection.commit()
        for table, found in told.items():
            times: dict[str, list[float]] = {}
            for turn in range(chosen.rounds + 1):
                for name, query in asked(table, chosen.events, turn).items():
                    times.setdefault(name, []).append(seconds(connection, query))
            found |= {name: statistics.median(some[1:]) * 1000 for name, some in times.items()}
        month = "WHERE occurred_at < '2026-02-01'"
        told["plain"]["forget a month"] = seconds(connection, f"DELETE FROM plain {month}") * 1000
        told["parted"]["forget a month"] = seconds(connection, "DROP TABLE parted_2026_1") * 1000
        for table in told:
            connection.execute(text(f"DROP TABLE {table}"))
        connection.commit()
    engine.dispose()
    print(f"{'milliseconds':30} {'one table':>12} {'by month':>12}")
    for name in told["plain"]:
        print(f"{name:30} {told['plain'][name]:>12.1f} {told['parted'][name]:>12.1f}")


if __name__ == "__main__":
    main()

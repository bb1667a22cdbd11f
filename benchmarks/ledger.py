"""How questions and syncs slow down as a ledger grows: a table of times by number of events.

    python benchmarks/ledger.py                                # 10^4, 10^5, 10^6 events on SQLite
    python benchmarks/ledger.py --events 10000 --also mariadb://bounced@127.0.0.1/empty
    python benchmarks/ledger.py --plans                        # how the last one would be searched

A ledger is filled by hand: a year of bounces, three an address, a fifth of them suppressed, one
letter a bounce, twenty letters a run. `--also` copies each into an empty database of another kind,
times that, and empties it again. Each question is asked `--rounds` times and the quickest told,
since what else runs on the machine only adds; a sync records 200 letters with one recipient each,
half of them known.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from alembic import command  # noqa: E402 - what follows is found from the checkout
from sqlalchemy import text  # noqa: E402

from bounced.ledger import Ledger, bulk, schema, transfer  # noqa: E402
from bounced.ledger.audit import balances  # noqa: E402
from bounced.ledger.engine import Database  # noqa: E402
from bounced.ledger.tables import metadata  # noqa: E402
from bounced.model import (  # noqa: E402
    Bounce,
    Conclusion,
    Destination,
    Fault,
    Kind,
    Outcome,
    Reading,
    Reason,
    RecipientReport,
    Reply,
    Report,
    Verdict,
)
from bounced.policy import Brake  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

NOW = datetime.now(UTC).replace(microsecond=0)
PIECE = 5000
AN_ADDRESS = 3  # events of it
A_RUN = 20  # letters in it
LETTERS = 200
DOMAINS = 997
SAID = "550 5.1.1 <{}>: Recipient address rejected: User unknown in virtual mailbox table"


def whose(number: int) -> str:
    return f"reader{number}@host{number % DOMAINS}.example"


def key(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def fill(database: Database, events: int) -> None:
    """A year of bounces, straight into the tables."""
    tables = metadata.tables
    with database.writing() as connection:
        box = {"id": 1, "name": "news", "epoch": 7, "last_uid": events, "fence": 0}
        connection.execute(tables["mailbox"].insert(), box)
        runs = [run(n, events) for n in range(1, events // A_RUN + 2)]
        bulk.put(connection, tables["run"], runs)
    for first in range(1, events + 1, PIECE):
        numbers = range(first, min(first + PIECE, events + 1))
        with database.writing() as connection:
            for name, row in (
                ("message", message),
                ("seen", seen),
                ("event", event),
                ("judgement", judgement),
            ):
                bulk.put(connection, tables[name], [row(n, events) for n in numbers])
    addresses = max(1, events // AN_ADDRESS)
    for first in range(0, addresses, PIECE):
        numbers = range(first, min(first + PIECE, addresses))
        with database.writing() as connection:
            rows = [standing(n, addresses, events) for n in numbers]
            bulk.put(connection, tables["address"], rows)
            changed = [transition(row) for row in rows if row["suppressed"]]
            bulk.put(connection, tables["transition"], changed)
    with database.writing() as connection:
        analyse(connection)


def analyse(connection: Any) -> None:
    """Let the database count its rows, as it does by itself in time."""
    if connection.dialect.name == "mariadb":
        names = ", ".join(f"`{name}`" for name in metadata.tables)
        connection.execute(text(f"ANALYZE TABLE {names}"))
    else:
        connection.execute(text("ANALYZE"))


def at(number: int, events: int) -> datetime:
    return NOW - timedelta(days=365) * (1 - number / events)


def run(n: int, events: int) -> dict[str, Any]:
    when = at(min(n * A_RUN, events), events)
    done = {"finished_at": when, "state": "done"}
    return {"id": n, "mailbox_id": 1, "started_at": when, **done}


def message(n: int, events: int) -> dict[str, Any]:
    place = {"id": n, "mailbox_id": 1, "epoch": 7, "uid": n, "state": "filed"}
    told = {"destination": "Processed", "kind": "bounce", "format": "rfc3464"}
    when = at(n, events)
    times = {"received_at": when, "recorded_at": when, "run_id": n // A_RUN + 1}
    return {**place, **told, "dedup_key": key(n), "raw_sha256": key(n), **times}


def seen(n: int, _events: int) -> dict[str, Any]:
    return {"dedup_key": key(n), "message_id": n}


def owner(n: int, events: int) -> int:
    """Which address an event is of: each has its events spread over the year."""
    return n % max(1, events // AN_ADDRESS)


def event(n: int, events: int) -> dict[str, Any]:
    address = whose(owner(n, events))
    facts = {"recipient": address, "action": "failed", "kind": "bounce", "reply_code": 550}
    said = {"diagnostic": SAID.format(address), "diagnostic_type": "smtp", "status": "5.1.1"}
    place = {"id": n, "message_id": n, "dedup_key": key(n), "ordinal": 0}
    whom = {"address": address, "domain": address.partition("@")[2]}
    when = {"occurred_at": at(n, events), "run_id": n // A_RUN + 1}
    return {**place, **whom, **facts, **said, **when}


def judgement(n: int, events: int) -> dict[str, Any]:
    hard = owner(n, events) % 5 == 0
    return {
        "event_id": n,
        "outcome": "hard" if hard else "soft",
        "reason": "user_unknown" if hard else "mailbox_full",
        "fault": "recipient",
        "confidence": 0.95,
        "rule": "benchmark",
        "because": "The server says that nobody has this address.",
        "rules_version": "benchmark",
        "judged_at": at(n, events),
    }


def standing(n: int, addresses: int, events: int) -> dict[str, Any]:
    hard = n % 5 == 0
    last = events - (events - n) % addresses
    return {
        "address": whose(n),
        "folded": whose(n),
        "status": "hard-bounced" if hard else "active",
        "suppressed": hard,
        "reason": "user_unknown" if hard else None,
        "since": at(max(n, 1), events) if hard else None,
        "rule": "benchmark",
        "because": "The server says that nobody has this address.",
        "event_id": last,
        "policy_version": "benchmark",
        "first_event_at": at(max(n, 1), events),
        "last_event_at": at(last, events),
    }


def transition(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "address": row["address"],
        "at": row["since"],
        "from_status": "active",
        "to_status": row["status"],
        "from_suppressed": False,
        "to_suppressed": True,
        "because": row["because"],
        "event_id": row["event_id"],
        "run_id": 1,
        "actor": "sync",
        "policy_version": "benchmark",
    }


def letters(first: int, events: int) -> list[Reading]:
    """200 letters: every second of an address on record."""
    found = []
    for n in range(first, first + LETTERS):
        known = owner(n * 7919, events) if n % 2 else events + n
        recipient = RecipientReport(whose(known), Reply(SAID.format(whose(known)), code=550))
        hard = Outcome.HARD, Reason.USER_UNKNOWN, Fault.RECIPIENT
        bounce = Bounce(recipient, Verdict(*hard, 0.95, "benchmark", "Nobody is there."))
        conclusion = Conclusion(Report(Kind.BOUNCE, (recipient,), format="rfc3464"), (bounce,))
        found.append(Reading(n, NOW, key(n), key(n), conclusion, Destination.PROCESSED))
    return found


def syncs(ledger: Ledger, events: int, after: int) -> Generator[None]:
    """One batch recorded at each step, as a sync does it."""
    visit = ledger.begin("news", owner="benchmark:1", at=NOW)
    assert visit is not None  # noqa: S101 - nobody else is here
    ledger.select(visit, 7)
    first = events + after + 1
    try:
        while True:
            batch = letters(first, events)
            uids = [one.uid for one in batch]
            yield
            ledger.unrecorded(visit, uids)
            ledger.attempt(visit, uids)
            ledger.record(visit, batch, at=NOW)
            ledger.filed(visit, uids)
            first += LETTERS
    finally:
        ledger.end(visit, at=NOW)


def questions(ledger: Ledger, events: int) -> dict[str, Callable[[], object]]:
    addresses = max(1, events // AN_ADDRESS)
    some = [whose(n * 31 % (addresses * 2)) for n in range(1000)]
    view = text("SELECT 1 FROM suppression WHERE folded = :whose")
    week = text("SELECT * FROM provider_health WHERE day >= :day")

    def plain(query: Any, **values: object) -> object:
        with ledger._database.reading() as connection:  # noqa: SLF001 - as somebody's SQL would
            return connection.execute(query, values).all()

    day = f"{NOW - timedelta(days=7):%Y-%m-%d}"
    return {
        "explain one address": lambda: ledger.explain(whose(5)),
        "view, one address": lambda: plain(view, whose=whose(5)),
        "check 1000 addresses": lambda: list(ledger.check(some, at=NOW)),
        "clean 1000 addresses": lambda: ledger.unclear(some, at=NOW),
        "suppressed, first 100": lambda: list(islice(ledger.suppressed(at=NOW), 100)),
        "suppressed, all": lambda: sum(1 for _ in ledger.suppressed(at=NOW)),
        "status (mailboxes, holds)": lambda: (ledger.mailboxes(), ledger.holds()),
        "recent 50": lambda: ledger.recent(50),
        "audit (balances)": lambda: balances(ledger),
        "provider_health, a week": lambda: plain(week, day=day),
    }


def measure(url: str, events: int, rounds: int, after: int = 0) -> dict[str, float]:
    """The quickest answer to each question, in milliseconds."""
    found: dict[str, float] = {}
    with Ledger.open(url, brake=Brake(share=1)) as ledger:
        step = syncs(ledger, events, after)
        next(step)
        for name, ask in (
            ("sync: a batch of 200", lambda: next(step)),
            *questions(ledger, events).items(),
        ):
            times = []
            for _ in range(rounds):
                began = time.perf_counter()
                ask()
                times.append(time.perf_counter() - began)
            found[name] = min(times) * 1000
        step.close()
    return found


def plans(url: str) -> None:
    """How the sync's and the list's dearest statements are searched."""
    words = (
        "SELECT * FROM suppression WHERE folded = 'x'",
        "SELECT * FROM event WHERE address = 'x' ORDER BY occurred_at",
        "SELECT * FROM event ORDER BY id DESC LIMIT 50",
    )
    with closing(Database(url)) as database, database.reading() as connection:
        explain = "EXPLAIN QUERY PLAN" if database.sqlite else "EXPLAIN"
        for query in words:
            print(query)
            for row in connection.execute(text(f"{explain} {query}")):
                print("   ", *row)


def emptied(url: str) -> None:
    with closing(Database(url)) as database, database.writing() as connection:
        if schema.revision(connection) is not None:
            command.downgrade(schema.config(connection), "base")


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--events", type=int, nargs="+", default=[10**4, 10**5, 10**6])
    words.add_argument("--also", nargs="*", default=[], metavar="URL")
    words.add_argument("--rounds", type=int, default=5)
    words.add_argument("--plans", action="store_true")
    chosen = words.parse_args()
    columns: dict[str, dict[str, float]] = {}
    for events in chosen.events:
        with tempfile.TemporaryDirectory() as folder:
            url = f"sqlite:///{folder}/ledger.db"
            Ledger.open(url).close()
            with closing(Database(url)) as database:
                fill(database, events)
            tell(columns, f"sqlite {events:.0e}", measure(url, events, chosen.rounds))
            if chosen.plans:
                plans(url)
            for other in chosen.also:
                emptied(other)
                began = time.perf_counter()
                for _ in transfer(url, other):
                    pass
                copying = (time.perf_counter() - began) * 1000
                with closing(Database(other)) as database, database.writing() as connection:
                    analyse(connection)
                # the letters of the first measurement are in it: new ones have other numbers
                found = measure(other, events, chosen.rounds, after=(chosen.rounds + 1) * LETTERS)
                found["db copy from SQLite"] = copying
                tell(columns, f"{other.partition(':')[0]} {events:.0e}", found)
                if chosen.plans:
                    plans(other)
                emptied(other)
    show(columns)


def tell(columns: dict[str, dict[str, float]], name: str, found: dict[str, float]) -> None:
    """Note a column, and say so at once: the next may take a while."""
    columns[name] = found
    said = ", ".join(f"{row} {value:.1f}" for row, value in found.items())
    print(f"{name}: {said}", file=sys.stderr, flush=True)


def show(columns: dict[str, dict[str, float]]) -> None:
    names = sorted(columns)
    rows = list(dict.fromkeys(row for column in columns.values() for row in column))
    print(f"{'milliseconds':28}", *(f"{name:>17}" for name in names))
    for row in rows:
        cells = (columns[name].get(row) for name in names)
        print(f"{row:28}", *(f"{'-' if c is None else format(c, '.1f'):>17}" for c in cells))


if __name__ == "__main__":
    main()

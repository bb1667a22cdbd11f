"""How long `bounced clean` takes on a large list against a large ledger, and how much memory.

    python benchmarks/clean.py --suppressed 10000000 --list 1000000

builds a SQLite ledger with so many suppressed addresses and a list in random order, one in ten of
them suppressed, and prints the median of several runs: wall-clock seconds, CPU seconds, and the
peak of resident memory of the whole process. With --folder DIR the ledger is kept there and used
again the next time.
"""

from __future__ import annotations

import argparse
import os
import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PROVIDERS = ("example.com", "example.net", "example.org", "mail.example.com", "example.test")
INSERT = """
INSERT INTO address (address, folded, status, suppressed, reason, since, score, rule, because,
                     policy_version)
VALUES (?, ?, 'hard-bounced', 1, 'user_unknown', '2026-01-01 12:00:00.000000', 0, 'status/5.1.1',
        'A hard bounce, sure to 0.95 (user_unknown, 2026-01-01, rule status/5.1.1).', 'benchmark')
"""


class Measured(NamedTuple):
    """One run: seconds of wall-clock and of processor time, MiB of resident memory at the peak."""

    wall: float
    cpu: float
    memory: float


def address(number: int) -> str:
    return f"subscriber.{number:09}@{PROVIDERS[number % len(PROVIDERS)]}"


def build(database: Path, suppressed: int) -> None:
    """A ledger whose even-numbered addresses are suppressed, made without any mail."""
    sys.path.insert(0, str(ROOT))
    from bounced.ledger import Ledger  # noqa: PLC0415 - the measured process imports by itself

    Ledger.open(f"sqlite:///{database}").close()
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        names = (address(2 * number) for number in range(suppressed))
        connection.executemany(INSERT, ((name, name) for name in names))
        connection.commit()


def write_list(path: Path, length: int, suppressed: int) -> None:
    """A list in random order: one in ten is suppressed, the others are odd numbers."""
    chance = random.Random(5)  # noqa: S311 - the same list every time
    with path.open("w", encoding="utf-8") as file:
        file.write("id,email,name,city\n")
        for number in range(length):
            listed = number % 10 == 0
            which = 2 * chance.randrange(suppressed) + (not listed)
            file.write(f"{number},{address(which)},Ann Example,Ulm\n")


def run(folder: Path, database: Path) -> Measured:
    words = [sys.executable, "-c", "from bounced.cli import main; main()", "clean", "list.csv"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    began = time.perf_counter()
    running = subprocess.Popen([*words, "--db", str(database)], cwd=folder, env=environment)
    _, status, usage = os.wait4(running.pid, 0)
    if status:
        raise SystemExit(f"bounced clean ended with status {status}")
    wall = time.perf_counter() - began
    return Measured(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--suppressed", type=int, default=10_000_000)
    parser.add_argument("--list", type=int, default=1_000_000, dest="length")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as name:
        folder = Path(name)
        database = (chosen.folder or folder) / f"suppressed-{chosen.suppressed}.db"
        if not database.exists():
            began = time.perf_counter()
            build(database, chosen.suppressed)
            print(f"built in {time.perf_counter() - began:.0f} s", flush=True)
        size = database.stat().st_size / 2**30
        print(f"{chosen.suppressed} suppressed, {size:.1f} GiB; a list of {chosen.length}")
        write_list(folder / "list.csv", chosen.length, chosen.suppressed)
        told = [run(folder, database) for _ in range(chosen.runs)]
    for what, values in zip(Measured._fields, zip(*told, strict=True), strict=True):
        each = ", ".join(f"{value:.1f}" for value in values)
        print(f"{what:>8}: median {statistics.median(values):.1f} ({each})")


if __name__ == "__main__":
    main()

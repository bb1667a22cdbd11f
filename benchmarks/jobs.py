"""How much sooner N processes are done than one: `parse`, `ingest` and `reclassify --jobs N`.

    python benchmarks/jobs.py                                # 20,000 letters, two processes
    python benchmarks/jobs.py --letters 40000 --jobs 4
    python benchmarks/jobs.py --only ingest                  # one of the three
    python benchmarks/jobs.py --compiled                     # with what `make compiled` has built

Each command runs with one process and with N in turn, on the same letters, copies of fixtures/eml
with recipients of their own (`benchmarks/sync.py`); the ratio is that of the medians, on the clock.
What they are worth is seen only where as many processors are idle.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT))

from benchmarks.speed import as_installed  # noqa: E402 - found from the checkout
from benchmarks.sync import COMMAND, letters  # noqa: E402


@dataclass(frozen=True, slots=True)
class Took:
    """Seconds of a command: on the clock, and of all its processes together."""

    clock: float
    cpu: float


def run(home: Path, *words: str) -> Took:
    """Run `bounced` with these words; 1 says that a person should look at something."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    command = [sys.executable, "-c", COMMAND, *words]
    done = subprocess.run(command, cwd=home, capture_output=True, check=False)
    clock = time.monotonic() - began
    if done.returncode not in (0, 1):
        raise SystemExit(f"bounced {words[0]} ended with {done.returncode}: {done.stderr[-500:]!r}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Took(clock, cpu)


def mailbox(path: Path, count: int) -> None:
    with path.open("wb") as mbox:
        for raw in letters(0, count):
            mbox.write(b"From bench@localhost Thu Nov 26 12:00:00 2026\n")
            mbox.writelines(
                b">" + line if line.lstrip(b">").startswith(b"From ") else line
                for line in raw.replace(b"\r\n", b"\n").splitlines(keepends=True)
            )
            mbox.write(b"\n")


def parse(home: Path, jobs: int) -> Took:
    return run(home, "parse", "--json", "--jobs", str(jobs), "letters.mbox")


def ingest(home: Path, jobs: int) -> Took:
    """Into a new ledger each time; the last one stays for `reclassify`."""
    # what is deleted shortly before makes file systems look longer for free places
    for old in (*home.glob("ledger.db*"), *home.glob("ingested")):
        old.rename(home / f"{time.monotonic_ns()}.old")
    run(home, "db", "upgrade")
    return run(home, "ingest", "--discard", "--jobs", str(jobs), "letters.mbox")


def reclassify(home: Path, jobs: int) -> Took:
    if not (home / "ledger.db").exists():
        ingest(home, jobs)
    return run(home, "reclassify", "--jobs", str(jobs))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = {command.__name__: command for command in (parse, ingest, reclassify)}
    parser.add_argument("--only", choices=commands)
    parser.add_argument("--letters", type=int, default=20_000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--compiled", action="store_true", help="What lies in build/compiled.")
    wanted = parser.parse_args()
    places = [ROOT / "build" / "compiled", ROOT] if wanted.compiled else [ROOT]
    os.environ["PYTHONPATH"] = os.pathsep.join(map(str, places))
    home = Path(tempfile.mkdtemp(prefix="bounced-bench-"))
    as_installed(home / "bytecode")
    try:
        mailbox(home / "letters.mbox", wanted.letters)
        # nobody is to decide about so many at once here
        (home / "config.toml").write_text(
            f'[database]\nurl = "sqlite:///{home}/ledger.db"\n[brake]\nfloor = {wanted.letters}\n'
        )
        print(f"{wanted.letters} letters, {wanted.jobs} processes, on the clock (and CPU)")
        for command in [commands[wanted.only]] if wanted.only else commands.values():
            taken: dict[int, list[Took]] = {1: [], wanted.jobs: []}
            for _ in range(wanted.rounds):
                for jobs, took in taken.items():
                    took.append(command(home, jobs))
            one, many = (
                Took(median(t.clock for t in took), median(t.cpu for t in took))
                for took in taken.values()
            )
            print(
                f"{command.__name__:<11} {one.clock / many.clock:5.2f} x as quick: "
                f"{one.clock:5.1f} s ({one.cpu:.1f}) and {many.clock:5.1f} s ({many.cpu:.1f})",
                flush=True,
            )
    finally:
        shutil.rmtree(home)


if __name__ == "__main__":
    main()

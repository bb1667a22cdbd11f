"""How quick reading and judging is, beside others that read the same mail.

    python benchmarks/speed.py [--rounds 5]        # pip install flufl.bounce to see it in the table

Every contender reads the same letters in this one process, in turns, `--rounds` times; CPU time is
the measure, the median of the rounds is printed, and ratios come first, because machines differ.
Letters are those of fixtures/eml and, where they lie beside the checkout, of ../shared.
"""

from __future__ import annotations

import argparse
import contextlib
import email
import importlib
import logging
import statistics
import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from bounced import parse  # noqa: E402 - found from the checkout
from bounced.decode import decode  # noqa: E402
from bounced.message import read  # noqa: E402
from bounced.rules import judge  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

SETS = {
    "fixtures": ROOT / "fixtures" / "eml",
    "corpus": ROOT.parent / "shared" / "corpus" / "eml",
    "mta": ROOT.parent / "shared" / "mta",
}
YARDSTICK = "email.message_from_bytes (parse only)"


def contenders() -> dict[str, Callable[[bytes], object]]:
    """Who takes part: name and what it does with one letter."""
    found: dict[str, Callable[[bytes], object]] = {
        YARDSTICK: email.message_from_bytes,
        "bounced.parse (read, decode, judge)": parse,
    }
    with contextlib.suppress(ImportError):
        scan = importlib.import_module("flufl.bounce").scan_message
        found["flufl.bounce (addresses only)"] = lambda raw: scan(email.message_from_bytes(raw))
    with warnings.catch_warnings(), contextlib.suppress(ImportError):
        warnings.simplefilter("ignore")
        mime = importlib.import_module("flanker.mime")
        found["flanker (parse only)"] = lambda raw: mime.from_string(raw.decode("latin-1"))
    return found


def microseconds(work: Callable[[bytes], object], letters: list[bytes]) -> float:
    """CPU microseconds a letter; what a contender cannot read counts with the time it took."""
    began = time.process_time()
    for raw in letters:
        with contextlib.suppress(Exception):
            work(raw)
    return (time.process_time() - began) / len(letters) * 1e6


def measure(letters: list[bytes], rounds: int) -> dict[str, float]:
    racers = contenders()
    for work in racers.values():
        microseconds(work, letters[:200])
    laps = [
        {name: microseconds(work, letters) for name, work in racers.items()} for _ in range(rounds)
    ]
    return {name: statistics.median(lap[name] for lap in laps) for name in racers}


def stages(letters: list[bytes]) -> dict[str, float]:
    """What each room takes of it."""
    messages = [read(raw) for raw in letters]
    reports = [decode(message) for message in messages]
    timed = {
        "read": lambda: [read(raw) for raw in letters],
        "decode": lambda: [decode(read_) for read_ in messages],
        "judge": lambda: [judge(report) for report in reports],
    }
    spent = {}
    for name, work in timed.items():
        began = time.process_time()
        work()
        spent[name] = (time.process_time() - began) / len(letters) * 1e6
    return spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    logging.disable(logging.CRITICAL)  # contenders tell of what they cannot read
    rounds = parser.parse_args().rounds
    for name, folder in SETS.items():
        letters = [path.read_bytes() for path in sorted(folder.rglob("*.eml"))]
        if not letters:
            print(f"== {name}: not here")
            continue
        figures = measure(letters, rounds)
        print(f"== {name}: {len(letters)} letters")
        for who, spent in sorted(figures.items(), key=lambda pair: pair[1]):
            print(f"{spent / figures[YARDSTICK]:6.2f} x   {spent:7.0f} us   {who}")
        print("        of which", ", ".join(f"{k} {v:.0f} us" for k, v in stages(letters).items()))


if __name__ == "__main__":
    main()

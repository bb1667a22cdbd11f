"""How well bounces are read and judged: `python benchmarks/accuracy.py [--group source|family]`.

Reads every labelled mail there is: the reference sets in `../shared` (skipped, with a word, where
absent) and our own fixtures. Prints for each set the figures of the reference's own scorer, how
our fixtures fare, how sure the verdicts were and how often rightly, and the time per message.
Exits 1 where a fixture is misjudged, a verdict is falsely hard, or confident verdicts are wrong
too often.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bounced import parse
from bounced.report import as_object

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bounced.model import Conclusion

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
SCORER = SHARED / "corpus" / "score.py"
FIXTURES = ROOT / "fixtures" / "eml"

# What "sure" must be worth: of verdicts stated at 0.9 or more, so many are right.
SURE = 0.9
WANTED = 0.99


@dataclass(frozen=True)
class LabelledSet:
    """Mails in a folder, and the file that says what each means."""

    name: str
    mails: Path
    labels: Path


SETS = (
    LabelledSet("corpus", SHARED / "corpus" / "eml", SHARED / "corpus" / "labels.jsonl"),
    LabelledSet("mta", SHARED / "mta", SHARED / "mta" / "labels.jsonl"),
)


class Calibration:
    """How sure verdicts were, in tenths, and how often rightly; the wrong ones by rule."""

    def __init__(self) -> None:
        self.given: Counter[int] = Counter()
        self.right: Counter[int] = Counter()
        self.misses: list[tuple[str, float, str]] = []

    def add(self, source: str, told: dict[str, Any], *, right: bool) -> None:
        """Count one verdict of the books; what a report's kind alone decides is none."""
        if told["rule"].startswith("kind/"):
            return
        tenth = min(int(told["confidence"] * 10 + 1e-9), 9)
        self.given[tenth] += 1
        self.right[tenth] += right
        if not right and told["confidence"] >= SURE:
            self.misses.append((source, told["confidence"], told["rule"]))

    @property
    def sure_and_right(self) -> float:
        """The share of right ones among the verdicts at 0.9 or more (1.0 where there is none)."""
        return self.right[9] / self.given[9] if self.given[9] else 1.0

    def table(self) -> Iterator[str]:
        yield "confidence   verdicts    right"
        for tenth in range(9, -1, -1):
            if self.given[tenth]:
                share = self.right[tenth] / self.given[tenth]
                low, high = tenth / 10, (tenth + 1) / 10
                yield f"{low:.1f} to {high:.1f}   {self.given[tenth]:8}   {share:6.1%}"
        for source, sure, rule in self.misses:
            yield f"  sure and wrong: {source} ({sure:.2f}, {rule})"


def conclusions(folder: Path, timing: list[float]) -> Iterator[tuple[Path, Conclusion]]:
    """What we conclude of every mail in a folder; seconds for each are added to `timing`."""
    for path in sorted(folder.rglob("*.eml")):
        raw = path.read_bytes()
        began = time.perf_counter()
        concluded = parse(raw)
        timing.append(time.perf_counter() - began)
        yield path, concluded


def score(labelled: LabelledSet, group: str | None, calibration: Calibration) -> bool:
    """Print the scorer's figures for a set; whether nothing was falsely hard."""
    print(f"\n== {labelled.name}")
    if not (labelled.mails.is_dir() and SCORER.is_file()):
        print(f"skipped: there is no {labelled.mails.relative_to(ROOT.parent)}")
        return True
    timing: list[float] = []
    told = [
        as_object(str(path), concluded) for path, concluded in conclusions(labelled.mails, timing)
    ]
    calibrate(labelled, told, calibration)
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8") as results:
        results.writelines(json.dumps(one) + "\n" for one in told)
        results.flush()
        command = [sys.executable, str(SCORER), "--labels", str(labelled.labels), results.name]
        figures = _run(command)
        print(figures)
        if group:
            print(_run([*command, "--group", group]))
    print(speed(timing))
    falsely = [line for line in figures.splitlines() if line.startswith("no false hard")]
    return all(line.endswith(" 100.0%") for line in falsely)


def _run(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.rstrip()


def calibrate(labelled: LabelledSet, told: list[dict[str, Any]], calibration: Calibration) -> None:
    """Compare each verdict with what the label of its recipient allows, where it says anything."""
    allowed = _allowed()
    by_file = {one["file"]: one for one in map(json.loads, labelled.labels.open(encoding="utf-8"))}
    for one in told:
        parts = Path(one["source"]).parts
        names = ("/".join(parts[-count:]) for count in (4, 3, 2, 1))
        label = next((by_file[name] for name in names if name in by_file), None)
        if label is None or label.get("kind") != "bounce":
            continue
        named = [each for each in label.get("recipients", []) if each["address"]]
        wanted = {each["address"].casefold(): each for each in named}
        for recipient in one["recipients"]:
            given = recipient["original_address"] or recipient["address"]
            want = wanted.get(given.casefold()) or wanted.get(recipient["address"].casefold())
            outcomes = allowed(want) if want else None
            if outcomes:
                right = recipient["outcome"] in outcomes
                calibration.add("/".join(parts[-2:]), recipient, right=right)


def _allowed() -> Callable[[dict[str, Any]], set[str] | None]:
    """The scorer's own reading of a label: the outcomes that it admits, None where it is mute."""
    found = importlib.util.spec_from_file_location("score", SCORER)
    if found is None or found.loader is None:
        raise ImportError(SCORER)
    scorer = importlib.util.module_from_spec(found)
    found.loader.exec_module(scorer)
    allowed: Callable[[dict[str, Any]], set[str] | None] = scorer.allowed
    return allowed


def fixtures(calibration: Calibration) -> bool:
    """Print how many of our own fixtures say what their labels say; whether all do."""
    sys.path.insert(0, str(ROOT))
    from tests.test_fixtures import expectation, told  # noqa: PLC0415 - needs the test tools

    print("\n== fixtures")
    timing: list[float] = []
    agree, total = 0, 0
    for path, concluded in conclusions(FIXTURES, timing):
        expected = expectation(path)
        expected.pop("origin")
        expected.setdefault("recipient", [])
        got = told(concluded, expected)
        total += 1
        agree += got == expected
        if got != expected:
            print(f"  differs: {path.relative_to(FIXTURES)}")
        for recipient, want in zip(as_object("", concluded)["recipients"], expected["recipient"]):  # noqa: B905 - a wrong number of recipients is told above
            if "outcome" in want:
                right = recipient["outcome"] == want["outcome"]
                calibration.add(path.name, recipient, right=right)
    print(f"agree with their labels: {agree}/{total}")
    print(speed(timing))
    return agree == total


def speed(timing: list[float]) -> str:
    """Time per message in words: the middle, the slowest of a hundred, the slowest of all."""
    ordered = sorted(timing)
    if not ordered:
        return "no mail was read"
    middle, late = ordered[len(ordered) // 2], ordered[len(ordered) * 99 // 100]
    return (
        f"time per message: {middle * 1e3:.2f} ms (median), {late * 1e3:.2f} ms (99 %), "
        f"{ordered[-1] * 1e3:.1f} ms (slowest); {len(ordered) / sum(ordered):.0f} a second"
    )


def main() -> int:
    """Score everything that is there."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--group", choices=["source", "family"], help="figures per group too")
    group = options.parse_args().group
    calibration = Calibration()
    never_falsely_hard = [score(one, group, calibration) for one in SETS]
    agreed = fixtures(calibration)
    print("\n== how sure, and how often rightly (by outcome)")
    print("\n".join(calibration.table()))
    print(f"at {SURE} or more: {calibration.sure_and_right:.2%} right (wanted: {WANTED:.0%})")
    good = all(never_falsely_hard) and agreed and calibration.sure_and_right >= WANTED
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

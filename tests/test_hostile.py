"""Hostile mail ends in a result, in bounded time and memory, and never blames the wrong person.

The cases are made by the generator of ../shared/kit; without it these tests skip.
"""

import json
import multiprocessing
import os
import resource
import subprocess
import sys
import time
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

import pytest

from bounced.ledger import Ledger
from bounced.model import Letter
from bounced.policy import Brake, Policy
from bounced.reading import read_letter
from bounced.trust import Key

KIT = Path(__file__).parent.parent.parent / "shared" / "kit"
CPU_SECONDS = 1.0
MEMORY_MB = 200

pytestmark = pytest.mark.skipif(
    not (KIT / "hostile.py").exists(), reason="../shared/kit is not here"
)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("hostile")
    subprocess.run(
        [sys.executable, str(KIT / "hostile.py"), str(out)], check=True, capture_output=True
    )
    return out


def _read(path: str, sender: Connection) -> None:
    from bounced import parse
    from bounced.model import Kind
    from bounced.text import safe

    parse(
        b"From: MAILER-DAEMON@example.com\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b--\n"
    )
    raw = Path(path).read_bytes()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    conclusion = parse(raw)
    spent = time.process_time() - start
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
    report = conclusion.report
    said = [bounce.recipient.reply.text for bounce in conclusion.bounces]
    sender.send(
        {
            "kind": str(report.kind),
            "cpu": spent,
            "grown": grown,
            "failed": [
                (b.recipient.address, str(b.verdict.outcome))
                for b in conclusion.bounces
                if report.kind in (Kind.BOUNCE, Kind.DELAY, Kind.COMPLAINT)
            ],
            "problems": list(report.problems),
            "printable": all(safe(text).isprintable() for text in said),
        }
    )


def reading_of(path: Path) -> dict[str, Any]:
    """Read in a child of its own, so that one case's memory is not counted to the next."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_read, args=(str(path), sender))
    child.start()
    sender.close()
    try:
        assert receiver.poll(30), "took more than half a minute"
        got: dict[str, Any] = receiver.recv()
    finally:
        child.kill()
        child.join()
        receiver.close()
    return got


def complaints(case: dict[str, Any], got: dict[str, Any]) -> list[str]:
    """What is wrong with a reading, in words."""
    wrong = []
    if got["cpu"] > CPU_SECONDS:
        wrong.append(f"{got['cpu']:.2f} CPU seconds")
    if got["grown"] > MEMORY_MB:
        wrong.append(f"{got['grown']} MB")
    if not got["printable"]:
        wrong.append("control characters get through")
    hard = {address for address, outcome in got["failed"] if outcome == "hard"}
    if "no_suppress" in case["checks"] and hard:
        wrong.append(f"hard: {sorted(hard)}")
    return wrong + who_is_wrong(case, {address for address, _ in got["failed"]})


def who_is_wrong(case: dict[str, Any], addresses: set[str]) -> list[str]:
    """Acting on the wrong people, or on nobody."""
    # what is unverified may be read; trust, not reading, keeps it from suppressing anybody
    forbidden = set() if "unverified" in case["checks"] else set(case["must_not"])
    allowed = case["recipients"]
    must = case["expect"] == ["classified"]
    if forbidden & addresses:
        return [f"acts on {sorted(forbidden & addresses)}"]
    if addresses and "classified" not in case["expect"]:
        return [f"acts on {sorted(addresses)[:3]} where nothing should be acted on"]
    if not addresses:
        return ["finds nobody"] if must else []
    if allowed is not None and (addresses - set(allowed) or (must and set(allowed) - addresses)):
        return [f"acts on {sorted(addresses)[:3]}, not on {allowed[:3]}"]
    return []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_every_hostile_case_is_answered_within_limits_and_blames_nobody_else(hostile: Path) -> None:
    manifest = json.loads((hostile / "manifest.json").read_text())
    cases = manifest["cases"]
    assert len(cases) >= 150
    wrong = {}
    for case in cases:
        found = complaints(case, reading_of(hostile / f"{case['name']}.eml"))
        if found:
            wrong[case["name"]] = found
    assert wrong == {}


FORGED_WITH = {"verified": False, "any": True}


@pytest.mark.parametrize("trust", FORGED_WITH)
def test_forged_reports_suppress_their_victims_only_where_no_proof_is_asked(
    hostile: Path, tmp_path: Path, trust: Literal["verified", "any"]
) -> None:
    cases = json.loads((hostile / "manifest.json").read_text())["cases"]
    forged = [case for case in cases if "unverified" in case["checks"]]
    assert len(forged) == 5
    at = datetime(2026, 11, 1, tzinfo=UTC)
    suppressed: set[str] = set()
    for case in forged:
        letter = Letter(1, (hostile / f"{case['name']}.eml").read_bytes(), at)
        ledger = Ledger.open(
            f"sqlite:///{tmp_path}/{case['name']}.db",
            policy=Policy(trust=trust),
            brake=Brake(floor=10_000),
            keys=lambda: (Key("a", b"a secret that no forger has seen"),),
        )
        visit = ledger.begin("news", owner="test:1", at=at)
        assert visit is not None
        ledger.select(visit, 1)
        ledger.attempt(visit, [1])
        assert ledger.record(visit, [read_letter(letter, at)], at=at).events > 0
        ledger.end(visit, at=at)
        listed = {row.address for row in ledger.suppressed(at=at)}
        suppressed |= listed & set(case["must_not"])
        ledger.close()
    assert bool(suppressed) is FORGED_WITH[trust]

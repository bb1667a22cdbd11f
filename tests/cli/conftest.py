"""The command line as a person uses it, and a database with a known past."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from bounced.cli import main
from bounced.model import (
    Action,
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

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).parents[2]
NOW = datetime.now(UTC).replace(microsecond=0)


STARTED: list[subprocess.Popen[str]] = []


@dataclass(frozen=True)
class Bounced:
    """`bounced WORDS…`, run in this process, in `folder`."""

    folder: Path

    def __call__(self, *words: str, stdin: str | bytes | None = None) -> Result:
        return CliRunner().invoke(main, [str(word) for word in words], input=stdin)


@pytest.fixture
def bounced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bounced:
    """Runs in an empty directory, where no configuration is to be found."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BOUNCED_CONFIG", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "nowhere"))
    return Bounced(tmp_path)


def process(
    *words: str, cwd: Path, code: str = "from bounced.cli import main; main()", **more: str
) -> subprocess.Popen[str]:
    """`bounced WORDS…` as a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **more}
    environment.pop("BOUNCED_CONFIG", None)
    running = subprocess.Popen(
        [sys.executable, "-c", code, *words],
        cwd=cwd,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    STARTED.append(running)
    return running


@pytest.fixture(autouse=True)
def nothing_is_left_running() -> Iterator[None]:
    """Whatever a test started has ended before the next one begins."""
    yield
    for running in STARTED:
        if running.poll() is None:
            running.kill()
        for pipe in (running.stdin, running.stdout, running.stderr):
            if pipe is not None:
                pipe.close()
        running.wait()
    STARTED.clear()


def reading(uid: int, address: str, said: str, verdict: Verdict, at: datetime = NOW) -> Reading:
    recipient = RecipientReport(
        address, Reply(said, code=550), Action.FAILED, remote_mta="mx.example.net"
    )
    report = Report(Kind.BOUNCE, (recipient,), "rfc3464", f"<{uid}@example.net>", "mta.example.net")
    key = sha256(f"{uid}{address}".encode()).hexdigest()
    conclusion = Conclusion(report, (Bounce(recipient, verdict),))
    return Reading(uid, at, key, key, conclusion, Destination.PROCESSED)


HARD = Verdict(
    Outcome.HARD, Reason.USER_UNKNOWN, Fault.RECIPIENT, 0.95, "test/gone", "There is nobody there."
)
SOFT = Verdict(
    Outcome.SOFT, Reason.MAILBOX_FULL, Fault.RECIPIENT, 0.9, "test/full", "The mailbox is full."
)
# What a stranger's server may say: an escape sequence and a right-to-left override.
NASTY = "550 \x1b[31mno\x1b[0m such \u202euser"


def recorded(
    database: Path, readings: Sequence[Reading], *, floor: int = 50, at: datetime = NOW
) -> None:
    """Put readings into a database as one sync would."""
    from bounced.ledger import Ledger
    from bounced.policy import Brake

    with Ledger.open(f"sqlite:///{database}", brake=Brake(floor=floor)) as ledger:
        visit = ledger.begin("news", owner="test", at=at)
        assert visit is not None
        ledger.select(visit, 1)
        ledger.attempt(visit, [one.uid for one in readings])
        ledger.record(visit, readings, at=at)
        ledger.filed(visit, [one.uid for one in readings])
        ledger.end(visit, at=at)


@pytest.fixture
def database(bounced: Bounced) -> Path:
    """One address suppressed for good (`gone@`), one with a full mailbox (`full@`)."""
    path = bounced.folder / "list.db"
    early = NOW - timedelta(hours=1)
    recorded(
        path,
        [
            reading(1, "gone@example.com", NASTY, HARD, early),
            reading(2, "full@example.com", "552 over quota", SOFT, early),
        ],
    )
    return path

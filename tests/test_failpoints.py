"""Killed or failing at any step, the next sync ends where an undisturbed one would have."""

from __future__ import annotations

import itertools
import shutil
import signal
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.conftest import process
from tests.cli.test_dovecot import box, waiting
from tests.cli.test_sync import configure, finished

if TYPE_CHECKING:
    from tests.servers.dovecot import Dovecot

STEPS = (
    "leased", "selected", "recovered", "searched", "attempt", "fetched", "parsed", "committed", "moved", "filed",
)  # fmt: skip
EML = Path(__file__).parent.parent / "fixtures" / "eml"
_users = itertools.count()


def some_letters() -> list[bytes]:
    """Nine mails of as many dialects: hard, soft, blocked, a delay, a complaint, a person's."""
    folders = ("postfix", "exim", "sendmail", "qmail", "yahoo", "gmail", "arf", "ordinary", "qq")
    return [min((EML / folder).glob("*.eml")).read_bytes() for folder in folders]


def end_state(database: Path) -> dict[str, list[Any]]:
    """Everything but ids and times: facts, judgements, standings, the list."""
    queries = {
        "message": "SELECT uid, state, destination, kind, format, dedup_key FROM message ORDER BY uid",
        "event": "SELECT address, recipient, action, reply_code, diagnostic FROM event ORDER BY 1, 5",
        "judgement": "SELECT e.address, j.outcome, j.reason, j.rule FROM judgement j"
        " JOIN event e ON e.id = j.event_id ORDER BY 1, 2, 4",
        "address": "SELECT address, status, suppressed, reason, score FROM address ORDER BY 1",
        "transition": "SELECT address, to_status, to_suppressed, reason FROM transition ORDER BY 1, 2",
        "suppression": "SELECT address, status, reason FROM suppression ORDER BY 1",
        "run": "SELECT state FROM run",
    }
    connection = sqlite3.connect(database)
    try:
        return {name: connection.execute(query).fetchall() for name, query in queries.items()}
    finally:
        connection.close()


def synced(folder: Path, **failpoint: str) -> int:
    return finished(process("sync", cwd=folder, **failpoint), 60)[0]


@pytest.fixture(scope="module")
def undisturbed(server: Dovecot, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    folder = tmp_path_factory.mktemp("undisturbed")
    server.deliver("calm", some_letters())
    configure(folder, box(server, "calm", batch=4, name="box"))
    assert synced(folder) == 0
    return end_state(folder / "bounced.db")


@pytest.mark.parametrize("visit", [1, 2])
@pytest.mark.parametrize("deed", ["kill", "error"])
@pytest.mark.parametrize("step", STEPS)
def test_whatever_happens_the_end_is_the_same(
    step: str,
    deed: str,
    visit: int,
    server: Dovecot,
    undisturbed: dict[str, list[Any]],
    tmp_path: Path,
) -> None:
    user = f"failing{next(_users)}"
    server.deliver(user, some_letters())
    configure(tmp_path, box(server, user, batch=4, name="box"))
    code = synced(tmp_path, BOUNCED_FAILPOINT=f"{step}:{visit}:{deed}")
    came_by = code != 0
    assert came_by or visit == 2, f"{step} was never passed"
    if came_by:
        assert code == (-signal.SIGKILL if deed == "kill" else 75), step
        assert synced(tmp_path) == 0
    assert end_state(tmp_path / "bounced.db") == undisturbed
    assert waiting(server, user) == 0
    piles = [waiting(server, user, f".Bounced.{pile}") for pile in ("Processed", "Unrecognised")]
    assert sum(piles) == len(some_letters())
    shutil.rmtree(tmp_path)

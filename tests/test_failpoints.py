"""Killed or failing at any step, the next sync ends where an undisturbed one would have."""

from __future__ import annotations

import itertools
import json
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.conftest import process
from tests.cli.test_dovecot import box, waiting
from tests.cli.test_sync import configure, finished
from tests.servers.database import rows

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


QUERIES = {
    "message": "SELECT uid, state, destination, kind, format, dedup_key FROM message",
    "event": "SELECT address, recipient, action, reply_code, diagnostic FROM event",
    "judgement": "SELECT e.address, j.outcome, j.reason, j.rule FROM judgement j"
    " JOIN event e ON e.id = j.event_id",
    "address": "SELECT address, status, reason, score FROM address",
    "transition": "SELECT address, to_status, reason FROM transition",
    "suppression": "SELECT address, status, reason FROM suppression",
    "run": "SELECT state FROM run",
}


def end_state(url: str) -> dict[str, list[Any]]:
    """Everything but ids and times: facts, judgements, standings, the list."""
    return {name: sorted(rows(url, query), key=repr) for name, query in QUERIES.items()}


def synced(folder: Path, **failpoint: str) -> int:
    return finished(process("sync", cwd=folder, **failpoint), 60)[0]


def prepared(folder: Path, server: Dovecot, user: str, url: str) -> None:
    server.deliver(user, some_letters())
    database = f"[database]\nurl = {json.dumps(url)}\n"
    configure(folder, box(server, user, batch=4, name="box"), more=database)
    assert finished(process("db", "upgrade", cwd=folder), 60)[0] == 0


@pytest.fixture(scope="module")
def undisturbed(server: Dovecot, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    folder = tmp_path_factory.mktemp("undisturbed")
    url = f"sqlite:///{folder}/bounced.db"
    prepared(folder, server, "calm", url)
    assert synced(folder) == 0
    return end_state(url)


@pytest.mark.parametrize("visit", [1, 2])
@pytest.mark.parametrize("deed", ["kill", "error"])
@pytest.mark.parametrize("step", STEPS)
def test_whatever_happens_the_end_is_the_same(
    step: str,
    deed: str,
    visit: int,
    server: Dovecot,
    undisturbed: dict[str, list[Any]],
    url: str,
    tmp_path: Path,
) -> None:
    user = f"failing{next(_users)}"
    prepared(tmp_path, server, user, url)
    code = synced(tmp_path, BOUNCED_FAILPOINT=f"{step}:{visit}:{deed}")
    came_by = code != 0
    assert came_by or visit == 2, f"{step} was never passed"
    if came_by:
        assert code == (-signal.SIGKILL if deed == "kill" else 75), step
        assert synced(tmp_path) == 0
    assert end_state(url) == undisturbed
    assert waiting(server, user) == 0
    piles = [waiting(server, user, f".Bounced.{pile}") for pile in ("Processed", "Unrecognised")]
    assert sum(piles) == len(some_letters())
    shutil.rmtree(tmp_path)

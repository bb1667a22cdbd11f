"""Killed or failing at any step, the next sync ends where an undisturbed one would have.

Here against Dovecot, on every database: each step under each kind of fault, at the first and the
second visit. `test_faults.py` has the pairs, and faults between the steps.
"""

from __future__ import annotations

import itertools
import json
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bounced import failpoint
from tests.cli.test_dovecot import box, waiting
from tests.cli.test_sync import configure
from tests.forked import ask, run
from tests.servers.database import empty_ledger, rows
from tests.servers.line import Bell, Line

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


def prepared(folder: Path, server: Dovecot, user: str, url: str, **more: object) -> None:
    server.deliver(user, some_letters())
    database = f"[database]\nurl = {json.dumps(url)}\n"
    configure(folder, box(server, user, batch=4, name="box", **more), more=database)
    if url.startswith("sqlite"):
        (folder / "bounced.db").write_bytes(empty_ledger())
    else:
        assert run("db", "upgrade", cwd=folder)[0] == 0


@pytest.fixture(scope="module")
def undisturbed(server: Dovecot, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    folder = tmp_path_factory.mktemp("undisturbed")
    url = f"sqlite:///{folder}/bounced.db"
    prepared(folder, server, "calm", url)
    code, said = run("sync", cwd=folder)
    assert code == 0, said
    return end_state(url)


@pytest.mark.parametrize("visit", [1, 2])
@pytest.mark.parametrize("deed", ["kill", "error", "full", "database", "lost", "cut"])
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
    """Killed; out of space here (`error`), or from here on; a statement refused; a commit made
    whose answer is lost; the line to the mail server cut.
    """
    if deed == "full" and not url.startswith("sqlite"):
        pytest.skip("the disk of a database server is not ours to fill")
    user = f"failing{next(_users)}"
    with Line(server.tls_port) as line, Bell(line.cut) as bell:
        prepared(tmp_path, server, user, url, port=line.port)
        cut = lambda: failpoint.DEEDS.update(cut=ask(bell.port))  # noqa: E731
        code, said = run("sync", cwd=tmp_path, plan=f"{step}:{visit}:{deed}", before=cut)
        assert "Traceback" not in said, said
        if deed == "kill":
            assert code in ({-signal.SIGKILL} if visit == 1 else {-signal.SIGKILL, 0}), said
        elif deed == "error" and visit == 1:
            assert code == 75, said
        else:  # the second visit may never be, and what is asked of line and database last, too
            assert code in {0, 75}, said
        code, said = run("sync", cwd=tmp_path)
        assert code == 0, said
    assert {**end_state(url), "run": []} == {**undisturbed, "run": []}
    assert set(end_state(url)["run"]) == {("done",)}
    assert waiting(server, user) == 0
    piles = [waiting(server, user, f".Bounced.{pile}") for pile in ("Processed", "Unrecognised")]
    assert sum(piles) == len(some_letters())
    shutil.rmtree(tmp_path)


@pytest.mark.parametrize("step", ["fetched", "parsed", "committed", "moved"])
def test_killed_while_others_read_for_it_the_end_is_the_same(
    step: str, server: Dovecot, undisturbed: dict[str, list[Any]], url: str, tmp_path: Path
) -> None:
    user = f"failing{next(_users)}"
    prepared(tmp_path, server, user, url)
    code, said = run("sync", "--jobs", "2", cwd=tmp_path, plan=f"{step}:2:kill")
    assert code == -signal.SIGKILL, said
    code, said = run("sync", "--jobs", "2", cwd=tmp_path)
    assert code == 0, said
    assert {**end_state(url), "run": []} == {**undisturbed, "run": []}
    assert waiting(server, user) == 0
    shutil.rmtree(tmp_path)

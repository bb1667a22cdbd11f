"""Faults between the steps, and several in a row: a scripted server, SQLite, forked processes.

Everything here must end as an undisturbed run does. The server is scripted, so that all of it
takes a minute or two; `test_failpoints.py` and `test_chaos.py` do the like against Dovecot.
"""

from __future__ import annotations

import signal
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from bounced import failpoint
from tests.cli.test_sync import configure, letters
from tests.fake_imap import FakeServer, HangUp, Session
from tests.forked import ask, break_commit, break_statement, run
from tests.servers.database import empty_ledger, rows
from tests.servers.line import Bell
from tests.test_failpoints import STEPS, end_state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PILES = ("Processed", "Unrecognised", "Quarantine")
SENT = [*letters(3), b"From: kim@example.com\r\nSubject: lunch?\r\n\r\nNoon?\r\n"]
VISITS = (1, 2)
ONCE = ("leased", "selected", "recovered", "searched")  # the others come by for every batch
POINTS = [(step, visit) for step in STEPS for visit in VISITS if visit == 1 or step not in ONCE]


@contextmanager
def serving(folder: Path, **more: Any) -> Iterator[FakeServer]:
    """Four letters on a server, an empty ledger, and a configuration in batches of two."""
    with FakeServer(SENT, **more) as server:
        where = {"host": "127.0.0.1", "port": server.port, "tls": "none", "user": "ops"}
        piles = {name.lower(): name for name in PILES}
        configure(folder, {"name": "box", **where, "password": "secret", "batch": 2, **piles})
        (folder / "bounced.db").write_bytes(empty_ledger())
        yield server


def url(folder: Path) -> str:
    return f"sqlite:///{folder}/bounced.db"


def state(folder: Path) -> dict[str, list[Any]]:
    """The end state without runs and numbers: a letter may have been met under two of these."""
    found = end_state(url(folder))
    found.pop("run")
    found["message"] = sorted({row[2:] for row in found["message"]}, key=repr)
    return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    folder = tmp_path_factory.mktemp("undisturbed")
    with serving(folder):
        code, said = run("sync", cwd=folder)
        assert code == 0, said
    assert len(end_state(url(folder))["event"]) == 3
    return state(folder)


def assert_ended_well(folder: Path, server: FakeServer, calm: dict[str, list[Any]]) -> None:
    """Every letter is in one place, filed and recorded once; invariants I1, I2, I4, I5 and I9."""
    assert server.boxes["INBOX"] == {}
    assert server.boxes["Quarantine"] == {}
    assert sorted(server.raws("Processed") + server.raws("Unrecognised")) == sorted(SENT)
    assert state(folder) == calm
    assert rows(url(folder), "SELECT DISTINCT state FROM message") == [("filed",)]
    assert set(end_state(url(folder))["run"]) == {("done",)}


def nothing_moved_unrecorded(folder: Path, server: FakeServer) -> None:
    """Invariant I3, at any moment: what has left the inbox is on record."""
    gone = [raw for pile in PILES for raw in server.raws(pile)]
    query = "SELECT count(*) FROM message WHERE state IN ('recorded', 'filed')"
    ((recorded,),) = rows(url(folder), query)
    assert len(gone) <= recorded
    here = [raw for box in server.boxes.values() for raw in (kept.raw for kept in box.values())]
    assert sorted(here) == sorted(SENT)


@pytest.mark.parametrize("first", POINTS, ids="{0[0]}-{0[1]}".format)
def test_killed_at_any_two_points_it_ends_as_if_it_never_was(
    first: tuple[str, int], undisturbed: dict[str, list[Any]], tmp_path: Path
) -> None:
    for second in POINTS:
        with serving(tmp_path) as server:
            codes = []
            for step, visit in (first, second):
                code, said = run("sync", cwd=tmp_path, plan=f"{step}:{visit}:kill")
                codes.append(code)
                assert code in {0, -signal.SIGKILL}, said
                nothing_moved_unrecorded(tmp_path, server)
            assert codes[0] == -signal.SIGKILL, f"{first} is never passed"
            code, said = run("sync", cwd=tmp_path)
            assert code == 0, said
            assert_ended_well(tmp_path, server, undisturbed)
        for left in tmp_path.glob("bounced.db*"):
            left.unlink()


def until_untouched(
    folder: Path,
    calm: dict[str, list[Any]],
    fault: Callable[[int], Callable[[], object]],
    at_least: int,
) -> None:
    """The fault at the first place where it can be, the second …, until it is met no more."""
    for number in range(1, 1000):
        with serving(folder) as server:
            code, said = run("sync", cwd=folder, before=fault(number))
            assert code in {0, 75}, said
            assert "Traceback" not in said
            nothing_moved_unrecorded(folder, server)
            again, said = run("sync", cwd=folder)
            assert again == 0, said
            assert_ended_well(folder, server, calm)
        for left in folder.glob("bounced.db*"):
            left.unlink()
        if code == 0:
            assert number > at_least, "the fault was never met"
            return
    pytest.fail("the fault is met for ever")


def test_whichever_statement_the_database_refuses(
    undisturbed: dict[str, list[Any]], tmp_path: Path
) -> None:
    until_untouched(
        tmp_path, undisturbed, lambda number: partial(break_statement, number), at_least=40
    )


@pytest.mark.parametrize("done", [False, True], ids=["not made", "made, the answer lost"])
def test_whichever_commit_fails(
    done: bool,  # noqa: FBT001 - a parameter of pytest's
    undisturbed: dict[str, list[Any]],
    tmp_path: Path,
) -> None:
    until_untouched(
        tmp_path, undisturbed, lambda number: partial(break_commit, number, done=done), at_least=8
    )


@pytest.mark.parametrize("done", [False, True], ids=["before", "after it was done"])
def test_whichever_command_the_line_is_cut_at(
    done: bool,  # noqa: FBT001
    undisturbed: dict[str, list[Any]],
    tmp_path: Path,
) -> None:
    for number in range(1, 1000):
        with serving(tmp_path) as server:
            cut = cut_at(server, number, done=done)
            code, said = run("sync", cwd=tmp_path)
            assert code in {0, 75}, said
            nothing_moved_unrecorded(tmp_path, server)
            server.hook = None
            again, said = run("sync", cwd=tmp_path)
            assert again == 0, said
            assert_ended_well(tmp_path, server, undisturbed)
        for left in tmp_path.glob("bounced.db*"):
            left.unlink()
        if not cut:
            assert number > 15, "the line was never cut"
            return
    pytest.fail("the line is cut for ever")


def cut_at(server: FakeServer, number: int, *, done: bool) -> list[bytes]:
    """Hang up at the `number`th command, before it is done or before it is answered; what it was."""
    left = [number]
    met: list[bytes] = []

    def hook(session: Session, command: bytes) -> None:
        left[0] -= 1
        if left[0] == 0:
            met.append(command)
            if done:
                session._answer(command)
            raise HangUp

    server.hook = hook
    return met


@pytest.mark.parametrize("step", STEPS)
def test_letters_that_are_renumbered_after_a_kill_count_once(
    step: str, undisturbed: dict[str, list[Any]], tmp_path: Path
) -> None:
    with serving(tmp_path) as server:
        assert run("sync", cwd=tmp_path, plan=f"{step}:1:kill")[0] == -signal.SIGKILL
        server.renumber()
        code, said = run("sync", cwd=tmp_path)
        assert code == 0, said
        assert server.boxes["INBOX"] == {}
        assert sorted(server.raws("Processed") + server.raws("Unrecognised")) == sorted(SENT)
        found, calm = state(tmp_path), undisturbed
        for name in ("event", "judgement", "address", "transition", "suppression"):
            assert found[name] == calm[name]


@pytest.mark.parametrize("visit", VISITS)
@pytest.mark.parametrize("step", STEPS)
def test_what_another_client_takes_away_is_not_guessed_at(
    step: str, visit: int, undisturbed: dict[str, list[Any]], tmp_path: Path
) -> None:
    with serving(tmp_path) as server:
        elsewhere: dict[int, Any] = {}
        server.boxes["Elsewhere"] = elsewhere

        def take() -> None:
            with server.turn:
                if server.boxes["INBOX"]:
                    uid = max(server.boxes["INBOX"])
                    elsewhere[1] = server.boxes["INBOX"].pop(uid)

        with Bell(take) as bell:
            plan = f"{step}:{visit}:take"
            deed = partial(failpoint.DEEDS.update, take=ask(bell.port))
            code, said = run("sync", cwd=tmp_path, plan=plan, before=deed)
        assert code == 0, said
        taken = [kept.raw for kept in elsewhere.values()]
        assert server.boxes["INBOX"] == {}
        filed = server.raws("Processed") + server.raws("Unrecognised")
        assert sorted(filed + taken) == sorted(SENT)
        assert server.boxes["Quarantine"] == {}
        assert set(end_state(url(tmp_path))["event"]) <= set(undisturbed["event"])
        assert run("audit", cwd=tmp_path)[0] == 0


def test_a_move_that_is_said_to_be_done_and_is_not_is_done_later(
    undisturbed: dict[str, list[Any]], tmp_path: Path
) -> None:
    lie = {"UID MOVE": lambda session, rest: b"OK done"}
    with serving(tmp_path, answers=lie) as server:
        for _ in range(2):
            assert run("sync", cwd=tmp_path)[0] == 0
            assert len(server.boxes["INBOX"]) == len(SENT)
        states = rows(url(tmp_path), "SELECT DISTINCT state FROM message")
        assert states == [("recorded",)]
        server.answers.clear()
        assert run("sync", cwd=tmp_path)[0] == 0
        assert_ended_well(tmp_path, server, undisturbed)

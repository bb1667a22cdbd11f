"""`bounced sync --plan` says what a sync then does, and touches nothing."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from bounced.mailbox.demo_server import DemoServer, demo_server, fill
from tests.cli.test_sync import box, configure, letters
from tests.servers.database import rows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.conftest import Bounced

TABLES = ("mailbox", "run", "message", "seen", "event", "judgement", "address", "transition")


@pytest.fixture
def server() -> Iterator[DemoServer]:
    with demo_server() as running:
        yield running


def everything(database: Path) -> list[object]:
    return [rows(f"sqlite:///{database}", f"SELECT * FROM {name}") for name in TABLES]  # noqa: S608


def test_a_plan_foretells_what_the_sync_then_does(bounced: Bounced, server: DemoServer) -> None:
    fill(server, letters(3))
    configure(bounced.folder, box(server))
    plan = bounced("sync", "--plan")
    assert plan.exit_code == 0, plan.output
    assert "3 letters (3 bounce), 3 newly suppressed" in plan.stdout
    assert [line.split()[1] for line in plan.stdout.splitlines() if line.startswith("+")] == [
        f"gone{n}@example.com" for n in range(3)
    ]
    assert "nothing was changed" in plan.stderr
    done = bounced("sync")
    assert "3 letters (3 bounce), 3 newly suppressed" in done.stdout
    after = bounced("sync", "--plan")
    assert "nothing new" in after.stdout


def test_a_plan_makes_no_database(bounced: Bounced, server: DemoServer) -> None:
    fill(server, letters(1))
    configure(bounced.folder, box(server))
    assert bounced("sync", "--plan").exit_code == 0
    assert [path.name for path in bounced.folder.iterdir()] == ["config.toml"]


def test_a_plan_changes_no_row_and_the_next_sync_is_a_run_of_its_own(
    bounced: Bounced, server: DemoServer
) -> None:
    fill(server, letters(2))
    configure(bounced.folder, box(server))
    bounced("sync")
    fill(server, letters(4, start=1))
    before = everything(bounced.folder / "bounced.db")
    plan = json.loads(bounced("sync", "--plan", "--json").stdout)
    assert everything(bounced.folder / "bounced.db") == before
    assert (plan["plan"], plan["letters"], plan["duplicates"]) == (True, 4, 1)
    assert [one["address"] for one in plan["changes"]] == [
        f"gone{n}@example.com" for n in range(2, 5)
    ]
    done = json.loads(bounced("sync", "--json").stdout)
    for name in ("letters", "events", "duplicates", "suppressed", "released", "held"):
        assert plan[name] == done[name], name


def test_a_plan_exits_1_when_the_brake_would_hold(bounced: Bounced, server: DemoServer) -> None:
    fill(server, letters(5))
    configure(bounced.folder, box(server), more="[brake]\nfloor = 3\n")
    plan = bounced("sync", "--plan")
    assert plan.exit_code == 1
    assert "would suppress 5 addresses" in plan.stderr
    assert plan.stdout.count("\n? gone") == 5
    assert "? gone0@example.com  A hard bounce, sure to" in plan.stdout
    told = json.loads(bounced("sync", "--plan", "--json").stdout)
    assert (told["held"], len(told["waiting"]), told["suppressed"]) == (5, 5, 0)


def test_a_plan_over_a_folder_leaves_every_letter_where_it_is_and_makes_no_pile(
    bounced: Bounced,
) -> None:
    waiting = bounced.folder / "waiting"
    waiting.mkdir()
    for number, letter in enumerate(letters(2)):
        path = waiting / f"{number}.eml"
        path.write_bytes(letter)
        os.utime(path, (1_700_000_000, 1_700_000_000))  # long settled
    before = {path.name: path.stat() for path in waiting.iterdir()}
    configure(bounced.folder, {"name": "spool", "path": str(waiting)})
    plan = bounced("sync", "--plan")
    assert plan.exit_code == 0, plan.output
    assert "2 newly suppressed" in plan.stdout
    after = {path.name: path.stat() for path in waiting.iterdir()}
    assert {n: s.st_ino for n, s in before.items()} == {n: s.st_ino for n, s in after.items()}
    assert sorted(path.name for path in bounced.folder.iterdir()) == ["config.toml", "waiting"]


def test_a_failing_mailbox_is_told_and_the_others_are_foretold(
    bounced: Bounced, server: DemoServer
) -> None:
    fill(server, letters(1))
    configure(bounced.folder, box(server, "away", port=1), box(server, "good"))
    plan = bounced("sync", "--plan")
    assert plan.exit_code == 75
    assert "away:\n" in plan.stderr
    assert "A sync would find: good: 1 letter" in plan.stdout

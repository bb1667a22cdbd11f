"""What the brake holds is shown with the commands that end it, and they do what they say."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import HARD, reading, recorded

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Bounced


@pytest.fixture
def held(bounced: Bounced) -> Path:
    """A run over the brake: five addresses at once, where three are too many."""
    path = bounced.folder / "held.db"
    recorded(path, [reading(n, f"gone{n}@example.com", "no", HARD) for n in range(1, 6)], floor=3)
    return path


def run_number(listed: str) -> str:
    found = re.search(r"bounced hold accept (\d+)", listed)
    assert found, listed
    return found[1]


def test_a_held_run_is_listed_with_what_to_type(bounced: Bounced, held: Path) -> None:
    assert bounced("suppressed", "--db", str(held)).stdout == ""
    result = bounced("hold", "list", "--db", str(held))
    number = run_number(result.stderr)
    assert re.search(rf"{number}\s+news\s.*\s5\s+5", result.stdout)
    for word in ("show", "discard"):
        assert f"bounced hold {word} {number}" in result.stderr


def test_the_addresses_that_wait_are_shown(bounced: Bounced, held: Path) -> None:
    lines = bounced("hold", "show", "--db", str(held)).stdout.splitlines()
    assert all("A hard bounce, sure to 0.95 (user_unknown, " in line for line in lines)
    assert [line.split()[1] for line in lines] == [f"gone{n}@example.com" for n in range(1, 6)]


def test_accepting_suppresses_them(bounced: Bounced, held: Path) -> None:
    words = ("--db", str(held))
    number = run_number(bounced("hold", "list", *words).stderr)
    done = bounced("hold", "accept", number, *words)
    assert done.output == f"Run {number}: 5 addresses now suppressed.\n"
    assert len(bounced("suppressed", *words).stdout.splitlines()) == 5
    assert bounced("hold", "list", *words).output == "Nothing is held.\n"


def test_discarding_suppresses_nobody_and_keeps_the_events(bounced: Bounced, held: Path) -> None:
    words = ("--db", str(held))
    number = run_number(bounced("hold", "list", *words).stderr)
    done = bounced("hold", "discard", number, *words)
    assert done.output == f"Run {number}: 5 addresses left as before.\n"
    assert bounced("suppressed", *words).stdout == ""
    assert "does not count" in bounced("explain", "gone1@example.com", *words).output


def test_deciding_twice_is_refused(bounced: Bounced, held: Path) -> None:
    words = ("--db", str(held))
    number = run_number(bounced("hold", "list", *words).stderr)
    bounced("hold", "accept", number, *words)
    again = bounced("hold", "discard", number, *words)
    assert again.exit_code == 2
    assert f"Run {number} is not held (but accepted)." in again.stderr
    assert again.stderr.endswith("type: bounced hold list\n")
    assert len(bounced("suppressed", *words).stdout.splitlines()) == 5


def test_what_is_held_is_listed_as_json(bounced: Bounced, held: Path) -> None:
    words = ("--json", "--db", str(held))
    (run,) = [json.loads(line) for line in bounced("hold", "list", *words).stdout.splitlines()]
    shown = bounced("hold", "show", *words)
    waiting = [json.loads(line) for line in shown.stdout.splitlines()]
    assert len(waiting) == run["addresses"] > 0
    assert {one["run_id"] for one in waiting} == {run["run_id"]}
    assert {(one["reason"], one["rule"]) for one in waiting} == {("user_unknown", "test/gone")}
    assert shown.stderr == ""


def test_the_list_says_that_more_would_be_on_it(bounced: Bounced, held: Path) -> None:
    listed = bounced("suppressed", "--format", "csv", "--db", str(held))
    assert listed.stderr == "5 addresses more wait for your word: bounced hold list\n"
    assert len(listed.stdout.splitlines()) == 1, "and is what it always is"

"""`bounced reclassify` and `bounced simulate` show a difference, and change only what they may."""

from __future__ import annotations

import json
import os
import signal
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from bounced import rules
from bounced.model import Fault, Outcome, Reason, Verdict
from tests.cli.conftest import NOW, SOFT, reading, recorded

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Bounced

BOOK = """
[[rule]]
id = "mine/vanished"
says = ["vanished into thin air"]
outcome = "hard"
reason = "user_unknown"
because = "Our neighbour's server says so."
source = "a letter of the neighbour"
examples = ["550 vanished into thin air"]
counterexamples = ["550 try again"]
"""
UNSURE = Verdict(
    Outcome.HARD, Reason.USER_UNKNOWN, Fault.RECIPIENT, 0.6, "test/perhaps", "Perhaps nobody."
)


@pytest.fixture
def config(bounced: Bounced) -> Path:
    """A configuration with a book of its own, and a past that was judged without it."""
    (bounced.folder / "mine.toml").write_text(BOOK)
    early = NOW - timedelta(hours=1)
    said = "550 vanished into thin air"
    recorded(
        bounced.folder / "bounced.db",
        [reading(n, f"a{n}@example.com", said, SOFT, early) for n in range(1, 4)],
    )
    path = bounced.folder / "config.toml"
    path.write_text('rules = ["mine.toml"]\n[brake]\nfloor = 3\n')
    return path


def test_counts_come_first_and_nothing_changes_without_apply(
    bounced: Bounced, config: Path
) -> None:
    shown = bounced("reclassify")
    assert shown.exit_code == 0
    lines = shown.stdout.splitlines()
    assert lines[0] == "3 events judged again, 3 of them otherwise."
    assert lines[1].split() == ["3", "test/full", "->", "mine/vanished"]
    assert lines[2].startswith("Of 3 addresses 3 would be suppressed, 0 released;")
    assert lines[3].split() == ["3", "suppressed", "by", "rule", "mine/vanished"]
    assert lines[4].startswith("+ a1@example.com  soft-bounced -> hard-bounced (suppressed): ")
    assert "--apply" in shown.stderr
    assert bounced("suppressed").output == ""


def test_apply_changes_what_was_shown_under_the_operators_name(
    bounced: Bounced, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", "eve")
    done = bounced("reclassify", "--apply")
    assert "Done: 3 suppressed, 0 released." in done.stderr
    assert len(bounced("suppressed").output.splitlines()) == 3
    told = bounced("explain", "a1@example.com").output
    assert "soft-bounced -> hard-bounced (suppressed), by eve" in told
    assert "judged by mine/vanished" in told
    assert bounced("reclassify").stdout.splitlines()[0] == (
        "3 events judged again, 0 of them otherwise."
    )


def test_the_brake_stops_an_apply_and_says_what_to_type(bounced: Bounced, config: Path) -> None:
    config.write_text('rules = ["mine.toml"]\n[brake]\nfloor = 2\n')
    refused = bounced("reclassify", "--apply")
    assert refused.exit_code == 1
    assert "--force" in refused.stderr
    assert bounced("suppressed").output == ""
    assert bounced("reclassify", "--apply", "--force").exit_code == 0
    assert len(bounced("suppressed").output.splitlines()) == 3


def test_the_difference_is_told_to_machines_line_by_line(bounced: Bounced, config: Path) -> None:
    counts, *changes = map(json.loads, bounced("reclassify", "--json").stdout.splitlines())
    assert (counts["suppressed"], counts["events_judged"]) == (3, 3)
    assert counts["judged_otherwise"] == [{"from": "test/full", "to": "mine/vanished", "events": 3}]
    assert [change["address"] for change in changes] == [f"a{n}@example.com" for n in (1, 2, 3)]
    assert changes[0]["to_rule"] == "mine/vanished"


def test_since_takes_a_time_or_says_how_one_is_written(bounced: Bounced, config: Path) -> None:
    assert bounced("reclassify", "--since", "2d").stdout.startswith("3 events")
    assert bounced("reclassify", "--since", "2099-01-31").stdout.startswith("Of 0 addresses")
    wrong = bounced("reclassify", "--since", "last week")
    assert wrong.exit_code == 2
    assert "2026-01-31" in wrong.stderr


def test_a_policy_is_tried_before_it_is_lived_by(bounced: Bounced) -> None:
    recorded(
        bounced.folder / "bounced.db",
        [reading(1, "ann@example.com", "550 who?", UNSURE, NOW - timedelta(days=200))],
    )
    (bounced.folder / "config.toml").write_text("")
    (bounced.folder / "strict.toml").write_text("[policy]\nhard_at_once = 0.5\n")
    shown = bounced("simulate", "--policy", "strict.toml")
    assert "Of 1 addresses 1 would be suppressed" in shown.stdout
    assert "+ ann@example.com" in shown.stdout
    assert "Nothing was changed" in shown.stderr
    assert bounced("suppressed").output == ""
    recent = bounced("simulate", "--policy", "strict.toml", "--since", "180d")
    assert "Of 0 addresses" in recent.stdout


def test_a_policy_file_with_a_slip_is_refused_with_the_nearest_word(bounced: Bounced) -> None:
    recorded(bounced.folder / "bounced.db", [])
    (bounced.folder / "slip.toml").write_text("[policy]\nhard_at_onse = 0.5\n")
    refused = bounced("simulate", "--policy", "slip.toml", "--db", "bounced.db")
    assert refused.exit_code == 2
    assert "did you mean hard_at_once?" in refused.stderr


def test_several_jobs_judge_as_one_does(bounced: Bounced, config: Path) -> None:
    alone, together = (bounced("reclassify", "--json", "--jobs", n).stdout for n in "12")
    assert together == alone
    assert '"mine/vanished"' in together
    assert bounced("reclassify", "--apply", "--jobs", "2").exit_code == 0
    assert bounced("suppressed").output.split() == [
        "a1@example.com",
        "a2@example.com",
        "a3@example.com",
    ]


@pytest.mark.parametrize("deaths", [1, 2, 1000])
def test_what_is_shown_survives_a_worker_killed_once_and_says_so_when_each_is(
    bounced: Bounced, config: Path, monkeypatch: pytest.MonkeyPatch, deaths: int
) -> None:
    alone = bounced("reclassify", "--json").stdout
    here = os.getpid()
    judge = rules.classify

    def deadly(*words: Any, **more: Any) -> Verdict:
        assert os.getpid() != here, "what kills its process is not done here"
        marks = len(list(bounced.folder.glob("death*")))
        if marks < deaths:
            (bounced.folder / f"death{marks}").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return judge(*words, **more)

    monkeypatch.setattr(rules, "classify", deadly)
    shown = bounced("reclassify", "--json", "--jobs", "2")
    if deaths == 1:
        assert (shown.exit_code, shown.stdout) == (0, alone)
    else:
        assert shown.exit_code == 1
        assert "killed a process twice. Nothing was changed" in shown.stderr

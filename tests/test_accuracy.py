"""The one command that shows how well mail is read and judged."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def told() -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "ignore", "benchmarks/accuracy.py"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_nothing_is_falsely_hard_and_confident_verdicts_are_right(
    told: subprocess.CompletedProcess[str],
) -> None:
    assert told.returncode == 0, told.stdout + told.stderr


def test_the_figures_of_every_set_are_printed_or_its_absence_is_told(
    told: subprocess.CompletedProcess[str],
) -> None:
    for name in ("corpus", "mta"):
        figures = told.stdout.partition(f"== {name}\n")[2].partition("\n== ")[0]
        assert figures.startswith("skipped: ") or "outcome: " in figures


def test_the_table_of_confidence_has_a_line_for_sure_verdicts(
    told: subprocess.CompletedProcess[str],
) -> None:
    assert "\n0.9 to 1.0 " in told.stdout

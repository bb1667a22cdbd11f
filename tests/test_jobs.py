"""Several processes: the same results in the same order, whoever dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bounced import jobs
from bounced.jobs import Jobs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def squares(numbers: Sequence[int]) -> list[int]:
    return [number * number for number in numbers]


def squares_unless_deadly(numbers: Sequence[int]) -> list[int]:
    """Dies of every multiple of 300, wherever it is met."""
    if any(number % 300 == 0 for number in numbers):
        os.kill(os.getpid(), signal.SIGKILL)
    return squares(numbers)


def where(numbers: Sequence[int]) -> list[int]:
    return [os.getpid()] * len(numbers)


def killed_once(marks: Sequence[Path]) -> list[str]:
    """Dies of what comes first, and not again."""
    for mark in marks:
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
    return [mark.name for mark in marks]


def lost(number: int) -> int:
    return -number


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("length", [0, 1, 149, 150, 151, 1000])
def test_results_come_in_the_order_of_the_list(count: int, length: int) -> None:
    with Jobs(count, squares, lost) as several:
        assert list(several.results(range(length))) == squares(range(length))


def test_a_broken_pool_ends_whatever_its_parent_does_about_signals() -> None:
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        with Jobs(3, squares_unless_deadly, lost) as several:
            told = list(several.results(range(1, 700)))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert told[298:301] == [299 * 299, -300, 301 * 301]


def test_one_job_forks_nothing_and_several_work_elsewhere() -> None:
    with Jobs(1, where, lost) as one:
        assert set(one.results(range(3))) == {os.getpid()}
    with Jobs(2, where, lost) as two:
        assert os.getpid() not in set(two.results(range(1000)))


def test_an_item_that_kills_its_worker_is_told_apart_from_all_others() -> None:
    with Jobs(2, squares_unless_deadly, lost) as several:
        found = list(several.results(range(1, 1001)))
    assert found == [-n if n % 300 == 0 else n * n for n in range(1, 1001)]


def test_a_worker_that_was_killed_by_chance_loses_nothing(tmp_path: Path) -> None:
    marks = [tmp_path / str(n) for n in range(400)]
    for mark in marks:
        mark.touch()
    marks[200].unlink()
    with Jobs(2, killed_once, lambda mark: "lost") as several:
        assert list(several.results(marks)) == [mark.name for mark in marks]


def test_no_more_of_the_list_is_read_than_the_workers_need(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jobs, "PORTION", 10)
    read: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(1000):
            read.append(number)
            yield number

    with Jobs(2, squares, lost) as several:
        results = several.results(numbers())
        assert next(results) == 0
        assert len(read) <= 10 * (jobs.AHEAD * 2 + 1)
        assert len(list(results)) == 999


def test_what_the_work_raises_is_raised_here() -> None:
    with Jobs(2, squares, lost) as several, pytest.raises(TypeError):
        list(several.results(["no number"]))  # type: ignore[list-item]


def test_workers_do_not_outlive_a_parent_that_is_killed() -> None:
    code = (
        "import os, signal\n"
        "from bounced.jobs import Jobs\n"
        "from tests.test_jobs import lost, where\n"
        "with Jobs(2, where, lost) as two:\n"
        "    print(*set(two.results(range(1000))), flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parent.parent, stdout=subprocess.PIPE,
        text=True, timeout=30, check=False,
    )  # fmt: skip
    workers = [Path(f"/proc/{pid}") for pid in done.stdout.split()]
    assert workers
    end = time.monotonic() + 10
    while any(process.exists() for process in workers):
        assert time.monotonic() < end, "a worker has outlived its parent"
        time.sleep(0.05)


def test_heavy_items_make_smaller_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "HEAVY", 30)
    read: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(1000):
            read.append(number)
            yield number

    with Jobs(2, squares, lost, weigh=lambda _: 10) as several:
        pairs = several.pairs(numbers())
        assert next(pairs) == (0, 0)
        assert len(read) <= 3 * (jobs.AHEAD * 2 + 1)
        assert list(pairs)[-1] == (999, 999 * 999)

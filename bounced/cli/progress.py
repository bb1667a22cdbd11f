"""The moving line that shows a terminal how far a sync is; gone when the sync is."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from bounced.sync import Observer
from bounced.text import safe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class _Bar(Observer):
    def __init__(self, progress: Progress, name: str) -> None:
        self._progress = progress
        # how many letters wait is not known beforehand; the bar moves, the number counts
        self._task = progress.add_task(safe(name), total=None)

    def recorded(self, done: int) -> None:
        self._progress.update(self._task, completed=done)


@contextmanager
def filling(name: str, total: int) -> Iterator[Callable[[int], object]]:
    """A bar on stderr that fills up to a total; what it is given is how far things are."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=sys.stderr), transient=True) as progress:
        task = progress.add_task(safe(name), total=total)
        yield lambda done: progress.update(task, completed=done)


@contextmanager
def bar(name: str) -> Iterator[Observer]:
    """An observer that moves a bar on stderr."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.completed:.0f} letters"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(file=sys.stderr), transient=True) as progress:
        yield _Bar(progress, name)

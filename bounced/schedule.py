"""When each mailbox is emptied: the only room that knows APScheduler.

Jobs live in memory, because they come from the configuration file and nowhere else. A job that
fails is reported and runs again; after each failure in a row it is left alone for longer. Only a
signal ends the loop.
"""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_MAX_INSTANCES
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.combining import OrTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import tzinfo

# A tenth of the interval, so that many mailboxes do not knock at the same second, up to a minute.
JITTER_SHARE: Final = 0.1
MAX_JITTER: Final = 60
DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
# While jobs end, how often the waiting thread wakes: a signal is heard only by one that is awake.
LISTENS_EVERY: Final = 0.5

_log = logging.getLogger("bounced.schedule")


# After n failures in a row a job is left alone for its interval times 2^(n-1), give or take a
# quarter so that mailboxes of one server that was away do not come back as one, up to an hour.
LONGEST_PAUSE: Final = 3600.0
CRON_INTERVAL: Final = 60.0


@dataclass(frozen=True, slots=True)
class Job:
    """Work to be repeated: every `every` seconds or, where `cron` is given, when cron would.

    `work` returns None when it went well, else how many seconds it is to be left alone at least.
    `watch` runs in a thread of its own and calls what it is given when there is work at once; it
    ends by itself when asked to.
    """

    name: str
    work: Callable[[], float | None]
    every: float = 300.0
    cron: str | None = None
    watch: Callable[[Callable[[], None]], object] | None = None


class Turns:
    """The turns of one job: never two at once, and fewer of them while it fails."""

    def __init__(
        self,
        job: Job,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.job = job
        self.failures = 0
        self._clock = clock
        self._chance = chance
        self._not_before = -math.inf
        self._lock = threading.Lock()
        self._running = False
        self._again = False

    def __call__(self) -> None:
        """Take a turn, unless the job is to be left alone; one more when news came meanwhile."""
        while self._clock() >= self._not_before and self._turn():
            pass

    def _turn(self) -> bool:
        """Take a turn; whether there is to be another at once."""
        with self._lock:
            self._running, self._again = True, False
        pause: float | None = 0.0
        again = False
        try:
            pause = self.job.work()
        finally:
            self._note(pause)
            with self._lock:
                self._running, again = False, self._again and pause is None
        return again

    def news(self) -> bool:
        """There is work at once; whether nobody is at it, so that a turn has to be taken."""
        with self._lock:
            self._again = True
            return not self._running

    def _note(self, pause: float | None) -> None:
        if pause is None:
            self.failures, self._not_before = 0, -math.inf
            return
        self.failures += 1
        usual = CRON_INTERVAL if self.job.cron else self.job.every
        doubled = usual * 2.0 ** min(self.failures - 1, 30)
        seconds = min(LONGEST_PAUSE, max(pause, doubled)) * (0.75 + self._chance() / 2)
        if self.failures > 1 or pause:
            self._not_before = self._clock() + seconds
            facts = {"mailbox": self.job.name, "failures": self.failures}
            _log.warning("backing off", extra={**facts, "seconds": round(seconds)})


def run(jobs: Sequence[Job], wait: Callable[[], object]) -> None:
    """Run every job now and then at its times, until `wait` returns and running jobs ended."""
    turns = [Turns(job) for job in jobs]
    scheduler = BackgroundScheduler(
        executors={"default": ThreadPoolExecutor(max(1, len(jobs)))}, **MANNERS
    )
    fill(scheduler, turns)
    scheduler.start()
    for turn in turns:
        if turn.job.watch is not None:
            wake = partial(_wake, scheduler, turn)
            threading.Thread(target=turn.job.watch, args=(wake,), daemon=True).start()
    try:
        wait()
    finally:
        _end(scheduler)


def _end(scheduler: Any) -> None:
    """Wait for the jobs that are running, with an ear for a second signal."""
    ending = threading.Thread(target=scheduler.shutdown, daemon=True)
    ending.start()
    while ending.is_alive():
        ending.join(LISTENS_EVERY)


# Late runs are caught up with once, however late they are: the default drops them after a second.
MANNERS: Final[dict[str, Any]] = {
    "timezone": UTC,
    "job_defaults": {"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
}


def fill(scheduler: Any, turns: Sequence[Turns]) -> None:
    """Give an APScheduler its jobs, each due at once, and our ear for what goes wrong."""
    logging.getLogger("apscheduler").setLevel(logging.CRITICAL)  # the listener speaks for it
    scheduler.add_listener(_report, EVENT_JOB_ERROR | EVENT_JOB_MAX_INSTANCES)
    for turn in turns:
        name, when = turn.job.name, trigger(turn.job)
        scheduler.add_job(turn, when, id=name, name=name, next_run_time=datetime.now(UTC))


def _wake(scheduler: Any, turn: Turns) -> None:
    if turn.news():
        with suppress(JobLookupError):  # the scheduler has been shut down meanwhile
            scheduler.modify_job(turn.job.name, next_run_time=datetime.now(UTC))


def trigger(job: Job, zone: tzinfo | None = None) -> Any:
    """The APScheduler trigger of a job; cron times are those of `zone` (None: this machine's)."""
    if job.cron is None:
        jitter = min(MAX_JITTER, int(job.every * JITTER_SHARE))
        return IntervalTrigger(seconds=job.every, jitter=jitter or None, timezone=UTC)
    minute, hour, day, month, weekday = job.cron.lower().split()
    days = {"day": day}, {"day_of_week": weekdays(weekday)}
    # cron(5): with both days restricted, either is enough; APScheduler would want both.
    either = not day.startswith("*") and not weekday.startswith("*")
    choices = days if either else ({**days[0], **days[1]},)
    triggers = [
        CronTrigger(minute=minute, hour=hour, month=month, timezone=zone, **choice)
        for choice in choices
    ]
    return triggers[0] if len(triggers) == 1 else OrTrigger(triggers)


def weekdays(field: str) -> str:
    """A cron weekday field (0 and 7 are Sunday) in APScheduler's words (there 0 is Monday)."""
    if field == "*":
        return field
    numbers = {number % 7 for part in field.split(",") for number in _weekday_numbers(part)}
    return ",".join(DAYS[number] for number in sorted(numbers))


def _weekday_numbers(part: str) -> Iterator[int]:
    span, _, step = part.partition("/")
    first, _, last = ("0", "-", "6") if span == "*" else span.partition("-")
    start = _weekday(first)
    # "3/2" is a start without an end: cron means "from there on"
    end = _weekday(last) if last else (6 if step else start)
    yield from range(start, end + 1, int(step or 1))


def _weekday(word: str) -> int:
    return DAYS.index(word) if word in DAYS else int(word)


def _report(event: Any) -> None:
    # the bounced log turns what is in `extra` into key=value
    if event.code == EVENT_JOB_MAX_INSTANCES:
        _log.info("skipped", extra={"mailbox": event.job_id, "why": "still running"})
    else:
        what = type(event.exception).__name__
        _log.error("failed", extra={"mailbox": event.job_id, "why": what})

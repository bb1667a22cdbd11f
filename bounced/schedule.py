"""When each mailbox is emptied: the only room that knows APScheduler.

Jobs live in memory, because they come from the configuration file and nowhere else. A job that
fails is reported and runs again at its next turn; only a signal ends the loop.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_MAX_INSTANCES
from apscheduler.executors.pool import ThreadPoolExecutor
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

_log = logging.getLogger("bounced.schedule")


@dataclass(frozen=True, slots=True)
class Job:
    """Work to be repeated: every `every` seconds or, where `cron` is given, when cron would."""

    name: str
    work: Callable[[], object]
    every: float = 300.0
    cron: str | None = None


def run(jobs: Sequence[Job], wait: Callable[[], object]) -> None:
    """Run every job now and then at its times, until `wait` returns and running jobs ended."""
    logging.getLogger("apscheduler").setLevel(logging.CRITICAL)  # the listener speaks for it
    scheduler = BackgroundScheduler(
        executors={"default": ThreadPoolExecutor(max(1, len(jobs)))},
        timezone=UTC,
        job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
    )
    scheduler.add_listener(_report, EVENT_JOB_ERROR | EVENT_JOB_MAX_INSTANCES)
    for job in jobs:
        scheduler.add_job(job.work, trigger(job), id=job.name, next_run_time=datetime.now(UTC))
    scheduler.start()
    try:
        wait()
    finally:
        scheduler.shutdown(wait=True)


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

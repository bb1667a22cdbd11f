"""Jobs run at their times, one failure never ends the loop, and it stops when asked."""

from __future__ import annotations

import itertools
import logging
import sys
import threading
import time
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from apscheduler.executors.debug import DebugExecutor
from apscheduler.schedulers.base import STATE_RUNNING, BaseScheduler

from bounced.schedule import MANNERS, Job, Turns, fill, run, trigger, weekdays

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import tzinfo

SUNDAY_NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def fires(cron: str, count: int = 3) -> list[str]:
    """The next times after a Sunday noon, as `Sun 22 12:00`."""
    clock = trigger(Job("m", lambda: None, cron=cron), UTC)
    times: list[str] = []
    now, last = SUNDAY_NOON, None
    for _ in range(count):
        last = clock.get_next_fire_time(last, now)
        now = last + timedelta(seconds=1)
        times.append(f"{last:%a %d %H:%M}")
    return times


def test_sunday_is_day_0_and_day_7_as_cron_means_it() -> None:
    assert (
        fires("0 0 * * 0", 1)
        == fires("0 0 * * 7", 1)
        == fires("0 0 * * sun", 1)
        == ["Sun 29 00:00"]
    )
    assert fires("0 0 * * 1", 1) == ["Mon 23 00:00"]


@pytest.mark.parametrize(
    ("field", "days"),
    [
        ("*", "*"),
        ("1-5", "mon,tue,wed,thu,fri"),
        ("5-7", "sun,fri,sat"),
        ("0,6", "sun,sat"),
        ("*/2", "sun,tue,thu,sat"),
        ("mon-wed", "mon,tue,wed"),
        ("1-5/2", "mon,wed,fri"),
        ("0-7", "sun,mon,tue,wed,thu,fri,sat"),
    ],
)
def test_weekday_fields_are_translated(field: str, days: str) -> None:
    assert weekdays(field) == days


def test_cron_times_come_when_cron_would_fire() -> None:
    assert fires("*/20 * * * *") == ["Sun 22 12:00", "Sun 22 12:20", "Sun 22 12:40"]
    assert fires("30 9 * * 1-5", 2) == ["Mon 23 09:30", "Tue 24 09:30"]


def test_two_restricted_days_mean_either_as_in_cron() -> None:
    assert fires("0 0 25 * 1") == ["Mon 23 00:00", "Wed 25 00:00", "Mon 30 00:00"]


def test_an_interval_job_is_jittered_by_at_most_a_tenth_and_a_minute() -> None:
    assert trigger(Job("m", lambda: None, every=300)).jitter == 30
    assert trigger(Job("m", lambda: None, every=86400)).jitter == 60
    assert trigger(Job("m", lambda: None, every=5)).jitter is None


def test_every_job_runs_at_once_and_then_again() -> None:
    done, turns = threading.Event(), []

    def work() -> None:
        turns.append(1)
        if len(turns) == 3:
            done.set()

    run([Job("m", work, every=0.05)], lambda: done.wait(10))
    assert len(turns) >= 3


def test_a_job_that_fails_is_reported_and_runs_again_beside_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    done, calls = threading.Event(), {"bad": 0, "good": 0}

    def bad() -> None:
        calls["bad"] += 1
        raise RuntimeError("no luck")

    def good() -> None:
        calls["good"] += 1
        if min(calls.values()) >= 2:
            done.set()

    with caplog.at_level(logging.INFO, "bounced.schedule"):
        run([Job("bad", bad, every=0.05), Job("good", good, every=0.05)], lambda: done.wait(10))
    assert done.is_set()
    assert {r.__dict__["mailbox"] for r in caplog.records if r.message == "failed"} == {"bad"}


def test_a_job_that_outlasts_its_interval_never_runs_twice_at_once() -> None:
    done, running, most, turns = threading.Event(), [], [0], [0]

    def slow() -> None:
        running.append(1)
        most[0] = max(most[0], len(running))
        done.wait(0.2)
        running.pop()
        turns[0] += 1
        if turns[0] == 3:
            done.set()

    run([Job("m", slow, every=0.05)], lambda: done.wait(10))
    assert turns[0] >= 3
    assert most[0] == 1


def test_run_returns_only_when_the_job_at_work_has_ended() -> None:
    begun, ended = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        threading.Event().wait(0.2)
        ended.set()

    run([Job("m", work, every=3600)], lambda: begun.wait(10))
    assert ended.is_set()


def failing(
    pauses: list[float | None], every: float = 60, **more: str
) -> tuple[Turns, list[float]]:
    """A job that ends as listed, and the simulated times at which it was at work."""
    clock, worked = [0.0], []

    def work() -> float | None:
        worked.append(clock[0])
        return pauses.pop(0) if pauses else None

    turns = Turns(Job("m", work, every=every), lambda: clock[0], lambda: 0.5)
    while pauses:
        turns()
        clock[0] += every
    return turns, worked


def test_a_failing_job_is_left_alone_for_longer_each_time() -> None:
    turns, worked = failing([0.0] * 8)
    gaps = [later - earlier for earlier, later in itertools.pairwise(worked)]
    assert gaps == [60, 120, 240, 480, 960, 1920, 3600]
    assert turns.failures == 8


def test_a_job_that_is_well_again_has_its_usual_turns() -> None:
    _, worked = failing([0.0, 0.0, 0.0, None, 0.0, None, None])
    gaps = [later - earlier for earlier, later in itertools.pairwise(worked)]
    assert gaps == [60, 120, 240, 60, 60, 60]


def test_a_refused_password_is_not_tried_again_for_as_long_as_it_asks() -> None:
    _, worked = failing([1800.0, None])
    assert worked == [0, 1800]


def test_mailboxes_of_one_server_do_not_come_back_at_the_same_moment() -> None:
    ends = []
    for chance in (0.0, 1.0):
        turns = Turns(Job("m", lambda: 0.0, every=100), lambda: 0.0, lambda c=chance: c)  # type: ignore[misc]
        turns()
        turns()
        ends.append(turns._not_before)
    assert ends == [150.0, 250.0]


def test_a_job_that_raises_counts_as_failed() -> None:
    def broken() -> None:
        raise RuntimeError

    turns = Turns(Job("m", broken))
    with pytest.raises(RuntimeError):
        turns()
    assert turns.failures == 1


def test_news_wake_a_job_before_its_time() -> None:
    done, worked = threading.Event(), []

    def work() -> None:
        worked.append(1)
        if len(worked) == 2:
            done.set()

    def watch(news: Callable[[], None]) -> None:
        while not worked:
            time.sleep(0.01)
        news()

    run([Job("m", work, every=3600, watch=watch)], lambda: done.wait(10))
    assert len(worked) == 2


def test_news_during_a_turn_bring_one_more_turn() -> None:
    worked: list[int] = []
    turns: list[Turns] = []

    def work() -> None:
        worked.append(1)
        if len(worked) == 1:
            assert not turns[0].news(), "somebody is at it"
            assert not turns[0].news()

    turns.append(Turns(Job("m", work)))
    turns[0]()
    assert len(worked) == 2


def test_news_that_never_end_are_no_deeper_stack() -> None:
    worked: list[int] = []

    def work() -> None:
        worked.append(1)
        if len(worked) < 2 * sys.getrecursionlimit():
            turns.news()

    turns = Turns(Job("m", work))
    turns()
    assert len(worked) == 2 * sys.getrecursionlimit()


class Simulated(BaseScheduler):  # type: ignore[misc] # apscheduler carries no types
    """A scheduler whose time passes when we say so."""

    def shutdown(self, wait: bool = True) -> None:  # noqa: FBT001, FBT002 - apscheduler's signature
        super().shutdown(wait)

    def wakeup(self) -> None:
        """Nobody sleeps."""


def test_a_day_goes_by(monkeypatch: pytest.MonkeyPatch) -> None:
    start = datetime(2026, 11, 22, 0, 0, 1, tzinfo=UTC)
    now = [start]

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Clock:
            moment = now[0].astimezone(tz)
            return cls.fromtimestamp(moment.timestamp(), tz)

    for module in ("bounced.schedule", "apscheduler.schedulers.base", "apscheduler.executors.base"):
        monkeypatch.setattr(f"{module}.datetime", Clock)
    worked: dict[str, list[datetime]] = defaultdict(list)

    def noting(name: str, *, fails: bool = False) -> Callable[[], float | None]:
        def work() -> float | None:
            worked[name].append(now[0])
            return 0.0 if fails else None

        return work

    def clock() -> float:
        return (now[0] - start).total_seconds()

    jobs = [
        Job("often", noting("often"), every=300),
        Job("cron", noting("cron"), cron="30 */6 * * 0"),
        Job("failing", noting("failing", fails=True), every=300),
    ]
    scheduler = Simulated(executors={"default": DebugExecutor()}, **MANNERS)
    fill(scheduler, [Turns(job, clock, lambda: 0.5) for job in jobs])
    scheduler.start(paused=True)
    scheduler.state = STATE_RUNNING
    while now[0] < start + timedelta(days=1):
        asleep = timedelta(hours=3) if now[0].hour == 12 and now[0].minute < 5 else timedelta()
        now[0] += timedelta(seconds=max(1.0, scheduler._process_jobs() or 1.0)) + asleep
    # 24 hours at 5 minutes and 0 to 30 s of jitter, three of them asleep and caught up with once
    assert 220 <= len(worked["often"]) <= 256
    gaps = [later - earlier for earlier, later in itertools.pairwise(worked["often"])]
    assert sum(gap < timedelta(minutes=4) for gap in gaps) <= 1, "only after the sleep"
    assert sum(gap > timedelta(minutes=6) for gap in gaps) == 1, "one gap: the sleep"
    at = [f"{moment.astimezone():%H:%M}" for moment in worked["cron"]][1:]
    assert at[:2] == ["00:30", "06:30"]
    assert [moment[:2] for moment in at[2:]] == ["15", "18"], "12:30 was slept through, not lost"
    assert len(worked["failing"]) <= 32, "24 in the last hours, fewer and fewer before"

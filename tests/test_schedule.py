"""Jobs run at their times, one failure never ends the loop, and it stops when asked."""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime, timedelta

import pytest

from bounced.schedule import Job, run, trigger, weekdays

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

"""How mailboxes are doing: since when they fail, who empties them, and runs that gather."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from bounced.ledger import Ledger, health
from bounced.model import STOPPED, Destination
from bounced.policy import Brake
from tests.servers.database import rows

from .conftest import START, Pass, day, on_the_list, opened, reading, synced

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bounced.ledger.rows import MailboxRow
    from bounced.model import Recorded

HOUR = timedelta(hours=1)


def handed(ledger: Ledger, number: int, *, minutes: float, error: str | None = None) -> Recorded:
    """One letter handed over so many minutes after START, as a call of its own."""
    at = START + timedelta(minutes=minutes)
    visit = ledger.begin("pipe", owner="here:1", at=at, gather=HOUR)
    assert visit is not None
    ledger.select(visit, 7)
    ledger.attempt(visit, [number])
    told = ledger.record(visit, [reading(number, f"a{number}@example.com")], at=at)
    ledger.filed(visit, [number])
    ledger.end(visit, at=at, error=error)
    return told


def runs(url: str) -> list[tuple[str, bool]]:
    found = rows(url, "SELECT state, finished_at IS NOT NULL FROM run ORDER BY id")
    return [(state, bool(finished)) for state, finished in found]


def the_mailbox(ledger: Ledger) -> MailboxRow:
    (row,) = ledger.mailboxes()
    return row


@pytest.fixture
def careful(url: str) -> Iterator[Ledger]:
    with opened(url, brake=Brake(share=0, floor=2)) as made:
        yield made


def test_letters_of_one_window_are_one_run_and_the_next_window_closes_it(
    url: str, ledger: Ledger
) -> None:
    for number in range(3):
        handed(ledger, number, minutes=10 * number)
    assert runs(url) == [("open", False)]
    handed(ledger, 3, minutes=60)
    assert runs(url) == [("done", True), ("open", False)]
    assert rows(url, "SELECT count(*) FROM newly_suppressed") == [(1,)]
    assert len(on_the_list(ledger)) == 4


def test_a_call_that_ends_after_its_window_closes_the_run(url: str, ledger: Ledger) -> None:
    visit = ledger.begin("pipe", owner="here:1", at=START, gather=HOUR)
    assert visit is not None
    ledger.end(visit, at=START + HOUR)
    assert runs(url) == [("done", True)]


def test_the_brake_sees_what_comes_letter_by_letter(url: str, careful: Ledger) -> None:
    told = [handed(careful, number, minutes=number).held for number in range(4)]
    assert told == [0, 0, 3, 4]
    assert on_the_list(careful) == []
    handed(careful, 9, minutes=61)
    assert runs(url) == [("held", True), ("open", False)]
    assert on_the_list(careful) == ["a9@example.com"]
    assert [hold.addresses for hold in careful.holds()] == [4]


def test_a_call_that_failed_leaves_the_run_to_the_next(url: str, careful: Ledger) -> None:
    handed(careful, 0, minutes=0, error="OSError: disk full")
    handed(careful, 1, minutes=1)
    assert handed(careful, 2, minutes=2).held == 3
    assert runs(url) == [("held", False)]


def test_a_mailbox_fails_since_the_first_of_its_failures_and_no_longer_than_it_does(
    ledger: Ledger,
) -> None:
    def ended(hours: float, error: str | None) -> MailboxRow:
        this = Pass(ledger)
        ledger.end(this.visit, at=START + timedelta(hours=hours), error=error)
        return the_mailbox(ledger)

    assert ended(0, None).last_success_at == START
    assert ended(1, "MailboxTemporary: away").failing_since == START + HOUR
    assert ended(2, "MailboxTemporary: away").failing_since == START + HOUR
    stopped = ended(3, STOPPED)
    assert stopped.failing_since == START + HOUR, "who is stopped has proved nothing"
    assert stopped.last_success_at == START
    well = ended(4, None)
    assert (well.failing_since, well.last_error) == (None, None)
    assert well.last_success_at == START + 4 * HOUR
    assert ended(5, STOPPED).failing_since is None


def test_trouble_before_the_first_step_is_noted_too(ledger: Ledger) -> None:
    health.note_trouble(ledger, "news", "ConfigError: no password", at=START)
    row = the_mailbox(ledger)
    assert (row.failing_since, row.last_error) == (START, "ConfigError: no password")
    synced(ledger, [reading(1, "a@example.com")])
    assert the_mailbox(ledger).failing_since is None


def test_a_heart_beats_until_it_rests(url: str, ledger: Ledger) -> None:
    gone = subprocess.Popen(["true"])  # its number is free again, or that of nobody we know
    gone.wait()
    health.beat(ledger, f"here:{gone.pid}")
    health.beat(ledger, "here:1")
    health.beat(ledger, "there:2")
    health.beat(ledger, "here:1")
    here, there = health.heartbeats(ledger)
    assert (here.owner, there.owner) == ("here:1", "there:2")
    assert here.started_at <= here.beat_at
    assert timedelta(0) <= here.silent < timedelta(minutes=5)
    long_ago = (datetime.now(UTC) - timedelta(days=8)).strftime("%Y-%m-%d %H:%M:%S")
    rows(url, f"UPDATE heartbeat SET beat_at = '{long_ago}' WHERE owner = 'there:2'")  # noqa: S608
    assert health.heartbeats(ledger)[1].silent > timedelta(days=7)
    health.beat(ledger, "here:1")
    assert [beat.owner for beat in health.heartbeats(ledger)] == ["here:1"]
    health.rest(ledger, "here:1")
    assert health.heartbeats(ledger) == []


def test_the_figures_are_those_of_the_tables(careful: Ledger) -> None:
    this = Pass(careful)
    this.batch(reading(1, "a@example.com"), reading(2, pile=Destination.QUARANTINE))
    careful.filed(this.visit, [1])
    this.end()
    synced(
        careful, [reading(n, f"b{n}@example.com") for n in range(11, 14)], mailbox="other", epoch=1
    )
    found = health.figures(careful)
    assert (found.suppressed, found.held) == (1, 1)
    news, other = found.letters["news"], found.letters["other"]
    assert news.kinds == {"bounce": 2}
    assert news.piles == {"processed": 1, "quarantine": 1}
    assert news.unfiled == 1
    assert news.oldest == found.now - day(0)
    assert (other.unfiled, other.piles) == (3, {"processed": 3})

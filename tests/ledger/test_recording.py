"""Nothing lost, nothing twice: what the writing side promises on every database."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from datetime import timedelta

import pytest

from bounced.ledger import LeaseLost, Ledger
from bounced.model import Destination, Kind, Outcome, Recorded, Reply, Status
from tests.servers.database import rows

from .conftest import START, Pass, bounce, day, on_the_list, opened, reading, synced


def test_a_hard_bounce_puts_its_address_on_the_list(ledger: Ledger) -> None:
    told = synced(ledger, [reading(1, "ann@Example.COM")])
    assert told == Recorded(events=1, suppressed=1)
    (row,) = ledger.suppressed(at=day(1))
    assert (row.address, row.status, row.reason) == (
        "ann@example.com",
        "hard-bounced",
        "user_unknown",
    )
    assert row.said == "550 5.1.1 no ann@Example.COM"
    assert row.since == START


def test_recording_the_same_batch_again_changes_nothing(ledger: Ledger, url: str) -> None:
    this = Pass(ledger)
    batch = [reading(1, "ann@example.com"), reading(2, bounce("bob@example.com", "soft"))]
    assert this.batch(*batch).events == 2
    before = rows(url, "SELECT * FROM address ORDER BY address")
    assert this.ledger.record(this.visit, batch, at=day(5)) == Recorded()
    assert rows(url, "SELECT * FROM address ORDER BY address") == before
    assert rows(url, "SELECT count(*) FROM event") == [(2,)]


def test_a_redelivered_letter_is_kept_as_a_duplicate_and_adds_no_event(
    ledger: Ledger, url: str
) -> None:
    told = synced(
        ledger, [reading(1, "ann@example.com", key="x")], [reading(2, "ann@example.com", key="x")]
    )
    assert told == Recorded(duplicates=1)
    assert rows(url, "SELECT uid, duplicate_of IS NULL FROM message ORDER BY uid") == [
        (1, 1),
        (2, 0),
    ]
    assert rows(url, "SELECT count(*) FROM event") == [(1,)]


def test_two_copies_in_one_batch_count_once(ledger: Ledger) -> None:
    told = synced(
        ledger, [reading(1, "ann@example.com", key="x"), reading(2, "ann@example.com", key="x")]
    )
    assert told == Recorded(events=1, duplicates=1, suppressed=1)


def test_a_letter_seen_in_another_mailbox_is_a_duplicate(ledger: Ledger) -> None:
    synced(ledger, [reading(1, "ann@example.com", key="x")])
    assert synced(ledger, [reading(9, "ann@example.com", key="x")], mailbox="other").duplicates == 1


def test_a_new_epoch_numbers_anew_but_counts_nothing_twice(ledger: Ledger, url: str) -> None:
    synced(ledger, [reading(1, "ann@example.com", key="x"), reading(5, "bob@example.com")])
    this = Pass(ledger, epoch=8)
    assert ledger.unrecorded(this.visit, [1, 2, 5]) == [1, 2, 5]
    assert this.batch(reading(2, "ann@example.com", key="x")) == Recorded(duplicates=1)
    assert rows(url, "SELECT epoch, last_uid FROM mailbox") == [(8, 2)]


def test_attempts_are_counted_before_anything_is_known(ledger: Ledger) -> None:
    this = Pass(ledger)
    assert ledger.attempt(this.visit, [1, 2]) == {1: 1, 2: 1}
    assert ledger.attempt(this.visit, [2, 3]) == {2: 2, 3: 1}
    assert ledger.unrecorded(this.visit, [1, 2, 3]) == [1, 2, 3]


def test_what_is_recorded_waits_to_be_filed_until_it_is(ledger: Ledger) -> None:
    this = Pass(ledger)
    this.batch(reading(1, "ann@example.com"), reading(2, pile=Destination.UNRECOGNISED))
    piles = {1: Destination.PROCESSED, 2: Destination.UNRECOGNISED}
    assert ledger.unfiled(this.visit) == piles
    assert ledger.unrecorded(this.visit, [1, 2, 3]) == [3]
    ledger.filed(this.visit, [1])
    assert ledger.unfiled(this.visit) == {2: Destination.UNRECOGNISED}
    assert ledger.unrecorded(this.visit, [1, 2, 3]) == [3]


def test_the_checkpoint_is_the_highest_uid_recorded(ledger: Ledger) -> None:
    synced(ledger, [reading(9, "ann@example.com")], [reading(4, "bob@example.com")])
    (row,) = ledger.mailboxes()
    assert (row.checkpoint, row.epoch) == (9, 7)
    assert row.states == {"recorded": 2}
    assert row.destinations == {"processed": 2}


def test_a_mailbox_shows_the_error_of_its_last_sync(ledger: Ledger) -> None:
    this = Pass(ledger)
    assert ledger.mailboxes()[0].busy
    this.end("MailboxTemporary: away")
    (row,) = ledger.mailboxes()
    assert (row.last_error, row.busy, row.last_sync_at) == ("MailboxTemporary: away", False, day(0))


def test_a_failed_transaction_leaves_nothing_behind(ledger: Ledger, url: str) -> None:
    this = Pass(ledger)
    naive = reading(2, "bob@example.com", at=day(0).replace(tzinfo=None))
    with pytest.raises(Exception, match="aware"):
        this.batch(reading(1, "ann@example.com"), naive)
    assert ledger.unrecorded(this.visit, [1, 2]) == [1, 2]
    assert rows(url, "SELECT count(*) FROM event") == [(0,)]
    assert on_the_list(ledger) == []


def test_facts_and_conclusions_are_kept_apart_and_whole(ledger: Ledger) -> None:
    synced(ledger, [reading(1, bounce("ann@example.com", remote_mta="mx.example.com"))])
    (event,) = ledger.explain("ann@example.com").events
    assert (event.kind, event.action, event.outcome) == ("bounce", "failed", "hard")
    assert (event.reply_code, event.status, event.remote_mta) == (550, None, "mx.example.com")
    assert (event.rule, event.because, event.rules_version) == (
        "test/hard",
        "It was hard.",
        "books-1",
    )
    assert event.counts


def test_the_standing_is_that_of_the_address_we_mailed(ledger: Ledger) -> None:
    forwarded = bounce("far@example.net", original_address="Near@Example.org")
    synced(ledger, [reading(1, forwarded)])
    assert on_the_list(ledger) == ["Near@example.org"]
    (event,) = ledger.explain("Near@example.org").events
    assert event.recipient == "far@example.net"


def test_an_original_recipient_that_is_no_address_is_not_believed(ledger: Ledger) -> None:
    synced(
        ledger, [reading(1, bounce("far@example.net", original_address="undisclosed recipients"))]
    )
    assert on_the_list(ledger) == ["far@example.net"]


def test_of_two_fates_of_one_address_in_a_report_the_kinder_counts(ledger: Ledger) -> None:
    dead = bounce("a@example.net", original_address="ann@example.com")
    fine = bounce("b@example.net", "delivered", original_address="ann@example.com")
    told = synced(ledger, [reading(1, dead, fine)])
    assert told == Recorded(events=1)
    (event,) = ledger.explain("ann@example.com").events
    assert (event.kind, event.outcome) == (Kind.DELIVERY, Outcome.NONE)


def test_no_text_from_mail_makes_a_transaction_fail(ledger: Ledger) -> None:
    nasty = "\x00\udcff'; DROP TABLE event; --\u202e" + "x" * 5000
    told = synced(ledger, [reading(1, bounce(f"{nasty}@example.com", reply=Reply(nasty)))])
    assert told.events == 1
    assert len(ledger.recent(1)[0].said) == 2000


def test_a_delivery_takes_an_address_off_the_list_again(ledger: Ledger) -> None:
    synced(ledger, [reading(1, "ann@example.com")])
    told = synced(ledger, [reading(2, bounce("ann@example.com", "delivered"), at=day(1))])
    assert told == Recorded(events=1, released=1)
    assert on_the_list(ledger, on=2) == []


def test_every_change_of_a_standing_is_audited(ledger: Ledger) -> None:
    synced(ledger, [reading(1, bounce("ann@example.com", "soft"))])
    synced(ledger, [reading(2, "ann@example.com", at=day(1))])
    ledger.release(["ann@example.com"], by="eve", note="she called", at=day(2))
    history = ledger.explain("ann@example.com")
    seen = [(t.from_status, t.to_status, t.to_suppressed, t.actor) for t in history.transitions]
    assert seen == [
        ("active", "soft-bounced", False, "sync"),
        ("soft-bounced", "hard-bounced", True, "sync"),
        ("hard-bounced", "active", False, "eve"),
    ]
    assert history.transitions[1].event_id == history.events[1].id
    assert history.transitions[2].because == "Released by eve on 2026-01-03: she called."
    assert [release.note for release in history.releases] == ["she called"]


def test_a_second_sync_does_not_get_the_lease(ledger: Ledger) -> None:
    Pass(ledger)
    assert ledger.begin("news", owner="elsewhere:1", at=day(0)) is None
    assert ledger.begin("other", owner="elsewhere:1", at=day(0)) is not None


def test_the_lease_is_free_after_the_end(ledger: Ledger) -> None:
    Pass(ledger).end()
    assert ledger.begin("news", owner="elsewhere:1", at=day(0)) is not None


def test_a_lease_runs_out_by_the_clock_of_the_database(url: str) -> None:
    with opened(url, lease=timedelta(seconds=-1)) as ledger:
        first = Pass(ledger)
        second = ledger.begin("news", owner="elsewhere:1", at=day(0))
        assert second is not None
        assert second.fence == first.visit.fence + 1


def test_the_lease_of_a_dead_process_on_this_host_is_free_at_once(ledger: Ledger) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    here = socket.gethostname()
    assert ledger.begin("news", owner=f"{here}:{dead.pid}", at=day(0)) is not None
    assert not ledger.mailboxes()[0].busy
    assert ledger.begin("news", owner="elsewhere:1", at=day(0)) is None
    assert ledger.begin("news", owner=f"{here}:{os.getpid()}", at=day(0)) is not None
    assert ledger.mailboxes()[0].busy
    assert ledger.begin("news", owner=f"{here}:1", at=day(0)) is None


def test_nothing_is_recorded_under_a_lost_lease(url: str) -> None:
    with opened(url, lease=timedelta(seconds=-1)) as ledger:
        lost = Pass(ledger)
        ledger.attempt(lost.visit, [1])
        assert ledger.begin("news", owner="elsewhere:1", at=day(0)) is not None
        for step in (
            lambda: ledger.record(lost.visit, [reading(1, "ann@example.com")], at=day(0)),
            lambda: ledger.attempt(lost.visit, [1]),
            lambda: ledger.filed(lost.visit, [1]),
            lambda: ledger.unfiled(lost.visit),
        ):
            with pytest.raises(LeaseLost, match="Run: bounced sync"):
                step()
        assert on_the_list(ledger) == []
        lost.end()
        assert rows(url, "SELECT lease_owner FROM mailbox") == [("elsewhere:1",)]


def test_a_run_that_was_cut_off_or_failed_is_gone_on_with(ledger: Ledger) -> None:
    first = Pass(ledger)
    cut_off = ledger.begin("news", owner="here:1", at=day(1))
    assert cut_off is not None
    assert cut_off.run_id == first.visit.run_id
    ledger.end(cut_off, at=day(1), error="the server went away")
    after_failure = Pass(ledger)
    assert after_failure.visit.run_id == first.visit.run_id
    after_failure.end()
    assert Pass(ledger).visit.run_id != first.visit.run_id


def test_two_mailboxes_written_at_once_lose_no_event_of_a_shared_address(
    ledger: Ledger, url: str
) -> None:
    passes = [Pass(ledger, name) for name in ("one", "two", "three")]
    problems: list[BaseException] = []

    def work(number: int, this: Pass) -> None:
        try:
            for step in range(8):
                key = f"{number}/{step}"
                this.batch(reading(step + 1, bounce("ann@example.com", "soft"), key=key))
        except BaseException as problem:  # noqa: BLE001 - shown below
            problems.append(problem)

    threads = [threading.Thread(target=work, args=pair) for pair in enumerate(passes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    history = ledger.explain("ann@example.com")
    assert len(history.events) == 24
    assert history.standing is not None
    assert history.standing.status is Status.SOFT_BOUNCED
    # The deciding event is the last by time and number, whoever wrote last.
    assert rows(url, "SELECT max(id) FROM event") == [(history.standing.events[-1],)]

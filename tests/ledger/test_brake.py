"""The brake: a run that would suppress too much changes nothing until a person has spoken."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from bounced.ledger import Ledger, LedgerError
from bounced.model import Recorded
from bounced.policy import Brake
from tests.servers.database import rows

from .conftest import (
    START,
    Pass,
    bounce,
    day,
    judged_alike,
    on_the_list,
    opened,
    reading,
    synced,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

STANDINGS = (
    "SELECT address, status, suppressed, reason, since, expires_at, score, rule, because,"
    " event_id, first_event_at, last_event_at FROM address ORDER BY address"
)
FORGETTING = (
    "DELETE FROM transition",
    "DELETE FROM judgement",
    "DELETE FROM address",
    "DELETE FROM event",
    "DELETE FROM seen",
    "DELETE FROM message",
)
NAMES = [f"a{number}@example.com" for number in range(5)]


@pytest.fixture
def careful(url: str) -> Iterator[Ledger]:
    """A ledger whose brake holds from the third address on."""
    with opened(url, brake=Brake(share=0, floor=2)) as made:
        yield made


def letters(names: list[str], first: int = 1) -> list[list[object]]:
    return [[reading(uid, name)] for uid, name in enumerate(names, first)]


def held_run(ledger: Ledger) -> int:
    synced(ledger, *letters(NAMES))  # type: ignore[arg-type]
    (hold,) = ledger.holds()
    return hold.run_id


def test_a_run_that_suppresses_too_many_is_held_whole(careful: Ledger) -> None:
    this = Pass(careful)
    told = [this.batch(*batch) for batch in letters(NAMES)]  # type: ignore[arg-type]
    assert [one.suppressed for one in told] == [1, 1, 0, 0, 0]
    assert [one.held for one in told] == [0, 0, 3, 4, 5]
    assert on_the_list(careful) == []
    history = careful.explain(NAMES[0])
    assert [(t.from_suppressed, t.to_suppressed) for t in history.transitions] == [
        (False, True),
        (True, False),
    ]
    assert [event.counts for event in history.events] == [False]
    this.end()
    (hold,) = careful.holds()
    assert (hold.addresses, hold.events, hold.mailbox, hold.finished) == (5, 5, "news", True)
    waiting = list(careful.waiting())
    assert [(one.run_id, one.address) for one in waiting] == [(hold.run_id, name) for name in NAMES]
    assert {(one.reason, one.rule, one.list) for one in waiting} == {
        ("user_unknown", "test/hard", "")
    }


def test_an_accepted_run_leaves_what_no_brake_would_have_left(url: str, careful: Ledger) -> None:
    first = [reading(20, bounce("old@example.com", "soft"))]
    batches = [[reading(uid, name)] for uid, name in enumerate(NAMES, 21)]
    later = [reading(30, bounce(NAMES[1], "delivered"), at=day(1)), reading(31, "z@example.com")]
    synced(careful, first)
    synced(careful, *batches)
    (hold,) = careful.holds()
    synced(careful, later)
    assert careful.decide(hold.run_id, accept=True, by="eve", at=day(2)) == 5
    braked = rows(url, STANDINGS)
    assert careful.holds() == []
    for forgetting in FORGETTING:
        rows(url, forgetting)
    with opened(url, brake=Brake(share=1, floor=10**6)) as free:
        for batch in ([first], batches, [later]):
            synced(free, *batch)
        undisturbed = rows(url, STANDINGS)
    ids = 9  # the deciding event's number differs between the two
    masked = [[row[:ids] + row[ids + 1 :] for row in found] for found in (braked, undisturbed)]
    assert masked[0] == masked[1]
    assert sum(bool(row[2]) for row in braked) == 5


def test_a_discarded_run_keeps_its_facts_and_never_counts(careful: Ledger) -> None:
    run_id = held_run(careful)
    assert careful.decide(run_id, accept=False, by="eve", at=day(1)) == 5
    assert on_the_list(careful) == []
    assert len(careful.recent(10)) == 5
    synced(careful, [reading(50, bounce(NAMES[0], "soft"), at=day(2))])
    assert on_the_list(careful, on=3) == []


def test_a_decision_is_audited_with_who_made_it(careful: Ledger) -> None:
    careful.decide(held_run(careful), accept=True, by="eve", at=day(1))
    last = careful.explain(NAMES[4]).transitions[-1]
    assert (last.actor, last.to_suppressed, last.at) == ("eve", True, day(1))


def test_a_run_is_decided_once(careful: Ledger) -> None:
    run_id = held_run(careful)
    careful.decide(run_id, accept=False, by="eve", at=day(1))
    with pytest.raises(LedgerError, match=r"discarded.*bounced hold list"):
        careful.decide(run_id, accept=True, by="eve", at=day(1))
    with pytest.raises(LedgerError, match="There is no run 999"):
        careful.decide(999, accept=True, by="eve", at=day(1))


def test_a_run_is_not_decided_while_it_is_still_being_read(careful: Ledger) -> None:
    this = Pass(careful)
    for batch in letters(NAMES):
        this.batch(*batch)  # type: ignore[arg-type]
    with pytest.raises(LedgerError, match="still going on"):
        careful.decide(this.visit.run_id, accept=True, by="eve", at=day(1))


def test_events_of_later_runs_count_while_a_run_is_held(careful: Ledger) -> None:
    held_run(careful)
    told = synced(careful, [reading(50, "new@example.com"), reading(51, NAMES[0], key="again")])
    assert told == Recorded(events=2, suppressed=2)
    assert on_the_list(careful) == [NAMES[0], "new@example.com"]


def test_the_brake_counts_over_a_pass_that_was_cut_in_two(careful: Ledger) -> None:
    cut_off = Pass(careful)
    cut_off.batch(*[reading(uid, name) for uid, name in enumerate(NAMES[:2], 1)])
    failed = Pass(careful)
    failed.end("MailboxTemporary: away")
    assert synced(careful, [reading(3, NAMES[2])]).held == 3
    assert on_the_list(careful) == []


def test_a_held_run_that_was_cut_off_stays_held(careful: Ledger) -> None:
    this = Pass(careful)
    this.batch(*[reading(uid, name) for uid, name in enumerate(NAMES, 1)])
    this.end("MailboxTemporary: away")
    assert synced(careful, [reading(9, "b@example.com")]).held == 6
    assert on_the_list(careful) == []


def test_what_the_brake_counted_is_forgotten_once_nobody_waits_for_it(
    careful: Ledger, url: str
) -> None:
    synced(careful, [reading(30, "b@example.com")])
    assert rows(url, "SELECT * FROM newly_suppressed") == []
    careful.decide(held_run(careful), accept=False, by="eve", at=day(1))
    assert rows(url, "SELECT * FROM newly_suppressed") == []


def test_addresses_on_the_list_already_do_not_count_for_the_brake(careful: Ledger) -> None:
    synced(careful, [reading(1, NAMES[0]), reading(2, NAMES[1])])
    again = [reading(uid, name, key=f"again {uid}") for uid, name in enumerate(NAMES[:4], 10)]
    assert synced(careful, again).held == 0
    assert len(on_the_list(careful)) == 4


def test_the_share_is_of_the_subscribers_where_there_are_any(url: str) -> None:
    with opened(url, brake=Brake(share=0.5, floor=0)) as ledger:
        ledger.import_subscribers(((name, "news") for name in NAMES), at=START)
        two = [reading(1, NAMES[0]), reading(2, NAMES[1])]
        assert synced(ledger, two).held == 0
        three = [reading(uid, f"b{uid}@example.com") for uid in (3, 4, 5)]
        assert synced(ledger, three).held == 3


def test_without_subscribers_the_share_is_of_the_addresses_on_record(url: str) -> None:
    with opened(url, brake=Brake(share=0.5, floor=0)) as ledger:
        soft = [reading(uid, bounce(f"s{uid}@example.com", "soft")) for uid in range(1, 5)]
        assert synced(ledger, soft).held == 0
        assert synced(ledger, [reading(10, NAMES[0])]).held == 0
        many = [reading(uid, f"h{uid}@example.com") for uid in range(20, 27)]
        assert synced(ledger, many).held == 7


def test_a_role_may_be_spared_at_every_domain(url: str) -> None:
    with opened(url, never_suppress=["Abuse@"]) as ledger:
        synced(ledger, [reading(1, "abuse@example.com"), reading(2, "abuser@example.com")])
        assert on_the_list(ledger) == ["abuser@example.com"]


def test_an_address_that_never_suppress_names_is_concluded_but_not_suppressed(url: str) -> None:
    spared = ("@Example.org", "vip@example.com")
    with opened(url, never_suppress=spared, brake=Brake(share=0, floor=0)) as ledger:
        told = synced(ledger, [reading(1, "any@example.org"), reading(2, "vip@example.com")])
        assert told == Recorded(events=2)
        standing = ledger.explain("any@example.org").standing
        assert standing is not None
        assert (standing.status, standing.suppressed) == ("hard-bounced", False)
        assert standing.because.endswith("Not suppressed: never_suppress names example.org.")
        assert synced(ledger, [reading(3, "other@example.com")]).held == 1


def test_a_changed_policy_takes_hold_of_the_past_when_it_is_reclassified(url: str) -> None:
    with opened(url) as ledger:
        synced(ledger, [reading(1, "any@example.org"), reading(2, "ann@example.com")])
    with opened(url, never_suppress=["example.org"]) as ledger:
        (piece,) = ledger.reclassify(judged_alike, by="eve", at=day(1))
        assert [change.address for change in piece.changes] == ["any@example.org"]
        assert on_the_list(ledger) == ["ann@example.com"]


def test_a_suppression_that_ran_out_begins_again_with_a_new_event(ledger: Ledger) -> None:
    synced(ledger, [reading(1, bounce("ann@example.com", "gone"))])
    assert on_the_list(ledger, on=89) == ["ann@example.com"]
    assert on_the_list(ledger, on=91) == []
    this = Pass(ledger)
    later = reading(2, bounce("ann@example.com", "gone"), at=START + timedelta(days=95))
    assert this.batch(later, at=day(95)) == Recorded(events=1, suppressed=1)

"""Forged bounces are stored and shown, and suppress nobody once the operator asks for proof."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from bounced.model import Reading, RecipientReport, Returned
from bounced.policy import Policy
from bounced.trust import Key, make

from .conftest import START, bounce, day, judged_alike, on_the_list, opened, reading, synced

if TYPE_CHECKING:
    from bounced.ledger import Ledger
    from bounced.model import Bounce

KEY = Key("a", b"sixteen bytes or some more of them")
VERIFIED = Policy(trust="verified")
MATCHED = Policy(trust="matched")


def told(uid: int, *bounces: Bounce | str, **report: Any) -> Reading:
    """A reading whose report says more than recipients."""
    made = reading(uid, *bounces)
    conclusion = replace(made.conclusion, report=replace(made.conclusion.report, **report))
    return replace(made, conclusion=conclusion)


def arrived_at(recipient: str, *, on: float = 0) -> tuple[str, ...]:
    token = make(KEY, recipient, on=day(on).date(), id="news")
    return ("postmaster@example.com", f"b+{token}@bounces.example.com")


def opened_with_keys(url: str, policy: Policy = VERIFIED) -> Ledger:
    return opened(url, policy=policy, keys=lambda: (KEY,))


def trust_of(ledger: Ledger, address: str) -> list[tuple[str | None, bool]]:
    return [(event.trust, event.trusted) for event in ledger.explain(address).events]


def test_a_bounce_with_the_token_of_its_recipient_is_verified_and_suppresses(url: str) -> None:
    with opened_with_keys(url) as ledger:
        synced(ledger, [told(1, "ann@example.com", envelope=arrived_at("Ann@example.com"))])
        assert trust_of(ledger, "ann@example.com") == [("verified", True)]
        assert on_the_list(ledger) == ["ann@example.com"]


def test_a_forged_bounce_is_stored_and_shown_and_never_suppresses(url: str) -> None:
    with opened_with_keys(url) as ledger:
        last = synced(ledger, [told(uid, "ann@example.com") for uid in range(1, 60)])
        assert (last.events, last.suppressed, last.held) == (59, 0, 0)
        assert trust_of(ledger, "ann@example.com")[0] == ("claimed", False)
        assert on_the_list(ledger) == []
        history = ledger.explain("ann@example.com")
        assert history.standing is not None
        assert history.standing.status == "active"


@pytest.mark.parametrize("forgery", ["another recipient's", "an old one", "a bent one"])
def test_a_token_that_is_not_right_proves_nothing(url: str, forgery: str) -> None:
    envelope = {
        "another recipient's": arrived_at("bob@example.com"),
        "an old one": arrived_at("ann@example.com", on=-40),
        "a bent one": tuple(one.replace("news", "nevs") for one in arrived_at("ann@example.com")),
    }[forgery]
    with opened_with_keys(url) as ledger:
        synced(ledger, [told(1, "ann@example.com", envelope=envelope)])
        assert trust_of(ledger, "ann@example.com") == [("claimed", False)]
        assert on_the_list(ledger) == []


def test_a_true_bounce_that_is_replayed_a_month_later_does_not_undo_a_release(url: str) -> None:
    with opened_with_keys(url) as ledger:
        envelope = arrived_at("ann@example.com")
        synced(ledger, [told(1, "ann@example.com", envelope=envelope)])
        ledger.release(["ann@example.com"], by="eve", note="", at=day(1))
        late = replace(told(2, "ann@example.com", envelope=envelope), received_at=day(32))
        synced(ledger, [late])
        assert on_the_list(ledger, on=33) == []
        assert trust_of(ledger, "ann@example.com") == [("verified", True), ("claimed", False)]


def test_a_forged_delivery_does_not_release_anybody(url: str) -> None:
    with opened_with_keys(url) as ledger:
        synced(ledger, [told(1, "ann@example.com", envelope=arrived_at("ann@example.com"))])
        synced(ledger, [told(2, bounce("ann@example.com", "delivered"))])
        assert on_the_list(ledger) == ["ann@example.com"]


def test_a_forwarded_bounce_counts_for_whom_the_token_was_given(url: str) -> None:
    returned = Returned(to="Ann <ann@example.com>")
    with opened_with_keys(url) as ledger:
        synced(
            ledger,
            [told(1, "far@example.net", envelope=arrived_at("ann@example.com"), returned=returned)],
        )
        assert on_the_list(ledger) == ["ann@example.com"]
        (event,) = ledger.explain("ann@example.com").events
        assert event.recipient == "far@example.net"


def test_of_many_recipients_only_the_tokens_owner_is_verified(url: str) -> None:
    with opened_with_keys(url) as ledger:
        envelope = arrived_at("ann@example.com")
        synced(ledger, [told(1, "ann@example.com", "bob@example.com", envelope=envelope)])
        assert on_the_list(ledger) == ["ann@example.com"]
        assert trust_of(ledger, "bob@example.com") == [("claimed", False)]


def test_mail_that_was_sent_to_the_recipient_is_matched(url: str) -> None:
    with opened(url, policy=MATCHED) as ledger:
        rows = [("<1@example.com>", "Ann@example.com"), ("2@example.com", "bob@example.com")]
        assert ledger.import_sent(rows, at=START) == 2
        assert ledger.import_sent(rows, at=START) == 0
        synced(
            ledger,
            [
                told(1, "ann@example.com", returned=Returned(message_id="<1@example.com>")),
                told(2, "eve@example.com", returned=Returned(message_id="<1@example.com>")),
                told(3, "cy@example.com"),
            ],
        )
        assert on_the_list(ledger) == ["ann@example.com"]
        assert trust_of(ledger, "ann@example.com") == [("matched", True)]
        assert trust_of(ledger, "eve@example.com") == [("claimed", False)]
        assert trust_of(ledger, "cy@example.com") == [("claimed", False)]


def test_an_old_log_of_sent_mail_can_be_forgotten(ledger: Ledger) -> None:
    ledger.import_sent([("1@example.com", "ann@example.com")], at=day(0))
    ledger.import_sent([("2@example.com", "ann@example.com")], at=day(9))
    assert ledger.purge_sent(day(5)) == 1
    assert ledger.purge_sent(day(5)) == 0
    assert ledger.import_sent([("2@example.com", "ann@example.com")], at=day(9)) == 0


def test_what_was_recorded_before_anyone_asked_goes_on_counting(url: str) -> None:
    with opened(url) as ledger:
        synced(ledger, [told(1, "ann@example.com")])
        assert trust_of(ledger, "ann@example.com") == [(None, True)]
    with opened_with_keys(url) as ledger:
        (piece,) = ledger.reclassify(judged_alike, by="eve", at=day(1))
        assert piece.judged == 1
        assert on_the_list(ledger) == ["ann@example.com"]


def test_under_any_an_unverified_bounce_counts_and_is_shown_as_what_it_is(url: str) -> None:
    with opened_with_keys(url, Policy()) as ledger:
        synced(ledger, [told(1, "ann@example.com")])
        assert trust_of(ledger, "ann@example.com") == [("claimed", True)]
        assert on_the_list(ledger) == ["ann@example.com"]


def test_asking_for_more_trust_can_be_simulated_first(url: str) -> None:
    with opened_with_keys(url, Policy()) as ledger:
        synced(ledger, [told(1, "ann@example.com")])
        (piece,) = ledger.simulated(VERIFIED, at=day(1))
        (change,) = piece.changes
        assert (change.address, change.to_suppressed) == ("ann@example.com", False)


def test_a_report_of_very_many_recipients_is_held_to_its_token_in_bounded_time(url: str) -> None:
    many = tuple(RecipientReport(f"a{n}@example.com") for n in range(5000))
    with opened_with_keys(url) as ledger:
        synced(ledger, [told(1, recipients=many, envelope=arrived_at("x@example.com") * 4)])
        assert on_the_list(ledger) == []

"""A dead domain suppresses everyone there, as one decision, until something there lives."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from bounced.ledger import LedgerError, erasure, retention
from bounced.model import Fault, Outcome, Reason, Verdict
from bounced.policy import Brake, Policy
from tests.servers.database import rows

from .conftest import Pass, bounce, day, on_the_list, opened, reading, synced

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bounced.ledger import Ledger, Replay
    from bounced.model import Bounce, RecipientReport, Report

ANN, BOB, CARL = (f"{name}@closed.example" for name in ("ann", "bob", "carl"))
STANDING = "SELECT address, suppressed, reason, rule FROM address ORDER BY address"


def said(address: str, reason: Reason, **more: str) -> Bounce:
    outcome = Outcome.BLOCKED if reason is Reason.RELAY_DENIED else Outcome.HARD
    fault = Fault.SENDER if outcome is Outcome.BLOCKED else Fault.RECIPIENT
    verdict = Verdict(outcome, reason, fault, 0.95, f"test/{reason}", "The domain.")
    return replace(bounce(address, **more), verdict=verdict)


def unknown(address: str) -> Bounce:
    return said(address, Reason.HOST_UNKNOWN)


def closed(ledger: Ledger) -> None:
    """Two reports, of two people, that the host is unknown, days apart; and a third who is on
    the list only.
    """
    ledger.import_subscribers([(CARL, "news"), ("dora@open.example", "news")], at=day(0))
    synced(ledger, [reading(1, unknown(ANN))])
    assert on_the_list(ledger) == []
    synced(ledger, [reading(2, unknown(BOB), at=day(3))])


def test_two_reports_days_apart_suppress_everyone_at_the_domain(ledger: Ledger) -> None:
    closed(ledger)
    assert on_the_list(ledger, on=4) == [ANN, BOB, CARL]
    history = ledger.explain(CARL)
    assert history.standing is not None
    assert history.standing.reason is Reason.HOST_UNKNOWN
    assert "2 reports since 2026-01-01, no sign of life since" in history.standing.because
    assert [change.to_suppressed for change in history.transitions] == [True]
    assert [change.to_suppressed for change in ledger.explain("@closed.example").transitions] == [
        True
    ]
    assert list(ledger.domains()) == ["closed.example"]


def test_a_null_mx_needs_one_report(ledger: Ledger) -> None:
    ledger.import_subscribers([(CARL, "news")], at=day(0))
    assert synced(ledger, [reading(1, said(ANN, Reason.NULL_MX))]).suppressed == 2
    assert on_the_list(ledger) == [ANN, CARL]


def test_relaying_refused_by_the_domains_own_servers_gives_it_up_in_the_end(
    ledger: Ledger,
) -> None:
    for week in range(3):
        one = said(ANN, Reason.RELAY_DENIED, remote_mta="mx.closed.example")
        synced(ledger, [reading(week, one, at=day(7 * week))])
    assert on_the_list(ledger, on=15) == [ANN]


def test_relaying_refused_by_our_own_relay_blames_nobody(ledger: Ledger) -> None:
    for week in range(5):
        one = said(ANN, Reason.RELAY_DENIED, remote_mta="smtp.ours.example")
        synced(ledger, [reading(week, one, at=day(7 * week))])
    assert on_the_list(ledger, on=40) == []


@pytest.mark.parametrize("alive", ["delivered", "full"])
def test_a_sign_of_life_ends_it_for_everyone(ledger: Ledger, alive: str) -> None:
    closed(ledger)
    full = Verdict(Outcome.SOFT, Reason.MAILBOX_FULL, Fault.RECIPIENT, 0.9, "test/full", "Full.")
    one = bounce(BOB, "delivered")
    if alive == "full":
        one = replace(bounce(BOB, "soft", remote_mta="mx.closed.example"), verdict=full)
    told = synced(ledger, [reading(3, one, at=day(5))])
    assert told.released >= 2
    assert on_the_list(ledger, on=6) in ([], [BOB])
    assert ledger.domains() == {}
    assert ledger.explain("@closed.example").transitions[-1].to_suppressed is False


def test_life_between_two_reports_makes_the_first_void(ledger: Ledger) -> None:
    synced(ledger, [reading(1, unknown(ANN))])
    synced(ledger, [reading(2, bounce(BOB, "delivered"), at=day(2))])
    synced(ledger, [reading(3, unknown(ANN), at=day(3))])
    assert ledger.domains() == {}


def test_the_order_of_reading_does_not_matter(url: str, tmp_path_factory: object) -> None:
    letters = [
        reading(1, unknown(ANN)),
        reading(2, bounce(BOB, "delivered"), at=day(1)),
        reading(3, unknown(BOB), at=day(2)),
        reading(4, unknown(CARL), at=day(5)),
    ]
    with opened(url) as ledger:
        for one in letters:
            synced(ledger, [one])
        there = rows(url, STANDING)
        assert len(on_the_list(ledger, on=6)) == 3
    other = f"sqlite:///{tmp_path_factory.mktemp('other')}/o.db"  # type: ignore[attr-defined]
    with opened(other) as ledger:
        for one in reversed(letters):
            synced(ledger, [one])
    assert [tuple(row) for row in rows(other, STANDING)] == [
        (a, bool(s) if isinstance(there[0][1], bool) else s, r, u) for a, s, r, u in there
    ]


def test_single_addresses_and_whole_domains_can_be_released_and_that_be_undone(
    ledger: Ledger,
) -> None:
    closed(ledger)
    ledger.release([CARL], by="eve", note="", at=day(4))
    assert on_the_list(ledger, on=5) == [ANN, BOB]
    assert ledger.release_domain("closed.example", by="eve", note="", at=day(5)) == 2
    assert on_the_list(ledger, on=6) == []
    ledger.undo(ledger.decisions()[0].id, by="eve", at=day(6))
    assert on_the_list(ledger, on=7) == [ANN, BOB]
    with pytest.raises(LedgerError, match=r"Nothing is concluded of the domain open\.example"):
        ledger.release_domain("open.example", by="eve", note="", at=day(7))


def test_who_was_released_at_a_dead_domain_is_suppressed_again_by_its_next_report(
    ledger: Ledger,
) -> None:
    closed(ledger)
    ledger.release([CARL], by="tess", note="wrote to us", at=day(5))
    assert on_the_list(ledger, on=5.5) == [ANN, BOB]
    synced(ledger, [reading(3, unknown(BOB), at=day(6))])
    assert on_the_list(ledger, on=6.5) == [ANN, BOB, CARL]


def test_a_released_domain_is_given_up_again_by_new_reports_only(ledger: Ledger) -> None:
    closed(ledger)
    ledger.release_domain("closed.example", by="eve", note="", at=day(5))
    synced(ledger, [reading(5, unknown(ANN), at=day(6))])
    assert ledger.domains() == {}
    synced(ledger, [reading(6, unknown(ANN), at=day(9))])
    assert on_the_list(ledger, on=10) == [ANN, BOB, CARL]


def test_who_comes_later_to_a_dead_domain_is_told_of_at_once(ledger: Ledger) -> None:
    closed(ledger)
    new = "new@closed.example"
    told = dict(ledger.check([new, "x@open.example"], at=day(4)))
    assert getattr(told[new], "reason", None) == "host_unknown"
    assert told["x@open.example"] is None
    assert ledger.unclear([new], at=day(4))[new].suppressed
    ledger.import_subscribers([(new, "news")], at=day(4))
    assert new in on_the_list(ledger, on=5)


def test_never_suppress_is_above_it(url: str) -> None:
    with opened(url, never_suppress=[CARL]) as ledger:
        closed(ledger)
        assert on_the_list(ledger, on=4) == [ANN, BOB]
        assert dict(ledger.check([CARL], at=day(4))) == {CARL: None}


def test_the_brake_counts_everyone_at_the_domain(url: str) -> None:
    with opened(url, brake=Brake(share=0, floor=3)) as ledger:
        names = [f"p{n}@closed.example" for n in range(5)]
        ledger.import_subscribers([(name, "news") for name in names], at=day(0))
        told = synced(ledger, [reading(1, said(ANN, Reason.NULL_MX))])
        assert told.held == 6
        assert on_the_list(ledger) == []
        assert ledger.domains() == {}
        ledger.decide(ledger.holds()[0].run_id, accept=True, by="eve", at=day(1))
        assert len(on_the_list(ledger, on=2)) == 6


def test_two_reports_in_one_run_count_alike(ledger: Ledger) -> None:
    ledger.import_subscribers([(CARL, "news")], at=day(0))
    one = Pass(ledger)
    one.batch(reading(1, unknown(ANN)), reading(2, unknown(BOB), at=day(3)))
    one.end()
    assert on_the_list(ledger, on=4) == [ANN, BOB, CARL]


def test_domains_of_one_batch_have_each_their_own_fate(ledger: Ledger) -> None:
    synced(ledger, [reading(1, unknown(ANN)), reading(2, unknown("eve@freed.example"))])
    synced(ledger, [reading(3, unknown("fay@freed.example"), at=day(3))])
    ledger.release_domain("freed.example", by="tess", note="is back", at=day(4))
    fates = [
        unknown(BOB),  # the second report
        unknown("gus@freed.example"),  # the first since it was released
        bounce("hal@lives.example"),
        unknown("ian@lives.example"),
        said("jan@nomail.example", Reason.NULL_MX),
        unknown("kim@once.example"),
    ]
    synced(ledger, [reading(9 + n, one, at=day(6)) for n, one in enumerate(fates)])
    assert list(ledger.domains()) == ["closed.example", "nomail.example"]


def test_a_domain_given_up_by_a_huge_batch_is_told_of_once_for_each(url: str) -> None:
    everyone = [f"p{n}@closed.example" for n in range(1200)]
    fates = [unknown(who) for who in everyone]
    with opened(url, brake=Brake(floor=len(everyone))) as ledger:
        told = synced(ledger, [reading(1, *fates[:600]), reading(2, *fates[600:], at=day(3))])
        assert told.suppressed == len(everyone)
        for who in (everyone[0], everyone[-1]):
            assert [change.to_suppressed for change in ledger.explain(who).transitions] == [True]


@pytest.mark.parametrize("who", [ANN, BOB])
def test_somebody_whose_report_gave_a_domain_up_can_be_forgotten(url: str, who: str) -> None:
    with opened(url, pepper=lambda: b"a pepper of more than sixteen bytes") as ledger:
        closed(ledger)
        erasure.forget(ledger, who, at=day(4))
        assert CARL in on_the_list(ledger, on=5)
        synced(ledger, [reading(7, bounce(CARL, "delivered"), at=day(6))])
        assert on_the_list(ledger, on=7) == []
        assert ledger.domains() == {}


@pytest.mark.parametrize("spared", [True, False])
def test_what_a_given_up_domain_rests_on_is_kept_while_it_lasts(url: str, *, spared: bool) -> None:
    with opened(url, never_suppress=(BOB,) if spared else ()) as ledger:
        closed(ledger)
        if not spared:
            ledger.release([BOB], by="eve", note="", at=day(4))
        assert on_the_list(ledger, on=5) == [ANN, CARL]
        assert sum(retention.purge_events(ledger, day(50), at=day(60))) == 0
        assert on_the_list(ledger, on=61) == [ANN, CARL]
        synced(ledger, [reading(7, bounce(CARL, "delivered"), at=day(62))])
        assert on_the_list(ledger, on=63) == []
        assert sum(retention.purge_events(ledger, day(63), at=day(64))) == 3


def by_name(recipient: RecipientReport, _report: Report) -> Verdict:
    """Rules by which hosts are unknown, except that of Hal, who is away."""
    if recipient.address.startswith("hal@"):
        return bounce(recipient.address, "soft").verdict
    return unknown(recipient.address).verdict


def shown(pieces: Iterable[Replay]) -> list[tuple[str, bool]]:
    return [(one.address, one.to_suppressed) for piece in pieces for one in piece.changes]


def test_what_judging_again_makes_of_a_whole_domain_is_shown_before_it_is_applied(
    ledger: Ledger,
) -> None:
    ledger.import_subscribers([(CARL, "news"), ("ivy@open.example", "news")], at=day(0))
    synced(
        ledger,
        [
            reading(1, bounce(ANN, "soft")),
            reading(2, bounce(BOB, "soft"), at=day(3)),
            reading(3, bounce("hal@open.example", "soft")),
        ],
    )
    expected = [(ANN, True), (BOB, True), (CARL, True)]
    assert sorted(shown(ledger.reclassified(by_name, at=day(4)))) == expected
    assert ledger.domains() == {}
    assert sorted(shown(ledger.reclassify(by_name, by="eve", at=day(4)))) == expected
    assert on_the_list(ledger, on=5) == [ANN, BOB, CARL]
    assert shown(ledger.reclassified(by_name, at=day(5))) == []


def test_that_a_domain_is_given_up_no_more_is_shown_before_it_is_applied(ledger: Ledger) -> None:
    closed(ledger)

    def soft(recipient: RecipientReport, _report: Report) -> Verdict:
        return bounce(recipient.address, "soft").verdict

    expected = [(ANN, False), (BOB, False), (CARL, False)]
    assert sorted(shown(ledger.reclassified(soft, at=day(4)))) == expected
    assert sorted(shown(ledger.reclassify(soft, by="eve", at=day(4)))) == expected
    assert on_the_list(ledger, on=5) == []


def test_a_sign_of_life_by_new_rules_is_foreseen_too(ledger: Ledger) -> None:
    closed(ledger)

    refused = replace(bounce(BOB, remote_mta="mx.closed.example"), verdict=unknown(BOB).verdict)
    synced(ledger, [reading(7, refused, at=day(3.5))])

    def bob_is_unknown_there(recipient: RecipientReport, _report: Report) -> Verdict:
        if recipient.remote_mta is None:
            return unknown(recipient.address).verdict
        return bounce(BOB).verdict  # a server for the domain says that it knows no Bob

    expected = [(ANN, False), (BOB, True), (CARL, False)]  # Bob for another reason than before
    assert sorted(shown(ledger.reclassified(bob_is_unknown_there, at=day(4)))) == expected
    assert sorted(shown(ledger.reclassify(bob_is_unknown_there, by="eve", at=day(4)))) == expected
    assert on_the_list(ledger, on=5) == [BOB]


def test_a_policy_is_tried_on_whole_domains_too(ledger: Ledger) -> None:
    ledger.import_subscribers([(CARL, "news")], at=day(0))
    synced(ledger, [reading(1, unknown(ANN)), reading(2, unknown(BOB), at=day(1))])
    hasty = Policy(host_unknown_hours=12)
    expected = [(ANN, True), (BOB, True), (CARL, True)]
    assert sorted(shown(ledger.simulated(hasty, at=day(2)))) == expected
    assert shown(ledger.simulated(hasty, at=day(2), since=day(0.5))) == []
    assert shown(ledger.simulated(Policy(), at=day(2))) == []
    synced(ledger, [reading(3, unknown(BOB), at=day(3))])
    slow = Policy(host_unknown_hours=900)
    told = sorted(shown(ledger.simulated(slow, at=day(4))))
    assert told == [(ANN, False), (BOB, False), (CARL, False)]


def test_the_brake_counts_whom_a_ruling_suppressed_in_an_earlier_batch_of_the_run(url: str) -> None:
    names = [f"p{n}@closed.example" for n in range(4)]
    with opened(url, brake=Brake(share=0, floor=5)) as ledger:
        ledger.import_subscribers([(name, "news") for name in names], at=day(0))
        one = Pass(ledger)
        first = one.batch(reading(1, said(names[0], Reason.NULL_MX)))
        assert (first.held, first.suppressed) == (0, 4)
        again = [unknown(name) for name in names]
        others = [bounce(f"q{n}@example.com") for n in range(3)]
        assert one.batch(reading(2, *again, *others)).held == 7
        assert on_the_list(ledger) == []


def test_a_held_run_counts_whole_domains_however_often_it_is_counted_again(url: str) -> None:
    names = [f"p{n}@closed.example" for n in range(5)]
    with opened(url, brake=Brake(share=0, floor=3)) as ledger:
        ledger.import_subscribers([(name, "news") for name in names], at=day(0))
        one = Pass(ledger)
        assert one.batch(reading(1, said(ANN, Reason.NULL_MX))).held == 6
        assert one.batch(reading(2, said("x@other.example", Reason.NULL_MX))).held == 7
        one.end()
        (run,) = ledger.holds()
        ledger.release([ANN], by="eve", note="", at=day(1))
        assert [one.address for one in ledger.waiting()] == [*names, "x@other.example"]
        ledger.undo(ledger.decisions()[0].id, by="eve", at=day(2))
        assert len(list(ledger.waiting())) == 7
        assert {one.reason for one in ledger.waiting()} == {"null_mx"}
        waiting = ledger.unclear([ANN, *names, "z@closed.example"], at=day(2))
        assert {whose: one.reason for whose, one in waiting.items()} == dict.fromkeys(
            (ANN, *names), "held"
        )
        why = {one.address: one.because for one in ledger.waiting()}
        assert why[names[0]].startswith("The domain declares that it takes no mail")
        assert ledger.decide(run.run_id, accept=True, by="eve", at=day(3)) == 7
        assert len(on_the_list(ledger, on=4)) == 7

"""Histories in short words, and what they add up to.

A history is words of `day.letter` or `day@hour.letter`: `0.P 3.P` is a hard bounce of middling
sureness on the first day and another on the fourth.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bounced.model import Fault, Kind, Outcome, PastEvent, Reason, Release, Standing, Status
from bounced.policy import Brake, Policy, brake_holds, standing

START = datetime(2026, 1, 1, 12, tzinfo=UTC)

LETTERS: dict[str, tuple[Kind, Outcome, Reason, Fault, float]] = {
    "H": (Kind.BOUNCE, Outcome.HARD, Reason.USER_UNKNOWN, Fault.RECIPIENT, 0.95),
    "P": (Kind.BOUNCE, Outcome.HARD, Reason.USER_UNKNOWN, Fault.RECIPIENT, 0.6),
    "Q": (Kind.BOUNCE, Outcome.HARD, Reason.USER_UNKNOWN, Fault.RECIPIENT, 0.3),
    "N": (Kind.BOUNCE, Outcome.HARD, Reason.HOST_UNKNOWN, Fault.RECIPIENT, 0.99),
    "0": (Kind.BOUNCE, Outcome.HARD, Reason.NULL_MX, Fault.RECIPIENT, 0.6),
    "M": (Kind.BOUNCE, Outcome.HARD, Reason.MAILBOX_DISABLED, Fault.RECIPIENT, 0.95),
    "O": (Kind.BOUNCE, Outcome.HARD, Reason.OWNER_CHANGED, Fault.RECIPIENT, 0.95),
    "L": (Kind.BOUNCE, Outcome.HARD, Reason.PROVIDER_SUPPRESSED, Fault.UNKNOWN, 0.6),
    "X": (Kind.BOUNCE, Outcome.HARD, Reason.USER_UNKNOWN, Fault.SENDER, 0.99),
    "E": (Kind.BOUNCE, Outcome.SOFT, Reason.EXPIRED, Fault.NETWORK, 0.9),
    "S": (Kind.BOUNCE, Outcome.SOFT, Reason.SYSTEM_ERROR, Fault.RECIPIENT_SYSTEM, 0.9),
    "U": (Kind.BOUNCE, Outcome.SOFT, Reason.UNDETERMINED, Fault.UNKNOWN, 0.2),
    "G": (Kind.BOUNCE, Outcome.SOFT, Reason.GREYLISTED, Fault.RECIPIENT_SYSTEM, 0.9),
    "F": (Kind.BOUNCE, Outcome.SOFT, Reason.MAILBOX_FULL, Fault.RECIPIENT, 0.9),
    "B": (Kind.BOUNCE, Outcome.BLOCKED, Reason.IP_BLOCKED, Fault.SENDER, 0.9),
    "R": (Kind.BOUNCE, Outcome.BLOCKED, Reason.RECIPIENT_REFUSED, Fault.RECIPIENT, 0.9),
    "C": (Kind.COMPLAINT, Outcome.NONE, Reason.COMPLAINT, Fault.RECIPIENT, 1.0),
    "D": (Kind.DELIVERY, Outcome.NONE, Reason.DELIVERED, Fault.NONE, 1.0),
    "d": (Kind.DELAY, Outcome.NONE, Reason.DELAYED, Fault.NONE, 1.0),
    "a": (Kind.AUTO_REPLY, Outcome.NONE, Reason.AUTO_REPLY, Fault.NONE, 1.0),
    "r": (Kind.RECEIPT, Outcome.NONE, Reason.MDN, Fault.NONE, 1.0),
    "c": (Kind.CHALLENGE, Outcome.NONE, Reason.CHALLENGE_RESPONSE, Fault.NONE, 1.0),
    "o": (Kind.OTHER, Outcome.NONE, Reason.NOT_A_BOUNCE, Fault.NONE, 1.0),
}


def day(number: float) -> datetime:
    return START + timedelta(days=number)


def happened(number: int, at: datetime, letter: str) -> PastEvent:
    return PastEvent(number, at, *LETTERS[letter], rule=f"test/{letter}")


def history(words: str) -> list[PastEvent]:
    events = []
    for number, word in enumerate(words.split(), 1):
        when, _, letter = word.rpartition(".")
        days, _, hour = when.partition("@")
        at = START + timedelta(days=int(days))
        events.append(happened(number, at.replace(hour=int(hour)) if hour else at, letter))
    return events


def after(
    words: str, *, on: float = 100, policy: Policy | None = None, **known: Release
) -> Standing:
    releases = list(known.values())
    return standing(history(words), releases, policy or Policy(), day(on))


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("0.H", Reason.USER_UNKNOWN),
        ("0.P 3.P", Reason.USER_UNKNOWN),
        ("0.N 2.N", Reason.HOST_UNKNOWN),
        ("0.0", Reason.NULL_MX),
        ("0.L", Reason.PROVIDER_SUPPRESSED),
        ("0.E 7.E 14.E", Reason.EXPIRED),
        ("0.S 3.S 6.S 9.S 12.S 14.S", Reason.SYSTEM_ERROR),
        ("0.F 7.F 14.F 21.F 30.F", Reason.MAILBOX_FULL_PERSISTENT),
        ("0.C", Reason.COMPLAINT),
        ("0.C 5.D", Reason.COMPLAINT),
        ("0.O 5.D", Reason.OWNER_CHANGED),
        ("80.R 81.R", Reason.RECIPIENT_REFUSED),
    ],
)
def test_these_histories_suppress(words: str, reason: Reason) -> None:
    found = after(words)
    assert found.suppressed
    assert found.reason is reason


@pytest.mark.parametrize(
    "words",
    [
        "",
        "0.P",
        "0.P 2.P",  # too soon after the first
        "0.P 1.D 9.P",  # a delivery between
        "0.N",
        "0.N 1.N",
        "0.Q 10.Q 20.Q",  # a doubt is no hard bounce
        "0.X 10.X 20.X",  # our fault
        "0.L 1.D",
        "0.P 1.d 2.a 3.r 4.c 5.o",
        "0.E 7.E",
        "0.E 7.E 13.E",  # not yet 14 days
        "0.E 0@13.E 0@14.E 14.E",  # one a day counts
        "0.E 7.E 8.D 14.E",
        "0.E 40.E 80.E",  # halved in the quiet between
        "0.U 1.U 2.U 3.U 4.U 5.U 6.U 7.U 8.U 9.U 10.U 11.U 12.U 13.U 14.U 15.U 16.U",
        "0.G 5.G 10.G 15.G 20.G 25.G",
        "0.F 7.F 14.F 21.F 28.F",  # 5 times but not yet 30 days
        "0.F 10.F 20.F 30.F",
        "0.B 1.B 2.B 20.B 40.B 60.B",
        "80.R",
        "80.R 80@18.R",  # one day, one refusal
        "0.H 1.D",
    ],
)
def test_these_histories_do_not_suppress(words: str) -> None:
    assert not after(words).suppressed


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("", Status.ACTIVE),
        ("0.H", Status.HARD_BOUNCED),
        ("0.P", Status.HARD_BOUNCED),
        ("0.Q", Status.SOFT_BOUNCED),
        ("0.S", Status.SOFT_BOUNCED),
        ("0.B", Status.BLOCKED),
        ("0.S 1.B", Status.BLOCKED),
        ("0.C", Status.COMPLAINED),
        ("0.C 1.H", Status.COMPLAINED),
        ("0.H 1.S", Status.HARD_BOUNCED),
        ("0.S 1.D", Status.ACTIVE),
        ("0.d 1.a", Status.ACTIVE),
        ("0.X", Status.ACTIVE),
    ],
)
def test_the_status_is_what_we_last_concluded(words: str, status: Status) -> None:
    assert after(words).status is status


@pytest.mark.parametrize(
    ("words", "lasts_until"),
    [("0.M", 90), ("0.M 30.M", 120), ("0.R 1.R", 31), ("0.E 7.E 14.E", 104)],
)
def test_a_revivable_suppression_ends_by_itself(words: str, lasts_until: int) -> None:
    assert after(words, on=lasts_until - 0.01).suppressed
    assert after(words, on=lasts_until - 0.01).expires_at == day(lasts_until)
    ended = after(words, on=lasts_until)
    assert not ended.suppressed
    assert "ended on" in ended.because


def test_an_address_that_still_bounces_after_its_suppression_ended_is_suppressed_again() -> None:
    assert after("0.M 95.M").since == day(95)


def test_a_suppression_for_ever_is_not_shortened_by_a_milder_one() -> None:
    assert after("0.H 1.M", on=1000).suppressed


def test_a_milder_suppression_is_made_longer_by_a_stronger_one_and_keeps_its_beginning() -> None:
    found = after("0.M 5.H", on=1000)
    assert found.suppressed
    assert found.since == day(0)
    assert found.expires_at is None


def test_a_release_wipes_what_was_before_it_and_nothing_after() -> None:
    word = Release(day(5), "ann", "called us")
    freed = after("0.C 5.H", word=word)
    assert not freed.suppressed
    assert freed.because == "Released by ann on 2026-01-06: called us."
    assert after("0.C 6.H", word=word).suppressed


def test_a_standing_names_the_events_that_led_to_it_and_says_why() -> None:
    found = after("0.P 1.d 3.P")
    assert found.events == (1, 3)
    assert found.because == (
        "A second hard bounce after the one of 2026-01-01 (user_unknown, 2026-01-04, rule test/P)."
    )


def test_the_score_halves_with_every_quiet_half_life() -> None:
    assert [after("0.E", on=on).score for on in (0, 29, 30, 60, 90)] == [1, 1, 0.5, 0.25, 0]


def test_what_nobody_understood_adds_to_a_case_but_never_makes_one() -> None:
    half = "0.U 1.U 2.U 3.U 4.U 5.U"  # 1.5
    assert after(f"{half} 7.E 14.S").suppressed
    assert not after(f"{half} 6.U 7.U 8.U 9.U 14.S").suppressed


def test_every_number_of_the_policy_can_be_changed() -> None:
    assert after("0.P", policy=Policy(hard_at_once=0.6)).suppressed
    assert after("0.P 1.P", policy=Policy(pending_hours=24)).suppressed
    assert after("0.N 1.N", policy=Policy(host_unknown_hours=24)).suppressed
    assert after("0.Q 5.Q", policy=Policy(hard_pending=0.2)).suppressed
    assert after("0.E 7.E", on=9, policy=Policy(soft_threshold=2, soft_span_days=7)).suppressed
    assert after("0.E 40.E 80.E", policy=Policy(soft_half_life_days=50)).suppressed
    assert after("0.E 7.E 14.E", on=500, policy=Policy(soft_expires_days=0)).suppressed
    assert after(
        "0.F 9.F", on=9, policy=Policy(mailbox_full_events=2, mailbox_full_days=9)
    ).suppressed
    assert after("90.R", policy=Policy(refused_events=1)).suppressed
    assert after("0.G 14.G", policy=Policy(soft_weights={Reason.GREYLISTED: 1.5})).suppressed
    assert after("0.M", on=500, policy=Policy(expires_days={Reason.MAILBOX_DISABLED: 0})).suppressed
    far_apart = Policy(forget_days=200, soft_half_life_days=200, soft_threshold=2)
    assert after("0.E 100.E", policy=far_apart).suppressed


def test_a_policy_that_makes_no_sense_is_refused_with_every_field_named() -> None:
    with pytest.raises(ValueError, match=r"hard_pending.*soft_threshold"):
        Policy(hard_at_once=0.4, soft_threshold=0)


def test_the_version_of_a_policy_changes_with_its_values_only() -> None:
    assert Policy().version == Policy().version
    assert Policy().version != Policy(soft_threshold=4).version
    assert Policy().version != Policy(soft_weights={Reason.GREYLISTED: 1}).version


@pytest.mark.parametrize(
    ("newly", "known", "holds"),
    [(50, 0, False), (51, 0, True), (51, 2000, False), (100, 2000, False), (101, 2000, True)],
)
def test_the_brake_holds_above_the_floor_and_above_the_share(
    newly: int, known: int, *, holds: bool
) -> None:
    assert brake_holds(newly, known, Brake(share=0.05, floor=50)) is holds


events = st.lists(
    st.builds(
        lambda days, hour, letter: (
            START.replace(hour=0) + timedelta(days=days, hours=hour),
            letter,
        ),
        st.integers(0, 130),
        st.integers(0, 23),
        st.sampled_from(sorted(LETTERS)),
    ),
    max_size=25,
)


# Cases that need little more: an event that wrongly counted would decide some of them.
close = st.lists(
    st.builds(
        lambda days, letter: (START + timedelta(days=days), letter),
        st.integers(0, 40),
        st.sampled_from("EEESFRU"),
    ),
    max_size=8,
)


def numbered(pairs: list[tuple[datetime, str]]) -> list[PastEvent]:
    return [happened(number, at, letter) for number, (at, letter) in enumerate(pairs, 1)]


@given(events, st.data(), st.integers(0, 300))
def test_the_order_in_which_events_arrive_does_not_matter(
    pairs: list[tuple[datetime, str]], data: st.DataObject, on: int
) -> None:
    one = numbered(pairs)
    other = data.draw(st.permutations(one))
    assert standing(one, [], Policy(), day(on)) == standing(other, [], Policy(), day(on))


@given(st.lists(st.tuples(st.integers(0, 60), st.sampled_from("ESUFRB")), max_size=25), st.data())
def test_the_order_of_events_within_one_day_does_not_matter(
    marks: list[tuple[int, str]], data: st.DataObject
) -> None:
    def told(order: list[tuple[int, str]]) -> Standing:
        at = [
            START.replace(hour=0) + timedelta(days=d, minutes=m) for m, (d, _) in enumerate(order)
        ]
        pairs = zip(at, (letter for _, letter in order), strict=True)
        return standing(numbered(list(pairs)), [], Policy(), day(61))

    one, other = told(marks), told(data.draw(st.permutations(marks)))
    assert (one.suppressed, one.score) == (other.suppressed, other.score)


@given(events | close, st.lists(st.integers(0, 60), min_size=1, max_size=4), st.integers(0, 100))
def test_more_evidence_of_delivery_never_suppresses(
    pairs: list[tuple[datetime, str]], deliveries: list[int], on: int
) -> None:
    delivered = [(day(when), "D") for when in deliveries]
    before = standing(numbered(pairs), [], Policy(), day(on))
    more = standing(numbered([*pairs, *delivered]), [], Policy(), day(on))
    assert before.suppressed or not more.suppressed


@given(events, st.integers(0, 300))
def test_what_is_not_the_recipients_own_failure_never_suppresses(
    pairs: list[tuple[datetime, str]], on: int
) -> None:
    harmless = [(at, letter) for at, letter in pairs if letter in "UGBXdarcoD"]
    assert not standing(numbered(harmless), [], Policy(), day(on)).suppressed


@given(events, st.integers(0, 300))
def test_every_standing_but_an_untouched_one_explains_itself(
    pairs: list[tuple[datetime, str]], on: int
) -> None:
    found = standing(numbered(pairs), [], Policy(), day(on))
    if found.status is not Status.ACTIVE or found.suppressed:
        assert found.because
        assert found.reason
        assert found.since
        assert found.rule
        assert found.events

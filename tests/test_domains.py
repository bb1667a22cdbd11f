"""What is concluded of whole domains, from histories in short words.

A history is words of `day.letter`: N is an unknown host, Z a null MX, R a refusal to relay.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bounced.domains import Sign, by_its_own_host, ruling
from bounced.model import Reason
from bounced.policy import Policy

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
LETTERS = {
    "N": (Reason.HOST_UNKNOWN, 0.9),
    "Z": (Reason.NULL_MX, 0.95),
    "z": (Reason.NULL_MX, 0.6),  # an enhanced status that some write for an unknown mailbox
    "q": (Reason.HOST_UNKNOWN, 0.3),
    "R": (Reason.RELAY_DENIED, 0.9),
}


def signs(words: str) -> list[Sign]:
    told = (word.partition(".") for word in words.split())
    return [
        Sign(number, START + timedelta(days=int(day)), reason, f"test/{letter}", sure)
        for number, (day, _, letter) in enumerate(told, 1)
        for reason, sure in [LETTERS[letter]]
    ]


@pytest.mark.parametrize(
    ("words", "reason", "since"),
    [
        ("0.Z", Reason.NULL_MX, 0),
        ("0.N 2.N", Reason.HOST_UNKNOWN, 2),
        ("0.N 1.N 5.N 9.N", Reason.HOST_UNKNOWN, 5),
        ("0.R 7.R 14.R", Reason.HOST_UNKNOWN, 14),
        ("0.N 1.Z", Reason.NULL_MX, 1),
        ("0.z 2.z", Reason.NULL_MX, 2),
        ("0.z 9.Z", Reason.NULL_MX, 9),
    ],
)
def test_a_domain_is_given_up(words: str, reason: Reason, since: int) -> None:
    found = ruling(signs(words), Policy())
    assert found is not None
    assert (found.reason, found.since) == (reason, START + timedelta(days=since))
    assert found.last_at == max(sign.at for sign in signs(words))


@pytest.mark.parametrize(
    "words",
    [
        "",
        "0.N",
        "0.N 1.N",
        "0.R 7.R",
        "0.R 1.R 13.R",
        "0.N 7.R 14.R",
        "0.R 14.R",
        "0.z",
        "0.q 9.q",
        "0.z 1.z 1.N",
    ],
)
def test_less_proves_nothing(words: str) -> None:
    assert ruling(signs(words), Policy()) is None


history = st.lists(st.tuples(st.integers(0, 30), st.sampled_from("NZRzq")), max_size=8)


@given(history, st.randoms())
def test_the_order_in_which_signs_are_read_does_not_matter(
    told: list[tuple[int, str]], random: object
) -> None:
    some = signs(" ".join(f"{day}.{letter}" for day, letter in told))
    shuffled = list(some)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert ruling(shuffled, Policy()) == ruling(some, Policy())


@given(history, st.tuples(st.integers(31, 60), st.sampled_from("NZRzq")))
def test_one_more_sign_never_ends_a_ruling(
    told: list[tuple[int, str]], more: tuple[int, str]
) -> None:
    before, after = (
        signs(" ".join(f"{day}.{letter}" for day, letter in some)) for some in (told, [*told, more])
    )
    if ruling(before, Policy()) is not None:
        assert ruling(after, Policy()) is not None


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("mx.Example.org.", True),
        ("example.org", True),
        ("example-org.mail.protection.outlook.com", True),
        ("smtp.our-relay.example", False),
        ("badexample.org", False),
        (None, False),
    ],
)
def test_only_a_domains_own_host_can_refuse_to_serve_it(host: str | None, *, own: bool) -> None:
    assert by_its_own_host(host, "example.org") is own

"""Whole lists looked up at once say the same as addresses looked up one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bounced.policy import Brake

from .conftest import bounce, day, opened, reading, synced

if TYPE_CHECKING:
    from bounced.ledger import Ledger


def test_a_long_list_is_told_like_each_of_its_addresses(url: str) -> None:
    names = [f"a{number:05}@example.com" for number in range(12_000)]
    with opened(url, brake=Brake(floor=9999)) as ledger:
        synced(ledger, [reading(n, name) for n, name in enumerate(names[::7], 1)])
        told = ledger.unclear(reversed(names), at=day(1))
        assert sorted(told) == names[::7]
        one_by_one = {name for name, row in ledger.check(names, at=day(1)) if row is not None}
        assert set(told) == one_by_one
        assert all(one.suppressed and one.reason == "user_unknown" for one in told.values())


def test_of_two_spellings_the_suppressed_one_counts(ledger: Ledger) -> None:
    synced(ledger, [reading(1, bounce("Bob@example.com", "unsure")), reading(2, "bob@example.com")])
    told = ledger.unclear(["bob@example.com"], at=day(1))
    assert told["bob@example.com"].suppressed


def test_whom_nobody_may_suppress_is_not_held_either(url: str) -> None:
    with opened(url, never_suppress=["example.com"]) as ledger:
        synced(ledger, [reading(1, bounce("bob@example.com", "unsure"))])
        assert ledger.unclear(["bob@example.com"], at=day(1)) == {}


def test_no_address_can_break_the_question(ledger: Ledger) -> None:
    nasty = ["o'brien@example.com", '"a,b"@example.com', "ä@example.com", "%@example.com", "{}@x"]
    synced(ledger, [reading(1, nasty[0])])
    assert list(ledger.unclear(nasty, at=day(1))) == ["o'brien@example.com"]
    assert ledger.unclear([], at=day(1)) == {}

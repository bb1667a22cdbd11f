"""A signed link releases its address once, and never against newer evidence or a complaint."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from bounced.ledger import Hearsay, Source, adopt
from bounced.ledger.reactivation import Reactivated, reactivate
from bounced.trust import Key, Link, make_link, read_link

from .conftest import day, on_the_list, reading, synced

if TYPE_CHECKING:
    from bounced.ledger import Ledger

KEY = Key("a", b"sixteen bytes or some more of them")


def link(address: str = "ann@example.com", *, on: float = 1) -> Link:
    found = read_link(make_link(KEY, address, at=day(on), until=day(on + 7)), [KEY])
    assert found is not None
    return found


def test_a_link_releases_its_address_in_every_spelling_and_is_audited(ledger: Ledger) -> None:
    synced(ledger, [reading(1, "Ann@example.com"), reading(2, "ann@example.com")])
    synced(ledger, [reading(3, "bob@example.com")])
    assert reactivate(ledger, link(), at=day(2)) is Reactivated.RELEASED
    assert on_the_list(ledger, on=2) == ["bob@example.com"]
    history = ledger.explain("ann@example.com")
    assert history.transitions[-1].actor == "re-activation link"
    assert history.releases[-1].note.startswith("link ")
    (decision,) = ledger.decisions()
    assert (decision.what, decision.by) == ("release", "re-activation link")


def test_to_repeat_it_changes_nothing(ledger: Ledger) -> None:
    synced(ledger, [reading(1, "ann@example.com")])
    once = link()
    assert reactivate(ledger, once, at=day(2)) is Reactivated.RELEASED
    assert reactivate(ledger, once, at=day(2)) is Reactivated.NOT_SUPPRESSED
    assert len(ledger.explain("ann@example.com").releases) == 1


def test_a_link_that_was_used_does_not_undo_a_later_bounce(ledger: Ledger) -> None:
    synced(ledger, [reading(1, "ann@example.com")])
    once = link()
    reactivate(ledger, once, at=day(2))
    synced(ledger, [reading(2, "ann@example.com", at=day(3))])
    assert reactivate(ledger, once, at=day(4)) is Reactivated.USED
    assert on_the_list(ledger, on=4) == ["ann@example.com"]


def test_a_link_that_is_older_than_the_suppression_does_not_undo_it(ledger: Ledger) -> None:
    synced(ledger, [reading(1, "ann@example.com", at=day(3))])
    assert reactivate(ledger, link(on=1), at=day(4)) is Reactivated.NEWER
    assert on_the_list(ledger, on=4) == ["ann@example.com"]


def test_a_complaint_is_released_only_where_the_operator_says_so(ledger: Ledger) -> None:
    source = Source("txt", "A list")
    adopt(
        ledger,
        source,
        [Hearsay("ann@example.com", complaint=True)],
        owner="x:1",
        at=day(0),
        by="eve",
    )
    assert reactivate(ledger, link(), at=day(2)) is Reactivated.COMPLAINED
    assert on_the_list(ledger, on=2) == ["ann@example.com"]
    assert reactivate(ledger, link(), at=day(2), complaints=True) is Reactivated.RELEASED
    assert on_the_list(ledger, on=2) == []


def test_who_is_not_on_record_may_be_mailed(ledger: Ledger) -> None:
    assert reactivate(ledger, link(), at=day(2)) is Reactivated.NOT_SUPPRESSED


def test_a_link_says_what_was_signed_and_no_letter_of_it_may_change() -> None:
    token = make_link(KEY, "Ann|x@Example.COM", at=day(1), until=day(8))
    found = read_link(f" {token}\n", [KEY])
    assert found is not None
    assert (found.address, found.issued_at, found.expires_at) == (
        "Ann|x@example.com", day(1), day(1) + timedelta(days=7),
    )  # fmt: skip
    for place, letter in enumerate(token):
        changed = token[:place] + ("b" if letter != "b" else "c") + token[place + 1 :]
        assert read_link(changed, [KEY]) is None, changed
    assert read_link(token, [replace(KEY, secret=b"another secret of 24 byt")]) is None
    assert read_link(token, []) is None
    assert read_link("a" * 10_000, [KEY]) is None

"""People on lists, and the addresses they had before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bounced.ledger import LedgerError
from bounced.model import Reason

from .conftest import day, on_the_list, reading, synced
from .test_domains import said

if TYPE_CHECKING:
    from bounced.ledger import Ledger

OLD, MID, NEW = (f"{name}@example.com" for name in ("old", "mid", "new"))


def people(ledger: Ledger, on: str | None = None) -> list[tuple[str, str]]:
    return [(row.address, row.list) for row in ledger.subscribers(on=on)]


def rename(ledger: Ledger, old: str, new: str) -> list[str]:
    return list(ledger.rename_subscriber(old, new, by="eve", at=day(1)))


def test_one_person_may_be_on_many_lists_and_counts_once(ledger: Ledger) -> None:
    pairs = [(OLD, "news"), (OLD, "offers"), (MID, "news")]
    assert ledger.import_subscribers([*pairs, *pairs], at=day(0)) == 3
    assert people(ledger) == [(MID, "news"), (OLD, "news"), (OLD, "offers")]
    assert people(ledger, "offers") == [(OLD, "offers")]
    assert ledger.explain(OLD).lists == ("news", "offers")


def test_a_new_address_is_on_all_lists_of_the_old_one(ledger: Ledger) -> None:
    ledger.import_subscribers([(OLD, "news"), (OLD, "offers"), (NEW, "news")], at=day(0))
    assert rename(ledger, OLD, NEW) == ["news", "offers"]
    assert people(ledger) == [(NEW, "news"), (NEW, "offers")]
    assert ledger.explain(OLD).became == NEW
    assert ledger.explain(NEW).before == (OLD,)


def test_a_list_that_names_the_old_address_later_means_the_new_one(ledger: Ledger) -> None:
    ledger.import_subscribers([(OLD, "news")], at=day(0))
    rename(ledger, OLD, MID)
    rename(ledger, MID, NEW)
    assert ledger.import_subscribers([(OLD, "news"), (OLD, "offers")], at=day(2)) == 1
    assert people(ledger) == [(NEW, "news"), (NEW, "offers")]


def test_who_goes_back_to_an_old_address_has_it_again(ledger: Ledger) -> None:
    ledger.import_subscribers([(OLD, "news")], at=day(0))
    rename(ledger, OLD, NEW)
    rename(ledger, NEW, OLD)
    ledger.import_subscribers([(OLD, "news")], at=day(2))
    assert people(ledger) == [(OLD, "news")]
    assert ledger.explain(OLD).became is None


def test_a_dead_old_address_does_not_harm_the_new_one(ledger: Ledger) -> None:
    ledger.import_subscribers([(OLD, "news")], at=day(0))
    rename(ledger, OLD, NEW)
    synced(ledger, [reading(1, OLD)])
    assert on_the_list(ledger) == [OLD]


def test_a_new_address_at_a_dead_domain_is_suppressed_like_everyone_there(ledger: Ledger) -> None:
    synced(ledger, [reading(1, said("x@closed.example", Reason.NULL_MX))])
    ledger.import_subscribers([(OLD, "news")], at=day(0))
    rename(ledger, OLD, "new@closed.example")
    assert "new@closed.example" in on_the_list(ledger, on=2)


def test_internationalised_addresses_are_one_in_every_form(ledger: Ledger) -> None:
    forms = ["Änn@bücher.example", "Änn@xn--bcher-kva.example", "Änn@BÜCHER.example."]
    assert ledger.import_subscribers([(one, "news") for one in forms], at=day(0)) == 1
    assert rename(ledger, forms[0], "änne@bücher.example") == ["news"]
    assert people(ledger) == [("änne@xn--bcher-kva.example", "news")]


def test_whoever_is_on_no_list_cannot_be_renamed(ledger: Ledger) -> None:
    with pytest.raises(LedgerError, match=r"old@example\.com is on no list.*bounced explain"):
        rename(ledger, OLD, NEW)

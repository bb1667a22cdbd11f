"""Hearsay in the ledger, on every database."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from bounced.ledger import Hearsay, Source, adopt
from bounced.policy import Brake, Policy
from bounced.trust import Key
from tests.servers.database import rows

from .conftest import START, bounce, day, on_the_list, opened, reading, synced

if TYPE_CHECKING:
    from bounced.ledger import Ledger

SES = Source("ses", "Amazon SES")


def test_a_line_suppresses_from_the_day_it_names_and_is_filed(ledger: Ledger, url: str) -> None:
    told = adopt(ledger, SES, [Hearsay("ann@example.com", at=day(-5))], owner="x", at=day(0))
    assert told is not None
    assert (told.new, told.known, told.suppressed, told.held) == (1, 0, 1, 0)
    ((since,),) = {(row.since,) for row in ledger.suppressed(at=day(0))}
    assert since == day(-5)
    assert rows(url, "SELECT DISTINCT state FROM message") == [("filed",)]
    again = adopt(ledger, SES, [Hearsay("ANN@example.com", at=day(3))], owner="x", at=day(4))
    assert again is not None
    assert (again.new, again.known) == (0, 1)


def test_no_date_lies_in_the_future(ledger: Ledger) -> None:
    adopt(ledger, SES, [Hearsay("ann@example.com", at=day(500))], owner="x", at=day(0))
    assert on_the_list(ledger, on=0) == ["ann@example.com"]
    ledger.release(["ann@example.com"], by="eve", note="", at=day(1))
    assert on_the_list(ledger, on=2) == []


def test_hearsay_beside_one_unsure_bounce_adds_no_second_witness(ledger: Ledger) -> None:
    adopt(ledger, SES, [Hearsay("ann@example.com", at=day(-5))], owner="x", at=day(0))
    ledger.release(["ann@example.com"], by="eve", note="", at=day(1))
    synced(ledger, [reading(1, bounce("ann@example.com", "unsure"), at=day(2))])
    assert on_the_list(ledger, on=3) == []


def test_an_import_counts_whatever_trust_is_asked_of_mail(url: str) -> None:
    key = Key("a", b"sixteen bytes or some more of them")
    with opened(url, policy=Policy(trust="verified"), keys=lambda: (key,)) as ledger:
        adopt(ledger, SES, [Hearsay("ann@example.com")], owner="x", at=day(0))
        assert on_the_list(ledger) == ["ann@example.com"]


def test_two_imports_from_one_source_do_not_mix(ledger: Ledger) -> None:
    assert ledger.begin("import/ses", owner="elsewhere:1", at=day(0)) is not None
    assert adopt(ledger, SES, [Hearsay("ann@example.com")], owner="here:1", at=day(0)) is None
    assert on_the_list(ledger) == []


def test_a_long_list_is_taken_over_in_pieces(url: str) -> None:
    lines = (Hearsay(f"a{n:05}@example.com") for n in range(2500))
    with opened(url, brake=Brake(floor=9999)) as ledger:
        told = adopt(ledger, SES, lines, owner="x", at=day(0))
        assert told is not None
        assert (told.new, told.suppressed) == (2500, 2500)
        assert len(on_the_list(ledger)) == 2500


def test_two_imports_within_a_second_are_both_taken_over(ledger: Ledger) -> None:
    for n, whose in enumerate(("ann@example.com", "bob@example.com")):
        at = START + timedelta(milliseconds=300 * n)
        told = adopt(ledger, SES, [Hearsay(whose)], owner="x", at=at)
        assert told is not None
        assert told.new == 1
    assert on_the_list(ledger) == ["ann@example.com", "bob@example.com"]

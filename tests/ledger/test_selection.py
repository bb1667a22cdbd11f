"""The way back: chosen by what addresses have in common, audited, undone only by new evidence."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from sqlalchemy.dialects import sqlite

from bounced.ledger import Released, Selection, tables
from bounced.ledger.reading import suppressed_at
from bounced.policy import Brake, Incidents

from .conftest import bounce, day, on_the_list, opened, reading, synced

if TYPE_CHECKING:
    from pathlib import Path

    from bounced.ledger import Ledger


@pytest.fixture
def outage(ledger: Ledger) -> Ledger:
    """Two runs: ann and bob on day 0, cy and dee on day 10; bob and dee by another rule."""
    synced(ledger, [reading(1, "ann@example.com"), reading(2, bounce("bob@example.net", "gone"))])
    late = [
        reading(3, "cy@example.com", at=day(10)),
        reading(4, bounce("dee@sub.example.com", "gone"), at=day(10)),
    ]
    synced(ledger, late)
    assert len(on_the_list(ledger, on=11)) == 4
    return ledger


CHOICES: dict[str, tuple[Selection, list[str]]] = {
    "domain": (Selection(domains=("EXAMPLE.com",)), ["ann@example.com", "cy@example.com"]),
    "domain with @": (Selection(domains=("@example.net",)), ["bob@example.net"]),
    "domain's tail": (Selection(domains=("ample.com",)), []),
    "wildcard": (Selection(domains=("%",)), []),
    "reason": (
        Selection(reasons=("mailbox_disabled",)),
        ["bob@example.net", "dee@sub.example.com"],
    ),
    "rule": (Selection(rules=("test/hard",)), ["ann@example.com", "cy@example.com"]),
    "run": (Selection(run_id=2), ["cy@example.com", "dee@sub.example.com"]),
    "since": (Selection(since=day(5)), ["cy@example.com", "dee@sub.example.com"]),
    "until": (Selection(until=day(5)), ["ann@example.com", "bob@example.net"]),
    "together": (Selection(since=day(5), rules=("test/hard",)), ["cy@example.com"]),
    "either": (Selection(domains=("example.com", "example.net"), until=day(5)),
               ["ann@example.com", "bob@example.net"]),
    "address": (Selection(addresses=("CY@example.com", "x@example.com")), ["cy@example.com"]),
}  # fmt: skip


@pytest.mark.parametrize("choice", CHOICES)
def test_who_is_chosen_is_released_and_nobody_else(outage: Ledger, choice: str) -> None:
    chosen, expected = CHOICES[choice]
    before = on_the_list(outage, on=11)
    assert [row.address for row in outage.selected(chosen, at=day(11))] == expected
    assert on_the_list(outage, on=11) == before, "asking changes nothing"
    told = outage.release_selected(chosen, by="eve", note="our outage", at=day(11))
    assert sum(told) == len(expected)
    assert on_the_list(outage, on=11) == [one for one in before if one not in expected]
    for address in expected:
        history = outage.explain(address)
        assert history.transitions[-1].actor == "eve"
        assert [release.note for release in history.releases] == ["our outage"]


def test_a_selection_of_nothing_in_particular_says_so() -> None:
    assert Selection().empty
    assert not Selection(run_id=0).empty


def test_a_release_is_undone_by_new_evidence_and_not_by_old_that_is_read_late(
    ledger: Ledger,
) -> None:
    synced(ledger, [reading(1, "ann@example.com")])
    ledger.release(["ann@example.com"], by="eve", note="", at=day(5))
    synced(ledger, [reading(2, "ann@example.com", at=day(4))])
    assert on_the_list(ledger, on=6) == []
    synced(ledger, [reading(3, "ann@example.com", at=day(6))])
    assert on_the_list(ledger, on=7) == ["ann@example.com"]


def test_many_are_released_in_pieces(url: str) -> None:
    names = [f"a{number:05}@example.com" for number in range(2500)]
    with opened(url, brake=Brake(floor=9999)) as ledger:
        synced(ledger, [reading(n, name) for n, name in enumerate(names, 1)])
        chosen = Selection(domains=("example.com",))
        told = list(ledger.release_selected(chosen, by="eve", note="", at=day(1)))
        assert told == [1000, 1000, 500]
        assert on_the_list(ledger) == []


def test_a_bounce_protects_an_address_however_the_list_writes_its_case(ledger: Ledger) -> None:
    synced(ledger, [reading(1, "bob@example.com")])
    ((_, found),) = ledger.check(["Bob@Example.com"], at=day(1))
    assert found is not None
    assert found.address == "bob@example.com", "and it is told as it was mailed"


def test_an_address_is_explained_and_released_in_all_its_spellings(ledger: Ledger) -> None:
    synced(ledger, [reading(1, "bob@example.com"), reading(2, "Bob@example.com")])
    history = ledger.explain("BOB@example.com")
    assert {history.address, *history.spellings} == {"bob@example.com", "Bob@example.com"}
    assert ledger.explain("bob@example.com").address == "bob@example.com"
    told = ledger.release(["BOB@example.com"], by="eve", note="", at=day(1))
    assert told == Released(addresses=2)
    assert on_the_list(ledger) == []


def test_whom_never_to_suppress_is_meant_in_any_case(url: str) -> None:
    with opened(url, never_suppress=["Staff@Example.com"]) as ledger:
        synced(ledger, [reading(1, "staff@example.com"), reading(2, "STAFF@example.com")])
        assert on_the_list(ledger) == []


def test_those_whom_the_events_of_an_incident_suppressed_can_be_released_together(url: str) -> None:
    few = Incidents(floor=2, young_days=0)
    with opened(url, unusual=few) as ledger:
        synced(ledger, [reading(n, f"a{n}@example.com", at=day(1)) for n in range(1, 5)])
        synced(ledger, [reading(9, "other@example.org", at=day(1))])
        (waits,) = ledger.incidents()
        ledger.decide_incident(waits.id, accept=True, by="eve", at=day(2))
        chosen = Selection(incident_id=waits.id)
        assert len(list(ledger.selected(chosen, at=day(3)))) == 4
        assert sum(ledger.release_selected(chosen, by="eve", note="", at=day(3))) == 4
        assert on_the_list(ledger, on=4) == ["other@example.org"]
        assert list(ledger.selected(Selection(incident_id=99), at=day(3))) == []


def test_sqlite_has_the_list_in_order_from_the_index_of_those_on_it(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/x.db"
    opened(url).close()
    listed = suppressed_at(day(1)).order_by(tables.address.c.address)
    words = str(listed.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True}))
    with closing(sqlite3.connect(tmp_path / "x.db")) as connection:
        plan = " ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {words}"))
    assert "USING INDEX ix_address_suppressed_address (suppressed=?)" in plan
    assert "TEMP B-TREE" not in plan

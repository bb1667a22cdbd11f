"""The views that other programs read: their columns are a contract, their rows what the ledger says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import create_engine, inspect

from bounced.policy import Brake, Incidents
from tests.servers.database import driver, rows

from .conftest import bounce, day, opened, reading, synced

if TYPE_CHECKING:
    from bounced.ledger import Ledger

# A column may be added at the end of a view, with its version one higher; none may go or change.
HISTORY = """
address list at what kind status suppressed outcome reason fault rule because said trust mailbox who
counts
"""
CONTRACT = {
    "suppression": (
        3,
        "address status reason since expires_at rule because said last_event_at folded list",
    ),
    "address_history": (2, HISTORY),
    "provider_health": (
        2,
        "day domain provider reports addresses hard soft blocked complaints delivered",
    ),
}


@pytest.mark.parametrize("view", CONTRACT)
def test_the_columns_of_each_view_and_its_version_are_a_contract(
    ledger: Ledger, url: str, view: str
) -> None:
    version, columns = CONTRACT[view]
    engine = create_engine(driver(url))
    found = [column["name"] for column in inspect(engine).get_columns(view)]
    engine.dispose()
    assert found == columns.split()
    assert dict(rows(url, "SELECT name, version FROM view_version"))[view] == version


def test_the_first_columns_of_the_table_of_incidents_are_a_contract_too(
    ledger: Ledger, url: str
) -> None:
    engine = create_engine(driver(url))
    found = [column["name"] for column in inspect(engine).get_columns("incident")]
    engine.dispose()
    assert found[:8] == [
        "id",
        "scope",
        "name",
        "begins_at",
        "ends_at",
        "state",
        "usual",
        "opened_at",
    ]


def test_every_view_has_a_version(ledger: Ledger, url: str) -> None:
    engine = create_engine(driver(url))
    views = set(inspect(engine).get_view_names()) - {"view_version"}
    engine.dispose()
    assert {name for (name,) in rows(url, "SELECT name FROM view_version")} == views


def test_the_history_of_an_address_holds_what_was_reported_changed_and_released(
    ledger: Ledger, url: str
) -> None:
    synced(ledger, [reading(1, bounce("ann@example.com", "gone")), reading(2, "bob@example.com")])
    ledger.release(["ann@example.com"], by="eve", note="she wrote", at=day(1))
    found = rows(
        url,
        "SELECT what, status, suppressed, outcome, reason, rule, said, mailbox, who, counts"
        " FROM address_history WHERE address = 'ann@example.com' ORDER BY at",
    )
    event = [row for row in found if row[0] == "event"]
    assert event == [
        ("event", None, None, "hard", "mailbox_disabled", "test/gone", "550 5.1.1 no ann@example.com",
         "news", None, True),
    ]  # fmt: skip
    changes = [row[:3] + row[8:9] for row in found if row[0] == "change"]
    assert changes == [
        ("change", "hard-bounced", True, "sync"),
        ("change", "active", False, "eve"),
    ]
    assert [row[8] for row in found if row[0] == "release"] == ["eve"]
    assert len(found) == 4


def test_events_that_do_not_count_are_in_the_history_and_not_in_the_health(url: str) -> None:
    with opened(url, brake=Brake(share=0, floor=1)) as ledger:
        synced(ledger, [reading(n, f"a{n}@example.com") for n in (1, 2, 3)])
    assert rows(url, "SELECT counts FROM address_history WHERE what = 'event'") == 3 * [(False,)]
    assert rows(url, "SELECT * FROM provider_health") == []


def test_the_health_of_a_domain_is_counted_by_day(ledger: Ledger, url: str) -> None:
    synced(
        ledger,
        [
            reading(1, "ann@example.com"),
            reading(2, '"odd@local"@example.com'),
            reading(3, bounce("ann@example.com", "soft"), at=day(1)),
            reading(4, bounce("bob@example.net", "delivered")),
        ],
    )
    found = rows(url, "SELECT * FROM provider_health ORDER BY domain, day")
    assert [(*row[:3], *map(int, row[3:])) for row in found] == [
        ("2026-01-01", "example.com", None, 2, 2, 2, 0, 0, 0, 0),
        ("2026-01-02", "example.com", None, 1, 1, 0, 1, 0, 0, 0),
        ("2026-01-01", "example.net", None, 1, 1, 0, 0, 0, 0, 1),
    ]


def test_what_an_incident_keeps_waiting_does_not_count_in_the_views_either(url: str) -> None:
    with opened(url, unusual=Incidents(floor=2, young_days=0)) as ledger:
        synced(ledger, [reading(n, f"a{n}@gmail.com", at=day(1)) for n in range(1, 6)])
        synced(ledger, [reading(9, bounce("soft@gmail.com", "soft"), at=day(1))])
        (waits,) = ledger.incidents()
        hard = "SELECT counts FROM address_history WHERE what = 'event' AND outcome = 'hard'"
        assert set(rows(url, hard)) == {(False,)}
        ((provider, reports),) = rows(url, "SELECT provider, reports FROM provider_health")
        assert (provider, reports) == ("google", 1)
        ledger.decide_incident(waits.id, accept=True, by="eve", at=day(2))
        assert set(rows(url, hard)) == {(True,)}
        ((_, reports),) = rows(url, "SELECT provider, reports FROM provider_health")
        assert reports == 6

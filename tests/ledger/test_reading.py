"""What people and other programs read, and what they may rely on."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from bounced.ledger import Released
from bounced.model import Reason
from tests.servers.database import rows

from .conftest import START, bounce, day, on_the_list, reading, synced

if TYPE_CHECKING:
    from bounced.ledger import Ledger


def test_the_columns_of_the_view_are_the_contract(ledger: Ledger, url: str) -> None:
    synced(ledger, [reading(1, "ann@example.com")])
    (row,) = rows(
        url,
        "SELECT address, status, reason, since, expires_at, rule, because, said, last_event_at, folded, list"
        " FROM suppression",
    )
    assert rows(url, "SELECT * FROM suppression") == [row]
    assert row[:3] == ("ann@example.com", "hard-bounced", "user_unknown")
    assert row[4] is None
    assert row[5] == "test/hard"
    assert row[7] == "550 5.1.1 no ann@example.com"


def test_the_view_says_what_the_ledger_says(ledger: Ledger, url: str) -> None:
    now = datetime.now(UTC)
    synced(
        ledger,
        [
            reading(1, "ann@example.com"),
            reading(2, bounce("soft@example.com", "soft")),
            reading(3, bounce("ended@example.com", "gone"), at=now - timedelta(days=91)),
            reading(4, bounce("lasts@example.com", "gone"), at=now - timedelta(days=89)),
        ],
    )
    found = [
        address for (address,) in rows(url, "SELECT address FROM suppression ORDER BY address")
    ]
    assert found == ["ann@example.com", "lasts@example.com"]
    assert [row.address for row in ledger.suppressed(at=now)] == found


def test_checking_answers_every_address_in_order(ledger: Ledger) -> None:
    synced(ledger, [reading(1, "ann@example.com")])
    asked = ["bob@example.com", "ann@EXAMPLE.com", "ann@example.com", "nonsense"]
    told = list(ledger.check(iter(asked), at=day(1)))
    assert [given for given, _ in told] == asked
    assert [row is not None for _, row in told] == [False, True, True, False]


def test_a_release_lets_an_address_be_mailed_until_it_bounces_again(ledger: Ledger) -> None:
    synced(ledger, [reading(1, "ann@example.com"), reading(2, "bob@example.com")])
    names = ["ann@Example.com", "nobody@example.com"]
    assert ledger.release(names, by="eve", note="", at=day(1)) == Released(addresses=1)
    assert on_the_list(ledger, on=2) == ["bob@example.com"]
    assert ledger.release(names, by="eve", note="", at=day(1)) == Released()
    synced(ledger, [reading(3, "ann@example.com", at=day(2))])
    assert on_the_list(ledger, on=3) == ["ann@example.com", "bob@example.com"]


def test_importing_subscribers_twice_adds_them_once(ledger: Ledger) -> None:
    rows_ = [("ann@Example.com", "news"), ("ann@example.com", "news"), ("ann@example.com", "jobs")]
    assert ledger.import_subscribers(rows_, at=START) == 2
    assert ledger.import_subscribers(iter(rows_), at=START) == 0
    assert ledger.explain("ann@example.com").lists == ("jobs", "news")


def test_an_address_nobody_knows_has_no_standing(ledger: Ledger) -> None:
    history = ledger.explain("nobody@Example.com")
    assert history.address == "nobody@example.com"
    assert history.standing is None
    assert history.events == ()


def test_the_newest_events_come_first(ledger: Ledger) -> None:
    synced(ledger, [reading(1, "ann@example.com"), reading(2, bounce("bob@example.com", "soft"))])
    told = [(row.address, row.outcome, row.mailbox, row.rule) for row in ledger.recent(5)]
    assert told == [
        ("bob@example.com", "soft", "news", "test/soft"),
        ("ann@example.com", "hard", "news", "test/hard"),
    ]
    assert len(ledger.recent(1)) == 1


def test_a_long_list_is_streamed_while_others_write(ledger: Ledger) -> None:
    many = [reading(uid, f"a{uid:05}@example.com") for uid in range(1, 40)]
    synced(ledger, many)
    listing = ledger.suppressed(at=day(1))
    assert next(listing).address == "a00001@example.com"
    ledger.release(["a00039@example.com"], by="eve", note="", at=day(1))
    assert next(listing).address == "a00002@example.com"
    listing.close()  # type: ignore[attr-defined]


def test_more_addresses_than_a_statement_takes_parameters_are_no_trouble(ledger: Ledger) -> None:
    bounces = [bounce(f"a{number}@example.com", "soft") for number in range(2500)]
    assert synced(ledger, [reading(1, *bounces)]).events == 2500
    asked = [f"a{number}@example.com" for number in range(2500)]
    assert sum(row is None for _, row in ledger.check(asked, at=day(1))) == 2500
    assert ledger.import_subscribers(((name, "news") for name in asked), at=START) == 2500


def test_what_was_not_understood_or_not_surely_waits_for_review(ledger: Ledger) -> None:
    unsure = bounce("unsure@example.com", "unsure")
    unclear = bounce("unclear@example.com", "soft")
    unclear = replace(
        unclear, verdict=replace(unclear.verdict, reason=Reason.UNDETERMINED, confidence=0.9)
    )
    others = [bounce("sure@example.com"), bounce("fine@example.com", "delivered")]
    synced(ledger, [reading(1, unclear, unsure, *others)])
    assert [row.address for row in ledger.undetermined()] == ["unclear@example.com"]
    found = list(ledger.undetermined(below=0.7))
    assert [row.address for row in found] == ["unclear@example.com", "unsure@example.com"]
    assert found[0].said == "550 5.1.1 no unclear@example.com"
    assert (found[0].outcome, found[0].reason, found[0].rule) == (
        "soft",
        "undetermined",
        "test/soft",
    )

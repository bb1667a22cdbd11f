"""Too many hard bounces at one provider or domain wait, and late decisions change nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bounced.ledger import LedgerError
from bounced.policy import Brake, Incidents
from tests.servers.database import rows

from .conftest import Pass, bounce, day, on_the_list, opened, reading, synced

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from bounced.ledger import Ledger
    from bounced.model import Reading

FEW = Incidents(floor=3, factor=2, young_days=0, history_days=30)
STANDING = (
    "SELECT address, status, suppressed, reason, since, expires_at, score, rule, because, event_id "
    "FROM address ORDER BY address"
)


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    with opened(url, unusual=FEW) as made:
        yield made


def crowd(
    count: int, start: int = 0, *, domain: str = "example.com", on: float = 0, **more: Any
) -> list[Reading]:
    names = [f"a{n}@{domain}" for n in range(start, start + count)]
    told = [bounce(name, **more) for name in names]
    return [
        reading(start + n, one, at=day(on), key=f"{one.recipient.address} {on}")
        for n, one in enumerate(told, 1)
    ]


def test_as_many_as_usual_suppress_at_once(ledger: Ledger) -> None:
    assert synced(ledger, crowd(3)).incidents == 0
    assert len(on_the_list(ledger)) == 3


def test_more_wait_and_nobody_is_suppressed_until_a_person_accepts(ledger: Ledger) -> None:
    told = synced(ledger, [*crowd(4), reading(9, "bob@example.net")])
    assert (told.incidents, told.suppressed, told.held) == (1, 1, 0)
    assert on_the_list(ledger) == ["bob@example.net"]
    (incident,) = ledger.incidents()
    assert (incident.scope, incident.name, incident.addresses) == ("domain", "example.com", 4)
    assert (incident.begins_at, incident.ends_at) == (day(0), day(0.25))
    assert list(ledger.incident_addresses(incident.id)) == [f"a{n}@example.com" for n in range(4)]
    event = ledger.explain("a0@example.com").events[0]
    assert (event.counts, event.incident) == (False, incident.id)
    assert ledger.decide_incident(incident.id, accept=True, by="eve", at=day(1)) == (4, 0)
    assert len(on_the_list(ledger)) == 5
    assert ledger.incidents() == []
    with pytest.raises(LedgerError, match=r"Incident 1 is accepted already\. Nothing was changed"):
        ledger.decide_incident(incident.id, accept=False, by="eve", at=day(1))


def test_those_who_were_suppressed_before_it_was_noticed_are_let_go(ledger: Ledger) -> None:
    one = Pass(ledger)
    assert one.batch(*crowd(3)).suppressed == 3
    later = one.batch(*crowd(2, 3))
    one.end()
    assert (later.incidents, later.suppressed, later.released) == (1, 0, 3)
    assert on_the_list(ledger) == []
    assert ledger.explain("a0@example.com").transitions[-1].to_suppressed is False


def test_what_arrives_later_for_the_same_window_waits_too(ledger: Ledger) -> None:
    synced(ledger, crowd(4))
    assert synced(ledger, crowd(2, 10, on=0.1)).incidents == 0
    assert on_the_list(ledger) == []
    assert synced(ledger, crowd(2, 20, on=0.3)).suppressed == 2, "another window"


def test_one_provider_is_one_incident_whatever_the_domains(ledger: Ledger) -> None:
    letters = [
        reading(n, bounce(f"a@d{n}.example", remote_mta="mx1.Mail.Protection.Outlook.com"))
        for n in range(4)
    ]
    assert synced(ledger, letters).incidents == 1
    assert (ledger.incidents()[0].scope, ledger.incidents()[0].name) == ("provider", "microsoft365")


def test_a_domain_of_the_provider_itself_is_no_incident_of_its_own(ledger: Ledger) -> None:
    synced(ledger, crowd(4, domain="gmail.com"))
    assert [one.name for one in ledger.incidents()] == ["google"]


@pytest.mark.parametrize("word", ["soft", "delivered"])
def test_only_hard_bounces_make_an_incident(ledger: Ledger, word: str) -> None:
    assert synced(ledger, crowd(9, word=word)).incidents == 0


def test_what_is_usual_at_a_provider_is_no_incident(ledger: Ledger) -> None:
    for week in range(3):
        synced(ledger, crowd(3, 10 * week, on=7 * week))
    assert synced(ledger, crowd(6, 100, on=21)).incidents == 0, "twice the usual three"
    assert synced(ledger, crowd(9, 200, on=28)).incidents == 1
    assert ledger.incidents()[0].usual == pytest.approx((3 + 3 + 3 + 6) / 4)


def test_a_young_ledger_knows_nothing_of_what_is_usual(url: str) -> None:
    with opened(url, unusual=Incidents(floor=3, young_days=7)) as ledger:
        synced(ledger, crowd(9))
        assert ledger.incidents() == []
        synced(ledger, crowd(9, 20, on=6))
        assert ledger.incidents() == []
        synced(ledger, crowd(9, 40, on=8, domain="example.net"))
        assert len(ledger.incidents()) == 1


def test_what_waits_for_an_incident_does_not_trip_the_brake(url: str) -> None:
    with opened(url, unusual=FEW, brake=Brake(share=0, floor=4)) as ledger:
        this = Pass(ledger)
        this.batch(*crowd(3))
        told = this.batch(*crowd(7, 3))
        this.end()
        assert (told.incidents, told.held) == (1, 0)
        assert list(ledger.waiting()) == []


@pytest.mark.parametrize("accept", [True, False])
def test_a_word_on_an_incident_can_be_taken_back(ledger: Ledger, url: str, *, accept: bool) -> None:
    synced(ledger, crowd(4))
    before = rows(url, STANDING)
    ledger.decide_incident(1, accept=accept, by="eve", at=day(1))
    after = rows(url, STANDING)
    number = ledger.decisions()[0].id
    ledger.undo(number, by="eve", at=day(2))
    assert rows(url, STANDING) == before
    assert len(ledger.incidents()) == 1
    ledger.undo(number, by="eve", at=day(2), again=True)
    assert rows(url, STANDING) == after
    ledger.undo(number, by="eve", at=day(2))
    ledger.decide_incident(1, accept=not accept, by="eve", at=day(3))
    with pytest.raises(LedgerError, match="decided otherwise since"):
        ledger.undo(number, by="eve", at=day(4), again=True)


WORDS = ("hard", "hard", "hard", "unsure", "soft", "gone", "delivered")  # often many at once
letter = st.tuples(
    st.integers(0, 5), st.sampled_from(WORDS), st.integers(0, 3), st.sampled_from("ab")
)


def told(history: Sequence[tuple[int, str, int, str]]) -> list[Reading]:
    return [
        reading(n, bounce(f"p{who}@{at}.example", word), at=day(when / 4))
        for n, (who, word, when, at) in enumerate(history, 1)
    ]


def run(url: str, batches: Sequence[Sequence[Reading]], incidents: Incidents) -> None:
    with opened(url, unusual=incidents, brake=Brake(share=1, floor=100)) as ledger:
        this = Pass(ledger)
        for batch in batches:
            this.batch(*batch, at=day(4))
        this.end()


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(history=st.lists(letter, min_size=12, max_size=36), cut=st.integers(0, 36), data=st.data())
def test_decided_late_is_as_if_decided_at_once(
    tmp_path_factory: pytest.TempPathFactory,
    history: list[tuple[int, str, int, str]],
    cut: int,
    data: st.DataObject,
) -> None:
    folder: Path = tmp_path_factory.mktemp("late")
    late, at_once = (f"sqlite:///{folder / name}.db" for name in ("late", "at_once"))
    letters = told(history)
    run(late, [letters[:cut], letters[cut:]], Incidents(floor=2, factor=1, young_days=0))
    run(at_once, [letters], Incidents(floor=0))
    with opened(late) as ledger:
        waiting = ledger.incidents()
        for incident in waiting:
            ledger.decide_incident(incident.id, accept=True, by="eve", at=day(4))
    assert rows(late, STANDING) == rows(at_once, STANDING), "accepted: as if there were none"
    with opened(late) as ledger:
        for decision in ledger.decisions():
            ledger.undo(decision.id, by="eve", at=day(4))
        order = data.draw(st.permutations(waiting))
        for incident in order:
            ledger.decide_incident(incident.id, accept=False, by="eve", at=day(4))
        gone = {
            (address, one.begins_at, one.ends_at)
            for one in waiting
            for address in ledger.incident_addresses(one.id)
        }
    left = [
        one
        for one, (who, word, _, at) in zip(letters, history, strict=True)
        if word not in {"hard", "unsure", "gone"}
        or not any(
            address == f"p{who}@{at}.example" and begins <= one.received_at < ends
            for address, begins, ends in gone
        )
    ]
    without = f"sqlite:///{folder / 'without'}.db"
    run(without, [left], Incidents(floor=0))
    told_late = {row[:9] for row in rows(late, STANDING) if row[1] != "active"}
    told_without = {row[:9] for row in rows(without, STANDING) if row[1] != "active"}
    assert told_late == told_without, "discarded: as if those bounces had never come"

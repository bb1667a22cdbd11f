"""What an operator decided can be taken back, and then it is as if it had never been decided."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import update

from bounced.ledger import Hearsay, LedgerError, Released, Selection, Source, adopt
from bounced.ledger.tables import mailbox
from bounced.policy import Brake
from tests.servers.database import rows

from .conftest import bounce, day, on_the_list, opened, reading, synced
from .test_replay import by_words, said

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bounced.ledger import Ledger

STANDING = (
    "SELECT address, status, suppressed, reason, since, expires_at, score, rule, because, event_id "
    "FROM address ORDER BY address"
)
SES = Source("ses", "Amazon SES")
NAMES = [f"a{n}@example.com" for n in range(5)]


def last(ledger: Ledger) -> int:
    return ledger.decisions()[0].id


def take_back(ledger: Ledger, number: int, *, again: bool = False) -> tuple[int, int]:
    told = ledger.undo(number, by="eve", at=day(5), note="a slip", again=again)
    return told.suppressed, told.released


def test_a_release_taken_back_leaves_the_standing_as_it_was(ledger: Ledger, url: str) -> None:
    synced(ledger, [reading(1, "ann@example.com"), reading(2, "bob@example.com")])
    before = rows(url, STANDING)
    ledger.release(["ann@example.com"], by="eve", note="she called", at=day(1))
    released = rows(url, STANDING)
    assert released != before
    assert take_back(ledger, last(ledger)) == (1, 0)
    assert rows(url, STANDING) == before
    assert take_back(ledger, last(ledger), again=True) == (0, 1)
    assert rows(url, STANDING) == released


def test_taking_back_is_in_the_audit_with_the_decision_and_all_events(ledger: Ledger) -> None:
    synced(
        ledger,
        [
            reading(1, bounce("ann@example.com", "unsure")),
            reading(2, bounce("ann@example.com", "unsure"), at=day(4)),
        ],
    )
    ledger.release(["ann@example.com"], by="eve", note="", at=day(4.5))
    number = last(ledger)
    take_back(ledger, number)
    history = ledger.explain("ann@example.com")
    change = history.transitions[-1]
    assert (change.to_suppressed, change.actor, change.decision_id) == (True, "eve", number)
    assert change.events == tuple(event.id for event in history.events)
    assert history.releases[0].undone_at == day(5)
    told = ledger.decisions()[0]
    assert (told.what, told.subject, told.undone_by, told.undone_note, told.addresses) == (
        "release",
        "ann@example.com",
        "eve",
        "a slip",
        1,
    )


def test_a_release_of_many_is_one_decision(ledger: Ledger) -> None:
    synced(ledger, [reading(n, f"a{n:04}@example.com") for n in range(49)])
    chosen = Selection(domains=("example.com",))
    assert sum(ledger.release_selected(chosen, by="eve", note="", at=day(1))) == 49
    assert len(ledger.decisions()) == 1
    assert ledger.decisions()[0].subject == "domains example.com"
    assert take_back(ledger, last(ledger)) == (49, 0)


def test_of_two_releases_the_earlier_one_still_counts_when_the_later_is_taken_back(
    ledger: Ledger,
) -> None:
    synced(ledger, [reading(1, "ann@example.com")])
    ledger.release(["ann@example.com"], by="eve", note="", at=day(1))
    synced(ledger, [reading(2, bounce("ann@example.com", "soft"), at=day(1.5))])
    ledger.release(["ann@example.com"], by="eve", note="", at=day(2))
    assert take_back(ledger, last(ledger)) == (0, 0)
    assert on_the_list(ledger, on=6) == []
    assert take_back(ledger, last(ledger) - 1) == (1, 0)
    assert on_the_list(ledger, on=6) == ["ann@example.com"]


@pytest.mark.parametrize("accept", [True, False])
def test_a_word_on_a_held_run_taken_back_lets_it_wait_again(url: str, *, accept: bool) -> None:
    with opened(url, brake=Brake(share=0, floor=3)) as ledger:
        synced(ledger, [reading(n, name) for n, name in enumerate(NAMES)])
        before = rows(url, STANDING)
        held = ledger.holds()
        ledger.decide(held[0].run_id, accept=accept, by="eve", at=day(1))
        decided = rows(url, STANDING)
        number = last(ledger)
        take_back(ledger, number)
        assert rows(url, STANDING) == before
        assert ledger.holds() == held
        assert [one.address for one in ledger.waiting()] == NAMES
        assert take_back(ledger, number, again=True) == ((5, 0) if accept else (0, 0))
        assert rows(url, STANDING) == decided
        assert ledger.holds() == []
        assert list(ledger.waiting()) == []


def test_an_import_taken_back_suppresses_nobody_and_can_be_put_into_force_again(
    ledger: Ledger, url: str
) -> None:
    synced(ledger, [reading(1, "ann@example.com")])
    adopt(ledger, SES, [Hearsay("bob@example.com")], owner="x", at=day(1), by="eve")
    after = rows(url, STANDING)
    assert ledger.decisions()[0].subject == "1 addresses from Amazon SES"
    assert take_back(ledger, last(ledger)) == (0, 1)
    assert on_the_list(ledger, on=6) == ["ann@example.com"]
    assert take_back(ledger, last(ledger), again=True) == (1, 0)
    assert rows(url, STANDING) == after


def test_an_import_that_a_person_accepted_can_be_taken_back_too(url: str) -> None:
    with opened(url, brake=Brake(share=0, floor=3)) as ledger:
        told = adopt(ledger, SES, map(Hearsay, NAMES), owner="x", at=day(1), by="eve")
        assert told is not None
        number = last(ledger)
        with pytest.raises(LedgerError, match=r"Run 1 is not accepted or done but held"):
            take_back(ledger, number)
        ledger.decide(told.run_id or 0, accept=True, by="eve", at=day(2))
        assert take_back(ledger, number) == (0, 5)
        assert take_back(ledger, number, again=True) == (5, 0)
        assert on_the_list(ledger, on=6) == NAMES


def test_judging_again_taken_back_brings_the_old_judgements_back(ledger: Ledger, url: str) -> None:
    synced(ledger, [said("ann@example.com", "gone", "soft"), said("bob@example.com", "x", "hard")])
    judged = "SELECT * FROM judgement ORDER BY event_id"
    before = rows(url, STANDING), rows(url, judged)
    for _ in ledger.reclassify(by_words, by="eve", at=day(1)):
        pass
    after = rows(url, STANDING), rows(url, judged)
    assert after != before
    assert take_back(ledger, last(ledger)) == (1, 1)
    assert (rows(url, STANDING), rows(url, judged)) == before
    assert take_back(ledger, last(ledger), again=True) == (1, 1)
    assert (rows(url, STANDING), rows(url, judged)) == after


def test_what_was_judged_again_twice_is_taken_back_in_order(ledger: Ledger) -> None:
    synced(ledger, [said("ann@example.com", "gone", "soft")])
    for _ in ledger.reclassify(by_words, by="eve", at=day(1)):
        pass
    first = last(ledger)
    for _ in ledger.reclassify(
        lambda recipient, report: by_words(bounce("x@example.com").recipient, report),
        by="eve",
        at=day(2),
    ):
        pass
    second = last(ledger)
    with pytest.raises(LedgerError, match=f"Decision {second} judged the same events again"):
        take_back(ledger, first)
    take_back(ledger, second)
    take_back(ledger, first)
    assert on_the_list(ledger, on=6) == []


def test_what_cannot_be_taken_back_changes_nothing_and_says_what_to_type(ledger: Ledger) -> None:
    synced(ledger, [reading(1, "ann@example.com")])
    with pytest.raises(LedgerError, match=r"There is no decision 7.*bounced decisions"):
        take_back(ledger, 7)
    ledger.release(["ann@example.com"], by="eve", note="", at=day(1))
    number = last(ledger)
    with pytest.raises(LedgerError, match="is in force"):
        take_back(ledger, number, again=True)
    take_back(ledger, number)
    with pytest.raises(LedgerError, match="was taken back already"):
        take_back(ledger, number)
    assert on_the_list(ledger, on=6) == ["ann@example.com"]


def test_decisions_from_before_there_were_decisions_can_be_taken_back(url: str) -> None:
    from alembic import command

    from bounced.ledger import schema
    from bounced.ledger.engine import Database

    with opened(url, brake=Brake(share=0, floor=3)) as ledger:
        synced(ledger, [reading(1, "ann@example.com"), reading(2, "bob@example.com")])
        ledger.release(["ann@example.com", "bob@example.com"], by="eve", note="n", at=day(1))
        synced(ledger, [reading(n + 10, name) for n, name in enumerate(NAMES)], mailbox="other")
        ledger.decide(ledger.holds()[0].run_id, accept=True, by="eve", at=day(1))
    database = Database(url)
    for step in ("0002", "head"):
        with database.altering() as connection:
            go = command.upgrade if step == "head" else command.downgrade
            go(schema.config(connection), step)
    database.close()
    with opened(url) as ledger:
        told = [(row.what, row.by, row.note) for row in ledger.decisions()]
        assert told == [("accept", "eve", ""), ("release", "eve", "n")]
        assert take_back(ledger, last(ledger)) == (0, 5)
        assert take_back(ledger, last(ledger) - 1) == (2, 0)


def test_a_release_that_would_do_nothing_is_no_decision(ledger: Ledger) -> None:
    synced(ledger, [reading(1, "ann@example.com"), reading(2, bounce("bob@example.com", "soft"))])
    assert ledger.release(["ann@example.com"], by="eve", note="", at=day(1)).addresses == 1
    for nobody in ("ann@example.com", "stranger@example.com"):
        assert ledger.release([nobody], by="eve", note="", at=day(2)) == Released()
    chosen = Selection(domains=("example.com",))
    assert list(ledger.release_selected(chosen, by="eve", note="", at=day(2))) == []
    assert len(ledger.decisions()) == 1
    assert [one.at for one in ledger.explain("ann@example.com").releases] == [day(1)]


def test_what_is_on_record_of_somebody_not_suppressed_can_be_made_to_count_no_more(
    ledger: Ledger,
) -> None:
    synced(ledger, [reading(1, bounce("bob@example.com", "unsure"))])
    told = ledger.release(["bob@example.com"], by="eve", note="", at=day(1))
    assert told == Released(addresses=0, others=1)
    synced(ledger, [reading(2, bounce("bob@example.com", "unsure"), at=day(5))])
    assert on_the_list(ledger, on=6) == []


def test_who_is_released_while_a_held_run_waits_is_not_suppressed_by_it(url: str) -> None:
    with opened(url, brake=Brake(share=0, floor=3)) as ledger:
        synced(ledger, [reading(n, name) for n, name in enumerate(NAMES)])
        (run,) = ledger.holds()
        told = ledger.release([NAMES[0]], by="eve", note="", at=day(1))
        assert told == Released(addresses=0, others=1)
        assert [one.address for one in ledger.waiting(run.run_id)] == sorted(NAMES[1:])
        assert ledger.decide(run.run_id, accept=True, by="eve", at=day(2)) == len(NAMES) - 1
        assert on_the_list(ledger, on=3) == sorted(NAMES[1:])


def cut_off(ledger: Ledger, monkeypatch: pytest.MonkeyPatch, *, killed: bool) -> None:
    """An import that ends after its first portion, with an error or without a word."""

    def lines() -> Iterator[Hearsay]:
        yield from (Hearsay(name) for name in NAMES)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("bounced.ledger.adoption.PORTION", 3)
        if killed:
            patched.setattr(ledger, "end", lambda *_, **__: None)
        with pytest.raises(KeyboardInterrupt):
            adopt(ledger, SES, lines(), owner="here:1", at=day(0), by="eve")
    if killed:  # and its lease has run out
        with ledger._database.writing() as connection:
            connection.execute(update(mailbox).values(lease_owner=None, lease_until=None))


@pytest.mark.parametrize("killed", [True, False])
def test_an_import_that_was_cut_off_can_be_taken_back(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, *, killed: bool
) -> None:
    cut_off(ledger, monkeypatch, killed=killed)
    assert on_the_list(ledger) == NAMES[:3]
    (told,) = ledger.decisions()
    assert (told.what, told.by, told.subject) == ("import", "eve", "addresses from Amazon SES")
    assert take_back(ledger, told.id) == (0, 3)
    assert on_the_list(ledger) == []
    other = [Hearsay("zoe@example.com")]
    adopt(ledger, SES, other, owner="here:1", at=day(1), by="eve")
    assert on_the_list(ledger, on=2) == ["zoe@example.com"], "a later one is one of its own"
    assert take_back(ledger, told.id, again=True) == (3, 0)
    assert len(on_the_list(ledger, on=2)) == 4


def test_an_import_that_is_gone_on_with_is_one_decision(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_off(ledger, monkeypatch, killed=False)
    adopt(ledger, SES, [Hearsay(name) for name in NAMES], owner="here:1", at=day(1), by="eve")
    (told,) = ledger.decisions()
    assert told.subject == "5 addresses from Amazon SES"
    assert take_back(ledger, told.id) == (0, 5)


def test_an_import_of_nothing_new_is_no_decision(ledger: Ledger) -> None:
    for on in (0, 1):
        adopt(ledger, SES, [Hearsay("ann@example.com")], owner="here:1", at=day(on), by="eve")
    assert [one.subject for one in ledger.decisions()] == ["1 addresses from Amazon SES"]


def test_an_import_at_work_is_not_taken_back(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lines() -> Iterator[Hearsay]:
        yield from (Hearsay(name) for name in NAMES)
        with pytest.raises(LedgerError, match="The import goes on"):
            take_back(ledger, last(ledger))

    monkeypatch.setattr("bounced.ledger.adoption.PORTION", 3)
    adopt(ledger, SES, lines(), owner="here:1", at=day(0), by="eve")
    assert on_the_list(ledger) == NAMES

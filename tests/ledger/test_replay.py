"""The same facts judged again by other rules, or weighed by another policy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

from bounced import message, rules
from bounced.decode import decode
from bounced.jobs import HEAVY, Jobs
from bounced.ledger import replay
from bounced.model import (
    Destination,
    Fault,
    Outcome,
    Reading,
    Reason,
    RecipientReport,
    Reply,
    Report,
    Returned,
    Verdict,
)
from bounced.policy import Brake, Lists, Policy
from tests.servers.database import rows

from .conftest import bounce, day, on_the_list, opened, reading, synced

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime

    import pytest

    from bounced.ledger import Ledger, Replay, StandingChange

FIXTURES = Path(__file__).parents[2] / "fixtures" / "eml"
TABLES = ("event", "judgement", "address", "transition", "newly_suppressed")
GONE = Verdict(
    Outcome.HARD, Reason.USER_UNKNOWN, Fault.RECIPIENT, 0.95, "new/gone", "Nobody is there."
)
SHUT = replace(GONE, reason=Reason.HOST_UNKNOWN, rule="new/shut")
PERHAPS = replace(GONE, confidence=0.6, rule="new/perhaps")
FULL = Verdict(Outcome.SOFT, Reason.MAILBOX_FULL, Fault.RECIPIENT, 0.9, "new/full", "It is full.")


def by_words(recipient: RecipientReport, report: Report) -> Verdict:
    """Another book of rules: whoever `says` gone is gone, everyone else has a full mailbox."""
    return GONE if "gone" in recipient.reply.text else FULL


def said(address: str, words: str, judged: str) -> Reading:
    told = bounce(address, judged, reply=Reply(words, code=550))
    return reading(crc32(address.encode()), told, key=f"{address} {words}")


def changes(pieces: Iterable[Replay]) -> list[StandingChange]:
    return [change for piece in pieces for change in piece.changes]


def test_every_fixture_judged_again_from_its_stored_facts_gets_the_same_verdict(url: str) -> None:
    paths = sorted(FIXTURES.rglob("*.eml"))
    conclusions = [rules.judge(decode(message.read(path.read_bytes()))) for path in paths]
    readings = [
        Reading(n, day(0), f"{n:064}", f"{n:064}", conclusion, Destination.PROCESSED)
        for n, conclusion in enumerate(conclusions, 1)
    ]
    with opened(url, brake=Brake(floor=10_000), rules_version=None) as ledger:
        synced(ledger, readings)
        pieces = list(ledger.reclassified(rules.classify, at=day(1)))
    assert sum(piece.judged for piece in pieces) > 200
    assert [dict(piece.rules) for piece in pieces if piece.rules] == []
    assert changes(pieces) == []


def test_the_difference_names_who_is_suppressed_and_released_and_by_which_rule(
    ledger: Ledger,
) -> None:
    synced(
        ledger, [said("ann@example.com", "550 gone", "soft"), said("bob@example.com", "?", "hard")]
    )
    (piece,) = ledger.reclassified(by_words, at=day(1))
    assert (piece.addresses, piece.judged) == (2, 2)
    assert piece.rules == {("test/soft", "new/gone"): 1, ("test/hard", "new/full"): 1}
    ann, bob = piece.changes
    assert (ann.address, ann.from_suppressed, ann.to_suppressed) == ("ann@example.com", False, True)
    assert (ann.from_rule, ann.to_rule) == ("test/soft", "new/gone")
    assert (bob.address, bob.from_suppressed, bob.to_suppressed) == ("bob@example.com", True, False)
    assert bob.to_reason == "mailbox_full"


def test_looking_at_the_difference_changes_nothing(ledger: Ledger, url: str) -> None:
    def everything() -> list[list[tuple[Any, ...]]]:
        return [rows(url, f"SELECT * FROM {table}") for table in TABLES]  # noqa: S608

    synced(ledger, [said("ann@example.com", "550 gone", "soft")])
    before = everything()
    assert changes(ledger.reclassified(by_words, at=day(1)))
    assert everything() == before


def test_what_is_applied_is_what_was_shown_and_is_in_the_audit(url: str) -> None:
    with opened(url) as ledger:
        synced(
            ledger,
            [said("ann@example.com", "550 gone", "soft"), said("bob@example.com", "?", "hard")],
        )
    with opened(url, rules_version="books-2") as ledger:
        shown = changes(ledger.reclassified(by_words, at=day(1)))
        assert changes(ledger.reclassify(by_words, by="eve", at=day(1))) == shown
        assert on_the_list(ledger) == ["ann@example.com"]
        history = ledger.explain("ann@example.com")
        last = history.transitions[-1]
        assert (last.actor, last.rule, last.rules_version) == ("eve", "new/gone", "books-2")
        assert (history.events[0].rule, history.events[0].rules_version) == ("new/gone", "books-2")
        assert changes(ledger.reclassified(by_words, at=day(1))) == [], "done is done"


def test_facts_survive_being_judged_again(ledger: Ledger, url: str) -> None:
    synced(ledger, [said("ann@example.com", "550 gone", "soft")])
    before = rows(url, "SELECT * FROM event")
    list(ledger.reclassify(by_words, by="eve", at=day(1)))
    assert rows(url, "SELECT * FROM event") == before


def test_since_leaves_older_events_as_they_were_judged(ledger: Ledger) -> None:
    old = reading(1, bounce("ann@example.com", "soft", reply=Reply("gone")), at=day(0))
    new = reading(2, bounce("bob@example.com", "soft", reply=Reply("gone")), at=day(10))
    synced(ledger, [old, new])
    (piece,) = ledger.reclassified(by_words, at=day(11), since=day(5))
    assert (piece.addresses, piece.judged) == (1, 1)
    assert [change.address for change in piece.changes] == ["bob@example.com"]


def test_a_released_address_stays_released_when_old_evidence_is_judged_harder(
    ledger: Ledger,
) -> None:
    synced(ledger, [said("ann@example.com", "550 gone", "soft")])
    ledger.release(["ann@example.com"], by="eve", note="", at=day(1))
    assert not any(
        change.to_suppressed for change in changes(ledger.reclassified(by_words, at=day(2)))
    )


def test_a_held_run_stays_held_and_its_count_follows_the_new_judgements(url: str) -> None:
    with opened(url, brake=Brake(floor=1)) as ledger:
        synced(ledger, [said(f"{name}@example.com", "?", "hard") for name in ("ann", "bob", "cy")])
        (held,) = ledger.holds()
        assert held.addresses == 3
        list(ledger.reclassify(by_words, by="eve", at=day(1)))
        (held,) = ledger.holds()
        assert held.addresses == 0
        assert on_the_list(ledger) == []


def test_many_addresses_are_gone_through_in_pieces(ledger: Ledger) -> None:
    names = [f"a{number:05}@example.com" for number in range(2500)]
    with opened(
        str(ledger._database.url.render_as_string(hide_password=False)), brake=Brake(floor=9999)
    ) as wide:
        synced(wide, [reading(n, name) for n, name in enumerate(names, 1)])
    pieces = list(ledger.reclassified(by_words, at=day(1)))
    assert [piece.addresses for piece in pieces] == [1000, 1000, 500]
    assert [change.address for change in changes(pieces)] == names


def each(some: Sequence[tuple[Callable[[Any], Any], Any]]) -> list[Any]:
    return [work(item) for work, item in some]


def lost(_one: object) -> Any:
    raise AssertionError("a worker died")


def people(count: int) -> Iterator[Reading]:
    """Reports about lists and none, some of which `by_more_words` judges otherwise than they are."""
    words = ("550 gone", "450 full", "550 perhaps", "550 gone away")
    for n in range(count):
        reply = Reply(words[n % 4], code=550)
        told = bounce(f"p{n}@{n % 5}.example", ("soft", "hard")[n % 2], reply=reply)
        one = reading(n + 1, told, at=day(n % 3))
        returned = Returned(list_id=("", "News <news>", "Strict <strict>")[n % 3] or None)
        report = replace(one.conclusion.report, returned=returned)
        yield replace(one, conclusion=replace(one.conclusion, report=report))
    for n, (name, at) in enumerate([("ann", 0), ("bob", 3)]):
        shut = bounce(f"{name}@closed.example", "soft", reply=Reply("550 shut", code=550))
        yield reading(count + n + 1, shut, at=day(at))


def by_more_words(recipient: RecipientReport, report: Report) -> Verdict:
    for word, verdict in (("shut", SHUT), ("perhaps", PERHAPS)):
        if word in recipient.reply.text:
            return verdict
    return by_words(recipient, report)


def test_several_processes_tell_the_same_as_one_whatever_the_configuration(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "CHUNK", 7)
    known = {
        "never_suppress": ["3.example"],
        "lists": Lists("list", {"strict": Policy(hard_at_once=0.5)}),
        "brake": Brake(floor=1000),
    }
    with opened(url, **known) as ledger:
        ledger.import_subscribers([("idle@closed.example", "news")], at=day(0))
        synced(ledger, [*people(60)])

    def told(count: int, since: datetime | None = None) -> list[Replay]:
        work = Jobs(count, each, lost, weigh=lambda _: HEAVY)
        with work as several, opened(url, **known) as ledger:

            def over(work: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
                return several.results((work, item) for item in items)

            return list(ledger.reclassified(by_more_words, at=day(4), since=since, over=over))

    alone = told(1)
    assert len(alone) > 7, "there is something to share"
    became = {(one.address, one.list): one.to_suppressed for one in changes(alone)}
    assert became["idle@closed.example", ""], "the whole domain is given up"
    assert became["p0@0.example", ""]
    assert not became["p1@1.example", ""]
    assert became["p2@2.example", "strict"], "less is enough there"
    assert not became["p8@3.example", ""], "it is never suppressed"
    assert told(2) == alone
    assert told(3) == alone
    assert told(1, day(2)) == told(2, day(2)) != alone


def test_another_policy_is_tried_on_the_same_past_without_a_trace(ledger: Ledger, url: str) -> None:
    synced(ledger, [reading(1, bounce("ann@example.com", "unsure")), reading(2, "bob@example.com")])
    before = rows(url, "SELECT * FROM address ORDER BY address")
    strict = Policy(hard_at_once=0.5)
    (change,) = changes(ledger.simulated(strict, at=day(1)))
    assert (change.address, change.from_suppressed, change.to_suppressed) == (
        "ann@example.com",
        False,
        True,
    )
    assert rows(url, "SELECT * FROM address ORDER BY address") == before
    assert changes(ledger.simulated(Policy(), at=day(1))) == []


def test_a_simulation_since_a_time_sees_only_what_came_later(ledger: Ledger) -> None:
    synced(ledger, [reading(1, bounce("ann@example.com", "unsure"), at=day(0))])
    strict = Policy(hard_at_once=0.5)
    assert changes(ledger.simulated(strict, at=day(11), since=day(5))) == []

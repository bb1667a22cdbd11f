"""Where lists have standings of their own: what counts for one, and what for all."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from bounced.ledger import Selection
from bounced.ledger.reactivation import Reactivated, reactivate
from bounced.model import Fault, Kind, Outcome, Reason, Report, Returned, Verdict
from bounced.policy import Brake, Lists, Policy
from bounced.trust import Key, make_link, read_link
from tests.servers.database import rows

from .conftest import bounce, day, on_the_list, opened, reading, synced

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bounced.ledger import Ledger
    from bounced.model import Bounce, Reading, RecipientReport

STRICT = Policy(hard_at_once=0.5)
ANN = "ann@example.com"


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    with opened(url, lists=Lists("list", {"strict": STRICT})) as made:
        yield made


def about(
    name: str | None, uid: int, *bounces: Bounce, kind: Kind = Kind.BOUNCE, at: float = 0
) -> Reading:
    one = reading(uid, *bounces, at=day(at))
    report = one.conclusion.report
    returned = Returned(list_id=None if name is None else f"News of ours <{name}>")
    report = Report(kind, report.recipients, report.format, returned=returned)
    return replace(one, conclusion=replace(one.conclusion, report=report))


def complaint(address: str) -> Bounce:
    verdict = Verdict(Outcome.NONE, Reason.COMPLAINT, Fault.RECIPIENT, 1, "test/complaint", "No.")
    return replace(bounce(address), verdict=verdict)


def refusal(address: str) -> Bounce:
    said = Reason.RECIPIENT_REFUSED, Fault.RECIPIENT, 0.9, "test/refused", "She refuses."
    return replace(bounce(address), verdict=Verdict(Outcome.BLOCKED, *said))


def on(ledger: Ledger, name: str | None) -> list[tuple[str, str]]:
    return [(row.address, row.list) for row in ledger.suppressed(at=day(30), on=name)]


def test_a_complaint_counts_on_the_list_it_is_about_and_on_no_other(ledger: Ledger) -> None:
    told = synced(ledger, [about("news", 1, complaint(ANN), kind=Kind.COMPLAINT)])
    assert told.suppressed == 1
    assert on(ledger, "news") == [(ANN, "news")]
    assert on(ledger, "other") == []
    assert on(ledger, None) == [(ANN, "news")]


def test_a_complaint_of_which_nobody_knows_the_list_counts_on_all(ledger: Ledger) -> None:
    synced(ledger, [about(None, 1, complaint(ANN), kind=Kind.COMPLAINT)])
    assert on(ledger, "news") == on(ledger, "other") == [(ANN, "")]


def test_a_dead_mailbox_is_dead_on_every_list_and_told_once(ledger: Ledger) -> None:
    synced(ledger, [about("news", 1, bounce(ANN))])
    assert on(ledger, "other") == on(ledger, None) == [(ANN, "")]


def test_refusals_of_two_lists_do_not_add_up(ledger: Ledger) -> None:
    synced(ledger, [about("news", 1, refusal(ANN)), about("other", 2, refusal(ANN), at=2)])
    assert on(ledger, None) == []
    synced(ledger, [about("news", 3, refusal(ANN), at=4)])
    assert on(ledger, None) == [(ANN, "news")]


def test_a_list_can_be_stricter_than_the_rest(ledger: Ledger) -> None:
    synced(ledger, [about("news", 1, bounce(ANN, "unsure"))])
    assert on(ledger, "strict") == [(ANN, "strict")]
    assert on(ledger, "news") == []
    synced(ledger, [about("news", 2, bounce(ANN, "unsure"), at=4)])
    assert on(ledger, None) == [(ANN, "")], "what holds on all lists is told once"


def test_with_one_scope_for_all_the_same_past_suppresses_everywhere(url: str) -> None:
    with opened(url) as ledger:
        synced(ledger, [about("news", 1, complaint(ANN), kind=Kind.COMPLAINT)])
        assert on(ledger, "other") == [(ANN, "")]


def test_scope_can_be_changed_and_changed_back(url: str) -> None:
    apart = Lists("list")

    def alike(_recipient: RecipientReport, _report: Report) -> Verdict:
        return complaint(ANN).verdict

    with opened(url, lists=apart) as ledger:
        synced(ledger, [about("news", 1, complaint(ANN), kind=Kind.COMPLAINT)])
        before = rows(url, "SELECT * FROM suppression")
    with opened(url) as ledger:
        assert len(list(ledger.reclassify(alike, by="eve", at=day(2)))) == 1
        assert on(ledger, None) == [(ANN, "")]
    with opened(url, lists=apart) as ledger:
        assert len(list(ledger.reclassify(alike, by="eve", at=day(3)))) == 1
        assert rows(url, "SELECT * FROM suppression") == before


def test_what_changes_on_a_list_is_in_the_audit_and_can_be_released(ledger: Ledger) -> None:
    synced(ledger, [about("news", 1, complaint(ANN), kind=Kind.COMPLAINT)])
    history = ledger.explain(ANN)
    assert history.standing is not None
    assert not history.standing.suppressed
    assert history.on_lists["news"].reason is Reason.COMPLAINT
    assert [(one.list, one.to_suppressed) for one in history.transitions] == [("news", True)]
    ledger.release([ANN], by="eve", note="", at=day(1))
    assert on(ledger, None) == []
    last = ledger.explain(ANN).transitions[-1]
    assert (last.list, last.to_suppressed, last.actor) == ("news", False, "eve")
    ledger.undo(1, by="eve", at=day(2))
    assert on(ledger, None) == [(ANN, "news")]


def test_the_view_and_every_question_say_the_same(ledger: Ledger, url: str) -> None:
    synced(
        ledger,
        [
            about("news", 1, complaint(ANN), kind=Kind.COMPLAINT),
            about("news", 2, bounce("bob@example.com")),
        ],
    )
    view = rows(url, "SELECT address, list FROM suppression ORDER BY address")
    assert view == [(ANN, "news"), ("bob@example.com", "")]
    checked = dict(ledger.check([ANN.upper(), "bob@example.com"], at=day(1), on="news"))
    assert [row.list for row in checked.values() if row is not None] == ["news", ""]
    assert dict(ledger.check([ANN], at=day(1), on="other")) == {ANN: None}
    assert set(ledger.unclear([ANN, "bob@example.com"], at=day(1))) == {ANN, "bob@example.com"}
    assert set(ledger.unclear([ANN, "bob@example.com"], at=day(1), on="x")) == {"bob@example.com"}


def test_the_brake_counts_who_would_be_suppressed_on_one_list(url: str) -> None:
    careful: dict[str, Any] = {"brake": Brake(share=0, floor=3), "lists": Lists("list")}
    with opened(url, **careful) as ledger:
        letters = [
            about("news", n, complaint(f"a{n}@example.com"), kind=Kind.COMPLAINT) for n in range(5)
        ]
        assert synced(ledger, letters).held == 5
        assert {(one.list, one.reason) for one in ledger.waiting()} == {("news", "complaint")}
        assert on(ledger, None) == []
        ledger.decide(ledger.holds()[0].run_id, accept=True, by="eve", at=day(1))
        assert len(on(ledger, "news")) == 5


@pytest.mark.parametrize(
    ("list_id", "token_id", "expected"),
    [
        ("<News.Example.com>", None, "news"),
        ("other.example.com", None, "other.example.com"),
        (None, None, "of the mailbox"),
        ("<news.example.com>", "weekly", "week"),
        ("<news.example.com>", "campaign7", "news"),
    ],
)
def test_a_list_is_known_by_token_then_list_id_then_mailbox(
    list_id: str | None, token_id: str | None, expected: str
) -> None:
    from bounced.ledger import facts

    lists = Lists(
        token_ids={"weekly": "week"},
        list_ids={"news.example.com": "news"},
        mailboxes={"box": "of the mailbox"},
    )
    one = reading(1, ANN)
    report = replace(one.conclusion.report, returned=Returned(list_id=list_id))
    found = facts.list_id(replace(one, conclusion=replace(one.conclusion, report=report)))
    assert lists.named(token_id, found, "box") == expected


def test_the_mailbox_says_whose_mail_it_is_where_nothing_else_does(url: str) -> None:
    with opened(url, lists=Lists("list", mailboxes={"box": "weekly"})) as ledger:
        letter = about(None, 1, complaint(ANN), kind=Kind.COMPLAINT)
        synced(ledger, [letter], mailbox="box")
        assert on(ledger, None) == [(ANN, "weekly")]
        assert on_the_list(ledger) == [ANN]


def test_a_change_of_scope_is_shown_before_it_is_applied(url: str) -> None:
    with opened(url) as ledger:
        synced(ledger, [about("news", 1, complaint(ANN), kind=Kind.COMPLAINT)])
    with opened(url, lists=Lists("list")) as ledger:
        again = Verdict(Outcome.NONE, Reason.COMPLAINT, Fault.RECIPIENT, 1, "test/complaint", "No.")
        pieces = ledger.reclassified(lambda *_: again, at=day(1))
        told = [(one.list, one.to_suppressed) for piece in pieces for one in piece.changes]
        assert told == [("", False), ("news", True)]
        for _ in ledger.reclassify(lambda *_: again, by="eve", at=day(1)):
            pass
        assert on(ledger, None) == [(ANN, "news")]
        pieces = ledger.reclassified(lambda *_: again, at=day(1))
        assert [one for piece in pieces for one in piece.changes] == []


def test_a_sync_foretold_tells_lists_apart(ledger: Ledger) -> None:
    letters = [about("news", 1, complaint(ANN), refusal("bob@example.com"), kind=Kind.COMPLAINT)]
    foretold = ledger.rehearse("box", 7, [letters], at=day(1))
    assert ("news", True) in {(one.list, one.to_suppressed) for one in foretold.changes}
    assert on(ledger, None) == []


def test_whoever_one_list_alone_suppresses_is_chosen_for_a_release_like_the_rest(
    ledger: Ledger,
) -> None:
    letters = [
        about("news", 1, complaint(ANN), complaint("bob@example.net"), kind=Kind.COMPLAINT),
        about("other", 2, complaint(ANN), kind=Kind.COMPLAINT),
        about("news", 3, bounce("cy@example.com")),
    ]
    synced(ledger, letters)
    assert len(on(ledger, None)) == 4
    choices = {
        Selection(domains=("example.com",)): [(ANN, "news"), (ANN, "other"), ("cy@example.com", "")],
        Selection(reasons=("complaint",)): [(ANN, "news"), (ANN, "other"), ("bob@example.net", "news")],
        Selection(rules=("test/complaint",), domains=("example.net",)): [("bob@example.net", "news")],
        Selection(run_id=1, addresses=(ANN.upper(),)): [(ANN, "news"), (ANN, "other")],
        Selection(since=day(-1), until=day(1), reasons=("user_unknown",)): [("cy@example.com", "")],
        Selection(since=day(1)): [],
        Selection(run_id=2): [],
    }  # fmt: skip
    for chosen, expected in choices.items():
        found = [(row.address, row.list) for row in ledger.selected(chosen, at=day(2))]
        assert found == expected, chosen
    told = ledger.release_selected(
        Selection(reasons=("complaint",)), by="eve", note="our slip", at=day(2)
    )
    assert sum(told) == 2, "people, and not suppressions"
    assert on(ledger, None) == [("cy@example.com", "")]
    assert ledger.undo(1, by="eve", at=day(3)).suppressed == 3
    assert len(on(ledger, None)) == 4


def test_a_link_brings_back_whom_one_list_alone_suppresses(ledger: Ledger) -> None:
    refused = [about("news", n, refusal(ANN), at=n) for n in (1, 3)]
    synced(ledger, refused)
    assert on(ledger, None) == [(ANN, "news")]
    key = Key("a", b"sixteen bytes or some more of them")
    link = read_link(make_link(key, ANN, at=day(4), until=day(9)), [key])
    assert link is not None
    assert reactivate(ledger, link, at=day(5)) is Reactivated.RELEASED
    assert on(ledger, None) == []


def test_another_policy_is_tried_list_by_list(ledger: Ledger) -> None:
    letters = [
        about("news", 1, complaint(ANN), kind=Kind.COMPLAINT),
        about("strict", 2, bounce("bob@example.com", "unsure")),
    ]
    synced(ledger, letters)
    assert on(ledger, None) == [(ANN, "news"), ("bob@example.com", "strict")]

    def tried(lists: Lists) -> list[tuple[str, str, bool]]:
        pieces = ledger.simulated(Policy(), at=day(1), lists=lists)
        return [(one.address, one.list, one.to_suppressed) for p in pieces for one in p.changes]

    assert tried(Lists("list", {"strict": STRICT})) == [], "it is what holds now"
    assert tried(Lists("list")) == [("bob@example.com", "strict", False)]
    assert tried(Lists()) == [
        (ANN, "", True),
        (ANN, "news", False),
        ("bob@example.com", "strict", False),
    ]


def test_a_list_id_that_is_given_a_name_later_is_that_list_in_the_past_too(url: str) -> None:
    with opened(url, lists=Lists("list")) as ledger:
        synced(ledger, [about("news.lists.example.com", 1, complaint(ANN), kind=Kind.COMPLAINT)])
        assert on(ledger, None) == [(ANN, "news.lists.example.com")]
        assert ledger.strange_lists() == ["news.lists.example.com"]
        assert not ledger.is_list("news")
        ledger.import_subscribers([(ANN, "news")], at=day(0))
        assert ledger.is_list("news")
    with opened(url, lists=Lists("list", list_ids={"news.lists.example.com": "news"})) as ledger:
        verdict = complaint(ANN).verdict
        for _ in ledger.reclassify(lambda *_: verdict, by="eve", at=day(1)):
            pass
        assert on(ledger, "news") == [(ANN, "news")]
        assert ledger.strange_lists() == []

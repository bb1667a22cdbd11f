"""What holds of any past and any decisions: nothing is left of what was taken back."""

from __future__ import annotations

import shutil
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bounced.ledger import LedgerError, Selection, counting, standings
from bounced.model import Fault, Kind, Outcome, Reason, Reply, Report, Returned, Verdict
from bounced.policy import Brake, Incidents, Lists, Policy
from tests.servers.database import rows

from .conftest import WORDS, bounce, day, opened, reading, synced

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from bounced.ledger import Ledger, Replay
    from bounced.model import Reading, RecipientReport

LISTS = Lists("list", {"news": Policy(refused_events=1)})
EVERYTHING = {
    "address": "SELECT address, status, suppressed, reason, since, expires_at, score, rule"
    " FROM address WHERE status <> 'active' OR suppressed ORDER BY address",
    "list": "SELECT address, list, status, suppressed, reason, expires_at, because FROM list_standing"
    " ORDER BY address, list",
    "domain": "SELECT domain, reason, since, last_at, events FROM domain_ruling ORDER BY domain",
    "judgement": "SELECT event_id, outcome, reason, fault, rule FROM judgement ORDER BY event_id",
    "run": "SELECT id, state FROM run ORDER BY id",
    "waits": "SELECT run_id, address FROM newly_suppressed ORDER BY run_id, address",
    "incident": "SELECT id, state FROM incident ORDER BY id",
}
VERDICTS = {
    **{word: bounce("", word).verdict for word in WORDS},
    "nowhere": Verdict(
        Outcome.HARD, Reason.HOST_UNKNOWN, Fault.RECIPIENT, 0.95, "test/nowhere", "No such host."
    ),
    "refused": Verdict(
        Outcome.BLOCKED, Reason.RECIPIENT_REFUSED, Fault.RECIPIENT, 0.9, "test/refused", "Refused."
    ),
    "complained": Verdict(
        Outcome.NONE, Reason.COMPLAINT, Fault.RECIPIENT, 1, "test/complained", "Complained."
    ),
}
KINDS = {"complained": Kind.COMPLAINT, "delivered": Kind.DELIVERY}
PEOPLE = [f"p{n}@{where}.example" for where in ("one", "two") for n in range(3)]
SILENT = "silent@two.example"  # on the list, and never reported
told = st.tuples(
    st.sampled_from(PEOPLE),
    st.sampled_from([*sorted(VERDICTS), "nowhere", "nowhere", "nowhere"]),
    st.integers(1, 20),
    st.sampled_from(["", "news", "jobs"]),
)
# of whom, which word, on which day, of which list: the letters of each sync. Decisions are made on
# the thirtieth day: nothing may end in that very moment that lasts for thirty.
Past = list[list[tuple[str, str, int, str]]]
pasts = st.lists(st.lists(told, min_size=1, max_size=6), min_size=1, max_size=5)
a_test = settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def letter(uid: int, whose: str, word: str, on: int, name: str) -> Reading:
    verdict = VERDICTS[word]
    one = replace(bounce(whose, reply=Reply(word, code=550), remote_mta="mx.one.example"),
                  verdict=verdict)  # fmt: skip
    made = reading(uid, one, at=day(on))
    report = Report(
        KINDS.get(word, Kind.BOUNCE),
        made.conclusion.report.recipients,
        "rfc3464",
        returned=Returned(list_id=name or None),
    )
    return replace(made, conclusion=replace(made.conclusion, report=report))


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger to be copied: to make the schema takes longer than what is done here."""
    path = tmp_path_factory.mktemp("empty") / "x.db"
    opened(f"sqlite:///{path}").close()
    return path


@contextmanager
def ledger_of(empty: Path, data: st.DataObject) -> Iterator[tuple[Ledger, Path]]:
    """A copy of it, with a brake and a watch for incidents that hold much, or nothing."""
    path = empty.with_name("copy.db")
    for old in path.parent.glob("copy.db*"):
        old.unlink()
    shutil.copy(empty, path)
    with opened(
        f"sqlite:///{path}",
        brake=Brake(share=0, floor=data.draw(st.sampled_from([2, 1000]), "floor")),
        lists=LISTS,
        unusual=Incidents(data.draw(st.sampled_from([0, 1]), "crowd"), factor=1, young_days=0),
    ) as ledger:
        yield ledger, path


def lived(ledger: Ledger, past: Past) -> None:
    """Each of the past's batches is a sync, and what ends by itself has ended since."""
    ledger.import_subscribers([(one, "news") for one in [*PEOPLE, SILENT]], at=day(0))
    uid = 0
    for batch in past:
        letters = [letter(uid + n, *one) for n, one in enumerate(batch, 1)]
        uid += len(batch)
        synced(ledger, letters)
    ledger.end_expired(at=day(30))


def as_before(recipient: RecipientReport, _report: Report) -> Verdict:
    """The rules by which everything was judged: a reply says its own word."""
    return VERDICTS[recipient.reply.text]


def counted_again(ledger: Ledger) -> None:
    """What held runs would suppress, after what other runs brought meanwhile, is as of now."""
    with ledger._database.writing() as connection:
        everyone = standings.load(connection, [*PEOPLE, SILENT])
        counting.count_again(connection, ledger._judge, everyone, day(30))


def everything(path: Path) -> dict[str, list[tuple[object, ...]]]:
    return {name: rows(f"sqlite:///{path}", query) for name, query in EVERYTHING.items()}


def changes(pieces: Iterable[Replay]) -> list[tuple[str, str, bool, bool, str | None]]:
    return sorted(
        (one.address, one.list, one.from_suppressed, one.to_suppressed, one.to_reason)
        for piece in pieces
        for one in piece.changes
    )


def decided(ledger: Ledger, data: st.DataObject) -> None:
    """A few decisions of an operator, whichever are possible."""
    for hour in range(data.draw(st.integers(1, 4), "decisions")):
        words: dict[str, Any] = {"by": "eve", "at": day(30 + hour / 24)}
        what = data.draw(st.sampled_from(["release", "select", "domain", "word", "judge"]))
        with suppress(LedgerError):  # nothing to decide there
            if what == "release":
                ledger.release([data.draw(st.sampled_from(PEOPLE))], note="", **words)
            elif what == "select":
                chosen = Selection(reasons=("user_unknown", "complaint"))
                list(ledger.release_selected(chosen, note="", **words))
            elif what == "domain":
                ledger.release_domain("two.example", note="", **words)
            elif what == "word":
                _word_on_what_waits(ledger, accept=data.draw(st.booleans()), **words)
            else:
                list(ledger.reclassify(otherwise(data), **words))


def _word_on_what_waits(ledger: Ledger, **words: Any) -> None:
    for held in ledger.holds()[:1]:
        ledger.decide(held.run_id, **words)
    for waits in ledger.incidents()[:1]:
        ledger.decide_incident(waits.id, **words)


def otherwise(data: st.DataObject) -> Callable[[RecipientReport, Report], Verdict]:
    """Other rules: some words mean something else."""
    words = sorted(VERDICTS)
    meant = dict(zip(words, data.draw(st.permutations(words)), strict=True))

    def judged(recipient: RecipientReport, _report: Report) -> Verdict:
        return VERDICTS[meant[recipient.reply.text]]

    return judged


@given(past=pasts, data=st.data())
@a_test
def test_whatever_was_decided_and_taken_back_has_never_been(
    empty: Path, past: Past, data: st.DataObject
) -> None:
    with ledger_of(empty, data) as (ledger, path):
        lived(ledger, past)
        counted_again(ledger)
        before = everything(path)
        decided(ledger, data)
        for decision in ledger.decisions():
            if decision.undone_at is None:
                ledger.undo(decision.id, by="eve", at=day(30))
        counted_again(ledger)
        assert everything(path) == before


@given(past=pasts, data=st.data())
@a_test
def test_judging_again_by_the_same_rules_changes_nothing(
    empty: Path, past: Past, data: st.DataObject
) -> None:
    with ledger_of(empty, data) as (ledger, path):
        lived(ledger, past)
        ledger.release([data.draw(st.sampled_from(PEOPLE))], by="eve", note="", at=day(9))
        before = everything(path)
        assert changes(ledger.reclassified(as_before, at=day(0))) == []
        assert changes(ledger.reclassify(as_before, by="eve", at=day(0))) == []
        after = everything(path)
        assert {**after, "waits": None} == {**before, "waits": None}
        assert [one.what for one in ledger.decisions()] in ([], ["release"])


@given(past=pasts, data=st.data())
@a_test
def test_what_judging_again_would_change_is_what_it_changes(
    empty: Path, past: Past, data: st.DataObject
) -> None:
    rules = otherwise(data)
    with ledger_of(empty, data) as (ledger, _):
        lived(ledger, past)
        shown = changes(ledger.reclassified(rules, at=day(25)))
        assert changes(ledger.reclassify(rules, by="eve", at=day(25))) == shown
        assert changes(ledger.reclassified(rules, at=day(25))) == []


@given(past=pasts, data=st.data())
@a_test
def test_the_present_policy_tried_on_the_past_differs_in_nothing(
    empty: Path, past: Past, data: st.DataObject
) -> None:
    with ledger_of(empty, data) as (ledger, _):
        lived(ledger, past)
        assert changes(ledger.simulated(Policy(), at=day(25), lists=LISTS)) == []
        stricter = Lists("list", {"news": Policy(hard_at_once=0.5)})
        tried = changes(ledger.simulated(Policy(), at=day(25), lists=stricter))
        assert all(name == "news" for _, name, *_ in tried)

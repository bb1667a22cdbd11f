"""What servers of every family and country answer, and what a careful person would conclude.

The texts of `data/replies.tsv` were written down from what the servers say, before anybody looked
at what the books make of them: `where` names the server, `outcomes` and `reasons` what is right, `mta` the host
that answered where that is known.
"""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from bounced.model import Outcome, Reason, RecipientReport
from bounced.rules import classify, rulebook
from bounced.rules.folding import words
from bounced.rules.index import RuleIndex
from bounced.smtp import parse_reply

DATA = Path(__file__).parent / "data" / "replies.tsv"


def rows() -> list[dict[str, str]]:
    with DATA.open(encoding="utf-8", newline="") as page:
        return list(csv.DictReader(page, delimiter="\t", quoting=csv.QUOTE_NONE))


ROWS = rows()


def test_there_are_many_replies_and_each_allows_only_what_exists() -> None:
    assert len(ROWS) >= 1100
    assert len({row["text"] for row in ROWS}) == len(ROWS)
    for row in ROWS:
        assert {Outcome(one) for one in row["outcomes"].split(",")}
        assert {Reason(one) for one in row["reasons"].split(",")}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["where"])
def test_a_reply_is_judged_as_a_careful_person_would(row: dict[str, str]) -> None:
    reply = parse_reply(row["text"])
    found = classify(RecipientReport("anna@example.com", reply, remote_mta=row["mta"]))
    assert found.outcome in row["outcomes"].split(","), found
    assert found.reason in row["reasons"].split(","), found


def test_every_reason_for_which_a_delivery_fails_is_among_them() -> None:
    told = {Reason(one) for row in ROWS for one in row["reasons"].split(",")}
    derived = {Reason.MAILBOX_FULL_PERSISTENT}
    nothing_failed = set(Reason) - set(list(Reason)[: list(Reason).index(Reason.NOT_A_FAILURE)])
    assert set(Reason) - derived - nothing_failed - told == set()


def test_the_quick_index_hears_in_each_what_the_plain_one_hears() -> None:
    quick, plain = RuleIndex(rulebook()), RuleIndex(rulebook(), plain=True)
    for row in ROWS:
        spelt = words(row["text"])
        assert quick.heard(spelt) == plain.heard(spelt), row

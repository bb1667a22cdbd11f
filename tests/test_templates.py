"""What replies have in common, and the rule that an operator makes of it."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bounced.model import Outcome, Reason
from bounced.rules import RuleError
from bounced.rules.templates import Draft, example, fresh_id, ids, phrase, proven, template


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("550 frobnicated <a@example.com> 17", "550 frobnicated <b@example.net> 4711"),
        ("554 mx1.example.com: quux 192.0.2.1", "554 mx2.example.net: quux 198.51.100.7"),
        ("450 4.7.1 wait 300 s, ref 0a1b2c3d4e5f", "450 4.7.1 wait 12 s, ref ffee00112233"),
    ],
)
def test_replies_that_differ_only_in_names_and_numbers_have_one_template(
    one: str, other: str
) -> None:
    assert template(one) == template(other)


def test_reply_code_and_status_are_no_mere_numbers() -> None:
    assert template("550 5.1.1 quux 17") == "550 5.1.1 quux #"
    assert template("450 4.1.1 quux 17") == "450 4.1.1 quux #"


def test_the_name_of_the_mailbox_is_taken_out() -> None:
    assert template("550 karolina is not wanted", "karolina@example.com") == "550 is not wanted"


def test_a_phrase_is_the_words_of_a_template_without_its_numbers() -> None:
    assert phrase("550 5.1.1 box # frobnicated # times") == "box … frobnicated … times"
    assert phrase("550") == ""
    assert phrase("550 #") == ""


def test_nobodys_address_comes_into_a_book() -> None:
    assert example("550 <anna.lee@example.org>: no") == "550 <someone@example.com>: no"


def draft(says: str, text: str, outcome: Outcome = Outcome.HARD) -> Draft:
    return Draft("own/x", says, outcome, Reason.USER_UNKNOWN, "Because.", "here", text)


@given(st.text(min_size=1, max_size=40))
def test_a_rule_is_written_so_that_it_can_be_read_again(text: str) -> None:
    told = draft(text, text).toml()
    (rule,) = tomllib.loads(told)["rule"]
    assert rule["examples"] == [text]


def test_a_page_with_a_good_rule_is_proven_and_steals_nothing() -> None:
    page = draft("frobnicated box", "550 frobnicated box").toml()
    assert proven([("own.toml", page)], "own/x") == ()


def test_a_rule_that_takes_the_examples_of_others_is_told() -> None:
    page = draft("mailbox", "550 mailbox frobnicated").toml()
    stolen = proven([("own.toml", page)], "own/x")
    assert "501 Mailbox not found" in stolen


def test_a_rule_that_loses_its_example_is_refused() -> None:
    page = draft("frobnicated", "450 frobnicated").toml()  # hard, and yet temporary
    with pytest.raises(RuleError, match="does not win its example '450 frobnicated'"):
        proven([("own.toml", page)], "own/x")


def test_a_fresh_id_is_nobody_elses() -> None:
    page = draft("frobnicated box", "550 frobnicated box").toml().replace("own/x", "own/quux-box")
    taken = ids([("own.toml", page)])
    assert fresh_id("quux box", taken) == "own/quux-box-2"
    assert fresh_id("другой ящик", taken) == "own/rule"

"""The operator's own judgement: what nobody understood, a rule for it, and the books' test."""

from __future__ import annotations

import json
import tomllib
from typing import TYPE_CHECKING

import pytest

from bounced.model import Fault, Outcome, Reason, Verdict
from tests.cli.conftest import HARD, reading, recorded

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Bounced

UNCLEAR = Verdict(
    Outcome.SOFT, Reason.UNDETERMINED, Fault.UNKNOWN, 0.3, "code/5xx", "It was not understood."
)
HARD_WORDS = ("--outcome", "hard", "--reason", "user_unknown")


@pytest.fixture
def unclear(bounced: Bounced) -> Path:
    """Three addresses with one unknown saying, one with another, one that was understood."""
    path = bounced.folder / "list.db"
    recorded(
        path,
        [
            reading(1, "a@example.com", "550 frobnicated mailbox 17 <a@example.com>", UNCLEAR),
            reading(2, "b@example.com", "550 frobnicated mailbox 4 <b@example.com>", UNCLEAR),
            reading(3, "c@example.com", "550 frobnicated mailbox 99 <c@example.com>", UNCLEAR),
            reading(4, "d@example.com", "554 quux \x1b[31m", UNCLEAR),
            reading(5, "e@example.com", "550 5.1.1 User unknown", HARD),
        ],
    )
    return path


def test_what_was_not_understood_is_grouped_most_affected_first(
    bounced: Bounced, unclear: Path
) -> None:
    result = bounced("review", "--db", str(unclear))
    assert result.exit_code == 0
    lines = [line for line in result.output.splitlines() if "undetermined" in line]
    assert [line.split()[:3] for line in lines] == [["1", "3", "3"], ["2", "1", "1"]]
    assert "frobnicated mailbox 17" in lines[0]
    assert "User unknown" not in result.output
    assert "\x1b" not in result.output


def test_where_all_is_understood_nothing_waits(bounced: Bounced, database: Path) -> None:
    assert "Nothing waits for review." in bounced("review", "--db", str(database)).output


def test_a_rule_is_added_to_the_operators_book_with_its_example(
    bounced: Bounced, unclear: Path
) -> None:
    book = bounced.folder / "own.toml"
    words = ("review", "--db", str(unclear), "--pick", "1", *HARD_WORDS, "--book", str(book))
    result = bounced(*words)
    assert result.exit_code == 0, result.output
    (rule,) = tomllib.loads(book.read_text("utf-8"))["rule"]
    assert rule["id"] == "own/frobnicated-mailbox"
    assert rule["says"] == ["frobnicated mailbox"]
    assert rule["examples"] == ["550 frobnicated mailbox 17 <someone@example.com>"]
    assert f'rules = ["{book.resolve()}"]' in result.output
    assert book.read_text("utf-8").startswith("# Rules of our own")
    told = bounced("rules", "show", "550 frobnicated mailbox 5", "--book", str(book)).output
    assert "verdict: hard, user_unknown" in told
    assert "1. own/frobnicated-mailbox" in told


def test_a_book_that_the_configuration_names_is_the_one_that_grows(
    bounced: Bounced, unclear: Path
) -> None:
    book = bounced.folder / "mine.toml"
    book.write_text("# mine\n", "utf-8")
    settings = f'rules = ["mine.toml"]\n[database]\nurl = "sqlite:///{unclear}"\n'
    (bounced.folder / "config.toml").write_text(settings, "utf-8")
    result = bounced("review", "--pick", "2", *HARD_WORDS)
    assert result.exit_code == 0, result.output
    assert book.read_text("utf-8").startswith("# mine\n\n[[rule]]\n")
    assert "write into the configuration" not in result.output
    assert "(1 yours)" in bounced("rules", "test").output


def test_a_group_that_a_new_rule_answers_waits_no_longer(bounced: Bounced, unclear: Path) -> None:
    book = bounced.folder / "mine.toml"
    book.write_text("# mine\n", "utf-8")
    settings = f'rules = ["mine.toml"]\n[database]\nurl = "sqlite:///{unclear}"\n'
    (bounced.folder / "config.toml").write_text(settings, "utf-8")
    assert bounced("review", "--pick", "1", *HARD_WORDS).exit_code == 0
    result = bounced("review")
    assert "frobnicated" not in result.output
    assert "quux" in result.output
    assert "bounced reclassify --apply" in result.output


def test_a_book_that_is_not_there_is_told_with_the_way_to_begin_one(
    bounced: Bounced, unclear: Path
) -> None:
    settings = f'rules = ["mine.toml"]\n[database]\nurl = "sqlite:///{unclear}"\n'
    (bounced.folder / "config.toml").write_text(settings, "utf-8")
    for words in (("review",), ("rules", "test")):
        result = bounced(*words)
        assert result.exit_code == 2
        assert "mine.toml: cannot be read: No such file" in result.output
        assert "to begin an empty book, type: touch mine.toml" in result.output


def test_a_rule_that_cannot_hold_is_not_written(bounced: Bounced, unclear: Path) -> None:
    book = bounced.folder / "own.toml"
    words = ("review", "--db", str(unclear), "--pick", "1", *HARD_WORDS, "--book", str(book))
    result = bounced(*words, "--phrase", "something else")
    assert result.exit_code == 2
    assert "does not win its example" in result.output
    assert not book.exists()
    assert [one.name for one in bounced.folder.iterdir() if one.name.startswith(".own")] == []


def test_words_that_others_use_are_refused_unless_the_operator_insists(
    bounced: Bounced, unclear: Path
) -> None:
    book = bounced.folder / "own.toml"
    words = ("review", "--db", str(unclear), "--pick", "1", *HARD_WORDS, "--book", str(book))
    result = bounced(*words, "--phrase", "mailbox")
    assert result.exit_code == 1
    assert "Nothing was written" in result.output
    assert not book.exists()
    assert bounced(*words, "--phrase", "mailbox", "--anyway").exit_code == 0
    assert book.exists()


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--pick", "9", *HARD_WORDS), "there is no group 9"),
        (("--pick", "1", "--outcome", "hard", "--reason", "user_unkown"), "did you mean"),
        (("--pick", "1", "--reason", "user_unknown"), "give --outcome"),
    ],
)
def test_what_was_mistyped_is_told(
    bounced: Bounced, unclear: Path, more: tuple[str, ...], says: str
) -> None:
    result = bounced("review", "--db", str(unclear), *more)
    assert result.exit_code == 2
    assert says in result.output


def test_all_books_hold_what_they_say(bounced: Bounced) -> None:
    result = bounced("rules", "test")
    assert result.exit_code == 0
    assert "(0 yours)" in result.output
    assert result.output.endswith(" 0 failures.\n")


def test_a_failing_example_is_told_with_the_rule_that_won(bounced: Bounced) -> None:
    book = bounced.folder / "own.toml"
    book.write_text(
        """
        [[rule]]
        id = "own/quux"
        says = ["quux"]
        outcome = "soft"
        reason = "system_error"
        because = "Quux."
        source = "here"
        examples = ["550 quux", "550 5.1.1 User unknown"]
        counterexamples = ["550 no quux"]
        """,
        "utf-8",
    )
    result = bounced("rules", "test", "--book", str(book))
    assert result.exit_code == 1
    assert "own.toml:2: own/quux does not win its example" in result.output
    assert "won by dead/user-unknown (phrases/4-dead.toml:" in result.output
    assert "own.toml:2: own/quux wins its counterexample\n    550 no quux" in result.output


def test_every_rule_that_fits_is_shown_the_winner_first(bounced: Bounced) -> None:
    output = bounced("rules", "show", "550 5.1.1 <a@example.com>: User unknown").output
    assert "verdict: hard, user_unknown" in output
    first, second = (output.index(f" {number}. ") for number in (1, 2))
    assert first < output.index("dead/user-unknown") < second < output.index("status/5.1.1")


def test_a_reply_may_come_from_standard_input(bounced: Bounced) -> None:
    output = bounced("rules", "show", "-", stdin="452 4.2.2 Mailbox full\n").output
    assert "verdict: soft, mailbox_full" in output


def test_a_provider_is_known_by_the_host_that_is_told(bounced: Bounced) -> None:
    told = bounced("rules", "show", "550 5.4.1", "--mta", "x.mail.protection.outlook.com").output
    assert "1. microsoft/" in told


def test_what_was_not_understood_is_told_to_machines(bounced: Bounced, unclear: Path) -> None:
    result = bounced("review", "--db", str(unclear), "--json", "--limit", "1")
    (group,) = [json.loads(line) for line in result.stdout.splitlines()]
    assert (group["group"], group["addresses"], group["events"]) == (1, 3, 3)
    assert (group["outcome"], group["reason"]) == ("soft", "undetermined")
    assert group["said"].startswith("550 frobnicated mailbox")

"""`bounced domains`: what is given up, the way back, and likely slips."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from bounced.model import Reason
from bounced.typos import meant
from tests.cli.conftest import HARD, reading, recorded

if TYPE_CHECKING:
    from tests.cli.conftest import Bounced

NULL_MX = replace(HARD, reason=Reason.NULL_MX, rule="test/null-mx")


def test_a_domain_that_is_given_up_is_listed_and_released(bounced: Bounced) -> None:
    (bounced.folder / "config.toml").write_text("")
    (bounced.folder / "list.csv").write_text("email\nbob@closed.example\n")
    recorded(bounced.folder / "bounced.db", [])
    assert bounced("domains").stdout == "No domain is given up.\n"
    bounced("subscribers", "import", "list.csv")
    said = "550 5.1.10 null MX"
    recorded(bounced.folder / "bounced.db", [reading(1, "ann@closed.example", said, NULL_MX)])
    listed = bounced("domains")
    assert "closed.example" in listed.stdout
    assert "bounced domains release closed.example" in listed.stderr
    told = json.loads(bounced("domains", "--json").stdout)
    assert (told["domain"], told["reason"]) == ("closed.example", "null_mx")
    assert bounced("suppressed", "check", "new@closed.example").exit_code == 1
    assert bounced("suppressed").stdout == "ann@closed.example\nbob@closed.example\n"
    released = bounced("domains", "release", "Closed.example", "--note", "they moved")
    # what was said of Ann's own address goes on
    assert released.stdout == "closed.example: 1 address may be mailed again.\n"
    assert bounced("suppressed").stdout == "ann@closed.example\n"
    assert bounced("domains", "release", "closed.example").exit_code == 2


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        ("gmial.com", "gmail.com"),
        ("gmail.co", "gmail.com"),
        ("gmail.con", "gmail.com"),
        ("gmaill.com", "gmail.com"),
        ("hotmal.com", "hotmail.com"),
        ("gmail.com", None),
        ("ymail.com", None),
        ("mail.com", None),
        ("example.org", None),
        ("", None),
    ],
)
def test_one_slip_from_a_well_known_domain_is_a_likely_typo(
    domain: str, expected: str | None
) -> None:
    assert meant(domain) == expected


def test_likely_slips_are_reported_where_nothing_lives_and_never_acted_upon(
    bounced: Bounced,
) -> None:
    (bounced.folder / "config.toml").write_text("")
    alive = replace(HARD, rule="test/answered")
    recorded(bounced.folder / "bounced.db", [reading(1, "x@hotmal.com", "550 no user", alive)])
    (bounced.folder / "list.csv").write_text("email\nann@gmial.com\nbob@gmial.com\n")
    bounced("subscribers", "import", "list.csv")
    told = [json.loads(line) for line in bounced("domains", "typos", "--json").stdout.splitlines()]
    assert told == [{"domain": "gmial.com", "meant": "gmail.com", "addresses": 2}]
    assert "gmial.com" in bounced("domains", "typos").stdout
    assert bounced("suppressed", "check", "ann@gmial.com").exit_code == 0

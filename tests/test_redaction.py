"""What is kept without names is judged as it was with them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bounced import parse
from bounced.ledger.facts import redacted
from bounced.rules import judge
from bounced.smtp import parse_reply

EML = Path(__file__).parents[1] / "fixtures" / "eml"


@pytest.mark.parametrize("who", sorted(folder.name for folder in EML.iterdir()))
def test_every_fixture_is_judged_alike_from_its_redacted_diagnostics(who: str) -> None:
    for path in sorted((EML / who).glob("*.eml")):
        conclusion = parse(path.read_bytes())
        for bounce in conclusion.bounces:
            text = redacted(bounce.recipient.reply.text)
            reply = replace(bounce.recipient.reply, text=text, quoted=parse_reply(text).quoted)
            recipient = replace(bounce.recipient, reply=reply)
            again = judge(replace(conclusion.report, recipients=(recipient,))).bounces[0].verdict
            told = (again.outcome, again.reason)
            assert told == (bounce.verdict.outcome, bounce.verdict.reason), path.name


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("550 5.1.1 <ann@example.com>: no", "550 5.1.1 <***@example.com>: no"),
        ("ann@example.com and bob@example.net", "***@example.com and ***@example.net"),
        ("550 no such user", "550 no such user"),
        ("***@example.com", "***@example.com"),
    ],
)
def test_the_names_go_and_the_domains_stay(text: str, kept: str) -> None:
    assert redacted(text) == kept

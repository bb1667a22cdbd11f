"""Every mail under fixtures/eml has a .toml beside it that says what must be concluded."""

import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bounced import parse
from bounced.model import Bounce, Conclusion

EML = Path(__file__).parent.parent / "fixtures" / "eml"
LETTERS = [
    pytest.param(p, id=str(p.relative_to(EML).with_suffix(""))) for p in sorted(EML.rglob("*.eml"))
]


def expectation(letter: Path) -> dict[str, Any]:
    return tomllib.loads(letter.with_suffix(".toml").read_text("utf-8"))


def told(conclusion: Conclusion, expected: dict[str, Any]) -> dict[str, Any]:
    """What we concluded, in the words and with the keys of the .toml."""
    report = conclusion.report
    got: dict[str, Any] = {
        "kind": str(report.kind),
        "reporting_mta": report.reporting_mta,
        "returned_message_id": report.returned.message_id,
    }
    got = {key: value for key, value in got.items() if key in expected}
    wanted = expected.get("recipient", [])
    if len(wanted) == len(conclusion.bounces):
        pairs = zip(conclusion.bounces, wanted, strict=True)
        got["recipient"] = [told_of(bounce, want) for bounce, want in pairs]
    else:
        got["recipient"] = [bounce.recipient.address for bounce in conclusion.bounces]
    return got


def told_of(bounce: Bounce, want: dict[str, Any]) -> dict[str, Any]:
    recipient, verdict = bounce.recipient, bounce.verdict
    got: dict[str, Any] = {
        "address": recipient.address,
        "original_address": recipient.original_address,
        "action": str(recipient.action),
        "status": str(recipient.best_status) if recipient.best_status else None,
        "reply_code": recipient.reply.code,
        "outcome": str(verdict.outcome),
        "reason": str(verdict.reason),
    }
    got = {key: value for key, value in got.items() if key in want}
    if "reasons" in want:
        got["reasons"] = (
            want["reasons"] if verdict.reason in want["reasons"] else str(verdict.reason)
        )
    if "says" in want:
        got["says"] = (
            want["says"]
            if want["says"].casefold() in recipient.reply.text.casefold()
            else recipient.reply.text
        )
    return got


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize("letter", LETTERS)
def test_a_letter_leads_to_what_its_label_says(letter: Path, newline: bytes) -> None:
    expected = expectation(letter)
    assert expected.pop("origin"), "say where the mail comes from"
    expected.setdefault("recipient", [])
    raw = letter.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", newline)
    assert told(parse(raw), expected) == expected


FILTERED = re.compile(rb"(?im)^subject: ?(?=\S)")
NAMES = re.compile(rb"(?m)^[A-Za-z-]+:")
TRACES = re.compile(rb"(?im)^(?:received|x-mailer|x-spam-\S+):.*\n(?:[ \t].*\n)*")
# what says nothing of a delivery, and stands in some copies of a mail
CHANGED: dict[str, Callable[[bytes], bytes]] = {
    "from a mailbox file": lambda raw: b"From MAILER-DAEMON Tue Oct 13 09:00:00 2026\n" + raw,
    "behind a blank line": lambda raw: b"\n" + raw,
    "marked by a filter": lambda raw: _head(raw, lambda h: FILTERED.sub(b"Subject: [SPAM] ", h, 1)),
    "with fields in small letters": lambda raw: _head(
        raw, lambda h: NAMES.sub(lambda name: name[0].lower(), h)
    ),
    "without traces": lambda raw: _head(raw, lambda h: TRACES.sub(b"", h + b"\n")[:-1]),
}


def _head(raw: bytes, change: Callable[[bytes], bytes]) -> bytes:
    head, border, body = raw.replace(b"\r\n", b"\n").partition(b"\n\n")
    return change(head) + border + body


@pytest.mark.parametrize("change", CHANGED.values(), ids=CHANGED)
def test_what_says_nothing_of_a_delivery_changes_nothing(change: Callable[[bytes], bytes]) -> None:
    differ = []
    for path in sorted(EML.rglob("*.eml")):
        raw = path.read_bytes()
        if raw[:1].isspace() or b"\n\n" not in raw.replace(b"\r\n", b"\n"):
            continue  # no headers
        before, after = parse(raw), parse(change(raw))
        if before.report.kind is not after.report.kind or before.bounces != after.bounces:
            differ.append(str(path.relative_to(EML)))
    assert differ == []


def test_there_are_enough_letters_in_enough_dialects() -> None:
    assert len(LETTERS) >= 60
    assert len({letter.parent for letter in EML.rglob("*.eml")}) >= 12


def test_every_label_has_its_letter() -> None:
    assert [p for p in EML.rglob("*.toml") if not p.with_suffix(".eml").exists()] == []

"""Damaged mail: thousands of mutants of the fixtures end in a result, soon, and blame nobody new."""

import re
import sys
import time
import tomllib
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bounced import message, parse
from bounced.model import Conclusion, Outcome
from bounced.smtp import ADDRESS, canonical

ROOT = Path(__file__).parent.parent
EML = ROOT / "fixtures" / "eml"
KIT = ROOT.parent / "shared" / "kit" / "mutate.py"
MUTANTS = 2_000
CPU_SECONDS = 1.0

needs_kit = pytest.mark.skipif(not KIT.exists(), reason="../shared/kit is not here")


def kit() -> ModuleType:
    spec = spec_from_file_location("mutate", KIT)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules["mutate"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def letters() -> list[tuple[str, bytes]]:
    found = sorted(EML.rglob("*.eml"))
    return [(str(path.relative_to(EML)), path.read_bytes()) for path in found]


class Mutant(NamedTuple):
    """What became of a letter: `name` is the fixture's, `spent` the processor time of reading."""

    name: str
    operators: tuple[str, ...]
    raw: bytes
    spent: float
    conclusion: Conclusion


@pytest.fixture(scope="module")
def mutants(letters: list[tuple[str, bytes]]) -> list[Mutant]:
    parse(letters[0][1])  # the books are read once
    originals = {re.sub(r"[^\w.-]", "_", name).removesuffix(".eml"): name for name, _ in letters}
    made = []
    per_file = -(-MUTANTS // len(letters))
    for name, operators, raw in kit().mutants(letters, per_file=per_file, limit=MUTANTS):
        start = time.process_time()
        conclusion = parse(raw)
        spent = time.process_time() - start
        letter = originals[name.rpartition(".m")[0]]
        made.append(Mutant(letter, tuple(operators), raw, spent, conclusion))
    return made


def hard(conclusion: Conclusion) -> Iterator[str]:
    for bounce in conclusion.bounces:
        if bounce.verdict.outcome is Outcome.HARD and bounce.verdict.confidence >= 0.9:
            yield canonical(bounce.recipient.address)


@needs_kit
def test_every_mutant_ends_in_a_result(mutants: list[Mutant]) -> None:
    assert len(mutants) == MUTANTS
    # and damage does not make everything the same
    assert len({mutant.conclusion.report.kind for mutant in mutants}) >= 6


@needs_kit
def test_no_mutant_takes_a_second(mutants: list[Mutant]) -> None:
    slow = {(m.name, m.operators): m.spent for m in mutants if m.spent > CPU_SECONDS}
    assert slow == {}


def words_of(raw: bytes) -> str:
    """All that a mail says, its parts decoded, white space out of the way, in small letters."""
    got = message.read(raw)
    parts = [part.text() for part in got.parts]
    # what a gateway doubled is one line end for the reader, too
    told = [raw.decode("latin-1"), raw.decode("utf-8", "replace"), got.text(), *parts]
    return re.sub(r"\s+", "", "\n".join(told)).lower()


def stands_in(address: str, words: str) -> bool:
    """Whether local part and domain were read, not made up (VERP and bare names part them)."""
    local, _, domain = re.sub(r"\s+", "", address.lower()).rpartition("@")
    escaped = "\\x{" in words  # RFC 6533 writes letters as numbers
    return domain in words and (local in words or escaped)


@needs_kit
def test_every_address_of_a_mutant_stands_in_its_words(mutants: list[Mutant]) -> None:
    invented = {
        (mutant.name, mutant.operators): bounce.recipient.address
        for mutant in mutants
        for bounce in mutant.conclusion.bounces
        if not stands_in(bounce.recipient.address, words_of(mutant.raw))
    }
    assert invented == {}


def addresses_of(raw: bytes) -> set[str]:
    """The addresses of a mail, each as a whole: what damage made of one is nobody's."""
    got = message.read(raw)
    whole = raw.decode("utf-8", "replace")  # as Latin-1 an international address is another's
    told = [whole, got.text(), *(part.text() for part in got.parts)]
    return {canonical(found).lower() for text in told for found in ADDRESS.findall(text)}


def named(letter: str) -> set[str]:
    """The addresses of a fixture's label, by any name."""
    label = tomllib.loads((EML / letter).with_suffix(".toml").read_text("utf-8"))
    told = label.get("recipient", [])
    keys = ("address", "original_address")
    return {canonical(one[key]).lower() for one in told for key in keys if one.get(key)}


# Where the beginning is lost, or another mail stands in the middle, it is not the same notice.
ANOTHER_MAIL = {"truncate_front", "splice"}


@needs_kit
def test_no_mutant_condemns_somebody_who_is_only_mentioned(
    letters: list[tuple[str, bytes]], mutants: list[Mutant]
) -> None:
    """The newsletters in the fixtures quote reports about others; those must never bounce."""
    originals = dict(letters)
    condemned = {}
    tried = 0
    for mutant in mutants:
        if ANOTHER_MAIL & set(mutant.operators):
            continue
        tried += 1
        strangers = {a.lower() for a in hard(mutant.conclusion)} - named(mutant.name)
        mentioned = strangers & addresses_of(originals[mutant.name])
        if mentioned:
            condemned[mutant.name, mutant.operators] = mentioned
    assert tried > MUTANTS / 2
    assert condemned == {}


# --- anything at all ---

_PIECES = st.sampled_from(
    [
        b"From: MAILER-DAEMON@example.com\n", b"Return-Path: <>\n", b"Subject: Undelivered Mail\n", b"\n", b"\n\n", b"\r", b"\0",
        b"Auto-Submitted: auto-replied\n", b"Content-Type: multipart/report; boundary=b\n", b"--b\n", b"--b--\n",
        b"Content-Type: message/delivery-status\n\n", b"Content-Type: message/rfc822\n\n", b"Content-Type: text/html; charset=idna\n",
        b"Content-Type: message/feedback-report\n\n", b"Content-Type: message/disposition-notification\n\n",
        b"Final-Recipient: rfc822; a@example.com\n", b"Action: failed\n", b"Status: 5.1.1\n", b"Diagnostic-Code: smtp; 550 no\n",
        b"X-Failed-Recipients: a@example.com, b@\n", b"<a@example.com>: 550 5.1.1 unknown\n", b">>> RCPT TO:<a@example.com>\n",
        b"<<< 550-no\n", b"said: ", b"   ----- Transcript of session follows -----\n", b"could not be delivered to ", b"a@b@c ",
        b'"a b"@example.com ', b"=?utf-8?B?5Li?=", b"\xff\xfe", b"{", b'{"notificationType":"Bounce","bounce":', b"[]}", b"Original-Rcpt-To: ",
        b"----- Original message -----\n", b"\xe9\x82\xae", b"Content-Transfer-Encoding: base64\n", b"(", b"<", b"@", b"1" * 50, b" " * 50,
    ]
)  # fmt: skip


@given(st.lists(_PIECES, max_size=40).map(b"".join) | st.binary(max_size=300))
def test_any_bytes_have_a_conclusion(raw: bytes) -> None:
    conclusion = parse(raw)
    assert len(conclusion.bounces) == len(conclusion.report.recipients)


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data())
def test_any_damage_to_a_letter_has_a_conclusion(data: st.DataObject) -> None:
    raw = data.draw(st.sampled_from(sorted(EML.rglob("*.eml")))).read_bytes()
    for _ in range(data.draw(st.integers(1, 4))):
        start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(raw))] * 2)))
        raw = raw[:start] + data.draw(_PIECES | st.binary(max_size=20)) + raw[end:]
    conclusion = parse(raw)
    assert len(conclusion.bounces) == len(conclusion.report.recipients)

"""The words that refusals turn on, as hurried administrators mistype them.

Servers' own texts are spelt well; those that somebody wrote into a table by hand are not. Only
slips that make no other English word are mended, and only in words long enough to be certain.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

_WORDS: Final = (
    "recipient", "recipients", "mailbox", "address", "unknown", "unavailable", "available",
    "temporarily", "temporary", "disabled", "account", "exceeded", "invalid",
    "rejected", "blocked", "authentication", "storage", "inactive", "suspended",
    "permitted", "reputation", "greylisted", "connection", "connections",
    "certificate", "permission", "prohibited", "unsolicited", "attachment", "nonexistent",
)  # fmt: skip
# Slips too far from their word, or in too short a one, for the rule below.
_BY_HAND: Final = {
    "exits": "exist", "exsit": "exist", "exsist": "exist", "exsists": "exists", "exixt": "exist",
    "exisit": "exist", "quta": "quota", "qouta": "quota", "quoata": "quota",
    "recipiant": "recipient", "reciepient": "recipient", "recpient": "recipient",
    "unkown": "unknown", "uknown": "unknown", "unknwon": "unknown", "permited": "permitted",
    "usr": "user", "uesr": "user", "dosent": "doesnt", "doesent": "doesnt",
}  # fmt: skip


def _slips(word: str) -> Iterator[str]:
    """The word with a letter lost, doubled, or swapped with its neighbour, or another vowel."""
    for at, letter in enumerate(word):
        if at:
            yield word[:at] + word[at + 1 :]
            yield word[:at] + letter + word[at:]
            yield word[: at - 1] + letter + word[at - 1] + word[at + 1 :]
        if letter in "aeio":
            for vowel in "aeio".replace(letter, ""):
                yield word[:at] + vowel + word[at + 1 :]


_MEANT: Final = {
    **{slip: word for word in _WORDS for slip in _slips(word) if slip not in _WORDS},
    **_BY_HAND,
}
_MISTYPED: Final = frozenset(_MEANT)


def corrected(spelt: str, vocabulary: Container[str] = ()) -> str:
    """Spelt text with such slips mended, but for words that phrases have (`adress` is Swedish)."""
    parts = spelt.split(" ")
    if _MISTYPED.isdisjoint(parts):
        return spelt
    return " ".join(part if part in vocabulary else _MEANT.get(part, part) for part in parts)


# a letter that a seven-bit relay made a question mark of, or one for each of its two octets
_LOST: Final = re.compile(r"(?<=[^\W\d_])(?:\?{1,2}|\ufffd{1,2})(?=[^\W\d_])")
_DAMAGED: Final = re.compile(r"[^\W\d_]+(?:(?:\?{1,2}|\ufffd{1,2})[^\W\d_]+)+")
_ACCENTED: Final = "aoueicnszylrtdg"  # what is left of letters with accents, the commonest first
_ENDING: Final = 2


def restored(text: str, vocabulary: Container[str]) -> str:
    """A (folded) text with the letters that a relay lost, where phrases know the word.

    `empf?nger` is what seven bits leave of `empfanger`; the phrase may lack the word's ending.
    """
    if "?" not in text and "\ufffd" not in text:
        return text
    return _DAMAGED.sub(lambda word: _mended(word[0], vocabulary), text)


def _mended(damaged: str, vocabulary: Container[str]) -> str:
    lost = _LOST.search(damaged)
    if lost is None or len(_LOST.findall(damaged)) > 1:
        return damaged
    begin, rest = damaged[: lost.start()], damaged[lost.end() :]
    for ending in range(min(_ENDING, len(rest) - 1) + 1):
        stem = rest[: len(rest) - ending]
        for letter in _ACCENTED:
            if len(begin) + len(stem) > _ENDING and begin + letter + stem in vocabulary:
                return begin + letter + rest
    return damaged

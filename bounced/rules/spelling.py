"""The words that refusals turn on, as hurried administrators mistype them.

Servers' own texts are spelt well; those that somebody wrote into a table by hand are not. Only
slips that make no other English word are mended, and only in words long enough to be certain.
"""

from __future__ import annotations

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

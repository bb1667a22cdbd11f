"""Where the returned message begins, and whose it was.

A notice ends where the mail it returns begins; what stands in that mail (a newsletter about
mail errors, an older report) is not what the server said. This room finds the border in plain
text, and reads the headers of the returned message wherever they are.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Final

from bounced.automaton import Alternatives
from bounced.decode.words import entries
from bounced.message import enclosed_headers, returned_headers
from bounced.model import Returned
from bounced.smtp import is_address
from bounced.text import decode_words

if TYPE_CHECKING:
    from collections.abc import Callable

    from bounced.automaton import Passage
    from bounced.message import Headers, Message, Part

# What may decorate a border line, and what may indent or quote a header line.
_RULED: Final = r"[ \t>*\-=_#+|]{0,60}"
_INDENTED: Final = r"[ \t>]{0,8}"
_RETURNED_TYPES: Final = (
    "message/rfc822",
    "text/rfc822-headers",
    "message/rfc822-headers",
    "message/global",
    "message/global-headers",
)


def border(text: str, passage: Passage) -> int | None:
    """Where in a text the mail begins that it returns; `passage` is as much of it as to look at.

    A border at the very top is no border: something must have been said before it. Nor is a
    list of fields that the notice sets apart by indenting it, to go on at the margin behind it.
    """
    found = passage.lines(BORDER, 0, len(passage.text))
    return next((at for at in found if _divides(text, at)), None)


BORDER: Final = "border"


@cache
def borders() -> Alternatives:
    """How lines begin from which on a notice only repeats the mail that it returns."""
    ruled = [f"{_RULED}(?:{border})" for border in entries("border")]
    indented = [f"{_INDENTED}(?:{header})" for header in entries("returned_header")]
    return Alternatives([*ruled, *indented], begins="^")


# the rest of an indented paragraph, and then a line at the margin
_SET_APART: Final = re.compile(
    r"^(?:[ \t]++\S[^\n]*+\n){1,30}+(?:[ \t]*+\n)++(?=[^\s>\-=_*#])", re.MULTILINE
)
_WORDS: Final = re.compile(r"\S")


def _divides(text: str, at: int) -> bool:
    return _WORDS.search(text, 0, at) is not None and _SET_APART.match(text, at) is None


def returned_part(message: Message) -> Part | None:
    return message.part_of(*_RETURNED_TYPES)


def returned_fields(message: Message, behind: Callable[[], str]) -> Headers:
    """Header fields of the returned mail: its own part's, else those behind the border.

    Only those that anybody asks for; a field of no matter shows that there are others.
    """
    part = returned_part(message)
    if part is not None:
        fields = enclosed_headers(part, _ASKED_FOR)
        if fields:
            return fields
    rest = behind()
    lines = (line.lstrip(" \t>|") if line[:1] in ">|" else line for line in rest.splitlines()[:400])
    first = next((line for line in lines if _FIRST_FIELD.match(line.strip())), None)
    if first is None:
        return ()
    indent = len(first) - len(first.lstrip())
    block = [first[indent:]]
    for line in lines:
        block.append(line[indent:] if not line[:indent].strip() else line)
        if not block[-1]:
            break  # behind a blank line is no header
    return returned_headers(block, _ASKED_FOR)


_FIRST_FIELD: Final = re.compile(
    r"(?:received|return-path|from|to|subject|date|message-id|mime-version|sender|x-[\w-]+|content-type|reply-to|dkim-signature|delivered-to):",
    re.IGNORECASE,
)


def returned_of(fields: Headers) -> Returned:
    if not fields:
        return _NOTHING
    first = {name: told for name, told in reversed(fields) if told and name in _KEPT}
    kept = {name: decode_words(told).strip()[:998] for name, told in first.items()}
    return Returned(
        kept.get("message-id"),
        kept.get("subject"),
        kept.get("list-id") or kept.get("x-bounced-list"),
        kept.get("from"),
        kept.get("to"),
    )


_NOTHING: Final = Returned()


FROM: Final = frozenset({"from"})
TO: Final = frozenset({"to", "cc"})
SENDERS: Final = frozenset(
    {"from", "sender", "reply-to", "return-path", "errors-to", "x-envelope-from"}
)
ARRIVED: Final = frozenset({"delivered-to", "x-original-to", "envelope-to"})
MAILED: Final = TO | ARRIVED | {"x-rcpt-to", "resent-to"}
TOKEN: Final = "x-bounced-token"  # noqa: S105 - the name of a field
_KEPT: Final = frozenset({"message-id", "subject", "list-id", "x-bounced-list", "from", "to"})
_NAMING: Final = SENDERS | MAILED | {"list-post", TOKEN}


# as it travelled it gathered many others
_ASKED_FOR: Final = _NAMING | _KEPT | {"received", "x-hmxmroriginalrecipient"}


def naming(fields: Headers) -> Headers:
    """Those fields that name senders and recipients, and our own tokens."""
    return tuple([field for field in fields if field[0] in _NAMING])


def addresses_in(fields: Headers, names: frozenset[str]) -> list[str]:
    """Addresses in header fields of those names, in order, each once.

    A name before angle brackets is anybody's word, and a piece that is no address yields none.
    """
    found: list[str] = []
    for name, value in fields:
        if name in names:
            short = len(value) <= _REMEMBERED
            found += _addresses(value) if short else _addresses.__wrapped__(value[:20_000])
    return found if len(found) < 2 else list(dict.fromkeys(found))


# The value of a field of ours comes again with every message, and several times with each.
_REMEMBERED: Final = 500


@lru_cache(2_048)
def _addresses(value: str) -> tuple[str, ...]:
    if "," not in value and ";" not in value:
        address = _bracketed(value)
        return (address,) if is_address(address) else ()
    found = map(_bracketed, value.replace(";", ",").split(","))
    return tuple([address for address in found if is_address(address)])


def _bracketed(piece: str) -> str:
    piece = piece.strip()
    if "<" in piece:
        return piece[piece.rfind("<") + 1 :].partition(">")[0].strip()
    return piece.partition("(")[0].strip().strip("\"'")


_FOR: Final = re.compile(r"\bfor\s+<?([^\s<>;]{1,320})>?\s*;")


def received_for(fields: Headers) -> list[str]:
    """Whom the last server to take the returned message took it for (Received: … for <…>)."""
    for name, value in fields:
        found = _FOR.search(value[:4_000]) if name == "received" else None
        if found and is_address(found[1]):
            return [found[1]]
    return []

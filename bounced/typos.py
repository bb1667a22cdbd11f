"""Domains that look like a slip of the keyboard for one where many have their mailbox."""

from __future__ import annotations

import string
from functools import cache
from typing import TYPE_CHECKING, Final

from bounced.receivers import receivers

if TYPE_CHECKING:
    from collections.abc import Iterator

_LETTERS: Final = string.ascii_lowercase + string.digits + "-."


def meant(domain: str) -> str | None:
    """The well-known domain that is one slip away from this one; None where there is none.

    A slip is a letter too many, missing, wrong, or two exchanged (`gmial.com`).
    """
    return _slips().get(domain)


@cache
def _slips() -> dict[str, str]:
    known = dict.fromkeys(domain for one in receivers().values() for domain in one.domains)
    found: dict[str, str] = {}
    for domain in known:
        for slip in _slips_of(domain):
            if slip not in known:
                found.setdefault(slip, domain)
    return found


def _slips_of(domain: str) -> Iterator[str]:
    for place in range(len(domain) + 1):
        before, behind = domain[:place], domain[place:]
        yield before + behind[1:]
        yield before + behind[1:2] + behind[:1] + behind[2:]
        for letter in _LETTERS:
            yield before + letter + behind
            yield before + letter + behind[1:]

"""Is this bounce ours? Tokens that a sender puts into the envelope, and what else may speak for it.

Anyone can write to a bounce mailbox that some subscriber has left. A token is the proof that mail
of ours was sent to the very address the report speaks of: its MAC covers recipient, day and
an id of the sender's choice. It tells nobody who the recipient is.

    b+<key><day><id>-<mac>@bounces.example.com

`key` is one letter and names the key, `day` is three, `id` one to 41, `mac` sixteen, all of them
lower-case base32 (RFC 4648, 6), because mail servers fold case; with the prefix `b+` a local part
keeps to its 64 octets (RFC 5321, 4.5.3.1.1).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from bounced.smtp import canonical, folded, unwrapped

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import date

# Late reports of servers that retry for five days, and then some; BATV has 7, and is too short.
LIFE_DAYS: Final = 30
LONGEST_ID: Final = 41
_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz234567"
_EPOCH_ORDINAL: Final = 719_163  # 1970-01-01 as `date.toordinal` counts
_DAYS: Final = 32**3
_TOKEN: Final = re.compile(
    r"(?:^|[+=-])(?P<key>[a-z2-7])(?P<day>[a-z2-7]{3})(?P<id>[a-z2-7]{1,41})-(?P<mac>[a-z2-7]{16})$"
)


class Trust(StrEnum):
    """How sure we are that a report is about mail of ours."""

    VERIFIED = "verified"  # it carries a token that we gave this recipient
    MATCHED = "matched"  # it returns a Message-ID that we sent to this recipient
    CLAIMED = "claimed"  # it says so


# Which events count, by what the operator requires.
ENOUGH: Final[Mapping[str, frozenset[Trust]]] = {
    "any": frozenset(Trust),
    "matched": frozenset({Trust.MATCHED, Trust.VERIFIED}),
    "verified": frozenset({Trust.VERIFIED}),
}


@dataclass(frozen=True, slots=True)
class Key:
    """A key for tokens. `id` is one letter or digit of `a`-`z`, `2`-`7`; raises ValueError."""

    id: str
    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.id) != 1 or self.id not in _ALPHABET:
            raise ValueError(f"a key's id is one of a-z and 2-7, not {self.id!r}")
        if len(self.secret) < 16:
            raise ValueError(f"the secret of key {self.id} is too short; 16 bytes are the least")


@dataclass(frozen=True, slots=True)
class Token:
    """A token as it was found; nothing is proven of it yet. `day` counts modulo 32768."""

    key: str
    day: int
    id: str
    mac: str


def make(key: Key, recipient: str, *, on: date, id: str) -> str:  # noqa: A002 - the format's word
    """The token for mail to one recipient: `<key><day><id>-<mac>`, to stand behind a `+`.

    Raises ValueError for an id that is not 1 to 41 of a-z and 2-7.
    """
    if not 1 <= len(id) <= LONGEST_ID or set(id) - set(_ALPHABET):
        raise ValueError(f"an id is 1 to {LONGEST_ID} of a-z and 2-7, not {id!r}")
    day = _day_number(on)
    letters = "".join(_ALPHABET[day // 32**place % 32] for place in (2, 1, 0))
    return f"{key.id}{letters}{id}-{_mac(key, id, recipient, day)}"


def find(address: str) -> Token | None:
    """The token in an address (or by itself), however forwarders have wrapped it."""
    local = unwrapped(address).rpartition("@")[0] or address
    found = _TOKEN.search(local.strip().strip("<>").lower()[:320])
    if found is None:
        return None
    day = 0
    for letter in found["day"]:
        day = day * 32 + _ALPHABET.index(letter)
    return Token(found["key"], day, found["id"], found["mac"])


def verify(token: Token, recipient: str, keys: Iterable[Key], *, on: date) -> bool:
    """Whether one of the keys made this token for that recipient, in the last 30 days."""
    age = (_day_number(on) - token.day) % _DAYS
    if age > LIFE_DAYS and age != _DAYS - 1:  # a sender's clock may be a day ahead of ours
        return False
    fitting = (key for key in keys if key.id == token.key)
    macs = (_mac(key, token.id, recipient, token.day) for key in fitting)
    return any(hmac.compare_digest(mac, token.mac) for mac in macs)


def owner(
    places: Iterable[str], candidates: Iterable[str], keys: Iterable[Key], *, on: date
) -> str | None:
    """The first candidate to whom a token found in one of the places was given.

    `places` are addresses and header values that may hold a token; whoever writes a token there
    that is right has had it from us, so that any of them is as good as the other.
    """
    tokens = {token for place in places if (token := find(place)) is not None}
    known = tuple(keys)
    for candidate in candidates:
        if any(verify(token, candidate, known, on=on) for token in tokens):
            return candidate
    return None


def _day_number(on: date) -> int:
    return (on.toordinal() - _EPOCH_ORDINAL) % _DAYS


def _mac(key: Key, id_: str, recipient: str, day: int) -> str:
    said = f"bounced1|{id_}|{folded(recipient)}|{day}".encode("utf-8", "surrogatepass")
    digest = hmac.new(key.secret, said, hashlib.sha256).digest()
    return base64.b32encode(digest[:10]).decode("ascii").lower()


# --- the way back, in a link that a subscriber gets ---


@dataclass(frozen=True, slots=True)
class Link:
    """A subscriber's right to be mailed again: whose, from when on, and until when (aware UTC).

    `id` tells links apart; each is good for once.
    """

    address: str
    issued_at: datetime
    expires_at: datetime
    id: str


_LINK: Final = re.compile(
    r"(?P<key>[a-z2-7])\.(?P<said>[A-Za-z0-9_-]{1,600})\.(?P<mac>[A-Za-z0-9_-]{22})"
)


def make_link(key: Key, address: str, *, at: datetime, until: datetime) -> str:
    """The token of a re-activation link: `<key>.<what it says>.<mac>`, safe in a URL."""
    said = f"{int(at.timestamp())}|{int(until.timestamp())}|{canonical(address)}"
    text = _base64(said.encode("utf-8", "surrogatepass"))
    return f"{key.id}.{text}.{_link_mac(key, text)}"


def read_link(token: str, keys: Iterable[Key]) -> Link | None:
    """What a re-activation token says; None where none of the keys has made it.

    Whether it has run out is for the reader to see: this room has no clock.
    """
    found = _LINK.fullmatch(token.strip())
    if found is None:
        return None
    macs = [_link_mac(key, found["said"]) for key in keys if key.id == found["key"]]
    if not any(hmac.compare_digest(mac, found["mac"]) for mac in macs):
        return None
    # signed by us, and so of the shape that we make
    padded = found["said"] + "=" * (-len(found["said"]) % 4)
    issued, until, address = base64.urlsafe_b64decode(padded).decode("utf-8").split("|", 2)
    begin, end = (datetime.fromtimestamp(int(seconds), UTC) for seconds in (issued, until))
    return Link(address, begin, end, id=found["mac"][:12])


def _link_mac(key: Key, text: str) -> str:
    # another beginning than a report's token, so that neither can pass for the other
    digest = hmac.digest(key.secret, f"bounced-link1|{text}".encode(), hashlib.sha256)
    return _base64(digest[:16])


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")

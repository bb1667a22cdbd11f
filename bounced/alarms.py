"""What refuses us as senders: which list, which of our addresses, and the page to go to.

Nothing here counts against a subscriber. Lists of senders are known by the words in which servers
name them (`alarms.toml`); where a reply names none, the receiver's own page is the place to go.
"""

from __future__ import annotations

import ipaddress
import re
import tomllib
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Final

from bounced.model import Reason
from bounced.receivers import receivers

# All of our mail fails, or soon will: nobody should wait for a report to hear of these.
AT_ONCE: Final = frozenset({Reason.AUTH_FAILED, Reason.AUTH_REQUIRED})
# So long after the last refusal an alarm is one that somebody should look at.
FRESH: Final = timedelta(hours=48)
_ABOUT_OUR_DOMAIN: Final = frozenset(
    {
        Reason.DOMAIN_BLOCKED,
        Reason.AUTH_FAILURE,
        Reason.SENDER_BLOCKED,
        Reason.SENDER_REJECTED,
        Reason.SENDER_DNS,
    }
)
_IP: Final = re.compile(
    r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}|(?:[0-9a-f]{0,4}:){2,7}[0-9a-f]{1,4})(?![\w:]|\.\d)",
    re.IGNORECASE,
)
_LONGEST: Final = 4000


@dataclass(frozen=True, slots=True)
class Blocklist:
    """A list of senders, told by words of a reply (in lower case) or by a pattern."""

    name: str
    page: str
    says: tuple[str, ...] = ()
    pattern: re.Pattern[str] | None = None

    def named_in(self, text: str) -> bool:
        """Whether a reply, in lower case, names it."""
        if any(words in text for words in self.says):
            return True
        return self.pattern is not None and self.pattern.search(text) is not None


@cache
def blocklists() -> tuple[Blocklist, ...]:
    """All that are known, in the order in which they are tried."""
    book = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
    return tuple(
        Blocklist(
            keys["name"],
            keys["page"],
            tuple(keys.get("says", ())),
            re.compile(keys["pattern"]) if "pattern" in keys else None,
        )
        for keys in book["blocklist"]
    )


def named(said: str, provider: str | None) -> tuple[str | None, str | None]:
    """The list that a reply names, and the page to go to: the list's, else the receiver's."""
    text = said[:_LONGEST].lower()
    for one in blocklists():
        if one.named_in(text):
            return one.name, one.page
    known = receivers().get(provider or "")
    return None, known.page if known is not None else None


def ours(said: str, reason: Reason, sender: str | None) -> str | None:
    """What of ours is refused: an IP address named in the reply, or the sending domain.

    `sender` is the From of the returned message. None where neither says.
    """
    domain = _domain(sender)
    if reason in _ABOUT_OUR_DOMAIN and domain is not None:
        return domain
    for found in _IP.finditer(said[:_LONGEST]):
        try:
            address = ipaddress.ip_address(found[0])
        except ValueError:
            continue
        if not (address.is_loopback or address.is_unspecified or address.is_multicast):
            return str(address)
    return domain


def _domain(sender: str | None) -> str | None:
    if not sender:
        return None
    text = sender[:_LONGEST].rpartition("<")[2].partition(">")[0].strip()
    domain = text.rpartition("@")[2].rstrip(".").lower()
    return domain if re.fullmatch(r"[^\s@<>\"',;()]{1,255}", domain) and "@" in text else None

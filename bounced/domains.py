"""Domains that receive nothing any more: what is concluded for all of their addresses at once.

Fifty subscribers at a company that has closed are one conclusion, not fifty. Only what speaks of
the domain counts, only while nothing there shows a sign of life, and it ends with the first.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from bounced.model import Kind, Reason
from bounced.receivers import receiver_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bounced.policy import Policy

# What a report may say of the recipient's domain as such.
SIGNS: Final = frozenset({Reason.HOST_UNKNOWN, Reason.NULL_MX, Reason.RELAY_DENIED})
# Somebody, or some server, is there: mail arrived, or was answered.
ALIVE_KINDS: Final = frozenset({Kind.DELIVERY, Kind.COMPLAINT, Kind.AUTO_REPLY, Kind.RECEIPT})
# Only a server that takes mail for the domain can say these of a recipient or of our mail.
ALIVE_REASONS: Final = frozenset(
    {
        Reason.USER_UNKNOWN,
        Reason.MAILBOX_DISABLED,
        Reason.MAILBOX_FULL,
        Reason.MAILBOX_UNAVAILABLE_TEMP,
        Reason.USER_MOVED,
        Reason.OWNER_CHANGED,
        Reason.GREYLISTED,
        Reason.RATE_LIMITED,
        Reason.RECIPIENT_RATE_LIMITED,
        Reason.SYSTEM_FULL,
        Reason.MESSAGE_TOO_BIG,
        Reason.RECIPIENT_REFUSED,
        Reason.IP_BLOCKED,
        Reason.DOMAIN_BLOCKED,
        Reason.SENDER_BLOCKED,
        Reason.AUTH_FAILURE,
        Reason.SPAM_BLOCK,
        Reason.SPAM_CONTENT,
        Reason.VIRUS_DETECTED,
        Reason.CONTENT_REJECTED,
        Reason.ATTACHMENT_REJECTED,
    }
)


class Sign(NamedTuple):
    """One report that a domain receives nothing: its event, when, which of `SIGNS`, how sure."""

    id: int
    at: datetime
    reason: Reason
    rule: str
    sure: float = 1.0


class Ruling(NamedTuple):
    """What is concluded of all addresses of a domain, since when, and by which events.

    `last_at` is when it was said last, once more: an address that was released later is free.
    """

    reason: Reason
    since: datetime
    last_at: datetime
    rule: str
    because: str
    events: tuple[int, ...]


class Turn(NamedTuple):
    """A ruling on a domain that is another than the one kept before; None where there is none."""

    before: Ruling | None
    now: Ruling | None

    @property
    def only_said_again(self) -> bool:
        """Whether it holds as before, and nobody is concerned but who was released meanwhile."""
        before, now = self
        if before is None or now is None:
            return False
        return now == before._replace(last_at=now.last_at)


def by_its_own_host(host: str | None, domain: str) -> bool:
    """Whether a host that refused to relay is one that should take mail for the domain.

    A host of our own, or a relay that we use, says the same words and means us.
    """
    if host is None:
        return False
    name = host.lower().rstrip(".")
    return name == domain or name.endswith("." + domain) or receiver_of(name, "") is not None


def ruling(signs: Sequence[Sign], policy: Policy) -> Ruling | None:
    """What follows from the signs since the last sign of life, in any order."""
    by_time = sorted(signs, key=lambda sign: (sign.at, sign.id))
    for found in (_declared(by_time, policy), _gone(by_time, policy), _refusing(by_time, policy)):
        if found is not None:
            return found
    return None


def _declared(signs: Sequence[Sign], policy: Policy) -> Ruling | None:
    """A domain that declares to take no mail (RFC 7505) needs no second witness.

    If that is what was said: 5.1.10 alone is written for an unknown mailbox, too, and a slip here
    would suppress a whole company.
    """
    said = [sign for sign in signs if sign.reason is Reason.NULL_MX]
    surely = next((n for n, sign in enumerate(said) if sign.sure >= policy.hard_at_once), None)
    if surely is None:
        return None
    return _ruling(said, surely, Reason.NULL_MX, "The domain declares that it takes no mail")


def _gone(signs: Sequence[Sign], policy: Policy) -> Ruling | None:
    hard = (sign for sign in signs if sign.reason is not Reason.RELAY_DENIED)
    said = [sign for sign in hard if sign.sure >= policy.hard_pending]
    enough = _reaches(said, 2, policy.patience(Reason.HOST_UNKNOWN))
    if enough is None:
        return None
    return _ruling(said, enough, said[enough].reason, "The domain does not exist any more")


def _refusing(signs: Sequence[Sign], policy: Policy) -> Ruling | None:
    said = [sign for sign in signs if sign.reason is Reason.RELAY_DENIED]
    enough = _reaches(said, policy.relay_events, timedelta(days=policy.relay_days))
    if enough is None:
        return None
    because = "The domain's own mail servers do not take mail for it any more"
    return _ruling(said, enough, Reason.HOST_UNKNOWN, because)


def _reaches(said: Sequence[Sign], count: int, span: timedelta) -> int | None:
    """The place of the first sign with which there are enough of them over long enough."""
    places = (n for n, sign in enumerate(said) if n + 1 >= count and sign.at - said[0].at >= span)
    return next(places, None)


def _ruling(said: Sequence[Sign], enough: int, reason: Reason, because: str) -> Ruling:
    first, decisive = said[0], said[enough]
    # not all that were ever read: each further report would change what is kept of everyone there
    count = enough + 1
    times = f"{count} reports since {first.at:%Y-%m-%d}" if count > 1 else "one report"
    return Ruling(
        reason,
        decisive.at,
        said[-1].at,
        decisive.rule,
        f"{because} ({times}, no sign of life since; rule {decisive.rule}).",
        tuple(sign.id for sign in said[:count]),
    )

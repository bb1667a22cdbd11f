"""Where letters wait: an IMAP folder, files on disk; and the one tree of errors of these rooms."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from bounced.model import Destination

MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Census:
    """Letters in a mailbox: how many wait, are filed, and lie on each pile (empty: flagged)."""

    waiting: int
    filed: int
    piles: dict[Destination, int] = field(default_factory=dict)


def is_loopback(host: str) -> bool:
    """Whether what is said to this host does not leave the machine."""
    if host.lower() in ("localhost", "localhost.localdomain"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class MailboxError(Exception):
    """A mailbox could not be worked on: what happened, what is safe, what to type.

    `happened` and `advice` are sentences for people; neither ever holds a password, and what a
    server said in them is cut to 200 characters and made safe to print.
    """

    safe = "Nothing is lost: no letter leaves its folder before its facts are recorded."
    advised = ""

    def __init__(self, happened: str, advice: str = "") -> None:
        super().__init__(happened, advice)
        self.happened = happened
        self.advice = advice or self.advised

    def __str__(self) -> str:
        return " ".join(part for part in (self.happened, self.safe, self.advice) if part)


class MailboxTemporary(MailboxError):  # noqa: N818 - a state of the mailbox, not of the program
    """The server is away, busy or lost in mid-sentence; trying again later is right (exit 75)."""

    advised = "Run the same command again later: it goes on where it stopped."


class MailboxSettings(MailboxError):  # noqa: N818
    """The configuration asks for what this server does not give; a person changes it (exit 2)."""


class MailboxCredentials(MailboxSettings):
    """Who we are, or who the server says it is, was not accepted: password or certificate.

    Trying again does not help and may lock the account, so it counts as configuration (exit 2).
    """

    safe = "Nothing was read and nothing was moved."


class MailboxProtocol(MailboxError):  # noqa: N818
    """The server said what no IMAP server may say; nothing was concluded from it (exit 1)."""

    advised = (
        "If it happens again, show this sentence to whoever runs the mail server, "
        "or report it together with the server's name and version."
    )

"""Receipts: message disposition notifications (RFC 8098), and the refusals that abuse the form."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from bounced.decode.rfc3464 import address_in, groups
from bounced.decode.words import pattern
from bounced.model import Kind, RecipientReport, Report
from bounced.smtp import first_address, parse_reply

if TYPE_CHECKING:
    from bounced.decode.view import View

# Dovecot's Sieve "reject" answers with a receipt that says "deleted" and a text that refuses.
_REFUSED: Final = re.compile(
    r"automatically rejected|was rejected|message (?:was|has been) refused", re.IGNORECASE
)


_REFUSED_BY_FILTER: Final = re.compile(
    r"\b(?:message|mail) (?:was|has been) (?:automatically rejected|rejected automatically)\b",
    re.IGNORECASE,
)


def decode(view: View) -> Report | None:
    """A receipt (or a refusal in its form), or None."""
    message = view.message
    part = message.part_of("message/disposition-notification")
    if part is None:
        return _refused_in_words(view) or _in_words(view)
    refused = (
        "deleted" in part.text().lower() or "rejected" in message.header("auto-submitted").lower()
    )
    fields = next(groups(part.text()), {})
    original = address_in(fields.get("original-recipient", ""))
    address = address_in(fields.get("final-recipient", "")) or original
    named = original if original != address else None
    disposition = fields.get("disposition", "").lower()
    text = " ".join(message.text().split())
    if refused and _REFUSED.search(message.header("subject") + " " + text):
        refusing = (RecipientReport(address, parse_reply(text[:2_000])),) if address else ()
        return Report(Kind.BOUNCE, refusing, "rfc8098/refusal")
    if address is None:
        return Report(Kind.RECEIPT, format="rfc8098")
    reader = RecipientReport(address, parse_reply(disposition), original_address=named)
    return Report(Kind.RECEIPT, (reader,), "rfc8098")


def _in_words(view: View) -> Report | None:
    """A receipt whose machine-readable part is missing."""
    message = view.message
    # all of that list begin a line
    if pattern("receipt_subject").match(view.subject) and pattern("receipt").search(
        message.text()[:4_000]
    ):
        return Report(Kind.RECEIPT, format="receipt-text")
    if message.parameter("report-type").lower() != "disposition-notification":
        return None
    return Report(Kind.RECEIPT, format="rfc8098")


def _refused_in_words(view: View) -> Report | None:
    """A mailbox's refusal that is a plain automatic reply, signed by the one who refuses."""
    message = view.message
    if not view.automatic or view.daemon:
        return None
    if not message.header("auto-submitted").lower().startswith("auto-"):
        return None
    said = message.text()[:2_000]
    sender = first_address(message.header("from"))
    if not sender or not _REFUSED_BY_FILTER.search(said[:1_000]):
        return None
    refusing = RecipientReport(sender, parse_reply(" ".join(said.split())))
    return Report(Kind.BOUNCE, (refusing,), "refusal-text")

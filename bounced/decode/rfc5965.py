"""Complaints: feedback reports (RFC 5965, RFC 6650) and the few that follow no standard."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from bounced.decode.evidence import failure_words, reply_subject, smtp_words
from bounced.decode.original import addresses_in, returned_fields, returned_part
from bounced.decode.rfc3464 import address_in, groups
from bounced.decode.words import pattern
from bounced.model import Kind, RecipientReport, Reply, Report

if TYPE_CHECKING:
    from bounced.message import Message

_REMOVED: Final = re.compile(r"redacted|removed|\[?hidden", re.IGNORECASE)


def decode(message: Message) -> Report | None:
    """A complaint, or None. Who complained is told by the report, else by the returned mail."""
    fields = _feedback(message)
    if fields is None:
        return _opt_out(message)
    kind = fields.get("feedback-type", "abuse").lower()
    returned = returned_fields(message, str)
    named = [
        address_in(value) for key, value in fields.items() if key.startswith("original-rcpt-to")
    ]
    who = [a for a in named if a] or addresses_in(returned, "x-hmxmroriginalrecipient", "to")
    who = [a for a in who if not _REMOVED.search(a.partition("@")[0])]
    recipients = tuple(RecipientReport(a, Reply(f"feedback-type: {kind}")) for a in who[:1_000])
    reporter = fields.get("reporting-mta", "").rpartition(";")[2].strip() or None
    return Report(Kind.COMPLAINT, recipients, f"arf/{kind[:30]}", reporting_mta=reporter)


def _feedback(message: Message) -> dict[str, str] | None:
    part = message.part_of("message/feedback-report")
    if part is not None:
        merged: dict[str, str] = {}
        for group in groups(part.text()):
            merged = {**group, **merged}
        return merged
    if message.parameter("report-type").lower() == "feedback-report":
        return {}
    if message.header("x-hmxmroriginalrecipient") or _is_junk_report(message):
        return {}
    return {} if _in_words(message) else None


def _in_words(message: Message) -> bool:
    """Whether a provider encloses a mail that its reader complained of, and says so in words.

    A filter that refuses a mail may call it the same, but speaks of a delivery, too.
    """
    if message.content_type != "multipart/mixed" or returned_part(message) is None:
        return False
    told = message.header("subject") + "\n" + message.text()[:4_000]
    if pattern("complaint").search(told) is None or reply_subject(message):
        return False
    return not (failure_words(told) or smtp_words(told))


def _opt_out(message: Message) -> Report | None:
    """What a mail program sends to a List-Unsubscribe address when its user asks for it."""
    if message.header("x-apple-unsubscribe").lower() != "true":
        return None
    sender = addresses_in(message.headers, "from")
    if not sender:
        return None
    who = RecipientReport(sender[0], Reply("feedback-type: opt-out"))
    return Report(Kind.COMPLAINT, (who,), "arf/opt-out")


def _is_junk_report(message: Message) -> bool:
    """Outlook.com's junk mail reporting sends the mail itself, forwarded, with no report."""
    return (
        message.header("from").lower().find("staff@hotmail.com") >= 0
        and "complaint about" in message.header("subject").lower()
    )

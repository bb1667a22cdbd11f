"""Complaints: feedback reports (RFC 5965, RFC 6650) and the few that follow no standard."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from bounced.decode.evidence import smtp_words
from bounced.decode.original import FROM, addresses_in, returned_fields, returned_part
from bounced.decode.rfc3464 import address_in, groups
from bounced.decode.view import FAILURE
from bounced.decode.words import pattern
from bounced.model import Kind, RecipientReport, Reply, Report

if TYPE_CHECKING:
    from bounced.decode.view import View

_WHO: Final = frozenset({"x-hmxmroriginalrecipient", "to"})
_REMOVED: Final = re.compile(r"redacted|removed|\[?hidden", re.IGNORECASE)


def decode(view: View) -> Report | None:
    """A complaint, or None. Who complained is told by the report, else by the returned mail."""
    message = view.message
    fields = _feedback(view)
    if fields is None:
        return _opt_out(view)
    kind = fields.get("feedback-type", "abuse").lower()
    returned = returned_fields(message, str) or view.addressed
    named = [
        address_in(value) for key, value in fields.items() if key.startswith("original-rcpt-to")
    ]
    who = [a for a in named if a] or addresses_in(returned, _WHO)
    who = [a for a in who if not _REMOVED.search(a.partition("@")[0])]
    recipients = tuple(RecipientReport(a, Reply(f"feedback-type: {kind}")) for a in who[:1_000])
    reporter = fields.get("reporting-mta", "").rpartition(";")[2].strip() or None
    return Report(Kind.COMPLAINT, recipients, f"arf/{kind[:30]}", reporting_mta=reporter)


def _feedback(view: View) -> dict[str, str] | None:
    message = view.message
    part = message.part_of("message/feedback-report")
    if part is not None:
        merged: dict[str, str] = {}
        for group in groups(part.text()):
            merged = {**group, **merged}
        return merged
    if message.parameter("report-type").lower() == "feedback-report":
        return {}
    if message.header("x-hmxmroriginalrecipient") or _is_junk_report(view):
        return {}
    return {} if _in_words(view) else None


def _in_words(view: View) -> bool:
    """Whether a provider encloses a mail that its reader complained of, and says so in words.

    A filter that refuses a mail may call it the same, but speaks of a delivery, too.
    """
    message = view.message
    mixed = message.content_type == "multipart/mixed" and returned_part(message) is not None
    if not mixed and not _quoted_by_staff(view):
        return False
    if not view.answers_told("complaint", _HEAD) or view.reply_subject:
        return False
    told = f"{view.subject}\n{message.text()[:_HEAD]}"
    return not (any(pattern(name).search(told) for name in FAILURE) or smtp_words(told))


_HEAD: Final = 4_000
# who writes for a provider (RFC 2142), and not for himself
_STAFF: Final = re.compile(r"(?:abuse|complaints?|fbl|feedback|spam|postmaster|noc)[^@]{0,30}@")


def _quoted_by_staff(view: View) -> bool:
    """Whether an abuse desk quotes a mail of a list below its words."""
    if view.message.content_type != "text/plain":
        return False
    signed = " ".join(addresses_in(view.written, FROM)).lower()
    return _STAFF.match(signed) is not None and bool(view.fields)


def _opt_out(view: View) -> Report | None:
    """What a mail program sends to a List-Unsubscribe address when its user asks for it."""
    if view.message.header("x-apple-unsubscribe").lower() != "true":
        return None
    sender = addresses_in(view.written, FROM)
    if not sender:
        return None
    who = RecipientReport(sender[0], Reply("feedback-type: opt-out"))
    return Report(Kind.COMPLAINT, (who,), "arf/opt-out")


def _is_junk_report(view: View) -> bool:
    """Outlook.com's junk mail reporting sends the mail itself, forwarded, with no report."""
    return (
        "complaint about" in view.subject.lower()
        and "staff@hotmail.com" in view.message.header("from").lower()
    )

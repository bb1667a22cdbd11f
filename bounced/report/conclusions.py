"""What one message told, as the JSON object and the text that `bounced parse` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bounced.model import Conclusion, Kind, Report
from bounced.text import safe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bounced.model import Bounce


def as_object(source: str, conclusion: Conclusion) -> dict[str, Any]:
    """The documented shape: every key always present, None where nothing is known."""
    report = conclusion.report
    return {
        "source": source,
        "kind": report.kind.value,
        "format": report.format,
        "message_id": report.message_id,
        "reporting_mta": report.reporting_mta,
        "returned": {
            "message_id": report.returned.message_id,
            "subject": report.returned.subject,
            "list_id": report.returned.list_id,
            "from": report.returned.from_,
            "to": report.returned.to,
        },
        "problems": list(report.problems),
        "recipients": [_recipient(bounce) for bounce in conclusion.bounces],
    }


def unread(why: str) -> Conclusion:
    """The conclusion of what could not be read at all."""
    return Conclusion(Report(kind=Kind.OTHER, problems=(f"cannot be read: {why}",)))


def as_text(source: str, conclusion: Conclusion) -> Iterator[str]:
    """The same for people: a line for the message and two for each recipient."""
    report = conclusion.report
    trouble = f" ({safe('; '.join(report.problems))})" if report.problems else ""
    form = f" [{safe(report.format)}]" if report.format else ""
    yield f"{safe(source)}: {report.kind.value}{form}{trouble}"
    for bounce in conclusion.bounces:
        verdict, recipient = bounce.verdict, bounce.recipient
        yield (
            f"  {safe(recipient.address)}  {verdict.outcome.value}  {verdict.reason.value}"
            f"  ({verdict.confidence:.2f}, {safe(verdict.rule)})"
        )
        yield f"    {safe(verdict.because)}"
        if recipient.reply.text:
            yield f"    said: {safe(recipient.reply.text)}"


def _recipient(bounce: Bounce) -> dict[str, Any]:
    recipient, verdict = bounce.recipient, bounce.verdict
    status = recipient.best_status
    return {
        "address": recipient.address,
        "original_address": recipient.original_address,
        "action": recipient.action.value,
        "status": None if status is None else str(status),
        "reply_code": recipient.reply.code,
        "diagnostic": recipient.reply.text or None,
        "remote_mta": recipient.remote_mta,
        "outcome": verdict.outcome.value,
        "reason": verdict.reason.value,
        "fault": verdict.fault.value,
        "confidence": verdict.confidence,
        "rule": verdict.rule,
        "because": verdict.because,
    }

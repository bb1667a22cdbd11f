"""Reports that mailing services send as JSON in a mail: Amazon SES through SNS."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from bounced.model import Action, EnhancedStatus, Kind, RecipientReport, Reply, Report
from bounced.smtp import find_status, is_address, parse_reply

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bounced.message import Message

_LIMIT = 262_144


def decode(message: Message) -> Report | None:
    """An SES notification (docs: Amazon SES, "notification contents"), or None."""
    if message.content_type not in ("text/plain", "application/json", ""):
        return None
    text = message.text()[:_LIMIT].lstrip()
    if not text.startswith("{") or ("notificationType" not in text and "eventType" not in text):
        return None
    if "!\n " in text:  # a relay that broke overlong lines the way old mail systems do
        text = text.replace("!\n ", "")
    try:
        found, _ = json.JSONDecoder().raw_decode(text)
        if isinstance(found, dict) and isinstance(found.get("Message"), str):
            found = json.loads(found["Message"])
    except (ValueError, RecursionError):
        return None
    return _report(found) if isinstance(found, dict) else None


def _report(note: dict[str, Any]) -> Report | None:
    kind = str(note.get("notificationType") or note.get("eventType") or "").lower()
    if kind == "bounce":
        body = _dict(note.get("bounce"))
        found = tuple(_bounced(r) for r in _recipients(body.get("bouncedRecipients")))
        return Report(
            Kind.BOUNCE, found, "aws-ses/json", reporting_mta=_host(body.get("reportingMTA"))
        )
    if kind == "complaint":
        body = _dict(note.get("complaint"))
        found = tuple(
            RecipientReport(
                r["emailAddress"],
                Reply(f"feedback-type: {body.get('complaintFeedbackType', 'abuse')}"),
            )
            for r in _recipients(body.get("complainedRecipients"))
        )
        return Report(Kind.COMPLAINT, found, "aws-ses/json")
    if kind == "delivery":
        body = _dict(note.get("delivery"))
        reply = parse_reply(str(body.get("smtpResponse") or ""))
        found = tuple(
            RecipientReport(str(a), reply, Action.DELIVERED)
            for a in body.get("recipients") or ()
            if is_address(str(a))
        )
        return Report(
            Kind.DELIVERY, found, "aws-ses/json", reporting_mta=_host(body.get("reportingMTA"))
        )
    return None


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _recipients(value: object) -> Iterator[dict[str, Any]]:
    for entry in (value if isinstance(value, list) else [])[:1_000]:
        if isinstance(entry, dict) and is_address(str(entry.get("emailAddress", ""))):
            yield entry


def _bounced(entry: dict[str, Any]) -> RecipientReport:
    said = str(entry.get("diagnosticCode") or "")
    kind, semicolon, words = said.partition(";")
    status: EnhancedStatus | None = find_status(str(entry.get("status") or ""))
    return RecipientReport(
        entry["emailAddress"],
        parse_reply(words.strip() if semicolon and " " not in kind.strip() else said),
        Action.FAILED,
        status=status,
        diagnostic_type=kind.strip().lower() if semicolon and " " not in kind.strip() else None,
    )


def _host(value: object) -> str | None:
    return str(value).rpartition(";")[2].strip()[:255] or None if value else None

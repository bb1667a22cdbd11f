"""Reports that mailing services send as JSON in a mail: SES through SNS, and webhook events."""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from bounced.model import Action, EnhancedStatus, Kind, RecipientReport, Reply, Report
from bounced.smtp import find_status, is_address, parse_reply

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bounced.message import Message

_LIMIT: Final = 262_144
_MOST: Final = 1_000  # events or recipients
_TEXT: Final = ("text/plain", "application/json", "")


def decode(message: Message) -> Report | None:
    """A service's notification, or None: Amazon SES's (docs: "notification contents"), or events
    of the kind that webhooks carry, an object or a list of them with a name and an address each.
    """
    text = message.text()[:_LIMIT].lstrip() if message.content_type in _TEXT else ""
    part = None if text else message.part_of("application/json", "text/json")
    text = part.text()[:_LIMIT].lstrip() if part else text
    if not text.startswith(("{", "[")) or "@" not in text:
        return None
    if "!\n " in text:  # a relay that broke overlong lines the way old mail systems do
        text = text.replace("!\n ", "")
    try:
        found, _ = json.JSONDecoder().raw_decode(text)
        if isinstance(found, dict) and isinstance(found.get("Message"), str):
            found = json.loads(found["Message"])
    except (ValueError, RecursionError):
        return None
    return (_report(found) if isinstance(found, dict) else None) or _events(found)


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


# Names of events, without marks and in lower case, as SendGrid, Mailgun, SparkPost, Postmark,
# Mandrill, Mailjet, Brevo and Elastic Email document them for their webhooks.
_EVENTS: Final = {
    **dict.fromkeys(("bounce", "bounced", "hardbounce", "softbounce", "hard", "soft"), Kind.BOUNCE),
    **dict.fromkeys(("failed", "permanentfail", "dropped", "blocked", "undelivered"), Kind.BOUNCE),
    **dict.fromkeys(("reject", "rejected", "policyrejection", "outofband"), Kind.BOUNCE),
    **dict.fromkeys(("invalid", "invalidemail", "error"), Kind.BOUNCE),
    **dict.fromkeys(("deferred", "deferral", "delayed", "delay", "temporaryfail"), Kind.DELAY),
    **dict.fromkeys(("delivered", "delivery"), Kind.DELIVERY),
    **dict.fromkeys(("complaint", "complained", "abuse", "abusereport"), Kind.COMPLAINT),
    **dict.fromkeys(("spam", "spamreport", "spamcomplaint"), Kind.COMPLAINT),
}
_ACTIONS: Final = {Kind.DELAY: Action.DELAYED, Kind.DELIVERY: Action.DELIVERED}
_NAMED: Final = ("event", "eventtype", "recordtype", "type", "name", "status")
_WHO: Final = ("recipient", "email", "rcptto", "emailaddress", "rcpt", "to", "address")
_WHY: Final = (
    *("diagnosticcode", "smtpresponse", "rawreason", "reason", "response", "diag", "description"),
    *("details", "error", "errormessage", "bouncereason", "bouncedescription", "message"),
)


def _events(found: object) -> Report | None:
    """A report of what a list of events tells; the worst of them gives the mail its kind."""
    told: dict[Kind, list[RecipientReport]] = {}
    for event in islice(_objects(found), _MOST):
        kind = next(
            (_EVENTS[n] for key in _NAMED if (n := _plain(event.get(key))) in _EVENTS), None
        )
        who = next((str(event[key]) for key in _WHO if is_address(str(event.get(key)))), None)
        if kind and who:
            told.setdefault(kind, []).append(_told(who, kind, event))
    for worst in (Kind.BOUNCE, Kind.COMPLAINT, Kind.DELAY, Kind.DELIVERY):
        if worst in told:
            deliveries = [
                one for kind, of in told.items() if kind is not Kind.COMPLAINT for one in of
            ]
            return Report(
                worst, tuple(told[worst] if worst is Kind.COMPLAINT else deliveries), "json"
            )
    return None


def _told(who: str, kind: Kind, event: dict[str, Any]) -> RecipientReport:
    if kind is Kind.COMPLAINT:
        return RecipientReport(who, Reply("feedback-type: abuse"))
    replies = [parse_reply(event[key][:2_000]) for key in _WHY if isinstance(event.get(key), str)]
    reply = next((r for r in replies if r.code), next(iter(replies), Reply()))
    codes = (find_status(str(event.get(key))) for key in ("status", "code"))
    status = next((code for code in codes if code), None)
    return RecipientReport(who, reply, _ACTIONS.get(kind, Action.FAILED), status=status)


def _objects(found: object, depth: int = 0) -> Iterator[dict[str, Any]]:
    """Events, wherever they are wrapped; what an event wraps in turn is spread out in it."""
    if isinstance(found, list):
        for one in found[:_MOST]:
            yield from _objects(one, depth)
    elif isinstance(found, dict) and depth < _DEEPEST:
        inner = [value for value in found.values() if isinstance(value, dict)]
        if any(_plain(key) in _NAMED and _plain(value) in _EVENTS for key, value in found.items()):
            pairs = [pair for one in (*inner, found) for pair in one.items()]
            yield {_plain(key): value for key, value in pairs if not isinstance(value, dict)}
        else:
            for value in found.values():
                yield from _objects(value, depth + 1)


_DEEPEST: Final = 6


def _plain(word: object) -> str:
    """A key or a name in lower case, without marks."""
    return "".join(c for c in word[:40].lower() if c.isalnum()) if isinstance(word, str) else ""


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _recipients(value: object) -> Iterator[dict[str, Any]]:
    for entry in (value if isinstance(value, list) else [])[:_MOST]:
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

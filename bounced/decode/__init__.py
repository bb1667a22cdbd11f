"""Message in, report out. Asked in order, most authoritative first; the first answer stands."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bounced.decode import (
    evidence,
    formats,
    notice,
    notifications,
    rfc3464,
    rfc3834,
    rfc5965,
    rfc8098,
)
from bounced.decode.notice import Surroundings
from bounced.decode.original import addresses_in, cut, received_for, returned_fields, returned_of
from bounced.message import CUT
from bounced.model import Action, Kind, RecipientReport, Report
from bounced.smtp import ADDRESS, parse_reply, verp_recipient

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bounced.message import Headers, Message

__all__ = ["decode"]

NOBODY = "names no recipient"
_SENDERS = ("from", "sender", "reply-to", "return-path", "errors-to", "x-envelope-from")


def decode(message: Message) -> Report:
    """What a message tells about deliveries. Pure; never raises for bad mail."""
    said, rest = cut(message.text())
    fields = returned_fields(message, rest)
    report = (
        rfc5965.decode(message)
        or rfc8098.decode(message)
        or notifications.decode(message)
        or _structured(message, said, fields)
        or _challenge(message)
        or _prose(message, said, fields)
        or rfc3834.decode(message)
        or Report(Kind.OTHER)
    )
    return replace(
        report,
        message_id=message.header("message-id") or None,
        returned=returned_of(fields),
        problems=message.problems + report.problems,
    )


def _challenge(message: Message) -> Report | None:
    """A daemon's notice that quotes such words is a notice all the same."""
    return None if evidence.daemon_sender(message) else rfc3834.challenge(message)


def _structured(message: Message, said: str, fields: Headers) -> Report | None:
    """A standard report, its gaps filled from the words beside it."""
    status = rfc3464.status_text(message)
    if status is None and _may_carry_fields(message, said):
        status = rfc3464.fields_in(said)
    if status is None:
        return None
    around = _surroundings(message, fields)
    cut_here = CUT in message.problems and message.parts[-1].content_type in rfc3464.TYPES
    named = rfc3464.recipients(status, complete=not cut_here)
    senders = _senders_only(message, fields)
    theirs = [r for r in named if r.address.lower() not in senders]
    recipients = _enriched(theirs, said)
    if named and not recipients:
        return None  # nobody but the sender: never ours to act on
    if not recipients:
        found = notice.recipients(said, around)
        if not found:
            return None
        recipients = [replace(r, action=_action_of(status)) for r in found]
    if any(r.action is Action.DELAYED for r in recipients) and _expired(said):
        recipients = [replace(r, action=Action.FAILED) for r in recipients]
    kind = kind_of(recipients)
    name = formats.recognise(message, said)
    return Report(
        kind,
        tuple(recipients),
        f"rfc3464/{name.name}" if name else "rfc3464",
        reporting_mta=rfc3464.reporting_mta(status),
    )


def _senders_only(message: Message, fields: Headers) -> frozenset[str]:
    """Who sent what is returned: no recipient of it, whoever names them.

    Unless it was addressed to them too; but the bounce address never is what bounced.
    """
    senders = _lower(addresses_in(fields, *_SENDERS)) | _lower(
        addresses_in(message.headers, "from")
    )
    envelope = _lower(addresses_in(fields, "return-path"))
    return senders - (_lower(addresses_in(fields, "to", "cc")) - envelope)


def _may_carry_fields(message: Message, said: str) -> bool:
    return (
        not message.headers
        or evidence.is_report(message, said)
        or message.content_type == "multipart/report"
    )


def _action_of(status: str) -> Action:
    group = next((g for g in rfc3464.groups(status) if "action" in g), {})
    return rfc3464.action_of(group.get("action", ""), None)


def _expired(said: str) -> bool:
    """OpenSMTPD's last word says `Action: delayed`; only its prose tells that it has given up."""
    return "envelope expired" in said.lower()


def kind_of(recipients: Sequence[RecipientReport]) -> Kind:
    """One failure makes a bounce; else a delay; else what was delivered."""
    actions = {recipient.action for recipient in recipients}
    if Action.FAILED in actions:
        return Kind.BOUNCE
    return Kind.DELAY if Action.DELAYED in actions else Kind.DELIVERY


def _enriched(recipients: Sequence[RecipientReport], said: str) -> list[RecipientReport]:
    """Where the report keeps less than the words beside it say, take the words' answer."""
    lines = said.split("\n")
    answers = list(notice.transcript(lines))
    silent = [r for r in recipients if r.reply.code is None and r.action not in _WENT]
    names = [a for r in silent for a in (r.address, r.original_address) if a]
    beside = notice.recipients(said, Surroundings(failed=tuple(names))) if names else []
    by_name = {r.address.lower(): r for r in beside if r.reply.text}
    return [_with_words(r, answers, by_name) for r in recipients]


_WENT = (Action.DELIVERED, Action.RELAYED, Action.EXPANDED)


def _with_words(
    recipient: RecipientReport, answers: Sequence[str], by_name: Mapping[str, RecipientReport]
) -> RecipientReport:
    reply = recipient.reply
    if reply.text and reply.code:
        longer = next((text for text in answers if _continues(text, reply.text)), None)
        if longer is None:
            return recipient
        full = parse_reply(longer)
        whole = replace(reply, text=full.text, command=full.command or reply.command)
        return replace(recipient, reply=whole)
    names = (recipient.address.lower(), (recipient.original_address or "").lower())
    other = next((by_name[name] for name in names if name in by_name), None)
    if other is None or (reply.text and other.reply.code is None):
        return recipient
    return replace(
        recipient, reply=other.reply, remote_mta=recipient.remote_mta or other.remote_mta
    )


def _continues(longer: str, start: str) -> bool:
    """Whether an answer of several lines begins with the one line that the report kept."""
    plain = " ".join(longer.split())
    return (
        len(plain) > len(start) + 40
        and plain[:4].rstrip("- ") == start[:3]
        and start[4:60] in plain
    )


def _prose(message: Message, text: str, fields: Headers) -> Report | None:
    """A notice in words only."""
    if not evidence.is_report(message, text):
        return None
    around = _surroundings(message, fields)
    form = formats.recognise(message, text)
    action = notice.action(message.header("subject"), text)
    found = [replace(r, action=action) for r in notice.recipients(text, around)]
    if found:
        return Report(kind_of(found), tuple(found), form.name if form else "prose")
    if evidence.weigh(message) >= 4:
        return Report(Kind.BOUNCE, (), form.name if form else "prose", problems=(NOBODY,))
    return None


def _surroundings(message: Message, fields: Headers) -> Surroundings:
    """Whose addresses stand around the notice."""
    failed = [
        a for value in message.all_headers("x-failed-recipients") for a in ADDRESS.findall(value)
    ]
    signed = addresses_in(message.headers, "from", "reply-to", "sender", "return-path")
    sent_to = addresses_in(message.headers, "to", "cc")
    delivered = addresses_in(message.headers, "delivered-to", "x-original-to", "envelope-to")
    senders = addresses_in(fields, *_SENDERS)
    ours = _lower([*signed, *sent_to, *senders]) - _lower(failed)
    mailed = addresses_in(
        fields, "to", "cc", "delivered-to", "x-original-to", "envelope-to", "x-rcpt-to", "resent-to"
    )
    mailed = [a.lower() for a in mailed or received_for(fields)]
    if any(v in ("<>", "<MAILER-DAEMON>") for k, v in fields if k == "return-path"):
        mailed = []  # what is returned is a notice itself: to whom it went is nobody's failure
    mailed = mailed or [a.lower() for a in map(verp_recipient, [*sent_to, *delivered]) if a]
    # who wrote to themselves is found by name only
    never = ours - (frozenset(mailed) - _lower([*signed, *sent_to]))
    return Surroundings(
        never=never,
        unlikely=_lower(delivered) - frozenset(mailed),
        mailed=tuple(a for a in mailed if a not in never),
        failed=tuple(failed[:1_000]),
        host=_reporter(message),
    )


def _reporter(message: Message) -> str | None:
    sender = next(iter(addresses_in(message.headers, "from")), None)
    return sender.rpartition("@")[2] if sender and evidence.daemon_sender(message) else None


def _lower(addresses: Sequence[str]) -> frozenset[str]:
    return frozenset(address.lower() for address in addresses)

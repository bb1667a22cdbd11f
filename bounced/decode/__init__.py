"""Message in, report out. Asked in order, most authoritative first; the first answer stands."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

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
from bounced.decode.original import (
    ARRIVED,
    FROM,
    MAILED,
    SENDERS,
    TO,
    TOKEN,
    addresses_in,
    received_for,
    returned_of,
    returned_part,
)
from bounced.decode.view import View
from bounced.decode.words import pattern
from bounced.message import CUT, read
from bounced.model import Action, Kind, RecipientReport, Reply, Report
from bounced.smtp import ADDRESS, parse_reply, verp_recipient

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bounced.message import Message

__all__ = ["decode"]

NOBODY: Final = "names no recipient"
# what mail programs make of a report that they do not know
_FILES: Final = ("application/octet-stream", "application/x-delivery-status", "application/text")


def decode(message: Message) -> Report:
    """What a message tells about deliveries. Pure; never raises for bad mail."""
    view = View(message)
    report = (
        rfc5965.decode(view)
        or rfc8098.decode(view)
        or notifications.decode(message)
        or _structured(view)
        or _challenge(view)
        or _prose(view)
        or rfc3834.decode(view)
        or Report(Kind.OTHER)
    )
    envelope = _envelope(view)
    return Report(
        report.kind,
        _whom_we_mailed(report.recipients, envelope),
        report.format,
        message.header("message-id") or None,
        report.reporting_mta,
        returned_of(view.fields),
        message.problems + report.problems,
        envelope,
    )


def _whom_we_mailed(
    recipients: tuple[RecipientReport, ...], envelope: Sequence[str]
) -> tuple[RecipientReport, ...]:
    """The one recipient of a forwarded mail, with the subscriber whom its envelope sender named."""
    if len(recipients) != 1 or recipients[0].original_address is not None:
        return recipients
    mailed = next((found for place in envelope if (found := verp_recipient(place))), None)
    if mailed is None or mailed.lower() == recipients[0].address.lower():
        return recipients
    return (replace(recipients[0], original_address=mailed),)


def _envelope(view: View) -> tuple[str, ...]:
    """Where a token may be, if the sender gave the mail one: see `bounced.trust`."""
    places = addresses_in(view.written, _DELIVERED)[:8]
    if returned := view.addressed:
        places += addresses_in(returned, _RETURN_PATH)[:2]
        places += [value.strip() for name, value in returned if name == TOKEN][:2]
    return tuple([place[:320] for place in places])


_DELIVERED: Final = ARRIVED | {"to"}
_RETURN_PATH: Final = frozenset({"return-path"})


def _challenge(view: View) -> Report | None:
    """A daemon's notice that quotes such words is a notice all the same."""
    return None if view.daemon else rfc3834.challenge(view)


def _around(view: View) -> Surroundings:
    """Whose addresses stand around the notice."""
    if view.around is None:
        view.around = _surroundings(view)
    return view.around


def _structured(view: View) -> Report | None:
    """A standard report, its gaps filled from the words beside it."""
    message = view.message
    status = rfc3464.status_text(message)
    if status is None and _may_carry_fields(view):
        status = rfc3464.fields_in(view.said)
    if status is None and any(part.content_type in _FILES for part in message.parts):
        status = rfc3464.attached_fields(message, _FILES) if evidence.is_report(view) else None
    if status is None:
        return None
    cut_here = CUT in message.problems and message.parts[-1].content_type in rfc3464.TYPES
    named = rfc3464.recipients(status, complete=not cut_here)
    recipients = _enriched(_not_the_sender(named, view), view)
    if named and not recipients:
        return None  # nobody but the sender: never ours to act on
    if not recipients:
        action = rfc3464.first_action(status)
        recipients = notice.recipients(view.said, _around(view), action)
        if not recipients:
            return None
    if _asks_for_a_person(recipients, view):
        return Report(Kind.CHALLENGE, format="rfc3464/challenge")
    if any(r.action is Action.DELAYED for r in recipients) and _expired(view.said):
        recipients = [replace(r, action=Action.FAILED) for r in recipients]
    form = formats.recognise(message, view.beginnings())
    if form and form.first_answer_for_all:
        recipients = _only_the_named(recipients)
    return Report(
        kind_of(recipients),
        tuple(recipients),
        f"rfc3464/{form.name}" if form else "rfc3464",
        reporting_mta=rfc3464.reporting_mta(status),
    )


def _not_the_sender(recipients: Sequence[RecipientReport], view: View) -> Sequence[RecipientReport]:
    """Who sent what is returned is no recipient of it, whoever names them.

    Unless it was addressed to them too; but the bounce address never is what bounced.
    """
    fields = view.addressed
    signed = " ".join([value for name, value in fields if name in SENDERS]).lower()
    signed += view.message.header("from").lower()
    if not any(recipient.address.lower() in signed for recipient in recipients):
        return recipients
    senders = _lower(addresses_in(fields, SENDERS))
    senders |= _lower(addresses_in(view.written, FROM))
    envelope = _lower(addresses_in(fields, _RETURN_PATH))
    senders -= _lower(addresses_in(fields, TO)) - envelope
    return [r for r in recipients if r.address.lower() not in senders]


def _may_carry_fields(view: View) -> bool:
    if "-recipient" not in view.said and "-Recipient" not in view.said:
        return False
    message = view.message
    return not message.headers or view.report or evidence.is_report(view)


def _asks_for_a_person(recipients: Sequence[RecipientReport], view: View) -> bool:
    """A challenge in the form of a report: a diagnostic of the filter's own, no server's answer."""
    own = all((r.diagnostic_type or "").startswith("x-") and not r.reply.code for r in recipients)
    return own and not view.daemon and pattern("challenge").search(view.said[:6_000]) is not None


def _only_the_named(recipients: Sequence[RecipientReport]) -> list[RecipientReport]:
    """Take an answer that all of several share from those whom it does not name."""
    if len(recipients) < 2 or len({r.reply for r in recipients}) > 1:
        return list(recipients)
    said = recipients[0].reply.text.lower()
    return [
        r if r.address.lower() in said else replace(r, reply=Reply(), status=None)
        for r in recipients
    ]


def _expired(said: str) -> bool:
    """OpenSMTPD's last word says `Action: delayed`; only its prose tells that it has given up."""
    return "envelope expired" in said.lower()


def kind_of(recipients: Sequence[RecipientReport]) -> Kind:
    """One failure makes a bounce; else a delay; else what was delivered."""
    actions = {recipient.action for recipient in recipients}
    if Action.FAILED in actions:
        return Kind.BOUNCE
    return Kind.DELAY if Action.DELAYED in actions else Kind.DELIVERY


def _enriched(recipients: Sequence[RecipientReport], view: View) -> list[RecipientReport]:
    """Where the report keeps less than the words beside it say, take the words' answer."""
    silent = [r for r in recipients if r.reply.code is None and r.action not in _WENT]
    if not silent and ("<<<" not in view.message.text() or "<<<" not in view.said):
        return list(recipients)
    answers = list(notice.transcript(view.said.split("\n"))) if "<<<" in view.said else []
    names = [a for r in silent for a in (r.address, r.original_address) if a]
    if len(silent) == 1:  # an answer to somebody else is not the only one there
        names += [r.address for r in recipients if r is not silent[0]][:1]
    beside = notice.recipients(view.said, Surroundings(failed=tuple(names))) if names else []
    by_name = {r.address.lower(): r for r in beside if r.reply.text}
    return [_with_words(r, answers, by_name) for r in recipients]


_WENT: Final = (Action.DELIVERED, Action.RELAYED, Action.EXPANDED)


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


def _prose(view: View) -> Report | None:
    """A notice in words only."""
    if not evidence.is_report(view):
        return _enclosed(view) if view.daemon else None
    form = formats.recognise(view.message, view.beginnings())
    found = notice.recipients(view.said, _around(view), notice.action(view))
    if found:
        return Report(kind_of(found), tuple(found), form.name if form else "prose")
    if enclosed := _enclosed(view):
        return enclosed
    believed = evidence.weigh(view) >= 4 and not view.takes_bounces
    if believed and _tells_of_failure(view):
        return Report(Kind.BOUNCE, (), form.name if form else "prose", problems=(NOBODY,))
    return None


def _tells_of_failure(view: View) -> bool:
    """Whether what names nobody speaks of a failed delivery all the same."""
    if view.report or evidence.smtp_words(view.said):
        return True
    return view.daemon and view.speaks_of_failure()


_TO: Final = frozenset({"to"})
_SENT: Final = frozenset({"to", "delivered-to"})


def _enclosed(view: View) -> Report | None:
    """A notice that a mail system passes on as an attachment, if it was written to whom this is.

    What we sent is never asked: only a daemon's letter to the address that this one went to.
    """
    part = returned_part(view.message)
    sent_to = set(addresses_in(view.written, _SENT))
    if part is None or sent_to.isdisjoint(addresses_in(view.addressed, _TO)):
        return None
    inner = View(read(part.data()))
    if not inner.daemon or returned_part(inner.message) is part:
        return None
    found = _structured(inner)
    if found is None and evidence.is_report(inner):
        told = notice.recipients(inner.said, _around(inner), notice.action(inner))
        found = Report(kind_of(told), tuple(told)) if told else None
    return found and replace(found, format="enclosed")


def _surroundings(view: View) -> Surroundings:
    message, own, fields = view.message, view.written, view.addressed
    failed = [
        a for value in message.all_headers("x-failed-recipients") for a in ADDRESS.findall(value)
    ]
    sent_to, delivered = addresses_in(own, TO), addresses_in(own, ARRIVED)
    signed, sent = _lower(addresses_in(own, _SIGNING)), _lower(sent_to)
    lists = _lower([a for k, v in fields if k == "list-post" for a in ADDRESS.findall(v)])
    ours = signed | sent | lists | _lower(addresses_in(fields, SENDERS))
    mailed = [a.lower() for a in addresses_in(fields, MAILED)]
    if lists.issuperset(mailed):
        # a list's letter goes to its members
        mailed = [a.lower() for a in received_for(view.fields)]
    if any(v in ("<>", "<MAILER-DAEMON>") for k, v in fields if k == "return-path"):
        mailed = []  # what is returned is a notice itself: to whom it went is nobody's failure
    mailed = mailed or [a.lower() for a in map(verp_recipient, [*sent_to, *delivered]) if a]
    whom = frozenset(mailed)
    # who wrote to themselves is found by name only
    never = (ours - _lower(failed)) - (whom - signed - sent)
    # the mailbox that the notice came to, without the tag that a bounce address carries
    never |= frozenset([_untagged(a) for a in sent if "+" in a]) - whom
    return Surroundings(
        never=never,
        unlikely=_lower(delivered) - whom,
        mailed=tuple([a for a in mailed if a not in never]),
        failed=tuple(failed[:1_000]),
        host=_reporter(view),
        subject=view.subject if view.report_subject else "",
    )


_SIGNING: Final = frozenset({"from", "reply-to", "sender", "return-path"})


def _untagged(address: str) -> str:
    account, _, domain = address.rpartition("@")
    return f"{account.partition('+')[0]}@{domain}"


def _reporter(view: View) -> str | None:
    """The domain of the daemon that wrote the notice."""
    senders = addresses_in(view.written, FROM) if view.daemon else ()
    return senders[0].rpartition("@")[2] if senders else None


def _lower(addresses: Sequence[str]) -> frozenset[str]:
    return frozenset([address.lower() for address in addresses])

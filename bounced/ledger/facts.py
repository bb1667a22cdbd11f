"""A reading as rows: what goes into `message`, `event` and `judgement`.

Text from mail is cut to length and freed of what a database refuses (NUL, lone surrogates), so
that no letter can make a transaction fail.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from bounced import trust
from bounced.model import Action, EnhancedStatus, Kind, Outcome, RecipientReport, Reply
from bounced.receivers import receiver_of
from bounced.smtp import ADDRESS, canonical, folded, parse_reply

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import RowMapping

    from bounced.model import Bounce, Conclusion, Reading, Verdict
    from bounced.trust import Key

DIAGNOSTIC_LIMIT = 2000
TEXT_LIMIT = 998  # the longest line of a letter (RFC 5322, 2.1.1)
LIST_LIMIT = 255  # RFC 2919, 6
ADDRESS_LIMIT = 320  # 64 octets, "@", 255 octets (RFC 5321, 4.5.3.1)
MESSAGE_ID_LIMIT = 448  # with an address it makes a key, and those are short on MariaDB
PROBLEMS_LIMIT = 50
IMPORTED = "import/"  # the format of what others said of an address (bounced.ledger.adoption)
CANDIDATES = 100  # recipients of a report to whom its token is held

_PLAUSIBLE = re.compile(r"[^\s@<>]{1,64}@[^\s@<>]{1,255}")
_OF_DELIVERIES = frozenset({Kind.BOUNCE, Kind.DELAY, Kind.DELIVERY})
_DELIVERIES = frozenset({Action.DELIVERED, Action.RELAYED, Action.EXPANDED})
# Of two fates of one address in one report, the kinder is kept.
_KINDNESS = {Outcome.NONE: 0, Outcome.BLOCKED: 1, Outcome.SOFT: 2, Outcome.HARD: 3}


def whose(recipient: RecipientReport) -> str:
    """The address whose standing a recipient report touches, canonical.

    The subscriber is whom we mailed: the original recipient where the report names a plausible
    one, else the final recipient. Where mail was forwarded the two differ, and suppressing the
    address at the far end would suppress nobody on the list.
    """
    mailed = recipient.original_address
    if mailed is not None and _PLAUSIBLE.fullmatch(mailed.strip()):
        return kept(mailed)
    return kept(recipient.address)


def kept(address: str) -> str:
    """An address as it is kept: canonical, and no longer than one can be."""
    # the canonical form may be longer than what was given: each label of a domain grows
    return canonical(clean(address, ADDRESS_LIMIT))[:ADDRESS_LIMIT]


def matched(address: str) -> str:
    """An address as look-ups compare it, where it is kept."""
    return folded(address)[:ADDRESS_LIMIT]


def clean(text: str, limit: int = TEXT_LIMIT) -> str:
    """Text that every database takes, cut to a number of characters."""
    if len(text) <= limit and text.isascii() and "\x00" not in text:
        return text
    return text[:limit].replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def _maybe(text: str | None) -> str | None:
    return text and clean(text)


@lru_cache(1024)
def _code(status: EnhancedStatus | None) -> str | None:
    return None if status is None else clean(str(status))


def message_row(reading: Reading, *, redact: bool = False) -> dict[str, Any]:
    """What a message says of itself; with `redact` not whom the returned one was from and to."""
    report = reading.conclusion.report
    returned = report.returned
    if redact:
        returned = replace(returned, subject=None, from_=None, to=None)
    problems = [clean(problem, 200) for problem in report.problems[:PROBLEMS_LIMIT]]
    told = json.dumps(problems, ensure_ascii=False) if problems else "[]"
    return {
        "uid": reading.uid,
        "state": "recorded",
        "destination": reading.destination._value_,
        "kind": report.kind._value_,
        "format": _maybe(report.format),
        "dedup_key": reading.dedup_key,
        "raw_sha256": reading.raw_sha256,
        "message_id": _maybe(report.message_id),
        "reporting_mta": _maybe(report.reporting_mta),
        "returned_message_id": _maybe(returned.message_id),
        "returned_subject": _maybe(returned.subject),
        "returned_list_id": _maybe(returned.list_id),
        "returned_from": _maybe(returned.from_),
        "returned_to": _maybe(returned.to),
        "problems": told,
        "received_at": reading.received_at,
    }


def fates(conclusion: Conclusion, owner: str | None = None) -> dict[str, tuple[int, Bounce]]:
    """By address: the place in the report and the recipient's fate, one for each address.

    Where a report is of one recipient and carries the token of another, `owner`, that one is whom
    we mailed, and the mail was forwarded.
    """
    found: dict[str, tuple[int, Bounce]] = {}
    alone = len(conclusion.bounces) == 1
    for ordinal, bounce in enumerate(conclusion.bounces):
        address = whose(bounce.recipient)
        if alone and owner is not None and folded(address) != folded(owner):
            address = kept(owner)
        before = found.get(address)
        if before is None or _kinder(bounce, before[1]):
            found[address] = (ordinal, bounce)
    return found


def token_owner(reading: Reading, keys: Sequence[Key]) -> str | None:
    """Whom a token in the report was given to: one of those it speaks of, or whom it returns."""
    report = reading.conclusion.report
    if not keys or not report.recipients:
        return None
    places = (*report.envelope, report.returned.message_id or "")
    spoken_of = report.recipients[:CANDIDATES]
    candidates = [named for r in spoken_of for named in (r.original_address, r.address) if named]
    candidates += ADDRESS.findall((report.returned.to or "")[:TEXT_LIMIT])
    return trust.owner(places, candidates, keys, on=reading.received_at.date())


def token_id(reading: Reading, owner: str | None, keys: Sequence[Key]) -> str | None:
    """The sender's id in the token that was given to `owner`."""
    if owner is None:
        return None
    report, day = reading.conclusion.report, reading.received_at.date()
    found = map(trust.find, (*report.envelope, report.returned.message_id or ""))
    tokens = (token for token in found if token is not None)
    return next((one.id for one in tokens if trust.verify(one, owner, keys, on=day)), None)


def list_id(reading: Reading) -> str | None:
    """The List-Id of the returned message (RFC 2919) in lower case, without its phrase."""
    told = reading.conclusion.report.returned.list_id
    if told is None:
        return None
    return clean(told.rpartition("<")[2].partition(">")[0].strip().lower(), LIST_LIMIT) or None


def message_id(text: str) -> str:
    """A Message-ID as it is compared: without brackets and white space, and not beyond measure."""
    return clean(text.strip().strip("<>").strip(), MESSAGE_ID_LIMIT)


def _kinder(one: Bounce, other: Bounce) -> bool:
    return _KINDNESS[one.verdict.outcome] < _KINDNESS[other.verdict.outcome]


def event_row(
    reading: Reading, address: str, ordinal: int, bounce: Bounce, *, redact: bool = False
) -> dict[str, Any]:
    """What was reported of one recipient: facts only; with `redact` no names in the diagnostic."""
    recipient = bounce.recipient
    reply = recipient.reply
    domain = address.rpartition("@")[2]
    return {
        "dedup_key": reading.dedup_key,
        "ordinal": ordinal,
        "address": address,
        "recipient": clean(recipient.address),
        "original_address": _maybe(recipient.original_address),
        "action": recipient.action._value_,
        "kind": kind_of(reading.conclusion.report.kind, recipient.action)._value_,
        "status": _code(recipient.status),
        "reply_code": reply.code,
        "reply_status": _code(reply.status),
        "command": _maybe(reply.command),
        "diagnostic": clean(redacted(reply.text) if redact else reply.text, DIAGNOSTIC_LIMIT),
        "diagnostic_type": _maybe(recipient.diagnostic_type),
        "remote_mta": _maybe(recipient.remote_mta),
        "domain": domain,
        "provider": receiver_of(recipient.remote_mta, domain),
        "occurred_at": reading.received_at,
    }


def redacted(text: str) -> str:
    """A text with `***` for the local part of every address in it; domains stay, for the rules."""
    return ADDRESS.sub(lambda found: f"***@{found[0].rpartition('@')[2]}", text)


def recipient_report(row: RowMapping) -> RecipientReport:
    """What `event_row` made a row of, as far as judging needs it."""
    text = row["diagnostic"]
    reply = Reply(
        text=text,
        code=row["reply_code"],
        status=_status(row["reply_status"]),
        command=row["command"],
        quoted=parse_reply(text).quoted,
    )
    return RecipientReport(
        address=row["recipient"],
        reply=reply,
        action=Action(row["action"]),
        original_address=row["original_address"],
        status=_status(row["status"]),
        remote_mta=row["remote_mta"],
        diagnostic_type=row["diagnostic_type"],
    )


def _status(text: str | None) -> EnhancedStatus | None:
    return None if text is None else EnhancedStatus(*(int(part) for part in text.split(".")))


def judgement_row(verdict: Verdict, rules_version: str, at: datetime) -> dict[str, Any]:
    """What we concluded from it."""
    return {
        "outcome": verdict.outcome._value_,
        "reason": verdict.reason._value_,
        "fault": verdict.fault._value_,
        "confidence": verdict.confidence,
        "rule": clean(verdict.rule),
        "because": clean(verdict.because),
        "rules_version": rules_version,
        "judged_at": at,
    }


def kind_of(report: Kind, action: Action) -> Kind:
    """One recipient's kind: a report that some failed may tell that others were delivered to."""
    if report not in _OF_DELIVERIES:
        return report
    if action in _DELIVERIES:
        return Kind.DELIVERY
    return Kind.DELAY if action is Action.DELAYED else report

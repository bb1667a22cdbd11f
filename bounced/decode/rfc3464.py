"""The standard delivery status notification: message/delivery-status (RFC 3464, RFC 6533).

Read as servers write it, not only as the standard has it: fields in any order, groups without
blank lines between them, types that no registry knows, actions in capitals or other words.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from bounced.message import mailbox_of
from bounced.model import Action, RecipientReport, Reply
from bounced.smtp import ADDRESS, find_status, is_address, parse_reply

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bounced.message import Message

TYPES: Final = (
    "message/delivery-status",
    "message/global-delivery-status",
    "message/deliverystatus",
)
MAX_RECIPIENTS: Final = 1_000
_REPORT_LIMIT: Final = 512_000

Group = dict[str, str]

_FIELD: Final = re.compile(r"^[ \t]{0,2}([A-Za-z][A-Za-z0-9-]{1,60})[ \t]*:[ \t]*(.*)$")
_PER_RECIPIENT: Final = ("final-recipient", "original-recipient", "action", "status")


# where a part's closing boundary is damaged, the next part is no part of the report
_NEXT_PART: Final = re.compile(
    r"^--[^\s-][^\n]{0,200}\ncontent-[a-z-]{1,40}:", re.IGNORECASE | re.MULTILINE
)


def _up_to_next_part(text: str) -> str:
    return _NEXT_PART.split(text, 1)[0] if "--" in text else text


def status_text(message: Message) -> str | None:
    """The text of the report's machine-readable part, wherever it hides; None if there is none."""
    texts = [_up_to_next_part(part.text()) for part in message.parts_of(*TYPES)]
    found = "\n\n".join(text for text in texts if text.strip())
    return found[:_REPORT_LIMIT] or None


_IN_TEXT: Final = re.compile(
    r"^[ \t]{0,2}(?:final|original)-recipient[ \t]*:", re.IGNORECASE | re.MULTILINE
)


def fields_in(text: str) -> str | None:
    """Report fields that stand in a text part: from the paragraph of the first one onwards."""
    found = _IN_TEXT.search(text)
    if not found:
        return None
    above = text[: found.start()].rstrip("\n")
    block_start = text.rfind("\n\n", 0, found.start())
    reporting = above.lower().rfind("reporting-mta:")
    start = above.rfind("\n", 0, reporting) + 1 if reporting >= 0 else block_start + 1
    return text[max(start, 0) : max(start, 0) + _REPORT_LIMIT]


def attached_fields(message: Message, types: tuple[str, ...]) -> str | None:
    """Report fields in a part whose type says nothing of them (`details.txt` as octets)."""
    found = (fields_in(part.text()[:_REPORT_LIMIT]) for part in message.parts_of(*types))
    return next((fields for fields in found if fields), None)


def groups(text: str) -> Iterator[Group]:
    """Field groups; a second Final-Recipient (or Action and the like) opens one by itself."""
    group: Group = {}
    name = ""
    for line in text.split("\n"):
        line = line.rstrip()  # noqa: PLW2901
        if not line:
            if group:
                yield group
            group, name = {}, ""
            continue
        written, colon, value = line.partition(":")
        if colon and (usual := _AS_WRITTEN.get(written)) is not None:
            name = usual
        else:
            found = _FIELD.match(line)
            if found is None or (line[:1] in " \t" and name and found[1].lower() not in _KNOWN):
                if name and len(group[name]) < 20_000:
                    group[name] += "\n" + line.strip()
                continue
            name, value = found[1].lower(), found[2]
        if name in group:
            if name in _PER_RECIPIENT and "final-recipient" in group:
                yield group
                group = {}
            else:
                name += "'"
        group[name] = value.strip()
    if group:
        yield group


_KNOWN: Final = {
    "final-recipient", "original-recipient", "action", "status", "diagnostic-code", "remote-mta",
    "reporting-mta", "received-from-mta", "arrival-date", "last-attempt-date", "will-retry-until",
    "final-log-id", "dsn-gateway", "original-envelope-id",
}  # fmt: skip
# as RFC 3464 and nearly every server write them
_AS_WRITTEN: Final = {
    name: name.lower()
    for name in (
        "Final-Recipient", "Original-Recipient", "Action", "Status", "Diagnostic-Code",
        "Remote-MTA", "Reporting-MTA", "Received-From-MTA", "Arrival-Date", "Last-Attempt-Date",
        "Will-Retry-Until", "X-Postfix-Queue-ID", "X-Postfix-Sender",
    )
}  # fmt: skip


def recipients(text: str, *, complete: bool = True) -> list[RecipientReport]:
    """One report for each recipient named; an address twice is one (the later word stands).

    `complete` is False where the message ends too early: then the last line may be cut in the
    middle, and an address there is nobody's.
    """
    if not complete:
        before, _, last = text.rstrip().rpartition("\n")
        text = before if "-recipient" in last.lower() else text
    found: dict[str, RecipientReport] = {}
    pending: Group = {}
    for group in groups(text):
        merged = {**pending, **group}
        if "final-recipient" not in merged and "original-recipient" not in merged:
            # some servers put a blank line into a recipient's group
            pending = merged if "action" in merged or "status" in merged else {}
            if found and _late_fields(group):
                last = next(reversed(found))
                found[last] = _supplemented(found[last], group)
                pending = {}
            continue
        pending = {}
        report = _recipient(merged)
        if report is not None:
            found[report.address.lower()] = report
        if len(found) >= MAX_RECIPIENTS:
            break
    return list(found.values())


def _late_fields(group: Group) -> bool:
    return "diagnostic-code" in group and "reporting-mta" not in group


def _supplemented(report: RecipientReport, group: Group) -> RecipientReport:
    if report.reply.text:
        return report
    kind, reply = diagnostic(group)
    return RecipientReport(
        report.address, reply, report.action, report.original_address, report.status,
        report.remote_mta or remote_mta(group), kind,
    )  # fmt: skip


def _recipient(group: Group) -> RecipientReport | None:
    final = address_in(group.get("final-recipient", ""))
    original = address_in(group.get("original-recipient", ""))
    failed = address_in(group.get("x-actual-recipient", "")) if final is None else None
    address = final or failed or original
    if address is None:
        return None
    kind, reply = diagnostic(group)
    status = find_status(group.get("status", ""))
    return RecipientReport(
        address=address,
        reply=reply,
        action=action_of(group.get("action", ""), status.class_ if status else None),
        original_address=original if original and original.lower() != address.lower() else None,
        status=status,
        remote_mta=remote_mta(group),
        diagnostic_type=kind,
    )


# what was mailed may be no address at all, and is named all the same (`reader@#example.com`);
# what Exchange makes of a name in its directory is longer than a name may be
_ODD: Final = re.compile(
    r"(?:[^\s@<>;,()]{1,64}|IMCEA[A-Z]{2,8}-[^\s@<>;,()]{1,200})@[^\s@<>;,()]{1,255}"
)
_ESCAPED: Final = re.compile(r"\\x\{([0-9A-Fa-f]{2,6})\}")


def address_in(value: str) -> str | None:
    """The mailbox of a recipient field, without its address type; None if none stands there."""
    if not value or ('"' in value and _FOLDED_QUOTE.search(value)):
        return None
    value = value.replace("\n", " ").strip()
    if "\\x{" in value:  # utf-8-addr-xtext, RFC 6533 3
        value = _ESCAPED.sub(_point, value)
    kind, semicolon, rest = value.partition(";")
    rest = (rest if semicolon and "@" not in kind else value).strip()
    if rest.lower().startswith(("rfc822;", "smtp:", "mailto:")):
        rest = rest[7:].strip()
    bare = rest.removeprefix("<").partition(">")[0].strip() if rest.startswith("<") else rest
    if is_address(bare) or _ODD.fullmatch(bare):
        return bare
    if "<" in rest:  # a display name before it, which is anybody's word
        inner = rest[rest.rfind("<") + 1 :].partition(">")[0].strip()
        return inner if is_address(inner) else mailbox_of(rest)
    found = ADDRESS.match(bare)
    # a comment may follow; an address that only ends so was cut out of something longer
    return found[0] if found and bare[found.end() : found.end() + 1] in _ENDS else None


_FOLDED_QUOTE: Final = re.compile(r'"[^"\n]{0,200}\n[^"]{0,200}"')
_ENDS: Final = ("", " ", ")", ",", ";", "\t", '"', "]", "(", ".", ":")


def _point(match: re.Match[str]) -> str:
    point = int(match[1], 16)
    return chr(point) if point <= 0x10FFFF and not 0xD800 <= point <= 0xDFFF else "\ufffd"


_ACTIONS: Final = {
    "fail": Action.FAILED,
    "bounce": Action.FAILED,
    "error": Action.FAILED,
    "undeliver": Action.FAILED,
    "expired": Action.FAILED,
    "delay": Action.DELAYED,
    "defer": Action.DELAYED,
    "warn": Action.DELAYED,
    "deliver": Action.DELIVERED,
    "success": Action.DELIVERED,
    "relay": Action.RELAYED,
    "expand": Action.EXPANDED,
}


def action_of(value: str, class_: int | None) -> Action:
    """The action as written, else what the status class leaves possible; a report means failure."""
    word = value.strip().lower()
    for begins, action in _ACTIONS.items():
        if word.startswith(begins):
            return action
    return Action.DELIVERED if class_ == 2 else Action.FAILED


def remote_mta(group: Group) -> str | None:
    return _host(group.get("remote-mta", ""))


# fields of a server's own that say what Diagnostic-Code should have said
_EXPLAINS: Final = re.compile(
    r"diagnostic|reason|error|explanation|(?:smtp|server)-(?:reply|response)"
)
_TYPE: Final = re.compile(r"^\s*([A-Za-z][\w-]{0,30})\s*;\s*")


def diagnostic(group: Group) -> tuple[str | None, Reply]:
    """Type and reply of Diagnostic-Code (RFC 3464, 2.3.6); RFC 822 comments count as words."""
    value = group.get("diagnostic-code") or next(
        (told for name, told in group.items() if _EXPLAINS.search(name)), ""
    )
    if not value.strip():
        return None, Reply()
    kind = _TYPE.match(value)
    words = value[kind.end() :] if kind else value
    reply = parse_reply(words) if words.strip() else Reply()
    return (kind[1].lower() if kind else None), reply


_REPORTING: Final = re.compile(
    r"^[ \t]{0,2}reporting-mta[ \t]*:(.*)$", re.IGNORECASE | re.MULTILINE
)
_ACTION: Final = re.compile(r"^[ \t]{0,2}action[ \t]*:(.*)$", re.IGNORECASE | re.MULTILINE)


def reporting_mta(text: str) -> str | None:
    """The host that wrote the report, as the first field of that name has it."""
    return next((host for m in _REPORTING.finditer(text) if (host := _host(m[1]))), None)


def first_action(text: str) -> Action:
    """The action of a report that names no recipient."""
    found = _ACTION.search(text)
    return action_of(found[1] if found else "", None)


def _host(value: str) -> str | None:
    """A host name without its type, and without a comment behind it."""
    host = value.partition(";")[2] if ";" in value else value
    return host.partition("(")[0].strip().strip("<>")[:255] or None

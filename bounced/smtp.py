"""The grammar of SMTP as it survives in free text: replies, enhanced statuses, addresses.

Servers quote each other in many ways; these functions find what RFC 5321 (4.2) and RFC 3463
define in whatever surrounds it, and invent nothing: what is not in the text is None.
"""

from __future__ import annotations

import contextlib
import re
from typing import Final

from bounced.model import EnhancedStatus, Reply

# What of a reply is looked at; a server's answer is far shorter, an attacker's is not.
MAX_REPLY: Final = 8_000

_DETAIL = r"([245])\.(\d)\.(\d{1,3})"
_STATUS = re.compile(rf"(?<![\d.])(?<![vV]){_DETAIL}(?![\d]|\.\d)")
_CODE = r"[2-5][0-5]\d|4[6-9]\d|5[6-9]\d"
# A code in its own place: where a reply begins.
_REPLY_START = re.compile(
    r"(?:^|<<<\s*|\bsaid:?\s*|\bsmtp\s*;\s*|\[SMTP error\]\s*|\berror:?\s+"
    r"|\bresponse\w*(?:\s+was)?:?\s+|>:\s*|\]:\s*|:\s+|[：'\"“(\[{=>]\s*"
    r"|\berror\s+(?:code\s+)?|\bcode\s*:?\s*)"
    rf"({_CODE})(?=[\s\-#(:;,)\]<'\"]|$)(?!\.\d)",
    re.IGNORECASE,
)
# Anywhere else only where an enhanced status or a server's words follow it.
_FREE_CODE = re.compile(rf"(?<![\d.#:/\-])({_CODE})(?:[ \-]+(?:#?[245]\.\d\.\d|[A-Za-z<#]))")
_COMMANDS: Final[dict[str, str]] = {
    "rcpt": "RCPT", "mail": "MAIL", "data": "DATA", "end": "DATA", "message": "DATA",
    "bdat": "DATA", "helo": "HELO", "ehlo": "EHLO", "lhlo": "EHLO",
    "starttls": "STARTTLS", "auth": "AUTH",
    "initial": "CONN", "connect": "CONN", "connection": "CONN", "banner": "CONN",
    "pipelined": "", "dot": "DATA",
}  # fmt: skip
_COMMAND = re.compile(
    r"(?:in\s+(?:reply|response)\s+to\s+(?:the\s+)?"
    r"|\bafter\s+(?:sending\s+)?(?:pipelined\s+|end\s+of\s+)?|>>>\s*"
    r"|\bwhile\s+sending\s+|\bcommand:?\s+|\[)"
    r"(rcpt|mail(?=[ _]from)|data|end(?=[ _]of)|message(?= body| data| text)|bdat|helo|ehlo|lhlo"
    r"|starttls|auth|initial(?= connection)|connection|connect(?!ing)|banner|dot)(?![a-z])",
    re.IGNORECASE,
)


def find_status(text: str) -> EnhancedStatus | None:
    """The first RFC 3463 code in a text; version numbers and IP addresses are none."""
    found = _STATUS.search(text[:MAX_REPLY])
    return EnhancedStatus(int(found[1]), int(found[2]), int(found[3])) if found else None


def find_command(text: str) -> str | None:
    """The SMTP command that a reply answered, where the notice says so, as its verb (`RCPT`)."""
    found = _COMMAND.search(text)
    return (_COMMANDS[found[1].lower()] or None) if found else None


def find_code(text: str) -> tuple[int, int] | None:
    """The reply code in a text and where it begins."""
    found = _REPLY_START.search(text) or _FREE_CODE.search(text)
    return (int(found[1]), found.start(1)) if found else None


def parse_reply(text: str, *, command: str | None = None) -> Reply:
    """Read a server's answer out of a line or paragraph of human text. Never raises.

    >>> r = parse_reply("host mx.example.com said: 550 5.1.1 <a@example.com>: No such user "
    ...                 "(in reply to RCPT TO command)")
    >>> r.code, str(r.status), r.command
    (550, '5.1.1', 'RCPT')
    """
    text = " ".join(text[:MAX_REPLY].split())
    code, at = find_code(text) or (None, 0)
    tail = text[at:] if code else text
    status = find_status(tail) or find_status(text)
    if status and not code and status.class_ == 2 and "5." in text:
        status = find_status(text[text.find("5.") :]) or status
    folded = _unfold(text, code, status)
    return Reply(folded, code, status, command or find_command(text), _quoted(text, at))


def _unfold(text: str, code: int | None, status: EnhancedStatus | None) -> str:
    """One sentence again out of a reply of several lines, which repeat code and status."""
    if code is None or text.count(str(code)) < 2:
        return text
    first = text.find(str(code))
    begin = first + len(str(code))
    marks = re.compile(
        rf"(?<=\s){code}[ \-]+(?:#?{re.escape(str(status))}[ :]+)?"
        if status
        else rf"(?<=\s){code}-[ ]*"
    )
    return text[:begin] + marks.sub("", text[begin:])


_INNER = re.compile(
    r"(?:last\s+(?:error|response|smtp error|reply|status)\W{1,4}|\bLED=|<|\{|\bcause:?\s+"
    rf"|\bsaid:?\s*|:\s+)(?P<reply>({_CODE})[ \-][^\0]*)",
    re.IGNORECASE,
)
_GAVE_UP = re.compile(
    r"expired|too long|time-?out exceeded|timed? out|retry time|not delivered for"
    r"|unable to deliver|exceeded max|retries|delivery time|in queue|suspended|deferred"
    r"|\b[45]\.4\.(?:7|30\d)\b",
    re.IGNORECASE,
)


def _quoted(text: str, at: int) -> Reply | None:
    """The reply that a sending server quotes inside its own."""
    if not _GAVE_UP.search(text):
        return None
    for found in _INNER.finditer(text, at + 1 if at or text[:1].isdigit() else 0):
        start = found.start("reply")
        if start > at:
            inner = found["reply"].split("};")[0].rstrip(" >})]")
            return Reply(inner, int(inner[:3]), find_status(inner[:40]), find_command(inner))
    return None


# --- addresses (RFC 5321 4.1.2 as loosely as real servers keep it) ---

_CJK = r"\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff"
_SPECIAL = r"\s<>()\[\]\\,;:@\"'`|\x00-\x1f\x7f-\x9f，。、；：「」『』（）！？"
# East Asian text has no spaces: a name of ASCII letters begins where they begin
_ATOM = (
    rf"(?:[^{_SPECIAL}{_CJK}]|(?<=[^\s<(\"'\[])'(?=[^\s>)\"'])){{1,64}}"
    rf"|[{_CJK}]{{1,30}}[\d._-]{{0,30}}"
)
_LOCAL = rf"(?:\"[^\"\r\n]{{1,64}}\"|{_ATOM})"
_ASCII = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62})?"
_DOMAIN = (
    rf"(?:{_ASCII}(?:\.{_ASCII}){{0,10}}(?![^\W{_CJK}-]|-)"
    rf"|[^\W_]{{1,63}}(?:[\w\-]{{0,62}})?(?:\.[\w\-]{{1,63}}){{0,10}}"
    r"|\[[\dA-Fa-f.:IPv]{2,45}\])"
)
# not the tail of something longer: a name of 65 letters is no name of 64
ADDRESS: Final = re.compile(rf"(?<![A-Za-z0-9.+_%=@-]){_LOCAL}@{_DOMAIN}(?![\w.-]{{0,255}}@)")
_PLAIN: Final = re.compile(rf"^{_LOCAL}@{_DOMAIN}$")


def is_address(text: str) -> bool:
    """Whether a text is one mailbox, `local@domain`, and nothing else."""
    return len(text) <= 320 and _PLAIN.match(text) is not None


def canonical(address: str) -> str:
    """The form in which an address is kept and compared: domain in lower case and ASCII (IDNA).

    The local part stays as it is: only the receiving host may interpret it (RFC 5321, 2.4).
    """
    local, at, domain = address.strip().rpartition("@")
    if not at:
        return address.strip()
    domain = domain.rstrip(".").lower()
    if not domain.isascii():
        with contextlib.suppress(UnicodeError):
            domain = domain.encode("idna").decode("ascii")
    return f"{local}@{domain}"


# `list+user=host`, `list-return-118-user=host`; with other hyphens the border is not certain
_VERP = re.compile(
    rf"(?:[^@\s+]*\+|(?:[^@\s]*-)?(?:return|bounces?|owner)-(?:\d+-)?|[^@\s-]*-)"
    rf"(?P<local>{_LOCAL})=(?P<domain>[A-Za-z0-9-]{{1,63}}(?:\.[A-Za-z0-9-]{{1,63}}){{1,8}})$"
)


def verp_recipient(address: str) -> str | None:
    """The recipient that a variable envelope return path names (`bounces+user=host@…`).

    None where none is named, or where it is not certain where the recipient's name begins.
    """
    found = _VERP.match(address.rpartition("@")[0][:320])
    return f"{found['local']}@{found['domain']}" if found else None

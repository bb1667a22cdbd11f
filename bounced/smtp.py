"""The grammar of SMTP as it survives in free text: replies, enhanced statuses, addresses.

Servers quote each other in many ways; these functions find what RFC 5321 (4.2) and RFC 3463
define in whatever surrounds it, and invent nothing: what is not in the text is None.
"""

from __future__ import annotations

import contextlib
import re
import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from bounced.automaton import Alternatives, later
from bounced.model import EnhancedStatus, Reply

if TYPE_CHECKING:
    from collections.abc import Iterator

# What of a reply is looked at; a server's answer is far shorter, an attacker's is not.
MAX_REPLY: Final = 8_000

_DETAIL: Final = r"([245])\.(\d)\.(\d{1,3})"
# neither the rest of a longer number nor the version of a program nor a German date
_STATUS: Final = re.compile(
    r"(?<![\d.])(?<!v)(?<![a-z]/)(?<!version )(?<!release )(?<!postfix )(?<!exim )(?<!sendmail )"
    rf"(?<!\bam )(?<!\bvom ){_DETAIL}(?![\d]|\.\d)",
    re.IGNORECASE,
)
_CODE: Final = r"[2-5][0-5]\d|4[6-9]\d|5[6-9]\d"
# A code in its own place: where a reply begins.
_BEHIND_CODE: Final = r"(?=[\s\-#(:;,)\]<'\"]|$)(?!\.\d)"
_CODE_FIRST: Final = re.compile(rf"({_CODE}){_BEHIND_CODE}")


def _backwards(*words: str) -> str:
    return "|".join(re.escape(word[::-1]) for word in words)


# What announces it anywhere else (`host said: 550`), read backwards from the code. Codes are rare,
# while an expression that begins with any of these would be tried at every letter.
_SPACE: Final = r"\s{0,80}+"
_ANNOUNCED: Final = re.compile(
    rf"(?:{_SPACE}(?:{_backwards('<<<', '>:', ']:', '[SMTP error]')}"
    rf"|:?{_backwards('said')}\b|;{_SPACE}{_backwards('smtp')}\b|:{_backwards('error')}\b"
    rf"|(?::{_SPACE})?{_backwards('code')}\b|[：'\"“(\[{{=>](?!{_backwards('size')}))"
    rf"|\s{{1,80}}+(?::|(?:{_backwards('code')}\s{{1,80}}+)?{_backwards('error')}\b"
    rf"|:?(?:{_backwards('was')}\s{{1,80}}+)?\w{{0,40}}{_backwards('response')}\b))",
    re.IGNORECASE,
)
_LONGEST_ANNOUNCEMENT: Final = 256
_NUMBERED: Final = re.compile(r"\d{3}[ \-]+#?[245]\.\d")
# Anywhere else only where an enhanced status or a server's words follow it.
_UNITS: Final = (
    r"(?:[kmg]i?b|bytes|octets|kilo\w*|mega\w*|sec\w*|min\w*|hours?|days?|times|messages|mails"
    r"|recipients|users|people|friends|lines|characters|percent|minut\w*|stunden|tagen?|of)\b"
)
_FREE_CODE: Final = re.compile(
    rf"(?<![\d.#:/\-])(?<!port )(?<!size=)({_CODE})"
    rf"(?:[ \-]+(?:#?[245]\.\d\.\d|(?!{_UNITS})[A-Za-z<#]))",
    re.IGNORECASE,
)
# one for one, so that places stay the same
_HALF_WIDTH: Final = {0xFF10 + n: 0x30 + n for n in range(10)} | {0xFF0E: ".", 0xFF0D: "-"}
_FULL_WIDTH: Final = re.compile(f"[{''.join(map(chr, _HALF_WIDTH))}]")
_COMMANDS: Final[dict[str, str]] = {
    "rcpt": "RCPT", "mail": "MAIL", "data": "DATA", "end": "DATA", "message": "DATA",
    "bdat": "DATA", "helo": "HELO", "ehlo": "EHLO", "lhlo": "EHLO",
    "starttls": "STARTTLS", "auth": "AUTH",
    "initial": "CONN", "connect": "CONN", "connection": "CONN", "banner": "CONN",
    "pipelined": "", "dot": "DATA",
}  # fmt: skip
# `a(?<!\wa)` is `\ba`, and begins with a letter
_COMMAND: Final = re.compile(
    r"(?:in\s+(?:reply|response)\s+to\s+(?:the\s+)?"
    r"|a(?<!\wa)fter\s+(?:sending\s+)?(?:pipelined\s+|end\s+of\s+)?|>>>\s*"
    r"|w(?<!\ww)hile\s+sending\s+|c(?<!\wc)ommand:?\s+|\[)"
    r"(rcpt|mail(?=[ _]from)|data|end(?=[ _]of)|message(?= body| data| text)|bdat|helo|ehlo|lhlo"
    r"|starttls|auth|initial(?= connection)|connection|connect(?!ing)|banner|dot)(?![a-z])"
)  # in lower-case text, where the letters that it begins with are found many times faster


_TELL_COMMANDS: Final = ("reply", "response", "after", ">>>", "sending", "command")
# an address in brackets tells none, and stands in most
_BRACKET: Final = re.compile(r"\[[a-z]")
_TELLING: Final = 16  # characters before these words that belong to it: `in `, `while `
# What neither a code nor a status is without: digits, looked for first, because they are rare.
_LIKE_CODE: Final = re.compile(r"[2-5]\d\d")
_LIKE_STATUS: Final = re.compile(r"[245]\.\d\.\d")


def _half_width(text: str) -> str:
    return text.translate(_HALF_WIDTH) if _FULL_WIDTH.search(text) else text


def find_status(text: str) -> EnhancedStatus | None:
    """The first RFC 3463 code in a text; version numbers and IP addresses are none."""
    text = text[:MAX_REPLY]
    if not text.isascii():
        text = _half_width(text)
    likely = _LIKE_STATUS.search(text)
    found = _STATUS.search(text, likely.start()) if likely else None
    return EnhancedStatus(int(found[1]), int(found[2]), int(found[3])) if found else None


def find_command(text: str) -> str | None:
    """The SMTP command that a reply answered, where the notice says so, as its verb (`RCPT`)."""
    low = text.lower()
    bracket = _BRACKET.search(low) if "[" in low else None
    first = bracket.start() if bracket else len(low)
    for words in _TELL_COMMANDS:
        at = low.find(words, 0, first + len(words))
        if at >= 0:
            first = at
    if first == len(low):
        return None
    found = _COMMAND.search(low, max(0, first - _TELLING))
    return (_COMMANDS[found[1]] or None) if found else None


def find_code(text: str) -> tuple[int, int] | None:
    """The reply code in a text and where it begins."""
    if not text.isascii():
        text = _half_width(text)
    first = _CODE_FIRST.search(text)
    if first is None or first.start() == 0:
        return (int(first[1]), 0) if first else None
    for found in _CODE_FIRST.finditer(text, first.start()):
        if _announced(text, found.start()):
            return int(found[1]), found.start()
    free = _FREE_CODE.search(text, first.start())
    return (int(free[1]), free.start()) if free else None


def _announced(text: str, at: int) -> bool:
    """Whether a code at this place stands behind words that announce one."""
    if text[at - 1] == "#":
        return (at == 1 or text[at - 2].isspace()) and _NUMBERED.match(text, at) is not None
    before = text[max(0, at - _LONGEST_ANNOUNCEMENT) : at]
    return _ANNOUNCED.match(before[::-1]) is not None


def parse_reply(text: str, *, command: str | None = None) -> Reply:
    """Read a server's answer out of a line or paragraph of human text. Never raises.

    >>> r = parse_reply("host mx.example.com said: 550 5.1.1 <a@example.com>: No such user "
    ...                 "(in reply to RCPT TO command)")
    >>> r.code, str(r.status), r.command
    (550, '5.1.1', 'RCPT')
    """
    text = " ".join(text[:MAX_REPLY].split())
    code, at = find_code(text) or (None, 0)
    if code is not None and code < _REFUSES and (refused := _REFUSAL.search(text, at)):
        code, at = int(refused[1]), refused.start(1)  # a session that went well at first
    tail = text[at:] if code else text
    status = find_status(tail) or (find_status(text) if code else None)
    if status and not code and status.class_ == 2 and "5." in text:
        status = find_status(text[text.find("5.") :]) or status
    folded = _unfold(text, at, code, status)
    return Reply(folded, code, status, command or find_command(text), _quoted(text, at))


_REFUSES: Final = 400
_REFUSAL: Final = re.compile(r"(?:<<<|[;,.]) ?([45]\d\d)[ -]#?[45]\.\d\.\d")


def _unfold(text: str, at: int, code: int | None, status: EnhancedStatus | None) -> str:
    """One sentence again out of a reply of several lines, which repeat code and status."""
    begin = at + 3
    if code is None or f" {code}" not in text[begin:]:
        return text
    # after a line that ended in `550-` even the bare code is a mark
    separator = r"[ \-]+" if status or text[begin : begin + 1] == "-" else r"-[ ]*"
    repeated = rf"(?:#?{re.escape(str(status))}[ :]+)?" if status else ""
    return text[:begin] + re.sub(rf"(?<=\s){code}{separator}{repeated}", "", text[begin:])


_INNER: Final = re.compile(
    r"(?:last\s+(?:error|response|smtp error|reply|status)\W{1,4}|\bLED=|<|\{|\bcause:?\s+"
    rf"|\bsaid:?\s*|:\s+|->\s*)(?P<reply>({_CODE})[ \-][^\0]*)",
    re.IGNORECASE,
)
_GAVE_UP: Final = Alternatives([
    "expired", "too long", "time-?out exceeded", "timed? out", "retry time", "not delivered for",
    "unable to deliver", "exceeded max", "retries", "delivery time", "in queue", "suspended",
    "deferred", r"\b[45]\.4\.(?:7|30\d)\b",
])  # fmt: skip


def _quoted(text: str, at: int) -> Reply | None:
    """The reply that a sending server quotes inside its own."""
    if not _LIKE_CODE.search(text, at + 1) or not _GAVE_UP.search(text):
        return None
    for found in _INNER.finditer(text, at + 1 if at or text[:1].isdigit() else 0):
        start = found.start("reply")
        if start > at:
            inner = found["reply"].split("};")[0].rstrip(" >})]")
            return Reply(inner, int(inner[:3]), find_status(inner[:40]), find_command(inner))
    return None


# --- addresses (RFC 5321 4.1.2 as loosely as real servers keep it) ---

_CJK: Final = r"\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff"
_SPECIAL: Final = r"\s<>()\[\]\\,;:@\"'`|\x00-\x1f\x7f-\x9f，。、；：「」『』（）！？"
# East Asian text has no spaces: a name of ASCII letters begins where they begin
_ATOM: Final = (
    rf"(?:[^{_SPECIAL}{_CJK}]|(?<=[^\s<(\"'\[])'(?=[^\s>)\"'])){{1,64}}"
    rf"|[{_CJK}]{{1,30}}[\d._-]{{0,30}}"
)
_LOCAL: Final = rf"(?:\"[^\"\r\n]{{1,64}}\"|{_ATOM})"
_ASCII: Final = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_LABEL: Final = r"[^\W_](?:[\w\-]{0,61}[^\W_])?"
_DOMAIN: Final = (
    rf"(?:{_ASCII}(?:\.{_ASCII}){{0,10}}(?![^\W{_CJK}]|[.-][^\W{_CJK}])"
    rf"|{_LABEL}(?:\.{_LABEL}){{0,10}}(?!\w|-\w)"
    r"|\[[\dA-Fa-f.:IiPpVv]{2,45}\])"
)
# not the tail of something longer: a name of 65 letters is no name of 64
ADDRESS: Final = later(rf"(?<![^\W{_CJK}])(?<![.+%=@-]){_LOCAL}@{_DOMAIN}(?![\w.-]{{0,255}}@)")
_PLAIN: Final = later(rf"{_LOCAL}@{_DOMAIN}")


# an address as nearly all are, so short that none of its labels is too long
_SIMPLE_ADDRESS: Final = r"[A-Za-z0-9_+.=-]{1,64}@[A-Za-z0-9]{1,63}(?:[.-][A-Za-z0-9]{1,63}){0,10}"
_SIMPLE: Final = re.compile(_SIMPLE_ADDRESS)
_PLAINEST: Final = re.compile(rf"{_SIMPLE_ADDRESS}(?=[\s>,:;)\]]|\Z)")
_SHORT: Final = 64
_LONGEST_LOCAL: Final = 66  # with its quotes
_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+=.-"
_BORDERS: Final = frozenset(" \n\t<>:(,;[")


def addresses(text: str) -> Iterator[re.Match[str]]:
    """Every address in a text, as `ADDRESS.finditer` finds it.

    No address begins far before an `@`, and most texts have few of these.
    """
    end, at = 0, text.find("@")
    plain = '"@' not in text  # a name in quotes may hold what looks like an address
    while at >= 0:
        found = _at(text, end, at) if plain else None
        found = found or ADDRESS.search(text, max(end, at - _LONGEST_LOCAL))
        if found is None:
            return
        yield found
        end = found.end()
        at = text.find("@", end)


def _at(text: str, end: int, at: int) -> re.Match[str] | None:
    """The address around an `@`, where plain letters and a border before them say where it begins.

    None where they do not, or where none begins there; `end` is that of the address before. Most
    are so plain that their end can be seen, too.
    """
    before = text[max(end, at - _LONGEST_LOCAL) : at]
    name = len(before) - len(left := before.rstrip(_LETTERS))
    if not name or (left[-1] not in _BORDERS if left else end or name != at):
        return None
    found = _PLAINEST.match(text, at - name)
    if found and found.end() - at <= _SHORT:
        return found
    return ADDRESS.match(text, at - name)


def first_address(text: str) -> str:
    """The first address in a text, or an empty string."""
    return next((found[0] for found in addresses(text)), "")


def is_address(text: str) -> bool:
    """Whether a text is one mailbox, `local@domain`, and nothing else."""
    if len(text) <= _SHORT and _SIMPLE.fullmatch(text):
        return True
    return len(text) <= 320 and _is_mailbox(text)


# a report names each of its addresses several times
@lru_cache(1_024)
def _is_mailbox(text: str) -> bool:
    return _PLAIN.fullmatch(text) is not None


_DOTS: Final = re.compile(r"[\s.]{1,400}\Z")


def canonical(address: str) -> str:
    """The form in which an address is kept and compared: domain in lower case and ASCII (IDNA).

    The local part stays as it is: only the receiving host may interpret it (RFC 5321, 2.4).
    """
    local, at, domain = address.strip().rpartition("@")
    if not at:
        return address.strip()
    if domain.isascii() and domain[-1:].isalnum():  # as nearly all are
        return f"{local}@{domain.lower()}"
    domain = _DOTS.sub("", domain).lower()
    if not domain.isascii():
        with contextlib.suppress(UnicodeError):
            domain = _DOTS.sub("", domain.encode("idna").decode("ascii"))
    return f"{local}@{domain}"


def folded(address: str) -> str:
    """The form by which addresses are matched: canonical, and the local part in lower case.

    Only the receiving host may fold the case of a local part (RFC 5321, 2.4), but hardly any
    tells Bob from bob, and reports may come back folded. Never mail to this form.
    """
    return unicodedata.normalize("NFC", canonical(address)).lower()


# --- what forwarders and mail servers wrap envelope senders in ---

# BATV: prvs=0123abcdef=user@host, and the older prvs=user/0123abcdef@host
_PRVS: Final = re.compile(
    r"prvs=(?:[0-9a-f]{10}=(?P<new>[^@]+)|(?P<old>[^/@]+)/[0-9a-f]{7,10})@", re.IGNORECASE
)
# SRS (the Sender Rewriting Scheme); between its parts stands =, + or -
_SRS0: Final = re.compile(
    r"srs0[=+-][^=@]{1,32}=[^=@]{1,4}=(?P<host>[^=@]+)=(?P<local>[^@]+)@", re.IGNORECASE
)
_SRS1: Final = re.compile(
    r"srs1[=+-][^=@]{1,32}=[^=@]+=[=+-][^=@]{1,32}=[^=@]{1,4}=(?P<host>[^=@]+)=(?P<local>[^@]+)@",
    re.IGNORECASE,
)
# what Exchange Online makes of it for a forwarding mailbox: `ann+SRS=hash=day=host=local@…`
_SRS_PLUS: Final = re.compile(
    r"[^@\s]{1,64}\+srs=[^=@]{1,32}=[^=@]{1,4}=(?P<host>[^=@]+)=(?P<local>[^@]+)@", re.IGNORECASE
)
_SRS: Final = (_SRS0, _SRS1, _SRS_PLUS)
_MOST_LAYERS: Final = 4


def unwrapped(address: str) -> str:
    """An envelope sender without BATV (`prvs=`) and SRS around it. Their own hashes are not ours
    to check, so that what comes out is a claim, like any address in a report.

    >>> unwrapped("SRS0=ab12=XY=example.com=prvs=1234567890=ann@forwarder.example.net")
    'ann@example.com'
    """
    address = address.strip().strip("<>")
    for _ in range(_MOST_LAYERS):
        if (found := _PRVS.match(address)) is not None:
            inner = (found["new"] or found["old"]) + "@" + address[found.end() :]
        elif (found := next(filter(None, (srs.match(address) for srs in _SRS)), None)) is not None:
            inner = f"{found['local']}@{found['host']}"
        else:
            break
        address = inner
    return address


# `list+user=host`, `list-return-118-user=host`, `bounces+4711-c0de-user=host` (SendGrid),
# `bounce+c0ffee.c0de12-user=host` (Mailgun), `bounce-mc.us1_123.456-user=host` (Mailchimp); behind
# any other hyphen a name with hyphens of its own has no certain border
_PLUS: Final = r"[^@\s+]*\+(?:\d+-[\da-f]+-|[\da-f]{4,8}\.[\da-f]{4,8}-)?"
_DASH: Final = r"(?:[^@\s]*-)?(?:return|bounces?)-(?:\d+-|mc\.us\d+_\d+\.\d+-)?"
_VERP: Final = later(
    rf"(?:(?:{_PLUS}|{_DASH})(?P<local>{_LOCAL})"
    rf"|[^@\s-]*-(?P<short>(?![^@\s=]*-){_LOCAL}))"
    r"=(?P<domain>[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8})$"
)


def verp_recipient(address: str) -> str | None:
    """The recipient that a variable envelope return path names (`bounces+user=host@…`).

    None where none is named, or where it is not certain where the recipient's name begins.
    """
    if "=" not in address:
        return None
    way = unwrapped(address).rpartition("@")[0][:320]
    before, sympa, after = way.partition("==a==")  # `bounce+user==a==host==list`
    if sympa:
        named = f"{before.partition('+')[2]}@{after.partition('==')[0]}"
        return named if is_address(named) else None
    found = _VERP.match(way)
    return f"{found['local'] or found['short']}@{found['domain']}" if found else None

"""The common reader of text notices: which addresses failed, and what was said of each.

Most mail servers that write prose write it in one of a few ways: an address at the start of a
line with the answer behind or below it, a transcript of the SMTP session, or a sentence with the
address in it. This reader tries them in that order of trust and stops at the first that yields
something, so that an address mentioned in passing is taken only when nothing better stands there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Final

from bounced.automaton import Alternatives, later
from bounced.decode.words import alternatives, pattern
from bounced.model import Action, RecipientReport, Reply
from bounced.smtp import ADDRESS, addresses, find_code, find_status, parse_reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from bounced.decode.view import View

MAX_NOTICE: Final = 65_536
MAX_LINES: Final = 2_000
MAX_LINE: Final = 2_000
MAX_RECIPIENTS: Final = 1_000
_SAID_LINES: Final = 14
_BRIEF: Final = 32  # characters: "could not be delivered." and its like in other languages


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Addresses that the rest of the message gives a meaning to (all in lower case).

    `never` are the sender's own and the notice's own; `unlikely` those to which the notice was
    delivered, which are a recipient's only where a line is about nobody else; `mailed` those that
    the returned message was addressed to; `failed` what a header names as failed
    (X-Failed-Recipients); `host` is the domain of the daemon that wrote the notice, `subject` the
    notice's own where it speaks of a failure.
    """

    never: frozenset[str] = frozenset()
    unlikely: frozenset[str] = frozenset()
    mailed: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    host: str | None = None
    subject: str = ""


@dataclass(slots=True)
class _Place:
    """Where an address stands: its line, and what follows it there.

    `standin` is the program or file that was written to in its place.
    """

    address: str
    line: int
    tail: str = ""
    original: str | None = None
    standin: str = ""
    said: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Page:
    """The lines of a notice, with what is asked of them for each address that it names."""

    lines: list[str]
    _lows: list[str] | None = None
    _sessions: list[tuple[str, str]] | None = None

    def sessions(self) -> list[tuple[str, str]]:
        if self._sessions is None:
            self._sessions = list(sessions(self.lines))
        return self._sessions

    def naming(self, names: Sequence[str]) -> list[int]:
        """The numbers of the lines in which one of these names (in lower case) stands."""
        if self._lows is None:
            self._lows = [line.lower() for line in self.lines]
        lows = self._lows
        found = {n for name in names for n, low in enumerate(lows) if name in low}
        return sorted(found)


# its letters are of both cases as it stands; ranges of all scripts without regard to case take long
# to compile
_A: Final = f"(?-i:{ADDRESS.pattern})"
_LEAD: Final = r"^[ \t>|│┃║]{0,40}(?:(?:[*•·●–]|-{1,3}|\(?\d{1,3}[.)])[ \t]+)?"
_LABEL: Final = alternatives("recipient_label")
_LINE_START: Final = later(
    rf"{_LEAD}(?P<label>(?!<){_LABEL}(?:\s{{0,24}}[:：=]\s{{0,24}}|\s{{1,20}})(?:rfc822\s?;\s?)?)?[\"'“«\[(]{{0,2}}(?:<|&lt;)?(?:mailto:|smtp:)?(?P<address>{_A})(?P<after>.*)$",
    re.IGNORECASE,
)
# The same where the line begins with an address as most are: no label, no mark before or behind it.
_PLAIN_START: Final = re.compile(
    r"[ \t]{0,40}<?(?P<label>(?!))?"
    r"(?P<address>[A-Za-z0-9_+.-]{1,64}@[A-Za-z0-9]{1,63}(?:[.-][A-Za-z0-9]{1,63}){0,10})"
    r"(?P<after>(?:[>\s:,;)].*)?)$"
)
# What may stand right behind an address that a line is about.
_AFTER: Final = re.compile(
    r"^[>\"'”»\])\s]*(?:&gt;)?(?:$|[>:：;,、，；.(\[\-–—<=]|\.\.\.|\s[-(=|│┃║—–…:：]|\s(?:on|at|because|said|failed|was|is|has|reason|rejected|unknown|\d{3}|via|host|could|does|不|은|는|の|は|ist|n'|no)\b|\s{2,}\S|\s(?:am|le|el|il|em|op|den|dnia)\s(?:\w{2,12}\.?,?\s)?\d|\s(?:and|und|et|y|e|en|och|og|и)\s\S{1,70}@)",
    re.IGNORECASE,
)
# An address that quotes or brackets set off, whatever a language says next.
_SET_OFF: Final = later(
    rf"{_LEAD}(?:'{_A}'|\"{_A}\"|<{_A}>|\[{_A}\])[ \t](?!wrote|schrieb)", re.IGNORECASE
)
# `Elsa Berg <elsa@example.com>` and nothing else
_WITH_NAME: Final = later(
    rf"{_LEAD}[\"']?[^\s<>@:：\"'(][^<>@:：\"(]{{0,60}}[\"']?[ \t]{{1,20}}"
    rf"[<(](?:mailto:)?(?P<address>{_A})"
    r"(?P<after>[>)][ \t]*(?:\(.*\)[:：,;.]?\s*|[,;.]?\s*|[:：].*))$"
)
# `Subject: Harbour Weekly, issue 118`, of the mail that a notice is about
_ECHO: Final = re.compile(
    rf"[\s*>|-]{{0,8}}{alternatives('echo')}[ \t]{{0,4}}(?:[:：]|$)", re.IGNORECASE
)
# `To=reader@example.com` in a list of keys
_KEY: Final = re.compile(
    r"^([ \t]{0,8}(?:to|(?:mail_?|sent_?)?from|rcpt|recipient|address|e-?mail|user|sender)"
    r"[\w-]{0,12})=(?=\S{1,320}@)",
    re.IGNORECASE,
)
# what a program printed of its surroundings tells nothing of who failed
_SHELL: Final = re.compile(r"^[ \t]{0,8}(?:SHELL|PATH|HOME)=", re.MULTILINE)
_COMMAND_LINE: Final = later(rf"rcpt to:\s*<?(?P<address>{_A})>?", re.IGNORECASE)
_TRANSCRIPT: Final = later(
    r"^[ \t>|]{0,12}(?:<<<\s*|\.\.\.\s*|(?-i:[A-Z]{2,12}):?[ \t]{1,8})?"
    r"(?:[45]\d\d|[45]\.\d\.\d{1,3}(?=[ \t]))[ \-](?:[45]\.\d\.\d{1,3} )?"
    rf".{{0,120}}?<?(?P<address>{_A})>?",
    re.IGNORECASE,
)
_BEFORE_INLINE: Final = (
    rf"(?:\b{alternatives('inline')}(?:\s?[:：]\s{{0,4}}|\s{{1,4}})"
    r"|[へに宛対地址人給给至向者][\s:：]{0,4})(?:the )?(?:(?:address|user|recipient|mailbox)\s)?"
    r"[\"'“«「<(\[]{0,2}(?:mailto:)?"
)
_INLINE: Final = later(rf"{_BEFORE_INLINE}(?P<address>{_A})", re.IGNORECASE)
# as much of it as stands before the `@`
_LIKE_INLINE: Final = re.compile(rf"{_BEFORE_INLINE}[^\s@]{{1,64}}@", re.IGNORECASE)
_PARENTHESIS: Final = later(
    rf"^\s*[(<]?{alternatives('forwarded')}(?: from| to)?:?\s*<?(?P<address>{_A})",
    re.IGNORECASE,
)
_ROLES: Final = frozenset(
    {"postmaster", "mailer-daemon", "abuse", "helpdesk", "hostmaster", "mailerdaemon", "noc"}
)


def recipients(
    notice: str, around: Surroundings, action: Action = Action.FAILED
) -> list[RecipientReport]:
    """To whom that happened and what was said, most trustworthy way of naming first."""
    lines = notice[:MAX_NOTICE].split("\n")[:MAX_LINES]
    if len(notice) > MAX_LINE:
        lines = [line[:MAX_LINE] for line in lines]
    if "=" in notice and not _SHELL.search(notice[:MAX_NOTICE]):
        lines = [_KEY.sub(r"\1: ", line) if "@" in line else line for line in lines]
    lines = _codes_apart(lines)
    places = _places(lines, around)
    _gather(lines, places)
    _look_above(lines, places)
    places = _without_the_reached(lines, places)
    found: dict[str, RecipientReport] = {}
    page = _Page(lines)
    lonely = len(places) == 1 or len({place.address.lower() for place in places}) == 1
    for place in places[:MAX_RECIPIENTS]:
        key = place.address.lower()
        # all the lines are searched once for each address, however often it stands there
        reply = _beside(place)[1] if key in found else _reply(place, page, lonely=lonely)
        if key not in found or _says_more(reply, found[key].reply):
            found[key] = RecipientReport(
                place.address,
                reply,
                action,
                original_address=place.original,
                remote_mta=remote_host(reply.text),
            )
    if (
        not around.failed
        and len(found) > 1
        and not any(report.reply.text for report in found.values())
    ):
        common = _whole(lines[: min(place.line for place in places)], Reply())
        return [replace(report, reply=common) for report in found.values()]
    return list(found.values())


_CODE_AND_ADDRESS: Final = re.compile(r"^([ \t]{0,12}([45]\d\d)-)(?=[^\s@]{1,64}@)")


def _codes_apart(lines: list[str]) -> list[str]:
    """Set the code of an answer apart from an address that its first line begins with.

    `550-a@example.com` is an address as well; that the answer goes on tells.
    """
    if not [line for line in lines if "-" in line and "@" in line]:
        return lines
    return [
        f"{found[1]} {line[found.end() :]}"
        if (found := _CODE_AND_ADDRESS.match(line)) and below.lstrip().startswith(found[2])
        else line
        for line, below in zip(lines, [*lines[1:], ""], strict=True)
    ]


def _without_the_reached(lines: list[str], places: list[_Place]) -> list[_Place]:
    """The places without those whose own sentence says that they got it, if any are left."""
    if len(places) < 2:
        return places
    own = ((place, lines[place.line] if place.line >= 0 else "") for place in places)
    failed = [place for place, line in own if not (_reached(line) and not _FAILURE.search(line))]
    return failed or places


# the second column of a table: how it went
_WENT: Final = re.compile(
    r"@[^\s<>\"'|]{1,255}[>\"')|\s:;,=-]{1,80}(?:ok|delivered|success\w*|sent|accepted|zugestellt"
    r"|remis|entregado|entregue|consegnato|bezorgd|доставлено|dostarczono|成功|配信済み)\b"
    r"(?! (?:to queue|not))",
    re.IGNORECASE,
)


def _reached(line: str) -> bool:
    if "@" not in line:
        return False
    return _good_news(line) or _WENT.search(line) is not None


# where a clause ends, and with it what a "not" belongs to
_CLAUSE_ENDS: Final = re.compile(r"[.,;!?](?=\s)|[\n。，；！？、]")


def _good_news(text: str) -> bool:
    """Whether a clause says that something was delivered, and no word in it that it was not."""
    if pattern("delivered").search(text) is None:
        return False
    return any(
        pattern("delivered").search(clause) and not pattern("negation").search(clause)
        for clause in _CLAUSE_ENDS.split(text)
    )


def _says_more(later: Reply, earlier: Reply) -> bool:
    """Whether of two answers for one address the later is the last word: a log tells its tries."""
    if later.code is None:
        return False
    return earlier.code is None or (earlier.code < 500 <= later.code)


def _places(lines: list[str], around: Surroundings) -> list[_Place]:
    """The addresses of the first way that names any."""
    if around.failed:
        return _failed_by_header(lines, around)
    for way in (_line_starts, _commands, _labelled, _with_names, _inline, _anywhere):
        places = [p for p in way(lines) if _may_fail(p.address, around)]
        if not places:
            continue
        if way in (_line_starts, _labelled):
            places = _with_fellows(places, lines, around)
            return _likely(places, around) or places
        if likely := _likely(_believed(places, way, lines, around), around):
            return likely
    mailed = [a for a in dict.fromkeys(around.mailed) if _may_fail(a, around)]
    if len(mailed) == 1:
        return [_Place(mailed[0], -1)]
    titled = {p.address: p for p in _anywhere([around.subject]) if _may_fail(p.address, around)}
    if len(titled) == 1:
        return [_Place(next(iter(titled)), -1)]
    return _bare_names(lines, around)


def _likely(places: list[_Place], around: Surroundings) -> list[_Place]:
    return [p for p in places if p.address.lower() not in around.unlikely]


def _believed(
    places: list[_Place],
    way: Callable[[list[str]], Iterator[_Place]],
    lines: list[str],
    around: Surroundings,
) -> list[_Place]:
    """The places found in a less certain way of which the rest of the message says no other."""
    if way is _commands:
        return _without_advised(places, lines, around)
    if way is _with_names:
        return places
    mailed = [p for p in places if p.address.lower() in around.mailed]
    if way is _inline:
        return _with_fellows(mailed or places, lines, around)
    several = len({p.address.lower() for p in mailed or places}) > 1
    return mailed if several else mailed or places


# The next of several addresses: `Unknown recipients: a@example.com; b@example.com`
_FELLOW: Final = later(
    rf"[>\"'”»\])]{{0,3}}\s{{0,3}}(?:[,;、，；]|\s(?:and|und|et|y|e|en|och|og|и)\s)\s{{0,3}}"
    rf"[<\"'“«(\[]{{0,2}}(?P<address>{_A})",
    re.IGNORECASE,
)
# `Sent to: a@example.com, b@example.com` tells whom the letter was for, not who failed.
_OUR_LINE: Final = re.compile(
    r"[\s>]{0,8}(?:to|cc|sent to|mail to|message to|addressed to)\b", re.IGNORECASE
)


_WORD: Final = re.compile(r"[^\W\d_]{2}")


def _with_fellows(places: list[_Place], lines: list[str], around: Surroundings) -> list[_Place]:
    """Those who stand in one list with somebody who failed, too."""
    several = []
    for place in places:
        line = lines[place.line]
        end = line.find(place.address) + len(place.address)
        company = [place]
        while not _OUR_LINE.match(line) and (found := _FELLOW.match(line, end)):
            end = found.end("address")
            if _uncut(line, *found.span("address")) and _may_fail(found["address"], around):
                company.append(_Place(found["address"], place.line))
        if len(company) > 1:
            said = _behind(_CLOSING, line[end:])
            told = line.partition(place.address)[0]
            for one in company:
                one.tail = said or (line if _WORD.search(told) else "")
        several += company
    return several


def _without_advised(places: list[_Place], lines: list[str], around: Surroundings) -> list[_Place]:
    """Leave out whom an answer only tells to try, where the notice names one who was mailed.

    `551 User not local; please try <b@example.com>` (RFC 5321, 3.4) is no failure of b's.
    """
    advised = [p for p in places if _ADVICE.search(lines[p.line])]
    advised = [p for p in advised if p.address.lower() not in around.mailed]
    if not advised or not any(_named(around.mailed, line) for line in lines):
        return places
    return [place for place in places if place not in advised]


_LISTED: Final = re.compile(
    r"(?:recipients?|addresse?e?s?|users?|following|not delivered to[^:]{0,40}).{0,160}:\s*$",
    re.IGNORECASE,
)
_BARE: Final = re.compile(r"^[ \t]{1,12}([A-Za-z0-9][\w.+-]{1,40})(?:[ \t]{2,}\S.*)?$")


# a mail server's own name is not what stands behind its users' names
_MAIL_DOMAIN: Final = re.compile(r"[\w-]+\.(?:[a-z]{3,}|(?:[a-z]{2,3}\.)?[a-z]{2})", re.IGNORECASE)


def _bare_names(lines: list[str], around: Surroundings) -> list[_Place]:
    """Local parts alone, indented below a sentence that announces recipients (AOL, old systems)."""
    if not around.host or not _MAIL_DOMAIN.fullmatch(around.host):
        return []
    places, announced = [], False
    for number, line in enumerate(lines):
        found = _BARE.match(line)
        if announced and found:
            places.append(_Place(f"{found[1]}@{around.host}", number))
        elif line.strip():
            announced = bool(_LISTED.search(line))
    return places


# `RECIPIENT=a@example.com` in what a program printed
_ENVIRONMENT: Final = re.compile(r"[A-Z_]{3,20}=")


def _may_fail(address: str, around: Surroundings) -> bool:
    low = address.lower()
    for ours in around.never:
        if ours.endswith(low) and _is_end_of(ours, low):
            return False
    if _ENVIRONMENT.match(address):
        return False
    return low.partition("@")[0] not in _ROLES or low in around.mailed


def _is_end_of(ours: str, address: str) -> bool:
    """Whether an address that one of ours ends with is the same, or what damage left of it."""
    return ours == address or ours[: -len(address)][-1:].isalnum()


def _failed_by_header(lines: list[str], around: Surroundings) -> list[_Place]:
    ways = (_commands, _labelled, _line_starts)
    standing = {p.address.lower(): p for way in ways for p in way(lines)}
    places = []
    for address in around.failed:
        place = standing.get(address.lower()) or _Place(address, -1)
        places.append(_Place(address, place.line, place.tail))
    return places


def _line_starts(lines: list[str]) -> Iterator[_Place]:
    """`<a@example.com>: host said …`, `a@example.com on Mon …`, `* a@example.com`."""
    speaking = named = False
    for number, line in enumerate(lines):
        if not line[:1].isspace():
            speaking = False
        elif speaking:
            continue  # the folded rest of what was said of an address above
        if "@" not in line:
            named = False
            continue
        found = _begun(line)
        origin = _PARENTHESIS.match(line) if found is None else None
        if origin and not named:
            yield _Place(origin["address"], number, standin=_program(lines[number - 1]))
        named = found is not None
        if found is None or found["label"] or _in_company(line[: found.start("address")]):
            continue
        above = lines[number - 1] if number else ""
        if _SENDER_LABEL.fullmatch(above) or _FROM_AT_THE_END.search(above[-40:]):
            continue  # a table, a cell a line; or a sentence that goes on
        place = _place(found, number)
        speaking = bool(place.tail) and not line[:1].isspace()
        yield place


_SENDER_LABEL: Final = re.compile(
    rf"\W{{0,8}}{alternatives('sender_label')}\W{{0,8}}", re.IGNORECASE
)
# "the message that was sent by", and the sender stands on the next line
_FROM_AT_THE_END: Final = re.compile(
    r"\b(?:from|sent by|sender|proveniente d[ae]|provenant de|procedente de|mittente|expéditeur"
    r"|remitente|enviado por|envoyé par|afkomstig van|absender|gesendet von|отправитель)[ :]*$",
    re.IGNORECASE,
)
_PROGRAM: Final = re.compile(r"^\s*<?\"?\|?(/[^\"<>\s]{2,200})")


def _program(line: str) -> str:
    """The pipe or file to which an alias delivers (`<"|/usr/bin/news-gate">`)."""
    found = _PROGRAM.match(line)
    return found[1].lower() if found else ""


def _in_company(before: str) -> bool:
    return pattern("company").search(before) is not None


_SHORT: Final = 64  # then no label of its domain is too long


@lru_cache(512)
def _begun(line: str) -> re.Match[str] | None:
    found = _PLAIN_START.match(line)
    if found is None or len(found["address"]) > _SHORT:
        found = _LINE_START.match(line)
    if found is None or not (_AFTER.match(found["after"]) or _SET_OFF.match(line)):
        return None
    return found if _uncut(line, *found.span("address")) else None


_OPENS: Final = ("", " ", "<")
_CLOSES: Final = ("", " ", ">")


def _uncut(line: str, start: int, end: int) -> bool:
    """Whether an address is as its writer had it: no damage at its ends, and its bracket closed."""
    before, after = line[:start][-1:], line[end : end + 1]
    if before in _OPENS and after in _CLOSES:
        return True
    beyond = line[end + 1 : end + 2]
    if not (_sound(before) and _sound(after) and before != "\\"):
        return False
    if before == "<":
        return after in ("", ">", " ", "\t")
    if (
        after and after in "=?%/\\#$+~^!{}"
    ):  # the end of a sentence, or the middle of something longer
        return beyond in ("", " ")
    if after == "." and "." not in line[start:end].rpartition("@")[2]:
        return beyond in ("", " ")
    return after != "." or _sound(beyond)


def _sound(character: str) -> bool:
    """Whether a character belongs into text; an empty one stands for the end of the line."""
    return character != "\ufffd" and (character.isprintable() or character.isspace())


def _labelled(lines: list[str]) -> Iterator[_Place]:
    """`Recipient: a@example.com`, `Failed to deliver to 'a@example.com'`."""
    for number, line in enumerate(lines):
        found = _begun(line) if "@" in line else None
        if found and found["label"]:
            yield _place(found, number)


def _with_names(lines: list[str]) -> Iterator[_Place]:
    """`Elsa Berg <elsa@example.com>` on a line of its own."""
    for number, line in enumerate(lines):
        found = _WITH_NAME.match(line) if "@" in line else None
        if found and not _in_company(ADDRESS.sub("", line)):
            yield _place(found, number)


_CLOSING: Final = re.compile(r"[>\"'”»\])\s]{0,200}+(?:&gt;)?[:：,;]{0,80}+\s{0,200}+")
_LINKED: Final = re.compile(r"<mailto:[^>]{0,320}>\s{0,80}+[:：,;]{0,80}+\s{0,80}+")


def _behind(pattern: re.Pattern[str], text: str) -> str:
    """The text behind what it begins with."""
    begins = pattern.match(text)
    return text[begins.end() :] if begins else text


def _place(found: re.Match[str], number: int) -> _Place:
    tail = _behind(_CLOSING, found["after"])
    tail = _behind(_LINKED, tail) if tail.startswith("<") else tail
    original = _PARENTHESIS.match(tail)
    return _Place(found["address"], number, tail, original["address"] if original else None)


def _commands(lines: list[str]) -> Iterator[_Place]:
    """`>>> RCPT TO:<a@example.com>` and the answers that repeat the address."""
    for number, line in enumerate(lines):
        if "@" not in line:
            continue
        found = _COMMAND_LINE.search(line) or _TRANSCRIPT.match(line)
        if (
            found
            and _uncut(line, *found.span("address"))
            and not _in_company(line[: found.start("address")])
        ):
            answer = _TRANSCRIPT.match(line) or find_code(line)
            tail = line + _printed_above(lines, number, [found["address"]]) if answer else ""
            yield _Place(found["address"], number, tail)


# an address to try next
_ADVICE: Final = Alternatives([
    r"\binstead\b", r"\btry <", "for example", r"\be\.g\.", "stattdessen", "zum beispiel",
    r"^\W{0,8}551\b",
])  # fmt: skip


def _inline(lines: list[str]) -> Iterator[_Place]:
    """`could not be delivered to a@example.com because …`."""
    for number, line in enumerate(lines):
        if "@" not in line or _ADVICE.search(line):
            continue
        for found in _inlines(line):
            before = line[: found.start("address")]
            if not _in_company(before) and _whole_word(line, *found.span("address")):
                yield _Place(found["address"], number, line)


def _inlines(line: str) -> Iterator[re.Match[str]]:
    """As `_INLINE.finditer`, but no farther than the signs that all addresses have."""
    if '"' in line:  # what is quoted may hold such a sign
        yield from _INLINE.finditer(line)
        return
    begin, at = 0, line.find("@")
    while at >= 0:
        likely = _LIKE_INLINE.search(line, begin, at + 1)
        begin = at + 1
        if likely:
            found = _INLINE.search(line, likely.start())
            if found is None:
                return
            yield found
            begin = found.end()
        at = line.find("@", begin)


def _whole_word(line: str, start: int, end: int) -> bool:
    """In the middle of a sentence: a full domain, and all that the angle brackets hold."""
    opened = line.rfind("<", 0, start)
    inside = opened > line.rfind(">", 0, start)
    alone = line[opened + 1 : start].strip().removeprefix("mailto:") == ""
    full = "." in line[start:end].rpartition("@")[2]
    return full and (alone or not inside) and _uncut(line, start, end)


def _anywhere(lines: list[str]) -> Iterator[_Place]:
    for number, line in enumerate(lines):
        if "@" not in line or _in_company(ADDRESS.sub("", line)):
            continue
        for found in islice(addresses(line), 20):
            if _whole_word(line, *found.span()):
                yield _Place(found[0], number, line)


# --- what was said ---

_REASON: Final = re.compile(
    r"^(?:rule|policy|cause|details?|explanation)\b[^:]{0,20}:|reason|raison|ursache|ragione"
    r"|razón|razão|oorzaak|przyczyn|説明|이유|error|said|response|because|diagnostic|原因|理由|grund|motif|motivo|reden|powód|причин|사유|エラー|错误|錯誤",
    re.IGNORECASE,
)


def _gather(lines: list[str], places: list[_Place]) -> None:
    """Give every address the lines below it, up to the next address or the end of its paragraph."""
    starts = {place.line for place in places}
    programs = [place.standin for place in places if place.standin]
    for place in places:
        place.said = [place.tail] if place.tail else []
        if place.line < 0:
            continue
        blank = label_only = False
        for number in range(place.line + 1, min(place.line + 1 + _SAID_LINES, len(lines))):
            line = lines[number].strip()
            if number in starts or (line and blank and _paragraph_ends(line, place, lines)):
                break
            if programs and not place.standin and _named(programs, line):
                break
            if not line:
                blank = True
                continue
            if repeated := _ECHO.match(line):
                label_only = repeated.end() == len(line)
                continue
            if label_only:
                label_only = False
                continue
            original = _PARENTHESIS.match(line) if "@" in line else None
            if original:
                place.original = place.original or original["address"]
                continue
            place.said.append(line)
            blank = False
    _share(lines, places)


def _share(lines: list[str], places: list[_Place]) -> None:
    """Give what stands below a list of bare addresses, after a blank line, to all of the list."""
    common: list[str] = []
    for place, below in reversed(list(pairwise(places))):
        ends = below.line + 1 < len(lines) and not lines[below.line + 1].strip()
        if below.said and not below.tail and ends:
            common = below.said
        if place.said or below.line != place.line + 1:
            common = []
        place.said = place.said or list(common)


# what an address line holds beside the address where its answer stands above it
_BARE_LINE: Final = later(
    rf"^[ \t]*+(?:(?:for|to|an|für|pour|para|per|voor|do|для)\b:?[ \t]*+)?<?{_A}>?[ \t]*$"
)


def _look_above(lines: list[str], places: list[_Place]) -> None:
    """Some write the answer first and whom it was for below it; then that is what was said."""
    above: list[str] = []
    for place in places:
        line = lines[place.line - 1].strip() if place.line > 0 else ""
        if not line or "@" in line or not find_code(line):
            return
        if not _BARE_LINE.match(lines[place.line]):
            return
        above.append(line)
    if places and not any(find_code(said) for said in places[-1].said):
        for place, line in zip(places, above, strict=True):
            place.said = [line]


def _paragraph_ends(line: str, place: _Place, lines: list[str]) -> bool:
    """Whether a line after a blank one says something else."""
    said = place.said
    if pattern("boilerplate").search(line):
        return True
    if said == [lines[place.line]] and len(said[0].rpartition(place.address)[2]) <= _BRIEF:
        return False  # a sentence that does little but name the address leaves the reason to others
    if said and said[-1].rstrip().endswith((":", "：")):
        return False  # what it announces follows
    for told in said:
        if find_code(told) or find_status(told):
            return True
    return bool(said) and not (find_code(line) or find_status(line) or _REASON.search(line))


def _reply(place: _Place, page: _Page, *, lonely: bool) -> Reply:
    """The answer for one address: beside it, else where it is repeated, else the only one there."""
    beside, reply = _beside(place)
    if (reply.code and (_tells(reply) or not lonely)) or reply.quoted:
        return reply
    for text in _candidates(place, page, lonely=lonely):
        other = parse_reply(text)
        if _tells(other) and (other.code is None or other.code >= 400):
            return other
    if beside and (reply.status or not lonely or _says_something(beside)):
        return reply
    return _whole(page.lines, reply) if lonely else reply


def _says_something(beside: str) -> bool:
    """Whether words beside an address are more than its owner's name, or what introduces it."""
    if pattern("failure").search(beside):
        return True
    found = [named.span() for named in addresses(beside)]
    introduced = bool(found) and not beside[found[:20][-1][1] :].strip(" .>)]}\"'")
    return not introduced and len(beside) - sum(end - begin for begin, end in found) > 24


def _beside(place: _Place) -> tuple[str, Reply]:
    """The words beside and below an address, and the reply in them."""
    boilerplate = pattern("boilerplate").match
    words = " ".join([said for said in place.said if not boilerplate(said)]).strip()
    if words.startswith("(") and words.endswith(")"):
        words = words[1:-1]
    return words, parse_reply(_trimmed(words)) if words else Reply()


def _tells(reply: Reply) -> bool:
    """Whether words stand behind the codes."""
    text = reply.text
    if _FOUR_LETTERS.search(text) and "status code" not in text.lower():
        return True  # as in most
    return len(_NO_WORDS.sub("", text)) > 3


_FOUR_LETTERS: Final = re.compile(r"[a-z]{4}")
_NO_WORDS: Final = re.compile(r"status code:|[\d.\s#()-]+", re.IGNORECASE)


def _candidates(place: _Place, page: _Page, *, lonely: bool) -> Iterator[str]:
    """Other places of the answer: what the server said to RCPT, lines that repeat the address."""
    lines = page.lines
    names = [name for name in (place.address.lower(), place.standin) if name]
    for command, answer in page.sessions():
        if _named(names, command) or (lonely and "@" not in command):
            yield answer
    for number in page.naming(names):
        if number != place.line and _answers(lines[number]):
            yield _with_mailers_words(lines, number, names)
    if lonely:
        for _, answer in page.sessions():
            yield answer
        for number, line in enumerate(lines):
            if find_code(line):
                yield _with_mailers_words(lines, number, names)


def _named(names: Iterable[str], line: str) -> bool:
    low = line.lower()
    return any(name in low for name in names)


def _answers(line: str) -> bool:
    return find_code(line) is not None or find_status(line) is not None or "... " in line


def transcript(lines: Iterable[str]) -> Iterator[str]:
    """The server's answers in a session transcript (`<<< 550-…`), lines of one answer joined."""
    return (answer for _, answer in sessions(lines))


def sessions(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Commands (`>>> RCPT To:<…>`) of a session transcript, each with the answer to it."""
    command, answer = "", list[str]()
    for line in lines:
        if "<<<" in line and (word := line.strip()).startswith("<<<"):
            answer.append(word[3:].strip())
            continue
        if answer:
            yield command, _answered(answer, command)
            answer = []
        if ">>>" in line and (word := line.strip()).startswith(">>>"):
            command = word[3:].strip()
    if answer:
        yield command, _answered(answer, command)


def _answered(answer: list[str], command: str) -> str:
    said = " ".join(answer)
    verb = " ".join(command.partition("<")[0].split()[:2]).rstrip(":")
    return f"{said} (in reply to {verb} command)" if verb and find_code(said) else said


def _with_continuation(lines: list[str], number: int) -> str:
    """A line and those that go on with its sentence."""
    said = [lines[number].strip()]
    for line in lines[number + 1 : number + 8]:
        word = line.strip()
        if (
            not word
            or word.startswith((">>>", "...", "---"))
            or pattern("boilerplate").match(word)
            or (re.match(r"[2-5]\d\d ", word) and not said[-1].startswith(f"{word[:3]}-"))
        ):
            break
        said.append(word)
    return _trimmed(" ".join(said))


# Sendmail's own words for a mailer that gave up; what the mailer printed stands above them
_MAILER_FAILED: Final = re.compile(
    r"[45]\d\d .{0,400}(?:service unavailable|unknown mailer error \d|can.t create output"
    r"|operating system error|data format error|unsupported mailer error)",
    re.IGNORECASE,
)
_MOST_ABOVE: Final = 3


def _with_mailers_words(lines: list[str], number: int, names: Iterable[str]) -> str:
    """The answer on a line, and what a program that should deliver printed right above it."""
    return _with_continuation(lines, number) + _printed_above(lines, number, names)


def _printed_above(lines: list[str], number: int, names: Iterable[str]) -> str:
    """Printed of whom the line is about: a program speaks of others, too, and of its own user."""
    if not _MAILER_FAILED.match(lines[number].strip()):
        return ""
    printed: list[str] = []
    for above in reversed(lines[max(0, number - _MOST_ABOVE) : number]):
        word = above.strip()
        if not word or word.startswith(("-", "<<<", ">>>", "...")) or _answers(word):
            break
        printed.insert(0, word)
    told = " ".join(printed)
    words = set(re.split(r"[^\w.+-]+", told.lower()))
    about = {name.lower().partition("@")[0].strip("<") for name in names}
    return f" ({told})" if words & about else ""


def _trimmed(text: str) -> str:
    said = _behind(_SAID, _behind(_REASON_FIRST, text)).strip()[:2_000]
    return _MAIL_NAMED.sub("", said) if "essage-" in said else said


# which mail it was, told behind the answer
_MAIL_NAMED: Final = re.compile(
    r"(?<=[\]).;,])[ ]message-id:?[ ]?<[^<>\s]{1,320}>(?:[ ]from[ ]\S{1,320})?$", re.IGNORECASE
)


_REASON_FIRST: Final = re.compile(r"\(?reason:\s{0,200}+", re.IGNORECASE)
_SAID: Final = re.compile(
    r"remote host said:\s{0,200}+|delivery failed:?\s{0,200}+(?=\d{3})", re.IGNORECASE
)


def _whole(lines: list[str], reply: Reply) -> Reply:
    """A notice that gives no code and no line to an address: its own words are the answer."""
    boilerplate = pattern("boilerplate")
    some = boilerplate.search("\n".join(lines)) is not None
    told: list[str] = []
    room = _WHOLE
    for line in lines:
        if room <= 0:
            break
        word = "" if _ECHO.match(line) else (boilerplate.before(line) if some else line).strip()
        if word and not word.startswith("--"):
            told.append(word)
            room -= len(word)
    text = " ".join(told)[:_WHOLE]
    return parse_reply(text) if text else reply


_WHOLE: Final = 1_000


_HOST: Final = re.compile(
    rf"{alternatives('remote_host')}['\"(\[]?"
    r"(?P<host>[A-Za-z0-9](?:[\w-]{0,62}\.){1,8}[A-Za-z]{2,24})\b",
    re.IGNORECASE,
)


def remote_host(text: str) -> str | None:
    """The host that answered, where the words name it."""
    text = text[:4_000]
    named = pattern("remote_host").search(text)
    found = _HOST.search(text, named.start()) if named else None
    return found["host"] if found else None


# what keeps "was delivered to 17 of 20" from being good news
_FAILURE: Final = re.compile(
    r"fail|error|reject|refus|unable|unknown|undeliver|\bno[tr]?\b|n't\b"
    r"|\b[45]\.\d\.\d|\b[45]\d\d[ -]",
    re.IGNORECASE,
)


def action(view: View) -> Action:
    """Whether the notice warns of a delay, or reports a failure or a success."""
    if view.told("delivered", _HEAD):
        told = f"{view.subject}\n{view.said[:_HEAD]}"
        if not _FAILURE.search(told) and _good_news(told):
            return Action.DELIVERED
    if view.titled("delay_subject"):
        return Action.FAILED if _GIVEN_UP.search(view.subject) else Action.DELAYED
    if not (view.told("delayed", _HEAD) and pattern("going_on").search(view.said[:_HEAD])):
        return Action.FAILED
    final = view.says("final", _HEAD) or view.titled("final")
    return Action.FAILED if final else Action.DELAYED


_HEAD: Final = 4_000
_GIVEN_UP = re.compile(
    r"\bfail|undeliver|giv(?:en|ing) up|não entregue|no entregad|obeställbar|配信不能"
    r"|onbestelbaar|unzustellbar",
    re.IGNORECASE,
)

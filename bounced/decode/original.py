"""Where the returned message begins, and whose it was.

A notice ends where the mail it returns begins; what stands in that mail (a newsletter about
mail errors, an older report) is not what the server said. This room finds the border in plain
text, and reads the headers of the returned message wherever they are.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from bounced.message import content_type_of, returned_headers
from bounced.model import Returned
from bounced.smtp import ADDRESS
from bounced.text import decode_words

if TYPE_CHECKING:
    from bounced.message import Headers, Message, Part

# Lines after which a notice only repeats the mail it returns. One alternative a family of
# servers; all are anchored at the line's start and linear.
_BORDER: Final = re.compile(
    r"^[ \t>*\-=_#+|]{0,60}(?:"
    r"below (?:this line |here |the following line )?is a copy of the|below this line is the original|this is a copy of (?:the|your|all)"
    r"|the (?:body|header|headers|text|first|original message|original mail|following is) ?(?:of|is|was|follows|\d|[a-z]{1,12} (?:of|lines))"
    r"|(?:your |the )?(?:original|returned|unsent|undelivered|rejected|failed|bounced|quoted|included|attached)[ -]"
    r"(?:message|mail|e-mail|email)(?:'s)?(?: (?:text|headers?|follows|contents?|body|details|below|information)| \(|[ :\-=]*$)"
    r"|(?:message|mail|original|returned) headers? (?:follows?|from|:|only|of|-)|original message|message header follows|header of (?:the|your) (?:original|message)"
    r"|(?:start|begin(?:ning)?) of (?:the )?(?:returned|original|header|message|forwarded|undelivered)"
    r"|unsent message (?:below|follows)|message (?:follows|truncated|headers?|contents?|body|source|text)[ :\-=]*$"
    r"|included is a copy|here is (?:a copy of|your) (?:your|the|original)? ?(?:original|message|mail)"
    r"|copy of (?:the|your) (?:original |returned )?(?:message|mail)|headers? of (?:the|your) (?:original )?(?:message|mail)"
    r"|forwarded message|undelivered message|text of (?:the|your) message|your message (?:follows|reads|was as follows|contents|is attached below|started as follows)"
    r"|urspr(?:ü|ue?)ngliche nachricht|originalnachricht|der text ihrer nachricht|es folgt|(?:kopie|header|kopfzeilen) der (?:urspr|nachricht|original)"
    r"|message d'origine|message original|en-t[eê]tes? (?:du|de)|mensaje original|mensagem original|messaggio originale"
    r"|oryginalna wiadomo|исходное сообщение|текст (?:вашего )?(?:письма|сообщения)|原始邮件|原始郵件|原始信件|以下[是为為].{0,6}(?:原|您的|信件)|原文|元のメッセージ"
    r"|以下は.{0,12}(?:メール|メッセージ)|--\s*下記|원본 메시지|원래 메시지"
    r")",
    re.IGNORECASE | re.MULTILINE,
)
# Or the returned mail simply begins: a header block of which one of these is the first line.
_HEADER_START: Final = re.compile(
    r"^[ \t>]{0,8}(?:return-path: ?<|received: ?(?:from|by|\(|$)|x-(?:envelope|apparently|mozilla|sender|uidl|originating)[\w-]*:|message-id: ?<[^>\s]+>\s*$"
    r"|mime-version: 1\.0|dkim-signature: ?v=|delivered-to: \S+@)",
    re.IGNORECASE | re.MULTILINE,
)
_RETURNED_TYPES: Final = ("message/rfc822", "text/rfc822-headers", "message/rfc822-headers", "message/global", "message/global-headers")


def cut(text: str) -> tuple[str, str]:
    """A text divided into what the server said and the mail it returns (possibly empty).

    A border at the very top is no border: something must have been said before it.
    """
    for found in _BORDER.finditer(text):
        if text[: found.start()].strip():
            break
    else:
        found = None  # type: ignore[assignment]
    header = next((h for h in _HEADER_START.finditer(text) if text[: h.start()].strip()), None)
    ends = [match.start() for match in (found, header) if match is not None]
    if not ends:
        return text, ""
    return text[: min(ends)], text[min(ends) :]


def returned_part(message: Message) -> Part | None:
    return next(message.parts_of(*_RETURNED_TYPES), None)


def returned_fields(message: Message, rest: str) -> Headers:
    """Header fields of the returned mail: from its own part, else from the text behind the border."""
    part = returned_part(message)
    if part is not None:
        fields = returned_headers(part.data())
        if fields:
            return fields
    lines = [line.strip(" \t>|") if line[:1] in ">|" else line for line in rest.splitlines()[:400]]
    start = next((n for n, line in enumerate(lines) if _FIRST_FIELD.match(line.strip())), None)
    if start is None:
        return ()
    indent = len(lines[start]) - len(lines[start].lstrip())
    block = [line[indent:] if not line[:indent].strip() else line for line in lines[start:]]
    return returned_headers(block)


_FIRST_FIELD = re.compile(
    r"(?:received|return-path|from|to|subject|date|message-id|mime-version|sender|x-[\w-]+|content-type|reply-to|dkim-signature|delivered-to):",
    re.IGNORECASE,
)


def returned_of(fields: Headers) -> Returned:
    def value(name: str) -> str | None:
        return next((decode_words(v).strip()[:998] for k, v in fields if k == name and v.strip()), None)

    return Returned(value("message-id"), value("subject"), value("list-id"), value("from"), value("to"))


def addresses_in(fields: Headers, *names: str) -> list[str]:
    """Addresses in header fields of those names, in order, each once."""
    found = (a for k, v in fields if k in names for a in ADDRESS.findall(v[:20_000]))
    return list(dict.fromkeys(found))


__all__ = ["addresses_in", "content_type_of", "cut", "returned_fields", "returned_of", "returned_part"]

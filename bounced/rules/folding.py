"""What a server said, reduced to the words that are evidence.

Three things stand between a phrase and the text that means it: letters (case, width, accents,
quotes), marks (`user: unknown`, `user-unknown`, `don't` for `do not`), and names. What a person
or a host is called says nothing about a delivery (`nosuchuser@…`, `spam.example.com`), so
addresses, hosts, links and ids are taken out and the words around them close up: `Message for
<a@example.com> would exceed` and the same line with its address lost read alike.
"""

from __future__ import annotations

import html
import re
import unicodedata
from typing import TYPE_CHECKING, Final

from bounced.rules.spelling import corrected, restored
from bounced.text import decode_charset

if TYPE_CHECKING:
    from collections.abc import Collection, Container

# A reply is a line or two; whatever is longer is a page that quotes one near its beginning.
LIMIT: Final = 8_000

# What stands in the words where the text had an IP address: being named is evidence of its own.
IP: Final = "@ip"

# What stands for a sending server's last word on a message that it tried for too long.
EXPIRED: Final = "@expired"

_LETTERS: Final = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛`´ʼ′＇", "'"),
        **dict.fromkeys("“”„‟«»″", '"'),
        **dict.fromkeys("‐‑‒–—―−﹣－", "-"),
        # letters that Unicode does not take apart into letter and accent
        **dict(zip("łøđıæœ", ("l", "o", "d", "i", "ae", "oe"), strict=True)),
        **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff\u00ad", None),
    }
)
# Exim writes what is not ASCII in octal.
_OCTAL: Final = re.compile(r"(?:\\[2-3][0-7]{2}){2,400}")
_ACCENTS: Final = re.compile("[\u0300-\u036f]")

_TAG: Final = re.compile(
    r"</?(?:a|b|br|p|i|u|font|span|div|strong|em|tt|code|pre|hr)(?: [^<>]*)?/?>"
)
_LINK: Final = re.compile(r"\b(?:(?:https?|ftp)://|mailto:|www\.)[^\s<>\"]+")
_NAME: Final = r"[^\s<>@\"'()\[\]{},;:=|]{1,64}"
_DOMAIN: Final = r"[^\s<>@\"'(){},;:|*]{1,255}"
_ADDRESS: Final = re.compile(
    rf"(?:\"[^\"\s@]{{1,64}}\"|'[^'\s@]{{1,30}}(?: [^'\s@]{{1,30}})?'|{_NAME})@{_DOMAIN}"
)
_BEFORE_SIGN: Final = re.compile(_NAME)
_BEHIND_SIGN: Final = re.compile(_DOMAIN)
# What a file, a subject or a filter's rule is called, in quotes behind the word for it.
_CALLED: Final = re.compile(
    r"(?<!\w)(file(?:name)?|attachment|subject|title|rule|filter|phrase|keyword|datei(?:name)?|anhang"
    r"|betreff|regel|fichier|piece jointe|objet|regle|archivo|adjunto|asunto|regla|allegato|oggetto"
    r"|regola|arquivo|anexo|assunto|regra|bestand|bijlage|onderwerp|plik|zalacznik|temat|файл|вложение"
    r"|тема|правило|附件|主题|主旨|规则|添付ファイル|件名|첨부|제목)(\W{1,3}?)"
    r"(?:\"[^\"\n]{1,200}\"|(?<=\s)'[^'\n]{1,200}'(?!\w))"
)
_BRACKETED: Final = re.compile(r"<[^<>\s]{0,320}>")
_IPV4: Final = re.compile(
    r"[\[\d](?:(?<=\[)\d{1,3}|(?<=\d)(?<![\d.]\d)\d{0,2})(?:\.\d{1,3}){3}(?![\d.]*\d)"
    r"(?: {1,9}\d{1,3}(?=\]))?\]?"  # Gmail adds the tail of a netblock
)
_IPV6: Final = re.compile(
    r"\[?(?:ipv6:)?(?<![0-9a-z:])(?=[0-9a-f]{0,4}\d|[0-9a-f:]{0,30}::)"
    r"(?:[0-9a-f]{0,4}:){3,7}[0-9a-f]{0,4}(?![0-9a-z:])\]?"
)
_HOST: Final = re.compile(
    r"(?<![a-z0-9._-])(?:[a-z0-9_-]{1,63}\.){1,12}"
    r"(?:[a-z]{2,18}|xn--[a-z0-9-]{2,59})(?![a-z0-9_-]|\.[a-z0-9])"
)
_ID: Final = re.compile(
    r"(?<![0-9a-z])(?:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    r"|(?=[a-f]*\d)[0-9a-f]{10,}|(?=(?:[a-z]*\d){4})[0-9a-z]{14,})(?![0-9a-z])"
)
_LETTER_BEHIND_DOT: Final = re.compile(r"\.[a-z]")
# what addresses and ids are not without: digits, looked for first
_LIKE_IPV4: Final = re.compile(r"\d\.\d{1,3}\.\d")
_LIKE_ID: Final = re.compile(r"\d(?:[0-9a-z]{5}|(?<=[0-9a-z]{5}\d))")
_CONTINUED: Final = re.compile(
    r"[245](?<!\S[245])\d\d-(?=\D|\d\.\d{1,3}\.\d{1,3} )(?:[245]\.\d{1,3}\.\d{1,3}(?=\s|$))?"
)

# Endings that no English sentence runs into ("denied.com" is never "denied. Com…").
_TOP_LEVEL: Final = frozenset(
    re.findall(
        r"\S+",
        """
        com net org edu gov mil int info biz name mobi aero coop museum asia arpa email online
        site store cloud app dev tech xyz club shop example invalid localhost localdomain lan
        internal ac ae ar au bd bg bo br bs by bz ca cc ch ci ck cl cn co cr cu cy cz de dk ee eg
        es eu fi fj fr ga ge gh gl gr gt hk hn hr hu ie il io iq ir jm jo jp ke kg kh kr kw kz lb
        li lk lt lu lv ly ma md mg mk mn mo mt mu mv mx na ng ni nl np nz om pe pf pg ph pk pl pt
        py qa ro rs ru rw sa sc sd se sg si sk sn su sv sy th tk tn tr tt tv tw tz ua ug uk uy uz
        va ve vi vn vu ws ye za zm zw
        """,
    )
)
# … and country codes that are also words, believed only in `host.example.in` or `mx1.in`.
_WORDLIKE: Final = frozenset(
    re.findall(r"\S+", "am an as at be do for he id if in is it me my no of on or pa so to us we")
)

_NOT: Final = re.compile(
    r"\b(does|do|did|is|are|was|were|has|have|had|could|would|should)(?:n'?|'n)t\b"
)
_SIGNS_OF_NOT: Final = (
    "n't", "'nt", "dont", "doesnt", "didnt", "isnt", "arent", "wasnt", "werent", "hasnt",
    "havent", "hadnt", "ouldnt",
)  # fmt: skip
_DOES_NOT: Final = re.compile(r"\b(?:dosn'?t|dose ?n['o]t|dos not)\b")
_CANNOT: Final = re.compile(r"\bcan(?:not|'t)\b")
_DOT: Final = re.compile(r"\.(?:(?<!\d\.)|(?!\d))")
_MARKS: Final = re.compile(r"[^\w.@]+|_+")
_ASCII_MARKS: Final = bytes(32 if _MARKS.match(chr(at)) else at for at in range(256))
_PREAMBLE: Final = re.compile(
    r"^(?!(?: [245]\d\d)?(?: [245]\.\d+\.\d+)? sender (?:verif|address|call))"
    rf".{{0,400}}?(?: said| says| replied| responded| answered"
    rf"| server after [a-z ]{{2,60}}(?: host(?: {IP})?)?| host {IP}) (?=[245]\d\d )"
    rf"| host {IP} (?:said|refused to talk to me) "
    rf"| unknown address error (?=[245](?:\d\d|\.\d\.\d+) )"
)
_SIGNS_OF_PREAMBLE: Final = re.compile(
    " (?:sa(?:id|ys)|replied|responded|answered|after |host |unknown address)"
)
# What a filter on the way appends to every mail, the notice among them.
_SCANNED: Final = re.compile(
    r" (?:this|the) (?:email|mail|message)(?: and any attachments)?[a-z ]{0,60}? been"
    r" (?:scanned|checked)(?: for| by| using| with) .*"
)
_EXPIRED: Final = re.compile(
    " retry timeout exceeded "
    "| i m not going to try again this message has been in the queue too long "
)
_INNER_SPACE: Final = re.compile(
    "(?<=[\u3040-\u30ff\u3400-\u9fff]) (?=[\u3040-\u30ff\u3400-\u9fff])"
)
# Chinese, Japanese and Korean put no space beside a Latin word; phrases and texts get one alike.
_BORDER: Final = re.compile(
    "(?<=[a-z0-9])(?=[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af])"
    "|(?<=[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af])(?=[a-z0-9])"
)


def fold(text: str) -> str:
    """The text in one case, width and script of quotes, names and all: what `mentions` sees."""
    text = text[:LIMIT]
    if "\\" in text:
        text = _OCTAL.sub(_unescaped, text)
    text = text.replace("`", "'").lower() if text.isascii() else _plain_letters(text)
    if "&" in text and ";" in text:
        text = html.unescape(text)
    return " ".join(text.split())


def _plain_letters(text: str) -> str:
    text = unicodedata.normalize("NFKC", text.translate(_LETTERS)).casefold()
    if not text.isascii():
        text = text.translate(_LETTERS)
        text = unicodedata.normalize("NFC", _ACCENTS.sub("", unicodedata.normalize("NFD", text)))
    return text


def _unescaped(octal: re.Match[str]) -> str:
    return decode_charset(bytes(int(byte, 8) for byte in octal[0].split("\\")[1:]), None)


def mask(folded: str, *, names: Collection[str] = (), vocabulary: Container[str] = ()) -> str:
    """Take out what is only a name: links, addresses, hosts, ids, and the words in `names`.

    `vocabulary` holds the words that phrases are made of: a dotted pair such as `denied.in` is
    taken for the end of a sentence when the phrases know its first word.
    """
    text = _CONTINUED.sub(" ", folded) if "-" in folded else folded
    if "<" in text:
        text = _TAG.sub(" ", text)
    if '"' in text or " '" in text:
        text = _CALLED.sub(r"\1 ", text)
    if "://" in text or "www." in text or "mailto:" in text:
        text = _LINK.sub(" ", text)
    if "@" in text:
        text = _without_addresses(text)
    if "<" in text:
        text = _BRACKETED.sub(" ", text)
    text = _marked(text)
    if _LETTER_BEHIND_DOT.search(text):
        text = _HOST.sub(lambda host: _without_host(host[0], vocabulary), text)
    if _LIKE_ID.search(text) or text.count("-") > 3:
        text = _ID.sub(" ", text)
    if not names:
        return text
    kept = text.split()
    if any(name in text for name in names):
        kept = [word for word in kept if word.strip("\"'()[],;:.") not in names]
    return " ".join(kept)


def _without_addresses(text: str) -> str:
    """A space for each address: `_ADDRESS.sub(" ", text)`, from the signs that all of them have."""
    kept: list[str] = []
    end, at = 0, text.find("@")
    while at >= 0:
        name = _BEFORE_SIGN.match(text[max(end, at - 64) : at][::-1])
        if name is None and text[at - 1 : at] in ('"', "'"):
            return "".join((*kept, _ADDRESS.sub(" ", text[end:])))  # a name in quotes
        domain = _BEHIND_SIGN.match(text, at + 1) if name else None
        if name and domain:
            kept += (text[end : at - name.end()], " ")
            end = domain.end()
        at = text.find("@", max(end, at + 1))
    return "".join((*kept, text[end:]))


def _marked(text: str) -> str:
    """The text with a mark for each IP address."""
    if _LIKE_IPV4.search(text):
        text = _IPV4.sub(f" {IP} ", text)
    return _IPV6.sub(f" {IP} ", text) if text.count(":") > 2 else text


def _without_host(host: str, vocabulary: Container[str]) -> str:
    labels = host.split(".")
    last = labels[-1]
    if last in _TOP_LEVEL or last.startswith("xn--"):
        return " "
    strange = any(not label.isalpha() for label in labels[:-1])
    if last in _WORDLIKE:
        named = len(labels) > 2 or strange or labels[0] not in vocabulary
        return " " if named else host
    return " " if len(labels) > 2 and strange else host


def spell(text: str) -> str:
    """Folded text with its marks gone and its negations written out: how phrases are compared."""
    if "'t" in text or "nt" in text or "not" in text:
        if any(sign in text for sign in _SIGNS_OF_NOT):
            text = _NOT.sub(r"\1 not", text)
        if "can" in text:
            text = _CANNOT.sub("can not", text)
        text = text.replace("won't", "will not")
        if "dos" in text:
            text = _DOES_NOT.sub("does not", text)
    text = text.replace("e-mail", "email")
    if text.isascii():
        plain = _DOT.sub(" ", text).encode().translate(_ASCII_MARKS).decode()
        return f" {' '.join(plain.split())} "
    text = _MARKS.sub(" ", _DOT.sub(" ", text))
    return _INNER_SPACE.sub("", f" {' '.join(_BORDER.sub(' ', text).split())} ")


def words(text: str, *, names: Collection[str] = (), vocabulary: Container[str] = ()) -> str:
    """The evidence in a reply: folded, names masked, marks gone, a space at either end."""
    return evidence_in(fold(text), names=names, vocabulary=vocabulary)


def evidence_in(
    folded: str, *, names: Collection[str] = (), vocabulary: Container[str] = ()
) -> str:
    """As `words`, of a text that `fold` has folded already."""
    masked = mask(folded, names=names, vocabulary=vocabulary)
    spelt = spell(restored(masked, vocabulary))
    return _quoting(corrected(spelt, vocabulary))


def _quoting(spelt: str) -> str:
    """Without what the sending server says before and after the answer that it quotes.

    Postfix names the host ("host …[192.0.2.1] said:"), Exim the command ("SMTP error from remote
    mail server after …"), qmail its impression ("… does not like recipient. Remote host said:"),
    IronPort calls every refusal of a recipient an "Unknown address error". That time ran out is
    kept as one sign, so that its words cannot finish a sentence of the other server's.
    """
    if "scanned" in spelt or "checked" in spelt:
        spelt = _SCANNED.sub(" ", spelt)
    if _SIGNS_OF_PREAMBLE.search(spelt):
        spelt = _PREAMBLE.sub(" ", spelt, count=1)
    if "timeout exceeded" in spelt or "try again" in spelt:
        spelt = _EXPIRED.sub(f" {EXPIRED} ", spelt)
    return spelt

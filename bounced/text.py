"""Safe text: bytes to words in bounded time, and words to a terminal without harm.

Charsets are taken from a fixed list, because a name from a stranger's mail must never choose a
codec (`zlib`, `punycode` and `idna` are codecs too), and transfer encodings are undone with a
limit, because a megabyte of base64 may hide forty of white space.
"""

from __future__ import annotations

import binascii
import contextlib
import html
import itertools
import re
from functools import lru_cache
from typing import Final

# What a decoded text part may hold; the rest is cut.
MAX_TEXT: Final = 1_000_000

_WESTERN: Final = "cp1252"  # a superset of ISO-8859-1 that real mail means by it
# codec: the names that mail gives to what it means
_NAMES: Final[dict[str, str]] = {
    "utf-8": "us-ascii ascii utf-8 utf8 unknown-8bit x-unknown",
    _WESTERN: "iso-8859-1 latin1 latin-1 windows-1252 cp1252",
    "iso8859-8": "iso-8859-8-i",
    "koi8-r": "koi8-r koi8r",
    "koi8-u": "koi8-u",
    "cp866": "cp866",
    "cp850": "cp850 ibm850",
    "cp437": "cp437",
    "cp874": "windows-874",
    "tis-620": "tis-620",
    "gb18030": "gb2312 eucgb2312_cn gbk gb_2312-80 x-gbk cn-gb cp936 gb18030",
    "hz": "hz-gb-2312",
    "cp950": "big5 big-5 x-x-big5 cp950 cn-big5",
    "big5-hkscs": "big5-hkscs",
    "cp932": "shift_jis shift-jis sjis x-sjis ms_kanji windows-31j cp932",
    "euc_jp": "euc-jp x-euc-jp",
    "iso2022_jp_ext": "iso-2022-jp iso-2022-jp-1 iso-2022-jp-2 iso-2022-jp-3 cp50220 cp50221",
    "cp949": "euc-kr ks_c_5601-1987 ksc5601 ks_c_5601 cp949 uhc",
    "iso2022_kr": "iso-2022-kr",
    "utf-7": "unicode-1-1-utf-7 utf-7",
    "utf-16": "utf-16",
    "utf-16-le": "utf-16le",
    "utf-16-be": "utf-16be",
    "mac-roman": "macintosh x-mac-roman",
}
_CODECS: Final[dict[str, str]] = {
    "": "utf-8",
    **{f"iso-8859-{n}": f"iso8859-{n}" for n in (2, 3, 4, 5, 6, 7, 8, 9, 10, 13, 14, 15, 16)},
    **{f"{prefix}125{n}": f"cp125{n}" for n in range(9) for prefix in ("windows-", "cp") if n != 2},
    **{name: codec for codec, names in _NAMES.items() for name in names.split()},
}

_UNSAFE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    r"\ud800-\udfff\U000e0000-\U000e0fff]"
)


def safe(text: str) -> str:
    r"""Text that cannot steer a terminal, a log or a reader's eye: one line, controls as `\xNN`.

    C0 and C1 controls, ESC, bidirectional overrides, line and paragraph separators, zero-width
    characters and lone surrogates are shown as escapes.
    """
    return _UNSAFE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    point = ord(match[0])
    if point < 256:
        return f"\\x{point:02x}"
    return f"\\u{point:04x}" if point < 65_536 else f"\\U{point:08x}"


# octets by which a charset is guessed
_SAMPLE: Final = 20_000


def decode_charset(data: bytes, charset: str | None) -> str:
    """Bytes to text by the declared charset, else by what the bytes look like. Never raises."""
    if not data:
        return ""
    data = data[:MAX_TEXT].removeprefix(b"\xef\xbb\xbf")
    declared = _CODECS.get((charset or "").strip().strip("\"'").lower(), _WESTERN)
    if b"\x1b" in data and (b"\x1b$" in data or b"\x1b(" in data):
        declared = declared if declared.startswith("iso2022") else "iso2022_jp_ext"
    # Western bytes are never UTF-8 by chance, and East Asian ones are all possible as Western
    likely = ("utf-8",) if declared == _WESTERN else (declared, "utf-8")
    for codec in likely:
        try:
            text = data.decode(codec)
        except (UnicodeDecodeError, ValueError):
            continue
        if text.isascii():
            return text
        return _encoded_once(text) if codec == "utf-8" else _as_meant(data, text, codec)
    return data.decode(_guess(data[:_SAMPLE], declared), "replace")


# Pairs and triples that UTF-8 makes of letters, and what no Western word has: four letters in a
# row that are not ASCII
_TWICE: Final = re.compile(
    "[\xc2-\xc5\xd0\xd1][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\x80-\xff]{4}"
)
_LATIN_RUN: Final = re.compile("[\x80-\xff]{4}")
# how each of these begins, which is found many times faster
_LATIN_PAIR: Final = re.compile("[\x80-\xff][\x80-\xff]")


def _encoded_once(text: str) -> str:
    """Undo that a server's answer was read as Latin-1 and then encoded, as programs do in haste."""
    pair = _LATIN_PAIR.search(text)
    if pair is None or _TWICE.search(text, pair.start()) is None:
        return text
    return "\n".join(map(_line_encoded_once, text.split("\n")))


def _line_encoded_once(line: str) -> str:
    if _TWICE.search(line) is None:
        return line
    try:
        data = line.encode("latin-1")
    except UnicodeEncodeError:
        return line
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode(_guess(data, _WESTERN), "replace") if _LATIN_RUN.search(line) else line


def _as_meant(data: bytes, text: str, declared: str) -> str:
    """The text as declared, unless it is nonsense so and makes sense by another charset."""
    sample, meant = data[:4_000], declared
    if declared in _FREQUENT:
        if _share(text[:4_000], declared) < 0.04:
            meant = _guess(sample, declared)
    elif declared in _MISTAKEN_FOR_CYRILLIC:
        meant = _cyrillic(sample) or declared
    return text if meant == declared else data.decode(meant, "replace")


# What is frequent in notices and absent where the bytes were read by another codec
_FREQUENT: Final = {
    "gb18030": frozenset(
        "的不是在了有人到和您此这个我们请为无法被邮件用户收信箱地址发送失败系统退回存投递"
    ),
    "cp950": frozenset(
        "的不是在了有人到和您此這個我們請為無法被郵件用戶收信箱地址發送失敗系統退回存投遞"
    ),
    "cp932": frozenset(map(chr, range(0x3041, 0x30FF))),
    "euc_jp": frozenset(map(chr, range(0x3041, 0x30FF))),
    "cp949": frozenset(
        "이가을를은는의에로다하지수있없메일으니습않되해기도사용자전송반된한입시주소"
    ),
}


def _guess(sample: bytes, declared: str) -> str:
    """The codec of bytes that are not what they say: damaged UTF-8, East Asian, or as declared."""
    read = sample.decode("utf-8", "replace")
    damaged = read.count("\ufffd")
    if len(read) - len(read.encode("ascii", "ignore")) > 3 * damaged:
        return "utf-8"
    if (cyrillic := _cyrillic(sample)) is not None:
        return cyrillic
    if len(sample.translate(None, _ASCII)) < _FEWEST:
        return _WESTERN if declared == "utf-8" else declared
    shares = {codec: _share(sample.decode(codec, "replace"), codec) for codec in _FREQUENT}
    best = max(shares, key=lambda codec: shares[codec])
    told = declared not in ("utf-8", _WESTERN)
    other = None if told or shares[best] > 0.3 else _script(sample) or _central(sample, most=0)
    if other or shares[best] > 0.1:
        return other or best
    return declared if told else _latin(sample)


def _latin(sample: bytes) -> str:
    return _turkish(sample) or _central(sample, most=_SAMPLE) or _WESTERN


# Greek, Hebrew, Arabic and Thai: the letters that make up most of a text
_SCRIPTS: Final = {
    "iso8859-7": frozenset("αοιετσνηυρπκμλςίάόέήώύδγχθωφβ"),
    "cp1255": frozenset("יולהמאתרנבשדכעחםקצפןגסטז"),
    "cp1256": frozenset("اليمنورتبدعةسكهفحقجأصخىش"),
    "tis-620": frozenset("านรอกเงมยลวดทสตคปะ่้ิีัุูไมแผช็์พจขบใหณ"),
}


def _script(sample: bytes) -> str | None:
    """The codec of another script, where runs of its letters make sense and no other does."""
    foreign = len(sample.translate(None, _ASCII))
    runs = b"".join(_RUN.findall(sample)) if foreign >= 12 else b""
    if len(runs) < 12 or len(runs) * 10 < 7 * foreign:
        return None
    often = {
        c: sum(map(known.__contains__, runs.decode(c, "replace"))) for c, known in _SCRIPTS.items()
    }
    best = max(often, key=lambda codec: often[codec])
    return best if often[best] * 10 > len(runs) * 8 else None


_CENTRAL: Final = ("iso8859-2", "cp1250")
# what those and Western text have besides letters, but for what stands in words of Western text
_SIGNS: Final = "".join(
    sorted(
        {
            sign
            for codec in (_WESTERN, *_CENTRAL)
            for sign in bytes(range(0x80, 0x100)).decode(codec, "ignore")
            if not sign.isalpha() and sign not in "·’«»\xa0\xad"
        }
    )
)
_BETWEEN: Final = re.compile(rf"(?<=[^\W\d_])[{re.escape(_SIGNS)}](?=[^\W\d_])")
_BESIDE: Final = re.compile(
    rf"[{re.escape(_SIGNS)}](?=[^\W\d_])|(?<=[^\W\d_])[{re.escape(_SIGNS)}](?=[ .,\n])"
)


def _central(sample: bytes, *, most: int) -> str | None:
    """The codec of Central European text, by signs in words where Western text has none.

    `most` of them may be left, read so.
    """
    sample = sample[:_FEW]
    wrong = _signs_in_words(sample.decode(_WESTERN, "replace"))
    if wrong < _FEW_SIGNS:
        return None
    told = {codec: _signs_in_words(sample.decode(codec, "replace")) for codec in _CENTRAL}
    best = min(told, key=lambda codec: told[codec])
    return best if told[best] <= most and 2 * told[best] < wrong else None


_FEW: Final = 4_000
_FEW_SIGNS: Final = 2


def _turkish(sample: bytes) -> str | None:
    """The codec of Turkish, whose letters lie where Icelandic has its own, without its others."""
    western = sample.decode(_WESTERN, "replace")
    likely = sum(map(western.count, "þðýÝÞÐ")) > 1 and not any(map(western.count, "áíúæóéøå"))
    return "iso8859-9" if likely else None


def _signs_in_words(text: str) -> int:
    """How many signs stand beside letters; twice, if between them."""
    return len(_BETWEEN.findall(text)) + len(_BESIDE.findall(text))


# Words of Cyrillic letters are runs of 8-bit bytes; in Western text such bytes stand alone.
_RUN: Final = re.compile(rb"[\x80-\xff][\x80-\xff]{2,}")
_CYRILLIC: Final = ("cp1251", "koi8-r", "iso8859-5", "cp866")
# by which Cyrillic text is wrongly declared; Greek and Hebrew letters fall on frequent ones
_MISTAKEN_FOR_CYRILLIC: Final = (*_CYRILLIC, "iso8859-2", "cp1250", "mac-roman", "cp850", "cp437")
_OFTEN: Final = frozenset("оеаинтсрвлкмдпуяы")


def _cyrillic(sample: bytes) -> str | None:
    """The Cyrillic codec in which most letters are frequent small ones, or None."""
    foreign = len(sample.translate(None, _ASCII))
    runs = b"".join(_RUN.findall(sample)) if foreign >= 12 else b""
    if len(runs) < 12 or len(runs) * 10 < 7 * foreign:
        return None
    often = {c: sum(map(_OFTEN.__contains__, runs.decode(c, "replace"))) for c in _CYRILLIC}
    best = max(often, key=lambda codec: often[codec])
    return best if often[best] * 10 > len(runs) * 7 else None


_ASCII: Final = bytes(range(128))
# characters that are not ASCII, and bytes that make them, from which nothing is concluded
_FEWEST: Final = 4
_ASCII_LETTERS: Final = re.compile("[\x00-\x7f]+")


def _share(text: str, codec: str) -> float:
    """How much of what is not ASCII are characters that the codec's language often uses."""
    many = len(text) - len(text.encode("ascii", "ignore"))
    if many < _FEWEST:
        return 0.0
    wrong = text.count("\ufffd")
    most = (many - 3 * wrong) / many
    if most <= 0:
        return most  # what it is exactly makes no difference
    foreign = _ASCII_LETTERS.sub("", text)
    return (sum(map(_FREQUENT[codec].__contains__, foreign)) - 2 * wrong) / many


def decode_transfer(data: bytes, encoding: str) -> bytes:
    """Undo a content transfer encoding (RFC 2045, 6), tolerant of damage, bounded in size."""
    encoding = _encoding_of(encoding[:100])
    if encoding == "base64":
        return _base64(data[: MAX_TEXT * 2])
    if encoding == "quoted-printable":
        return binascii.a2b_qp(_PADDED_BREAK.sub(b"=\n", data[: MAX_TEXT * 3]))
    return _undeclared(data[:MAX_TEXT])


@lru_cache(256)
def _encoding_of(value: str) -> str:
    return re.split(r"[\s;(]", value.strip(" \t\"'").lower(), maxsplit=1)[0].strip("\"'")


_ONLY_BASE64: Final = re.compile(
    rb"(?:[A-Za-z0-9+/]{40,76}\r?\n){1,2000}+[A-Za-z0-9+/]{0,76}={0,2}"
)
_NO_QP: Final = re.compile(rb"=(?![0-9A-F]{2}|\r?\n)")
_BEGIN_UU: Final = re.compile(rb"^begin [0-7]{3,4} [^\n]{1,200}\n", re.MULTILINE)


def _undeclared(data: bytes) -> bytes:
    """What was encoded without saying so: gateways lose the header that tells it."""
    if _ONLY_BASE64.fullmatch(data[:160_000].strip()):
        return _base64(data)
    if b"=\n" in data and may_be_quoted_printable(data):
        return binascii.a2b_qp(data)
    if b"begin " in data and (begins := _BEGIN_UU.search(data)):
        return data[: begins.start()] + (_uudecoded(data[begins.end() :]) or data[begins.start() :])
    return data


def may_be_quoted_printable(data: bytes) -> bool:
    """Whether every `=` in it is what quoted-printable makes of a character or a long line."""
    return _NO_QP.search(data) is None


def _uudecoded(data: bytes) -> bytes:
    """The lines of a `uuencode`d file decoded, and what stands behind them; nothing if none is."""
    told: list[bytes] = []
    lines = data.split(b"\n")
    for line in lines:
        try:
            told.append(binascii.a2b_uu(line))
        except binascii.Error:
            break
    return b"".join((*told, *(b"\n" + line for line in lines[len(told) :]))) if told else b""


# white space that a relay put behind a soft line break (RFC 2045, 6.7)
_PADDED_BREAK: Final = re.compile(rb"=[ \t]{1,200}\r?\n")
# a line of words, or a rule of dashes: a list's footer, or the text of a lying header
_WORDS: Final = re.compile(rb"(?:^|\n)(?:[-_]{2}|\S{1,100} \S)")
_NOT_BASE64: Final = bytes(
    set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
)


def _base64(data: bytes) -> bytes:
    told = data.rstrip(b"=")
    if told.isalnum() and not len(data) % 4 and len(data) - len(told) < 3:
        return binascii.a2b_base64(data)  # as in most headers
    # what follows the padding is another hand's (a list footer, the next part's preamble)
    padding = re.search(rb"=\s{0,9}=?\s{0,9}(?:\n|$)", data)
    spaced = b" " in data or b"-" in data or b"_" in data  # without these are no words
    words = _WORDS.search(data) if spaced else None
    if words and not words.start():
        return data
    ends = min(found.start() for found in (padding, words) if found) if padding or words else None
    data = data[:ends].translate(None, _NOT_BASE64)
    if len(data) % 4 == 1:
        data = data[:-1]
    return binascii.a2b_base64(data + b"=" * (-len(data) % 4))


_WORD: Final = re.compile(r"=\?([^?\s]{1,60})\?([bBqQ])\?([^?]{0,2000})\?=(?:\s+(?==\?))?")


def decode_words(value: str) -> str:
    """Undo RFC 2047 encoded words in a header value (the first hundred of them).

    `value` holds raw bytes as latin-1; what is raw 8-bit is read as UTF-8 where it can be, else
    as what it looks like. Neighbours in one charset are read as one: some writers cut characters.
    """
    if "=?" not in value and value.isascii():
        return value
    short = len(value) <= _REMEMBERED
    return _words_decoded(value) if short else _words_decoded.__wrapped__(value)


# the subject of what is returned comes back from all who could not take it
_REMEMBERED: Final = 300


@lru_cache(1_024)
def _words_decoded(value: str) -> str:
    if not value.isascii():
        with contextlib.suppress(UnicodeEncodeError):
            value = decode_charset(value.encode("latin-1"), None)
    told: list[str] = []
    waiting, charset, at = b"", "", 0
    for word in itertools.islice(_WORD.finditer(value), 100):
        named = word[1].partition("*")[0].lower()
        if word.start() > at or named != charset:
            told += (decode_charset(waiting, charset), value[at : word.start()])
            waiting, charset = b"", named
        waiting += _word(word)
        at = word.end()
    return "".join((*told, decode_charset(waiting, charset), value[at:]))


def _word(match: re.Match[str]) -> bytes:
    raw = match[3].encode("utf-8", "replace")
    return _base64(raw) if match[2] in "bB" else binascii.a2b_qp(raw, header=True)


# `<head>` is hidden, `<header>` is not
_HIDDEN: Final = re.compile(r"<(!--|(?:script|style|head|title)(?![^\W_]))")
_BREAK: Final = re.compile(
    r"<(?:br|/p|/div|/tr|/li|/h[1-6]|/table|p|hr|/t[dh]|/d[dt]|/pre)\b[^<>]{0,500}>", re.IGNORECASE
)
# these begin a line where no line ended right before; what stands before is asked last, because
# an expression that begins with a character is found many times faster
_BEGIN: Final = re.compile(
    r"<(?:(?<=[^\s>]<)|(?<=[^\s>] <))(?:li|tr|td|th|dt|dd|div|h[1-6]|table)\b[^<>]{0,500}>",
    re.IGNORECASE,
)
# `<user@example.com>` in a notice is an address, not markup
_TAG: Final = re.compile(r"</?[a-zA-Z!?](?:[^<>@\s]{0,500}(?:\s[^<>]{0,500})?)?>")


def strip_html(markup: str) -> str:
    """The words of an HTML notice, a block element a line. Linear in its length; not a browser."""
    text = _without_hidden(markup[:MAX_TEXT])
    if "<pre" not in text.lower():
        text = " ".join(text.split())
    text = _TAG.sub("", _BEGIN.sub("\n", _BREAK.sub("\n", text)))
    return "\n".join(line.strip() for line in html.unescape(text).split("\n"))


def _without_hidden(markup: str) -> str:
    """Drop what a browser does not show. Each kind of closing tag is missed at most once."""
    low = markup.lower()
    kept: list[str] = []
    unclosed: set[str] = set()
    at = 0
    while found := _HIDDEN.search(low, at):
        opens, name = found.start(), found[1]
        ends = -1 if name in unclosed else low.find("-->" if name == "!--" else f"</{name}", opens)
        if ends < 0:
            unclosed.add(name)
            kept.append(markup[at : opens + 1])
            at = opens + 1
            continue
        kept.append(markup[at:opens])
        at = ends + 3 if name == "!--" else max(low.find(">", ends), ends) + 1
    kept.append(markup[at:])
    return "".join(kept)

"""Safe text: bytes to words in bounded time, and words to a terminal without harm.

Charsets are taken from a fixed list, because a name from a stranger's mail must never choose a
codec (`zlib`, `punycode` and `idna` are codecs too), and transfer encodings are undone with a
limit, because a megabyte of base64 may hide forty of white space.
"""

from __future__ import annotations

import binascii
import html
import re
from typing import Final

# What a decoded text part may hold; the rest is cut.
MAX_TEXT: Final = 1_000_000

_WESTERN = "cp1252"  # a superset of ISO-8859-1 that real mail means by it
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
    "gb18030": "gb2312 gbk gb_2312-80 x-gbk cn-gb cp936 gb18030",
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

_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)


def safe(text: str) -> str:
    r"""Text that cannot steer a terminal, a log or a reader's eye: one line, controls as `\xNN`.

    C0 and C1 controls, ESC, bidirectional overrides, line and paragraph separators, zero-width
    characters and lone surrogates are shown as escapes.
    """
    return _UNSAFE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    point = ord(match[0])
    return f"\\x{point:02x}" if point < 256 else f"\\u{point:04x}"


def decode_charset(data: bytes, charset: str | None) -> str:
    """Bytes to text by the declared charset, else by what the bytes look like. Never raises."""
    data = data[:MAX_TEXT]
    declared = _CODECS.get((charset or "").strip().strip("\"'").lower())
    if b"\x1b$" in data or b"\x1b(" in data:
        declared = declared if declared and declared.startswith("iso2022") else "iso2022_jp_ext"
    for codec in (declared or "utf-8", "utf-8"):
        try:
            return data.decode(codec)
        except (UnicodeDecodeError, ValueError):
            continue
    return _guess(data, declared)


def _guess(data: bytes, declared: str | None) -> str:
    """For bytes that are not what they say: many high bytes in pairs are East Asian."""
    if declared not in (None, "utf-8", _WESTERN):
        return data.decode(declared or "utf-8", "replace")
    high = len(data) - len(data.translate(None, bytes(range(128, 256))))
    pairs = re.findall(rb"[\x81-\xfe][\x40-\xfe]", data[:20_000])
    if high > 8 and len(pairs) * 2 >= high and len(re.findall(rb"[\x80-\xff]{4}", data)) * 8 > high:
        for codec in ("gb18030", "cp950", "cp932", "cp949"):
            try:
                return data.decode(codec)
            except UnicodeDecodeError:
                continue
    return data.decode("utf-8" if declared == "utf-8" and high < 4 else _WESTERN, "replace")


def decode_transfer(data: bytes, encoding: str) -> bytes:
    """Undo a content transfer encoding (RFC 2045, 6), tolerant of damage, bounded in size."""
    encoding = encoding.strip().lower()
    if encoding == "base64":
        return _base64(data[: MAX_TEXT * 2])
    if encoding == "quoted-printable":
        return binascii.a2b_qp(data[: MAX_TEXT * 3])
    return data[:MAX_TEXT]


_NOT_BASE64 = bytes(
    set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
)


def _base64(data: bytes) -> bytes:
    # what follows the padding is another hand's (a list footer, the next part's preamble)
    padding = re.search(rb"=\s*=?\s*(?:\n|$)", data)
    data = (data[: padding.start()] if padding else data).translate(None, _NOT_BASE64)
    if len(data) % 4 == 1:
        data = data[:-1]
    return binascii.a2b_base64(data + b"=" * (-len(data) % 4))


_WORD = re.compile(r"=\?([^?\s]{1,60})\?([bBqQ])\?([^?]{0,2000})\?=(?:\s+(?==\?))?")


def decode_words(value: str) -> str:
    """Undo RFC 2047 encoded words in a header value (the first hundred of them).

    `value` holds raw bytes as latin-1; what is raw 8-bit is read as UTF-8 where it can be.
    """
    if "=?" in value:
        value = _WORD.sub(_word, value, count=100)
    if not value.isascii():
        try:
            return value.encode("latin-1").decode("utf-8")
        except (UnicodeEncodeError, UnicodeDecodeError):
            return value
    return value


def _word(match: re.Match[str]) -> str:
    charset, how, coded = match[1].partition("*")[0], match[2].lower(), match[3]
    raw = coded.encode("latin-1", "replace")
    data = _base64(raw) if how == "b" else binascii.a2b_qp(raw, header=True)
    return decode_charset(data, charset)


_HIDDEN = ("script", "style", "head", "title", "!--")
_BREAK = re.compile(
    r"<(?:br|/p|/div|/tr|/li|/h[1-6]|/table|p|hr|/td|/pre)\b[^<>]{0,500}>", re.IGNORECASE
)
# `<user@example.com>` in a notice is an address, not markup
_TAG = re.compile(r"</?[a-zA-Z!?](?:[^<>@\s]{0,500}(?:\s[^<>]{0,500})?)?>")


def strip_html(markup: str) -> str:
    """The words of an HTML notice, a block element a line. Linear in its length; not a browser."""
    text = _without_hidden(markup[:MAX_TEXT])
    if "<pre" not in text.lower():
        text = " ".join(text.split())
    text = _TAG.sub("", _BREAK.sub("\n", text))
    return "\n".join(line.strip() for line in html.unescape(text).split("\n"))


def _without_hidden(markup: str) -> str:
    """Drop what a browser does not show. Each kind of closing tag is missed at most once."""
    low = markup.lower()
    kept: list[str] = []
    unclosed: set[str] = set()
    at = 0
    while (opens := low.find("<", at)) >= 0:
        name = next((n for n in _HIDDEN if low.startswith(n, opens + 1)), None)
        closing = "-->" if name == "!--" else f"</{name}"
        if name is None or name in unclosed:
            kept.append(markup[at : opens + 1])
            at = opens + 1
            continue
        ends = low.find(closing, opens)
        if ends < 0:
            unclosed.add(name)
            continue
        kept.append(markup[at:opens])
        at = ends + 3 if name == "!--" else max(low.find(">", ends), ends) + 1
    kept.append(markup[at:])
    return "".join(kept)

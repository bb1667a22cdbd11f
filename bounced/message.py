"""Bytes in, a readable message out. The only door to flanker.

flanker reads the structure (fed with a latin-1 view, which loses nothing and spares its charset
guess); transfer encodings and charsets are undone here, because flanker decodes a whole message
at once and garbles mixed ones. What flanker declines, and whatever is over its limits, the plain
reader takes: one pass over the lines, no recursion, never an exception. Neither descends into an
enclosed message: a report inside the returned mail is not ours to act on.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import re
import warnings
from dataclasses import dataclass, field
from functools import cache, lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from bounced.text import (
    MAX_TEXT,
    decode_charset,
    decode_transfer,
    decode_words,
    may_be_quoted_printable,
    strip_html,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAX_BYTES: Final = 25_000_000
MAX_LINES: Final = 150_000  # beyond these flanker is too slow to be asked
MAX_FLANKER_BYTES: Final = 2_000_000
MAX_HEADER_BLOCK: Final = 262_144
MAX_HEADER: Final = 65_536
MAX_HEADERS: Final = 1_000
# what may surround a value; of raw bytes \x85 and \xa0 are no spaces but halves of letters
_SPACE: Final = " \t\r\n\v\f"
MAX_PARTS: Final = 200
MAX_DEPTH: Final = 20
MAX_BOUNDARY: Final = 200
MAX_MULTIPARTS: Final = 100  # beyond these flanker is not asked either
MAX_BOUNDARY_LINES: Final = 5_000

UNCLOSED: Final = "closing boundary missing"
TOO_MANY: Final = "parts over the limit"
CUT: Final = "cut off in the middle of a line"

Headers = tuple[tuple[str, str], ...]


@dataclass(slots=True)  # frozen ones take four times as long to make, and each letter has four
class Part:
    """A leaf of the MIME tree, still encoded. `message/*` parts are leaves: nobody enters them.

    Made once and never changed, but for what it remembers of itself.
    """

    headers: Headers
    body: bytes
    content_type: str
    charset: str | None = None
    cache: dict[str, str] = field(default_factory=dict, repr=False, compare=False)

    def header(self, name: str) -> str:
        return _first(self.headers, name.lower()) if self.headers else ""

    def data(self) -> bytes:
        """The body with its transfer encoding undone."""
        return decode_transfer(self.body, self.header("content-transfer-encoding"))

    def text(self) -> str:
        """The body as words, line ends as LF; HTML without its tags."""
        if "text" not in self.cache:
            self.cache["text"] = self._text()
        return self.cache["text"]

    def _text(self) -> str:
        if self._plain():
            return self.body.decode("ascii")
        words = decode_charset(self.data(), self.charset).replace("\r\n", "\n")
        return words.replace("\r", "\n").replace("\0", "\ufffd")

    def _plain(self) -> bool:
        """Whether an ASCII body is the words themselves, as most are."""
        body = self.body
        return (
            (self.charset is None or self.charset.lower() in _ASCII_WITHIN)
            and self.header("content-transfer-encoding").lower() in _NOT_ENCODED
            and len(body) <= MAX_TEXT
            and b":" in body[:160_000]  # then it is not all base64
            and body.isascii()
            and not (b"\r" in body or b"\0" in body or b"\x1b" in body)
            and not (b"=" in body and b"=\n" in body)
            and b"begin " not in body
        )


_NOT_ENCODED: Final = ("", "7bit", "8bit", "binary")
_ASCII_WITHIN: Final = ("us-ascii", "utf-8", "iso-8859-1", "windows-1252")

# HTML that calls itself plain text
_MARKUP: Final = re.compile(
    r"\s{0,80}+<(?:!doctype html|html|head|body|div|p|table|h1)\b", re.IGNORECASE
)


@dataclass(slots=True)
class Message:
    """A message as decoders want to see it: headers, and the leaves of its MIME tree in order.

    `problems` says in short words what was wrong; `reader` names who read the structure.
    """

    headers: Headers
    parts: tuple[Part, ...]
    content_type: str = "text/plain"
    parameters: Headers = ()
    problems: tuple[str, ...] = ()
    reader: str = "plain"
    cache: dict[str, str] = field(default_factory=dict, repr=False, compare=False)
    first: dict[str, str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # the first of each name: most questions are about headers that are not there
        self.first = dict(reversed(self.headers))

    def header(self, name: str) -> str:
        """The first header of that name with its encoded words undone, or an empty string."""
        raw = self.first.get(name)
        if raw is None:
            return "" if (low := name.lower()) == name else self.header(low)
        told = self.cache.get(name)
        if told is None:
            told = self.cache[name] = decode_words(raw).strip()
        return told

    def all_headers(self, name: str) -> list[str]:
        name = name.lower()
        if name not in self.first:
            return []
        return [decode_words(value).strip() for key, value in self.headers if key == name]

    def parameter(self, name: str) -> str:
        return _first(self.parameters, name)

    def parts_of(self, *content_types: str) -> list[Part]:
        return [part for part in self.parts if part.content_type in content_types]

    def part_of(self, *content_types: str) -> Part | None:
        """The first part of one of these types."""
        for part in self.parts:
            if part.content_type in content_types:
                return part
        return None

    def text(self) -> str:
        """What a person would read: the text parts before the first enclosed message.

        HTML counts only where there is no plain text, or one that names nobody.
        """
        if _TEXT not in self.cache:
            self.cache[_TEXT] = self._text()
        return self.cache[_TEXT]

    def _text(self) -> str:
        plain: list[Part] = []
        markup: list[Part] = []
        for part in self.parts:
            if (
                part.content_type.startswith("message/")
                or part.content_type == "text/rfc822-headers"
            ):
                if plain or markup:
                    break
            elif part.content_type == "text/html":
                markup.append(part)
            elif part.content_type.startswith("text/") or part.content_type == "":
                plain.append(part)
        words = "\n".join(part.text() for part in plain)
        if _MARKUP.match(words):
            words = strip_html(words)
        if words.strip() and (not markup or "@" in words):
            return words
        shown = "\n".join(strip_html(part.text()) for part in markup)
        if not words.strip():
            return shown
        return f"{words}\n\n{shown}" if "@" in shown else words


_TEXT: Final = " text"  # in a cache beside the headers, none of which is called so


def _first(headers: Headers, name: str) -> str:
    for key, value in headers:
        if key == name:
            return value
    return ""


def dedup_key(raw: bytes) -> str:
    """The same for the same mail wherever it turns up: hex SHA-256.

    Over Message-ID, Date, From and the body with LF ends and trailing blank lines cut, without
    trace headers, which differ between two copies of one mail. Message-ID alone would lose mail.
    """
    headers, body = _split(_normalised(raw[:MAX_BYTES]))
    read = _headers(headers)
    wanted = [_first(read, name).strip() for name in ("message-id", "date", "from")]
    digest = hashlib.sha256("\0".join(wanted).encode("utf-8", "surrogateescape"))
    digest.update(b"\0" + body.rstrip())
    return digest.hexdigest()


def read(raw: bytes, *, truncated: bool = False) -> Message:
    """Read a message. Never raises for bad mail: damage is told in `problems`, and we read on."""
    problems = ["truncated"] if truncated or len(raw) > MAX_BYTES else []
    data = _normalised(raw[:MAX_BYTES])
    head, body = _split(data)
    headers = _headers(head)
    problems += _header_problems(head, headers)
    if not headers:
        return Message((), (Part((), data, "text/plain"),), problems=(*problems, "no headers"))
    content_type, parameters = content_type_of(headers)
    root = Part(headers, body, content_type, _first(parameters, "charset") or None)
    reader, leaves = "plain", None
    if content_type.startswith("text/") and _lost_multipart(body):
        problems.append("Content-Type lost: parts found by their boundary")
        root = Part(headers, body, "multipart/mixed")
        leaves = _leaves(root, _guessed_boundary(body), problems)
    elif content_type.startswith("multipart/"):
        boundary = _first(parameters, "boundary").rstrip()
        if boundary and f"--{boundary}--".encode("latin-1", "replace") not in body:
            problems.append(UNCLOSED if data.endswith(b"\n") else CUT)
        reader, leaves = _structure(root, boundary, head, problems)
    return Message(
        headers, tuple(leaves or [root]), content_type, parameters, tuple(problems), reader
    )


def _structure(
    root: Part, boundary: str, head: bytes, problems: list[str]
) -> tuple[str, list[Part]]:
    """Who read the structure, and the leaves: the quick way for what is well formed."""
    oddities: list[str] = []
    if problems in ([], [UNCLOSED]):
        quick = _well_formed(root, boundary, oddities)
        if quick is not None:
            return "quick", quick
    asked_in_vain = TOO_MANY in oddities  # it takes no more parts than we do
    careful = None if asked_in_vain else _ask_flanker(head + b"\n" + root.body)
    return (
        ("flanker", careful)
        if careful is not None
        else ("plain", _leaves(root, boundary, problems))
    )


def _well_formed(root: Part, boundary: str, oddities: list[str]) -> list[Part] | None:
    """The leaves of a message without any oddity, by the plain reader; None where there is one.

    What is odd about its structure is added to `oddities`.

    flanker, four times slower, is asked about the rest. Both give the same leaves here, also where
    nothing is wrong but that the last part is not closed.
    """
    if not boundary:
        return None
    leaves = _leaves(root, boundary, oddities)
    if oddities:
        return None
    blank = b"--%s\n\n" % boundary.encode("latin-1", "replace")
    for part in leaves:
        if _odd(part) or not (part.headers or blank + part.body[:100] in root.body):
            return None
    return leaves


def _odd(part: Part) -> bool:
    """Whether a leaf may hold more than a leaf, or ends elsewhere than it seems.

    Only what is returned may have boundaries of its own; a status part has none.
    """
    kind = part.content_type
    enclosed = kind.endswith("rfc822-headers") or (
        kind.startswith("message/") and not kind.endswith("status")
    )
    return kind.startswith("multipart/") or (
        not enclosed
        and part.body.find(b"\n--", 0, 200_000) >= 0
        and _LIKE_BOUNDARY.search(part.body) is not None
    )


_LIKE_BOUNDARY: Final = re.compile(rb"\n--[^\s-][^\n]{0,199}\ncontent-", re.IGNORECASE)


# --- line ends and headers ---


def _normalised(raw: bytes) -> bytes:
    """LF line ends, whatever they were; no byte-order mark, mbox line or blank lines in front."""
    if b"\r" in raw:
        plain = raw.replace(b"\r\n", b"\n")
        if b"\r" in plain:  # some gateways end a line twice over
            plain = raw.replace(b"\r\r\n", b"\n").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        raw = plain
    raw = raw.removeprefix(b"\xef\xbb\xbf")
    if raw[:1].isspace():
        raw = raw.lstrip()
    if raw.startswith((b"From ", b">From ")) and not raw.startswith(b"From :"):
        raw = raw.partition(b"\n")[2]
    return raw


_FIELD: Final = re.compile(rb"[!-9;-~]{1,100}[ \t]*:")
_NO_FIELD: Final = rb"(?![!-9;-~]{1,100}[ \t]*:|[ \t])"
# a blank line; one of white space too where no header field follows it
_BLANK: Final = re.compile(rb"\n(?:\n|[ \t]{1,80}\n" + _NO_FIELD + rb")")
_ENDS: Final = re.compile(rb"\n" + _NO_FIELD + rb"(?=[^\n])")


def _split(data: bytes) -> tuple[bytes, bytes]:
    """Header block and body; a text that does not begin with a header is all body.

    Where no blank line divides them, the body begins with the first line that is no field.
    """
    known = _KNOWN_FIELD.match(data)  # as in most the first field is
    if not known and not (_FIELD.match(data) and _plausible(data)):
        return b"", data
    if blank := _BLANK.search(data):
        return data[: blank.start() + 1], data[blank.end() :]
    ends = _ENDS.search(data)
    return (data[: ends.end()], data[ends.end() :]) if ends else (data, b"")


_KNOWN_FIELD: Final = re.compile(
    rb"^(received|return-path|from|to|subject|date|message-id|mime-version|content-[a-z-]+|x-[\w-]+|reply-to|sender"
    rb"|delivered-to|auto-submitted|list-[a-z]+|arc-[\w-]+|dkim-signature|authentication-results"
    rb"|precedence|cc|bcc|errors-to|resent-[a-z-]+|in-reply-to|references|envelope-to|status"
    rb"|importance|thread-[a-z]+|feedback-id|comments|domainkey-signature)[ \t]*:",
    re.IGNORECASE | re.MULTILINE,
)


def _plausible(data: bytes) -> bool:
    """Whether what stands before the first blank line is a header block and not prose."""
    end = min(MAX_HEADER_BLOCK, data.find(b"\n\n") % (len(data) + 1))
    return _KNOWN_FIELD.search(data, 0, end) is not None


_FIELDS: Final = re.compile(
    r"^([!-9;-~]{1,100}+)[ \t]*+:[ \t]*+(.*+(?:\n[ \t].*+)*+)", re.MULTILINE
)


def _headers(block: bytes, names: frozenset[str] | None = None) -> Headers:
    """Fields in order, names in lower case, values unfolded, raw bytes as latin-1.

    With `names` only those of these names; where there are none but others, the first of all.
    """
    text = block[:MAX_HEADER_BLOCK].decode("latin-1")
    if text.count("\n") < MAX_HEADERS:  # too few lines for too many
        fields = _FIELDS.findall(text)
    else:
        fields = [found.groups() for found in islice(_FIELDS.finditer(text), MAX_HEADERS)]
    if len(text) > MAX_HEADER:
        fields = [(name, value[:MAX_HEADER]) for name, value in fields]
    if names is not None:
        fields = [field for field in fields if field[0].lower() in names] or fields[:1]
    return tuple(
        [
            (name.lower(), _unfolded(value) if "\n" in value else value.strip(_SPACE))
            for name, value in fields
        ]
    )


def _unfolded(value: str) -> str:
    flat = value.replace("\n ", " ").replace("\n\t", " ")
    if "  " not in flat and flat.isprintable():
        return flat.strip(" ")  # as most: a single space around each fold, and no other kind
    return " ".join([line.strip(" \t\v\f") for line in value.split("\n")]).strip(_SPACE)


def _header_problems(block: bytes, headers: Headers) -> list[str]:
    problems = []
    if len(block) > MAX_HEADER_BLOCK or len(headers) >= MAX_HEADERS:
        problems.append("headers over the limit")
    likely = block.lower().count(b"content-type") > 1
    if likely and [name for name, _ in headers].count("content-type") > 1:
        problems.append("ambiguous: several Content-Type headers")
    return problems


_COMMENT: Final = re.compile(r"\([^()]{0,200}\)")
_PARAMETER: Final = re.compile(
    r";\s*([\w!#$%&'+.^`{}~-]{1,60})\s*=\s*(\"(?:[^\"\\]|\\.){0,500}\"|[^;\s\"]{0,500})"
)


def content_type_of(headers: Headers, *, default: str = "text/plain") -> tuple[str, Headers]:
    """The first Content-Type and its parameters (RFC 2045, 5), both in lower-case names.

    What is no type (`Content-Type: text`) is plain text (RFC 2045, 5.2).
    """
    value = _first(headers, "content-type")
    if not value:
        return default, ()
    kind, parameters = _parsed_type(value[:4_000])
    return kind or default, parameters


@lru_cache(1_024)
def _parsed_type(value: str) -> tuple[str, Headers]:
    value = _COMMENT.sub("", value) if "(" in value else value
    kind = value.partition(";")[0].strip().strip("\"'").lower()
    kind = kind.split()[0] if kind.split() else ""
    found = _PARAMETER.findall(value) if ";" in value else ()
    parameters = tuple(
        [(name.lower(), told.strip('"').replace('\\"', '"')) for name, told in found]
    )
    return (kind if "/" in kind else "text/plain") if kind else "", parameters


# --- flanker ---


@cache
def _flanker_mime() -> Any:
    """Flanker's MIME door, imported late: it costs a fifth of a second and talks while loading."""
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        from flanker import mime  # noqa: PLC0415
    # it logs what it cannot decode, in the words of the mail; we tell of damage ourselves
    quiet = logging.getLogger("flanker")
    quiet.addHandler(logging.NullHandler())
    quiet.propagate = False
    return mime


def _ask_flanker(data: bytes) -> list[Part] | None:
    """The leaves as flanker sees them; None where it declines or is better not asked."""
    if len(data) > MAX_FLANKER_BYTES or data.count(b"\n") > MAX_LINES:
        return None
    if data.count(b"ultipart/") > MAX_MULTIPARTS or data.count(b"\n--") > MAX_BOUNDARY_LINES:
        return None
    try:
        root = _flanker_mime().from_string(data.decode("latin-1"))
        leaves = list(_flanker_leaves(root))
    except Exception:  # noqa: BLE001 - DecodingError, TypeError, IndexError, RecursionError, …
        return None
    # flanker goes on behind returned headers as if the returned mail's parts were the notice's
    open_ended = any(
        part.content_type.startswith("multipart/")
        or (part.content_type.endswith("rfc822-headers") and part is not leaves[-1])
        for part in leaves
    )
    return leaves if 0 < len(leaves) <= MAX_PARTS and not open_ended else None


def _flanker_leaves(root: Any) -> Iterator[Part]:
    waiting = [(root, 0, "")]
    while waiting:
        part, depth, within = waiting.pop()
        if part.content_type.is_multipart() and depth < MAX_DEPTH:
            kind = str(part.content_type)
            waiting.extend((child, depth + 1, kind) for child in reversed(part.parts))
        else:
            yield _part(part.to_string().encode("latin-1"), within)


# a blank line too many between the boundary and the part's own headers
_LATE_FIELDS: Final = re.compile(rb"\n{1,3}content-[a-z-]{1,40}:", re.IGNORECASE)


def _part(data: bytes, within: str) -> Part:
    """A leaf out of its own bytes: headers, blank line, body.

    `within` is the type of what it is a part of: parts of a digest are messages (RFC 2046, 5.1.5).
    """
    if data[:1] == b"\n" and _LATE_FIELDS.match(data):
        data = data.lstrip(b"\n")
    if data.startswith(b"\n"):
        head, body = b"", data[1:]
    else:
        end = data.find(b"\n\n")
        head, body = (data, b"") if end < 0 else (data[: end + 1], data[end + 2 :])
        if end < 0 and not _FIELD.match(data):
            head, body = b"", data
    default = "message/rfc822" if within == "multipart/digest" else "text/plain"
    # what a server says of its parts is the same in all its reports
    described = _described if len(head) <= _REMEMBERED else _described.__wrapped__
    headers, content_type, charset = described(head, default)
    return Part(headers, body, content_type, charset)


_REMEMBERED: Final = 300


@lru_cache(1_024)
def _described(head: bytes, default: str) -> tuple[Headers, str, str | None]:
    """A part's headers, its type (that where none is named) and its charset."""
    headers = _headers(head)
    content_type, parameters = content_type_of(headers, default=default)
    return headers, content_type, _first(parameters, "charset") or None


# --- the plain reader ---


def _leaves(root: Part, boundary: str, problems: list[str]) -> list[Part]:
    """Split nested multiparts without recursion, within limits; damage is told, not raised."""
    leaves: list[Part] = []
    waiting: list[tuple[Part, str, int]] = [(root, boundary, 0)]
    while waiting and len(leaves) < MAX_PARTS:
        part, mark, depth = waiting.pop()
        if not part.content_type.startswith("multipart/"):
            leaves.append(part)
            continue
        pieces = _pieces(part.body, mark) or _pieces(part.body, _guessed_boundary(part.body))
        if depth >= MAX_DEPTH or pieces is None:
            problems.append(
                "nesting over the limit" if depth >= MAX_DEPTH else "no usable boundary"
            )
            leaves.append(Part(part.headers, part.body, "text/plain", part.charset))
            continue
        if len(pieces) > MAX_PARTS:
            problems.append(TOO_MANY)
        children = [_part(piece, part.content_type) for piece in pieces[:MAX_PARTS]]
        for child in reversed(children):
            many = child.content_type.startswith("multipart/")
            inner = _first(content_type_of(child.headers)[1], "boundary") if many else ""
            waiting.append((child, inner, depth + 1))
    if waiting:
        problems.append(TOO_MANY)
    return leaves


def _pieces(body: bytes, boundary: str) -> list[bytes] | None:
    """The bodies between boundary lines (RFC 2046, 5.1.1); None where there is no boundary."""
    if not boundary or len(boundary) > MAX_BOUNDARY:
        return None
    mark = b"--" + boundary.encode("latin-1", "replace").rstrip()
    if mark not in body:
        return None
    quick = _plain_pieces(body, mark)
    return quick if quick is not None else _pieces_by_line(body, mark)


def _pieces_by_line(body: bytes, mark: bytes) -> list[bytes] | None:
    lines = list(islice(_boundary_lines(body, mark), MAX_PARTS + 2))
    if not lines:
        return None
    pieces = []
    for at, (_, begins, last) in enumerate(lines):
        if last and at:
            break
        end = lines[at + 1][0] - 1 if at + 1 < len(lines) else len(body)
        pieces.append(body[begins : max(end, begins)])
    return pieces


def _plain_pieces(body: bytes, mark: bytes) -> list[bytes] | None:
    """As `_pieces`, where no line only begins like a boundary; None where one does."""
    pieces: list[bytes] = []
    chunks = body.split(b"\n" + mark, MAX_PARTS + 3)
    chunks[:1] = [chunks[0][len(mark) :]] if body.startswith(mark) else []
    if not 0 < len(chunks) <= MAX_PARTS + 1:
        return None
    for chunk in chunks:
        line, _, piece = chunk.partition(b"\n")
        line = line.rstrip(b" \t") if line else line
        if line == b"--" and pieces:
            return pieces
        if line not in (b"", b"--"):
            return None
        pieces.append(piece)
    return pieces


def _boundary_lines(body: bytes, mark: bytes) -> Iterator[tuple[int, int, bool]]:
    """Where each boundary line begins, where the next line begins, and whether it is the last.

    A line that only begins like it is none: boundaries of nested parts are often prefixes.
    """
    at = body.find(mark)
    while at >= 0:
        end = body.find(b"\n", at)
        end = len(body) if end < 0 else end
        rest = body[at + len(mark) : end].rstrip(b" \t")
        if rest in (b"", b"--") and (at == 0 or body[at - 1] == 10):
            yield at, min(end + 1, len(body)), rest == b"--"
        at = body.find(mark, end)


def _lost_multipart(body: bytes) -> bool:
    """Whether a body that claims to be one text holds a report between boundaries."""
    low = body[:200_000].lower()
    return b"\ncontent-type: message/" in low and bool(_guessed_boundary(body))


def _guessed_boundary(body: bytes) -> str:
    """A lost boundary parameter: the first `--line` that a Content-… field follows."""
    found = re.search(
        rb"(?:^|\n)--([^\s-][^\n]{0,199})\n(?=content-[a-z-]{1,40}:)", body[:200_000], re.IGNORECASE
    )
    return found[1].decode("latin-1").strip() if found else ""


# --- addresses ---


@cache
def _flanker_address() -> Any:
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        from flanker.addresslib import address  # noqa: PLC0415
    return address


def mailbox_of(field_value: str) -> str | None:
    """The address in a display-name form (`"A. Reader" <a@example.com>`), by flanker.

    None where flanker finds none; it refuses some addresses that exist, so its None never
    drops a recipient.
    """
    if len(field_value) > 1_000:
        return None
    try:
        # its lexer prints what it cannot read, unescaped
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            parsed = _flanker_address().parse(field_value)
    except Exception:  # noqa: BLE001 - PLY errors of several kinds
        return None
    return str(parsed.address) if parsed is not None and parsed.mailbox else None


def returned_headers(block: Sequence[str], names: frozenset[str]) -> Headers:
    """The header fields of a returned message that stands in a notice's text, by its lines.

    Of those names; where it has none but others, its first.
    """
    return _first_block("\n".join(block).encode("latin-1", "replace"), names)


def enclosed_headers(part: Part, names: frozenset[str]) -> Headers:
    """The header fields of an enclosed message, or of its headers alone, as `returned_headers`."""
    body = part.body
    end = body.find(b"\n\n")
    head = body if end < 0 else body[:end]
    return _headers(head, names) if _plain_head(part, head) else _first_block(part.data(), names)


def _plain_head(part: Part, head: bytes) -> bool:
    """Whether a body needs neither decoding nor mending to have its headers read."""
    return (
        part.header("content-transfer-encoding").lower() in _NOT_ENCODED
        and head[:1].isalpha()
        and b":" in head[:MAX_HEADER]
        and b"\r" not in head
        and not head.startswith((b"From ", b"begin "))
        and b"\nbegin " not in head
        and (b"=\n" not in part.body[:MAX_TEXT] or not may_be_quoted_printable(head + b"\n"))
    )


def _first_block(data: bytes, names: frozenset[str]) -> Headers:
    data = _normalised(data)
    end = data.find(b"\n\n")
    return _headers(data if end < 0 else data[:end], names)

"""Letters in files: .eml, mbox, maildir, MH, folders of these, and standard input.

Reading never stops at a bad file; it says what was wrong and goes on. Memory is bounded by one
letter, however big the mbox: the stdlib's `mailbox` first indexes the whole file.
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from bounced.mailbox import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import BufferedReader

LETTER: Final = 25 * MIB
HEAD: Final = 262_144
_LINE: Final = 65_536
_CHUNK: Final = 262_144

# RFC 4155 appendix A, loosely: the sender may hold spaces, seconds and zone may be missing.
# Without the time a sentence that begins with "From" would begin a letter.
_POSTMARK: Final = re.compile(rb"From \S.*\d{1,2}:\d{2}.*\d{4}")
_QUOTED: Final = re.compile(rb"^>(>*From )", re.MULTILINE)
LETTER_NAMES: Final = re.compile(r".*\.(eml|mbox|mbx|msg)|[0-9]+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Found:
    """A letter on disk, or why there is none.

    `source` says where (`bounces.mbox#17` for the 17th letter of an mbox, `-` for standard
    input). `truncated` means that it is over 25 MiB and `raw` holds its first 256 KiB. `problem`
    is a sentence where a file could not be read; `raw` is empty then.
    """

    source: str
    raw: bytes = b""
    truncated: bool = False
    problem: str | None = None


def read_path(path: str | Path, stdin: BinaryIO | None = None) -> Iterator[Found]:
    """All letters at a path, in the order of names (a maildir's new ones first).

    A file that begins with an mbox postmark is an mbox, any other file one letter; `-` is
    standard input. Of a folder, files named like letters are read (`.eml`, `.mbox`, `.mbx`,
    `.msg` as text, and MH's numbers), and maildirs and folders in it. Never raises OSError.
    """
    if str(path) == "-":
        yield from _read_stream("-", stdin if stdin is not None else sys.stdin.buffer)
        return
    path = Path(path)
    if not path.is_dir():
        yield from _read_file(path)
        return
    nothing = True
    for found in _read_folder(path):
        nothing = False
        yield found
    if nothing and not is_maildir(path):
        names = "*.eml, *.mbox, MH numbers or a maildir"
        yield Found(str(path), problem=f"There are no letters in this folder (looked for {names}).")


def is_maildir(folder: Path) -> bool:
    return (folder / "new").is_dir() and (folder / "cur").is_dir()


def _read_folder(folder: Path) -> Iterator[Found]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as problem:
        yield Found(str(folder), problem=_sentence(problem))
        return
    maildir = is_maildir(folder)
    if maildir:
        for part in ("new", "cur"):
            yield from _read_maildir_part(folder / part)
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            if not (maildir and entry.name in ("new", "cur", "tmp")):
                yield from _read_folder(Path(entry.path))
        elif LETTER_NAMES.fullmatch(entry.name):
            yield from _read_file(Path(entry.path))


def _read_maildir_part(folder: Path) -> Iterator[Found]:
    try:
        paths = sorted(folder.iterdir())
    except OSError as problem:
        yield Found(str(folder), problem=_sentence(problem))
        return
    for path in paths:
        if not path.name.startswith("."):
            yield from _read_file(path)


def _read_file(path: Path) -> Iterator[Found]:
    try:
        # a FIFO or a device would keep us for ever
        if path.exists() and not path.is_file():
            yield Found(str(path), problem="This is not a regular file.")
            return
        with path.open("rb") as stream:
            yield from _read_stream(str(path), stream)
    except OSError as problem:
        yield Found(str(path), problem=_sentence(problem))


def _read_stream(source: str, stream: BinaryIO) -> Iterator[Found]:
    try:
        first = stream.readline(_LINE)
        if _POSTMARK.match(first):
            yield from _split_mbox(source, stream)
            return
        raw = first + stream.read(LETTER + 1 - len(first))
    except OSError as problem:
        yield Found(source, problem=_sentence(problem))
        return
    if not raw.strip():
        yield Found(source, problem="It is empty.")
    elif len(raw) > LETTER:
        yield Found(source, raw[:HEAD], truncated=True)
    else:
        yield Found(source, raw)


def _split_mbox(source: str, stream: BinaryIO) -> Iterator[Found]:
    """The letters after the first postmark, which has been read.

    A postmark counts after an empty line only; `>From ` loses one `>` (mboxrd, RFC 4155 C).
    """
    number = 1
    text = bytearray(b"\n")  # the end of the postmark's line: so each line comes after one
    head: bytes | None = None  # of a letter that is too big; the rest is not kept
    looked, more = 0, True
    while more:
        more = bool(some := cast("BufferedReader", stream).read1(_CHUNK))
        text += some
        while (at := text.find(b"\nFrom ", looked)) >= 0:
            end = text.find(b"\n", at + 1, at + _LINE)
            if end < 0 and len(text) < at + _LINE:
                if more:
                    break  # the rest of the line is still to come
                end = len(text)
            looked = at + 1
            empty_before = text.endswith((b"\n", b"\n\r"), 0, at)
            if end > at and empty_before and _POSTMARK.match(text, looked):
                yield _letter(f"{source}#{number}", text[1:looked], head)
                del text[:end]
                number, looked, head = number + 1, 0, None
        looked = max(looked, at if at >= 0 else len(text) - len(b"\nFrom"))
        if len(text) > LETTER:
            head = head or _head(text[1:])
            # what an empty line before a postmark is known by stays
            del text[: looked - 2]
            looked = 2
    yield _letter(f"{source}#{number}", text[1:], head)


def _letter(source: str, raw: bytearray, head: bytes | None) -> Found:
    """A letter of an mbox; of one that is too big, its `head` only."""
    if head is not None or len(raw) > LETTER:
        return Found(source, head or _head(raw), truncated=True)
    # the empty line before the next postmark belongs to the mbox
    for ending in (b"\r\n\r\n", b"\n\n"):
        if raw.endswith(ending):
            del raw[-len(ending) // 2 :]
            break
    if not raw.strip():
        return Found(source, problem="It is empty.")
    return Found(source, bytes(_unquoted(raw)))


def _head(raw: bytearray) -> bytes:
    return bytes(_unquoted(raw)[:HEAD])


def _unquoted(raw: bytearray) -> bytes | bytearray:
    return _QUOTED.sub(rb"\1", raw) if b">From " in raw else raw


def _sentence(problem: OSError) -> str:
    return f"It cannot be read: {problem.strerror or type(problem).__name__}."

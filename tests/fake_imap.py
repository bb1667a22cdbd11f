"""An IMAP server in a thread, well-behaved until a test tells it otherwise.

It keeps letters in folders and answers what `bounced` asks. `answers` replaces single commands
(`"UID FETCH"`, `"LOGIN"`, …): a function of the session, the tag and the arguments, that returns
the tagged answer, or None to let the ordinary answer follow. `HangUp` ends the connection.
"""

from __future__ import annotations

import base64
import re
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

CAPABILITY = "IMAP4rev1 NAMESPACE UIDPLUS MOVE AUTH=PLAIN"
INTERNALDATE = b'"06-Jan-2025 10:00:00 +0200"'
UIDVALIDITY = 1_736_157_600
FIRST_UID = 11  # so that a sequence number taken for a UID gives the wrong letter


class HangUp(Exception):  # noqa: N818
    """The server closes the connection without another word."""


@dataclass
class Kept:
    """A letter in a folder."""

    raw: bytes
    flags: set[bytes] = field(default_factory=set)


Answer = Callable[["Session", bytes], bytes | None]


class FakeServer:
    """The server; use it as a context manager. `commands` is all it was ever told."""

    def __init__(
        self,
        letters: Iterable[bytes] = (),
        *,
        answers: Mapping[str, Answer] | None = None,
        capability: str = CAPABILITY,
        greeting: bytes = b"* OK ready",
        delimiter: str = "/",
        prefix: str = "",
        permanent_flags: bytes = rb"(\Seen \Flagged \Deleted \*)",
    ) -> None:
        self.answers = dict(answers or {})
        self.capability = capability.encode()
        self.greeting = greeting
        self.delimiter, self.prefix = delimiter.encode(), prefix.encode()
        self.permanent_flags = permanent_flags
        self.uidvalidity = UIDVALIDITY
        self.hook: Callable[[Session, bytes], None] | None = None  # is told of every command first
        kept = {FIRST_UID + n: Kept(raw) for n, raw in enumerate(letters)}
        self.boxes: dict[str, dict[int, Kept]] = {"INBOX": kept}
        self.subscribed: set[str] = set()
        self.commands: list[bytes] = []
        self.over = threading.Event()
        self.turn = threading.RLock()  # a command is done whole before another touches the boxes
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.05)
        self._threads: list[threading.Thread] = []
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        self._threads.append(threading.Thread(target=self._accept, daemon=True))
        self._threads[0].start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.over.set()
        for thread in list(self._threads):
            thread.join(5)
        self._listener.close()

    def _accept(self) -> None:
        while not self.over.is_set():
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            thread = threading.Thread(target=Session(self, connection).run, daemon=True)
            self._threads.append(thread)
            thread.start()

    def renumber(self) -> None:
        """What a server does that has lost its index: other UIDs, and another UIDVALIDITY."""
        self.uidvalidity += 1
        for box in self.boxes.values():
            letters = list(box.values())
            box.clear()
            box.update(enumerate(letters, FIRST_UID + 100))

    def said(self, verb: str) -> list[bytes]:
        """The commands of one kind, with their arguments."""
        return [line for line in self.commands if line.upper().startswith(verb.encode())]

    def raws(self, folder: str) -> list[bytes]:
        return [kept.raw for kept in self.boxes.get(folder, {}).values()]


class Session:
    """One connection."""

    def __init__(self, server: FakeServer, connection: socket.socket) -> None:
        self.server = server
        self.connection = connection
        connection.settimeout(10)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""
        self.tag = b""
        self.folder = ""

    @property
    def box(self) -> dict[int, Kept]:
        return self.server.boxes[self.folder]

    def send(self, *lines: bytes) -> None:
        self.connection.sendall(b"".join(line + b"\r\n" for line in lines))

    def send_raw(self, data: bytes) -> None:
        self.connection.sendall(data)

    def silence(self) -> None:
        """Say nothing until the test is over."""
        self.server.over.wait(10)
        raise HangUp

    def run(self) -> None:
        try:
            with suppress(OSError, HangUp):
                self._talk()
        finally:
            with suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
            self.connection.close()

    def _talk(self) -> None:
        self.send(self.server.greeting)
        command = b""
        while command.upper() != b"LOGOUT" and not self.server.over.is_set():
            self.tag, _, command = self._read_command().partition(b" ")
            self.server.commands.append(command)
            if self.server.hook is not None:
                self.server.hook(self, command)
            self.send(self.tag + b" " + self._answer(command))

    def _read_line(self) -> bytes:
        while b"\r\n" not in self._buffer:
            data = self.connection.recv(65_536)
            if not data:
                raise HangUp
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line

    def _read_command(self) -> bytes:
        line = self._read_line()
        while literal := re.search(rb"\{(\d+)\+?\}$", line):
            self.send(b"+ go on")
            while len(self._buffer) < int(literal[1]):
                self._buffer += self.connection.recv(65_536)
            size = int(literal[1])
            line = line[: literal.start()] + b'"' + self._buffer[:size] + b'"'
            self._buffer = self._buffer[size:]
            line += self._read_line()
        return line

    def _answer(self, command: bytes) -> bytes:
        verb, _, rest = command.partition(b" ")
        name = verb.upper().decode()
        if name == "UID":
            verb, _, rest = rest.partition(b" ")
            name = f"UID {verb.upper().decode()}"
        replaced = self.server.answers.get(name)
        answer = replaced(self, rest) if replaced else None
        if answer is not None:
            return answer
        method = getattr(self, "do_" + name.lower().replace(" ", "_"), None)
        if method is None:
            return b"BAD what is " + verb
        with self.server.turn if name.startswith("UID") else nullcontext():
            return bytes(method(rest))

    # -- ordinary answers, one method for each command

    def do_capability(self, _: bytes) -> bytes:
        self.send(b"* CAPABILITY " + self.server.capability)
        return b"OK done"

    def do_noop(self, _: bytes) -> bytes:
        return b"OK done"

    def do_logout(self, _: bytes) -> bytes:
        self.send(b"* BYE")
        return b"OK done"

    do_login = do_id = do_starttls = do_noop

    def do_authenticate(self, _: bytes) -> bytes:
        self.send(b"+ ")
        self.server.commands.append(b"CREDENTIALS " + base64.b64decode(self._read_line()))
        return b"OK done"

    def do_namespace(self, _: bytes) -> bytes:
        self.send(
            b'* NAMESPACE (("%s" "%s")) NIL NIL' % (self.server.prefix, self.server.delimiter)
        )
        return b"OK done"

    def do_list(self, rest: bytes) -> bytes:
        _, wanted = _strings(rest)
        if not wanted:
            self.send(b'* LIST (\\Noselect) "%s" ""' % self.server.delimiter)
        elif wanted in self.server.boxes:
            self.send(b'* LIST () "%s" "%s"' % (self.server.delimiter, wanted.encode()))
        return b"OK done"

    def do_create(self, rest: bytes) -> bytes:
        self.server.boxes.setdefault(_strings(rest)[0], {})
        return b"OK done"

    def do_subscribe(self, rest: bytes) -> bytes:
        self.server.subscribed.add(_strings(rest)[0])
        return b"OK done"

    def do_status(self, rest: bytes) -> bytes:
        folder = _strings(rest)[0]
        self.send(
            b'* STATUS "%s" (MESSAGES %d)' % (folder.encode(), len(self.server.boxes[folder]))
        )
        return b"OK done"

    def do_select(self, rest: bytes) -> bytes:
        folder = _strings(rest)[0]
        if folder not in self.server.boxes:
            return b"NO [NONEXISTENT] no such folder"
        self.folder = folder
        self.send(
            b"* %d EXISTS" % len(self.box),
            b"* OK [UIDVALIDITY %d] valid" % self.server.uidvalidity,
            b"* OK [PERMANENTFLAGS %s] kept" % self.server.permanent_flags,
        )
        return b"OK [READ-WRITE] done"

    def do_uid_search(self, rest: bytes) -> bytes:
        found = sorted(self.box)
        words = rest.decode().split()
        while words:
            word = words.pop(0)
            if word == "UID":
                wanted = set(self.uids(words.pop(0)))
                found = [uid for uid in found if uid in wanted]
            elif word in ("KEYWORD", "UNKEYWORD"):
                flag = words.pop(0).encode()
                found = [
                    uid for uid in found if (flag in self.box[uid].flags) == (word == "KEYWORD")
                ]
            elif word in ("SEEN", "FLAGGED", "UNDELETED"):
                flag = b"\\" + word.removeprefix("UN").title().encode()
                found = [
                    uid for uid in found if (flag in self.box[uid].flags) != word.startswith("UN")
                ]
            elif found:
                found = [found[-1 if word == "*" else int(word) - 1]]
        self.send(b"* SEARCH " + b" ".join(b"%d" % uid for uid in found))
        return b"OK done"

    def do_uid_fetch(self, rest: bytes) -> bytes:
        wanted, _, items = rest.partition(b" ")
        for uid in self.uids(wanted.decode()):
            self.send_record(uid, items)
        return b"OK done"

    def send_record(self, uid: int, items: bytes, *, body: bytes | None = None) -> None:
        """One FETCH response as it should be; `body` replaces the letter's."""
        place = sorted(self.box).index(uid) + 1
        raw = self.box[uid].raw if body is None else body
        said = b"* %d FETCH (UID %d" % (place, uid)
        if b"RFC822.SIZE" in items:
            said += b" RFC822.SIZE %d" % len(raw)
        if b"INTERNALDATE" in items:
            said += b" INTERNALDATE " + INTERNALDATE
        if part := re.search(rb"BODY\.PEEK\[\](?:<0\.(\d+)>)?", items):
            raw = raw[: int(part[1])] if part[1] else raw
            name = b"BODY[]<0>" if part[1] else b"BODY[]"
            said += b" %s {%d}\r\n%s" % (name, len(raw), raw)
        self.send(said + b")")

    def do_uid_store(self, rest: bytes) -> bytes:
        wanted, _, marks = rest.decode().split(" ", 2)
        for uid in self.uids(wanted):
            self.box[uid].flags |= set(marks.strip("()").encode().split())
        return b"OK done"

    def do_uid_copy(self, rest: bytes) -> bytes:
        wanted, _, folder = rest.decode().partition(" ")
        target = self.server.boxes.get(folder.strip('"'))
        if target is None:
            return b"NO [TRYCREATE] no such folder"
        for uid in self.uids(wanted):
            target[len(target) + 1] = Kept(self.box[uid].raw)
        return b"OK done"

    def do_uid_expunge(self, rest: bytes) -> bytes:
        for uid in self.uids(rest.decode()):
            if b"\\Deleted" in self.box[uid].flags:
                self.remove(uid)
        return b"OK done"

    def do_uid_move(self, rest: bytes) -> bytes:
        answer = self.do_uid_copy(rest)
        if answer.startswith(b"OK"):
            for uid in self.uids(rest.decode().partition(" ")[0]):
                self.remove(uid)
        return answer

    def remove(self, uid: int) -> None:
        self.send(b"* %d EXPUNGE" % (sorted(self.box).index(uid) + 1))
        del self.box[uid]

    def uids(self, wanted: str) -> list[int]:
        """UIDs that are there; `n:*` names the last letter even below n (RFC 3501, 6.4.8)."""
        there = sorted(self.box)
        found: set[int] = set()
        for span in wanted.split(","):
            low, _, high = span.partition(":")
            last = there[-1] if there else 0
            ends = sorted((int(low), last if high == "*" else int(high or low)))
            found |= {uid for uid in there if ends[0] <= uid <= ends[1]}
        return sorted(found)


def _strings(rest: bytes) -> list[str]:
    return [word.decode() for word in re.findall(rb'"([^"]*)"', rest)]

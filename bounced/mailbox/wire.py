"""The stdlib's IMAP connection with an end to everything: time, bytes, lines, literals.

imaplib waits as long as a byte comes now and then, and takes every literal at its word. Here a
command has a deadline that cuts the socket from outside, and a reply has a budget.
"""

from __future__ import annotations

import imaplib
import math
import re
import select
import socket
import ssl
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bounced.mailbox import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHUNK: Final = 65_536
_LINE: Final = 1_000_000  # bytes; imaplib's own limit
# A signal that comes just before we begin to wait does not wake us; its handler runs once we are.
_AWAKE_EVERY: Final = 0.5


@dataclass(frozen=True, slots=True)
class Limits:
    """How long to wait (seconds) and how much to take (bytes, lines, letters).

    `connect` and `read` are between two signs of life, `command` is for a whole command however
    lively, `farewell` for LOGOUT, `idle` for one IDLE (RFC 2177 asks for less than 29 minutes).
    A letter over `letter` bytes is fetched only up to `head`.
    A folder of more than `listing` letters is listed by windows of that many UIDs.
    """

    connect: float = 15.0
    read: float = 60.0
    command: float = 300.0
    farewell: float = 5.0
    idle: float = 28 * 60.0
    letter: int = 25 * MIB
    head: int = 262_144
    literal: int = 32 * MIB  # servers that convert letters on the fly misjudge their size
    reply: int = 64 * MIB
    lines: int = 250_000
    batch: int = 500  # UIDs a command: many servers take lines of 8 kB
    batch_bytes: int = 8 * MIB
    piece: int = 1_000
    listing: int = 50_000


# Lines that come in thousands, as many of them as have come. Those of letters without a literal,
# and without a text that could seem to hold one.
_GONE: Final = re.compile(rb"(?:\* \d+ EXPUNGE\r\n){1,1000}")
_PLAIN_FETCHES: Final = re.compile(rb"(?:\* \d+ FETCH \([A-Z0-9. ]*\)\r\n){1,1000}")
_PLAIN_FETCH: Final = re.compile(rb"\* (\d+) FETCH (\(.*\))\r\n")
_LETTER_FETCH: Final = re.compile(rb"\* (\d+) FETCH (\([^\r\n]{,2000}\{\d+\})\r\n")
_LITERAL: Final = re.compile(rb"\{(\d+)\}\Z")


class ExcessError(Exception):
    """The server sent, or announced, more than the budget of the command."""


class Cutter:
    """Cuts a connection from outside, whatever the thread that reads it is waiting for.

    It holds a duplicate of the socket: that one outlives the wrapping in TLS and may be shut
    down while the TLS layer is at work. One thread watches over all that is done `within` a time:
    to start one for each command takes longer than most commands.
    """

    def __init__(self) -> None:
        self.fired = False
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()
        self._changed = threading.Condition()
        self._until = self._awake_at = math.inf
        self._closed = False
        self._watcher: threading.Thread | None = None

    def hold(self, connection: socket.socket) -> None:
        with self._lock:
            self._socket = connection.dup()
        if self.fired:
            self.cut()

    def cut(self) -> None:
        self.fired = True
        with self._lock, suppress(OSError):
            if self._socket is not None:
                self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with self._lock:
            if self._socket is not None:
                self._socket.close()
                self._socket = None
        with self._changed:
            self._closed = True
            self._changed.notify()

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Cut the connection when the block is not done in time."""
        before = self._until
        with self._changed:
            self._until = min(before, time.monotonic() + seconds)
            if self._watcher is None:
                self._watcher = threading.Thread(target=self._watch, name="cutter", daemon=True)
                self._watcher.start()
            elif self._until < self._awake_at:  # else it will see for itself, and sleeps on
                self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                self._until = before

    def _watch(self) -> None:
        with self._changed:
            while not self._closed:
                self._awake_at = self._until
                left = self._until - time.monotonic()
                if left <= 0:
                    self._until = math.inf
                    self.cut()
                else:
                    self._changed.wait(None if left == math.inf else left)


class Connection(imaplib.IMAP4):
    """imaplib's connection, over TLS when a context is given, reading within a budget."""

    def __init__(
        self,
        address: tuple[str, int],
        limits: Limits,
        cutter: Cutter,
        context: ssl.SSLContext | None,
    ) -> None:
        self._limits = limits
        self._cutter = cutter
        self._context = context
        self._held = bytearray()  # has come, and nobody has read it yet
        self.allow(MIB)
        super().__init__(*address, timeout=limits.connect)

    def _create_socket(self, timeout: float | None = None) -> socket.socket:
        connection = socket.create_connection((self.host, self.port), timeout)
        try:
            # literals go out in two writes; without this each waits for a delayed ACK
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._cutter.hold(connection)
            if self._context is None:
                return connection
            return self._context.wrap_socket(connection, server_hostname=self.host)
        except BaseException:
            connection.close()
            raise

    # mypy knows it as an attribute; imaplib sets it when it connects and when TLS begins
    @property
    def sock(self) -> socket.socket:
        return self._sock

    @sock.setter
    def sock(self, sock: socket.socket) -> None:
        # what was said before STARTTLS is not listened to after it (RFC 3501, 6.2.1)
        self._sock, self._held = sock, bytearray()

    def allow(self, size: int) -> None:
        """The budget of the next command's reply, in bytes; lines are counted too."""
        self._bytes_left = size
        self._lines_left = self._limits.lines

    def read(self, size: int) -> bytes:
        """One literal, less where the line ends. Raises ExcessError for one announced too big."""
        if size > self._limits.literal:
            raise ExcessError(f"a literal of {size} bytes")
        self._spend(size)
        while len(self._held) < size and self._wait():
            pass
        return self._take(size)

    def readline(self) -> bytes:
        """One line with its end, or what there is where the line ends."""
        looked = 0
        while not (end := self._held.find(b"\n", looked) + 1):
            looked = len(self._held)
            if looked > _LINE or not self._wait():
                break
        line = self._take(end or len(self._held))
        if len(line) > _LINE:
            raise self.error(f"got more than {_LINE} bytes")
        self._count(line, 1)
        return line

    def _count(self, text: bytes, lines: int) -> None:
        self._lines_left -= lines
        if self._lines_left < 0:
            raise ExcessError(f"more than {self._limits.lines} lines in one reply")
        self._spend(len(text))

    def _take(self, size: int) -> bytes:
        taken = bytes(memoryview(self._held)[:size])
        del self._held[:size]
        return taken

    def _wait(self) -> bool:
        """Wait until more has come, and hold it; False once the other side has hung up."""
        patience = self._sock.gettimeout()
        end = math.inf if patience is None else time.monotonic() + patience
        while (come := self._receive()) is None:
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError("timed out")
            self._listen(min(left, _AWAKE_EVERY))
        return come

    def _receive(self) -> bool | None:
        """Hold what has come by now; None where nothing has, False where nothing will."""
        patience = self._sock.gettimeout()
        self._sock.settimeout(0)
        try:
            come = self._sock.recv(_CHUNK)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None
        finally:
            self._sock.settimeout(patience)
        self._held += come
        return bool(come)

    def take_in(self, most: int) -> None:
        """Hold what has come by now, up to about `most` bytes; trouble is left to whoever reads."""
        patience = self._sock.gettimeout()
        with suppress(OSError):  # that nothing more has come is one as well
            self._sock.settimeout(0)
            while len(self._held) < most and (come := self._sock.recv(_CHUNK)):
                self._held += come
        with suppress(OSError):
            self._sock.settimeout(patience)

    def has_answered(self, tag: bytes, most: int) -> bool:
        """Whether the answer to a command has come whole, or so much of it; nobody waits."""
        self.take_in(most)
        last = self._held.rfind(b"\n", -_CHUNK, -1) + 1
        return len(self._held) >= most or (
            self._held.endswith(b"\n") and self._held.startswith(tag + b" ", last)
        )

    def speaks(self, seconds: float) -> bool:
        """Whether there is something to read before the time is over, or nothing ever again.

        TLS may hold a server's line back behind the one that was read: the socket would not tell.
        """
        self.take_in(1)
        return bool(self._held) or self._listen(seconds)

    def _listen(self, seconds: float) -> bool:
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        return bool(poll.poll(seconds * 1000))

    def _get_response(self) -> bytes | None:
        """One response, as imaplib has it, with a short way for those that come in thousands.

        A MOVE tells of every letter that it has gone, by a number that nothing here goes by; sizes
        come in lines that hold all there is to know, and letters after lines that say how long
        they are. The rest of the lines imaplib looks at.
        """
        if not self._held:
            self._wait()
        if gone := _GONE.match(self._held):
            return self._take_lines(gone.end())
        if plain := _PLAIN_FETCHES.match(self._held):
            lines = self._take_lines(plain.end())
            told = self.untagged_responses.setdefault("FETCH", [])
            told += [b"%b %b" % one for one in _PLAIN_FETCH.findall(lines)]
            return lines
        if letter := _LETTER_FETCH.match(self._held):
            said = b"%b %b" % letter.groups()
            line = self._take_lines(letter.end())
            while literal := _LITERAL.search(said):
                self._append_untagged("FETCH", (said, self.read(int(literal[1]))))
                said = self._get_line()
            self._append_untagged("FETCH", said)
            return line
        response: bytes | None = super()._get_response()  # type: ignore[misc] # not in the stubs
        return response

    def _take_lines(self, size: int) -> bytes:
        lines = self._take(size)
        self._count(lines, lines.count(b"\n"))
        return lines

    def _get_line(self) -> bytes:
        """One line without its end; imaplib would keep a copy of each, letters' lines too."""
        line = self.readline()
        if not line.endswith(b"\r\n"):
            raise self.abort(f"socket error: {'unterminated line' if line else 'EOF'}")
        return line[:-2]

    def _spend(self, size: int) -> None:
        self._bytes_left -= size
        if self._bytes_left < 0:
            raise ExcessError("a longer reply than the command can have")

    def forget(self) -> None:
        """Drop what earlier commands left behind; news that ends the session stays."""
        kept = ("BYE", "READ-ONLY")
        heard = self.untagged_responses
        self.untagged_responses = {name: heard[name] for name in kept if name in heard}

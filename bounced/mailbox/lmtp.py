"""Letters that an MTA on this machine hands over by LMTP (RFC 2033), each answered for itself.

aiosmtpd speaks the protocol and this is its only door; what it does not do for LMTP is done here:
one reply for each recipient, letters with lines of any length, and no refusal for good of what
may be taken tomorrow. A letter is answered with 250 only after it has been recorded; with 451,
and so comes again, after any trouble whatever.
"""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import re
import socket
import stat
import threading
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from aiosmtpd.lmtp import LMTP

from bounced.mailbox import MIB, MailboxSettings
from bounced.mailbox.folder import HEAD, LETTER
from bounced.text import safe

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    # Records letters (bytes, and whether these are only the beginning); raises when it could not.
    Record = Callable[[Sequence["tuple[bytes, bool]"]], object]

log = logging.getLogger(__name__)

RECORDED: Final = "250 2.1.5 recorded"
AGAIN: Final = "451 4.3.0 not recorded, please try again"
TOO_BIG: Final = "552 5.3.4 the letter is too big"
_PATH: Final = re.compile(r'\s*<((?:"(?:\\.|[^"\\])*"|[^<>"])*)>\s*(.*)', re.DOTALL)
_TOGETHER: Final = 200  # letters recorded in one pass, as far as so many wait
_TOGETHER_BYTES: Final = 16 * MIB


@dataclass(frozen=True, slots=True)
class Limits:
    """What one listener takes: bytes a letter, recipients a letter, connections at once.

    A command, the letter and its recording included, may take `patience` seconds; a connection
    may live for `session` seconds. When it has to stop, what is being recorded gets `farewell`
    seconds. Of a letter over 25 MiB the first 256 KiB are kept.
    """

    size: int = 100 * MIB
    recipients: int = 50
    connections: int = 20
    patience: float = 300.0
    session: float = 3600.0
    farewell: float = 4.0


class Listener:
    """Takes letters at a unix socket (a path) or at (host, port), and gives them to `record`.

    `record` is called in one thread, with all letters that wait; they are answered when it
    returns. Whoever can connect is believed, so the socket is for the machine alone: `mode` are
    the rights of a unix socket.
    """

    def __init__(
        self,
        place: Path | tuple[str, int],
        record: Record,
        *,
        mode: int = 0o660,
        limits: Limits = Limits(),
    ) -> None:
        self.limits = limits
        self._place = place
        self._mode = mode
        self._recorder = _Recorder(record)
        self._sessions: set[_Session] = set()
        self._stopping = False
        self._server: asyncio.AbstractServer | None = None
        # its lines hold addresses; what matters of them is logged here
        for name in ("mail.log", "mail.debug"):
            logging.getLogger(name).setLevel(logging.CRITICAL)

    def start(self) -> None:
        """Listen. Raises MailboxSettings where that place cannot be had."""
        listening = self._bound()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="lmtp", daemon=True)
        self._thread.start()
        self._recorder.start()
        self._server = asyncio.run_coroutine_threadsafe(self._serve(listening), self._loop).result()

    def stop(self) -> None:
        """Take no more, answer what is being recorded, hang up; in little more than `farewell`."""
        if self._server is None:
            return
        asyncio.run_coroutine_threadsafe(self._farewell(self._server), self._loop).result()
        self._recorder.stop(self.limits.farewell)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        if isinstance(self._place, Path):
            self._place.unlink(missing_ok=True)

    def _bound(self) -> socket.socket:
        try:
            if isinstance(self._place, tuple):
                return socket.create_server(self._place, family=_family(self._place[0]))
            return _unix_socket(self._place, self._mode)
        except OSError as problem:
            where = self._place if isinstance(self._place, Path) else "{}:{}".format(*self._place)
            raise MailboxSettings(
                f"LMTP cannot be listened for at {safe(str(where))} ({problem.strerror}).",
                "Choose another place, or end what listens there.",
            ) from None

    async def _serve(self, listening: socket.socket) -> asyncio.AbstractServer:
        if isinstance(self._place, Path):
            return await self._loop.create_unix_server(self._protocol, sock=listening)
        return await self._loop.create_server(self._protocol, sock=listening)

    def _protocol(self) -> asyncio.BaseProtocol:
        if self._stopping or len(self._sessions) >= self.limits.connections:
            return _Refusal()
        return _Session(self._sessions, self._recorder, self.limits)

    async def _farewell(self, server: asyncio.AbstractServer) -> None:
        self._stopping = True
        server.close()
        end = self._loop.time() + self.limits.farewell
        while self._sessions:
            for session in [*self._sessions]:
                session.leave(at_once=self._loop.time() >= end)
            await asyncio.sleep(0.02)


class _Refusal(asyncio.Protocol):
    """For whom there is no room."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101
        transport.write(b"421 4.3.2 too many connections, please try again\r\n")
        transport.close()


class _Recorder:
    """The one thread that records; what waits for it is recorded together."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._waiting: queue.SimpleQueue[tuple[bytes, bool, Future[bool]] | None]
        self._waiting = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="recorder", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, patience: float) -> None:
        self._waiting.put(None)
        if self._thread.ident is not None:
            self._thread.join(patience)

    def take(self, raw: bytes, *, truncated: bool) -> Future[bool]:
        """Whether the letter has been recorded, as soon as that is known."""
        told: Future[bool] = Future()
        self._waiting.put((raw, truncated, told))
        return told

    def _work(self) -> None:
        over = False
        while not over:
            letters: list[tuple[bytes, bool, Future[bool]]] = []
            size = 0
            one = self._waiting.get()
            while one is not None:
                if one[2].set_running_or_notify_cancel():  # else the client has hung up meanwhile
                    letters.append(one)
                    size += len(one[0])
                if len(letters) >= _TOGETHER or size >= _TOGETHER_BYTES:
                    break
                try:
                    one = self._waiting.get_nowait()
                except queue.Empty:
                    break
            over = one is None
            if letters:
                self._record_all(letters)

    def _record_all(self, letters: Sequence[tuple[bytes, bool, Future[bool]]]) -> None:
        done = False
        try:
            self._record([(raw, truncated) for raw, truncated, _ in letters])
            done = True
        except Exception as problem:  # noqa: BLE001 - told by `record`; the letters come again
            log.debug("not recorded problem=%s", type(problem).__name__)
        for _, _, told in letters:
            told.set_result(done)


class _Hooks:
    """What aiosmtpd asks while an envelope is being made."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's hook
        self, _server: Any, _session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        if len(envelope.rcpt_tos) >= self._limits.recipients:
            return "452 4.5.3 too many recipients"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 OK"

    async def handle_exception(self, error: Exception) -> str:
        """A mistake of ours or aiosmtpd's must not refuse a letter for good."""
        log.error("conversation failed problem=%s", type(error).__name__)
        return "451 4.3.0 please try again"


class _Session(LMTP):
    """One connection."""

    line_length_limit = MIB  # how much is read ahead; letters may have longer lines

    def __init__(self, open_ones: set[_Session], recorder: _Recorder, limits: Limits) -> None:
        super().__init__(
            _Hooks(limits),
            data_size_limit=limits.size,
            enable_SMTPUTF8=True,
            hostname=socket.gethostname(),
            ident="LMTP",
            timeout=limits.patience,
            loop=asyncio.get_running_loop(),
        )
        self._open_ones = open_ones
        self._recorder = recorder
        self._limits = limits
        self._busy = False
        self._end: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101
        self._open_ones.add(self)
        self._end = asyncio.get_running_loop().call_later(self._limits.session, transport.abort)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._open_ones.discard(self)
        if self._end is not None:
            self._end.cancel()
        super().connection_lost(error)

    def leave(self, *, at_once: bool) -> None:
        """Hang up, unless a letter is being recorded and there is time to say so."""
        transport = self.transport
        if transport is None or (self._busy and not at_once):
            return
        assert isinstance(transport, asyncio.Transport)  # noqa: S101
        if at_once:
            transport.abort()  # to close it would wait for a client that hears nothing
        elif not transport.is_closing():
            transport.write(b"421 4.3.2 closing, please try again\r\n")
            transport.close()

    def _getaddr(self, arg: str) -> tuple[str | None, str | None]:
        """Path and parameters, whatever is between the brackets: senders' own tokens may be odd."""
        found = _PATH.match(arg)
        return (found[1] or "<>", found[2]) if found else (None, None)

    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802 - aiosmtpd's name
        """Take a letter, and answer once for each recipient it was accepted for (RFC 2033, 4.2)."""
        if await self.check_helo_needed("LHLO"):
            return
        envelope = self.envelope
        if envelope is None or not envelope.rcpt_tos:
            await self.push("503 5.5.1 need RCPT first")
            return
        if arg:
            await self.push("501 5.5.4 DATA takes no argument")
            return
        await self.push("354 end with <CR><LF>.<CR><LF>")
        letter = await self._letter()
        self._busy = True
        try:
            replies = await self._recorded(letter, envelope.mail_from, envelope.rcpt_tos)
            self._set_post_data_state()  # type: ignore[no-untyped-call]
            await self.push("\r\n".join(replies))
        finally:
            self._busy = False

    async def _letter(self) -> tuple[bytes, bool] | None:
        """The letter, and whether this is only its head; None when it is too big for any."""
        kept = bytearray()
        size = 0
        begins = True  # a line
        while True:
            try:
                line = await self._reader.readuntil(b"\r\n")
                whole = True
            except asyncio.LimitOverrunError as long:
                line = await self._reader.readexactly(long.consumed)
                whole = False
            if begins and line.startswith(b"."):
                if line == b".\r\n":
                    break
                line = line[1:]  # RFC 5321, 4.5.2
            begins = whole
            size += len(line)
            if size <= LETTER:
                kept += line
            elif len(kept) > HEAD:
                del kept[HEAD:]
        if size > self._limits.size:
            return None
        return bytes(kept[: HEAD if size > LETTER else None]), size > LETTER

    async def _recorded(
        self, letter: tuple[bytes, bool] | None, sender: str | None, recipients: Sequence[str]
    ) -> list[str]:
        if letter is None:
            return [TOO_BIG] * len(recipients)
        raw, truncated = letter
        told = [
            asyncio.wrap_future(
                self._recorder.take(_envelope(sender, one) + raw, truncated=truncated)
            )
            for one in recipients
        ]
        return [RECORDED if await one else AGAIN for one in told]


def _envelope(sender: str | None, recipient: str) -> bytes:
    """The envelope as fields before the letter (RFC 5321, 4.4): a token may stand in it.

    No time and no number of ours is among them: handed over again, it is the same letter.
    """
    null = "<>"  # as the session calls an empty path
    lines = f"Return-Path: <{'' if sender in (None, null) else sender}>\r\n"
    lines += "" if recipient == null else f"Delivered-To: {recipient}\r\n"
    return lines.encode("utf-8", "surrogateescape")


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _unix_socket(path: Path, mode: int) -> socket.socket:
    """A listening socket at a path, with these rights from its first moment. Raises OSError."""
    with suppress(FileNotFoundError):
        if stat.S_ISSOCK(path.stat().st_mode) and not _answers(path):
            path.unlink()  # of a process that was killed
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o777 & ~mode)
    try:
        listening.bind(str(path))
        listening.listen()
    except BaseException:
        listening.close()
        raise
    finally:
        os.umask(before)
    return listening


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
        caller.settimeout(5)
        try:
            caller.connect(str(path))
        except ConnectionRefusedError:
            return False
        except OSError:
            return True
    return True

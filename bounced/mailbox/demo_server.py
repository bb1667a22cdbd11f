"""A mail server for `bounced demo`: pymap, in a thread of this process, with one empty mailbox.

It needs nothing but Python and the extra `demo`, listens on loopback only, keeps everything in
memory and is gone when the block ends. The only importer of pymap.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import threading
from argparse import ArgumentParser
from contextlib import AsyncExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from bounced.mailbox import MailboxSettings, MailboxTemporary
from bounced.mailbox.wire import Connection, Cutter, Limits

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

_STARTS_WITHIN: Final = 20.0
_STOPS_WITHIN: Final = 5.0


class DemoServer(NamedTuple):
    """Where the server listens and the one account it has, made up anew each time."""

    host: str
    port: int
    user: str
    password: str


@contextmanager
def demo_server() -> Iterator[DemoServer]:
    """A running server with an empty INBOX, ended with the block.

    Raises MailboxSettings when pymap is not installed and MailboxTemporary when it does not start.
    """
    with socket.create_server(("127.0.0.1", 0)) as lent:
        port = lent.getsockname()[1]
    server = DemoServer("127.0.0.1", port, "demo", secrets.token_hex(8))
    running = _Running(server)
    running.start()
    try:
        yield server
    finally:
        running.stop()


class _Running(threading.Thread):
    """The thread with the server's event loop."""

    def __init__(self, server: DemoServer) -> None:
        super().__init__(name="demo-server", daemon=True)
        self._server = server
        self._prepared = _pymap(server)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over: asyncio.Event | None = None
        self._settled = threading.Event()
        self._failure: BaseException | None = None

    def start(self) -> None:
        super().start()
        self._settled.wait(_STARTS_WITHIN)
        if self._failure is not None or self._over is None:
            reason = type(self._failure).__name__ if self._failure else "no sign of life"
            raise MailboxTemporary(f"The demonstration's mail server did not start ({reason}).")

    def stop(self) -> None:
        if self._loop is not None and self._over is not None:
            with suppress(RuntimeError):  # the loop has ended by itself
                self._loop.call_soon_threadsafe(self._over.set)
        self.join(_STOPS_WITHIN)

    def run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as problem:  # noqa: BLE001 - told by start()
            self._failure = problem
        finally:
            self._settled.set()

    async def _serve(self) -> None:
        # on Python 3.13 nothing else holds a conversation that waits for its client, so that the
        # garbage collector ends it
        asyncio.get_running_loop().set_task_factory(_Held())
        backend_type, service_type, arguments = self._prepared
        backend, config = await backend_type.init(arguments)
        config.apply_context()
        async with AsyncExitStack() as stack:
            await backend.start(stack)
            await service_type(backend, config).start(stack)
            over = asyncio.Event()
            self._loop, self._over = asyncio.get_running_loop(), over
            self._settled.set()
            await over.wait()
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()  # a client that is still there must not keep us


class _Held:
    """Makes tasks that are held until they are done."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def __call__(
        self, loop: asyncio.AbstractEventLoop, work: Any, **more: Any
    ) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, **more)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _pymap(server: DemoServer) -> tuple[Any, Any, Any]:
    """The in-memory backend, its IMAP service, and the arguments its command would get."""
    try:
        from pymap.backend.dict import DictBackend  # noqa: PLC0415 - an extra, and slow to import
        from pymap.imap import IMAPService  # noqa: PLC0415
    except ImportError:
        raise MailboxSettings(
            "The demonstration brings its own mail server, pymap, which is not installed.",
            "Type: pip install 'bounced-mail[demo]'",
        ) from None
    parser = ArgumentParser()
    parser.set_defaults(debug=False, passlib_cfg=None)
    DictBackend.add_subparser("dict", parser.add_subparsers())
    IMAPService.add_arguments(parser)
    where = ("--host", server.host, "--port", str(server.port), "--no-tls")
    who = ("--demo-user", server.user, "--demo-password", server.password)
    return DictBackend, IMAPService, parser.parse_args([*where, "dict", *who])


def fill(
    server: DemoServer, letters: Iterable[bytes], *, received_at: datetime | None = None
) -> int:
    """Put letters into the INBOX; how many. `received_at` (aware) is when they came, else now."""
    cutter = Cutter()
    count = 0
    client = Connection((server.host, server.port), Limits(), cutter, None)
    try:
        client.login(server.user, server.password)
        for letter in letters:
            client.allow(1_000_000)
            # imaplib's first type is a flag list, its annotation says None is one too
            client.append("INBOX", None, received_at, letter)
            count += 1
        client.logout()
    finally:
        cutter.close()
        with suppress(OSError):
            client.shutdown()
    return count


def demo_letters() -> list[Path]:
    """The letters of the demonstration: the project's own fixtures, in a checkout or a wheel.

    Raises MailboxSettings when neither is there.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "_demo", package.parent / "fixtures" / "eml"):
        letters = sorted(folder.rglob("*.eml"))
        if letters:
            return letters
    raise MailboxSettings(
        "The letters of the demonstration are not there.", "Install the package anew."
    )

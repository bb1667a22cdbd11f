"""Where OAuth2 tokens are kept between sessions: a private file, or the system's keyring.

What is kept is a small JSON table. Whoever may refresh holds the lock meanwhile, because many
providers take a refresh token once only: two processes must not spend the same one.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from contextlib import contextmanager
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, Protocol

from bounced.mailbox import MailboxSettings
from bounced.mailbox.quarantine import write_whole

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SERVICE: Final = "bounced"


class TokenStore(Protocol):
    """Keeps one mailbox's tokens. `repr` shows none of them."""

    def locked(self) -> Any:
        """A context in which nobody else reads or writes."""

    def load(self) -> dict[str, Any]:
        """What was saved last; empty where there is nothing, or nothing that can be read."""

    def save(self, table: dict[str, Any]) -> None:
        """Keep this instead."""


class FileStore:
    """One file a mailbox, 0600 in a folder of 0700, replaced whole. Methods may raise OSError."""

    def __init__(self, folder: Path, mailbox: str) -> None:
        readable = re.sub(r"[^\w.-]", "_", mailbox, flags=re.ASCII)[:60]
        # two names may look alike once they are readable
        self.path = folder / f"{readable}-{sha256(mailbox.encode()).hexdigest()[:8]}.json"

    def __repr__(self) -> str:
        return f"<FileStore {self.path}>"

    @contextmanager
    def locked(self) -> Iterator[None]:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def load(self) -> dict[str, Any]:
        try:
            return _table(self.path.read_text("utf-8"))
        except (FileNotFoundError, UnicodeDecodeError):
            return {}

    def save(self, table: dict[str, Any]) -> None:
        write_whole(self.path, json.dumps(table).encode())


class KeyringStore:
    """An entry in the keyring of whoever runs the program; needs the extra `keyring`.

    Raises MailboxSettings when there is no keyring to be had.
    """

    def __init__(self, folder: Path, mailbox: str) -> None:
        self._mailbox = mailbox
        self._lock = FileStore(folder, mailbox)

    def __repr__(self) -> str:
        return f"<KeyringStore {self._mailbox!r}>"

    def locked(self) -> Any:
        return self._lock.locked()

    def load(self) -> dict[str, Any]:
        return _table(self._ask("get_password", _SERVICE, self._mailbox) or "{}")

    def save(self, table: dict[str, Any]) -> None:
        self._ask("set_password", _SERVICE, self._mailbox, json.dumps(table))

    def _ask(self, what: str, *words: str) -> Any:
        try:
            import keyring  # noqa: PLC0415 - an extra, and slow to import
        except ImportError:
            raise MailboxSettings(
                'store = "keyring" needs a library that is not installed.',
                "Type: pip install 'bounced-mail[keyring]', or write store = \"file\".",
            ) from None
        try:
            return getattr(keyring, what)(*words)
        except keyring.errors.KeyringError as problem:
            # without its text: a back end may quote what it was given
            raise MailboxSettings(
                f"The system's keyring did not work ({type(problem).__name__}).",
                'Unlock it, or write store = "file".',
            ) from None


def _table(text: str) -> dict[str, Any]:
    try:
        table = json.loads(text)
    except ValueError:
        return {}
    return table if isinstance(table, dict) else {}

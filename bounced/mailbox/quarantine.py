"""Raw copies of letters that could not be read: the evidence, and what `bounced retry` reads again.

One file a letter, `<sha256>.eml`, its owner's alone (0600 in a folder of 0700). A copy is on the
disk before the ledger says that the letter is in quarantine.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class Quarantine:
    """A folder of raw copies. Every method may raise OSError."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, sha256: str) -> Path:
        """Where the copy of a letter is, or would be; `sha256` is the hex digest of its bytes."""
        return self.folder / f"{sha256}.eml"

    def keep(self, raw: bytes) -> Path:
        """Keep a letter; it is on the disk when this returns. Keeping it again changes nothing."""
        self.keep_all([raw])
        return self.path(hashlib.sha256(raw).hexdigest())

    def keep_all(self, raws: Sequence[bytes]) -> None:
        """The same for several, whose folder is written to the disk once."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for raw in raws:
            path = self.path(hashlib.sha256(raw).hexdigest())
            if not path.exists():
                _put(path, raw)
        # also where all are there: whoever put them may not have come this far
        to_disk(self.folder)

    def raw(self, sha256: str) -> bytes | None:
        """The copy of a letter; None where there is none, or where it is not what its name says."""
        try:
            raw = self.path(sha256).read_bytes()
        except FileNotFoundError:
            return None
        return raw if hashlib.sha256(raw).hexdigest() == sha256 else None

    def forget(self, sha256: str) -> None:
        """Remove a copy, once what it says is recorded. The letter itself is in the mailbox."""
        self.path(sha256).unlink(missing_ok=True)


def write_whole(path: Path, content: bytes) -> None:
    """Write a private file (0600) whole or not at all, and to the disk. Raises OSError.

    Whoever reads `path` at any moment, or after a power cut, finds the old content or the new.
    """
    _put(path, content)
    to_disk(path.parent)


def _put(path: Path, content: bytes) -> None:
    """The same, but for the folder, which does not say so after a power cut yet."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)  # noqa: PTH105 - the name is mkstemp's
    except BaseException:
        with suppress(OSError):
            os.unlink(name)  # noqa: PTH108
        raise


def to_disk(folder: Path) -> None:
    """Have the disk know which files a folder holds. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

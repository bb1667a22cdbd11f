"""Raw copies of letters that could not be read: the evidence, and what `bounced retry` reads again.

One file a letter, `<sha256>.eml`, its owner's alone (0600 in a folder of 0700). A copy is on the
disk before the ledger says that the letter is in quarantine.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from contextlib import ExitStack, suppress
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

# Files that are open at once; systems allow 256 at least.
TOGETHER: Final = 64


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

    def keep_all(self, raws: Iterable[bytes]) -> None:
        """The same for several, sooner: the disk is asked to write many at once."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        named = ((self.path(hashlib.sha256(raw).hexdigest()), raw) for raw in raws)
        absent = (one for one in named if not one[0].exists())
        while some := dict(islice(absent, TOGETHER)):
            _put(some)
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
    _put({path: content})
    to_disk(path.parent)


def _put(contents: Mapping[Path, bytes]) -> None:
    """The same for several, but for their folder, which does not say so after a power cut yet."""
    drafts: list[tuple[BinaryIO, str, Path]] = []
    with ExitStack() as files:
        try:
            for path, content in contents.items():
                descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
                file = files.enter_context(os.fdopen(descriptor, "wb"))
                drafts.append((file, name, path))
                file.write(content)
                file.flush()
            # only now, since the disk takes many at once sooner than one after the other
            for draft, name, path in drafts:
                os.fsync(draft.fileno())
                os.replace(name, path)  # noqa: PTH105 - the name is mkstemp's
        except BaseException:
            for _, name, _ in drafts:
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

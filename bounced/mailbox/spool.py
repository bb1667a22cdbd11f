"""A maildir, or a folder of letters as files, emptied with the promises of an IMAP folder.

A file's number is a hash of its name, size and time, so that it is the same in every run, and
another as soon as the file is another: a name that is used again is a new letter. What is done
with goes, by hard link and unlink, into piles beside the folder; no name is ever overwritten.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import re
import time
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bounced.mailbox import Census, MailboxError, MailboxSettings, MailboxTemporary
from bounced.mailbox.folder import HEAD, LETTER, is_maildir
from bounced.mailbox.quarantine import to_disk
from bounced.model import Destination, Letter
from bounced.text import safe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

log = logging.getLogger(__name__)

# Whoever writes into a plain folder may still be at it; a maildir's writers rename when done.
SETTLED: Final = 2.0
PIECE: Final = 1000
_NAMES: Final = re.compile(r".*\.(eml|msg)|[0-9]+", re.IGNORECASE)
# These folders have no numbering that could be reset.
EPOCH: Final = 1


class SpoolMailbox:
    """One folder of letters, as `bounced.sync.Mailbox` wants it. Raises MailboxError's kin.

    `piles` are folders, made when absent; they have to be on the same file system. Of a plain
    folder, files named like letters are read (`.eml`, `.msg`, MH's numbers), not folders in it;
    of one of our own piles (`is_pile`) every file. With `look_only` no pile is made.
    """

    def __init__(
        self,
        name: str,
        path: Path,
        piles: dict[Destination, Path],
        *,
        is_pile: bool = False,
        look_only: bool = False,
    ) -> None:
        self.name = name
        self._look_only = look_only
        self._is_pile = is_pile
        self._path = path
        self._piles = piles
        self._found: dict[int, Path] = {}

    def __repr__(self) -> str:
        return f"<SpoolMailbox {self.name!r} at {self._path}>"

    def open(self) -> int:
        """See that folder and piles can be used. Raises MailboxSettings and MailboxTemporary."""
        with self._sorted(self._path):
            if not self._path.is_dir():
                raise MailboxSettings(
                    f"{safe(str(self._path))} is no folder.",
                    'Name a maildir or a folder of .eml files: path = "…". For an mbox file or '
                    "single letters, type: bounced ingest PATH",
                )
            for folder in self._folders():
                os.listdir(folder)  # noqa: PTH208 - only to see that we may
        for pile in () if self._look_only else self._piles.values():
            with self._sorted(pile):
                pile.mkdir(mode=0o700, parents=True, exist_ok=True)
        return EPOCH

    def close(self) -> None:
        """Nothing is held."""
        self._found = {}

    def interrupt(self) -> None:
        """Files keep nobody waiting."""

    def watch(self, news: Callable[[], object], stop: Callable[[], bool]) -> bool:  # noqa: ARG002
        """Folders tell nobody of news: they are looked at in turns."""
        return False

    def waiting(self) -> Iterator[list[int]]:
        """Numbers of the letters there are now, oldest first, in pieces."""
        with self._sorted(self._path):
            letters = sorted((time_, path.name, uid, path) for uid, time_, path in self._letters())
        self._found = {uid: path for _, _, uid, path in letters}
        uids = list(dict.fromkeys(uid for _, _, uid, _ in letters))
        for start in range(0, len(uids), PIECE):
            yield uids[start : start + PIECE]

    def census(self) -> Census:
        """How many letters wait and how many lie on each pile."""
        with self._sorted(self._path):
            waiting = sum(1 for _ in self._letters())
            piles = {pile: sum(1 for _ in at.iterdir()) for pile, at in self._piles.items()}
            return Census(waiting, sum(piles.values()), piles)

    def fetch(self, uids: Sequence[int]) -> Iterator[Letter]:
        """The letters that are still there; of others nothing is concluded."""
        for uid in uids:
            path = self._found.get(uid)
            if path is None:
                continue
            try:
                with path.open("rb") as file:
                    number, received = _identity(path, os.fstat(file.fileno()))
                    raw = file.read(LETTER + 1)
            except FileNotFoundError:
                continue
            except OSError as problem:
                why = problem.strerror
                log.warning("letter not read mailbox=%s uid=%d why=%s", self.name, uid, why)
                continue
            if number != uid or not raw.strip():
                continue  # somebody is writing it
            cut = len(raw) > LETTER
            at = datetime.fromtimestamp(received, UTC)
            yield Letter(uid, raw[:HEAD] if cut else raw, at, truncated=cut)

    def file(self, uids: Sequence[int], destination: Destination) -> set[int]:
        """Put letters on their pile; those that have left the folder, by whomever."""
        with self._sorted(self._path):
            there = self._places(uids)
        pile = self._piles[destination]
        gone = set(uids) - there.keys()
        for uid, path in there.items():
            try:
                _move(path, pile, uid)
            except OSError as problem:
                if problem.errno == errno.EXDEV:
                    raise MailboxSettings(
                        f"{safe(str(pile))} is on another file system than the letters.",
                        'Name piles beside the folder: processed = "…".',
                    ) from None
                why = problem.strerror
                log.warning("filing refused mailbox=%s uid=%d why=%s", self.name, uid, why)
            else:
                gone.add(uid)
        with self._sorted(pile):
            to_disk(pile)
        return gone

    def _places(self, uids: Sequence[int]) -> dict[int, Path]:
        """Where letters are that are still there.

        A mail program may rename a letter at any time (new/ to cur/, flags), so one that is not
        where it was is looked for before it counts as gone.
        """

        def there(uid: int) -> bool:
            with suppress(FileNotFoundError, KeyError):
                path = self._found[uid]
                return _identity(path, path.stat())[0] == uid
            return False

        if not all(there(uid) for uid in uids):
            self._found.update({uid: path for uid, _, path in self._letters()})
        return {uid: self._found[uid] for uid in uids if there(uid)}

    def _folders(self) -> tuple[Path, ...]:
        if is_maildir(self._path):
            return self._path / "new", self._path / "cur"
        return (self._path,)

    def _letters(self) -> Iterator[tuple[int, float, Path]]:
        """Number, time and place of each letter."""
        certain = self._is_pile or is_maildir(self._path)
        now = time.time()
        for folder in self._folders():
            with os.scandir(folder) as entries:
                for entry in entries:
                    named = certain or _NAMES.fullmatch(entry.name)
                    if entry.name.startswith(".") or not named:
                        continue
                    with suppress(FileNotFoundError):
                        if not entry.is_file(follow_symlinks=False):
                            continue
                        path = Path(entry.path)
                        uid, received = _identity(path, entry.stat(follow_symlinks=False))
                        if certain or abs(now - received) > SETTLED:
                            yield uid, received, path

    @contextmanager
    def _sorted(self, path: Path) -> Iterator[None]:
        try:
            yield
        except OSError as problem:
            raise _sort(problem, path) from None


def _sort(problem: OSError, path: Path) -> MailboxError:
    passing = problem.errno in (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ESTALE)
    kind = MailboxTemporary if passing else MailboxSettings
    return kind(f"{safe(str(path))} cannot be used: {problem.strerror}.")


def _identity(path: Path, status: os.stat_result) -> tuple[int, float]:
    """A letter's number (56 bits) and when it came. Flags in a maildir's name do not count."""
    name = path.name.partition(":2,")[0]
    what = f"{name}\0{status.st_size}\0{status.st_mtime_ns}".encode("utf-8", "surrogateescape")
    number = int.from_bytes(hashlib.sha256(what).digest()[:7], "big")
    return max(1, number), status.st_mtime


def _move(path: Path, pile: Path, uid: int) -> None:
    """Move a file without ever overwriting another. Raises OSError."""
    for name in (path.name, f"{path.stem}.{uid:014x}{path.suffix}"):
        target = pile / name
        try:
            target.hardlink_to(path)
        except FileExistsError:
            if not target.samefile(path):  # else: cut off between link and unlink
                continue
        path.unlink()
        return
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(pile / path.name))


class HandedLetters:
    """Letters that were handed over (standard input, files) and lie in no folder of ours.

    What is done with goes to `keep`, pile by pile. The number of a letter is a hash of its
    bytes, so that the same letter handed over twice is recorded once.
    """

    def __init__(
        self,
        name: str,
        raws: Sequence[tuple[bytes, bool]],
        keep: Callable[[Sequence[bytes], Destination], object],
    ) -> None:
        self.name = name
        self._keep = keep
        self._letters = {number_of(raw): (raw, cut) for raw, cut in raws}

    def open(self) -> int:
        return EPOCH

    def waiting(self) -> Iterator[list[int]]:
        uids = list(self._letters)
        for start in range(0, len(uids), PIECE):
            yield uids[start : start + PIECE]

    def fetch(self, uids: Sequence[int]) -> Iterator[Letter]:
        for uid in uids:
            raw, cut = self._letters[uid]
            yield Letter(uid, raw, None, truncated=cut)

    def file(self, uids: Sequence[int], destination: Destination) -> set[int]:
        """Keep what was handed over now; an earlier letter that was not kept will come again."""
        ours = [uid for uid in uids if uid in self._letters]
        if ours:
            self._keep([self._letters[uid][0] for uid in ours], destination)
        return set(ours)

    def close(self) -> None:
        """Nothing is held."""


def number_of(raw: bytes) -> int:
    """The number of a letter that lies in no folder: 56 bits of a hash of its bytes."""
    return max(1, int.from_bytes(hashlib.sha256(raw).digest()[:7], "big"))

"""A folder on an IMAP server, worked on so that no letter is lost, doubled or mistaken for another.

How the server is talked to, and what ends a conversation, is the business of `session`.
"""

from __future__ import annotations

import logging
import re
import time
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Literal

from bounced.mailbox import (
    MIB,
    Census,
    MailboxError,
    MailboxProtocol,
    MailboxSettings,
    MailboxTemporary,
)
from bounced.mailbox.providers import provider_of
from bounced.mailbox.records import Record, accept
from bounced.mailbox.session import Client, RefusedError, Session, parse_fetch, unless_refused
from bounced.mailbox.trouble import BUSY_CODES, Scene, response_code
from bounced.mailbox.wire import Limits
from bounced.model import Destination, Letter
from bounced.text import safe

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from bounced.mailbox.oauth2 import TokenSource

log = logging.getLogger(__name__)

# Set on letters that are done with where moving is not wanted. Nobody else sets it, so unlike
# \Seen and \Flagged it may decide which letters wait.
DONE: Final = "$BouncedDone"
_HIGHEST_UID: Final = 2**32 - 1


class Reply:
    """What a FETCH has been answered, or will be (`bounced.fetching.Reply`)."""

    def __init__(self, client: Client, tag: bytes, most: int) -> None:
        self._client = client
        self._tag = tag
        self._most = most
        self.data: list[Any] | None = None
        self.refusal: RefusedError | None = None

    def has_come(self) -> bool:
        """Whether nobody has to wait for it; takes in what has come of it."""
        is_heard = self.data is not None or self.refusal is not None
        return is_heard or self._client.has_answered(self._tag, self._most)

    def hear(self) -> None:
        """Wait for the end of it. Raises what the conversation raises."""
        try:
            self.data = self._client.answer(self._tag, "FETCH")
        except RefusedError as no:
            self.refusal = no


class ImapMailbox:
    """One folder of one account, as `bounced.sync.Mailbox` wants it.

    `tls` is `implicit`, `starttls` or `none`; the last is refused outside loopback unless
    `allow_plaintext`. `archive` is `move` (letters go to the three folders) or `flag` (they stay
    and are marked). Folder names use `/` between levels, whatever the server uses. With `tokens`
    the login is OAuth2 and there is no password; the session is begun anew, with a new token,
    before the old one runs out. With `look_only` no folder is made and the folder is opened for
    reading (EXAMINE): nothing at all changes on the server.

    Every method raises only MailboxError's kin. After MailboxTemporary, MailboxProtocol and
    MailboxCredentials the connection is gone; `open` makes a new one.
    """

    def __init__(  # noqa: PLR0913 - one for each key of the configuration
        self,
        name: str,
        *,
        host: str,
        user: str,
        password: str,
        port: int = 993,
        tls: Literal["implicit", "starttls", "none"] = "implicit",
        folder: str = "INBOX",
        archive: Literal["move", "flag"] = "move",
        processed: str = "Bounced/Processed",
        unrecognised: str = "Bounced/Unrecognised",
        quarantine: str = "Bounced/Quarantine",
        ca_file: str | None = None,
        client_certificate: str | None = None,
        client_key: str | None = None,
        allow_plaintext: bool = False,
        tokens: TokenSource | None = None,
        look_only: bool = False,
        limits: Limits = Limits(),  # noqa: B008 - frozen
    ) -> None:
        self.name = name
        self._look_only = look_only
        self._session = Session(
            name,
            host=host,
            port=port,
            user=user,
            password=password,
            tls=tls,
            ca_file=ca_file,
            client_certificate=client_certificate,
            client_key=client_key,
            allow_plaintext=allow_plaintext,
            tokens=tokens,
            limits=limits,
        )
        self._folder = folder
        self._moves = archive == "move"
        self._piles = {
            Destination.PROCESSED: processed,
            Destination.UNRECOGNISED: unrecognised,
            Destination.QUARANTINE: quarantine,
        }
        self._limits = limits
        self._expected: Reply | None = None  # to be heard before anything else is said
        self._validity = 0
        self._exists = 0
        self._keywords = False
        self._names: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"<ImapMailbox {self.name!r} at {self._scene.server}>"

    # -- the session

    def open(self) -> int:
        """Connect, log in, see that the piles exist, select the folder: its UIDVALIDITY.

        Raises MailboxCredentials (password, certificate), MailboxSettings (no such folder, only
        readable, no TLS), MailboxTemporary (away, busy) and MailboxProtocol (RFC 3501 requires a
        UIDVALIDITY of at least 1; without one no UID means anything).
        """
        self._refuse_strange_folders()
        self._expected = None
        self._session.begin()
        with self._doing("looking at the folders"):
            self._name_folders(self._client)
            if self._client.has_capability("X-GM-EXT-1"):
                self._see_what_gmail_can(self._client)
        if self._moves and not self._look_only:
            for pile in self._piles.values():
                self._ensure(self._names[pile])
        return self._select(self._names[self._folder])

    def _refuse_strange_folders(self) -> None:
        for folder in (self._folder, *self._piles.values()):
            if not folder.strip("/") or re.search(r"[\x00-\x1f\x7f%*]", folder):
                raise MailboxSettings(
                    f'"{safe(folder)}" cannot be the name of a folder.',
                    "Choose another in the configuration, without control characters, % and *.",
                )

    def _stay_logged_in(self) -> None:
        """Begin the session anew before the token runs out; UIDs stay what they were."""
        self._hear()
        if not self._session.has_to_be_renewed:
            return
        log.info("renewing the session mailbox=%s", self.name)
        validity = self._validity
        if self.open() != validity:
            raise MailboxTemporary(f"{self._scene.server} renumbered the folder under our hands.")

    def close(self) -> None:
        """LOGOUT with little patience, then hang up; never raises.

        At once where letters are on their way, which the server would send before its goodbye.
        """
        self._session.close(politely=self._expected is None)
        self._expected = None

    def interrupt(self) -> None:
        """From another thread: whatever is waited for ends at once, in MailboxTemporary."""
        self._session.interrupt()

    @property
    def _client(self) -> Client:
        return self._session.client

    @property
    def _scene(self) -> Scene:
        return self._session.scene

    def _doing(self, what: str, size: int = MIB) -> AbstractContextManager[None]:
        self._hear()
        return self._session.doing(what, size)

    # -- folders

    def _name_folders(self, client: Client) -> None:
        prefix, delimiter, known = "", "/", [""]
        if client.has_capability("NAMESPACE"):
            spaces = client.namespace()
            if spaces.personal:
                prefix, delimiter = spaces.personal[0]
            known = [place[0] for kind in spaces if kind for place in kind]
        else:
            listed = client.list_folders("", "")
            if listed:
                delimiter = listed[0][1]
        if isinstance(delimiter, bytes):
            delimiter = delimiter.decode("ascii", "replace")
        self._names = {
            name: self._special(client, name)
            if name.startswith("\\")
            else server_name(name, prefix, delimiter, known)
            for name in (self._folder, *self._piles.values())
        }

    def _special(self, client: Client, mark: str) -> str:
        r"""The folder that the server marks so (`\\Junk`; RFC 6154), or its provider calls so."""
        found = client.find_special_folder(mark.encode("ascii", "replace"))
        known = provider_of(self._scene.host)
        if found is None and known is not None and mark.lower() == "\\junk":
            found = known.junk
        if found is None:
            raise MailboxSettings(
                f"{self._scene.server} marks no folder as {safe(mark)}.",
                "Write the folder's own name in the configuration.",
            )
        return str(found)

    def _see_what_gmail_can(self, client: Client) -> None:
        r"""Folders of Gmail are labels, so only MOVE takes a letter out of one for certain.

        What `\\Deleted` and EXPUNGE do there is the account's own setting, deletion included; and
        nothing ever leaves "All Mail". Google: IMAP extensions for Gmail, and its settings page.
        """
        if self._moves and not client.has_capability("MOVE"):
            raise MailboxSettings(
                f"{self._scene.server} is Gmail without MOVE, and other ways may delete there.",
                'Keep letters where they are: archive = "flag".',
            )
        listed = client.list_folders("", self._names[self._folder])
        if self._moves and any(b"\\all" in map(bytes.lower, flags) for flags, _, _ in listed):
            raise MailboxSettings(
                f'"{safe(self._folder)}" holds every letter of the account; none can leave it.',
                'Name INBOX or the label that your filter sets: folder = "INBOX".',
            )

    def _ensure(self, folder: str) -> None:
        """See that a pile exists: made and subscribed to if it does not."""
        with self._doing("looking for the folder " + safe(folder)):
            listed = self._client.list_folders("", folder)
            gone = {b"\\noselect", b"\\nonexistent"}
            for flags, _, name in listed:
                if name == folder and not gone & {flag.lower() for flag in flags}:
                    return
        with self._doing("making the folder " + safe(folder)):
            self._create(folder)

    def _create(self, folder: str) -> None:
        client = self._client
        try:
            client.create_folder(folder)
        except client.AbortError:
            raise
        except client.Error as problem:
            said, code = self._scene.quote(problem), response_code(str(problem))
            if code in BUSY_CODES:
                raise MailboxTemporary(
                    f'The folder "{safe(folder)}" was not made: {said}.'
                ) from None
            if code != "ALREADYEXISTS":
                raise MailboxSettings(
                    f'The folder "{safe(folder)}" cannot be made: {said}.',
                    "Make it in a mail program, or name other ones in the configuration.",
                ) from None
        client.prepare()
        with unless_refused("SUBSCRIBE", self.name):
            client.subscribe_folder(folder)  # so that mail programs show it

    def _select(self, folder: str) -> int:
        with self._doing("opening the folder " + safe(folder)):
            client = self._client
            try:
                answer = client.select_folder(folder, readonly=self._look_only)
            except client.AbortError:
                raise
            except client.Error as problem:
                raise _unopenable(problem, folder, self._scene) from None
            validity = answer.get(b"UIDVALIDITY", 0)
            if not 0 < validity <= _HIGHEST_UID:
                raise MailboxProtocol(
                    f'{self._scene.server} gives the folder "{safe(folder)}" no UIDVALIDITY '
                    "(RFC 3501, 2.3.1.1): its letters cannot be told apart for certain."
                )
            self._validity = validity
            self._exists = answer.get(b"EXISTS", 0)
            lasting = {flag.lower() for flag in answer.get(b"PERMANENTFLAGS", ())}
            self._keywords = bool({b"\\*", DONE.lower().encode()} & lasting)
            return self._validity

    # -- the letters that wait

    def waiting(self) -> Iterator[list[int]]:
        r"""UIDs that are not done with, ascending, at most `piece` at a time, each once.

        What arrives after the first piece is left to the next session. Letters that carry our
        keyword are left out; those with \\Seen or \\Flagged are not, since people set these.
        """
        for low, high in self._windows():
            # UNDELETED: without MOVE and UIDPLUS a filed letter stays behind, marked so
            last = "*" if high == _HIGHEST_UID else high
            found = self._search(f"UID {low}:{last}{self._unmarked()}", "listing letters")
            yield from _pieces(
                sorted(uid for uid in found if low <= uid <= high), self._limits.piece
            )

    def _windows(self) -> Iterator[tuple[int, int]]:
        """Ranges of UIDs, each with no more letters than a reply line can name."""
        if self._exists <= self._limits.listing:
            yield 1, _HIGHEST_UID
            return
        low = min(self._search("1", "looking for the first letter"), default=1)
        last = max(self._search("*", "looking for the last letter"), default=0)
        while low <= last:
            high = min(low + self._limits.listing - 1, last)
            yield low, high
            low = high + 1

    def _unmarked(self) -> str:
        if not self._moves:
            return f" UNKEYWORD {DONE}" if self._keywords else ""
        return "" if self._can_take_away() else " UNDELETED"

    def _can_take_away(self) -> bool:
        return bool(self._client.has_capability("MOVE") or self._client.has_capability("UIDPLUS"))

    def _search(self, criteria: str, doing: str) -> set[int]:
        """UIDs that match; zero and numbers beyond 32 bits are no UIDs and left out."""
        self._stay_logged_in()
        with self._doing(doing, 2 * MIB):
            try:
                data = self._client.uid("SEARCH", criteria)
            except RefusedError as no:
                raise MailboxTemporary(
                    f"{self._scene.server} would not search the folder: {self._scene.quote(no)}."
                ) from None
            self._see_same_folder()
            words = re.sub(
                rb"\(MODSEQ \d+\)", b"", b" ".join(part for part in data if isinstance(part, bytes))
            )
            return {uid for uid in map(int, words.split()) if 0 < uid <= _HIGHEST_UID}

    def _see_same_folder(self) -> None:
        told = self._client.uid_validity()
        if told not in (None, self._validity):
            raise MailboxTemporary(f"{self._scene.server} renumbered the folder under our hands.")

    def census(self) -> Census:
        """How many letters wait and how many lie on each pile, as the server counts them now.

        With archive = "flag" there are no piles; what is marked done is counted whole.
        """
        marked = DONE if self._keywords else ""
        done = f"KEYWORD {marked}" if marked else "SEEN"
        if not self._moves:
            filed = len(self._search(done, "counting letters"))
            return Census(max(0, self._exists - filed), filed)
        waiting = len(self._search(f"UID 1:*{self._unmarked()}", "counting letters"))
        piles = {pile: self._count(self._names[name]) for pile, name in self._piles.items()}
        return Census(waiting, sum(piles.values()), piles)

    # -- fetching

    def fetch(self, uids: Sequence[int]) -> Iterator[Letter]:
        """The letters that could be had, whole up to `letter` bytes, else their first `head` bytes.

        Of a UID the server says nothing about, whose fetching it refuses, or whose body it twice
        leaves empty, nothing is concluded: it stays in the folder and is not yielded. Sizes are
        asked for first and only group the letters: servers misjudge them.
        """
        return (one for one in self.ask(uids) if isinstance(one, Letter))

    def ask(self, uids: Sequence[int]) -> Iterator[Letter | Reply]:
        """The same, and before those letters that have to be waited for what tells of their coming.

        Whoever has other things to do does them meanwhile; to go on is to wait. Whatever else is
        asked of the mailbox in between waits for the reply as well.
        """
        for batch in _pieces(uids, self._limits.batch):
            told = yield from self._records(batch, "RFC822.SIZE")
            sizes = {uid: record.size or 0 for uid, record in told.items()}
            for group in self._groups([uid for uid in batch if uid in sizes], sizes):
                yield from self._letters(group, whole=sizes[group[0]] <= self._limits.letter)

    def _groups(self, uids: Iterable[int], sizes: dict[int, int]) -> Iterator[list[int]]:
        """Letters to fetch at once: together within `batch_bytes`, oversized ones alone."""
        group: list[int] = []
        total = 0
        for uid in uids:
            alone = sizes[uid] > self._limits.letter
            if group and (alone or total + sizes[uid] > self._limits.batch_bytes):
                yield group
                group, total = [], 0
            if alone:
                yield [uid]
            else:
                group.append(uid)
                total += sizes[uid]
        if group:
            yield group

    def _letters(self, uids: list[int], *, whole: bool) -> Iterator[Letter | Reply]:
        items = (
            "BODY.PEEK[] INTERNALDATE"
            if whole
            else f"BODY.PEEK[]<0.{self._limits.head}> INTERNALDATE"
        )
        records = yield from self._records(uids, items)
        for uid in uids:
            if uid not in records:
                continue
            record = records.pop(uid)
            if not record.body:
                again = yield from self._records([uid], items)
                record = again.get(uid, Record())
            if not record.body:
                log.warning("letter came without a body mailbox=%s uid=%d", self.name, uid)
                continue
            cut = not whole and len(record.body) >= self._limits.head
            yield Letter(uid, record.body, record.received_at, truncated=cut)

    def _records(
        self, uids: Sequence[int], items: str
    ) -> Generator[Reply, None, dict[int, Record]]:
        """What the server says of each UID; a refused batch is asked for again by halves."""
        self._stay_logged_in()
        with self._doing("fetching letters"):
            tag = self._client.ask("FETCH", _uid_set(uids), f"(UID {items})")
        self._expected = reply = Reply(self._client, tag, self._limits.reply)
        yield reply
        if self._expected is reply:
            self._hear()
        if reply.data is not None:
            with self._doing("fetching letters"):
                return accept(reply.data, frozenset(uids), self._scene.server, parse_fetch)
        if reply.refusal is None:  # whoever was to hear it has been told why
            raise MailboxTemporary(f"The connection to {self._scene.server} was lost.")
        if len(uids) == 1:
            said = self._scene.quote(reply.refusal)
            log.warning("letter refused mailbox=%s uid=%d said=%s", self.name, uids[0], said)
            return {}
        half = len(uids) // 2
        first = yield from self._records(uids[:half], items)
        return first | (yield from self._records(uids[half:], items))

    def _hear(self) -> None:
        """Hear what was asked for and has not been heard; nothing can be asked before."""
        reply, self._expected = self._expected, None
        if reply is None:
            return
        with self._session.doing("fetching letters", self._limits.reply):
            reply.hear()
            no = reply.refusal
            if no is None:
                self._see_same_folder()
            elif no.code in BUSY_CODES - {"SERVERBUG"}:
                raise MailboxTemporary(
                    f"{self._scene.server} has no time for us: {self._scene.quote(no)}."
                )

    # -- waiting for news

    def watch(self, news: Callable[[], object], stop: Callable[[], bool]) -> bool:
        """Call `news` once connected, and whenever letters come, until `stop`; then close.

        By IDLE (RFC 2177), begun anew before 29 minutes are over, as the RFC asks. False at once
        where the server does not know it. `stop` is asked every second.
        """
        try:
            self.open()
            if not self._client.has_capability("IDLE"):
                return False
            news()
            while not stop():
                self._stay_logged_in()
                if self._wait_for_news(stop):
                    news()
            return True
        finally:
            self.close()

    def _wait_for_news(self, stop: Callable[[], bool]) -> bool:
        """One IDLE; whether letters have come."""
        with self._doing("beginning to wait for news"):
            tag = self._client.begin_idle()
            heard = self._client.told_of_letters()
        end = min(time.monotonic() + self._limits.idle, self._session.renew_at)
        while not (heard or stop() or time.monotonic() >= end or self._client.speaks(1.0)):
            pass
        with self._doing("waiting for news"):
            self._client.end_idle(tag)
            return self._client.told_of_letters() or heard

    # -- filing

    def file(self, uids: Sequence[int], destination: Destination) -> set[int]:
        r"""Put letters on their pile; the UIDs that we have seen to have gone there.

        By MOVE (RFC 6851), or COPY, `\Deleted` and UID EXPUNGE; never by a plain EXPUNGE, which
        would also remove what others marked. Without UIDPLUS the letter stays behind marked
        `\Deleted` and counts as filed. With archive = "flag": `$BouncedDone` where the server
        keeps keywords, and `\Seen` on what is processed, `\Flagged` on what a person should
        look at.

        The server's OK is not believed: the folder is searched afterwards. What it refuses (full
        archive, missing right) stays in the folder and is not in the answer.
        """
        done: set[int] = set()
        for batch in _pieces(uids, self._limits.batch):
            present = self._present(batch)
            done |= set(batch) - present
            if present:
                done |= self._put(sorted(present), destination)
        return done

    def _put(self, uids: list[int], destination: Destination) -> set[int]:
        try:
            if not self._moves:
                return self._mark(uids, destination)
            pile = self._names[self._piles[destination]]
            try:
                self._take(uids, pile)
            except RefusedError as no:
                if no.code != "TRYCREATE":
                    raise
                self._ensure(pile)
                self._take(uids, pile)
        except RefusedError as no:
            log.warning(
                "filing refused mailbox=%s letters=%d said=%s",
                self.name,
                len(uids),
                self._scene.quote(no),
            )
        return set(uids) - self._present(uids)

    def _take(self, uids: list[int], pile: str) -> None:
        if self._client.has_capability("MOVE"):
            with self._doing("moving letters"):
                self._client.uid("MOVE", _uid_set(uids), self._client.quoted(pile))
            return
        if not self._copy(uids, pile):
            log.warning("copies not found mailbox=%s letters=%d", self.name, len(uids))
            return
        with self._doing("taking letters away"):
            self._client.uid("STORE", _uid_set(uids), "+FLAGS.SILENT", "(\\Deleted)")
        if self._client.has_capability("UIDPLUS"):
            with self._doing("taking letters away"):
                self._client.uid("EXPUNGE", _uid_set(uids))

    def _copy(self, uids: list[int], pile: str) -> bool:
        """Whether we have seen that all copies are there."""
        before = self._count(pile)
        with self._doing("copying letters"):
            self._client.uid("COPY", _uid_set(uids), self._client.quoted(pile))
            told = self._client.copied()
        if told is not None:
            return all(_names_uid(told, uid) for uid in uids)
        return self._count(pile) - before >= len(uids)

    def _count(self, pile: str) -> int:
        with self._doing("counting copies"):
            return int(self._client.folder_status(pile, ["MESSAGES"])[b"MESSAGES"])

    def _mark(self, uids: list[int], destination: Destination) -> set[int]:
        seen = "\\Seen" if destination is Destination.PROCESSED else "\\Flagged"
        marks = f"({DONE} {seen})" if self._keywords else f"({seen})"
        with self._doing("marking letters"):
            self._client.uid("STORE", _uid_set(uids), "+FLAGS.SILENT", marks)
        proof = f"KEYWORD {DONE}" if self._keywords else seen[1:].upper()
        marked = self._search(f"UID {_uid_set(uids)} {proof}", "seeing that letters are marked")
        return marked & set(uids)

    def _present(self, uids: Sequence[int]) -> set[int]:
        """Those of the UIDs that are still in the folder."""
        undeleted = "" if not self._moves or self._can_take_away() else " UNDELETED"
        found = self._search(f"UID {_uid_set(uids)}{undeleted}", "seeing which letters have gone")
        return found & set(uids)


def server_name(name: str, prefix: str, delimiter: str | None, known: Iterable[str] = ("",)) -> str:
    """A folder of the configuration as the server names it.

    `/` becomes the server's delimiter (`-` where it has no levels), and the personal namespace's
    prefix (`INBOX.` with many) goes before it, unless the name is in one of the `known`
    namespaces already (RFC 2342).
    """
    if name.upper() == "INBOX":
        return "INBOX"
    if delimiter != "/":
        name = name.replace("/", delimiter or "-")
    if any(space and name.startswith(space) for space in known):
        return name
    return prefix + name


def _unopenable(problem: Exception, folder: str, scene: Scene) -> MailboxError:
    said = scene.quote(problem)
    if response_code(str(problem)) in BUSY_CODES:
        return MailboxTemporary(
            f'{scene.server} cannot open the folder "{safe(folder)}" just now: {said}.'
        )
    if "command error: BAD" in said or "illegal" in said:
        return MailboxProtocol(
            f'{scene.server} did not understand that we want the folder "{safe(folder)}": {said}.'
        )
    return MailboxSettings(
        f'The folder "{safe(folder)}" on {scene.server} cannot be opened: {said}.',
        'Name one that is there: folder = "…".',
    )


def _uid_set(uids: Iterable[int]) -> str:
    return ",".join(str(int(uid)) for uid in uids)


def _names_uid(uid_set: str, uid: int) -> bool:
    """Whether an RFC 3501 sequence-set names the UID."""
    for span in uid_set.split(","):
        low, _, high = span.partition(":")
        ends = sorted((int(low), int(high or low)))
        if ends[0] <= uid <= ends[1]:
            return True
    return False


def _pieces(uids: Iterable[int], size: int) -> Iterator[list[int]]:
    rest = iter(uids)
    while piece := list(islice(rest, size)):
        yield piece

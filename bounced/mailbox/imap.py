"""A folder on an IMAP server, worked on so that no letter is lost, doubled or mistaken for another.

IMAPClient is the library and this its only door; how it can fail is sorted in `trouble`, and
what it may take is bounded in `wire`. UIDs go out as lists of integers and nothing that was
read in a letter ever becomes part of a command.
"""

from __future__ import annotations

import ipaddress
import logging
import math
import re
import select
import ssl
import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Literal

from imapclient import IMAPClient, SocketTimeout
from imapclient.exceptions import ProtocolError
from imapclient.response_parser import parse_fetch_response

from bounced import __version__
from bounced.mailbox import (
    Census,
    MailboxCredentials,
    MailboxError,
    MailboxProtocol,
    MailboxSettings,
    MailboxTemporary,
)
from bounced.mailbox.providers import provider_of
from bounced.mailbox.records import Record, accept
from bounced.mailbox.trouble import BUSY_CODES, LOGIN_KEYS, TLS_CHOICES, Scene, response_code, sort
from bounced.mailbox.wire import MIB, Connection, Cutter, Limits
from bounced.model import Destination, Letter
from bounced.text import safe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from bounced.mailbox.oauth2 import TokenSource

log = logging.getLogger(__name__)

# Set on letters that are done with where moving is not wanted. Nobody else sets it, so unlike
# \Seen and \Flagged it may decide which letters wait.
DONE: Final = "$BouncedDone"
_HIGHEST_UID: Final = 2**32 - 1
# A token that runs out within so many seconds is not waited for.
RENEWAL: Final = 300.0

_parse = partial(parse_fetch_response, normalise_times=False, uid_is_key=False)


class RefusedError(Exception):
    """The server answered NO; the connection is well and nothing else is wrong."""

    def __init__(self, said: str) -> None:
        super().__init__(said)
        self.code = response_code(said)


class _TokenRefused(MailboxCredentials):
    """The server did not accept an access token that should be good."""


class _Client(IMAPClient):  # type: ignore[misc] # imapclient carries no types
    """IMAPClient on a bounded connection, with UID commands whose replies are read strictly."""

    _imap: Connection

    def __init__(
        self,
        address: tuple[str, int],
        limits: Limits,
        cutter: Cutter,
        context: ssl.SSLContext | None,
    ) -> None:
        self._made_of = (address, limits, cutter, context)
        timeout = SocketTimeout(limits.connect, limits.read)
        super().__init__(*address, ssl=context is not None, timeout=timeout)
        # IMAPClient makes imaplib write the repr of every literal to a log nobody reads
        self._imap.debug = 0
        self.normalise_times = False

    def _create_IMAP4(self) -> Connection:  # noqa: N802 - IMAPClient's hook
        return Connection(*self._made_of)

    @property
    def preauthenticated(self) -> bool:
        return self._imap.state != "NONAUTH"

    def prepare(self, size: int = MIB, *, patience: float | None = None) -> None:
        """Before a command: the budget of its reply, and no leftovers of earlier ones."""
        self._imap.allow(size)
        self._imap.forget()
        if patience is not None:
            self._imap.sock.settimeout(patience)

    def start_tls(self, context: ssl.SSLContext) -> None:
        """STARTTLS; what was said before it is forgotten (RFC 3501, 6.2.1)."""
        self.starttls(context)
        self._imap.forget()
        self.forget_capabilities()

    def forget_capabilities(self) -> None:
        self._cached_capabilities = None

    def uid(self, verb: str, *args: str) -> list[Any]:
        """One UID command; the untagged data. Raises RefusedError on NO."""
        said, data = self._imap.uid(verb, *args)
        if said != "OK":
            raise RefusedError(
                b" ".join(part for part in data if isinstance(part, bytes)).decode(
                    "ascii", "replace"
                )
            )
        return data

    def authenticate(self, mechanism: str, answer: str, acknowledgement: bytes) -> str | None:
        """One SASL exchange; None, or what the server said when it refused.

        A refusal comes as a second challenge, which has to be acknowledged before the NO
        (RFC 7628, 3.2.3).
        """
        heard: list[bytes] = []

        def respond(challenge: bytes) -> bytes:
            heard.append(challenge)
            return answer.encode() if len(heard) == 1 else acknowledgement

        try:
            self._imap.authenticate(mechanism, respond)
        except self.AbortError:
            raise
        except self.Error as problem:
            if response_code(str(problem)) in BUSY_CODES:
                raise
            why = b" ".join(heard[1:]).decode("utf-8", "replace")
            return f"{why} {problem}".strip()
        return None

    def begin_idle(self) -> bytes:
        """Ask to be told of news; the command's tag. Raises IMAPClient.Error when refused."""
        imap = self._imap
        tag: bytes = imap._command("IDLE")  # noqa: SLF001 - imaplib has no word for it before 3.14
        while imap._get_response():  # noqa: SLF001 - None is the continuation
            if imap.tagged_commands.get(tag):
                raise self.Error(f"IDLE command error: {imap.tagged_commands.pop(tag)}")
        return tag

    def speaks(self, seconds: float) -> bool:
        """Whether there is something to read before the time is over."""
        return self._imap.has_more() or bool(select.select([self._imap.sock], [], [], seconds)[0])

    def end_idle(self, tag: bytes) -> None:
        self._imap.send(b"DONE\r\n")
        self._imap._command_complete("IDLE", tag)  # noqa: SLF001

    def told_of_letters(self) -> bool:
        return "EXISTS" in self._imap.untagged_responses

    def uid_validity(self) -> int | None:
        """What the last reply said of UIDVALIDITY; None when it said nothing."""
        heard = self._imap.untagged_responses.get("UIDVALIDITY")
        return int(heard[-1]) if heard and isinstance(heard[-1], bytes) else None

    def copied(self) -> str | None:
        """The UIDs that COPY says it copied (RFC 4315, 3); None when it does not say."""
        heard = self._imap.untagged_responses.get("COPYUID")
        words = (
            heard[-1].decode("ascii", "replace").split()
            if heard and isinstance(heard[-1], bytes)
            else []
        )
        return words[1] if len(words) == 3 else None

    def quoted(self, folder: str) -> str:
        """The folder as a command takes it: modified UTF-7, in quotes."""
        return bytes(self._normalise_folder(folder)).decode("ascii")


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
        self._scene = Scene(host, port, user, password)
        self._tokens = tokens
        self._renew_at = math.inf
        self._tls = tls
        self._folder = folder
        self._moves = archive == "move"
        self._piles = {
            Destination.PROCESSED: processed,
            Destination.UNRECOGNISED: unrecognised,
            Destination.QUARANTINE: quarantine,
        }
        self._ca_file = ca_file
        self._own_certificate = (client_certificate, client_key)
        self._plaintext_allowed = allow_plaintext or _is_loopback(host)
        self._limits = limits
        self._connection: _Client | None = None
        self._cutter = Cutter()
        self._interrupted = False
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
        self.close()
        self._refuse_unsafe_settings()
        try:
            self._enter(fresh=False)
        except _TokenRefused:
            self._enter(fresh=True)  # a token may be revoked before its time
        with self._doing("introducing ourselves"):
            # before SELECT: NetEase (163, 126) and QQ refuse a client that has not said its name
            if self._client.has_capability("ID"):
                with _unless_refused("ID", self.name):
                    self._client.id_({"name": "bounced", "version": __version__})
        with self._doing("looking at the folders"):
            self._name_folders(self._client)
            if self._client.has_capability("X-GM-EXT-1"):
                self._see_what_gmail_can(self._client)
        if self._moves and not self._look_only:
            for pile in self._piles.values():
                self._ensure(self._names[pile])
        return self._select(self._names[self._folder])

    def _enter(self, *, fresh: bool) -> None:
        """Connect and log in; the token is had first, before anybody waits for us."""
        if self._tokens is not None:
            token = self._tokens.token(fresh=fresh)
            self._scene = replace(self._scene, password=token.value)
            lasts = max(0.0, token.lasts)
            self._renew_at = time.monotonic() + max(lasts / 2, lasts - RENEWAL)
        with self._doing("connecting"):
            self._connection = _Client(
                (self._scene.host, self._scene.port),
                self._limits,
                self._cutter,
                self._context() if self._tls == "implicit" else None,
            )
            self._secure(self._connection)
        with self._doing("logging in"):
            if self._tokens is not None:
                self._log_in_by_token(self._client)
            else:
                self._log_in(self._client)
            self._client.forget_capabilities()

    def _stay_logged_in(self) -> None:
        """Begin the session anew before the token runs out; UIDs stay what they were."""
        if time.monotonic() < self._renew_at:
            return
        log.info("renewing the session mailbox=%s", self.name)
        validity = self._validity
        if self.open() != validity:
            raise MailboxTemporary(f"{self._scene.server} renumbered the folder under our hands.")

    def close(self) -> None:
        """LOGOUT with little patience, then hang up; never raises."""
        client = self._connection
        if client is None:
            return
        try:
            client.prepare(patience=self._limits.farewell)
            with self._cutter.within(self._limits.farewell):
                client.logout()
        except Exception as problem:  # noqa: BLE001 - all work is done; there is nobody to tell
            log.debug("logout failed mailbox=%s problem=%s", self.name, type(problem).__name__)
        finally:
            self._hang_up()

    def interrupt(self) -> None:
        """From another thread: whatever is waited for ends at once, in MailboxTemporary."""
        self._interrupted = True
        self._cutter.cut()

    @property
    def _client(self) -> _Client:
        if self._connection is None:
            raise MailboxTemporary(f"There is no connection to {self._scene.server} any more.")
        return self._connection

    def _hang_up(self) -> None:
        client, self._connection = self._connection, None
        if client is not None:
            with suppress(Exception):
                client.shutdown()
        self._cutter.close()
        self._cutter = Cutter()

    @contextmanager
    def _doing(self, what: str, size: int = MIB) -> Iterator[None]:
        """One step in conversation: bounded, its troubles sorted, and hung up on after any."""
        scene = Scene(
            self._scene.host, self._scene.port, self._scene.user, self._scene.password, what
        )
        cutter = self._cutter
        if self._connection is not None:
            self._connection.prepare(size)
        try:
            with cutter.within(self._limits.command):
                yield
        except RefusedError:
            raise
        except Exception as problem:  # noqa: BLE001 - sorted, never swallowed
            if self._interrupted:
                self._hang_up()
                raise MailboxTemporary(f"Interrupted, as asked, while {what}.") from None
            late = self._limits.command if cutter.fired else None
            unreadable = isinstance(problem, ProtocolError)
            sorted_out = sort(ValueError(str(problem)) if unreadable else problem, scene, late=late)
            self._hang_up()
            # the cause may quote the server, and the server the password
            raise sorted_out from None
        except BaseException:
            self._hang_up()
            raise

    def _refuse_unsafe_settings(self) -> None:
        if self._tls == "none" and not self._plaintext_allowed:
            raise MailboxSettings(
                f"{self._scene.server} would be talked to unencrypted, so no password was sent.",
                f"{TLS_CHOICES} If you trust the network between: allow_plaintext = true.",
            )
        for folder in (self._folder, *self._piles.values()):
            if not folder.strip("/") or re.search(r"[\x00-\x1f\x7f%*]", folder):
                raise MailboxSettings(
                    f'"{safe(folder)}" cannot be the name of a folder.',
                    "Choose another in the configuration, without control characters, % and *.",
                )
        by_token = self._tokens is not None
        for secret in (self._scene.user, "token" if by_token else self._scene.password):
            if not secret or re.search(r"[\r\n\0]", secret):
                raise MailboxCredentials(
                    "The user name or the password is empty or holds a line end.",
                    LOGIN_KEYS,
                )

    def _context(self) -> ssl.SSLContext:
        context = self._trusting()
        certificate, key = self._own_certificate
        if certificate is not None:
            try:
                # a key behind a passphrase must not make the program ask for it
                context.load_cert_chain(certificate, key, password=lambda: b"")
            except (OSError, ssl.SSLError) as problem:
                reason = getattr(problem, "strerror", None) or "not a certificate with its key"
                raise MailboxSettings(
                    f'client_certificate = "{safe(certificate)}" cannot be used ({safe(reason)}).',
                    "Name readable PEM files, the key without a passphrase.",
                ) from None
        return context

    def _trusting(self) -> ssl.SSLContext:
        if self._ca_file is None:
            return ssl.create_default_context()
        try:
            context = ssl.create_default_context(cafile=self._ca_file)
        except (OSError, ssl.SSLError) as problem:
            reason = getattr(problem, "strerror", None) or "not a certificate in PEM form"
            raise MailboxSettings(
                f'The file ca_file = "{safe(self._ca_file)}" cannot be used ({safe(reason)}).',
                "Name a readable file with the certificate of the authority in PEM form.",
            ) from None
        # whoever names the server's own certificate here means to trust exactly that one
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        return context

    def _secure(self, client: _Client) -> None:
        """Before the password: TLS where it was asked for, and no account we did not ask for."""
        if client.preauthenticated:
            raise MailboxProtocol(
                f"{self._scene.server} says we are logged in already, and does not say as whom."
            )
        if self._tls != "starttls":
            return
        if not client.has_capability("STARTTLS"):
            raise MailboxSettings(
                f"{self._scene.server} does not offer STARTTLS, so no password was sent.",
                f"{TLS_CHOICES} If it used to offer it, somebody between may be hiding it.",
            )
        client.start_tls(self._context())

    def _log_in(self, client: _Client) -> None:
        user, password = self._scene.user, self._scene.password
        can_plain = client.has_capability("AUTH=PLAIN")
        disabled = client.has_capability("LOGINDISABLED")
        if disabled and not can_plain:
            raise MailboxSettings(
                f"{self._scene.server} takes no password on this connection.", TLS_CHOICES
            )
        # LOGIN carries ASCII only, and imaplib does not quote the user
        if can_plain and (
            disabled or not password.isascii() or not re.fullmatch(r"[\w.@+=/-]+", user, re.ASCII)
        ):
            client.plain_login(user, password)
        elif not (user + password).isascii():
            raise MailboxCredentials(
                f"{self._scene.server} takes no characters beyond ASCII in user and password.",
                "Give this account a password of plain letters, digits and signs.",
            )
        else:
            client.login(
                user if re.fullmatch(r"[\w.@+=/-]+", user, re.ASCII) else _quote(user), password
            )

    def _log_in_by_token(self, client: _Client) -> None:
        """XOAUTH2 (Google, Microsoft) where the server has it, else OAUTHBEARER (RFC 7628)."""
        user, token = self._scene.user, self._scene.password
        if client.has_capability("AUTH=XOAUTH2"):
            said = client.authenticate("XOAUTH2", f"user={user}\1auth=Bearer {token}\1\1", b"")
        elif client.has_capability("AUTH=OAUTHBEARER"):
            name = user.replace("=", "=3D").replace(",", "=2C")
            said = client.authenticate(
                "OAUTHBEARER", f"n,a={name},\1auth=Bearer {token}\1\1", b"\1"
            )
        else:
            raise MailboxSettings(
                f"{self._scene.server} takes no OAuth2 tokens on this connection.",
                "Give this mailbox a password instead of [mailbox.oauth2].",
            )
        if said is not None:
            raise _TokenRefused(
                f"{self._scene.server} did not accept the token of {safe(user)}: "
                f"{self._scene.quote(said)}.",
                "See that user is the mailbox's own address and that the account may use IMAP. "
                "To log in anew: bounced login (the mailbox's name)",
            )

    # -- folders

    def _name_folders(self, client: _Client) -> None:
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

    def _special(self, client: _Client, mark: str) -> str:
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

    def _see_what_gmail_can(self, client: _Client) -> None:
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
        with _unless_refused("SUBSCRIBE", self.name):
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
        for batch in _pieces(uids, self._limits.batch):
            sizes = {
                uid: record.size or 0 for uid, record in self._records(batch, "RFC822.SIZE").items()
            }
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

    def _letters(self, uids: list[int], *, whole: bool) -> Iterator[Letter]:
        items = (
            "BODY.PEEK[] INTERNALDATE"
            if whole
            else f"BODY.PEEK[]<0.{self._limits.head}> INTERNALDATE"
        )
        records = self._records(uids, items)
        for uid in uids:
            if uid not in records:
                continue
            record = records.pop(uid)
            if not record.body:
                record = self._records([uid], items).get(uid, Record())
            if not record.body:
                log.warning("letter came without a body mailbox=%s uid=%d", self.name, uid)
                continue
            cut = not whole and len(record.body) >= self._limits.head
            yield Letter(uid, record.body, record.received_at, truncated=cut)

    def _records(self, uids: Sequence[int], items: str) -> dict[int, Record]:
        """What the server says of each UID; a refused batch is asked for again by halves."""
        self._stay_logged_in()
        with self._doing("fetching letters", self._limits.reply):
            try:
                data = self._client.uid("FETCH", _uid_set(uids), f"(UID {items})")
            except RefusedError as no:
                if no.code in BUSY_CODES - {"SERVERBUG"}:
                    raise MailboxTemporary(
                        f"{self._scene.server} has no time for us: {self._scene.quote(no)}."
                    ) from None
                refusal = self._scene.quote(no)
            else:
                self._see_same_folder()
                return accept(data, frozenset(uids), self._scene.server, _parse)
        if len(uids) == 1:
            log.warning("letter refused mailbox=%s uid=%d said=%s", self.name, uids[0], refusal)
            return {}
        half = len(uids) // 2
        return self._records(uids[:half], items) | self._records(uids[half:], items)

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
        end = min(time.monotonic() + self._limits.idle, self._renew_at)
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


@contextmanager
def _unless_refused(command: str, mailbox: str) -> Iterator[None]:
    """For what is only polite: the server may say NO or BAD, but not hang up."""
    try:
        yield
    except IMAPClient.AbortError:
        raise
    except IMAPClient.Error as problem:
        log.debug(
            "refused mailbox=%s command=%s problem=%s", mailbox, command, type(problem).__name__
        )


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


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _is_loopback(host: str) -> bool:
    if host.lower() in ("localhost", "localhost.localdomain"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

"""A conversation with one account on an IMAP server: begun safely, bounded, and always ended.

IMAPClient is the library and this its only door; how it can fail is sorted in `trouble`, and
what it may take is bounded in `wire`. UIDs go out as integers and nothing that was read in a
letter ever becomes part of a command.
"""

from __future__ import annotations

import logging
import math
import re
import ssl
import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal

from imapclient import IMAPClient, SocketTimeout
from imapclient.exceptions import ProtocolError
from imapclient.response_parser import parse_fetch_response

from bounced import __version__
from bounced.mailbox import (
    MIB,
    MailboxCredentials,
    MailboxProtocol,
    MailboxSettings,
    MailboxTemporary,
    is_loopback,
)
from bounced.mailbox.trouble import BUSY_CODES, LOGIN_KEYS, TLS_CHOICES, Scene, response_code, sort
from bounced.mailbox.wire import Connection, Cutter, Limits
from bounced.text import safe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bounced.mailbox.oauth2 import TokenSource

log = logging.getLogger(__name__)

# A token that runs out within so many seconds is not waited for.
RENEWAL: Final = 300.0

# A FETCH response of any shape; the UID is a datum like others, not the key (see `records`).
parse_fetch = partial(parse_fetch_response, normalise_times=False, uid_is_key=False)


class RefusedError(Exception):
    """The server answered NO; the connection is well and nothing else is wrong."""

    def __init__(self, said: str) -> None:
        super().__init__(said)
        self.code = response_code(said)


class _TokenRefused(MailboxCredentials):
    """The server did not accept an access token that should be good."""


class Client(IMAPClient):  # type: ignore[misc] # imapclient carries no types
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
        return self.answer(self.ask(verb, *args), verb)

    def ask(self, verb: str, *args: str) -> bytes:
        """Begin a UID command; its tag. Nothing else may be said before its answer is heard."""
        tag: bytes = self._imap._command("UID", verb, *args)  # noqa: SLF001 - half of imaplib's uid()
        return tag

    def has_answered(self, tag: bytes, most: int) -> bool:
        """Whether the answer has come whole, or so many bytes of it; nobody waits for more."""
        return self._imap.has_answered(tag, most)

    def answer(self, tag: bytes, verb: str) -> list[Any]:
        """The untagged data of a UID command once it is answered. Raises RefusedError on NO."""
        said, data = self._imap._command_complete("UID", tag)  # noqa: SLF001 - the other half
        if said != "OK":
            raise RefusedError(
                b" ".join(part for part in data if isinstance(part, bytes)).decode(
                    "ascii", "replace"
                )
            )
        of = verb if verb == "SEARCH" else "FETCH"
        untagged: list[Any] = self._imap._untagged_response(said, data, of)[1]  # noqa: SLF001
        return untagged

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
        return self._imap.speaks(seconds)

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


class Session:
    """One account: connected, encrypted, logged in, and every step of it bounded.

    `tls` is `implicit`, `starttls` or `none`; the last is refused outside loopback unless
    `allow_plaintext`. With `tokens` the login is OAuth2 and there is no password; the session
    `has_to_be_renewed` before the token runs out. `name` is the mailbox's, for the log.

    Every method raises only MailboxError's kin, and RefusedError inside `doing`. After any
    MailboxError from there the connection is gone; `begin` makes a new one.
    """

    def __init__(  # noqa: PLR0913 - one for each key of the configuration
        self,
        name: str,
        *,
        host: str,
        port: int,
        user: str,
        password: str,
        tls: Literal["implicit", "starttls", "none"],
        ca_file: str | None,
        client_certificate: str | None,
        client_key: str | None,
        allow_plaintext: bool,
        tokens: TokenSource | None,
        limits: Limits,
    ) -> None:
        self.name = name
        self.scene = Scene(host, port, user, password)
        self.renew_at = math.inf
        self._tokens = tokens
        self._tls = tls
        self._ca_file = ca_file
        self._own_certificate = (client_certificate, client_key)
        self._plaintext_allowed = allow_plaintext or is_loopback(host)
        self._limits = limits
        self._connection: Client | None = None
        self._cutter = Cutter()
        self._interrupted = False

    def begin(self) -> None:
        """Connect, log in and introduce ourselves; what was open before is closed first.

        Raises MailboxCredentials (password, certificate), MailboxSettings (no TLS),
        MailboxTemporary (away, busy) and MailboxProtocol.
        """
        self.close()
        self._refuse_unsafe_settings()
        try:
            self._enter(fresh=False)
        except _TokenRefused:
            self._enter(fresh=True)  # a token may be revoked before its time
        with self.doing("introducing ourselves"):
            # before SELECT: NetEase (163, 126) and QQ refuse a client that has not said its name
            if self.client.has_capability("ID"):
                with unless_refused("ID", self.name):
                    self.client.id_({"name": "bounced", "version": __version__})

    @property
    def has_to_be_renewed(self) -> bool:
        """Whether the token runs out so soon that the session is to be begun anew."""
        return time.monotonic() >= self.renew_at

    def _enter(self, *, fresh: bool) -> None:
        """Connect and log in; the token is had first, before anybody waits for us."""
        if self._tokens is not None:
            token = self._tokens.token(fresh=fresh)
            self.scene = replace(self.scene, password=token.value)
            lasts = max(0.0, token.lasts)
            self.renew_at = time.monotonic() + max(lasts / 2, lasts - RENEWAL)
        with self.doing("connecting"):
            self._connection = Client(
                (self.scene.host, self.scene.port),
                self._limits,
                self._cutter,
                self._context() if self._tls == "implicit" else None,
            )
            self._secure(self._connection)
        with self.doing("logging in"):
            if self._tokens is not None:
                self._log_in_by_token(self.client)
            else:
                self._log_in(self.client)
            self.client.forget_capabilities()

    def close(self, *, politely: bool = True) -> None:
        """LOGOUT with little patience, then hang up; never raises."""
        client = self._connection
        if client is None:
            return
        if not politely:
            self._hang_up()
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
    def client(self) -> Client:
        if self._connection is None:
            raise MailboxTemporary(f"There is no connection to {self.scene.server} any more.")
        return self._connection

    def _hang_up(self) -> None:
        client, self._connection = self._connection, None
        if client is not None:
            with suppress(Exception):
                client.shutdown()
        self._cutter.close()
        self._cutter = Cutter()

    @contextmanager
    def doing(self, what: str, size: int = MIB) -> Iterator[None]:
        """One step in conversation: bounded, its troubles sorted, and hung up on after any."""
        scene = Scene(self.scene.host, self.scene.port, self.scene.user, self.scene.password, what)
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
                f"{self.scene.server} would be talked to unencrypted, so no password was sent.",
                f"{TLS_CHOICES} If you trust the network between: allow_plaintext = true.",
            )
        by_token = self._tokens is not None
        for secret in (self.scene.user, "token" if by_token else self.scene.password):
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
                    "Name readable PEM files, the key without a passphrase; where it is in a file "
                    'of its own: client_key = "…".',
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

    def _secure(self, client: Client) -> None:
        """Before the password: TLS where it was asked for, and no account we did not ask for."""
        if client.preauthenticated:
            raise MailboxProtocol(
                f"{self.scene.server} says we are logged in already, and does not say as whom."
            )
        if self._tls != "starttls":
            return
        if not client.has_capability("STARTTLS"):
            raise MailboxSettings(
                f"{self.scene.server} does not offer STARTTLS, so no password was sent.",
                f"{TLS_CHOICES} If it used to offer it, somebody between may be hiding it.",
            )
        client.start_tls(self._context())

    def _log_in(self, client: Client) -> None:
        user, password = self.scene.user, self.scene.password
        can_plain = client.has_capability("AUTH=PLAIN")
        disabled = client.has_capability("LOGINDISABLED")
        if disabled and not can_plain:
            raise MailboxSettings(
                f"{self.scene.server} takes no password on this connection.", TLS_CHOICES
            )
        # LOGIN carries ASCII only, and imaplib does not quote the user
        if can_plain and (
            disabled or not password.isascii() or not re.fullmatch(r"[\w.@+=/-]+", user, re.ASCII)
        ):
            client.plain_login(user, password)
        elif not (user + password).isascii():
            raise MailboxCredentials(
                f"{self.scene.server} takes no characters beyond ASCII in user and password.",
                "Give this account a password of plain letters, digits and signs.",
            )
        else:
            client.login(
                user if re.fullmatch(r"[\w.@+=/-]+", user, re.ASCII) else _quote(user), password
            )

    def _log_in_by_token(self, client: Client) -> None:
        """XOAUTH2 (Google, Microsoft) where the server has it, else OAUTHBEARER (RFC 7628)."""
        user, token = self.scene.user, self.scene.password
        if client.has_capability("AUTH=XOAUTH2"):
            said = client.authenticate("XOAUTH2", f"user={user}\1auth=Bearer {token}\1\1", b"")
        elif client.has_capability("AUTH=OAUTHBEARER"):
            name = user.replace("=", "=3D").replace(",", "=2C")
            said = client.authenticate(
                "OAUTHBEARER", f"n,a={name},\1auth=Bearer {token}\1\1", b"\1"
            )
        else:
            raise MailboxSettings(
                f"{self.scene.server} takes no OAuth2 tokens on this connection.",
                "Give this mailbox a password instead of [mailbox.oauth2].",
            )
        if said is not None:
            raise _TokenRefused(
                f"{self.scene.server} did not accept the token of {safe(user)}: "
                f"{self.scene.quote(said)}.",
                "See that user is the mailbox's own address and that the account may use IMAP. "
                "To log in anew: bounced login (the mailbox's name)",
            )


@contextmanager
def unless_refused(command: str, mailbox: str) -> Iterator[None]:
    """For what is only polite: the server may say NO or BAD, but not hang up."""
    try:
        yield
    except IMAPClient.AbortError:
        raise
    except IMAPClient.Error as problem:
        log.debug(
            "refused mailbox=%s command=%s problem=%s", mailbox, command, type(problem).__name__
        )


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'

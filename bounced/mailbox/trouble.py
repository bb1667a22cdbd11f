"""Every exception that an IMAP session can let out, sorted into the tree of `bounced.mailbox`.

What a server said is quoted, cut, made safe, and freed of the password should it echo it.
"""

from __future__ import annotations

import imaplib
import re
import socket
import ssl
from dataclasses import dataclass, field
from typing import Final

from bounced.mailbox import (
    MailboxCredentials,
    MailboxError,
    MailboxProtocol,
    MailboxSettings,
    MailboxTemporary,
)
from bounced.mailbox.providers import advice
from bounced.mailbox.wire import ExcessError
from bounced.text import safe

_QUOTED: Final = 200

# RFC 5530, and what Gmail and Microsoft add
BUSY_CODES: Final = frozenset(
    {"UNAVAILABLE", "INUSE", "LIMIT", "THROTTLED", "SERVERBUG", "OVERQUOTA", "EXPUNGEISSUED"}
)
_LOGIN_CODES: Final = frozenset(
    {
        "AUTHENTICATIONFAILED",
        "AUTHORIZATIONFAILED",
        "EXPIRED",
        "PRIVACYREQUIRED",
        "CONTACTADMIN",
        "NOPERM",
    }
)
_BUSY_WORDS: Final = re.compile(
    r"too many|temporar|try again|try later|unavailable|throttl|rate limit|overload|simultaneous"
    r"|bandwidth|internal error",
    re.IGNORECASE,
)

# imaplib and IMAPClient hand on the server's words as a repr, after the command's name
_BYTES_REPR: Final = re.compile(r"\bb(['\"])(.*?)\1")
_WRAPPING: Final = re.compile(r"^command: [A-Z]+ => ")

# OpenSSL's names for what it did not like (X509_V_ERR_*, x509_vfy.h)
_OWN_CA: Final = (
    "If that is your own server, put the certificate that signed its own into a file and write "
    'ca_file = "/path/to/ca.pem" into this mailbox\'s block of the configuration.'
)
_CERTIFICATE: Final[dict[int, tuple[str, str]]] = {
    9: ("is not valid yet", "Compare the clocks of the two machines."),
    10: ("has expired", "Whoever runs the mail server has to renew it."),
    18: ("is self-signed", _OWN_CA),
    19: ("is signed by an authority this machine does not know", _OWN_CA),
    20: ("is signed by an authority this machine does not know", _OWN_CA),
    21: ("is signed by an authority this machine does not know", _OWN_CA),
    23: ("has been revoked", "Do not log in there; ask whoever runs the mail server."),
    62: ("is for another host name", 'Write the name that is in the certificate: host = "…".'),
    64: ("is for another address", 'Write the name that is in the certificate: host = "…".'),
}  # fmt: skip

LOGIN_KEYS: Final = (
    "See user and password (password_env, password_file, password_command) in the configuration."
)
TLS_CHOICES: Final = 'Write tls = "implicit" and port = 993, or tls = "starttls" and port = 143.'
_PLACE: Final = (
    'See that host = "…" and port = … are right; if they are, run the same command again later.'
)
# Who waits for TLS says nothing before it; nor do we, where STARTTLS or nothing is to come.
_SILENT: Final = f'{_PLACE} A server that wants TLS from the first word on needs tls = "implicit".'
_WANTS_CERTIFICATE: Final = re.compile(r"certificate", re.IGNORECASE)
_OURS: Final = (
    "If it wants a certificate of this machine, write "
    'client_certificate = "/path/to/client.pem" and client_key = "/path/to/client.key".'
)


@dataclass(frozen=True, slots=True)
class Scene:
    """Where something went wrong: the account, and what was being done (`logging in`)."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    doing: str = "connecting"

    @property
    def server(self) -> str:
        return f"{self.host}:{self.port}"

    def quote(self, said: object) -> str:
        """What the server said: short, printable, without the password."""
        text = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        if self.password:
            text = text.replace(self.password, "***")
        text = _WRAPPING.sub("", _BYTES_REPR.sub(r"\2", text))
        text = safe(" ".join(text.split())).rstrip(".")  # our sentence has a full stop of its own
        return text if len(text) <= _QUOTED else text[:_QUOTED] + "…"


def response_code(said: str) -> str | None:
    """The code in brackets with which a server explains itself (RFC 3501, 7.1; RFC 5530)."""
    found = re.search(r"\[([A-Z][A-Z0-9-]*)[\] ]", said)
    return found[1] if found else None


def sort(  # noqa: PLR0911 - one line for each kind
    problem: BaseException, scene: Scene, *, late: float | None = None
) -> MailboxError:
    """The error of ours that says what this one means.

    `late` is the deadline in seconds when it was we who cut the connection.
    """
    if isinstance(problem, MailboxError):
        return problem
    if late is not None:
        return MailboxTemporary(
            f"{scene.server} was not done with {scene.doing} after {late:g} s, so I hung up."
        )
    if isinstance(problem, ExcessError):
        return MailboxProtocol(f"While {scene.doing}, {scene.server} sent {problem}, so I hung up.")
    if isinstance(problem, OSError | EOFError):
        return _network(problem, scene)
    if isinstance(problem, imaplib.IMAP4.abort):
        return _aborted(problem, scene)
    if isinstance(problem, imaplib.IMAP4.error):
        return _refused(problem, scene)
    if isinstance(problem, UnicodeEncodeError):
        # without the text: it may be the password
        return MailboxSettings(
            f"While {scene.doing}, a setting held characters that IMAP cannot carry.",
            "See user, password and the names of folders in this mailbox's block.",
        )
    words = scene.quote(problem) or "no words"
    return MailboxProtocol(
        f"While {scene.doing}, {scene.server} sent what cannot be read as IMAP "
        f"({type(problem).__name__}: {words})."
    )


def _network(problem: OSError | EOFError, scene: Scene) -> MailboxError:
    if isinstance(problem, ssl.SSLError) and (told := _encryption(problem, scene)) is not None:
        return told
    if isinstance(problem, socket.gaierror):
        return MailboxTemporary(
            f"The host {scene.quote(scene.host)} has no address ({scene.quote(problem.strerror)}).",
            'See that host = "…" is spelt right; if it is, run the same command again later.',
        )
    if isinstance(problem, TimeoutError):
        advice = _SILENT if scene.doing == "connecting" else ""
        return MailboxTemporary(f"{scene.server} fell silent while {scene.doing}.", advice)
    if isinstance(problem, ConnectionRefusedError):
        return MailboxTemporary(f"Nobody listens at {scene.server}.", _PLACE)
    words = scene.quote(problem) or type(problem).__name__
    return MailboxTemporary(
        f"The connection to {scene.server} failed while {scene.doing} ({words})."
    )


def _encryption(problem: ssl.SSLError, scene: Scene) -> MailboxError | None:
    if isinstance(problem, ssl.SSLCertVerificationError):
        return _certificate(problem, scene)
    if problem.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL"):
        return MailboxSettings(f"{scene.server} does not speak TLS on that port.", TLS_CHOICES)
    if "VERSION" in (problem.reason or "") + str(problem).upper():
        return MailboxSettings(
            f"{scene.server} offers only versions of TLS that are no longer safe.",
            "Whoever runs the mail server has to switch on TLS 1.2 or later.",
        )
    return None


def _certificate(problem: ssl.SSLCertVerificationError, scene: Scene) -> MailboxError:
    unknown = f"was not accepted ({scene.quote(problem.verify_message)})"
    what, advice = _CERTIFICATE.get(problem.verify_code, (unknown, _OWN_CA))
    return MailboxCredentials(
        f"The certificate of {scene.server} {what}; no password was sent.", advice
    )


def _aborted(problem: imaplib.IMAP4.abort, scene: Scene) -> MailboxError:
    words = scene.quote(problem)
    if isinstance(problem, imaplib.IMAP4.readonly):
        return MailboxSettings(
            f"The folder on {scene.server} may only be read, not changed ({words}).",
            'Give this account the right to change the folder, or name another: folder = "…".',
        )
    if "unexpected" in words:
        return MailboxProtocol(
            f"While {scene.doing}, {scene.server} answered out of turn ({words})."
        )
    return MailboxTemporary(f"{scene.server} hung up while {scene.doing} ({words}).")


def _refused(problem: imaplib.IMAP4.error, scene: Scene) -> MailboxError:
    words = scene.quote(problem)
    lost = problem.__context__
    if isinstance(lost, imaplib.IMAP4.abort | OSError):
        # IMAPClient calls every trouble in LOGIN a LoginError, a pulled plug too
        return sort(lost, scene)
    code = response_code(str(problem))
    if code in BUSY_CODES:
        return MailboxTemporary(f"{scene.server} has no time for us while {scene.doing}: {words}.")
    if scene.doing == "connecting":
        kind = MailboxTemporary if "* BYE" in words else MailboxProtocol
        return kind(f"{scene.server} greeted us with: {words}.")
    if scene.doing == "logging in":
        return _login(words, code, scene)
    if "command error: BAD" in words or "got more than" in words:
        return MailboxProtocol(f"While {scene.doing}, {scene.server} answered: {words}.")
    return MailboxTemporary(f"While {scene.doing}, {scene.server} answered: {words}.")


def _login(words: str, code: str | None, scene: Scene) -> MailboxError:
    if code not in _LOGIN_CODES and _BUSY_WORDS.search(words):
        return MailboxTemporary(f"{scene.server} would not let us in just now: {words}.")
    if "command error: BAD" in words:
        return MailboxProtocol(f"{scene.server} did not understand the login: {words}.")
    if _WANTS_CERTIFICATE.search(words):
        return MailboxCredentials(
            f"{scene.server} did not let {safe(scene.user)} in: {words}.", _OURS
        )
    return MailboxCredentials(
        f"{scene.server} did not accept the password of {safe(scene.user)}: {words}.",
        f"{LOGIN_KEYS} {advice(scene.host)}".strip(),
    )

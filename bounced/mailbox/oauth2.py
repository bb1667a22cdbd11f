"""Access tokens for IMAP (RFC 6749, RFC 8628): got, kept, and refreshed before they run out.

Three flows need nothing but Python: client credentials, refresh token and device code against any
token endpoint. Microsoft's own library (msal) serves `provider = "microsoft"` where a person or
an application logs in, Google's (google-auth) service accounts; both are extras, imported when
used. No token and no secret is ever logged or part of an error.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from bounced.mailbox import MailboxCredentials, MailboxSettings, MailboxTemporary
from bounced.text import safe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bounced.mailbox.providers import Authority, Flow
    from bounced.mailbox.tokens import TokenStore

# A token that has less than this to live is not worth beginning a session with (seconds); not less
# than `session.RENEWAL`, or a session begun anew for its sake would get the same one.
MARGIN: Final = 300.0
_PATIENCE: Final = 30.0
_ANSWER: Final = 65_536
_LIFETIME: Final = 3600.0

_MICROSOFT: Final = "https://login.microsoftonline.com"
_TOKEN_URL: Final = {
    "microsoft": _MICROSOFT + "/{tenant}/oauth2/v2.0/token",
    "google": "https://oauth2.googleapis.com/token",
}
# learn.microsoft.com/exchange/client-developer/legacy-protocols/how-to-authenticate-an-imap-…
# developers.google.com/workspace/gmail/imap/xoauth2-protocol
_SCOPE: Final = {
    ("microsoft", "client_credentials"): "https://outlook.office365.com/.default",
    ("microsoft", "device_code"): "https://outlook.office.com/IMAP.AccessAsUser.All",
    (
        "microsoft",
        "refresh_token",
    ): "https://outlook.office.com/IMAP.AccessAsUser.All offline_access",
    ("google", "service_account"): "https://mail.google.com/",
}


@dataclass(frozen=True, slots=True)
class OAuth2:
    """How one mailbox gets its tokens: the keys of [mailbox.oauth2], secrets revealed.

    `token_url` and `device_url` are needed for `custom` only; `tenant` is Microsoft's, `key_file`
    a service account's key as Google hands it out. `mailbox` is what `bounced login` calls it.
    """

    user: str
    flow: Flow
    provider: Authority = "custom"
    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    refresh_token: str = field(default="", repr=False)
    tenant: str = "common"
    scope: str | None = None
    token_url: str | None = None
    device_url: str | None = None
    key_file: Path | None = None
    mailbox: str = ""

    @property
    def wanted_scope(self) -> str:
        return self.scope or _SCOPE.get((self.provider, self.flow), "")

    @property
    def login_command(self) -> str:
        """What a person types to log in anew."""
        return f"bounced login {safe(shlex.quote(self.mailbox))}"

    @property
    def endpoint(self) -> str:
        return self.token_url or _TOKEN_URL[self.provider].format(tenant=self.tenant)


@dataclass(frozen=True, slots=True)
class Token:
    """An access token and when it ends (seconds since 1970)."""

    value: str = field(repr=False)
    expires_at: float

    @property
    def lasts(self) -> float:
        """Seconds left."""
        return self.expires_at - time.time()


class TokenSource(Protocol):
    """Where a mailbox gets its access token from.

    Raises MailboxCredentials (refused; a person has to log in anew), MailboxTemporary (the
    endpoint is away) and MailboxSettings.
    """

    def token(self, *, fresh: bool = False) -> Token:
        """A token that lasts; `fresh` when the server did not accept the one we had."""

    def log_in(self, show: Callable[[str], object]) -> None:
        """Let a person log in; `show` is given the sentence that says where and with what code."""


def token_source(settings: OAuth2, store: TokenStore, *, http: Any = None) -> TokenSource:
    """The source for these settings. `http` replaces msal's way to the network, in tests."""
    if settings.flow == "service_account":
        return _Google(settings)
    if settings.provider == "microsoft" and settings.flow != "refresh_token":
        return _Microsoft(settings, store, http)
    return _Endpoint(settings, store)


class _Endpoint:
    """A token endpoint (RFC 6749, 3.2), spoken to with the standard library."""

    def __init__(self, settings: OAuth2, store: TokenStore) -> None:
        self._settings = settings
        self._store = store
        # a new client or a new first refresh token makes what was kept void
        first = f"{settings.endpoint}\0{settings.client_id}\0{settings.refresh_token}"
        self._origin = hashlib.sha256(first.encode()).hexdigest()

    def token(self, *, fresh: bool = False) -> Token:
        with self._store.locked():
            kept = self._kept()
            known = Token(str(kept.get("access_token", "")), float(kept.get("expires_at", 0)))
            if known.value and known.lasts > MARGIN and not fresh:
                return known
            return self._accept(_post(self._settings, self._settings.endpoint, self._form(kept)))

    def _kept(self) -> dict[str, Any]:
        kept = self._store.load()
        return kept if kept.get("origin") == self._origin else {}

    def _form(self, kept: dict[str, Any]) -> dict[str, str]:
        if self._settings.flow == "client_credentials":
            return {"grant_type": "client_credentials", "scope": self._settings.wanted_scope}
        refresh = str(kept.get("refresh_token") or self._settings.refresh_token)
        if not refresh:
            raise needs_login(self._settings)
        form = {"grant_type": "refresh_token", "refresh_token": refresh}
        return {**form, "scope": self._settings.wanted_scope}

    def _accept(self, answer: dict[str, Any]) -> Token:
        """Keep what the endpoint gave, before it is used: the old refresh token may be void now."""
        token = _token(answer)
        kept = self._kept()
        refresh = answer.get("refresh_token") or kept.get("refresh_token")
        self._store.save(
            {
                "origin": self._origin,
                "access_token": token.value,
                "expires_at": token.expires_at,
                "refresh_token": refresh or self._settings.refresh_token,
            }
        )
        return token

    def log_in(self, show: Callable[[str], object]) -> None:
        if self._settings.flow != "device_code":
            self.token(fresh=True)
            return
        with self._store.locked():
            self._store.load()  # nobody is to enter a code in vain
        asked = {"scope": self._settings.wanted_scope}
        device = _post(self._settings, self._settings.device_url or "", asked)
        where = device.get("verification_uri") or device.get("verification_url")
        show(f"Open {where} in a browser and enter the code {device.get('user_code')}")
        form = {
            "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
            "device_code": str(device.get("device_code", "")),
        }
        pause = float(device.get("interval", 5))
        end = time.monotonic() + float(device.get("expires_in", 900))
        while time.monotonic() < end:
            time.sleep(pause)
            try:
                answer = _post(self._settings, self._settings.endpoint, form)
            except _Refused as no:
                if no.error == "slow_down":  # RFC 8628, 3.5
                    pause += 5
                elif no.error != "authorization_pending":
                    raise
            else:
                with self._store.locked():
                    self._accept(answer)
                return
        raise MailboxCredentials("The code was not entered in time.", "Run the same command again.")


class _Refused(MailboxCredentials):
    """The endpoint's own answer (RFC 6749, 5.2)."""

    def __init__(self, happened: str, advice: str, error: str) -> None:
        super().__init__(happened, advice)
        self.error = error


def needs_login(settings: OAuth2) -> MailboxCredentials:
    """Nobody has logged in yet, or the login is no longer good."""
    return MailboxCredentials(
        "There is no OAuth2 login for this mailbox.", f"Type: {settings.login_command}"
    )


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A secret goes to the address in the configuration and nowhere else."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _post(settings: OAuth2, url: str, form: dict[str, str]) -> dict[str, Any]:
    """One request to an endpoint. Raises _Refused, MailboxTemporary and MailboxSettings."""
    parts = urllib.parse.urlsplit(url)
    host = parts.hostname or ""
    loopback = host in ("localhost", "127.0.0.1", "::1")
    if parts.scheme != "https" and not (parts.scheme == "http" and loopback):
        raise MailboxSettings(
            "The token endpoint has to be https, so that secrets are not sent in the clear.",
            'See token_url = "https://…" in [mailbox.oauth2].',
        )
    secret = {"client_secret": settings.client_secret} if settings.client_secret else {}
    body = {"client_id": settings.client_id, **secret, **form}
    data = urllib.parse.urlencode({key: value for key, value in body.items() if value}).encode()
    request = urllib.request.Request(url, data, {"Accept": "application/json"})  # noqa: S310
    handlers: list[Any] = [_NoRedirect]
    if loopback:
        handlers.append(urllib.request.ProxyHandler({}))
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=_PATIENCE) as answer:
            return _read(answer.read(_ANSWER), host)
    except urllib.error.HTTPError as problem:
        with problem:
            raise _refusal(settings, problem, host) from None
    except (OSError, urllib.error.URLError) as problem:
        reason = getattr(problem, "reason", problem)
        words = safe(str(getattr(reason, "strerror", None) or type(reason).__name__))
        raise MailboxTemporary(f"The token endpoint {safe(host)} is away ({words}).") from None


def _read(body: bytes, host: str) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise MailboxTemporary(f"The token endpoint {safe(host)} did not answer in JSON.")
    return answer


def _refusal(
    settings: OAuth2, problem: urllib.error.HTTPError, host: str
) -> MailboxCredentials | MailboxTemporary:
    if problem.code == 429 or problem.code >= 500:
        return MailboxTemporary(f"The token endpoint {safe(host)} answered {problem.code}.")
    try:
        answer = json.loads(problem.read(_ANSWER))
        error, words = str(answer["error"]), str(answer.get("error_description", ""))
    except (ValueError, TypeError, KeyError, OSError):
        error, words = str(problem.code), ""
    return refused(settings, host, error, words)


def refused(settings: OAuth2, host: str, error: str, words: str) -> _Refused:
    """What an endpoint said, without our secrets, and what to do about it."""
    for secret in (settings.client_secret, settings.refresh_token):
        if secret:
            words = words.replace(secret, "***")
    said = safe(" ".join(f"{error}: {words}".split()))[:300].rstrip(": ")
    again = error in ("invalid_grant", "expired_token", "interaction_required", "access_denied")
    advice = "See client_id, client_secret, tenant and scope in [mailbox.oauth2]."
    if again and settings.flow == "device_code":
        advice = f"Type: {settings.login_command}"
    elif again:
        advice = "Get a new refresh_token from the provider, and write it into [mailbox.oauth2]."
    return _Refused(f"The token endpoint {safe(host)} refused: {said}.", advice, error)


def _token(answer: dict[str, Any]) -> Token:
    value = answer.get("access_token")
    if not isinstance(value, str) or not value or any(ord(sign) < 33 for sign in value):
        raise MailboxTemporary("The token endpoint answered without an access token.")
    try:
        lasts = float(answer.get("expires_in", _LIFETIME))
    except (TypeError, ValueError):
        lasts = _LIFETIME
    return Token(value, time.time() + lasts)


@contextmanager
def _network() -> Iterator[None]:
    """Around what msal asks over the network: whatever requests raises is an OSError."""
    try:
        yield
    except OSError as problem:
        raise MailboxTemporary(
            f"login.microsoftonline.com is away ({type(problem).__name__})."
        ) from None


class _Microsoft:
    """Microsoft 365 through msal: an application's own rights, or a person at another screen."""

    def __init__(self, settings: OAuth2, store: TokenStore, http: Any) -> None:
        self._settings = settings
        self._store = store
        self._http = http
        self._scopes = [settings.wanted_scope]

    def token(self, *, fresh: bool = False) -> Token:
        with self._store.locked():
            app, cache = self._application()
            with _network():
                answer = self._ask(app, fresh=fresh)
            return self._accept(answer, cache)

    def _ask(self, app: Any, *, fresh: bool) -> Any:
        if self._settings.flow == "client_credentials":
            if fresh:
                app.remove_tokens_for_client()
            return app.acquire_token_for_client(scopes=self._scopes)
        accounts = app.get_accounts(username=self._settings.user)
        if not accounts:
            raise needs_login(self._settings)
        return app.acquire_token_silent_with_error(
            self._scopes, account=accounts[0], force_refresh=fresh
        )

    def log_in(self, show: Callable[[str], object]) -> None:
        if self._settings.flow != "device_code":
            self.token(fresh=True)
            return
        app, cache = self._application()
        with _network():
            device = app.initiate_device_flow(scopes=self._scopes)
        if "user_code" not in device:
            raise self._said(device)
        show(f"Open {device['verification_uri']} in a browser and enter {device['user_code']}")
        with _network():
            answer = app.acquire_token_by_device_flow(device)
        with self._store.locked():
            self._accept(answer, cache)

    def _application(self) -> tuple[Any, Any]:
        try:
            import msal  # noqa: PLC0415 - an extra, and slow to import
        except ImportError:
            raise MailboxSettings(
                'provider = "microsoft" needs a library that is not installed.',
                "Type: pip install 'bounced-mail[microsoft]'",
            ) from None
        cache = msal.SerializableTokenCache()
        cache.deserialize(str(self._store.load().get("msal", "")))
        where = f"{_MICROSOFT}/{self._settings.tenant}"
        more = {"authority": where, "token_cache": cache}
        more |= {"http_client": self._http} if self._http else {"timeout": _PATIENCE}
        kind = msal.PublicClientApplication
        if self._settings.flow == "client_credentials":
            kind = msal.ConfidentialClientApplication
            more["client_credential"] = self._settings.client_secret
        try:
            with _network():
                app = kind(self._settings.client_id, **more)
        except ValueError:  # msal's word for an unknown tenant; its text is a page long
            raise MailboxSettings(
                f'Microsoft does not know the tenant "{safe(self._settings.tenant)}".',
                'See tenant = "…" in [mailbox.oauth2].',
            ) from None
        return app, cache

    def _accept(self, answer: dict[str, Any] | None, cache: Any) -> Token:
        if cache.has_state_changed:
            self._store.save({"msal": cache.serialize()})
        if answer is None:
            raise needs_login(self._settings)
        if "access_token" not in answer:
            raise self._said(answer)
        return _token(answer)

    def _said(self, answer: dict[str, Any]) -> MailboxCredentials:
        words = str(answer.get("error_description", ""))
        return refused(self._settings, "login.microsoftonline.com", str(answer.get("error")), words)


class _Google:
    """A service account with the right to act for a user, through google-auth."""

    def __init__(self, settings: OAuth2) -> None:
        self._settings = settings
        self._known: Token | None = None

    def token(self, *, fresh: bool = False) -> Token:
        if self._known is not None and self._known.lasts > MARGIN and not fresh:
            return self._known
        try:
            from google.auth.exceptions import (  # noqa: PLC0415 - an extra, and slow to import
                GoogleAuthError,
                RefreshError,
                TransportError,
            )
            from google.auth.transport.requests import Request  # noqa: PLC0415
            from google.oauth2.service_account import Credentials  # noqa: PLC0415
        except ImportError:
            raise MailboxSettings(
                "A Google service account needs a library that is not installed.",
                "Type: pip install 'bounced-mail[google]'",
            ) from None
        try:
            credentials = Credentials.from_service_account_file(  # type: ignore[no-untyped-call]
                str(self._settings.key_file),
                scopes=[self._settings.wanted_scope],
                subject=self._settings.user,
            )
        except (OSError, ValueError, GoogleAuthError) as problem:
            why = getattr(problem, "strerror", None) or "it is no key of a service account"
            raise MailboxSettings(
                f"The key file of the service account cannot be used ({safe(str(why))}).",
                'See key_file = "…" in [mailbox.oauth2].',
            ) from None
        try:
            credentials.refresh(Request())
        except TransportError as problem:
            raise MailboxTemporary(
                f"Google's token endpoint is away ({type(problem).__name__})."
            ) from None
        except RefreshError as problem:
            words = safe(str(problem.args[0] if problem.args else problem))[:300]
            raise MailboxCredentials(
                f"Google refused the service account: {words}.",
                "Give it domain-wide delegation for https://mail.google.com/ (Admin console).",
            ) from None
        # google-auth keeps a naive UTC time
        left = (credentials.expiry - _utc_now()).total_seconds()
        self._known = Token(str(credentials.token), time.time() + left)
        return self._known

    def log_in(self, show: Callable[[str], object]) -> None:  # noqa: ARG002 - nobody is asked
        self.token(fresh=True)


def _utc_now() -> Any:
    from datetime import UTC, datetime  # noqa: PLC0415

    return datetime.now(UTC).replace(tzinfo=None)

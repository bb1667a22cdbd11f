"""OAuth2: tokens are got, kept, refreshed in time, and seen by nobody."""

from __future__ import annotations

import json
import logging
import stat
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from bounced.mailbox import (
    MailboxCredentials,
    MailboxError,
    MailboxSettings,
    MailboxTemporary,
)
from bounced.mailbox.imap import ImapMailbox
from bounced.mailbox.oauth2 import OAuth2, token_source
from bounced.mailbox.session import RENEWAL
from bounced.mailbox.tokens import FileStore, KeyringStore
from bounced.model import Destination
from tests.servers.authority import DEVICE, Authority

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.servers.dovecot import Dovecot

LETTERS = [b"Subject: letter %d\r\n\r\nbody\r\n" % n for n in range(6)]


@pytest.fixture(scope="module")
def authority() -> Iterator[Authority]:
    with Authority() as running:
        yield running


@pytest.fixture(autouse=True)
def pristine(authority: Authority) -> None:
    authority.user, authority.secret, authority.refresh_token = "ops", "", "refresh-canary-0"
    authority.lasts, authority.pending, authority.broken = 3600, 0, None
    authority.requests.clear()
    authority.tokens.clear()


@pytest.fixture(scope="module")
def dovecots(authority: Authority, run_dovecot: Callable[..., Dovecot]) -> Callable[[str], Dovecot]:
    """A server that takes tokens by one mechanism only."""
    known: dict[str, Dovecot] = {}

    def with_mechanism(name: str) -> Dovecot:
        if name not in known:
            known[name] = run_dovecot(introspection=authority.url("introspect"), mechanisms=name)
        return known[name]

    return with_mechanism


def settings(authority: Authority, **more: Any) -> OAuth2:
    keys: dict[str, Any] = {
        "user": authority.user,
        "flow": "refresh_token",
        "client_id": "client",
        "refresh_token": "refresh-canary-0",
        "token_url": authority.url("token"),
        "device_url": authority.url("device"),
    }
    return OAuth2(**keys | more)


def box(server: Dovecot, authority: Authority, folder: Path, **more: Any) -> ImapMailbox:
    return ImapMailbox(
        "news",
        host="localhost",
        port=server.tls_port,
        ca_file=server.ca_file,
        user=authority.user,
        password="",
        tokens=token_source(settings(authority, **more), FileStore(folder / "tokens", "news")),
    )


@pytest.mark.parametrize("mechanism", ["xoauth2", "oauthbearer"])
def test_a_token_opens_the_mailbox(
    mechanism: str, dovecots: Callable[[str], Dovecot], authority: Authority, tmp_path: Path
) -> None:
    server = dovecots(mechanism)
    authority.user = f"by-{mechanism}"
    server.deliver(authority.user, LETTERS)
    mailbox = box(server, authority, tmp_path)
    mailbox.open()
    uids = [uid for piece in mailbox.waiting() for uid in piece]
    assert [one.raw for one in mailbox.fetch(uids)] == LETTERS
    mailbox.close()
    mailbox.open()
    mailbox.close()
    assert authority.asked("refresh_token") == 1, "a token that lasts is used again"


@pytest.mark.parametrize("mechanism", ["xoauth2", "oauthbearer"])
def test_a_token_that_was_revoked_is_replaced_and_the_session_goes_on(
    mechanism: str, dovecots: Callable[[str], Dovecot], authority: Authority, tmp_path: Path
) -> None:
    authority.user = f"revoked-{mechanism}"
    mailbox = box(dovecots(mechanism), authority, tmp_path)
    mailbox.open()
    mailbox.close()
    authority.revoke()
    mailbox.open()
    mailbox.close()
    assert authority.asked("refresh_token") == 2


def test_a_token_the_server_never_accepts_ends_after_one_more_try(
    dovecots: Callable[[str], Dovecot], authority: Authority, tmp_path: Path
) -> None:
    server = dovecots("xoauth2")
    authority.user = "somebody-else"
    mailbox = box(server, authority, tmp_path)
    authority.lasts = -1  # the introspection finds every one run out
    with pytest.raises(MailboxCredentials, match="did not accept the token") as caught:
        mailbox.open()
    assert authority.asked("refresh_token") == 2
    assert "canary" not in str(caught.value)


def test_a_session_longer_than_its_token_begins_anew_in_time(
    dovecots: Callable[[str], Dovecot], authority: Authority, tmp_path: Path
) -> None:
    server = dovecots("xoauth2")
    authority.user = "long"
    authority.lasts = 4
    server.deliver("long", LETTERS)
    mailbox = box(server, authority, tmp_path)
    validity = mailbox.open()
    uids = [uid for piece in mailbox.waiting() for uid in piece]
    read: list[bytes] = []
    gone: set[int] = set()
    for uid in uids:
        time.sleep(0.8)
        read += [one.raw for one in mailbox.fetch([uid])]
        gone |= mailbox.file([uid], Destination.PROCESSED)
    assert (read, gone) == (LETTERS, set(uids))
    assert authority.asked("refresh_token") > 1, "the token must not have lasted"
    assert mailbox._validity == validity
    mailbox.close()


def test_a_folder_that_was_renumbered_meanwhile_ends_the_session(
    dovecots: Callable[[str], Dovecot], authority: Authority, tmp_path: Path
) -> None:
    server = dovecots("xoauth2")
    authority.user = "renumbered"
    server.deliver("renumbered", LETTERS)
    mailbox = box(server, authority, tmp_path)
    mailbox.open()
    mailbox._session.renew_at = 0.0
    mailbox._validity += 1
    with pytest.raises(MailboxTemporary, match="renumbered the folder"):
        list(mailbox.fetch([1]))
    mailbox.close()


def test_a_refresh_token_that_is_good_once_is_replaced_by_its_successor(
    authority: Authority, tmp_path: Path
) -> None:
    authority.lasts = 1  # never long enough to be used again
    source = token_source(settings(authority), FileStore(tmp_path, "news"))
    first, second = source.token(), source.token()
    assert first.value != second.value
    again = token_source(settings(authority), FileStore(tmp_path, "news"))
    assert again.token().value not in {first.value, second.value}
    assert authority.asked("refresh_token") == 3


def test_two_at_once_never_spend_the_same_refresh_token(
    authority: Authority, tmp_path: Path
) -> None:
    authority.lasts = 1
    troubles: list[Exception] = []

    def ask() -> None:
        try:
            token_source(settings(authority), FileStore(tmp_path, "news")).token()
        except MailboxError as problem:
            troubles.append(problem)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (troubles, authority.asked("refresh_token")) == ([], 8)


def test_a_new_refresh_token_in_the_configuration_counts_at_once(
    authority: Authority, tmp_path: Path
) -> None:
    token_source(settings(authority), FileStore(tmp_path, "news")).token()
    authority.refresh_token = "refresh-canary-anew"
    anew = settings(authority, refresh_token="refresh-canary-anew")
    token_source(anew, FileStore(tmp_path, "news")).token()
    assert authority.asked("refresh_token") == 2


def test_tokens_lie_in_a_private_file(authority: Authority, tmp_path: Path) -> None:
    store = FileStore(tmp_path / "tokens", "../sneaky/news")
    token_source(settings(authority), store).token()
    assert store.path.parent == tmp_path / "tokens"
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(store.path.parent.stat().st_mode) == 0o700
    assert [path for path in tmp_path.rglob("*.json.*") if path.suffix != ".lock"] == []
    assert store.path != FileStore(tmp_path / "tokens", ".._sneaky_news").path


def test_a_broken_token_file_is_as_good_as_none(authority: Authority, tmp_path: Path) -> None:
    store = FileStore(tmp_path, "news")
    for content in (b"{", b"[]", b"\xff\xfe"):
        store.path.write_bytes(content)
        authority.refresh_token = "refresh-canary-0"
        assert token_source(settings(authority), store).token().value


@pytest.mark.parametrize(("lasts", "asked"), [(310, 1), (299, 2)])
def test_a_session_that_is_begun_anew_for_its_tokens_sake_gets_another(
    authority: Authority, tmp_path: Path, lasts: int, asked: int
) -> None:
    authority.lasts = lasts
    source = token_source(settings(authority), FileStore(tmp_path, "news"))
    assert source.token().value
    assert (source.token().lasts > RENEWAL) is (asked == 1)
    assert authority.asked("refresh_token") == asked


def test_nobody_enters_a_code_for_a_login_that_cannot_be_kept(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    keys = {"flow": "device_code", "refresh_token": ""}
    source = token_source(settings(authority, **keys), KeyringStore(tmp_path, "news"))
    with pytest.raises(MailboxSettings, match="pip install"):
        source.log_in(lambda _: pytest.fail("somebody was asked"))


def test_client_credentials_need_no_person(authority: Authority, tmp_path: Path) -> None:
    authority.secret = "secret-canary"
    keys = {"flow": "client_credentials", "refresh_token": "", "client_secret": "secret-canary"}
    source = token_source(settings(authority, **keys), FileStore(tmp_path, "news"))
    assert source.token().lasts > 3500
    assert authority.asked("client_credentials") == 1


def test_a_person_logs_in_with_a_code_and_never_again(authority: Authority, tmp_path: Path) -> None:
    authority.pending = 2
    keys = {"flow": "device_code", "refresh_token": "", "mailbox": "the news"}
    source = token_source(settings(authority, **keys), FileStore(tmp_path, "news"))
    with pytest.raises(MailboxCredentials, match=r"Type: bounced login 'the news'$"):
        source.token()
    shown: list[str] = []
    source.log_in(shown.append)
    assert shown == [
        "Open https://login.example.com/device in a browser and enter the code ABCD-EFGH"
    ]
    assert authority.asked(DEVICE) == 3
    assert source.token().value
    assert source.token(fresh=True).value
    assert authority.asked("refresh_token") == 1


@pytest.mark.parametrize(
    ("broken", "kind", "said"),
    [
        ((503, b"busy"), MailboxTemporary, "answered 503"),
        ((429, b"slow"), MailboxTemporary, "answered 429"),
        ((200, b"<html>"), MailboxTemporary, "not answer in JSON"),
        ((200, b"{}"), MailboxTemporary, "without an access token"),
        ((200, b'{"access_token": "a\\r\\nb"}'), MailboxTemporary, "without an access token"),
        ((400, b"<html>"), MailboxCredentials, "refused: 400"),
        ((302, b"http://127.0.0.1:1/"), MailboxCredentials, "refused: 302"),
        ((400, b'{"error": "\\u001b[31minvalid_grant"}'), MailboxCredentials, r"\x1b"),
    ],
)
def test_an_authority_that_fails_is_one_sentence(
    authority: Authority, tmp_path: Path, broken: Any, kind: type[MailboxError], said: str
) -> None:
    authority.broken = broken
    with pytest.raises(kind) as caught:
        token_source(settings(authority), FileStore(tmp_path, "news")).token()
    assert type(caught.value).__mro__[1] is kind or type(caught.value) is kind
    assert said in str(caught.value)


def test_an_authority_that_is_away_is_tried_again_later(tmp_path: Path) -> None:
    away = OAuth2("ops", "refresh_token", refresh_token="r", token_url="http://127.0.0.1:1/token")
    with pytest.raises(MailboxTemporary, match="is away"):
        token_source(away, FileStore(tmp_path, "news")).token()


def test_secrets_never_go_out_unencrypted(tmp_path: Path) -> None:
    plain = OAuth2("ops", "refresh_token", refresh_token="r", token_url="http://example.com/token")
    with pytest.raises(MailboxSettings, match="https"):
        token_source(plain, FileStore(tmp_path, "news")).token()


def test_no_secret_is_told_even_when_the_authority_repeats_it(
    authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    authority.secret = "another"
    chosen = settings(authority, client_secret="secret-canary")
    source = token_source(chosen, FileStore(tmp_path, "news"))
    with pytest.raises(MailboxCredentials) as refused:
        source.token()
    authority.secret = "secret-canary"
    authority.refresh_token = "spent"
    with pytest.raises(MailboxCredentials) as spent:
        source.token()
    for text in (str(refused.value), str(spent.value), repr(chosen), repr(source), caplog.text):
        assert "canary" not in text
    assert "Get a new refresh_token" in str(spent.value)


# -- Microsoft through msal, Google through google-auth


class MicrosoftOnline:
    """What msal asks the network for, answered from memory."""

    def __init__(self) -> None:
        self.forms: list[dict[str, Any]] = []
        self.lasts = 3600

    def get(self, url: str, **_: Any) -> Any:
        base = "https://login.microsoftonline.com/example.org"
        endpoints = {
            "issuer": f"{base}/v2.0",
            "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
            "token_endpoint": f"{base}/oauth2/v2.0/token",
            "device_authorization_endpoint": f"{base}/oauth2/v2.0/devicecode",
            "tenant_discovery_endpoint": f"{base}/v2.0/.well-known/openid-configuration",
            "metadata": [],
        }
        return _Response(200, endpoints)

    def post(self, url: str, data: dict[str, Any] | None = None, **_: Any) -> Any:
        form = data or {}
        self.forms.append(form)
        if url.endswith("devicecode"):
            device = {"device_code": "d", "user_code": "WXYZ", "expires_in": 60, "interval": 1}
            where = {"verification_uri": "https://microsoft.example.com/device", "message": "go"}
            return _Response(200, device | where)
        if form.get("client_secret") == "wrong-canary":
            why = "AADSTS7000215: Invalid client secret wrong-canary provided."
            return _Response(401, {"error": "invalid_client", "error_description": why})
        token = {"access_token": f"microsoft-canary-{len(self.forms)}", "token_type": "Bearer"}
        return _Response(200, token | {"expires_in": self.lasts} | self._person(form))

    def _person(self, form: dict[str, Any]) -> dict[str, Any]:
        if form.get("grant_type") == "client_credentials":
            return {}
        import base64

        def encoded(table: dict[str, Any]) -> str:
            return base64.urlsafe_b64encode(json.dumps(table).encode()).decode().rstrip("=")

        now = int(time.time())
        claims = {"aud": "client", "iss": "x", "iat": now, "exp": now + 600, "oid": "o", "sub": "s"}
        claims["preferred_username"] = "ops@example.org"
        who = {"id_token": f"{encoded({'alg': 'none'})}.{encoded(claims)}."}
        info = encoded({"uid": "u", "utid": "t"})
        scope = "https://outlook.office.com/IMAP.AccessAsUser.All"
        return {**who, "client_info": info, "refresh_token": "microsoft-refresh", "scope": scope}

    def close(self) -> None:
        """Nothing to close."""


class _Response:
    def __init__(self, status: int, table: dict[str, Any]) -> None:
        self.status_code = status
        self.text = json.dumps(table)
        self.headers: dict[str, str] = {}

    def raise_for_status(self) -> None:
        assert self.status_code < 400


def microsoft(folder: Path, online: MicrosoftOnline, **keys: Any) -> Any:
    pytest.importorskip("msal")
    chosen = OAuth2(
        "ops@example.org", provider="microsoft", client_id="client", tenant="example.org", **keys
    )
    return token_source(chosen, FileStore(folder, "news"), http=online)


def test_microsoft_lets_an_application_in_and_its_token_is_kept(tmp_path: Path) -> None:
    online = MicrosoftOnline()
    keys = {"flow": "client_credentials", "client_secret": "s"}
    first = microsoft(tmp_path, online, **keys).token()
    second = microsoft(tmp_path, online, **keys).token()
    assert first.value == second.value
    assert [form["scope"] for form in online.forms] == ["https://outlook.office365.com/.default"]
    assert microsoft(tmp_path, online, **keys).token(fresh=True).value != first.value


def test_microsoft_lets_a_person_in_by_device_code(tmp_path: Path) -> None:
    online = MicrosoftOnline()
    with pytest.raises(MailboxCredentials, match="bounced login"):
        microsoft(tmp_path, online, flow="device_code").token()
    shown: list[str] = []
    microsoft(tmp_path, online, flow="device_code").log_in(shown.append)
    assert shown == ["Open https://microsoft.example.com/device in a browser and enter WXYZ"]
    assert microsoft(tmp_path, online, flow="device_code").token().lasts > 3500
    microsoft(tmp_path, online, flow="device_code").token(fresh=True)
    assert online.forms[-1]["grant_type"] == "refresh_token"


def test_a_refusal_of_microsoft_is_told_without_the_secret(tmp_path: Path) -> None:
    keys = {"flow": "client_credentials", "client_secret": "wrong-canary"}
    with pytest.raises(MailboxCredentials, match="AADSTS7000215") as caught:
        microsoft(tmp_path, MicrosoftOnline(), **keys).token()
    assert "canary" not in str(caught.value)


def test_microsoft_away_is_tried_again_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    online = MicrosoftOnline()

    def away(*_: Any, **__: Any) -> Any:
        raise ConnectionError

    monkeypatch.setattr(online, "post", away)
    with pytest.raises(MailboxTemporary, match="is away"):
        microsoft(tmp_path, online, flow="client_credentials", client_secret="s").token()


def service_account(folder: Path, authority: Authority) -> OAuth2:
    pytest.importorskip("google.auth")
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    private = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    key = {
        "type": "service_account",
        "private_key": private.decode(),
        "private_key_id": "1",
        "client_email": "robot@project.example.com",
        "token_uri": authority.url("token"),
    }
    (folder / "key.json").write_text(json.dumps(key))
    return OAuth2(
        "ops@example.org",
        "service_account",
        provider="google",
        key_file=folder / "key.json",
    )


def test_a_service_account_of_google_acts_for_the_user(
    authority: Authority, tmp_path: Path
) -> None:
    authority.client = ""
    authority.broken = (200, b'{"access_token": "google-canary", "expires_in": 3600}')
    source = token_source(service_account(tmp_path, authority), FileStore(tmp_path, "news"))
    token = source.token()
    authority.client = "client"
    assert (token.value, 3500 < token.lasts <= 3600) == ("google-canary", True)
    assert source.token() is token
    (_, form) = authority.requests[0]
    import base64

    claims = json.loads(base64.urlsafe_b64decode(form["assertion"].split(".")[1] + "=="))
    assert (claims["sub"], claims["scope"]) == ("ops@example.org", "https://mail.google.com/")


def test_a_service_account_that_may_not_is_told_what_it_lacks(
    authority: Authority, tmp_path: Path
) -> None:
    authority.broken = (401, b'{"error": "unauthorized_client", "error_description": "no"}')
    source = token_source(service_account(tmp_path, authority), FileStore(tmp_path, "news"))
    with pytest.raises(MailboxCredentials, match="domain-wide delegation"):
        source.token()


def test_a_key_file_that_is_none_is_a_setting(tmp_path: Path) -> None:
    pytest.importorskip("google.auth")
    for content in (None, "{}", "x"):
        path = tmp_path / "key.json"
        if content is not None:
            path.write_text(content)
        chosen = OAuth2("o", "service_account", provider="google", key_file=path)
        with pytest.raises(MailboxSettings, match="key_file"):
            token_source(chosen, FileStore(tmp_path, "news")).token()


@pytest.mark.parametrize(
    ("module", "keys", "extra"),
    [
        ("msal", {"provider": "microsoft", "flow": "client_credentials"}, "microsoft"),
        ("google.auth.exceptions", {"provider": "google", "flow": "service_account"}, "google"),
    ],
)
def test_an_extra_that_is_not_installed_is_told(
    module: str, keys: Any, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    source = token_source(OAuth2("o", **keys), FileStore(tmp_path, "news"))
    with pytest.raises(MailboxSettings, match=rf"pip install 'bounced-mail\[{extra}\]'"):
        source.token()


def test_the_keyring_keeps_tokens_where_there_is_one(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import types

    kept: dict[tuple[str, str], str] = {}

    class KeyringError(Exception):
        pass

    def locked(*_: str) -> None:
        raise KeyringError("canary")

    ring: Any = types.ModuleType("keyring")
    ring.errors = types.SimpleNamespace(KeyringError=KeyringError)
    ring.get_password = lambda service, name: kept.get((service, name))
    ring.set_password = lambda service, name, text: kept.update({(service, name): text})
    monkeypatch.setitem(sys.modules, "keyring", ring)
    source = token_source(settings(authority), KeyringStore(tmp_path, "news"))
    assert source.token().value == source.token().value
    assert list(kept) == [("bounced", "news")]
    assert not list(tmp_path.glob("*.json"))
    ring.get_password = locked
    with pytest.raises(MailboxSettings, match="keyring did not work") as caught:
        source.token()
    assert "canary" not in str(caught.value)
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(MailboxSettings, match=r"pip install 'bounced-mail\[keyring\]'"):
        source.token()

"""An OAuth2 authority on loopback, for tests: token, device and introspection endpoints."""

from __future__ import annotations

import itertools
import json
import threading
import time
import urllib.parse
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from types import TracebackType

DEVICE = "urn:ietf:params:oauth:grant-type:device_code"


@dataclass
class Authority:
    """The authority; use it as a context manager. Everyone it gives a token to is `user`.

    Refresh tokens are good once. `pending` is how often a device code is not confirmed yet;
    `broken` is a status and a body that every token request gets instead.
    """

    user: str = "ops"
    client: str = "client"
    secret: str = ""
    refresh_token: str = "refresh-canary-0"
    lasts: float = 3600
    pending: int = 0
    broken: tuple[int, bytes] | None = None
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    tokens: dict[str, float] = field(default_factory=dict)  # until when each is good

    def __post_init__(self) -> None:
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/{path}"

    def revoke(self) -> None:
        """From now on no access token given so far is good."""
        self.tokens.clear()

    def asked(self, grant: str) -> int:
        return sum(form.get("grant_type") == grant for _, form in self.requests)

    def answer(self, path: str, form: dict[str, str]) -> tuple[int, bytes]:
        with self._lock:
            self.requests.append((path, form))
            if path == "/introspect":
                good = self.tokens.get(form.get("token", ""), 0) > time.time()
                return _json(200, active=good, username=self.user if good else "")
            if self.broken is not None:
                return self.broken
            if form.get("client_id") != self.client or form.get("client_secret", "") != self.secret:
                return _json(401, error="invalid_client", error_description=f"not {form}")
            if path == "/device":
                return _json(
                    200,
                    device_code="device-canary",
                    user_code="ABCD-EFGH",
                    verification_uri="https://login.example.com/device",
                    interval=0.05,
                    expires_in=20,
                )
            return self._grant(form)

    def _grant(self, form: dict[str, str]) -> tuple[int, bytes]:
        grant = form.get("grant_type")
        if grant == "refresh_token" and form.get("refresh_token") != self.refresh_token:
            why = f"the token {form.get('refresh_token')} was used before"
            return _json(400, error="invalid_grant", error_description=why)
        if grant == DEVICE and self.pending:
            self.pending -= 1
            return _json(400, error="authorization_pending")
        number = next(self._numbers)
        token = f"access-canary-{number}"
        self.tokens[token] = time.time() + self.lasts
        more: dict[str, Any] = {}
        if grant in {"refresh_token", DEVICE}:
            self.refresh_token = more["refresh_token"] = f"refresh-canary-{number}"
        return _json(200, access_token=token, expires_in=self.lasts, token_type="Bearer", **more)


def _json(status: int, **answer: object) -> tuple[int, bytes]:
    return status, json.dumps(answer).encode()


def _handler(authority: Authority) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Tests are quiet."""

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            form = dict(urllib.parse.parse_qsl(body.decode()))
            status, answer = authority.answer(self.path, form)
            self.send_response(status)
            if status in {301, 302, 307, 308}:
                self.send_header("Location", answer.decode())
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

    return Handler

"""Webhooks: signed, never redirected, tried again; against a server that does what servers do."""

from __future__ import annotations

import base64
import hashlib
import hmac
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bounced import webhooks
from bounced.model import Notice, Setback
from bounced.webhooks import NotTakenError, Webhook, deliver, key_of, post, wrong_with

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
SECRET = b"a secret of 24 bytes, so"
NOTICE = Notice(1, "msg_1", '{"type":"address.suppressed"}', NOW, 1)


class Receiver:
    """A site with a webhook. `answer` says what it does with the n-th request (from 1)."""

    def __init__(self, answer: Callable[[int], int | None]) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.got.append((dict(self.headers), body))
                status = answer(len(outer.got))
                if status is None:  # it dies in between
                    self.connection.close()
                    return
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", "http://127.0.0.1:1/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook?a=1"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def receiving(answer: Callable[[int], int | None]) -> Iterator[Receiver]:
    receiver = Receiver(answer)
    try:
        yield receiver
    finally:
        receiver.close()


def webhook(url: str) -> Webhook:
    return Webhook("site", url, SECRET)


def test_a_notice_arrives_as_it_was_written_and_signed_as_the_standard_says() -> None:
    with receiving(lambda _: 204) as receiver:
        post(webhook(receiver.url), NOTICE, NOW)
    ((headers, body),) = receiver.got
    assert body == NOTICE.payload.encode()
    assert headers["webhook-id"] == "msg_1"
    assert headers["webhook-timestamp"] == str(int(NOW.timestamp()))
    signed = f"msg_1.{int(NOW.timestamp())}.".encode() + body
    digest = hmac.new(SECRET, signed, hashlib.sha256).digest()
    assert headers["webhook-signature"] == "v1," + base64.b64encode(digest).decode()
    assert headers["Content-Type"] == "application/json"


def test_the_signature_is_that_of_the_standards_own_example() -> None:
    """The example of the specification (standardwebhooks.com, symmetric signatures)."""
    body = '{"test": 2432232314}'
    key = key_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    at = datetime.fromtimestamp(1614265330, UTC)
    example = Notice(1, "msg_p5jXN8AQM9LWM0D4loKWxJek", body, NOW, 1)
    made = webhooks.headers(example, key, at)["webhook-signature"]
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize(
    ("status", "refused"),
    [
        (500, False),
        (503, False),
        (429, False),
        (302, False),
        (307, False),
        (400, True),
        (410, True),
    ],
)
def test_every_answer_but_success_is_a_failure(status: int, *, refused: bool) -> None:
    with receiving(lambda _: status) as receiver, pytest.raises(NotTakenError) as told:
        post(webhook(receiver.url), NOTICE, NOW)
    assert len(receiver.got) == 1, "a redirect is not followed"
    assert told.value.refused is refused
    assert str(status) in str(told.value)


def test_a_receiver_that_dies_or_is_not_there_is_told_in_words() -> None:
    with receiving(lambda _: None) as receiver, pytest.raises(NotTakenError, match="no answer"):
        post(webhook(receiver.url), NOTICE, NOW)
    with pytest.raises(NotTakenError, match="no answer: Connection refused"):
        post(webhook(receiver.url), NOTICE, NOW)


def test_a_host_name_that_is_none_is_trouble_like_any_other() -> None:
    with pytest.raises(NotTakenError, match="no answer"):
        post(Webhook("site", "https://www..example.com/hook", SECRET), NOTICE, NOW)


def test_a_slow_receiver_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "PATIENCE", 0.2)
    began = time.monotonic()

    def slowly(_: int) -> int:
        time.sleep(1.0)
        return 204

    with receiving(slowly) as receiver:
        with pytest.raises(NotTakenError, match="no answer: timed out"):
            post(webhook(receiver.url), NOTICE, NOW)
        assert time.monotonic() - began < 0.9


def test_an_answer_that_trickles_on_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    monkeypatch.setattr(webhooks, "DEADLINE", 0.4)
    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def trickle() -> None:
        peer, _ = listener.accept()
        with peer:
            peer.sendall(b"HTTP/1.1 200 OK\r\nX: ")
            while not over.wait(0.05):
                try:
                    peer.sendall(b"x")
                except OSError:
                    return

    thread = threading.Thread(target=trickle)
    thread.start()
    try:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        with pytest.raises(NotTakenError):
            post(webhook(url), NOTICE, NOW)
    finally:
        over.set()
        thread.join()
        listener.close()


@pytest.mark.parametrize(
    ("url", "right"),
    [
        ("https://www.example.com/hook", True),
        ("http://127.0.0.1:8000/hook", True),
        ("http://localhost/hook", True),
        ("http://www.example.com/hook", False),
        ("https://user:password@example.com/", False),
        ("ftp://example.com/", False),
        ("https://example.com:99999/", False),
        ("https:///hook", False),
        ("https://example.com/a b", False),
        ("nonsense", False),
    ],
)
def test_only_addresses_that_nobody_else_can_read_along_will_do(url: str, *, right: bool) -> None:
    assert (wrong_with(url) is None) is right
    if not right:
        with pytest.raises(ValueError, match=r"."):
            webhook(url)


def test_a_webhook_shows_nobody_its_secret() -> None:
    assert "secret" not in repr(webhook("https://example.com/")).replace("SECRET", "")


@pytest.mark.parametrize("secret", ["short", "whsec_", "whsec_c2hvcnQ="])
def test_a_secret_that_can_be_guessed_is_refused(secret: str) -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        key_of(secret)


class Waiting:
    """An outbox in memory."""

    def __init__(self, notices: Sequence[Notice]) -> None:
        self.notices = list(notices)
        self.settled: list[tuple[set[int], list[Setback]]] = []

    def claim(self, webhook: str, *, at: datetime) -> Sequence[Notice]:
        some, self.notices = self.notices[:20], self.notices[20:]
        return some

    def settle(
        self,
        webhook: str,
        notices: Sequence[Notice],
        *,
        taken: Collection[int],
        setbacks: Sequence[Setback],
        at: datetime,
    ) -> None:
        self.settled.append((set(taken), list(setbacks)))


def told(notices: Sequence[Notice], answers: dict[int, NotTakenError]) -> tuple[Any, Waiting]:
    def send(_: Webhook, notice: Notice, __: datetime) -> None:
        if notice.id in answers:
            raise answers[notice.id]

    outbox = Waiting(notices)
    site = webhook("https://example.com/")
    return deliver(outbox, site, clock=lambda: NOW, send=send), outbox


def many(count: int) -> list[Notice]:
    return [replace(NOTICE, id=n, message_id=f"msg_{n}") for n in range(1, count + 1)]


def test_everything_that_waits_is_told() -> None:
    done, outbox = told(many(45), {})
    assert (done.taken, done.failed) == (45, 0)
    assert [len(taken) for taken, _ in outbox.settled] == [20, 20, 5]


def test_after_the_first_failure_of_a_webhook_it_is_left_alone() -> None:
    done, outbox = told(many(45), {3: NotTakenError("no answer")})
    assert (done.taken, done.failed, done.dead) == (2, 1, 0)
    ((taken, (setback,)),) = outbox.settled
    assert taken == {1, 2}
    assert (setback.all_wait, setback.until) == (True, NOW + timedelta(minutes=1))


def test_a_refused_notice_does_not_keep_others_from_being_told() -> None:
    done, _ = told(many(30), {3: NotTakenError("it answered 400", refused=True)})
    assert (done.taken, done.failed) == (29, 1)


def test_a_webhook_that_refuses_everything_is_not_asked_for_ever() -> None:
    refusal = NotTakenError("it answered 404", refused=True)
    done, _ = told(many(45), dict.fromkeys(range(1, 46), refusal))
    assert (done.taken, done.failed) == (0, webhooks.PATIENT_REFUSALS)


def test_pauses_grow_and_in_the_end_a_notice_is_given_up() -> None:
    waits = []
    for attempts in range(1, 9):
        _, outbox = told([replace(NOTICE, attempts=attempts)], {1: NotTakenError("no answer")})
        waits.append(outbox.settled[0][1][0].until)
    assert all(one is not None for one in waits)
    assert waits == sorted(waits, key=lambda at: at or NOW)
    old = replace(NOTICE, created_at=NOW - timedelta(days=5))
    done, outbox = told([old], {1: NotTakenError("no answer")})
    assert done.dead == 1
    assert outbox.settled[0][1][0].until is None


def test_a_pass_that_is_asked_to_stop_leaves_the_rest_for_the_next() -> None:
    outbox = Waiting(many(5))
    sent: list[int] = []

    def send(_: Webhook, notice: Notice, __: datetime) -> None:
        sent.append(notice.id)

    site = webhook("https://example.com/")
    deliver(outbox, site, clock=lambda: NOW, send=send, stop=lambda: len(sent) >= 2)
    assert outbox.settled == [({1, 2}, [])]


def test_the_documented_receiver_knows_what_is_genuine() -> None:
    page = (Path(__file__).parents[1] / "docs" / "webhooks.md").read_text()
    known: dict[str, Any] = {}
    exec(page.split("```python\n")[1].split("```")[0], known)  # noqa: S102 - our own page
    genuine = known["genuine"]
    now = datetime.now(UTC)
    sent = webhooks.headers(NOTICE, SECRET, now)
    body = NOTICE.payload.encode()
    assert genuine(sent, body, SECRET)
    assert not genuine(sent, body + b" ", SECRET)
    assert not genuine(sent, body, b"another secret of 24 byt")
    assert not genuine({**sent, "webhook-id": "msg_2"}, body, SECRET)
    old = webhooks.headers(NOTICE, SECRET, now - timedelta(hours=1))
    assert not genuine(old, body, SECRET)

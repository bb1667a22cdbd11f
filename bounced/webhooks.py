"""Webhooks out: notices of the ledger's outbox, signed and handed to the operator's own addresses.

The signature is that of Standard Webhooks (standardwebhooks.com): HMAC-SHA256 over
`id.timestamp.body`, so that receivers find libraries for it. Whatever is not clearly taken (2xx) is
tried again, later each time; a notice may arrive more than once, always under the same id.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import urlsplit

from bounced.failpoint import failpoint
from bounced.model import Setback

if TYPE_CHECKING:
    import http.client
    import threading
    from collections.abc import Callable, Collection, Sequence
    from datetime import datetime

    from bounced.model import Notice

# Without an answer for so long (seconds), and for a whole exchange, however it trickles.
PATIENCE: Final = 10.0
DEADLINE: Final = 30.0
# How long a notice is left alone after its first, second, … failure; the last one repeats.
PAUSES: Final = tuple(timedelta(minutes=m) for m in (1, 5, 30, 120, 300, 600))
# A webhook that refuses so many notices one after the other refuses everything.
PATIENT_REFUSALS: Final = 10
# Refusals that are about the webhook and not about what it was told (RFC 9110, RFC 6585).
PASSING: Final = frozenset({408, 425, 429})
SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - what a secret begins with
LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class NotTakenError(Exception):
    """A notice was not taken; `refused` where the webhook works and did not want this one."""

    def __init__(self, why: str, *, refused: bool = False) -> None:
        super().__init__(why)
        self.refused = refused


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where notices go. `give_up` is how long one is tried; raises ValueError for a bad URL."""

    name: str
    url: str
    secret: bytes = field(repr=False)
    give_up: timedelta = timedelta(days=5)

    def __post_init__(self) -> None:
        if (problem := wrong_with(self.url)) is not None:
            raise ValueError(problem)


class Outbox(Protocol):
    """Where notices wait; see `bounced.ledger.outbox` for the meaning of each."""

    def claim(self, webhook: str, *, at: datetime) -> Sequence[Notice]:
        """The next notices, which nobody else gets for some minutes."""

    def settle(
        self,
        webhook: str,
        notices: Sequence[Notice],
        *,
        taken: Collection[int],
        setbacks: Sequence[Setback],
        at: datetime,
    ) -> None:
        """Forget those that were taken, put off those that were not."""


@dataclass(slots=True)
class Delivered:
    """What one pass did: notices taken, not taken, given up; and what was wrong last."""

    taken: int = 0
    failed: int = 0
    dead: int = 0
    error: str | None = None


def wrong_with(url: str) -> str | None:
    """What is wrong with a webhook's URL, in words; None where nothing is."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "it is no URL"
    if not host or not url.isascii() or any(char <= " " for char in url):
        return "it is no URL such as https://www.example.com/hooks/bounced"
    if parts.username is not None or parts.password is not None:
        return "a name or password in it would be shown; webhooks are signed instead"
    if parts.scheme == "https" or (parts.scheme == "http" and host in LOOPBACK):
        return None
    return "only https:// will do, or http:// to this machine itself (127.0.0.1)"


def key_of(secret: str) -> bytes:
    """The bytes of a secret: what stands behind `whsec_` in base64, else the text itself.

    Raises ValueError for fewer than 16 bytes.
    """
    key = secret.strip().encode()
    if secret.startswith(SECRET_PREFIX):
        with suppress(binascii.Error):
            key = base64.b64decode(secret.strip().removeprefix(SECRET_PREFIX), validate=True)
    if len(key) < 16:
        raise ValueError("a webhook's secret is too short; 16 bytes are the least")
    return key


def headers(notice: Notice, secret: bytes, at: datetime) -> dict[str, str]:
    """What goes with a notice at a time: its id, the time, and the signature over both and it."""
    seconds = str(int(at.timestamp()))
    said = f"{notice.message_id}.{seconds}.{notice.payload}".encode()
    digest = base64.b64encode(hmac.digest(secret, said, hashlib.sha256)).decode("ascii")
    return {
        "Content-Type": "application/json",
        "User-Agent": "bounced",
        "webhook-id": notice.message_id,
        "webhook-timestamp": seconds,
        "webhook-signature": f"v1,{digest}",
    }


def post(webhook: Webhook, notice: Notice, at: datetime) -> None:
    """Hand one notice over. Raises NotTakenError for every answer but 2xx, and for none.

    A redirect is not followed: it could lead what it is told to another host.
    """
    # late, because whoever reads a configuration has no need of them
    import http.client  # noqa: PLC0415
    import ssl  # noqa: PLC0415
    import threading  # noqa: PLC0415

    parts = urlsplit(webhook.url)
    host, port = str(parts.hostname), parts.port
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        context = ssl.create_default_context()
        connection = http.client.HTTPSConnection(host, port, timeout=PATIENCE, context=context)
    else:
        connection = http.client.HTTPConnection(host, port, timeout=PATIENCE)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    late = threading.Event()
    watch = threading.Timer(DEADLINE, _cut, [connection, late])
    watch.daemon = True
    watch.start()
    try:
        known = headers(notice, webhook.secret, at)
        connection.request("POST", target, notice.payload.encode(), known)
        status = connection.getresponse().status
    # the last is of a host name that no name service takes, such as one with two dots in a row
    except (OSError, http.client.HTTPException, UnicodeError) as problem:
        what = getattr(problem, "strerror", None) or str(problem) or type(problem).__name__
        raise NotTakenError(f"no answer: {what}") from None
    finally:
        watch.cancel()
        connection.close()
    if late.is_set():  # what came by then looks like the end of an answer
        raise NotTakenError("no answer: it took too long")
    if 200 <= status < 300:
        return
    refused = 400 <= status < 500 and status not in PASSING
    why = f"a redirect ({status}), which is not followed" if 300 <= status < 400 else str(status)
    raise NotTakenError(f"it answered {why}", refused=refused)


def _cut(connection: http.client.HTTPConnection, late: threading.Event) -> None:
    """End an exchange that trickles on: whoever reads from it sees its end."""
    late.set()
    with suppress(OSError, AttributeError):
        connection.sock.shutdown(2)


def deliver(
    outbox: Outbox,
    webhook: Webhook,
    *,
    clock: Callable[[], datetime],
    stop: Callable[[], bool] = lambda: False,
    send: Callable[[Webhook, Notice, datetime], None] = post,
) -> Delivered:
    """Tell one webhook all that waits for it, until it fails or `stop` says so."""
    done = Delivered()
    while not stop() and (notices := outbox.claim(webhook.name, at=clock())):
        go_on = _some(outbox, webhook, notices, done, clock, stop, send)
        if not go_on:
            break
    return done


def _some(  # noqa: PLR0913, PLR0917 - one step of `deliver`, with all it knows
    outbox: Outbox,
    webhook: Webhook,
    notices: Sequence[Notice],
    done: Delivered,
    clock: Callable[[], datetime],
    stop: Callable[[], bool],
    send: Callable[[Webhook, Notice, datetime], None],
) -> bool:
    """Tell what was claimed; whether there is sense in going on."""
    taken: list[int] = []
    setbacks: list[Setback] = []
    go_on = True
    for notice in notices:
        if stop() or not go_on:
            break
        try:
            send(webhook, notice, clock())
        except NotTakenError as problem:
            setbacks.append(_setback(webhook, notice, problem, clock()))
            go_on = problem.refused and len(setbacks) < PATIENT_REFUSALS
        else:
            failpoint("delivered")
            taken.append(notice.id)
    outbox.settle(webhook.name, notices, taken=taken, setbacks=setbacks, at=clock())
    done.taken += len(taken)
    done.failed += len(setbacks)
    done.dead += sum(one.until is None for one in setbacks)
    done.error = setbacks[-1].error if setbacks else done.error
    return go_on


def _setback(webhook: Webhook, notice: Notice, problem: NotTakenError, at: datetime) -> Setback:
    over = at - notice.created_at >= webhook.give_up
    until = None if over else at + PAUSES[min(notice.attempts, len(PAUSES)) - 1]
    return Setback(notice, str(problem), until, all_wait=not problem.refused)

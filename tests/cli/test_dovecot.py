"""`bounced sync` and `bounced run` as processes, against a real Dovecot over TLS."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import process
from tests.cli.test_sync import configure, finished, letters, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Bounced
    from tests.servers.dovecot import Dovecot


def box(server: Dovecot, user: str, **keys: object) -> dict[str, object]:
    where = {"host": "localhost", "port": server.tls_port, "ca_file": server.ca_file}
    return {"name": user, **where, "user": user, "password": server.password, **keys}


def waiting(server: Dovecot, user: str, folder: str = "") -> int:
    maildir = server.where / "mail" / user / "Maildir" / folder
    return sum(len(list((maildir / part).iterdir())) for part in ("new", "cur"))


@pytest.mark.parametrize("tls", ["implicit", "starttls"])
def test_sync_empties_a_mailbox_over_tls(bounced: Bounced, server: Dovecot, tls: str) -> None:
    user = f"sync-{tls}"
    server.deliver(user, [*letters(5), b"Subject: lunch?\r\n\r\nNoon?\r\n"])
    port = server.tls_port if tls == "implicit" else server.port
    configure(bounced.folder, box(server, user, tls=tls, port=port))
    code, out, err = finished(process("sync", cwd=bounced.folder), 60)
    assert (code, err) == (0, "")
    assert out.startswith(f"{user}: 6 letters (5 bounce, 1 other), 5 newly suppressed; ")
    assert waiting(server, user) == 0
    assert waiting(server, user, ".Bounced.Processed") == 5
    assert waiting(server, user, ".Bounced.Unrecognised") == 1
    assert len(bounced("suppressed").output.split()) == 5


def test_flagged_mail_stays_and_is_not_read_again(bounced: Bounced, server: Dovecot) -> None:
    server.deliver("flag", letters(3))
    configure(bounced.folder, box(server, "flag", archive="flag"))
    first = json.loads(finished(process("sync", "--json", cwd=bounced.folder), 60)[1])
    again = json.loads(finished(process("sync", "--json", cwd=bounced.folder), 60)[1])
    assert (first["letters"], again["letters"]) == (3, 0)
    assert waiting(server, "flag") == 3


def test_doctor_logs_in_over_tls(bounced: Bounced, server: Dovecot) -> None:
    server.deliver("doctor", letters(2))
    configure(bounced.folder, box(server, "doctor"))
    code, out, _ = finished(process("doctor", cwd=bounced.folder), 60)
    assert code == 0, out
    assert "2 letters waiting in INBOX" in out


@pytest.mark.parametrize(
    ("wrong", "code", "said"),
    [
        ({"password": "hunter2"}, 2, "password"),
        ({"ca_file": None}, 2, "certificate"),
        ({"folder": "No/Such"}, 2, "No/Such"),
        ({"port": 1}, 75, "localhost"),
    ],
)
def test_what_is_wrong_is_one_sentence_and_nothing_is_lost(
    bounced: Bounced, server: Dovecot, wrong: dict[str, object], code: int, said: str
) -> None:
    user = f"wrong-{next(iter(wrong)).replace('_', '-')}"
    server.deliver(user, letters(2))
    table = {k: v for k, v in (box(server, user) | wrong).items() if v is not None}
    configure(bounced.folder, table)
    result, out, err = finished(process("sync", cwd=bounced.folder), 60)
    assert (result, out) == (code, "")
    assert said in err
    assert "Traceback" not in err
    assert "hunter2" not in err
    assert waiting(server, user) == 2


def test_an_expired_certificate_is_told(
    bounced: Bounced, run_dovecot: Callable[..., Dovecot]
) -> None:
    expired = run_dovecot(certificate_days=-1)
    configure(bounced.folder, box(expired, "late"))
    result, _, err = finished(process("sync", cwd=bounced.folder), 60)
    assert result == 2
    assert "expired" in err


def test_run_follows_the_mailbox_until_it_is_stopped(
    bounced: Bounced, server: Dovecot, url: str
) -> None:
    user = f"run-{url.partition(':')[0]}"
    server.deliver(user, letters(3))
    database = f"[database]\nurl = {json.dumps(url)}\n"
    configure(bounced.folder, box(server, user, every="1s"), more=database)
    assert bounced("db", "upgrade").exit_code == 0
    running = process("run", cwd=bounced.folder)
    until(running, "letters=3")
    server.deliver(user, letters(2, start=3))
    until(running, "letters=2")
    running.send_signal(signal.SIGTERM)
    code, _, err = finished(running, 60)
    assert code == 0, err
    assert len(bounced("suppressed").output.split()) == 5

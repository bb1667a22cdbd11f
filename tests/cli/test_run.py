"""`bounced run` under signals, a supervisor, failing servers and several folders."""

from __future__ import annotations

import json
import signal
import socket
import sqlite3
import time
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import process
from tests.cli.test_dovecot import box, waiting
from tests.cli.test_sync import configure, finished, letters, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Bounced
    from tests.servers.dovecot import Dovecot


def test_new_mail_is_read_at_once_where_the_server_tells_of_it(
    bounced: Bounced, server: Dovecot
) -> None:
    server.deliver("idle", letters(2))
    configure(bounced.folder, box(server, "idle", every="1h"))
    running = process("run", cwd=bounced.folder)
    until(running, "letters=2")
    time.sleep(1)
    began = time.monotonic()
    server.deliver("idle", letters(3, start=2))
    until(running, "letters=3")
    assert time.monotonic() - began < 20
    began = time.monotonic()
    running.terminate()
    code, _, err = finished(running, 20)
    assert (code, time.monotonic() - began < 10) == (0, True), err
    assert waiting(server, "idle") == 0


def test_without_idle_mail_is_read_at_the_next_turn_only(bounced: Bounced, server: Dovecot) -> None:
    server.deliver("polled", letters(1))
    configure(bounced.folder, box(server, "polled", every="1h", idle=False))
    running = process("run", cwd=bounced.folder)
    until(running, "letters=1")
    server.deliver("polled", letters(1, start=1))
    time.sleep(2)
    running.terminate()
    assert "letters=1" not in finished(running, 20)[2]
    assert waiting(server, "polled") == 1


def test_hangup_makes_run_read_its_configuration_again(bounced: Bounced, server: Dovecot) -> None:
    server.deliver("before", letters(1))
    server.deliver("after", letters(2, start=1))
    configure(bounced.folder, box(server, "before", every="1h"))
    running = process("run", cwd=bounced.folder)
    until(running, "letters=1")
    (bounced.folder / "config.toml").write_text("[[mailbox]]\nnmae = 5\n")
    running.send_signal(signal.SIGHUP)
    assert "did you mean name?" in until(running, 'event="configuration not read"')[-1]
    configure(bounced.folder, box(server, "after", every="1h"))
    running.send_signal(signal.SIGHUP)
    log = until(running, "letters=2")
    assert any("event=reloading" in line for line in log)
    assert "mailbox=after" in log[-1]
    running.terminate()
    assert finished(running, 20)[0] == 0


def test_the_supervisor_is_told_how_it_goes(bounced: Bounced, server: Dovecot) -> None:
    server.deliver("told", letters(1))
    configure(bounced.folder, box(server, "told", every="1h"))
    address = str(bounced.folder / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(address)
        supervisor.settimeout(20)
        more = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "400000"}
        running = process("run", cwd=bounced.folder, **more)
        assert supervisor.recv(500) == b"READY=1\nSTATUS=1 mailboxes"
        beats = [supervisor.recv(500) for _ in range(3)]
        assert beats == [b"WATCHDOG=1"] * 3
        running.send_signal(signal.SIGHUP)
        while (said := supervisor.recv(500)) == b"WATCHDOG=1":
            pass
        assert said.startswith(b"RELOADING=1\nMONOTONIC_USEC=")
        assert supervisor.recv(500).startswith(b"READY=1")
        running.terminate()
        while (said := supervisor.recv(500)) == b"WATCHDOG=1":
            pass
        assert said == b"STOPPING=1"
        assert finished(running, 20)[0] == 0


def test_nobody_is_told_anything_where_nobody_supervises(monkeypatch: pytest.MonkeyPatch) -> None:
    from bounced.cli.supervisor import notify, watchdog_seconds

    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    notify("READY=1")
    assert watchdog_seconds() is None
    for wrong in ("-5", "soon", "0"):
        monkeypatch.setenv("WATCHDOG_USEC", wrong)
        assert watchdog_seconds() is None
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    assert watchdog_seconds() == 15
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert watchdog_seconds() is None, "it is another process that is watched"


def waiting_if_there(server: Dovecot, user: str) -> int:
    try:
        return waiting(server, user, ".Bounced.Processed")
    except FileNotFoundError:
        return 0


def test_stopping_under_load_takes_less_than_ten_seconds_and_loses_nothing(
    bounced: Bounced, server: Dovecot
) -> None:
    users = [f"load{n}" for n in range(3)]
    for number, user in enumerate(users):
        server.deliver(user, letters(400, start=1000 * number))
    configure(
        bounced.folder,
        *(box(server, user, batch=20) for user in users),
        more="[brake]\nfloor = 100000\n",
    )
    running = process("run", cwd=bounced.folder)
    while not any(waiting_if_there(server, user) for user in users):
        time.sleep(0.01)
    began = time.monotonic()
    running.terminate()
    code, _, err = finished(running, 30)
    took = time.monotonic() - began
    assert (code, took < 10) == (0, True), (took, err)
    left = sum(waiting(server, user) for user in users)
    connection = sqlite3.connect(bounced.folder / "bounced.db")
    (unfiled,) = connection.execute(
        "SELECT count(*) FROM message WHERE state = 'recorded'"
    ).fetchone()
    (filed,) = connection.execute("SELECT count(*) FROM message WHERE state = 'filed'").fetchone()
    connection.close()
    assert left > 0, "it was to be stopped at work"
    assert (unfiled, filed + left) == (0, 1200), "no half state"
    assert bounced("sync").exit_code == 0
    assert len(bounced("suppressed").output.split()) == 1200
    assert bounced("audit", "--folders").exit_code == 0


@pytest.mark.parametrize("command", ["sync", "run"])
def test_a_server_that_says_nothing_does_not_hold_up_the_end(
    bounced: Bounced, command: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(20)
        port = silent.getsockname()[1]
        where = {"host": "127.0.0.1", "port": port, "tls": "none"}
        login = {"user": "u", "password": "canary", "idle": False}
        configure(bounced.folder, {"name": "silent", **where, **login})
        running = process(command, cwd=bounced.folder)
        connection, _ = silent.accept()
        time.sleep(0.5)
        began = time.monotonic()
        running.terminate()
        code, _, err = finished(running, 20)
        connection.close()
    assert time.monotonic() - began < 10
    assert code == (0 if command == "run" else 75), err
    assert "Interrupted, as asked" in err
    assert "canary" not in err
    connection_ = sqlite3.connect(bounced.folder / "bounced.db")
    assert connection_.execute("SELECT lease_owner FROM mailbox").fetchall() == [(None,)]
    connection_.close()


def test_several_folders_are_emptied_and_an_old_database_goes_on(
    bounced: Bounced, server: Dovecot
) -> None:
    server.deliver("many", letters(2))
    server.deliver("many", letters(1, start=2), ".Unwanted")
    server.deliver("many", letters(1, start=3), ".Lists.Old")
    configure(bounced.folder, box(server, "many"))
    assert bounced("sync").stdout.startswith("many: 2 letters")
    configure(bounced.folder, box(server, "many", folders=["INBOX", "\\Junk", "Lists/Old"]))
    result = bounced("sync")
    assert result.exit_code == 0, result.output
    told = [line.partition(";")[0] for line in result.stdout.splitlines()]
    assert told == [
        "many: nothing new",
        "many/Junk: 1 letter (1 bounce), 1 newly suppressed",
        "many/Lists/Old: 1 letter (1 bounce), 1 newly suppressed",
    ]
    assert waiting(server, "many", ".Unwanted") == waiting(server, "many", ".Lists.Old") == 0
    assert bounced("audit", "--folders").exit_code == 0
    assert bounced("sync", "many/Junk").stdout.startswith("many/Junk: nothing new")
    assert bounced("sync", "many").stdout.count("nothing new") == 3


def test_a_folder_that_the_server_does_not_mark_is_told(bounced: Bounced, server: Dovecot) -> None:
    configure(bounced.folder, box(server, "unmarked", folder="\\Important"))
    result = bounced("sync")
    assert (result.exit_code, r"marks no folder as \Important" in result.stderr) == (2, True)


def test_a_client_certificate_opens_a_server_that_wants_one(
    bounced: Bounced, run_dovecot: Callable[..., Dovecot]
) -> None:
    strict = run_dovecot(client_certificates=True)
    strict.deliver("certified", letters(1))
    table = box(strict, "certified")
    configure(bounced.folder, table)
    refused = bounced("sync")
    assert (refused.exit_code, "client_certificate = " in refused.stderr) == (2, True)
    shown = {
        "client_certificate": str(strict.where / "client.pem"),
        "client_key": str(strict.where / "client.key"),
    }
    configure(bounced.folder, table | shown)
    accepted = bounced("sync")
    assert accepted.exit_code == 0, accepted.output
    configure(bounced.folder, table | shown | {"client_key": str(strict.where / "server.key")})
    mixed = bounced("sync")
    assert (mixed.exit_code, "client_certificate" in mixed.stderr) == (2, True)


def failing(folder: Path, minutes: int) -> None:
    """Let the mailbox's trouble have begun so long ago."""
    connection = sqlite3.connect(folder / "bounced.db")
    connection.execute(
        "UPDATE mailbox SET failing_since = datetime('now', ?) WHERE failing_since IS NOT NULL",
        (f"-{minutes} minutes",),
    )
    connection.commit()
    connection.close()


def test_status_says_since_when_a_mailbox_fails_and_exits_1_when_it_is_long(
    bounced: Bounced, server: Dovecot
) -> None:
    server.deliver("unwell", letters(1))
    configure(bounced.folder, box(server, "unwell", port=1))
    for _ in range(2):
        assert bounced("sync").exit_code == 75
    fresh = bounced("status")
    assert (fresh.exit_code, "failing since" in fresh.stdout) == (0, True)
    assert fresh.stdout.startswith("unwell: never emptied\n")
    failing(bounced.folder, 90)
    assert bounced("status").exit_code == 1
    assert bounced("status", "--patience", "120").exit_code == 0
    told = bounced("status", "--json")
    assert (told.exit_code, json.loads(told.stdout)["failing_since"] is None) == (1, False)
    configure(bounced.folder, box(server, "unwell"))
    assert bounced("sync").exit_code == 0
    well = bounced("status")
    assert (well.exit_code, "fail" in well.stdout) == (0, False)
    assert json.loads(bounced("status", "--json").stdout)["failing_since"] is None

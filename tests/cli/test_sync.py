"""`bounced sync`, `bounced run` and `bounced demo`, over real IMAP to a server in memory."""

from __future__ import annotations

import json
import re
import shlex
import signal
import sqlite3
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from bounced.cli.stopping import Stop
from bounced.mailbox.demo_server import DemoServer, demo_server, fill
from tests.cli.conftest import process
from tests.cli.test_parse import DSN

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.conftest import Bounced


@pytest.fixture
def server() -> Iterator[DemoServer]:
    with demo_server() as running:
        yield running


def letters(count: int, start: int = 0) -> list[bytes]:
    """Reports of failures, each of another address."""
    one = DSN.replace(b"Original-Recipient: rfc822; Gone.Reader@example.org\n", b"")
    numbers = range(start, start + count)
    return [one.replace(b"gone@", b"gone%d@" % n).replace(b"<1@", b"<1.%d@" % n) for n in numbers]


def configure(folder: Path, *boxes: dict[str, object], more: str = "") -> None:
    text = more + "".join(
        "[[mailbox]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in box.items())
        for box in boxes
    )
    (folder / "config.toml").write_text(text)
    (folder / "config.toml").chmod(0o600)


def box(server: DemoServer, name: str = "news", **keys: object) -> dict[str, object]:
    where = {"host": server.host, "port": server.port, "tls": "none", "user": server.user}
    return {"name": name, **where, "password": server.password, **keys}


def test_one_line_when_all_is_well(bounced: Bounced, server: DemoServer) -> None:
    fill(server, [*letters(3), b"Subject: lunch?\r\n\r\nNoon?\r\n"])
    configure(bounced.folder, box(server))
    result = bounced("sync")
    assert result.exit_code == 0, result.output
    assert re.fullmatch(
        r"news: 4 letters \(3 bounce, 1 other\), 3 newly suppressed; \d+\.\d s\n", result.stdout
    )
    assert result.stderr == ""
    assert bounced("suppressed").stdout.split() == [f"gone{n}@example.com" for n in range(3)]
    again = bounced("sync")
    assert re.fullmatch(r"news: nothing new; \d+\.\d s\n", again.stdout)


def test_the_summary_for_machines(bounced: Bounced, server: DemoServer) -> None:
    fill(server, letters(2))
    configure(bounced.folder, box(server))
    told = json.loads(bounced("sync", "--json").stdout)
    assert told["mailbox"] == "news"
    assert told["error"] is None
    assert (told["letters"], told["bounce"], told["suppressed"], told["held"]) == (2, 2, 2, 0)


def test_one_failing_mailbox_never_stops_the_others(bounced: Bounced, server: DemoServer) -> None:
    fill(server, letters(1))
    configure(
        bounced.folder,
        box(server, "wrong", password="no"),
        box(server, "away", port=1),
        box(server, "good"),
    )
    result = bounced("sync")
    assert result.exit_code == 2, "a wrong password is the most urgent"
    assert "good: 1 letter" in result.stdout
    assert "wrong:\n" in result.stderr
    assert "away:\n" in result.stderr
    assert server.password not in result.output
    assert bounced("sync", "away").exit_code == 75
    assert bounced("sync", "good").exit_code == 0
    told = [json.loads(line) for line in bounced("sync", "--json").stdout.splitlines()]
    assert [(one["mailbox"], bool(one["error"])) for one in told] == [
        ("wrong", True),
        ("away", True),
        ("good", False),
    ]


def test_a_mailbox_that_is_not_configured_is_wrong_usage(
    bounced: Bounced, server: DemoServer
) -> None:
    configure(bounced.folder, box(server))
    result = bounced("sync", "nwes")
    assert result.exit_code == 2
    assert "no mailbox nwes; it has: news" in result.stderr


def test_a_configuration_without_a_mailbox_is_told(bounced: Bounced) -> None:
    configure(bounced.folder)
    result = bounced("sync")
    assert result.exit_code == 2
    assert "has no [[mailbox]]" in result.stderr


def test_a_password_that_cannot_be_had_stops_only_its_mailbox(
    bounced: Bounced, server: DemoServer
) -> None:
    fill(server, letters(1))
    no_password = {key: value for key, value in box(server, "first").items() if key != "password"}
    configure(bounced.folder, {**no_password, "password_env": "BOUNCED_UNSET"}, box(server))
    result = bounced("sync")
    assert result.exit_code == 2
    assert "no variable BOUNCED_UNSET" in result.stderr
    assert "news: 1 letter" in result.stdout


def test_the_brake_exits_1_and_prints_the_commands_which_work(
    bounced: Bounced, server: DemoServer
) -> None:
    fill(server, letters(5))
    configure(bounced.folder, box(server), more="[brake]\nfloor = 3\n")
    result = bounced("sync")
    assert result.exit_code == 1
    assert "would suppress 5 addresses" in result.stderr
    assert bounced("suppressed").stdout == ""
    commands = dict(
        re.findall(r"bounced (hold (\w+) \d+)", result.stderr)[i][::-1] for i in range(3)
    )
    assert bounced(*commands["show"].split()).stdout.count("@example.com") == 5
    assert bounced(*commands["accept"].split()).exit_code == 0
    assert len(bounced("suppressed").stdout.split()) == 5


def test_a_sync_at_work_elsewhere_is_left_alone(bounced: Bounced, server: DemoServer) -> None:
    from datetime import UTC, datetime

    from bounced.ledger import Ledger

    fill(server, letters(1))
    configure(bounced.folder, box(server))
    with Ledger.open(f"sqlite:///{bounced.folder}/bounced.db") as ledger:
        visit = ledger.begin("news", owner="elsewhere", at=datetime.now(UTC))
        assert visit is not None
        result = bounced("sync")
    assert result.exit_code == 75
    assert "another sync is at work" in result.stderr
    assert result.stdout == ""


def finished(running: subprocess.Popen[str], within: float = 20) -> tuple[int, str, str]:
    out, err = running.communicate(timeout=within)
    return running.returncode, out, err


def until(running: subprocess.Popen[str], sign: str) -> list[str]:
    """Log lines up to the one that shows the sign."""
    assert running.stderr is not None
    seen: list[str] = []
    for line in running.stderr:
        seen.append(line)
        if sign in line:
            return seen
    pytest.fail(f"ended without {sign!r}: {seen}")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_run_empties_mailboxes_again_and_again_and_stops_when_asked(
    bounced: Bounced, server: DemoServer, number: signal.Signals
) -> None:
    fill(server, letters(2))
    configure(bounced.folder, box(server, every="1s"), box(server, "away", port=1))
    running = process("run", cwd=bounced.folder)
    until(running, "letters=2")
    fill(server, letters(1, start=2))
    until(running, "letters=1")
    running.send_signal(number)
    code, out, err = finished(running)
    assert (code, out) == (0, "")
    assert "event=stopped" in err
    assert "Traceback" not in err
    with closing(sqlite3.connect(bounced.folder / "bounced.db")) as connection, connection:
        (count,) = connection.execute("SELECT count(*) FROM suppression").fetchone()
    connection.close()
    assert count == 3


def test_the_log_of_run_is_key_value_without_addresses_or_secrets(
    bounced: Bounced, server: DemoServer
) -> None:
    fill(server, letters(1))
    configure(bounced.folder, box(server), box(server, "wrong", password="hunter2"))
    running = process("run", cwd=bounced.folder)
    log = until(running, "event=failed")
    if not any("event=synced" in line for line in log):
        log += until(running, "event=synced")
    running.terminate()
    log += finished(running)[2].splitlines()
    assert any("event=synced mailbox=news" in line for line in log)
    assert any("event=failed mailbox=wrong exit=2" in line for line in log)
    for line in log:
        assert re.match(r'^time=\S+Z level=\w+ event=[\w"]', line), line
        assert "gone0" not in line
        assert "hunter2" not in line
        assert server.password not in line


def test_the_log_of_run_can_be_json(bounced: Bounced, server: DemoServer) -> None:
    fill(server, letters(1))
    configure(bounced.folder, box(server))
    running = process("run", "--log-json", cwd=bounced.folder)
    seen = [json.loads(line) for line in until(running, '"synced"')]
    assert seen[-1]["letters"] == 1
    running.terminate()
    assert finished(running)[0] == 0


@pytest.mark.parametrize(
    "waits",
    [
        "stop.wait()",
        "Connection(place, Limits(), Cutter(), None)",
        "schedule.run([schedule.Job('stuck', work=lambda: time.sleep(600))], lambda: time.sleep(.5))",
    ],
)
def test_a_signal_that_does_not_wake_who_waits_is_heard_all_the_same(
    tmp_path: Path, waits: str
) -> None:
    # given to another thread it interrupts nothing, like one that comes just before the waiting
    code = (
        "import os, signal, socket, threading, time\n"
        "from bounced import schedule\n"
        "from bounced.cli.stopping import Stop\n"
        "from bounced.mailbox.wire import Connection, Cutter, Limits\n"
        "stop = Stop.on_signals()\n"
        "stop.be_gone = lambda: os._exit(7)\n"
        "silent = socket.create_server(('127.0.0.1', 0))\n"
        "place = silent.getsockname()\n"
        "def other():\n"
        "    time.sleep(1)\n"
        "    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)\n"
        "    time.sleep(600)\n"
        "threading.Thread(target=other, daemon=True).start()\n"
        f"{waits}\n"
    )
    assert finished(process(cwd=tmp_path, code=code), 15)[0] == 7


def test_a_second_signal_ends_run_at_once(bounced: Bounced) -> None:
    # a job that never looks at the clock: only the second signal gets past it
    code = (
        "import sys, time\n"
        "import bounced.cli.run as room\n"
        "def stuck(*_):\n"
        "    print('stuck', file=sys.stderr, flush=True)\n"
        "    time.sleep(600)\n"
        "room._sync_and_log = stuck\n"
        "from bounced.cli import main\n"
        "main()"
    )
    configure(bounced.folder, box(DemoServer("127.0.0.1", 1, "u", "p")))
    running = process("run", cwd=bounced.folder, code=code)
    until(running, "stuck")
    running.terminate()
    until(running, "stopping")  # two signals of which none was heard yet are one
    time.sleep(0.5)
    assert running.poll() is None, "the first signal waits for the job"
    running.terminate()
    assert finished(running)[0] == 128 + signal.SIGTERM


def test_sync_stops_between_two_batches_and_the_next_goes_on(
    bounced: Bounced, server: DemoServer
) -> None:
    fill(server, letters(6))
    configure(bounced.folder, box(server, batch=2))
    code = (
        "import os, signal\n"
        "from bounced.sync import Observer\n"
        "def asked(self, done): os.kill(os.getpid(), signal.SIGTERM)\n"
        "Observer.recorded = asked\n"
        "from bounced.cli import main\n"
        "main()"
    )
    result, out, err = finished(process("sync", "--json", cwd=bounced.folder, code=code), 60)
    assert (result, json.loads(out)["letters"], json.loads(out)["stopped"]) == (0, 2, True)
    assert "Stopped as asked" in err
    assert "4 letters" in bounced("sync").stdout
    assert len(bounced("suppressed").stdout.split()) == 6


def test_asking_to_stop_wakes_whoever_waits() -> None:
    stop = Stop()
    waiting = threading.Thread(target=stop.wait)
    waiting.start()
    assert not stop()
    stop.ask()
    waiting.join(5)
    assert not waiting.is_alive()
    assert stop()


def test_demo_runs_twice_and_the_commands_it_prints_work(bounced: Bounced) -> None:
    for turn in range(2):
        code, out, err = finished(process("demo", cwd=bounced.folder), 120)
        assert (code, err) == (0, "")
        assert "An IMAP server on 127.0.0.1:" in out
        assert ("seen before" in out) == (turn == 1)
        assert re.search(r"hard\s+user_unknown\s+\S", out)
        assert re.search(r"Suppressed: \d+ addresses", out)
        reasons = re.findall(r"^ \S+ +(?:hard|soft|blocked|none) +(\w+)", out, re.MULTILINE)
        assert len(reasons) == len(set(reasons)) > 30  # one of each, not hundreds of rows
    commands = [line.strip() for line in out.partition("Try next:")[2].splitlines() if line.strip()]
    assert len(commands) == 5
    for command in commands:
        program, *words = shlex.split(command)
        assert program == "bounced"
        result = bounced(*words)
        assert result.exit_code == 0, (command, result.output)
        assert result.output
    assert "released by" in bounced(*shlex.split(commands[0])[1:]).output


def test_demo_without_pymap_says_what_to_install(bounced: Bounced) -> None:
    code = "import sys\nsys.modules['pymap'] = None\nfrom bounced.cli import main\nmain()"
    result, _, err = finished(process("demo", cwd=bounced.folder, code=code))
    assert result == 2
    assert "pip install 'bounced-mail[demo]'" in err
    assert "Traceback" not in err

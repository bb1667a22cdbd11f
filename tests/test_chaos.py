"""The whole program against every fault of the shared kit, and against itself.

Each fault must end in bounded time with the right exit code and a sentence; once it is over, the
end state must be that of a run that was never disturbed.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from bounced import failpoint
from bounced.ledger import book
from bounced.mailbox import MailboxCredentials, MailboxProtocol, MailboxSettings, MailboxTemporary
from bounced.mailbox.imap import ImapMailbox
from tests import forked
from tests.cli.conftest import Bounced, bounced, process
from tests.cli.test_dovecot import box, waiting
from tests.cli.test_sync import configure, finished, letters
from tests.mailbox.test_chaos import ENDINGS, HASTY, KIT, chaos
from tests.servers.database import empty_ledger, rows
from tests.test_failpoints import STEPS, end_state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.servers.dovecot import Dovecot

__all__ = ["bounced"]  # the fixture

CANARY = "canary-4711"
CODES = {
    MailboxTemporary: 75,
    MailboxProtocol: 1,
    MailboxSettings: 2,
    MailboxCredentials: 2,
}
# Another client took these letters before we saw them: they are not ours to judge.
TAKEN = {"unsolicited_expunge", "second_client_deletes"}
SEEDS = int(os.environ.get("BOUNCED_TEST_SEEDS", "200"))
needs_kit = pytest.mark.skipif(chaos is None, reason="the shared kit is not beside the checkout")


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for minutes in a test."""
    defaults = ImapMailbox.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "limits", HASTY)


def state(folder: Path) -> dict[str, list[Any]]:
    """The end state without what a fault may rightly change: numbers, and how often it was met."""
    found = end_state(f"sqlite:///{folder}/bounced.db")
    found.pop("run")
    found["message"] = sorted({row[2:] for row in found["message"] if row[1] == "filed"}, key=repr)
    return found


def table(port: int, **more: object) -> dict[str, object]:
    piles = {"processed": "Processed", "unrecognised": "Unrecognised", "quarantine": "Quarantine"}
    where = {"host": "127.0.0.1", "port": port, "tls": "none", "user": "ops", "password": CANARY}
    return {"name": "box", **where, **piles, **more}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    from click.testing import CliRunner

    from bounced.cli import main

    folder = tmp_path_factory.mktemp("undisturbed")
    with chaos.Serve(fault="none", seconds=30) as server:
        configure(folder, table(server.port))
        result = CliRunner().invoke(main, ["sync", "--config", str(folder / "config.toml")])
    assert result.exit_code == 0, result.output
    return state(folder)


@needs_kit
@pytest.mark.parametrize("fault", sorted(chaos.FAULTS) if chaos else ["kit absent"])
def test_a_fault_ends_in_time_and_once_it_is_over_nothing_is_lost_or_doubled(
    fault: str,
    bounced: Bounced,
    undisturbed: dict[str, list[Any]],
    hasty: None,
) -> None:
    with chaos.Serve(fault=fault, seconds=40) as server:
        sent = len(server.boxes["INBOX"])
        tls = "starttls" if fault == "starttls_stripped" else "none"
        configure(bounced.folder, table(server.port, tls=tls))
        began = time.monotonic()
        result = bounced("sync")
        assert time.monotonic() - began < 12
        expected = {CODES[kind] for kind in ENDINGS.get(fault, ())} or {0}
        assert result.exit_code in expected, result.output
        assert bool(result.stderr) == (result.exit_code != 0), result.output
        for words in ("Traceback", "mistake in bounced", CANARY, "\x1b", "evil"):
            assert words not in result.output
        server.fault = "none"
        configure(bounced.folder, table(server.port))
        for _ in range(3):
            result = bounced("sync")
            assert result.exit_code == 0, result.output
        taken = sum(len(letters_) for name, letters_ in server.boxes.items() if name == "Elsewhere")
        assert bool(taken) == (fault in TAKEN)
        assert server.boxes["INBOX"] == {}
        assert server.boxes["Quarantine"] == {}
        lying = sum(len(letters_) for letters_ in server.boxes.values())
        assert lying == sent + (server.extra if fault == "redeliver" else 0)
        ended = state(bounced.folder)
        if fault in TAKEN:
            assert len(ended["event"]) >= sent - taken
            assert set(ended["event"]) <= set(undisturbed["event"])
        else:
            assert ended == undisturbed
        assert bounced("audit").exit_code == 0


@pytest.fixture
def proxy(server: Dovecot) -> Iterator[Any]:
    """Start the kit's faulty proxy before Dovecot's TLS port; its own port."""
    running: list[subprocess.Popen[str]] = []

    def start(fault: str, at: int) -> int:
        words = ["--upstream", f"127.0.0.1:{server.tls_port}", "--fault", fault, "--at", str(at)]
        one = subprocess.Popen(
            [sys.executable, str(KIT), "proxy", *words, "--seconds", "60"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        running.append(one)
        assert one.stdout is not None
        return int(json.loads(one.stdout.readline())["port"])

    yield start
    for one in running:
        one.kill()
        assert one.stdout is not None
        one.stdout.close()
        one.wait()


@pytest.fixture(scope="module")
def calm(server: Dovecot, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """What an undisturbed sync of twelve letters of Dovecot's leaves."""
    folder = tmp_path_factory.mktemp("calm")
    server.deliver("calm12", letters(12))
    configure(folder, box(server, "calm12", name="box", batch=2))
    assert finished(process("sync", cwd=folder), 60)[0] == 0
    return state(folder)


@needs_kit
@pytest.mark.parametrize("at", [3000, 9000])
@pytest.mark.parametrize("fault", sorted(chaos.PFAULTS) if chaos else ["kit absent"])
def test_a_line_that_fails_costs_nothing_but_time(
    fault: str,
    at: int,
    bounced: Bounced,
    server: Dovecot,
    proxy: Any,
    calm: dict[str, list[Any]],
    hasty: None,
) -> None:
    user = f"line-{fault.replace('_', '-')}-{at}"
    server.deliver(user, letters(12))
    direct = box(server, user, name="box", batch=2)
    configure(bounced.folder, direct | {"port": proxy(fault, at)})
    began = time.monotonic()
    result = bounced("sync")
    assert time.monotonic() - began < 20
    assert result.exit_code in {0, 75, 1}, result.output
    for words in ("Traceback", "mistake in bounced", server.password):
        assert words not in result.output.replace(f"{server.password}/", "")
    configure(bounced.folder, direct)
    assert bounced("sync").exit_code == 0
    assert waiting(server, user) == 0
    assert waiting(server, user, ".Bounced.Processed") == 12
    assert state(bounced.folder) == calm


def a_schedule(chance: random.Random) -> tuple[str, Callable[[], None]]:
    """What one of two processes meets: a pause or a kill somewhere, and perhaps no lease at all.

    A lease of no length is one that has run out while its holder was held up: both work at once,
    and only the fence and the keys keep them apart.
    """
    deed = chance.choice(("wait", "wait", "kill", ""))
    plan = f"{chance.choice(STEPS)}:{chance.choice((1, 2, 3))}:{deed}" if deed else ""
    pause, lease = chance.random() / 5, timedelta(minutes=chance.choice((10, 0, 0)))

    def before() -> None:
        failpoint.DEEDS["wait"] = lambda: time.sleep(pause)
        defaults = vars(book.Ledger)["open"].__func__.__kwdefaults__
        defaults["lease"] = lease

    return plan, before


@pytest.mark.parametrize("seed", range(SEEDS))
def test_two_processes_on_one_mailbox_end_where_one_would(
    seed: int, server: Dovecot, calm: dict[str, list[Any]], url: str, tmp_path: Path
) -> None:
    if not url.startswith("sqlite") and seed >= SEEDS // 8:
        pytest.skip("an eighth of the schedules where a database takes long to make")
    chance = random.Random(seed)  # noqa: S311 - a schedule, no secret
    user = f"pair{seed}{url[:2]}"
    server.deliver(user, letters(12))
    configure(
        tmp_path,
        box(server, user, name="box", batch=chance.choice((1, 3, 5))),
        more=f"[database]\nurl = {json.dumps(url)}\n",
    )
    if url.startswith("sqlite"):
        (tmp_path / "bounced.db").write_bytes(empty_ledger())
    else:
        assert forked.run("db", "upgrade", cwd=tmp_path)[0] == 0
    pair = []
    for _ in range(2):
        plan, before = a_schedule(chance)
        pair.append(forked.fork("sync", cwd=tmp_path, plan=plan, before=before))
        time.sleep(chance.random() / 10)
    if chance.random() < 0.5:
        time.sleep(chance.random() / 5)
        for one in pair:
            os.kill(one.pid, chance.choice((signal.SIGTERM, 0)))
    for one in pair:
        code, said = one.end()
        assert code in {0, 75, -signal.SIGKILL, -signal.SIGTERM}, said
        assert "Traceback" not in said
    code, said = forked.run("sync", cwd=tmp_path)
    assert code == 0, said
    assert waiting(server, user) == 0
    assert waiting(server, user, ".Bounced.Processed") == 12
    found = end_state(url)
    assert found["event"] == calm["event"]
    assert found["suppression"] == calm["suppression"]
    assert found["address"] == calm["address"]
    assert rows(url, "SELECT count(*) FROM message WHERE state <> 'filed'") == [(0,)]

"""`bounced lmtp` as an MTA sees it: nothing is acknowledged before it is recorded."""

from __future__ import annotations

import signal
import smtplib
import socket
import sqlite3
import stat
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from bounced.ledger import Ledger
from bounced.mailbox.folder import HEAD, LETTER
from tests.cli.conftest import process
from tests.cli.test_ingest import CHATTER, kept
from tests.cli.test_sync import configure, finished, letters, until
from tests.servers.database import rows
from tests.servers.dovecot import free_port

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.conftest import Bounced

TO = "bounces@lists.example.com"


@contextmanager
def listening(folder: Path, *words: str, **more: str) -> Iterator[subprocess.Popen[str]]:
    running = process("lmtp", str(folder / "lmtp.sock"), *words, cwd=folder, **more)
    until(running, "event=started")
    yield running
    if running.poll() is None:
        running.kill()


CONNECTED: list[smtplib.LMTP] = []


@pytest.fixture(autouse=True)
def nobody_stays_connected() -> Iterator[None]:
    yield
    for client in CONNECTED:
        client.close()
    CONNECTED.clear()


def connected(folder: Path) -> smtplib.LMTP:
    """A client; RFC 2033's way of getting more than one reply to DATA is `delivered`."""
    client = smtplib.LMTP(str(folder / "lmtp.sock"))
    CONNECTED.append(client)
    assert client.ehlo("mta.example.com")[0] == 250  # smtplib says LHLO here
    return client


def delivered(client: smtplib.LMTP, letter: bytes, *recipients: str) -> list[int]:
    """The code of each reply to the letter, one for each recipient."""
    assert client.mail("")[0] == 250
    accepted = [client.rcpt(one)[0] for one in recipients or (TO,)]
    client.docmd("DATA")
    client.send(smtplib._quote_periods(letter) + b"\r\n.\r\n")  # type: ignore[attr-defined]
    return [client.getreply()[0] for code in accepted if code == 250]


def database(folder: Path) -> str:
    return f"sqlite:///{folder}/bounced.db"


def test_letters_are_recorded_and_kept_before_the_mta_hears_of_it(bounced: Bounced) -> None:
    configure(bounced.folder)
    with listening(bounced.folder) as running:
        client = connected(bounced.folder)
        for number, letter in enumerate(letters(3)):
            assert delivered(client, letter) == [250]
            assert rows(database(bounced.folder), "SELECT count(*) FROM event") == [(number + 1,)]
            assert len(kept(bounced.folder, "processed")) == number + 1
        assert delivered(client, CHATTER) == [250]
        assert len(kept(bounced.folder, "unrecognised")) == 1
        client.quit()
        running.terminate()
        code, _, err = finished(running, 20)
    assert (code, "event=stopped" in err, "Traceback" in err) == (0, True, False), err
    assert not (bounced.folder / "lmtp.sock").exists()
    assert bounced("audit").exit_code == 0
    assert len(bounced("suppressed").stdout.split()) == 3


def test_each_recipient_gets_an_answer_and_the_letter_counts_once(bounced: Bounced) -> None:
    configure(bounced.folder)
    with listening(bounced.folder):
        client = connected(bounced.folder)
        assert delivered(client, letters(1)[0], TO, f"other+{TO}", TO) == [250] * 3
    assert rows(database(bounced.folder), "SELECT count(*) FROM event") == [(1,)]
    copies = kept(bounced.folder, "processed")
    heads = {copy[: copy.index(letters(1)[0][:20])] for copy in copies}
    assert heads == {
        b"Return-Path: <>\r\nDelivered-To: %s\r\n" % one.encode() for one in (TO, f"other+{TO}")
    }


def test_a_letter_handed_over_again_makes_no_second_event(bounced: Bounced) -> None:
    configure(bounced.folder)
    with listening(bounced.folder):
        client = connected(bounced.folder)
        for _ in range(3):
            assert delivered(client, letters(1)[0]) == [250]
    url = database(bounced.folder)
    assert rows(url, "SELECT count(*) FROM event") == [(1,)]
    assert rows(url, "SELECT count(*) FROM message") == [(1,)]


@pytest.mark.parametrize("step", ["leased", "attempt", "parsed", "committed", "moved", "filed"])
@pytest.mark.parametrize("deed", ["kill", "error"])
def test_cut_off_anywhere_nothing_was_acknowledged_and_the_next_try_completes_it(
    step: str, deed: str, tmp_path: Path
) -> None:
    configure(tmp_path)
    first, second = letters(2)
    with listening(tmp_path, BOUNCED_FAILPOINT=f"{step}:2:{deed}") as running:
        client = connected(tmp_path)
        assert delivered(client, first) == [250]
        if deed == "kill":
            with pytest.raises(smtplib.SMTPServerDisconnected):
                delivered(client, second)
            assert running.wait(20) == -signal.SIGKILL
        else:
            assert delivered(client, second) == [451]
            assert delivered(client, second) == [250], "the same process goes on"
    if deed == "kill":
        with listening(tmp_path):  # over the socket that the killed one left behind
            assert delivered(connected(tmp_path), second) == [250]
    url = database(tmp_path)
    assert rows(url, "SELECT count(*) FROM event") == [(2,)]
    assert rows(url, "SELECT DISTINCT state FROM message") == [("filed",)]
    assert len(kept(tmp_path, "processed")) == 2


def test_while_the_disk_is_full_the_mta_is_asked_to_try_again(bounced: Bounced) -> None:
    configure(bounced.folder)
    (bounced.folder / "ingested").write_text("in the way")
    with listening(bounced.folder) as running:
        client = connected(bounced.folder)
        assert delivered(client, letters(1)[0], TO, f"x+{TO}") == [451, 451]
        (bounced.folder / "ingested").unlink()
        assert delivered(client, letters(1)[0], TO, f"x+{TO}") == [250, 250]
        running.terminate()
        err = finished(running, 20)[2]
    assert 'event="not recorded"' in err
    assert rows(database(bounced.folder), "SELECT count(*) FROM event") == [(1,)]


def test_while_the_database_is_gone_the_mta_is_asked_to_try_again(bounced: Bounced) -> None:
    configure(bounced.folder, more='[database]\nurl = "sqlite:///bounced.db?timeout=0.1"\n')
    with listening(bounced.folder):
        client = connected(bounced.folder)
        other = sqlite3.connect(bounced.folder / "bounced.db")
        other.execute("BEGIN IMMEDIATE")
        assert delivered(client, letters(1)[0]) == [451]
        other.rollback()
        other.close()
        assert delivered(client, letters(1)[0]) == [250]


def test_a_mailbox_that_another_works_on_is_waited_for(bounced: Bounced) -> None:
    from datetime import UTC, datetime

    configure(bounced.folder)
    with listening(bounced.folder):
        with Ledger.open(database(bounced.folder)) as ledger:
            now = datetime.now(UTC)
            visit = ledger.begin("lmtp", owner="elsewhere:1", at=now)
            assert visit is not None
            client = connected(bounced.folder)
            client.mail("")
            client.rcpt(TO)
            client.docmd("DATA")
            client.send(letters(1)[0] + b"\r\n.\r\n")
            time.sleep(1)
            assert ledger.recent(1) == []
            ledger.end(visit, at=now)
        assert client.getreply()[0] == 250


def test_a_flood_that_comes_letter_by_letter_is_held(bounced: Bounced) -> None:
    configure(bounced.folder, more="[brake]\nshare = 0\nfloor = 3\n")
    with listening(bounced.folder) as running:
        client = connected(bounced.folder)
        for letter in letters(5):
            assert delivered(client, letter) == [250]
        running.terminate()
        assert "event=held" in finished(running, 20)[2]
    assert bounced("suppressed").stdout == ""


def test_many_connections_are_answered_and_one_too_many_is_asked_to_come_again(
    bounced: Bounced,
) -> None:
    configure(bounced.folder)
    with listening(bounced.folder, "--connections", "4"):
        clients = [connected(bounced.folder) for _ in range(4)]
        with pytest.raises(smtplib.SMTPConnectError) as refused:
            connected(bounced.folder)
        assert refused.value.smtp_code == 421
        for client, letter in zip(clients, letters(4), strict=True):
            client.mail("")
            client.rcpt(TO)
            client.docmd("DATA")
            client.send(letter + b"\r\n.\r\n")
        assert [client.getreply()[0] for client in clients] == [250] * 4
        clients[0].quit()
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with suppress(smtplib.SMTPConnectError):
                connected(bounced.folder)
                break
            time.sleep(0.05)
        else:
            pytest.fail("the place of who has left is not free")
    assert rows(database(bounced.folder), "SELECT count(*) FROM event") == [(4,)]


def test_what_is_cut_off_in_the_middle_of_a_letter_is_no_letter(bounced: Bounced) -> None:
    configure(bounced.folder)
    with listening(bounced.folder):
        client = connected(bounced.folder)
        client.mail("")
        client.rcpt(TO)
        client.docmd("DATA")
        client.send(letters(1)[0] + b"\n.\n\r\n.\n")  # no end by RFC 5321, 4.1.1.4
        client.close()
        assert delivered(connected(bounced.folder), letters(2)[1]) == [250]
    assert rows(database(bounced.folder), "SELECT count(*) FROM message") == [(1,)]


def test_dots_long_lines_and_odd_recipients_do_no_harm(bounced: Bounced) -> None:
    configure(bounced.folder)
    long = b"Subject: x\r\n\r\n.dot\r\n..\r\n" + b"y" * 3_000_000 + b"\r\nend\r\n"
    with listening(bounced.folder):
        client = connected(bounced.folder)
        assert delivered(client, long, "b+..odd=.x@example.com", '"a b"@example.com') == [250, 250]
        copies = kept(bounced.folder, "unrecognised")
        # what smtplib sends ends in one more line end than the letter
        assert {copy.split(b"\r\n", 2)[2].rstrip() for copy in copies} == {long.rstrip()}
        assert {copy.split(b"\r\n", 2)[1] for copy in copies} == {
            b"Delivered-To: b+..odd=.x@example.com",
            b'Delivered-To: "a b"@example.com',
        }


def test_of_a_huge_letter_the_head_is_read_and_of_one_too_big_for_any_every_recipient_hears(
    bounced: Bounced, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bounced.mailbox.lmtp import Limits, Listener

    taken: list[tuple[int, bool]] = []

    def record(some: object) -> None:
        assert isinstance(some, list)
        taken.extend((len(raw), truncated) for raw, truncated in some)

    place = bounced.folder / "lmtp.sock"
    listener = Listener(place, record, limits=Limits(size=LETTER + 2_000_000, recipients=2))
    listener.start()
    try:
        line = b"x" * 998 + b"\r\n"
        client = connected(bounced.folder)
        assert delivered(client, line * (LETTER // 1000 + 1)) == [250]
        head = len(f"Return-Path: <>\r\nDelivered-To: {TO}\r\n")
        assert taken == [(HEAD + head, True)]
        assert delivered(client, line * (LETTER // 1000 + 3000), TO, TO) == [552, 552]
        assert client.docmd("MAIL", f"FROM:<> SIZE={LETTER * 2}")[0] == 552
        assert client.mail("")[0] == 250
        assert [client.rcpt(TO)[0] for _ in range(3)] == [250, 250, 452]
    finally:
        client.close()
        listener.stop()


def test_stopping_answers_what_is_being_recorded_and_hangs_up_on_the_idle(
    bounced: Bounced,
) -> None:
    import threading

    from bounced.mailbox.lmtp import Listener

    begun, go_on = threading.Event(), threading.Event()

    def record(_letters: object) -> None:
        begun.set()
        assert go_on.wait(10)

    listener = Listener(bounced.folder / "lmtp.sock", record)
    listener.start()
    idle, busy = connected(bounced.folder), connected(bounced.folder)
    busy.mail("")
    busy.rcpt(TO)
    busy.docmd("DATA")
    busy.send(b"x\r\n.\r\n")
    assert begun.wait(10)
    threading.Timer(0.5, go_on.set).start()
    listener.stop()
    assert busy.getreply()[0] == 250
    assert idle.getreply()[0] == 421
    for client in (idle, busy):
        client.close()


def test_stopping_does_not_wait_for_a_client_that_hears_nothing(tmp_path: Path) -> None:
    import threading

    from bounced.mailbox.lmtp import Limits, Listener

    place = tmp_path / "lmtp.sock"
    listener = Listener(place, lambda _letters: None, limits=Limits(farewell=0.2))
    listener.start()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as deaf:
        deaf.connect(str(place))
        deaf.settimeout(0.5)
        with suppress(TimeoutError):
            while True:  # until answers fill both sides, since nobody reads them
                deaf.send(b"NOOP\r\n" * 1000)
        stopping = threading.Thread(target=listener.stop, daemon=True)
        stopping.start()
        stopping.join(10)
        assert not stopping.is_alive()


def test_the_signal_ends_it_within_ten_seconds_even_while_the_database_does_not_answer(
    bounced: Bounced,
) -> None:
    configure(bounced.folder)
    with listening(bounced.folder) as running:
        client = connected(bounced.folder)
        other = sqlite3.connect(bounced.folder / "bounced.db")
        other.execute("BEGIN IMMEDIATE")
        client.mail("")
        client.rcpt(TO)
        client.docmd("DATA")
        client.send(letters(1)[0] + b"\r\n.\r\n")
        time.sleep(0.5)
        began = time.monotonic()
        running.terminate()
        assert finished(running, 20)[0] == 0
        assert time.monotonic() - began < 10
        with pytest.raises(smtplib.SMTPServerDisconnected):
            client.getreply()
        other.close()


def test_the_socket_has_the_rights_asked_for_and_is_not_taken_from_who_listens(
    bounced: Bounced,
) -> None:
    configure(bounced.folder)
    with listening(bounced.folder, "--mode", "0600"):
        path = bounced.folder / "lmtp.sock"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        second = bounced("lmtp", str(path))
        assert (second.exit_code, "cannot be listened for" in second.stderr) == (2, True)
        assert delivered(connected(bounced.folder), letters(1)[0]) == [250]


@pytest.mark.parametrize("place", ["0.0.0.0:24", "mail.example.com:24", "localhost", "24"])
def test_nobody_else_can_reach_it(bounced: Bounced, place: str) -> None:
    configure(bounced.folder)
    assert bounced("lmtp", place).exit_code == 2


def test_it_listens_on_loopback_too(bounced: Bounced) -> None:
    configure(bounced.folder)
    port = free_port()
    running = process("lmtp", f"127.0.0.1:{port}", cwd=bounced.folder)
    until(running, "event=started")
    client = smtplib.LMTP("127.0.0.1", port)
    client.ehlo("mta.example.com")
    assert delivered(client, letters(1)[0]) == [250]
    client.quit()
    with socket.create_connection(("127.0.0.1", port), 5) as greeted:
        assert greeted.recv(100).startswith(b"220 ")
        greeted.sendall(b"EHLO x\r\n")
        assert greeted.recv(100).startswith(b"500 ")
    running.terminate()
    assert finished(running, 20)[0] == 0


def test_without_the_library_it_says_what_to_install(
    bounced: Bounced, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "bounced.mailbox.lmtp", raising=False)
    monkeypatch.setitem(sys.modules, "aiosmtpd.lmtp", None)
    result = bounced("lmtp", str(bounced.folder / "lmtp.sock"))
    assert (result.exit_code, "bounced-mail[lmtp]" in result.stderr) == (2, True)

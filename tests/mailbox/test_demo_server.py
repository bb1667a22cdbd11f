"""The demonstration's own mail server does all that a sync asks of one."""

from __future__ import annotations

import gc
import sys
import threading
import time
from datetime import UTC, datetime

import pytest

from bounced.mailbox import MailboxSettings
from bounced.mailbox.demo_server import demo_letters, demo_server, fill
from bounced.mailbox.imap import ImapMailbox
from bounced.model import Destination

RECEIVED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_letters_go_in_and_out_and_onto_their_piles() -> None:
    pytest.importorskip("pymap")
    letters = [b"Subject: %d\r\n\r\n8-bit \xe4\xff\r\n" % n for n in range(100)]
    began = time.monotonic()
    with demo_server() as server:
        host, port, user, password = server
        assert fill(server, letters, received_at=RECEIVED) == 100
        box = ImapMailbox("demo", host=host, port=port, user=user, password=password, tls="none")
        assert box.open() > 0
        found = [one for piece in box.waiting() for one in box.fetch(piece)]
        assert [one.raw for one in found] == letters
        assert {one.received_at for one in found} == {RECEIVED}
        uids = [one.uid for one in found]
        assert box.file(uids, Destination.PROCESSED) == set(uids)
        assert list(box.waiting()) == []
        box.close()
        again = ImapMailbox(
            "piles", host=host, port=port, user=user, password=password, tls="none",
            folder="Bounced/Processed", archive="flag",
        )  # fmt: skip
        again.open()
        assert sum(len(piece) for piece in again.waiting()) == 100
        again.close()
    assert time.monotonic() - began < 10
    assert "demo-server" not in {thread.name for thread in threading.enumerate()}


def test_without_pymap_the_command_that_installs_it_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pymap.backend.dict", None)
    with pytest.raises(MailboxSettings, match=r"pip install 'bounced-mail\[demo\]'"), demo_server():
        pass


def test_the_server_ends_even_when_a_client_stays(capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pymap")
    began = time.monotonic()
    with demo_server() as server:
        host, port, user, password = server
        box = ImapMailbox("demo", host=host, port=port, user=user, password=password, tls="none")
        box.open()
    box.close()
    assert time.monotonic() - began < 5
    assert capfd.readouterr() == ("", "")


def test_the_garbage_collector_ends_no_conversation() -> None:
    """Without a task of ours that holds it, it does on Python 3.13."""
    pytest.importorskip("pymap")
    letters = [b"Subject: %d\r\n\r\n%s\r\n" % (n, b"x" * 2000) for n in range(300)]
    with demo_server() as server:
        host, port, user, password = server
        fill(server, letters)
        box = ImapMailbox("demo", host=host, port=port, user=user, password=password, tls="none")
        box.open()
        uids = [uid for piece in box.waiting() for uid in piece]
        for start in range(0, len(uids), 50):
            some = uids[start : start + 50]
            assert len(list(box.fetch(some))) == 50
            gc.collect()
            assert box.file(some, Destination.PROCESSED) == set(some)
            gc.collect()
        box.close()


def test_the_letters_of_the_demonstration_are_found() -> None:
    letters = demo_letters()
    assert letters
    assert all(path.suffix == ".eml" for path in letters)

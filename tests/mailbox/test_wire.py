"""Deadlines that end whatever is waited for, and only what has missed its own."""

from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from bounced.mailbox.wire import Cutter

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def line() -> Iterator[tuple[Cutter, socket.socket]]:
    """A cutter that holds one end of a line at whose other end nobody says anything."""
    ours, theirs = socket.socketpair()
    cutter = Cutter()
    cutter.hold(ours)
    with ours, theirs:
        yield cutter, ours
        cutter.close()


def test_what_is_not_done_in_time_is_cut_though_there_was_more_time_before(
    line: tuple[Cutter, socket.socket],
) -> None:
    cutter, ours = line
    with cutter.within(60):
        pass
    began = time.monotonic()
    with cutter.within(0.2):
        assert ours.recv(1) == b""
    assert 0.2 <= time.monotonic() - began < 5
    assert cutter.fired


def test_within_a_longer_time_the_shorter_one_holds_and_then_the_longer_again(
    line: tuple[Cutter, socket.socket],
) -> None:
    cutter, ours = line
    with cutter.within(0.4):
        with cutter.within(60):
            pass
        with cutter.within(0.1):
            pass
        assert not cutter.fired
        assert ours.recv(1) == b""
    assert cutter.fired


def test_what_is_done_in_time_is_not_cut_later(line: tuple[Cutter, socket.socket]) -> None:
    cutter, _ = line
    for _ in range(3):
        with cutter.within(0.1):
            pass
    time.sleep(0.3)
    assert not cutter.fired


def test_one_thread_watches_over_all_commands_and_ends_with_the_line() -> None:
    before = set(threading.enumerate())
    cutter = Cutter()
    for _ in range(20):
        with cutter.within(60):
            watching = [one for one in set(threading.enumerate()) - before if one.name == "cutter"]
    cutter.close()
    for one in watching:
        one.join(5)
    assert len(watching) == 1
    assert not watching[0].is_alive()

"""A letter that kills its reader is quarantined with the evidence, and nothing else dies."""

import os
import resource
import signal
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from bounced import isolation
from bounced.isolation import read_in_child
from bounced.model import Destination, Kind, Letter
from bounced.reading import read_letter

AT = datetime(2026, 1, 5, 10, tzinfo=UTC)
LETTER = Letter(
    uid=7,
    raw=b"Return-Path: <>\nFrom: MAILER-DAEMON@example.com\nSubject: failure notice\n\n"
    b"<a@example.com>: host mx said: 550 5.1.1 User unknown\n",
)


def die(theirs: Connection) -> None:
    theirs.recv()
    os.kill(os.getpid(), signal.SIGKILL)


def devour(theirs: Connection) -> None:
    theirs.recv()
    isolation._allow_cpu_seconds(0)
    while True:
        pass


def sleep(theirs: Connection) -> None:
    signal.pause()


def die_of_the_second(theirs: Connection) -> None:
    for _ in range(2):
        letter, at, books = theirs.recv()
        if letter.uid == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        theirs.send(replace(read_letter(letter, at, books), dedup_key=str(os.getpid())))


def be_stopped_once(theirs: Connection) -> None:
    letter, at, books = theirs.recv()
    mark = books[0]
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGTERM)
    theirs.send(read_letter(letter, at))


@pytest.fixture(autouse=True)
def nobody_stays() -> Iterator[None]:
    isolation.dismiss()
    yield
    isolation.dismiss()


def test_a_good_letter_is_read_in_the_child_as_here() -> None:
    assert read_in_child(LETTER, AT) == read_letter(LETTER, AT)


@pytest.mark.parametrize("deed", [die, devour, sleep])
def test_a_letter_that_kills_its_reader_is_quarantined(
    deed: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(isolation, "_serve", deed)
    monkeypatch.setattr(isolation, "PATIENCE_SECONDS", 5)
    reading = read_in_child(LETTER, AT)
    assert reading.destination is Destination.QUARANTINE
    assert reading.conclusion.report.kind is Kind.OTHER
    assert reading.conclusion.bounces == ()
    (problem,) = reading.conclusion.report.problems
    assert problem.startswith("poison: the reader died of it (exit ")
    assert "None" not in problem
    assert reading.uid == LETTER.uid


def test_a_child_that_was_asked_to_stop_condemns_no_letter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(isolation, "_serve", be_stopped_once)
    mark = tmp_path / "stopped"
    assert read_in_child(LETTER, AT, (mark,)) == read_letter(LETTER, AT)
    assert mark.exists()


def test_the_child_has_limits_of_its_own() -> None:
    before = resource.getrlimit(resource.RLIMIT_CPU), resource.getrlimit(resource.RLIMIT_AS)
    read_in_child(LETTER, AT)
    after = resource.getrlimit(resource.RLIMIT_CPU), resource.getrlimit(resource.RLIMIT_AS)
    assert before == after


def test_one_child_reads_on_until_a_letter_kills_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolation, "_serve", die_of_the_second)
    first, poison, next_ = (read_in_child(replace(LETTER, uid=uid), AT) for uid in (1, 2, 3))
    assert poison.destination is Destination.QUARANTINE
    assert (first.destination, next_.destination) == (Destination.PROCESSED,) * 2
    # the stand-in tells in place of the key who has read the letter
    assert first.dedup_key != next_.dedup_key
    again = read_in_child(replace(LETTER, uid=4), AT)
    assert again.dedup_key == next_.dedup_key
    isolation.dismiss()
    assert not Path(f"/proc/{again.dedup_key}").exists()


def test_a_child_that_died_between_two_letters_condemns_neither() -> None:
    read_in_child(LETTER, AT)
    assert isolation._child is not None
    isolation._child._process.kill()
    isolation._child._process.join()
    assert read_in_child(LETTER, AT) == read_letter(LETTER, AT)


def test_each_letter_has_the_processor_time_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    soft = resource.getrlimit(resource.RLIMIT_CPU)
    try:
        isolation._allow_cpu_seconds(100)
        once = resource.getrlimit(resource.RLIMIT_CPU)[0]
        isolation._allow_cpu_seconds(200)
        assert resource.getrlimit(resource.RLIMIT_CPU)[0] >= once + 100
    finally:
        resource.setrlimit(resource.RLIMIT_CPU, soft)

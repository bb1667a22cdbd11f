"""A letter that kills its reader is quarantined with the evidence, and nothing else dies."""

import os
import resource
import signal
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


def die(sender: Connection, letter: Letter, at: datetime, books: tuple[Path, ...]) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def devour(sender: Connection, letter: Letter, at: datetime, books: tuple[Path, ...]) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (1, 1))
    while True:
        pass


def sleep(sender: Connection, letter: Letter, at: datetime, books: tuple[Path, ...]) -> None:
    signal.pause()


def test_a_good_letter_is_read_in_the_child_as_here() -> None:
    assert read_in_child(LETTER, AT) == read_letter(LETTER, AT)


@pytest.mark.parametrize("deed", [die, devour, sleep])
def test_a_letter_that_kills_its_reader_is_quarantined(
    deed: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(isolation, "_read", deed)
    monkeypatch.setattr(isolation, "PATIENCE_SECONDS", 5)
    reading = read_in_child(LETTER, AT)
    assert reading.destination is Destination.QUARANTINE
    assert reading.conclusion.report.kind is Kind.OTHER
    assert reading.conclusion.bounces == ()
    (problem,) = reading.conclusion.report.problems
    assert problem.startswith("poison: the reader died of it (exit ")
    assert "None" not in problem
    assert reading.uid == LETTER.uid


def test_the_child_has_limits_of_its_own() -> None:
    before = resource.getrlimit(resource.RLIMIT_CPU), resource.getrlimit(resource.RLIMIT_AS)
    read_in_child(LETTER, AT)
    after = resource.getrlimit(resource.RLIMIT_CPU), resource.getrlimit(resource.RLIMIT_AS)
    assert before == after

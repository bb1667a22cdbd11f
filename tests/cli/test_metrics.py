"""`bounced status --metrics`: what a monitor reads."""

from __future__ import annotations

import os
import sys
import time
import urllib.request
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.cli.conftest import process
from tests.cli.test_sync import configure, finished, letters, until
from tests.servers.database import rows
from tests.servers.dovecot import free_port

if TYPE_CHECKING:
    from tests.cli.conftest import Bounced

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(text: str) -> Samples:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def of(mailbox: str, **more: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted({"mailbox": mailbox, **more}.items()))


def test_the_figures_of_every_mailbox_are_printed(bounced: Bounced) -> None:
    configure(bounced.folder, more="[brake]\nshare = 0\nfloor = 1\n")
    for letter in letters(1):
        assert bounced("ingest", "-", stdin=letter).exit_code == 0
    for letter in letters(2, start=5):
        assert bounced("ingest", "--mailbox", "flood", "-", stdin=letter).exit_code == 0
    result = bounced("status", "--metrics")
    assert result.exit_code == 0, result.output
    found = samples(result.stdout)
    assert found["bounced_letters_total", of("ingest", kind="bounce")] == 1
    assert found["bounced_letters_total", of("flood", kind="bounce")] == 2
    assert found["bounced_suppressed_addresses", ()] == 1
    assert found["bounced_held_runs", ()] == 1
    assert found["bounced_mailbox_failing_seconds", of("flood")] == 0
    assert found["bounced_mailbox_last_success_timestamp_seconds", of("flood")] > 1.7e9
    assert found["bounced_quarantined_letters", of("flood")] == 0
    assert found["bounced_unfiled_letters", of("flood")] == 0
    assert found["bounced_oldest_unfiled_seconds", of("flood")] == 0


def test_run_serves_them_on_loopback_while_its_heart_beats(bounced: Bounced) -> None:
    (bounced.folder / "box").mkdir()
    letter = bounced.folder / "box" / "1.eml"
    letter.write_bytes(letters(1)[0])
    early = time.time() - 60
    os.utime(letter, (early, early))
    configure(bounced.folder, {"name": "local", "path": "box"})
    port = free_port()
    running = process("run", "--metrics", f"127.0.0.1:{port}", cwd=bounced.folder)
    until(running, "letters=1")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        found = samples(answer.read().decode())
    assert found["bounced_letters_total", of("local", kind="bounce")] == 1
    (beat,) = [figure for (name, _), figure in found.items() if "heartbeat" in name]
    assert 0 <= beat < 60
    url = f"sqlite:///{bounced.folder}/bounced.db"
    assert rows(url, "SELECT count(*) FROM heartbeat") == [(1,)]
    running.terminate()
    assert finished(running, 20)[0] == 0
    assert rows(url, "SELECT count(*) FROM heartbeat") == [(0,)]


def test_a_run_that_is_silent_for_long_makes_status_exit_1(bounced: Bounced) -> None:
    configure(bounced.folder)
    assert bounced("ingest", "-", stdin=letters(1)[0]).exit_code == 0
    url = f"sqlite:///{bounced.folder}/bounced.db"
    silent = "INSERT INTO heartbeat VALUES ('elsewhere:1', {0}, {0})"
    rows(url, silent.format("datetime('now', '-90 minutes')"))
    told = bounced("status")
    assert (told.exit_code, "(elsewhere:1)" in told.stdout) == (1, True)
    assert "no sign of life for 90 minutes" in told.stdout
    assert bounced("status", "--patience", "100").exit_code == 0
    age = samples(bounced("status", "--metrics").stdout)
    assert age["bounced_heartbeat_age_seconds", (("owner", "elsewhere:1"),)] >= 5400


@pytest.mark.parametrize("place", ["0.0.0.0:9464", "example.com:9464", "127.0.0.1", "[::]:9464"])
def test_figures_are_not_served_to_the_world(bounced: Bounced, place: str) -> None:
    configure(bounced.folder)
    result = bounced("run", "--metrics", place)
    assert (result.exit_code, "127.0.0.1:9464" in result.stderr) == (2, True)


def test_a_mailbox_that_cannot_even_be_begun_with_fails_in_the_figures_too(
    bounced: Bounced,
) -> None:
    absent = {"name": "box", "host": "127.0.0.1", "port": 1, "tls": "none", "user": "u"}
    configure(bounced.folder, absent | {"password_file": str(bounced.folder / "absent")})
    assert bounced("sync").exit_code == 2
    assert bounced("status", "--patience", "0").exit_code == 1
    found = samples(bounced("status", "--metrics").stdout)
    assert found["bounced_mailbox_failing_seconds", of("box")] >= 0
    assert "failing since" in bounced("status").stdout


def test_a_mailbox_that_was_taken_out_of_the_configuration_alarms_nobody_after_a_day(
    bounced: Bounced,
) -> None:
    gone = {"name": "gone", "host": "127.0.0.1", "port": 1, "tls": "none", "user": "u"}
    configure(bounced.folder, gone | {"password": "x"})
    assert bounced("sync").exit_code == 75
    url = f"sqlite:///{bounced.folder}/bounced.db"
    (bounced.folder / "box").mkdir()
    for hours, counts in ((23, True), (25, False)):
        then = "UPDATE mailbox SET last_sync_at = {0}, failing_since = {0}"
        rows(url, then.format(f"datetime('now', '-{hours} hours')"))
        configure(bounced.folder, {"name": "other", "path": "box"})
        told = bounced("status")
        assert told.exit_code == (1 if counts else 0)
        assert ("not in the configuration" in told.stdout) is not counts
        found = samples(bounced("status", "--metrics").stdout)
        assert (("bounced_mailbox_failing_seconds", of("gone")) in found) is counts
        configure(bounced.folder, gone | {"password": "x"})
        assert bounced("status").exit_code == 1, "it is not tried, and should be"


def test_without_the_library_it_says_what_to_install(
    bounced: Bounced, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    result = bounced("status", "--metrics")
    assert (result.exit_code, "bounced-mail[metrics]" in result.stderr) == (2, True)

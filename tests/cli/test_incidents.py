"""`bounced incidents`, from the sync that opens one to the operator's word."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from bounced.mailbox.demo_server import DemoServer, demo_server, fill
from tests.cli.test_sync import box, configure, letters

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.conftest import Bounced

FEW = "[incidents]\nfloor = 3\nyoung_days = 0\n"


@pytest.fixture
def server() -> Iterator[DemoServer]:
    with demo_server() as running:
        yield running


def test_a_sync_opens_an_incident_and_the_commands_it_prints_work(
    bounced: Bounced, server: DemoServer
) -> None:
    fill(server, letters(5))
    configure(bounced.folder, box(server), more=FEW)
    plan = bounced("sync", "--plan")
    assert plan.exit_code == 1
    assert "1 incident would be opened" in plan.stderr
    result = bounced("sync")
    assert result.exit_code == 1
    assert "1 incident: a provider or domain answers hard" in result.stderr
    assert bounced("suppressed").output == ""
    assert "incident 1 (example.com)" in bounced("status").stdout
    listed = bounced("incidents")
    assert listed.exit_code == 1
    assert re.search(r"1 +example\.com .* 5 +0\.0 +open", listed.stdout)
    commands = dict(re.findall(r"bounced (incidents (\w+) 1)", listed.stderr))
    by_word = {word: command.split() for command, word in commands.items()}
    assert len(bounced(*by_word["show"]).stdout.splitlines()) == 5
    shown = bounced(*by_word["show"], "--json").stdout.splitlines()
    assert json.loads(shown[0]) == {"incident": 1, "address": "gone0@example.com"}
    missing = bounced("incidents", "show", "7")
    assert (missing.exit_code, missing.stdout) == (2, "")
    assert missing.stderr.startswith("There is no incident 7. Nothing was changed.")
    explained = bounced("explain", "gone0@example.com").stdout
    assert "does not count: incident 1 waits or was discarded" in explained
    assert bounced(*by_word["accept"]).stdout == "Incident 1: 5 addresses now suppressed.\n"
    assert len(bounced("suppressed").stdout.splitlines()) == 5
    assert (bounced("incidents").exit_code, bounced("incidents").stdout) == (0, "No incident.\n")
    told = json.loads(bounced("incidents", "list", "--all", "--json").stdout)
    assert (told["name"], told["state"], told["addresses"]) == ("example.com", "accepted", 5)
    assert "taken back: 0 suppressed, 5 released" in bounced("undo", "1").stdout
    assert "nobody is suppressed" in bounced(*by_word["discard"]).stdout
    assert bounced(*by_word["discard"]).exit_code == 2

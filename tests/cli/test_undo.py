"""`bounced decisions`, `undo` and `redo`, as an operator types them."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import TYPE_CHECKING

from tests.cli.conftest import HARD, NOW, reading, recorded

if TYPE_CHECKING:
    from tests.cli.conftest import Bounced


def test_a_release_is_listed_taken_back_and_shown_by_explain(bounced: Bounced) -> None:
    early = NOW - timedelta(hours=1)
    recorded(bounced.folder / "bounced.db", [reading(1, "ann@example.com", "550 no", HARD, early)])
    (bounced.folder / "config.toml").write_text("")
    assert bounced("decisions").stdout == "Nothing was decided yet.\n"
    bounced("release", "ann@example.com", "--note", "she called")
    assert bounced("suppressed").output == ""
    listed = bounced("decisions")
    assert re.search(
        r"^ *1 .* release +ann@example.com +1 +she called", listed.stdout, re.MULTILINE
    )
    command = re.search(r"bounced (undo \d+)", listed.stderr)
    assert command is not None
    undone = bounced(*command[1].split(), "--note", "another Ann")
    assert undone.stdout == (
        "Decision 1, release (ann@example.com), was taken back: 1 suppressed, 0 released.\n"
    )
    assert bounced("suppressed").output == "ann@example.com\n"
    explained = bounced("explain", "ann@example.com").stdout
    assert "she called (taken back 2" in explained
    assert "(decision 1)" in explained
    told = json.loads(bounced("decisions", "--json").stdout)
    assert (told["id"], told["undone_note"]) == (1, "another Ann")
    assert "is in force again: 0 suppressed, 1 released" in bounced("redo", "1").stdout
    assert bounced("suppressed").output == ""


def test_a_decision_that_is_not_there_is_a_usage_error(bounced: Bounced) -> None:
    recorded(bounced.folder / "bounced.db", [])
    (bounced.folder / "config.toml").write_text("")
    result = bounced("undo", "3")
    assert result.exit_code == 2
    assert "There is no decision 3. Nothing was changed." in result.stderr


def test_an_undone_import_that_is_imported_again_says_how_to_put_it_into_force(
    bounced: Bounced,
) -> None:
    (bounced.folder / "config.toml").write_text("")
    (bounced.folder / "theirs.txt").write_text("ann@example.com\n")
    again = ("suppressed", "import", "theirs.txt", "--from", "txt")
    assert "1 new" in bounced(*again).stdout
    bounced("undo", "1")
    told = bounced(*again)
    assert "0 new" in told.stdout
    command = re.search(r"type: bounced (redo \d+)", told.stderr)
    assert command is not None
    bounced(*command[1].split())
    assert bounced("suppressed").output == "ann@example.com\n"
    assert "undone" not in bounced(*again).stderr

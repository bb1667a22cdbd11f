"""Questions about addresses, and the operator's word on them."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

import pytest

from bounced.report import write_csv
from tests.cli.conftest import HARD, process, reading, recorded

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Bounced


def test_explain_shows_what_was_said_which_rule_judged_and_why(
    bounced: Bounced, database: Path
) -> None:
    result = bounced("explain", "gone@example.com", "--db", str(database))
    assert result.exit_code == 0
    first = result.output.splitlines()[0]
    assert first.startswith("gone@example.com: hard-bounced, SUPPRESSED since ")
    assert first.endswith("for good")
    assert "judged by test/gone (0.95): There is nobody there." in result.output
    assert "by mx.example.net" in result.output
    assert "active -> hard-bounced (suppressed), by sync" in result.output


def test_nothing_that_a_server_said_reaches_the_terminal_raw(
    bounced: Bounced, database: Path
) -> None:
    words = ("gone@example.com", "--db", str(database))
    for command in (("explain", *words), ("explain", *words, "--json")):
        output = bounced(*command).output
        assert "\x1b" not in output
        assert "\u202e" not in output
    assert "\\x1b[31mno" in bounced("explain", *words).output
    told = json.loads(bounced("explain", *words, "--json").output)
    assert told["events"][0]["diagnostic"] == "550 \x1b[31mno\x1b[0m such \u202euser"


def test_explain_knows_nothing_of_a_stranger_and_says_so(bounced: Bounced, database: Path) -> None:
    result = bounced("explain", "new@example.com", "--db", str(database))
    assert result.output == "new@example.com: nothing is on record; it may be mailed.\n"


def test_the_address_is_found_however_its_domain_is_written(
    bounced: Bounced, database: Path
) -> None:
    output = bounced("explain", "gone@EXAMPLE.com", "--db", str(database)).output
    assert "SUPPRESSED" in output


def test_suppressed_prints_one_address_a_line(bounced: Bounced, database: Path) -> None:
    assert bounced("suppressed", "--db", str(database)).output == "gone@example.com\n"


def test_suppressed_as_csv_and_json_carries_the_views_columns(
    bounced: Bounced, database: Path
) -> None:
    words = ("suppressed", "--db", str(database), "--format")
    (row,) = csv.DictReader(io.StringIO(bounced(*words, "csv").output))
    told = json.loads(bounced(*words, "json").output)
    assert row.keys() == told.keys()
    assert row["address"] == told["address"] == "gone@example.com"
    assert (row["reason"], row["expires_at"], row["rule"]) == ("user_unknown", "", "test/gone")
    assert told["expires_at"] is None
    assert row["since"] == told["since"]
    assert row["since"].endswith("Z")


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_only_cells_for_a_spreadsheet_get_an_apostrophe(start: str) -> None:
    row = type("Row", (), {"address": f"{start}cmd()@example.com", "score": -1})()
    plain, guarded = io.StringIO(), io.StringIO()
    write_csv([row], ["address", "score"], plain)
    write_csv([row], ["address", "score"], guarded, for_spreadsheet=True)
    assert "'" not in plain.getvalue()
    assert guarded.getvalue().splitlines()[1].startswith("'")


def test_the_command_guards_spreadsheets_when_asked(bounced: Bounced) -> None:
    path = bounced.folder / "x.db"
    recorded(path, [reading(1, "=1+1@example.com", "no", HARD)])
    words = ("suppressed", "--db", str(path), "--format", "csv")
    assert "\n=1+1@example.com," in bounced(*words).output
    assert "\n'=1+1@example.com," in bounced(*words, "--for-spreadsheet").output


def test_check_says_who_is_on_the_list_and_exits_1(bounced: Bounced, database: Path) -> None:
    result = bounced(
        "suppressed", "check", "full@example.com", "gone@example.com", "--db", str(database)
    )
    assert result.exit_code == 1
    first, second = result.output.splitlines()
    assert first == "full@example.com: not suppressed"
    assert second.startswith("gone@example.com: suppressed (user_unknown): ")


def test_check_exits_0_when_nobody_is_on_the_list(bounced: Bounced, database: Path) -> None:
    assert bounced("suppressed", "check", "x@example.com", "--db", str(database)).exit_code == 0


def test_check_reads_addresses_from_standard_input(bounced: Bounced, database: Path) -> None:
    result = bounced(
        "suppressed",
        "check",
        "--json",
        "--db",
        str(database),
        stdin="gone@example.com\n\nnew@example.com\n",
    )
    told = [json.loads(line) for line in result.output.splitlines()]
    assert [(t["address"], t["suppressed"]) for t in told] == [
        ("gone@example.com", True),
        ("new@example.com", False),
    ]
    assert result.exit_code == 1


def test_a_released_address_may_be_mailed_and_the_release_is_on_record(
    bounced: Bounced, database: Path
) -> None:
    words = ("--db", str(database))
    done = bounced("release", "gone@example.com", "--note", "she wrote to us", *words)
    assert (done.exit_code, done.output) == (0, "1 address may be mailed again.\n")
    assert bounced("suppressed", *words).output == ""
    told = bounced("explain", "gone@example.com", *words).output
    assert "may be mailed" in told.splitlines()[0]
    assert ": she wrote to us" in told
    assert "judged by test/gone" in told, "the past stays on record"


def test_releasing_a_stranger_is_told_and_exits_1(bounced: Bounced, database: Path) -> None:
    result = bounced("release", "gone@example.com", "gnoe@example.com", "--db", str(database))
    assert result.exit_code == 1
    assert "gnoe@example.com: nothing is on record" in result.stderr
    assert "1 address may be mailed again." in result.stdout


def test_a_database_that_is_not_there_is_not_made_by_a_question(bounced: Bounced) -> None:
    result = bounced("suppressed", "--db", "tpyo.db")
    assert result.exit_code == 2
    assert "there is no database tpyo.db" in result.stderr
    assert not (bounced.folder / "tpyo.db").exists()


def test_the_database_of_the_configuration_is_used(bounced: Bounced, database: Path) -> None:
    (bounced.folder / "config.toml").write_text(f'[database]\nurl = "{database.name}"\n')
    assert bounced("suppressed").output == "gone@example.com\n"
    assert bounced("--config", "config.toml", "suppressed").output == "gone@example.com\n"


def test_without_configuration_the_list_says_where_it_was_looked_for(bounced: Bounced) -> None:
    result = bounced("suppressed")
    assert result.exit_code == 2
    assert "looked for config.toml" in result.stderr
    assert "bounced init" in result.stderr


def test_a_reader_that_has_seen_enough_is_no_trouble(bounced: Bounced) -> None:
    path = bounced.folder / "big.db"
    recorded(
        path, [reading(n, f"gone{n}@example.com", "no", HARD) for n in range(1, 4001)], floor=5000
    )
    running = process("suppressed", "--db", str(path), "--format", "csv", cwd=bounced.folder)
    assert running.stdout is not None
    assert running.stdout.readline().startswith("address,")
    running.stdout.close()
    assert running.stderr is not None
    assert running.stderr.read() == ""
    assert running.wait(60) == 0


def test_a_release_by_what_addresses_have_in_common_says_first_how_many(
    bounced: Bounced, database: Path
) -> None:
    words = (
        "release",
        "--domain",
        "example.com",
        "--reason",
        "user_unknown",
        "--db",
        str(database),
    )
    foretold = bounced(*words, "--dry-run")
    assert foretold.output.splitlines()[0] == "1 address would be released. Nothing was changed."
    assert foretold.output.splitlines()[1].split() == [
        "1", "user_unknown,", "by", "rule", "test/gone",
    ]  # fmt: skip
    assert bounced("suppressed", "--db", str(database)).output == "gone@example.com\n"
    assert bounced(*words).output == "1 address may be mailed again.\n"
    assert bounced("suppressed", "--db", str(database)).output == ""


def test_a_release_of_nobody_says_so(bounced: Bounced, database: Path) -> None:
    words = ("release", "gone@example.com", "--db", str(database))
    assert bounced(*words).stdout == "1 address may be mailed again.\n"
    nobody = "Nobody was released: what was asked for is not suppressed.\n"
    assert bounced(*words).stdout == nobody
    assert bounced("release", "--run", "99", "--db", str(database)).stdout == nobody


def test_what_is_no_address_is_not_said_to_be_mailable(bounced: Bounced, database: Path) -> None:
    told = bounced("explain", "nonsense", "--db", str(database)).output
    assert told == "nonsense: nothing is on record, and it is no address.\n"


def test_a_release_of_everyone_must_be_said_in_words(bounced: Bounced, database: Path) -> None:
    refused = bounced("release", "--db", str(database))
    assert refused.exit_code == 2
    assert "--domain" in refused.stderr
    assert bounced("suppressed", "--db", str(database)).output == "gone@example.com\n"


def test_an_address_told_apart_by_case_only_is_found_and_shown(
    bounced: Bounced, database: Path
) -> None:
    told = bounced("explain", "Gone@example.com", "--db", str(database)).output
    assert told.startswith("gone@example.com: hard-bounced, SUPPRESSED")


def test_a_release_of_somebody_not_suppressed_says_what_it_did(
    bounced: Bounced, database: Path
) -> None:
    words = ("release", "full@example.com", "--db", str(database))
    told = "Nobody was suppressed; what is on record of 1 address up to now stops counting.\n"
    assert bounced(*words).stdout == told
    assert "full@example.com" in bounced("decisions", "--db", str(database)).output
    nobody = "Nobody was released: what was asked for is not suppressed.\n"
    assert bounced(*words).stdout == nobody, "done is done"


def test_machines_are_told_whether_the_address_may_be_mailed(
    bounced: Bounced, database: Path
) -> None:
    asked = {
        address: json.loads(bounced("explain", address, "--json", "--db", str(database)).stdout)
        for address in ("gone@example.com", "full@example.com", "nobody@example.com")
    }
    assert [one["suppressed"] for one in asked.values()] == [True, False, False]
    assert asked["gone@example.com"]["row"]["reason"] == "user_unknown"
    assert asked["nobody@example.com"]["standing"] is None


def test_an_import_is_no_mailbox_in_the_status(bounced: Bounced, database: Path) -> None:
    (bounced.folder / "more.txt").write_text("ann@example.com\nbob@example.com\n")
    bounced("suppressed", "import", "more.txt", "--from", "txt", "--db", str(database))
    told = bounced("status", "--db", str(database)).stdout.splitlines()
    assert told[0].startswith("import/txt: last imported 20")
    assert told[0].endswith("Z, 2 lines in all")
    assert told[1].startswith("news: last emptied ")
    rows = bounced("status", "--json", "--db", str(database)).stdout.splitlines()
    found = {row["mailbox"]: row["imported"] for row in map(json.loads, rows)}
    assert found == {"import/txt": True, "news": False}
    audited = map(json.loads, bounced("audit", "--json", "--db", str(database)).stdout.splitlines())
    assert {one["mailbox"] for one in audited} == set(found)


def test_another_database_is_judged_by_the_same_configuration(bounced: Bounced) -> None:
    (bounced.folder / "config.toml").write_text(
        'never_suppress = ["ann@example.net"]\n[database]\nurl = "bounced.db"\n'
    )
    taken = ("suppressed", "import", "-", "--from", "txt", "--db", "other.db")
    assert bounced(*taken, stdin="ann@example.net\n").exit_code == 0
    told = bounced("explain", "ann@example.net", "--db", "other.db").stdout
    assert "Not suppressed: never_suppress names ann@example.net." in told
    assert bounced("suppressed", "--db", "other.db").stdout == ""
    assert not (bounced.folder / "bounced.db").exists()

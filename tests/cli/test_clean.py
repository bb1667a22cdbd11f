"""A mailing list comes apart into whom to mail, whom not to, and whom not now; nobody is lost."""

from __future__ import annotations

import csv
import json
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from bounced.model import Fault, Outcome, Reason, Verdict
from tests.cli.conftest import HARD, NOW, reading, recorded

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Bounced

PERHAPS = Verdict(
    Outcome.HARD, Reason.USER_UNKNOWN, Fault.RECIPIENT, 0.6, "test/perhaps", "Perhaps nobody."
)


def cleaned(folder: Path, name: str = "list", **how: str) -> dict[str, list[list[str]]]:
    """The rows of the three files."""
    suffix = how.pop("suffix", ".csv")
    told = {}
    for pile in ("send", "suppress", "hold"):
        with (folder / f"{name}.{pile}{suffix}").open(
            encoding=how.get("encoding", "utf-8"), newline=""
        ) as file:
            told[pile] = list(csv.reader(file, delimiter=how.get("delimiter", ",")))
    return told


def clean(bounced: Bounced, database: Path, text: str | bytes, *words: str) -> int:
    raw = text if isinstance(text, bytes) else text.encode()
    (bounced.folder / "list.csv").write_bytes(raw)
    return bounced("clean", "list.csv", "--db", str(database), *words).exit_code


def test_every_row_comes_out_once_with_all_its_columns(bounced: Bounced, database: Path) -> None:
    rows = 'name,email,city\nAnn,new@example.com,Ulm\nBob,gone@example.com,"Rome, old"\n'
    assert clean(bounced, database, rows) == 0
    told = cleaned(bounced.folder)
    assert told["send"] == [["name", "email", "city"], ["Ann", "new@example.com", "Ulm"]]
    head, row = told["suppress"]
    assert head[:3] == ["name", "email", "city"]
    assert head[3:] == ["bounced_reason", "bounced_since", "bounced_until", "bounced_because"]
    assert row[:4] == ["Bob", "gone@example.com", "Rome, old", "user_unknown"]
    assert row[4].endswith("Z")
    assert "rule test/gone" in row[6]
    assert len(told["hold"]) == 1, "its header"


def test_the_case_of_a_local_part_hides_nobody(bounced: Bounced, database: Path) -> None:
    clean(bounced, database, "email\nGone@Example.COM\n")
    assert cleaned(bounced.folder)["suppress"][1][0] == "Gone@Example.COM"


def test_one_unsure_hard_bounce_holds_until_a_second_would_prove_something(
    bounced: Bounced,
) -> None:
    path = bounced.folder / "x.db"
    recorded(
        path,
        [
            reading(1, "early@example.com", "no", PERHAPS, NOW - timedelta(hours=1)),
            reading(2, "late@example.com", "no", PERHAPS, NOW - timedelta(hours=100)),
        ],
    )
    clean(bounced, path, "email\nearly@example.com\nlate@example.com\n")
    told = cleaned(bounced.folder)
    assert [row[:2] for row in told["hold"][1:]] == [["early@example.com", "user_unknown"]]
    assert "Mail again only after" in told["hold"][1][4]
    assert told["send"][1:] == [["late@example.com"]]


def test_what_the_brake_holds_is_held(bounced: Bounced) -> None:
    path = bounced.folder / "x.db"
    recorded(path, [reading(n, f"a{n}@example.com", "no", HARD) for n in range(3)], floor=1)
    clean(bounced, path, "email\nA1@example.com\nnew@example.com\n")
    told = cleaned(bounced.folder)
    assert told["hold"][1][:2] == ["A1@example.com", "held"]
    assert "bounced hold list" in told["hold"][1][4]
    assert told["send"][1:] == [["new@example.com"]]


def test_a_line_without_a_usable_address_is_held_and_told(bounced: Bounced, database: Path) -> None:
    rows = "email,name\nnot an address,Ann\nnew@example.com,Bob,too,many\nfine@example.com\n,\n"
    assert clean(bounced, database, rows) == 1
    told = cleaned(bounced.folder)
    assert [row[0] for row in told["hold"][1:]] == ["not an address", "new@example.com", ""]
    assert told["send"][1:] == [["fine@example.com"]]


def test_a_stray_quote_lets_nobody_slip_through(bounced: Bounced, database: Path) -> None:
    rows = 'email,name\nann@example.com,"Ann\ngone@example.com,Bob\nnew@example.com,Cy\n'
    clean(bounced, database, rows)
    told = cleaned(bounced.folder)
    sent = [cell for row in told["send"][1:] for cell in row]
    assert not any(cell == "gone@example.com" for cell in sent)
    assert clean(bounced, database, 'email\n"x@example.com\n' + "gone@example.com\n" * 20_000) == 2


@pytest.mark.parametrize(
    ("text", "how"),
    [
        ("name;email\r\nÄnn;gone@example.com\r\n".encode("utf-8-sig"), {"delimiter": ";", "encoding": "utf-8-sig"}),
        ("name\temail\nÄnn\tgone@example.com\n".encode("utf-16"), {"delimiter": "\t", "encoding": "utf-16"}),
        ("name,E-Mail\nÄnn,gone@example.com\n".encode("latin-1"), {"encoding": "latin-1"}),
    ],
)  # fmt: skip
def test_the_list_keeps_its_charset_its_separator_and_its_bytes(
    bounced: Bounced, database: Path, text: bytes, how: dict[str, str]
) -> None:
    assert clean(bounced, database, text) == 0
    told = cleaned(bounced.folder, **how)
    assert told["suppress"][1][:2] == ["Änn", "gone@example.com"]
    raw = (bounced.folder / "list.suppress.csv").read_bytes()
    assert raw.startswith(text[:3])
    assert (b"\r\n" in raw) == (b"\r\n" in text)


def test_a_bare_list_of_addresses_needs_no_header(bounced: Bounced, database: Path) -> None:
    path = bounced.folder / "list.txt"
    path.write_text("gone@example.com\nBob <new@example.com>\n")
    assert bounced("clean", "list.txt", "--db", str(database)).exit_code == 0
    told = cleaned(bounced.folder, suffix=".txt")
    assert told["suppress"][0][:2] == ["gone@example.com", "user_unknown"]
    assert told["send"] == [["Bob <new@example.com>"]]


def test_the_column_may_be_named_and_a_list_without_one_is_refused(
    bounced: Bounced, database: Path
) -> None:
    rows = "email,billing\nnew@example.com,gone@example.com\n"
    assert clean(bounced, database, rows, "--column", "Billing") == 0
    assert cleaned(bounced.folder)["suppress"][1][0] == "new@example.com"
    assert clean(bounced, database, rows, "--column", "nope") == 2
    assert clean(bounced, database, "a,b\n1,2\n") == 2


def test_the_counts_are_told_to_people_and_machines(bounced: Bounced, database: Path) -> None:
    (bounced.folder / "list.csv").write_text("email\nnew@example.com\ngone@example.com\n")
    said = bounced("clean", "list.csv", "--db", str(database)).output.split()
    assert said[:3] == ["1", "send", "list.send.csv"]
    told = json.loads(bounced("clean", "list.csv", "--json", "--db", str(database)).output)
    assert {(one["pile"], one["addresses"]) for one in told["counts"]} == {
        ("send", 1),
        ("suppress", 1),
    }
    assert told["files"]["hold"] == "list.hold.csv"


def test_files_appear_only_when_they_are_whole(
    bounced: Bounced, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bounced.ledger import Ledger

    def gone(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Ledger, "unclear", gone)
    assert clean(bounced, database, "email\nnew@example.com\n") != 0
    left = {path.name for path in bounced.folder.glob("list*")}
    assert not {name for name in left if "send" in name or "hold" in name or "part" in name}


def test_an_expired_suppression_is_sent_again(bounced: Bounced) -> None:
    path = bounced.folder / "x.db"
    disabled = Verdict(
        Outcome.HARD, Reason.MAILBOX_DISABLED, Fault.RECIPIENT, 0.95, "test/off", "Switched off."
    )
    recorded(path, [reading(1, "a@example.com", "no", disabled, NOW - timedelta(days=91))])
    clean(bounced, path, "email\na@example.com\n")
    assert cleaned(bounced.folder)["send"][1:] == [["a@example.com"]]

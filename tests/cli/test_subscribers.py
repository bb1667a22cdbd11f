"""Lists come out of many programs; what can be used is, and what cannot is told by line."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Bounced


def imported(bounced: Bounced, data: bytes, *more: str) -> tuple[int, str, str]:
    (bounced.folder / "list.csv").write_bytes(data)
    result = bounced("subscribers", "import", "list.csv", "--db", "l.db", *more)
    return result.exit_code, result.stdout, result.stderr


def known(bounced: Bounced) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(bounced.folder / "l.db")) as connection, connection:
        rows = connection.execute("SELECT address, list FROM subscriber ORDER BY address, list")
        found = [(str(address), str(name)) for address, name in rows]
    connection.close()
    return found


@pytest.mark.parametrize(
    "data",
    [
        b"email\na@example.com\nb@example.com\n",
        b"\xef\xbb\xbfName;E-Mail\r\nAnn;a@example.com\r\nBob;b@example.com\r\n",
        b"id\tAddress\n1\ta@example.com\n2\t b@example.com \n",
        b'"Email Address","Name"\n"a@example.com","Ann ""A"" Lee"\nb@example.com,\n',
        b"email\ra@example.com\rb@example.com\r",
    ],
)
def test_common_exports_are_understood(bounced: Bounced, data: bytes) -> None:
    code, out, err = imported(bounced, data, "--list", "news")
    assert (code, out, err) == (0, "2 addresses read, 2 new, 0 lines not usable.\n", "")
    assert known(bounced) == [("a@example.com", "news"), ("b@example.com", "news")]


def test_importing_again_adds_nothing(bounced: Bounced) -> None:
    imported(bounced, b"email\na@example.com\n")
    assert imported(bounced, b"email\na@example.com\nb@example.com\n")[1] == (
        "2 addresses read, 1 new, 0 lines not usable.\n"
    )
    assert len(known(bounced)) == 2


def test_bad_lines_are_told_with_their_number_and_the_rest_is_imported(bounced: Bounced) -> None:
    data = b'email,name\nno-address,x\na@example.com,"open quote\nb@example.com,y\n,\n\xff@example.com,z\n'
    code, out, err = imported(bounced, data)
    assert code == 1
    assert out == "2 addresses read, 2 new, 3 lines not usable.\n"
    assert [line.partition(":")[0] for line in err.splitlines()] == ["line 2", "line 5", "line 6"]
    assert [address for address, _ in known(bounced)] == ["a@example.com", "b@example.com"]


def test_a_file_without_an_address_column_is_refused_whole(bounced: Bounced) -> None:
    code, _, err = imported(bounced, b"name,phone\nAnn,1\n")
    assert code == 2
    assert "names no column email" in err
    assert "name,phone" in err
    assert not (bounced.folder / "l.db").exists()


def test_a_list_can_come_from_standard_input(bounced: Bounced) -> None:
    result = bounced("subscribers", "import", "-", "--db", "l.db", stdin="mail\na@example.com\n")
    assert result.exit_code == 0
    assert known(bounced) == [("a@example.com", "")]


def test_a_missing_file_is_one_sentence(bounced: Bounced) -> None:
    result = bounced("subscribers", "import", "none.csv", "--db", "l.db")
    assert result.exit_code == 2
    assert result.stderr == "none.csv: No such file or directory.\n"


def test_a_column_of_lists_is_taken_and_comes_out_again(bounced: Bounced) -> None:
    imported(bounced, b"email,list\na@example.com,news\na@example.com,offers\nb@example.com,\n")
    assert known(bounced) == [
        ("a@example.com", "news"),
        ("a@example.com", "offers"),
        ("b@example.com", ""),
    ]
    out = bounced("subscribers", "export", "--db", "l.db").stdout.splitlines()
    assert out[0] == "address,list,imported_at"
    assert [line.split(",")[:2] for line in out[1:]] == [list(one) for one in known(bounced)]
    one = bounced("subscribers", "export", "--list", "offers", "--db", "l.db").stdout
    assert len(one.splitlines()) == 2
    imported(bounced, b"email,list\nc@example.com,news\n", "--list", "mine")
    assert ("c@example.com", "mine") in known(bounced)


def test_a_change_of_address_is_kept_and_told(bounced: Bounced) -> None:
    imported(bounced, b"email\na@example.com\n", "--list", "news")
    result = bounced("subscribers", "rename", "a@example.com", "b@example.com", "--db", "l.db")
    assert result.stdout == "a@example.com is b@example.com now, on: news\n"
    assert imported(bounced, b"email\na@example.com\n", "--list", "news")[1].startswith("1 addr")
    assert known(bounced) == [("b@example.com", "news")]
    assert "has become b@example.com." in bounced("explain", "a@example.com", "--db", "l.db").stdout
    assert (
        "was before: a@example.com." in bounced("explain", "b@example.com", "--db", "l.db").stdout
    )
    assert bounced("subscribers", "rename", "b@example.com", "no", "--db", "l.db").exit_code == 2
    assert (
        bounced("subscribers", "rename", "x@y.example", "z@y.example", "--db", "l.db").exit_code
        == 2
    )

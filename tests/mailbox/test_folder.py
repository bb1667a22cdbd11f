"""Letters in files are found, bounded and never stop the reading."""

from __future__ import annotations

import io
import os
import random
import re
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from bounced.mailbox import folder
from bounced.mailbox.folder import Found, read_path

if TYPE_CHECKING:
    from pathlib import Path

POSTMARK = b"From MAILER-DAEMON@example.com Fri Jul  8 12:08:34 2011\n"


def letter(number: int) -> bytes:
    return b"Subject: letter %d\n\nbody\n" % number


def test_an_eml_file_is_one_letter_byte_for_byte(tmp_path: Path) -> None:
    raw = b"Subject: x\r\n\r\nFrom here on\r\n\xff\x00"
    (tmp_path / "a.eml").write_bytes(raw)
    assert list(read_path(tmp_path / "a.eml")) == [Found(str(tmp_path / "a.eml"), raw)]


def test_an_mbox_is_split_at_postmarks_and_nowhere_else(tmp_path: Path) -> None:
    box = tmp_path / "bounces"
    body = b"Subject: one\n\nFrom now on we meet at noon.\nFrom a@example.com Fri Jul  8 12:08:34 2011\n"
    box.write_bytes(POSTMARK + body + b"\n" + POSTMARK + letter(2) + b"\n")
    found = list(read_path(box))
    assert [one.raw for one in found] == [body, letter(2)]
    assert [one.source for one in found] == [f"{box}#1", f"{box}#2"]


def test_quoted_from_lines_of_an_mbox_lose_one_mark(tmp_path: Path) -> None:
    box = tmp_path / "bounces.mbox"
    box.write_bytes(POSTMARK + b"Subject: x\n\n>From me\n>>From you\n> From them\n")
    (only,) = read_path(box)
    assert only.raw == b"Subject: x\n\nFrom me\n>From you\n> From them\n"


def test_a_postmark_that_continues_a_long_line_splits_nothing(tmp_path: Path) -> None:
    box = tmp_path / "bounces.mbox"
    long_line = b"x" * 65_536 + POSTMARK
    box.write_bytes(POSTMARK + b"Subject: x\n\n\n" + long_line)
    (only,) = read_path(box)
    assert only.raw.endswith(long_line)


def by_lines(box: bytes) -> list[bytes]:
    """The letters of an mbox by its rules, line by line; they have to be small."""
    letters: list[bytes] = []
    empty_before = True
    for line in io.BytesIO(box):
        if empty_before and re.match(rb"From \S.*\d\d:\d\d.*\d{4}", line):
            letters.append(b"")
            empty_before = False
            continue
        empty_before = line in (b"\n", b"\r\n")
        letters[-1] += line[1:] if re.match(rb">+From ", line) else line
    return [re.sub(rb"\r\n\r\n\Z|\n\n\Z", _half, raw) for raw in letters]


def _half(ending: re.Match[bytes]) -> bytes:
    return ending[0][: len(ending[0]) // 2]


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 64, 1000])
def test_an_mbox_is_split_the_same_wherever_its_pieces_end(
    monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(folder, "_CHUNK", chunk)
    chance = random.Random(chunk)  # noqa: S311 - nothing to hide
    parts = [
        *(POSTMARK, POSTMARK[:-1] + b"\r\n", b"From me to you\n", b">From a\n", b">>From b\r\n"),
        *(b"\n", b"\r\n", b"\n\n", b"Fro", b"m ", b"From", b"word\n", b"\r", b"x" * 90 + b"\n"),
    ]
    for _ in range(300):
        box = POSTMARK + b"".join(chance.choices(parts, k=chance.randrange(20)))
        found = [one.raw for one in read_path("-", io.BytesIO(box))]
        assert found == [raw if raw.strip() else b"" for raw in by_lines(box)], box


def test_standard_input_may_be_a_letter_or_an_mbox() -> None:
    assert list(read_path("-", io.BytesIO(letter(1)))) == [Found("-", letter(1))]
    found = list(read_path("-", io.BytesIO(POSTMARK + letter(1) + b"\n" + POSTMARK + letter(2))))
    assert [one.source for one in found] == ["-#1", "-#2"]


def test_a_maildir_gives_new_and_cur_but_not_what_is_still_written(tmp_path: Path) -> None:
    for part in ("cur", "new", "tmp"):
        (tmp_path / part).mkdir()
        (tmp_path / part / "1.2.host:2,S").write_bytes(part.encode())
    (tmp_path / "dovecot-uidlist").write_bytes(b"not a letter")
    assert [one.raw for one in read_path(tmp_path)] == [b"new", b"cur"]


def test_a_folder_gives_letters_by_name_through_all_levels(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("b.eml", "a.EML", "17", "notes.txt", "b.toml", "sub/c.eml"):
        (tmp_path / name).write_bytes(name.encode())
    assert [one.raw for one in read_path(tmp_path)] == [b"17", b"a.EML", b"b.eml", b"sub/c.eml"]


def test_a_bad_file_is_told_of_and_the_next_one_read(tmp_path: Path) -> None:
    (tmp_path / "a.eml").symlink_to(tmp_path / "gone.eml")
    (tmp_path / "b.eml").write_bytes(b"\n\n")
    (tmp_path / "c.eml").write_bytes(letter(3))
    os.mkfifo(tmp_path / "d.eml")
    found = list(read_path(tmp_path))
    assert [bool(one.problem) for one in found] == [True, True, False, True]
    assert "No such file" in (found[0].problem or "")
    assert found[2].raw == letter(3)


def test_a_folder_that_is_linked_into_itself_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "a.eml").write_bytes(letter(1))
    assert len(list(read_path(tmp_path))) == 1


@pytest.mark.parametrize("name", ["missing.eml", "missing/"])
def test_a_path_that_is_not_there_is_a_problem_not_an_exception(tmp_path: Path, name: str) -> None:
    (only,) = read_path(tmp_path / name)
    assert only.problem == "It cannot be read: No such file or directory."


def test_a_folder_without_letters_says_so(tmp_path: Path) -> None:
    (only,) = read_path(tmp_path)
    assert "no letters" in (only.problem or "")


def test_an_empty_maildir_is_no_problem(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "cur").mkdir()
    assert list(read_path(tmp_path)) == []


@pytest.mark.parametrize("chunk", [64, 100_000])
def test_a_letter_over_the_limit_keeps_its_head_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(folder, "_CHUNK", chunk)
    monkeypatch.setattr(folder, "LETTER", 1000)
    monkeypatch.setattr(folder, "HEAD", 100)
    big = b"Subject: big\n\n" + b"x" * 70 + b"\n" + b"y" * 1000
    (tmp_path / "big.eml").write_bytes(big)
    (tmp_path / "two.mbox").write_bytes(POSTMARK + big + b"\n\n" + POSTMARK + letter(2))
    (tmp_path / "exact.eml").write_bytes(big[:1000])
    alone, exact, first, second = sorted(
        read_path(tmp_path), key=lambda one: one.source.rpartition("/")[2]
    )
    assert (alone.raw, alone.truncated) == (big[:100], True)
    assert (first.raw, first.truncated) == (big[:100], True)
    assert (second.raw, second.truncated) == (letter(2), False)
    assert not exact.truncated


def test_a_big_mbox_is_read_in_the_memory_of_one_letter(tmp_path: Path) -> None:
    box = tmp_path / "big.mbox"
    with box.open("wb") as out:
        for number in range(200):
            out.write(POSTMARK + b"Subject: %d\n\n" % number + (b"z" * 98 + b"\n") * 1000 + b"\n")
    tracemalloc.start()
    try:
        count = sum(1 for _ in read_path(box))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 200
    assert peak < 2_000_000

"""The seed document, line by line: each text a server answers with, and what it must mean."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from bounced.model import RecipientReport
from bounced.rules import classify
from bounced.smtp import parse_reply

DATA = Path(__file__).parent / "data" / "seed_rows.tsv"


def rows() -> list[dict[str, str]]:
    with DATA.open(encoding="utf-8", newline="") as page:
        return list(csv.DictReader(page, delimiter="\t"))


ROWS = [row for row in rows() if row["reason"] != "-"]


def test_the_seed_document_is_whole() -> None:
    assert len(rows()) == 83
    assert len(ROWS) == 82


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"line-{row['line']}")
def test_a_line_of_the_seed_document_means_what_it_must(row: dict[str, str]) -> None:
    reply = parse_reply(f"{row['code']} {row['text']}")
    found = classify(RecipientReport("someone@example.org", reply))
    assert (found.reason, found.outcome) == (row["reason"], row["verdict"])
    if row["confidence"] == "low":
        assert found.confidence < 0.9

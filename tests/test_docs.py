"""What the pages say to type exists, and their links lead somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from bounced.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
# a line of a shell block, or words of a sentence in backticks
TYPED = re.compile(r"^(?:\$ )?(bounced .*)$|`(bounced [^`]+)`", re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")


def typed() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for line, words in TYPED.findall(page.read_text(encoding="utf-8")):
            text = re.split(r"\s#\s|\s[|>;&]", line or words)[0]
            yield page.name, text


def anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def unknown(words: list[str]) -> str | None:
    """The first command or option that there is not."""
    command: click.Command = main
    context = click.Context(main)
    while words and isinstance(command, click.Group) and not words[0].startswith("-"):
        below = command.get_command(context, words[0])
        if below is None:
            return words[0] if command is main or not command.invoke_without_command else None
        command, words = below, words[1:]
    options = {name for part in (*command.params, *main.params) for name in part.opts}
    given = [word.partition("=")[0] for word in words if word.startswith("--")]
    return next((word for word in given if word not in {*options, "--help", "--version"}), None)


@pytest.mark.parametrize(("page", "line"), sorted(set(typed())))
def test_every_command_that_a_page_prints_exists_with_its_options(page: str, line: str) -> None:
    first, *words = shlex.split(line)
    assert first == "bounced", page
    assert unknown(words) is None


def test_the_commands_of_the_pages_are_found_and_a_wrong_one_would_be_seen() -> None:
    assert len(set(typed())) > 40
    assert unknown(["hold", "acept", "1"]) == "acept"
    assert unknown(["sync", "--paln"]) == "--paln"
    assert unknown(["hold", "accept", "1", "--db", "x.db"]) is None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_a_page_leads_to_a_file_and_a_heading(page: Path) -> None:
    for name, heading in LINK.findall(page.read_text(encoding="utf-8")):
        target = (page.parent / name) if name else page
        assert target.exists(), name
        if heading:
            lines = target.read_text(encoding="utf-8").splitlines()
            assert heading in {anchor(line.lstrip("# ")) for line in lines if line[:1] == "#"}

"""Who keeps suppression lists, how they write them and how they take them: services.toml, read."""

from __future__ import annotations

import csv
import hashlib
import json
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from bounced.cli.subscribers import ADDRESS_COLUMNS
from bounced.text import safe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from bounced.ledger import SuppressedRow


@dataclass(frozen=True, slots=True)
class Out:
    """How a list goes out; the parts are told in services.toml."""

    line: tuple[str, ...]
    head: tuple[str, ...] = ()
    bounce: str = "bounce"
    complaint: str = "complaint"


@dataclass(frozen=True, slots=True)
class Service:
    """A service; the parts are told in services.toml. Without a `title` nothing comes in."""

    title: str = ""
    documented: str = ""
    address: tuple[str, ...] = ADDRESS_COLUMNS
    kind: tuple[str, ...] = ("reason",)
    complaint: tuple[str, ...] = ("complain", "spam")
    unwanted: tuple[str, ...] = ("unsub",)
    only: tuple[str, ...] = ()
    said: tuple[str, ...] = ()
    when: tuple[str, ...] = ("created_at", "created", "since", "date")
    plain: bool = False
    skip: tuple[str, ...] = ("#",)
    out: Out | None = None

    def counts(self, fields: Mapping[str, Any]) -> bool:
        """Whether a line is of the list at all, and not of somebody who may be mailed."""
        return not self.only or any(_holds(one, fields) for one in self.only)

    def skips(self, line: str) -> bool:
        """Whether a plain line is none: a comment or a pattern."""
        return line.startswith(self.skip) or "*" in line


def _holds(condition: str, fields: Mapping[str, Any]) -> bool:
    name, equals, word = condition.partition("=")
    value = str(fields.get(name) or "").strip().lower()
    return value == word if equals else bool(value)


@cache
def services() -> Mapping[str, Service]:
    """All services by the word for them."""
    table = tomllib.loads(Path(__file__).with_name("services.toml").read_text("utf-8"))
    return {word: _service(parts) for word, parts in table.items()}


def _service(parts: dict[str, Any]) -> Service:
    out = parts.pop("out", None)
    return Service(**_frozen(parts), out=None if out is None else Out(**_frozen(out)))


def _frozen(parts: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(v) if isinstance(v, list) else v for name, v in parts.items()}


def incoming() -> list[str]:
    """Whose lists can be taken over."""
    return [word for word, service in services().items() if service.title]


def outgoing() -> list[str]:
    """In whose form a list can go out."""
    return [word for word, service in services().items() if service.out is not None]


def write(rows: Iterable[SuppressedRow], form: str, out: IO[str]) -> None:
    """One line an address, in the form in which a service (or an ad platform) takes a list."""
    shape = services()[form].out
    if shape is None:
        raise ValueError(f"nothing goes out as {form}")
    writer = csv.writer(out, lineterminator="\n")
    if shape.head:
        writer.writerow(shape.head)
    for row in rows:
        values = _values(row, shape)
        writer.writerow([safe(cell.format_map(values)) for cell in shape.line])


class _Lazy(dict[str, str]):
    """Values that are made when a line asks for them."""

    def __init__(self, makers: Mapping[str, Callable[[], str]]) -> None:
        super().__init__()
        self._makers = makers

    def __missing__(self, name: str) -> str:
        return self._makers[name]()


def _values(row: SuppressedRow, shape: Out) -> _Lazy:
    """What may stand in braces in a line of services.toml."""
    kind = shape.complaint if row.reason == "complaint" else shape.bounce
    return _Lazy(
        {
            "address": lambda: row.address,
            "local": lambda: row.address.rpartition("@")[0],
            "kind": lambda: kind,
            "because": lambda: row.because,
            "date": lambda: "" if row.since is None else f"{row.since:%Y-%m-%dT%H:%M:%SZ}",
            "json": lambda: json.dumps({"bounced": {"reason": row.reason}}),
            "sha256": lambda: _hashed("sha256", row.address),
            "md5": lambda: _hashed("md5", row.address),
        }
    )


def _hashed(name: str, address: str) -> str:
    return hashlib.new(name, address.lower().encode(), usedforsecurity=False).hexdigest()

"""Who receives the mail: providers known by their hosts and domains (`receivers.toml`)."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Receiver:
    """A provider of mailboxes for many. `page` is where senders look up why they are refused."""

    name: str
    title: str
    hosts: tuple[str, ...]
    domains: tuple[str, ...] = ()
    page: str | None = None


@cache
def receivers() -> dict[str, Receiver]:
    """All that are known, by name."""
    book = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
    return {
        name: Receiver(
            name,
            keys["title"],
            tuple(keys["hosts"]),
            tuple(keys.get("domains", ())),
            keys.get("page"),
        )
        for name, keys in book.items()
    }


@lru_cache(4096)
def receiver_of(host: str | None, domain: str) -> str | None:
    """The provider that answered for a domain, by the host that did or the domain; else None.

    The longest ending that fits decides: Microsoft has several providers under one name.
    """
    own, by_host = _known()
    if host is not None:
        labels = host.lower().rstrip(".").split(".")
        for start in range(len(labels)):
            found = by_host.get(".".join(labels[start:]))
            if found is not None:
                return found
    return own.get(domain)


def owns(provider: str | None, domain: str) -> bool:
    """Whether a domain is one in which the provider gives mailboxes to everyone."""
    return provider is not None and _known()[0].get(domain) == provider


@cache
def _known() -> tuple[dict[str, str], dict[str, str]]:
    """Providers by domain, and by the ending of a host's name."""
    own = {domain: one.name for one in receivers().values() for domain in one.domains}
    by_host = {ending: one.name for one in receivers().values() for ending in one.hosts}
    return own, by_host

"""What is known of mail providers; the knowledge itself is `providers.toml`."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

# How a mailbox gets an OAuth2 token, and from whom.
Flow = Literal["client_credentials", "device_code", "refresh_token", "service_account"]
Authority = Literal["microsoft", "google", "custom"]


@dataclass(frozen=True, slots=True)
class Provider:
    """One provider. Folder names are None where the usual ones will do; see `providers.toml`."""

    name: str
    host: str
    hosts: str
    advice: str
    source: str
    port: int = 993
    tls: str = "implicit"
    processed: str | None = None
    unrecognised: str | None = None
    quarantine: str | None = None
    junk: str | None = None
    passwords: bool = True
    oauth2: str | None = None

    def settings(self) -> dict[str, str | int]:
        """The keys of a [[mailbox]] that this provider stands for."""
        names = ("host", "port", "tls", "processed", "unrecognised", "quarantine")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


@cache
def providers() -> dict[str, Provider]:
    """All that are known, by name."""
    text = Path(__file__).with_suffix(".toml").read_text("utf-8")
    return {name: Provider(name, **keys) for name, keys in tomllib.loads(text).items()}


def provider_of(host: str) -> Provider | None:
    """Whose host this is, by its name; None for a host of one's own."""
    for provider in providers().values():
        if re.search(provider.hosts, host, re.IGNORECASE):
            return provider
    return None


def advice(host: str) -> str:
    """What to know before logging in there; empty for a host of one's own."""
    known = provider_of(host)
    return known.advice if known else ""

"""Where the program listens: loopback and unix sockets only, since nobody is asked who he is."""

from __future__ import annotations

import click


def loopback(text: str, *, example: str = "127.0.0.1:9464") -> tuple[str, int]:
    """`HOST:PORT` of this machine alone (`[::1]:PORT` for IPv6). Raises click.BadParameter."""
    from bounced.mailbox import is_loopback

    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not port.isascii() or not port.isdecimal() or not 0 < int(port) < 65536:
        raise click.BadParameter(f"{text} names no port; write for example {example}")
    if not is_loopback(host):
        raise click.BadParameter(
            f"{text} can be reached from outside, and nobody is asked for a password there; "
            f"write 127.0.0.1:{port}"
        )
    return host, int(port)


def loopback_option(
    _context: click.Context, _parameter: click.Parameter, value: str | None
) -> tuple[str, int] | None:
    """`loopback` as click's callback of an option."""
    return None if value is None else loopback(value)

"""What systemd wants to hear (sd_notify(3)): one datagram a message, nothing when nobody asks."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress


def notify(state: str) -> None:
    """Tell the supervisor: `READY=1`, `STOPPING=1`, `WATCHDOG=1`, `STATUS=…`."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    name = "\0" + address[1:] if address.startswith("@") else address  # Linux's abstract names
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.sendto(state.encode(), name)


def notify_reloading() -> None:
    """The configuration is being read again; `READY=1` ends it."""
    notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")


def watchdog_seconds() -> float | None:
    """How often to say `WATCHDOG=1`: half of what systemd waits. None when it does not watch us."""
    with suppress(ValueError):
        if int(os.environ.get("WATCHDOG_PID", os.getpid())) == os.getpid():
            microseconds = int(os.environ.get("WATCHDOG_USEC", "0"))
            return microseconds / 2_000_000 if microseconds > 0 else None
    return None

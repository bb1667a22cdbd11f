"""Named places where a test can make the program die, and nothing at all otherwise.

`BOUNCED_FAILPOINT=committed:3:kill` kills the process (SIGKILL) the third time it comes by
`committed`; `:error` raises the OSError of a full disk there and `:exit` leaves with code 70.
Tests add deeds of their own to `DEEDS`.
"""

from __future__ import annotations

import errno
import os
import signal
from collections import Counter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_PLAN = os.environ.get("BOUNCED_FAILPOINT", "")
_visits: Counter[str] = Counter()


def failpoint(name: str) -> None:
    """Do what BOUNCED_FAILPOINT says of this place; inert when it is not set."""
    if not _PLAN:
        return
    place, _, rest = _PLAN.partition(":")
    if place != name:
        return
    _visits[name] += 1
    count, _, deed = rest.partition(":")
    if _visits[name] == int(count or 1):
        DEEDS[deed or "kill"]()


def _error() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


DEEDS: Final[dict[str, Callable[[], object]]] = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "error": _error,
    "exit": lambda: os._exit(70),
}

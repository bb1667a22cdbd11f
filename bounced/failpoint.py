"""Named places where a test can make the program die, and nothing at all otherwise.

`BOUNCED_FAILPOINT=committed:3:kill` kills the process (SIGKILL) the third time it comes by
`committed`; `:error` raises the OSError of a full disk there and `:exit` leaves with code 70.
"""

from __future__ import annotations

import errno
import os
import signal
from collections import Counter

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
    if _visits[name] != int(count or 1):
        return
    if deed == "error":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if deed == "exit":
        os._exit(70)
    os.kill(os.getpid(), signal.SIGKILL)

"""Read bounces, judge them, remember them."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from bounced.message import Message
    from bounced.model import Conclusion, Report

__version__ = "0.1.0"
__all__ = ["__version__", "parse"]


def parse(raw: bytes) -> Conclusion:
    """What one mail tells about deliveries, each recipient judged.

    `raw` is the mail as it came (RFC 5322 bytes, any line ends). Never raises for bad mail:
    damage is told in `report.problems`.
    """
    read, decode, judge = _rooms()
    return judge(decode(read(raw)))


@cache
def _rooms() -> tuple[
    Callable[[bytes], Message], Callable[[Message], Report], Callable[[Report], Conclusion]
]:
    from bounced.decode import decode  # noqa: PLC0415 - `import bounced` stays light
    from bounced.message import read  # noqa: PLC0415
    from bounced.rules import judge  # noqa: PLC0415

    return read, decode, judge

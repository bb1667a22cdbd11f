"""Log lines for machines: `key=value`, or one JSON object a line. Addresses at debug level only."""

from __future__ import annotations

import logging
import re
import sys
from datetime import UTC, datetime
from typing import Any

from bounced.report import json_line
from bounced.text import safe

# What every LogRecord carries; the rest is what the caller put in `extra`.
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
_BARE = re.compile(r"[\w.:/@+-]+")


def log_to_stderr(*, as_json: bool = False, level: int = logging.INFO) -> None:
    """Send the program's log to stderr, in one of the two forms."""
    channel = logging.StreamHandler(sys.stderr)
    channel.setFormatter(_Json() if as_json else _KeyValue())
    log = logging.getLogger("bounced")
    log.handlers[:] = [channel]
    log.setLevel(level)
    log.propagate = False


class _KeyValue(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return " ".join(f"{key}={_quoted(value)}" for key, value in _facts(record).items())


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return json_line(_facts(record))


def _facts(record: logging.LogRecord) -> dict[str, Any]:
    at = datetime.fromtimestamp(record.created, UTC)
    facts = {
        "time": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": record.levelname.lower(),
        "event": record.getMessage(),
    }
    facts.update({key: value for key, value in vars(record).items() if key not in _OWN})
    if record.exc_info:
        facts["traceback"] = logging.Formatter().formatException(record.exc_info)
    return facts


def _quoted(value: Any) -> str:
    text = safe(str(value))
    if _BARE.fullmatch(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

"""From a letter to what is recorded of it: read, decode, judge, and choose its pile."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from bounced import message
from bounced.decode import decode
from bounced.model import Conclusion, Destination, Kind, Reading, Report
from bounced.rules import judge, rulebook

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from bounced.model import Letter


def read_letter(letter: Letter, at: datetime, books: tuple[Path, ...] = ()) -> Reading:
    """Read and judge one letter. Never raises for bad mail: what cannot be read is quarantined.

    `books` are the operator's own rule books, asked before ours; they have been checked before.
    """
    try:
        report = decode(message.read(letter.raw, truncated=letter.truncated))
        conclusion = judge(report, rules=rulebook(books))
    except Exception as problem:  # noqa: BLE001 - the last net: a bug of ours must not lose mail
        trouble = f"unreadable: {type(problem).__name__}"
        return quarantined(letter, at, trouble)
    nobody = report.kind is Kind.BOUNCE and not report.recipients
    unclear = report.kind is Kind.OTHER or nobody
    pile = Destination.UNRECOGNISED if unclear else Destination.PROCESSED
    return _reading(letter, at, conclusion, pile)


def quarantined(letter: Letter, at: datetime, trouble: str) -> Reading:
    """A letter that could not be read, with the evidence; it goes to Quarantine, whole."""
    report = Report(kind=Kind.OTHER, problems=(trouble,))
    return _reading(letter, at, Conclusion(report), Destination.QUARANTINE)


def _reading(letter: Letter, at: datetime, conclusion: Conclusion, pile: Destination) -> Reading:
    return Reading(
        uid=letter.uid,
        received_at=min(letter.received_at or at, at),
        dedup_key=message.dedup_key(letter.raw),
        raw_sha256=hashlib.sha256(letter.raw).hexdigest(),
        conclusion=conclusion,
        destination=pile,
    )

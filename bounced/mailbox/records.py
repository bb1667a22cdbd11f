"""FETCH replies to records, strictly: a letter belongs to the UID that its own record names.

Nearly every record has one of two plain shapes and is read here at once; all others are left to
the library's parser, which goes through them byte by byte.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from bounced.mailbox import MailboxProtocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_UID_ITEM: Final = rb"UID (\d{1,10})"
_SIZE_ITEM: Final = rb"RFC822\.SIZE (\d{1,10})"
_DATE_ITEM: Final = (
    rb'INTERNALDATE "([ \d]\d)-([A-Z][a-z]{2})-(\d{4}) (\d\d):(\d\d):(\d\d) ([+-]\d{4})"'
)
_START: Final = re.compile(rb"\d{1,10} \(")
_ITEM: Final = re.compile(rb" ?(?:%b|%b|%b)" % (_UID_ITEM, _SIZE_ITEM, _DATE_ITEM))
_UID, _SIZE = 1, 2  # its groups
_BODY: Final = re.compile(rb" ?BODY\[\](?:<0>)? \{(\d{1,10})\}")
# what most servers make of what we ask for
_SIZED: Final = re.compile(rb"\d{1,10} \(%b %b\)" % (_UID_ITEM, _SIZE_ITEM))
_LETTER: Final = re.compile(rb"\d{1,10} \(%b %b BODY\[\] \{(\d{1,10})\}" % (_UID_ITEM, _DATE_ITEM))
_MONTHS: Final = {
    name: number
    for number, name in enumerate(
        b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), start=1
    )
}

# The library's parser: a response as imaplib gives it, to items by sequence number.
Parser = Callable[[list[Any]], dict[int, dict[bytes, Any]]]


@dataclass(slots=True)
class Record:
    """What a reply says of one letter; None where it says nothing (or NIL)."""

    uid: int | None = None
    size: int | None = None
    received_at: datetime | None = None
    body: bytes | None = None

    def add(self, later: Record) -> None:
        """Take over what another record of the same letter says."""
        self.size = self.size if later.size is None else later.size
        self.received_at = later.received_at or self.received_at
        self.body = self.body if later.body is None else later.body


def accept(
    data: Iterable[Any], asked: frozenset[int], server: str, parse: Parser
) -> dict[int, Record]:
    """Records by UID, out of imaplib's list of a FETCH reply.

    Records nobody asked for (news of flags, other letters) are passed over. Raises
    MailboxProtocol when one with content names no UID, and when two bodies for one UID differ;
    whatever `parse` raises, when a reply cannot be read.
    """
    records: dict[int, Record] = {}
    for response in _responses(data):
        plain = read_plain(response)
        for record in (plain,) if plain is not None else read_any(response, parse):
            if record.uid is None and (record.body is not None or record.size is not None):
                raise MailboxProtocol(f"{server} sent a letter without saying which one it is.")
            if record.uid is None or record.uid not in asked:
                continue
            known = records.setdefault(record.uid, record)
            if known is record:
                continue
            if None not in (known.body, record.body) and known.body != record.body:
                raise MailboxProtocol(f"{server} sent two different letters under one number.")
            known.add(record)
    return records


def _responses(data: Iterable[Any]) -> Iterator[list[Any]]:
    """Imaplib's flat list cut into single responses: tuples with literals, then a last line."""
    response: list[Any] = []
    for part in data:
        if part is None:
            continue
        response.append(part)
        if isinstance(part, bytes):
            yield response
            response = []
    if response:
        raise ValueError("a letter without an end")


def read_plain(response: list[Any]) -> Record | None:
    """A record of nothing but UID, size, date and at most one body; None for all others."""
    if len(response) > 2:
        return None
    head, body = response[0] if len(response) == 2 else (response[0], None)
    if body is None:
        if told := _SIZED.fullmatch(head):
            return Record(int(told[1]), int(told[2]))
    elif response[1] == b")" and (told := _LETTER.fullmatch(head)):
        uid, *moment, size = told.groups()
        return Record(int(uid), None, _moment(*moment), body) if int(size) == len(body) else None
    start = _START.match(head)
    if start is None:
        return None
    record = Record(body=body)
    at = _read_items(head, start.end(), record)
    if body is not None:
        literal = _BODY.fullmatch(head, at)
        if literal is None or int(literal[1]) != len(body):
            return None
        head = response[1]
        at = _read_items(head, 0, record)
    return record if head[at:] in (b")", b" )") and record.uid is not None else None


def _read_items(text: bytes, at: int, record: Record) -> int:
    """Read items from a place on, as far as they are plain; the place of the first other one."""
    while item := _ITEM.match(text, at):
        if item.lastindex == _UID:
            if record.uid is not None:
                break
            record.uid = int(item[_UID])
        elif item.lastindex == _SIZE:
            record.size = int(item[_SIZE])
        else:
            record.received_at = _moment(*item.groups()[_SIZE:])
        at = item.end()
    return at


def _moment(day: bytes, month: bytes, year: bytes, *clock_and_zone: bytes) -> datetime | None:
    hour, minute, second, zone = clock_and_zone
    try:
        day_and_time = (int(day), int(hour), int(minute), int(second))
        local = datetime(int(year), _MONTHS[month], *day_and_time, tzinfo=UTC)
        return local - _offset(zone)
    except (LookupError, ValueError, OverflowError):
        return None  # a day there never was: the letter came, unknown when


@lru_cache(100)
def _offset(zone: bytes) -> timedelta:
    from_utc = timedelta(hours=int(zone[1:3]), minutes=int(zone[3:]))
    return -from_utc if zone[:1] == b"-" else from_utc


def read_any(response: list[Any], parse: Parser) -> Iterator[Record]:
    """A record of any shape, by way of the library."""
    for items in parse(response).values():
        record = Record(uid=items.get(b"UID"), body=_body(items))
        size, received = items.get(b"RFC822.SIZE"), items.get(b"INTERNALDATE")
        if isinstance(size, int):
            record.size = size
        if isinstance(received, datetime) and received.tzinfo is not None:
            try:
                record.received_at = received.astimezone(UTC)
            except OverflowError:
                record.received_at = None
        yield record


def _body(items: dict[bytes, Any]) -> bytes | None:
    """The body as bytes; what parses as a number or a list is no letter."""
    for name in (b"BODY[]", b"BODY[]<0>"):
        body = items.get(name)
        if isinstance(body, bytes):
            return body
    return None

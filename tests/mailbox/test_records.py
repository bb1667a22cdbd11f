"""The quick way through a FETCH reply concludes what the library's parser concludes, or nothing."""

from __future__ import annotations

from typing import Any

import pytest
from imapclient.response_parser import parse_fetch_response

from bounced.mailbox import MailboxProtocol
from bounced.mailbox.records import Record, accept, read_any, read_plain

DATE = b'INTERNALDATE "06-Jan-2025 10:00:00 +0200"'


def parse(response: list[Any]) -> dict[int, dict[bytes, Any]]:
    return dict(parse_fetch_response(response, normalise_times=False, uid_is_key=False))


PLAIN: list[list[Any]] = [
    [b"3 (UID 17 RFC822.SIZE 4099)"],
    [b"3 (RFC822.SIZE 4099 UID 17)"],
    [b"3 (UID 17 RFC822.SIZE 0 )"],
    [(b"3 (UID 17 " + DATE + b" BODY[] {5}", b"a\r\nb)"), b")"],
    [(b"3 (" + DATE + b" BODY[] {0}", b""), b" UID 17)"],
    [(b"3 (BODY[]<0> {2}", b"xx"), b" " + DATE + b" UID 17)"],
    [(b'3 (UID 17 INTERNALDATE " 6-Dec-1999 23:59:59 -1130" BODY[] {1}', b"x"), b")"],
    [(b'3 (UID 17 INTERNALDATE "31-Feb-2025 10:00:00 +0000" BODY[] {1}', b"x"), b")"],
]
OTHER: list[list[Any]] = [
    [b"3 (UID 17 FLAGS (UID 18))"],
    [b"3 (FLAGS (\\Seen))"],
    [b"3 (UID 17 UID 18)"],
    [b"3 (RFC822.SIZE 4099)"],
    [b"3 (UID 17 BODY[] NIL)"],
    [b'3 (UID 17 BODY[] "quoted")'],
    [b"3 (UID 17 BODY[] 12)"],
    [(b"3 (UID 17 BODY[] {2}", b"xx"), b" FLAGS (\\Seen))"],
    [(b"3 (UID 17 BODY[1] {2}", b"xx"), (b" BODY[] {2}", b"yy"), b")"],
    [b"3 (uid 17 rfc822.size 4099)"],
]


@pytest.mark.parametrize("response", PLAIN)
def test_a_plain_record_is_read_as_the_library_reads_it(response: list[Any]) -> None:
    assert [read_plain(response)] == list(read_any(response, parse))


@pytest.mark.parametrize("response", OTHER)
def test_a_record_of_another_shape_is_left_to_the_library(response: list[Any]) -> None:
    assert read_plain(response) is None
    list(read_any(response, parse))


@pytest.mark.parametrize("stated", [1, 3])
def test_a_body_shorter_or_longer_than_said_is_not_a_plain_one(stated: int) -> None:
    assert read_plain([(b"3 (UID 17 BODY[] {%d}" % stated, b"xx"), b")"]) is None


def test_what_two_records_say_of_one_letter_is_put_together() -> None:
    data = [b"1 (UID 17 RFC822.SIZE 2)", (b"1 (UID 17 BODY[] {2}", b"xx"), b")", None]
    assert accept(data, frozenset({17}), "host", parse) == {17: Record(uid=17, size=2, body=b"xx")}


@pytest.mark.parametrize("nameless", [b"17 (RFC822.SIZE 4)", b'17 (BODY[] "x")'])
def test_content_without_a_uid_is_refused_even_when_its_place_would_fit(nameless: bytes) -> None:
    with pytest.raises(MailboxProtocol):
        accept([nameless], frozenset({17}), "host", parse)

"""A message is read whatever has happened to it on its way, and its damage is told."""

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bounced import message
from bounced.message import MAX_PARTS, Part, content_type_of, dedup_key, mailbox_of, read
from bounced.text import decode_charset

EML = Path(__file__).parent.parent / "fixtures" / "eml"

HEAD = b"""\
From: MAILER-DAEMON@example.com
To: bounces@example.org
Subject: Undelivered
Date: Mon, 5 Jan 2026 10:00:00 +0000
Message-ID: <1@example.com>
"""
MIXED = HEAD + b"Content-Type: multipart/mixed; boundary=b\n\n"
TWO_PARTS = (
    MIXED + b"--b\nContent-Type: text/plain\n\none\n--b\nContent-Type: text/html\n\n<p>two\n--b--\n"
)


def leaves(raw: bytes) -> list[tuple[str, str]]:
    return [(part.content_type, part.text().strip()) for part in read(raw).parts]


@pytest.mark.parametrize(
    "raw",
    [
        HEAD + b"\nhello\n",
        (HEAD + b"\nhello\n").replace(b"\n", b"\r\n"),
        (HEAD + b"\nhello\n").replace(b"\n", b"\r"),
        (HEAD + b"\nhello\n").replace(b"\n", b"\r\r\n"),
        b"\xef\xbb\xbf" + HEAD + b"\nhello\n",
        b"\n\n \n" + HEAD + b"\nhello\n",
        b"From bounces@example.org Mon Jan  5 10:00:00 2026\n" + HEAD + b"\nhello\n",
        b">From bounces@example.org Mon Jan  5 10:00:00 2026\n" + HEAD + b"\nhello\n",
        b"\xef\xbb\xbf\n\nFrom x Mon Jan  5 10:00:00 2026\r\n" + HEAD + b"\nhello\n",
        HEAD.replace(b": ", b" : ") + b"\nhello\n",
        HEAD.replace(b"Subject: ", b"Subject:\n\t") + b"\nhello\n",
        HEAD + b"this line is no field\n\nhello\n",
        HEAD + b" \t\nhello\n",
        HEAD + b"hello\n",
        HEAD + b"Content-Type: text\n\nhello\n",
        HEAD + b"Content-Type: TEXT/PLAIN; CHARSET=utf-8\n\nhello\n",
    ],
    ids=[
        "LF", "CRLF", "CR", "CRCRLF", "byte-order mark", "blank lines first", "mbox line",
        "quoted mbox line", "all in front", "space before colons", "folded", "line without colon",
        "white space for a blank line", "no blank line", "half a type", "capitals",
    ],
)  # fmt: skip
def test_a_plain_message_is_read_whatever_its_envelope_looks_like(raw: bytes) -> None:
    got = read(raw)
    assert [got.header(name) for name in ("from", "To", "SUBJECT")] == [
        "MAILER-DAEMON@example.com",
        "bounces@example.org",
        "Undelivered",
    ]
    assert (got.content_type, got.text().strip()) == ("text/plain", "hello")


@pytest.mark.parametrize(
    "raw",
    [
        b"This is the mail system.\nHello: all\n\nFrom: nobody\n",
        b"Hello: this is prose, and no header block\n\nat all\n",
        b"",
        b"\x00\xff\xfe",
    ],
)
def test_what_has_no_headers_is_all_body(raw: bytes) -> None:
    got = read(raw)
    assert got.headers == ()
    assert got.problems == ("no headers",)
    assert got.text().encode("latin-1", "replace")[:20] == raw.replace(b"\x00", b"?")[:20]


def test_nul_bytes_end_neither_a_header_nor_a_body() -> None:
    got = read(HEAD.replace(b"Undelivered", b"Un\0delivered") + b"\nhe\0llo\n")
    assert got.header("subject") == "Un\0delivered"
    assert got.text() == "he\ufffdllo\n"


def test_of_two_content_types_the_first_counts_and_the_message_is_called_ambiguous() -> None:
    typed = [b"Content-Type: text/plain\n", b"Content-Type: multipart/mixed; boundary=b\n"]
    body = b"\n--b\n\nx\n--b--\n"
    plain = read(HEAD + typed[0] + typed[1] + body)
    mixed = read(HEAD + typed[1] + typed[0] + body)
    assert (plain.content_type, len(plain.parts)) == ("text/plain", 1)
    assert (mixed.content_type, mixed.parts[0].text()) == ("multipart/mixed", "x")
    assert plain.problems == mixed.problems == ("ambiguous: several Content-Type headers",)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (TWO_PARTS, [("text/plain", "one"), ("text/html", "<p>two")]),
        (TWO_PARTS.replace(b"\n", b"\r"), [("text/plain", "one"), ("text/html", "<p>two")]),
        (
            MIXED
            + b"--b\nContent-Type: multipart/mixed; boundary=bb\n\n--bb\n\nx\n--bb--\n--b\n\ny\n--b--\n",
            [("text/plain", "x"), ("text/plain", "y")],
        ),
        (
            HEAD
            + b"Content-Type: multipart/mixed; boundary=bb\n\n--bb\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b--\n--bb\n\ny\n--bb--\n",
            [("text/plain", "x"), ("text/plain", "y")],
        ),
        (MIXED + b"before\n--b\n\nx\n--b--\nbehind\n", [("text/plain", "x")]),
        (MIXED + b"--b  \n\nx\n--b-- \n", [("text/plain", "x")]),
        (MIXED.replace(b"=b\n", b"=b (a comment)\n") + b"--b\n\nx\n--b--\n", [("text/plain", "x")]),
        (MIXED.replace(b"=b\n", b'*0="a"; boundary*1="b"\n') + b"--ab\n\nx\n--ab--\n", [("text/plain", "x")]),
        (MIXED.replace(b"mixed", b"digest") + b"--b\n\nSubject: x\n\ny\n--b--\n", [("message/rfc822", "Subject: x\n\ny")]),
        (
            MIXED + b"--b\nContent-Type: message/rfc822\n\nContent-Type: multipart/mixed; boundary=c\n\n--c\n\nx\n--c--\n--b--\n",
            [("message/rfc822", "Content-Type: multipart/mixed; boundary=c\n\n--c\n\nx\n--c--")],
        ),
    ],
    ids=[
        "two", "CR", "outer boundary begins inner", "inner begins outer", "preamble and epilogue",
        "space behind boundary", "comment", "continued parameter", "digest", "enclosed message",
    ],
)  # fmt: skip
def test_parts_are_found(raw: bytes, expected: list[tuple[str, str]]) -> None:
    assert leaves(raw) == expected


def test_the_parts_of_a_returned_mail_are_not_taken_for_parts_of_the_notice() -> None:
    forged = (
        b"Content-Type: message/delivery-status\n\nFinal-Recipient: rfc822; victim@example.com\n"
    )
    returned = (
        b"Subject: x\nContent-Type: multipart/mixed; boundary=c\n\n--c\n" + forged + b"--c--\n"
    )
    for kind in (b"text/rfc822-headers", b"message/rfc822", b"message/global-headers"):
        raw = MIXED + b"--b\n\nx\n--b\nContent-Type: " + kind + b"\n\n" + returned + b"--b--\n"
        assert [part.content_type for part in read(raw).parts] == ["text/plain", kind.decode()]


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (
            HEAD + TWO_PARTS.partition(b"boundary=b\n")[2].replace(b"text/html", b"message/rfc822"),
            "Content-Type lost: parts found by their boundary",
        ),
        (TWO_PARTS.replace(b"boundary=b", b"x=y"), None),
        (TWO_PARTS.replace(b"boundary=b", b"boundary=other"), "closing boundary missing"),
        (TWO_PARTS.replace(b"--b--\n", b""), "closing boundary missing"),
        (TWO_PARTS.replace(b"\n--b--\n", b""), "cut off in the middle of a line"),
    ],
    ids=["no type", "no boundary", "wrong boundary", "never closed", "cut"],
)
def test_parts_are_found_though_the_structure_is_damaged(raw: bytes, problem: str | None) -> None:
    got = read(raw)
    assert got.parts[0].text().strip() == "one"
    assert len(got.parts) == 2
    assert got.problems == ((problem,) if problem else ())


def test_a_multipart_without_any_boundary_is_one_text() -> None:
    got = read(MIXED + b"no parts here\n")
    assert got.text() == "no parts here\n"
    assert "no usable boundary" in got.problems


def test_nesting_over_the_limit_is_told_and_not_entered() -> None:
    inner = b"\nx\n"
    for n in range(60):
        edge = b"e%d-" % n
        inner = b"Content-Type: multipart/mixed; boundary=%b\n\n--%b\n%b\n--%b--\n" % (edge, edge, inner, edge)  # fmt: skip
    got = read(HEAD + inner)
    assert "nesting over the limit" in got.problems
    assert len(got.parts) == 1


def test_parts_over_the_limit_are_told_and_not_read() -> None:
    got = read(MIXED + b"--b\n\nx\n" * (3 * MAX_PARTS) + b"--b--\n")
    assert "parts over the limit" in got.problems
    assert len(got.parts) == MAX_PARTS


def test_headers_over_the_limit_are_told_and_cut() -> None:
    many = read(HEAD + b"X-A: y\n" * 5_000 + b"\nhello\n")
    long = read(HEAD + b"X-A: " + b"y" * 200_000 + b"\n\nhello\n")
    assert many.problems == ("headers over the limit",)
    assert len(many.headers) <= 1_001
    assert len(long.header("x-a")) <= 65_536
    assert many.text() == long.text() == "hello\n"


def test_what_a_person_reads_ends_where_the_returned_mail_begins() -> None:
    raw = MIXED + (
        b"--b\n\nnotice\n--b\nContent-Type: message/rfc822\n\nSubject: x\n\ny\n--b\n\nfooter\n--b--\n"
    )
    assert read(raw).text() == "notice"


def test_markup_is_read_only_where_there_is_no_plain_text() -> None:
    assert read(TWO_PARTS).text() == "one"
    assert read(TWO_PARTS.replace(b"one", b" ")).text().strip() == "two"


@pytest.mark.parametrize(
    ("value", "kind", "parameters"),
    [
        ("text/plain; charset=utf-8", "text/plain", (("charset", "utf-8"),)),
        ('Text/HTML ; Charset="UTF-8"', "text/html", (("charset", "UTF-8"),)),
        ("multipart/report (x); boundary=b (y)", "multipart/report", (("boundary", "b"),)),
        ('multipart/report; boundary="a;b"', "multipart/report", (("boundary", "a;b"),)),
        ('"text/plain"', "text/plain", ()),
        ("text", "text/plain", ()),
        ("", "text/plain", ()),
        (";;;", "text/plain", ()),
    ],
)
def test_a_content_type_is_read_with_its_parameters(
    value: str, kind: str, parameters: tuple[tuple[str, str], ...]
) -> None:
    assert content_type_of((("content-type", value),)) == (kind, parameters)


# --- two readers ---


def compared(part: Part) -> tuple[object, ...]:
    return part.content_type, part.charset, part.headers, part.body.rstrip(b"\n")


def test_flanker_and_the_plain_reader_see_the_same_leaves() -> None:
    by_flanker, different = 0, []
    letters = sorted(EML.rglob("*.eml"))
    multiparts = 0
    for letter in letters:
        got = read(letter.read_bytes())
        if not got.content_type.startswith("multipart/"):
            continue
        multiparts += 1
        head, body = message._split(message._normalised(letter.read_bytes()))
        told = message._ask_flanker(head + b"\n" + body)
        root = Part(got.headers, body, got.content_type)
        plain = message._leaves(root, got.parameter("boundary"), [])
        by_flanker += told is not None
        if told is not None and [*map(compared, told)] != [*map(compared, plain)]:
            different.append(letter.name)
    assert different == []
    assert multiparts >= 150
    assert by_flanker >= 0.85 * multiparts
    assert by_flanker < multiparts  # so that the fallback is seen to read real mail, too


PADDED_BOUNDARY = re.compile(rb"^--\S+[ \t]+$", re.MULTILINE)


def whole(parts: Sequence[Part]) -> list[Part]:
    """Without the empty last part that flanker sees behind a boundary that closes nothing."""
    return [part for part in parts if part.headers or part.body.strip()]


def begins_alike(quick: Sequence[Part], careful: Sequence[Part]) -> bool:
    """Whether the leaves are the same, but for a boundary line at the end of flanker's.

    Where an enclosed message does not close its own boundary, flanker takes the line that closes
    the outer one for a part of it.
    """
    one, other = whole(quick), whole(careful)
    return len(one) == len(other) and all(
        a.headers == b.headers
        and a.content_type == b.content_type
        and b.body.startswith(a.body.rstrip(b"\n"))
        and b.body[len(a.body) :].count(b"\n") <= 3
        for a, b in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("where", ["fixtures/eml", "../shared/corpus/eml", "../shared/mta"])
def test_the_quick_and_the_careful_reader_see_the_same_message(where: str) -> None:
    letters = sorted((EML.parents[1] / where).rglob("*.eml"))
    if not letters:
        pytest.skip(f"{where} is not here")
    several, both, different = 0, 0, []
    for letter in letters:
        raw = letter.read_bytes()
        quick = read(raw)
        several += len(quick.parts) > 1
        head, body = message._split(message._normalised(raw))
        # flanker does not know that blanks may stand behind a boundary (RFC 2046, 5.1.1)
        if quick.reader != "quick" or PADDED_BOUNDARY.search(body):
            continue
        careful = message._ask_flanker(head + b"\n" + body)
        both += careful is not None
        if careful is not None and not begins_alike(quick.parts, careful):
            different.append(letter.name)
    assert both >= 0.5 * several > 0
    assert different == []


def test_a_report_that_nobody_closed_is_read_quickly_and_as_the_careful_reader_reads_it() -> None:
    quickly, different = 0, []
    for letter in sorted(EML.rglob("*.eml")):
        whole_letter = message._normalised(letter.read_bytes())
        closing = f"--{read(whole_letter).parameter('boundary')}--\n".encode("latin-1", "replace")
        raw, closed, _ = whole_letter.partition(closing)
        got = read(raw)
        if not closed or got.reader != "quick" or PADDED_BOUNDARY.search(raw):
            continue
        quickly += 1
        assert got.problems == ("closing boundary missing",)
        head, body = message._split(raw)
        careful = message._ask_flanker(head + b"\n" + body)
        if careful is not None and not begins_alike(got.parts, careful):
            different.append(letter.name)
    assert quickly >= 100
    assert different == []


def test_a_status_part_that_swallowed_the_next_part_is_not_read_quickly() -> None:
    swallowed = (
        b"Final-Recipient: rfc822; a@example.com\n\n--other\nContent-Type: text/plain\n\nx\n"
    )
    raw = MIXED + b"--b\n\nx\n--b\nContent-Type: message/delivery-status\n\n" + swallowed
    assert read(raw).reader != "quick"
    assert read(raw.replace(b"--other\nContent-Type", b"other\nContent-Type")).reader == "quick"


def test_html_that_calls_itself_plain_text_is_read_as_what_it_is() -> None:
    got = read(
        b"From: a@example.com\n\n<html><body>Mail to <b>b@example.com</b> failed.<br>550 no</body></html>\n"
    )
    assert got.text().strip().split("\n") == ["Mail to b@example.com failed.", "550 no"]
    assert (
        read(b"From: a@example.com\n\n<b@example.com>: <br> 550 no\n").text()
        == "<b@example.com>: <br> 550 no\n"
    )


# --- the same mail again ---


def test_the_same_mail_has_the_same_key_whatever_its_line_ends_and_trace() -> None:
    mail = HEAD + b"\nhello\nthere\n"
    key = dedup_key(mail)
    assert len(key) == 64
    for copy in (
        mail.replace(b"\n", b"\r\n"),
        mail.replace(b"\n", b"\r"),
        mail + b"\n\n",
        mail.rstrip(),
        b"From x Mon Jan  5 10:00:00 2026\n" + mail,
        b"Return-Path: <>\nReceived: from a by b; Mon, 5 Jan 2026\nDelivered-To: x@example.org\n" + mail,
        b"X-Spam-Status: No\n" + mail,
    ):  # fmt: skip
        assert dedup_key(copy) == key, copy


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"hello", b"hallo"),
        (b"10:00:00", b"10:00:01"),
        (b"<1@", b"<2@"),
        (b"MAILER-DAEMON", b"postmaster"),
        (b"there", b"there\n\nthere"),
    ],
)
def test_another_mail_has_another_key(old: bytes, new: bytes) -> None:
    mail = HEAD + b"\nhello\nthere\n"
    assert dedup_key(mail.replace(old, new)) != dedup_key(mail)


def test_no_two_fixtures_share_a_key() -> None:
    letters = sorted(EML.rglob("*.eml"))
    assert len({dedup_key(letter.read_bytes()) for letter in letters}) == len(letters)


# --- never raises ---

_PIECE = st.sampled_from(
    [
        b"\n", b"\r\n", b"\r", b"\n\n", b"\0", b"--b", b"--b--", b"\n--b\n", b":", b" ", b"\t", b";", b'"',
        b"From: ", b"Subject: ", b"To: a@example.com", b"Content-Type: ", b"multipart/mixed; boundary=b",
        b"multipart/digest; boundary=", b"message/rfc822", b"text/html; charset=zlib", b"\xff", b"\xe4",
        b"Content-Transfer-Encoding: base64\n", b"=?utf-8?B?5Li", b"<a@example.com>", b"550 5.1.1",
        b"message/delivery-status\n\nFinal-Recipient: rfc822;", b"x" * 200,
    ]
)  # fmt: skip


def with_line_feeds(raw: bytes) -> bytes:
    for ending in (b"\r\r\n", b"\r\n", b"\r"):
        raw = raw.replace(ending, b"\n")
    return raw


@given(st.lists(_PIECE, max_size=40).map(b"".join) | st.binary(max_size=200))
def test_anything_can_be_read(raw: bytes) -> None:
    got = read(raw)
    assert 1 <= len(got.parts) <= MAX_PARTS
    assert isinstance(got.text(), str)
    assert [part.text() for part in got.parts]
    assert dedup_key(raw) == dedup_key(with_line_feeds(raw))


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ('"A. Reader" <a@example.com>', "a@example.com"),
        ("a@example.com", "a@example.com"),
        ("nobody at all", None),
        ("", None),
        ("<" * 2_000, None),
        ('"', None),
    ],
)
def test_the_address_behind_a_display_name_is_found_or_none(
    value: str, address: str | None
) -> None:
    assert mailbox_of(value) == address


@pytest.mark.parametrize("subject", ["فشل التسليم", "Déjà", "ขอโทษ", "Ошибка Р"])
def test_the_last_letter_of_a_raw_header_is_kept(subject: str) -> None:
    assert read(f"Subject: {subject} \n\nx".encode()).header("subject") == subject


def test_markup_is_read_too_where_the_plain_text_names_nobody() -> None:
    page = "--b\n\nPlease view this in HTML.\n--b\nContent-Type: text/html\n\n<p>To: a@example.com</p>\n--b--\n"
    raw = b"Content-Type: multipart/alternative; boundary=b\n\n" + page.encode()
    assert "a@example.com" in read(raw).text()
    assert "HTML" not in read(raw.replace(b"Please view this in HTML.", b"b@example.com")).text()


PIECES = [
    b"--b", b"--b--", b"--bc", b"-", b"\n", b"\n\n", b" ", b"a word: ", b"x=41", b"=", b"=\n", b"begin 644 f\n",
    b"550 5.1.1 <a@example.com>", b"\r", b"\0", b"\x1b$B", b"\xe9", b"Subject: x", b"QUJD" * 12, b"From me",
]  # fmt: skip
BODIES = st.lists(st.sampled_from(PIECES), max_size=14).map(b"".join)


@given(BODIES)
def test_one_split_divides_a_body_as_its_boundary_lines_do(body: bytes) -> None:
    quick = message._plain_pieces(body, b"--b")
    assert quick is None or quick == message._pieces_by_line(body, b"--b")


@given(
    BODIES,
    st.sampled_from([None, "us-ascii", "UTF-8", "utf-16", "iso-2022-jp", "utf-7"]),
    st.sampled_from(["", "7bit", "8BIT", "base64", "quoted-printable"]),
)
def test_a_body_of_plain_ascii_reads_as_any_other(
    body: bytes, charset: str | None, encoding: str
) -> None:
    headers = (("content-transfer-encoding", encoding),) if encoding else ()
    decoded = decode_charset(Part(headers, body, "text/plain").data(), charset)
    plain = decoded.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\ufffd")
    assert Part(headers, body, "text/plain", charset).text() == plain


@given(BODIES, st.sampled_from(["", "7bit", "base64", "quoted-printable"]))
def test_an_enclosed_message_has_the_headers_that_it_has_when_decoded(
    body: bytes, encoding: str
) -> None:
    headers = (("content-transfer-encoding", encoding),) if encoding else ()
    part = Part(headers, body, "message/rfc822")
    names = frozenset({"from", "subject", "x-a"})
    assert message.enclosed_headers(part, names) == message._first_block(part.data(), names)


def test_of_an_enclosed_message_the_headers_asked_for_are_read_or_else_the_first() -> None:
    body = b"X-Trace: 1\nSubject: News\n of today\nReceived: x\nFrom: a@example.com\n\nhi\n"
    part = Part((), body, "message/rfc822")
    asked = message.enclosed_headers(part, frozenset({"from", "subject"}))
    assert asked == (("subject", "News of today"), ("from", "a@example.com"))
    assert message.enclosed_headers(part, frozenset({"to"})) == (("x-trace", "1"),)

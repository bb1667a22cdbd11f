"""A notice ends where the mail it returns begins, and that mail's headers are read."""

from functools import partial

import pytest

from bounced.decode.original import (
    TO,
    addresses_in,
    received_for,
    returned_fields,
    returned_of,
)
from bounced.decode.view import View
from bounced.message import Message, Part, read
from tests.decode.letters import daemon, parts

HEADERS = "Received: from a by b for <a@example.com>; Mon\nMessage-ID: <n1@example.org>\nFrom: News <news@example.org>\nTo: a@example.com\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\n\nhi\n"


def cut(text: str) -> tuple[str, str]:
    """What was said, and what is returned."""
    said = View(Message((), (Part((), text.encode(), "text/plain"),))).said
    return said, text[len(said) :]


@pytest.mark.parametrize(
    "border",
    [
        "--- Below this line is a copy of the message.\n\n",
        "------ This is a copy of your message, including all the headers. ------\n\n",
        "   ----- Original message follows -----\n\n",
        "---------- Original Message ----------\n",
        "----- Ursprüngliche Nachricht -----\n",
        "----- Message d'origine -----\n",
        "----- Mensaje original -----\n",
        "-----原始邮件-----\n",
        "----- 元のメッセージ -----\n",
        "> ",
        "--b\nContent-Type: message/rfc822\n\n",
        "",
    ],
)
def test_what_was_said_ends_at_the_border(border: str) -> None:
    said, rest = cut("Sorry, 550 no such user.\n\n" + border + HEADERS)
    assert "Sorry" in said
    assert "news@example.org" not in said
    assert "news@example.org" in rest


@pytest.mark.parametrize(
    "text",
    [
        "Original message was lost.\n",
        "** A WARNING **\n\nThe original message was received at Mon\n<a@example.com>\n",
        "Sorry.\nNothing else.\n",
        "You sent this:\n\n  Message-ID: <n1@example.org>\n  To: a@example.com\n\nIt failed:\n\n  Recipient: a@example.com\n",
        "",
    ],
)
def test_where_nothing_is_returned_all_was_said(text: str) -> None:
    assert cut(text) == (text, "")


@pytest.mark.parametrize("before", [100, *range(3_960, 4_010, 3), 19_990, 60_000])
def test_what_was_said_ends_at_the_border_however_much_it_is(before: int) -> None:
    notice = "x" * (before - 1) + "\n"
    border = "----- Original message -----\n"
    assert cut(notice + border + HEADERS) == (notice, border + HEADERS)


def test_the_headers_of_the_returned_mail_are_read_wherever_they_are() -> None:
    attached = read(parts("delivery-status", ("text/plain", "x"), ("message/rfc822", HEADERS)))
    inline = daemon("Sorry.\n\n--- Below this line is a copy of the message.\n\n" + HEADERS)
    quoted = daemon("Sorry.\n\n" + "".join(f"> {line}\n" for line in HEADERS.split("\n")))
    for message in (attached, inline, quoted):
        rest = cut(message.text())[1]
        returned = returned_of(returned_fields(message, partial(str, rest)))
        assert (returned.message_id, returned.subject) == ("<n1@example.org>", "Grüße")
        assert (returned.from_, returned.to) == ("News <news@example.org>", "a@example.com")


def test_a_name_before_the_brackets_is_no_address() -> None:
    fields = (("to", '"b@example.org" <a@example.com>, c@example.com (d@example.org); e'), ("x", "f@example.com"))  # fmt: skip
    assert addresses_in(fields, TO) == ["a@example.com", "c@example.com"]


def test_the_last_server_tells_for_whom_it_took_the_mail() -> None:
    assert received_for((("received", "from x by y for <a@example.com>; Mon"),)) == [
        "a@example.com"
    ]
    assert received_for((("received", "from x by y for nobody; Mon"),)) == []


def test_the_list_is_the_one_of_list_id_or_else_of_our_own_header() -> None:
    ours = ("x-bounced-list", "news")
    assert returned_of((ours,)).list_id == "news"
    assert returned_of((ours, ("list-id", "<other.example.org>"))).list_id == "<other.example.org>"

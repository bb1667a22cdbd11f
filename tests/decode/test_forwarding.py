"""A bounce of a forwarded mail points back to the subscriber where the envelope sender names one."""

from bounced import parse
from tests.decode.letters import NOTICE


def notice(to: str) -> bytes:
    return (
        "Return-Path: <>\nFrom: MAILER-DAEMON@mx.example.com\nSubject: Undelivered Mail\n"
        f"To: {to}\nMessage-ID: <1@mx.example.com>\n\n{NOTICE}"
    ).encode()


def test_the_subscriber_behind_a_forward_is_the_original_recipient() -> None:
    bounce = parse(notice("bounces+ann=home.example.org@lists.example.org")).bounces[0]
    assert bounce.recipient.address == "reader@example.net"
    assert bounce.recipient.original_address == "ann@home.example.org"


def test_who_was_mailed_and_bounced_has_no_other_original() -> None:
    bounce = parse(notice("bounces+reader=example.net@lists.example.org")).bounces[0]
    assert bounce.recipient.original_address is None


def test_an_envelope_that_names_nobody_adds_nobody() -> None:
    bounce = parse(notice("bounces+4711@lists.example.org")).bounces[0]
    assert bounce.recipient.original_address is None

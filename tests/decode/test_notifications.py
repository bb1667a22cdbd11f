"""Notifications in JSON are read whatever is missing from them."""

import json

import pytest

from bounced import parse
from bounced.model import Kind
from tests.decode.letters import mail


def sent(note: object) -> bytes:
    return mail("no-reply@example.com", "Notification", json.dumps(note))


BOUNCED = {"emailAddress": "a@example.com", "status": "5.1.1", "diagnosticCode": "smtp; 550 5.1.1 unknown"}  # fmt: skip
BOUNCE = {"notificationType": "Bounce", "bounce": {"bouncedRecipients": [BOUNCED], "reportingMTA": "dns; mx.example.com"}}  # fmt: skip


@pytest.mark.parametrize(
    "note", [BOUNCE, {"Message": json.dumps(BOUNCE), "Type": "notificationType"}]
)
def test_a_bounce_is_read_bare_or_wrapped(note: object) -> None:
    got = parse(sent(note))
    (bounce,) = got.bounces
    assert (got.report.kind, got.report.reporting_mta) == (Kind.BOUNCE, "mx.example.com")
    assert (bounce.recipient.address, bounce.recipient.reply.code) == ("a@example.com", 550)
    assert bounce.recipient.diagnostic_type == "smtp"


def test_a_complaint_and_a_delivery_are_no_bounces() -> None:
    complaint = {"notificationType": "Complaint", "complaint": {"complainedRecipients": [{"emailAddress": "a@example.com"}]}}  # fmt: skip
    delivery = {
        "eventType": "Delivery",
        "delivery": {"recipients": ["a@example.com", "no address"]},
    }
    assert parse(sent(complaint)).report.kind is Kind.COMPLAINT
    assert parse(sent(delivery)).report.kind is Kind.DELIVERY
    assert [b.recipient.address for b in parse(sent(delivery)).bounces] == ["a@example.com"]


@pytest.mark.parametrize(
    "note",
    [
        {"notificationType": "Bounce"},
        {"notificationType": "Bounce", "bounce": []},
        {"notificationType": "Bounce", "bounce": {"bouncedRecipients": "x"}},
        {"notificationType": "Bounce", "bounce": {"bouncedRecipients": [1, None, {"emailAddress": 5}]}},
        {"notificationType": ["Bounce"]},
        {"notificationType": "Other"},
        {"Message": '{"notificationType":'},
        {"Message": '"notificationType"'},
    ],
)  # fmt: skip
def test_a_notification_that_lacks_its_parts_blames_nobody(note: object) -> None:
    assert parse(sent(note)).bounces == ()


def test_endless_nesting_is_no_notification() -> None:
    raw = mail("x@example.com", "x", '{"notificationType":' + "[" * 100_000)
    assert parse(raw).bounces == ()

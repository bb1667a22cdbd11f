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


EVENT = {"email": "a@example.com", "reason": "550 5.1.1 unknown"}


@pytest.mark.parametrize(
    ("note", "kind"),
    [
        ({"event": "hard_bounce", **EVENT}, Kind.BOUNCE),
        ([{"event": "dropped", **EVENT}], Kind.BOUNCE),
        ({"RecordType": "SpamComplaint", "Email": "a@example.com"}, Kind.COMPLAINT),
        ({"msys": {"message_event": {"type": "delay", "rcpt_to": "a@example.com"}}}, Kind.DELAY),
        ({"event-data": {"event": "delivered", "recipient": "a@example.com"}}, Kind.DELIVERY),
    ],
)
def test_an_event_of_any_service_is_read_by_its_name_and_address(note: object, kind: Kind) -> None:
    got = parse(sent(note))
    assert (got.report.kind, [b.recipient.address for b in got.bounces]) == (
        kind,
        ["a@example.com"],
    )


def test_of_several_events_the_worst_names_the_mail_and_each_keeps_its_own_answer() -> None:
    delivered = {"event": "delivered", "email": "b@example.com"}
    failed = {"event-data": {"event": "failed", "recipient": "a@example.com", "delivery-status": {"message": "552 5.2.2 mailbox full", "code": 552}}}  # fmt: skip
    report = parse(sent([delivered, failed])).report
    told = {one.address: (str(one.action), one.reply.code) for one in report.recipients}
    assert report.kind is Kind.BOUNCE
    assert told == {"b@example.com": ("delivered", None), "a@example.com": ("failed", 552)}


@pytest.mark.parametrize(
    "note",
    [
        {"event": "bounce"},
        {"event": "opened", "email": "a@example.com"},
        {"event": "bounce", "email": "nobody"},
        {"email": "a@example.com", "subject": "bounce"},
        ["bounce", "a@example.com"],
    ],
)
def test_what_is_no_event_of_a_delivery_blames_nobody(note: object) -> None:
    assert parse(sent(note)).bounces == ()

"""Delivery status notifications are read as servers write them."""

import pytest

from bounced.decode import rfc3464
from bounced.message import read
from bounced.model import Action
from tests.decode.letters import parts

ONE = "Reporting-MTA: dns; mx.example.com\n\nFinal-Recipient: rfc822; a@example.com\nAction: failed\nStatus: 5.1.1\nDiagnostic-Code: smtp; 550 5.1.1 unknown\n"


def test_a_report_as_the_standard_has_it() -> None:
    (recipient,) = rfc3464.recipients(ONE)
    assert (recipient.address, recipient.action, str(recipient.status)) == ("a@example.com", Action.FAILED, "5.1.1")  # fmt: skip
    assert (recipient.reply.code, recipient.diagnostic_type) == (550, "smtp")
    assert rfc3464.reporting_mta(ONE) == "mx.example.com"


@pytest.mark.parametrize(
    "text",
    [
        ONE.upper().replace("A@EXAMPLE.COM", "a@example.com"),
        ONE.replace("\n\n", "\n"),
        ONE.replace("Action: failed\nStatus: 5.1.1\n", "Status: 5.1.1\n\nAction: failed\n"),
        ONE.replace("rfc822; a@example.com", "a@example.com"),
        ONE.replace("rfc822; a@example.com", "RFC822;<a@example.com>"),
        ONE.replace("rfc822; a@example.com", "rfc822;\n   a@example.com"),
        ONE.replace("rfc822; a@example.com", 'rfc822; "b@example.org" <a@example.com>'),
        ONE.replace("rfc822; a@example.com", "rfc822; a@example.com (was b@example.org)"),
        ONE.replace("Final-Recipient", "Original-Recipient"),
        ONE.replace("Final-Recipient:", "Final-Recipient :"),
        ONE.replace("failed", "Failed (given up)"),
    ],
    ids=[
        "capitals", "no blank line", "blank line in the group", "no type", "brackets", "folded", "display name",
        "comment", "original only", "space before colon", "words behind the action",
    ],
)  # fmt: skip
def test_a_report_as_servers_write_it(text: str) -> None:
    (recipient,) = rfc3464.recipients(text)
    assert (recipient.address, recipient.action) == ("a@example.com", Action.FAILED)


def test_several_recipients_without_blank_lines_are_several() -> None:
    two = "Final-Recipient: rfc822; a@example.com\nAction: failed\nFinal-Recipient: rfc822; b@example.com\nAction: delayed\n"
    assert [(r.address, r.action) for r in rfc3464.recipients(two)] == [
        ("a@example.com", Action.FAILED),
        ("b@example.com", Action.DELAYED),
    ]


def test_the_later_word_on_an_address_stands() -> None:
    twice = "Final-Recipient: rfc822; a@example.com\nAction: delayed\n\nFinal-Recipient: rfc822; A@example.com\nAction: failed\n"
    assert [r.action for r in rfc3464.recipients(twice)] == [Action.FAILED]


def test_an_address_in_the_last_line_of_a_cut_report_is_nobodys() -> None:
    cut = ONE[: ONE.index("Action")].rstrip()[:-4]
    assert rfc3464.recipients(cut, complete=False) == []
    assert len(rfc3464.recipients(ONE, complete=False)) == 1


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("rfc822; a@example.com", "a@example.com"),
        ("utf-8; gr\\x{FC}n@example.com", "grün@example.com"),
        ("utf-8; 用户@例子.test", "用户@例子.test"),
        ("rfc822; a@#example.com", "a@#example.com"),
        ("rfc822; nobody", None),
        ("rfc822; ", None),
        ("", None),
        ('rfc822; "a\n b"@example.com', None),
        ("rfc822; " + "x" * 65 + "@example.com", None),
        ("rfc822; \\x{D800}\\x{FFFFFF}", None),
    ],
)
def test_the_address_of_a_recipient_field(value: str, address: str | None) -> None:
    assert rfc3464.address_in(value) == address


@pytest.mark.parametrize(
    ("word", "class_", "action"),
    [
        ("failed", None, Action.FAILED),
        ("DELAYED", None, Action.DELAYED),
        ("delivered (ok)", None, Action.DELIVERED),
        ("relayed", None, Action.RELAYED),
        ("expanded", None, Action.EXPANDED),
        ("expired", None, Action.FAILED),
        ("", 2, Action.DELIVERED),
        ("", 5, Action.FAILED),
        ("what", None, Action.FAILED),
    ],
)
def test_an_action_is_read_or_follows_from_the_status(
    word: str, class_: int | None, action: Action
) -> None:
    assert rfc3464.action_of(word, class_) is action


def test_a_part_behind_a_damaged_boundary_is_no_part_of_the_report() -> None:
    returned = "--bb\nContent-Type: message/rfc822\n\nSubject: x\n\nFinal-Recipient: rfc822; victim@example.com\nAction: failed\n"
    message = read(parts("delivery-status", ("text/plain", "x"), ("message/delivery-status", ONE + "\n" + returned)))  # fmt: skip
    text = rfc3464.status_text(message)
    assert text is not None
    assert [r.address for r in rfc3464.recipients(text)] == ["a@example.com"]


def test_fields_in_prose_begin_with_the_reporting_server() -> None:
    found = rfc3464.fields_in("Hello.\n\n" + ONE)
    assert found is not None
    assert found.startswith("Reporting-MTA")
    assert rfc3464.fields_in("no fields: here\n") is None


@pytest.mark.parametrize("field", ["X-Reason", "Error-Text", "X-SMTP-Response", "Explanation"])
def test_a_field_of_a_servers_own_stands_in_for_a_diagnostic_that_is_missing(field: str) -> None:
    group = {"final-recipient": "rfc822; a@example.com", field.lower(): "552 5.2.2 mailbox full"}
    assert rfc3464.diagnostic(group)[1].code == 552
    whole = {**group, "diagnostic-code": "smtp; 550 5.1.1 unknown"}
    assert rfc3464.diagnostic(whole)[1].code == 550

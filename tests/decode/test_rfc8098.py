"""Receipts are no bounces, except where a refusal abuses the form."""

import pytest

from bounced import parse
from bounced.model import Action, Kind
from tests.decode.letters import mail, parts

FIELDS = "Final-Recipient: rfc822; a@example.com\nDisposition: manual-action/MDN-sent-manually; displayed\n"


def test_a_receipt_names_its_reader_and_is_no_failure() -> None:
    got = parse(parts("disposition-notification", ("text/plain", "read"), ("message/disposition-notification", FIELDS)))  # fmt: skip
    assert got.report.kind is Kind.RECEIPT
    assert [b.recipient.address for b in got.bounces] == ["a@example.com"]
    assert {str(b.verdict.outcome) for b in got.bounces} == {"none"}


def test_a_refusal_in_the_form_of_a_receipt_is_a_bounce() -> None:
    fields = FIELDS.replace("displayed", "deleted")
    said = "Your message was automatically rejected: no thanks"
    got = parse(parts("disposition-notification", ("text/plain", said), ("message/disposition-notification", fields)))  # fmt: skip
    assert got.report.kind is Kind.BOUNCE
    assert [b.recipient.action for b in got.bounces] == [Action.FAILED]


@pytest.mark.parametrize(
    ("subject", "text"),
    [
        ("Read: News", "Your message was read on Monday, 5 January."),
        ("Not read: News", "Your message was deleted without being read on Monday."),
        ("Gelesen: Rundbrief", "Ihre Nachricht wurde am 5.1.26 gelesen."),
        ("Ungelesen: Rundbrief", "Ihre Nachricht wurde ungelesen gelöscht."),
        ("Lu : Lettre", "Votre message a été lu."),
        ("已读: 新闻", "您的邮件已被阅读"),
    ],
)
def test_a_receipt_in_words_is_a_receipt(subject: str, text: str) -> None:
    got = parse(mail("Anna <anna@example.net>", subject, text, returns="anna@example.net"))
    assert (got.report.kind, got.bounces) == (Kind.RECEIPT, ())


def test_a_person_who_writes_that_something_was_read_sends_no_receipt() -> None:
    got = parse(mail("Anna <anna@example.net>", "Your book", "It was read on Monday."))
    assert got.report.kind is Kind.OTHER


def test_a_mailbox_that_refuses_in_a_plain_answer_bounces_for_its_owner() -> None:
    said = "Your message was automatically rejected by a filter: no more of these."
    got = parse(mail("Fred <fred@example.net>", "Rejected", said, "Auto-Submitted: auto-replied"))
    assert [(b.recipient.address, b.verdict.outcome) for b in got.bounces] == [
        ("fred@example.net", "blocked")
    ]

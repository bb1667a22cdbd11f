"""Complaints tell who complained, or that nobody says so."""

from bounced import parse
from bounced.model import Kind, Outcome
from tests.decode.letters import mail, parts

FEEDBACK = "Feedback-Type: abuse\nUser-Agent: x/1\nVersion: 1\n"
RETURNED = (
    "From: news@example.org\nTo: a@example.com\nSubject: News\nMessage-ID: <n1@example.org>\n\nhi\n"
)


def complaint(feedback: str, returned: str = RETURNED) -> bytes:
    return parts("feedback-report", ("text/plain", "x"), ("message/feedback-report", feedback), ("message/rfc822", returned))  # fmt: skip


def test_the_report_names_who_complained() -> None:
    got = parse(complaint(FEEDBACK + "Original-Rcpt-To: <b@example.com>\n"))
    assert got.report.kind is Kind.COMPLAINT
    assert [b.recipient.address for b in got.bounces] == ["b@example.com"]
    assert got.report.returned.message_id == "<n1@example.org>"
    assert {b.verdict.outcome for b in got.bounces} == {Outcome.NONE}


def test_else_it_was_who_got_the_returned_mail() -> None:
    assert [b.recipient.address for b in parse(complaint(FEEDBACK)).bounces] == ["a@example.com"]


def test_a_name_that_was_removed_is_nobodys() -> None:
    got = parse(complaint(FEEDBACK, RETURNED.replace("a@", "redacted@")))
    assert (got.report.kind, got.bounces) == (Kind.COMPLAINT, ())


def test_a_person_who_complains_in_words_sends_no_feedback_report() -> None:
    text = "Stop sending abuse!\n\nFeedback-Type: abuse\nOriginal-Rcpt-To: b@example.com\n"
    assert parse(mail("Anna <anna@example.net>", "Complaint", text)).report.kind is Kind.OTHER


def enclosing(words: str) -> bytes:
    text = f"--b\n\n{words}\n--b\nContent-Type: message/rfc822\n\n{RETURNED}\n--b--\n"
    return mail("abuse@example.net", "Notice", text, "Content-Type: multipart/mixed; boundary=b")


def test_a_provider_may_tell_of_a_complaint_in_words() -> None:
    got = parse(enclosing("Our customer marked this message as spam."))
    assert (got.report.kind, [b.verdict.outcome for b in got.bounces]) == (Kind.COMPLAINT, ["none"])


def test_a_refusal_that_speaks_of_spam_is_no_complaint() -> None:
    words = "Your message could not be delivered: 550 marked by us as spam."
    assert parse(enclosing(words)).report.kind is not Kind.COMPLAINT

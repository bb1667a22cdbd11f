"""Reports that come as files, or inside a letter that a mail system passes on."""

from bounced import parse
from bounced.model import Conclusion, Kind
from tests.decode.letters import NOTICE, mail

FIELDS = "Reporting-MTA: dns; mx.example.com\n\nFinal-Recipient: rfc822; reader@example.net\nAction: failed\nStatus: 5.1.1\n"
MIXED = "Content-Type: multipart/mixed; boundary=b"
DAEMON = "MAILER-DAEMON@mx.example.com"


def read(sender: str, kind: str, body: str, *, returns: str | None = "") -> Conclusion:
    text = f"--b\nContent-Type: text/plain\n\nYour message could not be delivered.\n--b\nContent-Type: {kind}\n\n{body}\n--b--\n"
    return parse(mail(sender, "Undelivered Mail", text, MIXED, returns=returns))


def failed(got: Conclusion) -> list[str]:
    return [bounce.recipient.address for bounce in got.bounces]


def notice(sender: str, to: str) -> str:
    return f"From: {sender}\nTo: {to}\nSubject: failure notice\n\n{NOTICE}"


def test_report_fields_in_a_file_of_octets_are_read() -> None:
    got = read(DAEMON, "application/octet-stream; name=details.txt", FIELDS)
    assert (got.report.kind, failed(got)) == (Kind.BOUNCE, ["reader@example.net"])


def test_such_a_file_from_a_person_is_no_report() -> None:
    got = read("anna@example.net", "application/octet-stream", FIELDS, returns="anna@example.net")
    assert (got.report.kind, failed(got)) == (Kind.OTHER, [])


def test_a_notice_to_us_that_a_mail_system_passes_on_is_read() -> None:
    got = read(
        DAEMON,
        "message/rfc822",
        notice("MAILER-DAEMON@far.example.net", "bounces@lists.example.org"),
    )
    assert (got.report.format, failed(got)) == ("enclosed", ["reader@example.net"])


def test_what_we_sent_is_not_asked_even_if_it_looks_like_a_notice() -> None:
    for inner in (
        notice("MAILER-DAEMON@far.example.net", "someone@example.net"),
        notice("news@lists.example.org", "bounces@lists.example.org"),
    ):
        assert "reader@example.net" not in failed(read(DAEMON, "message/rfc822", inner))


def test_the_list_is_not_what_bounced_but_the_member() -> None:
    inner = (
        "Received: from lists.example.org by mx.example.com for <member@example.com>; Mon, 5 Jan 2026\n"
        "From: anna@example.net\nTo: birds@lists.example.org\nList-Post: <mailto:birds@lists.example.org>\n"
        "Subject: News\n\nHello\n"
    )
    assert failed(read(DAEMON, "message/rfc822", inner)) == ["member@example.com"]

"""A person who speaks of bounces is not one, and a mail system is believed."""

from pathlib import Path

import pytest

from bounced import parse
from bounced.decode.view import View
from bounced.decode.words import pattern
from bounced.message import read
from bounced.model import Kind
from tests.decode.letters import NOTICE, mail

QUOTED = "".join(f"> {line}\n" for line in NOTICE.split("\n"))
ANNA = "Anna Reader <anna@example.net>"
MIXED = "Content-Type: multipart/mixed; boundary=b"
ATTACHED = (
    "--b\nContent-Type: text/plain\n\nsee below\n--b\nContent-Type: message/rfc822\n\n"
    "From: MAILER-DAEMON@example.com\nSubject: failure notice\n"
    "Content-Type: multipart/report; report-type=delivery-status; boundary=c\n\n"
    f"--c\nContent-Type: text/plain\n\n{NOTICE}\n--c\nContent-Type: message/delivery-status\n\n"
    "Final-Recipient: rfc822; reader@example.net\nAction: failed\nStatus: 5.1.1\n\n--c--\n--b--\n"
)
FORWARDED = (
    "-------- Forwarded Message --------\nSubject: Undelivered\nFrom: MAILER-DAEMON@example.com\n\n"
)
FIELDS = "Final-Recipient: rfc822; reader@example.net\nAction: failed\nStatus: 5.1.1\n"


@pytest.mark.parametrize(
    ("sender", "subject", "text", "headers", "returns"),
    [
        (ANNA, "Re: Undelivered Mail Returned to Sender", "I got this\n\n" + QUOTED, ["In-Reply-To: <x@example.com>"], "anna@example.net"),
        (ANNA, "Problem with your list", "I got this\n\n" + QUOTED, [], "anna@example.net"),
        (ANNA, "delivery failure?", "What is it?\n\n" + QUOTED, [], None),
        (ANNA, "Fwd: Undelivered Mail", "FYI\n\n" + FORWARDED + NOTICE, [], "anna@example.net"),
        (ANNA, "Undelivered Mail Returned to Sender", "Hallo, das kam zurück:\n\n" + NOTICE, [], "anna@example.net"),
        (ANNA, "Fwd: failure notice", ATTACHED, [MIXED], "anna@example.net"),
        ("Bernd <b@example.de>", "AW: Zustellung fehlgeschlagen", "> konnte nicht zugestellt werden\n> leser@example.de: 550 Benutzer unbekannt\n", [], None),
        ("Bernd <b@example.de>", "Zustellung fehlgeschlagen", "Das kam:\nkonnte nicht zugestellt werden:\nleser@example.de: 550 5.1.1 unbekannt\n", [], "b@example.de"),
        ("太郎 <taro@example.jp>", "Re: 配信エラー", "> taro2@example.jp: 550 5.1.1 配信できませんでした\n", [], "taro@example.jp"),
        ("王 <wang@example.cn>", "转发：系统退信", "请看退信：\n\nli@example.cn: 550 User not found 无法投递\n", [], None),
        ("Weekly <news@example.net>", "Delivery status notifications explained", "550 5.1.1 <reader@example.net>: User unknown\ncould not be delivered to reader@example.net\n" + FIELDS, ["List-Unsubscribe: <https://example.net>"], "b@example.net"),
        ("list-request@example.net", "list Digest, Vol 3", "Topics: Undelivered Mail\n\n" + QUOTED, ["List-Post: <mailto:list@example.net>", "Precedence: list"], "list-bounces@example.net"),
        ("list-request@example.net", "list Digest, Vol 3", "--b\nContent-Type: multipart/digest; boundary=c\n\n--c\n\nSubject: failure notice\n\n" + NOTICE + "--c--\n--b--\n", [MIXED], "list-bounces@example.net"),
        ("Matt Daemon <matt@example.net>", "Question about delivery", "My message to reader@example.com was not delivered, 550 5.1.1 user unknown.\n", [], "matt@example.net"),
        ("Norman Mailer <norman@example.net>", "Returned mail", "reader@example.com: 550 5.1.1 unknown to me.\n", [], "norman@example.net"),
        ("Postmaster Smith <j.smith@example.net>", "Undelivered parcels", "reader@example.com: 550 parcels could not be delivered to the recipient.\n", [], "j.smith@example.net"),
        ("postmaster@example.net", "Your newsletter", "Please remove reader@example.net from your list.\n", [], "postmaster@example.net"),
        ("root@example.org (Cron Daemon)", "Cron <root@host> backup", "backup failed: error 550 user unknown root@example.org\n", [], "root@example.org"),
        (ANNA, "Undelivered Mail Returned to Sender", "Do you know what this is?\n\n" + NOTICE, [], None),
        ("Claire <claire@example.fr>", "Message non remis", "Bonjour Madame,\n\nvoici ce que je reçois :\n\n" + NOTICE, [], None),
        ("Fast Freight <noreply@example.net>", "Delivery failed", "Your parcel was returned to our depot. Mail care@example.com.\n", ["Auto-Submitted: auto-generated"], ""),
        ("Versand <info@example.de>", "Zustellung fehlgeschlagen", "Ihr Paket konnte nicht zugestellt werden. Fragen: hilfe@example.com.\n", [], ""),
        ("速運 <kf@example.cn>", "投递失败通知", "您的包裹无法送达，请联系 kefu@example.com。\n", [], ""),
        ("Mail Craft <letter@example.net>", "Why mail is not delivered", "1. 550 5.1.1 <reader@example.com>: User unknown\n", ["List-Unsubscribe: <https://example.net>"], ""),
        ("Forge <noreply@example.com>", "Bounce handling returns 550 5.1.1", "<reader@example.net>: 550 5.1.1 User unknown\n", ["List-Id: <server.example.com>"], "x@example.com"),
        ("Logwatch <root@example.org>", "Logwatch: delivery errors", "  2 reader@example.com: 550 5.1.1 User unknown\n", [], "root@example.org"),
    ],
)  # fmt: skip
def test_a_person_or_program_that_speaks_of_bounces_is_no_bounce(
    sender: str, subject: str, text: str, headers: list[str], returns: str | None
) -> None:
    got = parse(mail(sender, subject, text, *headers, returns=returns))
    assert (got.report.kind, got.bounces) == (Kind.OTHER, ())


def test_a_person_without_headers_who_asks_something_is_no_bounce() -> None:
    asked = b"Could you take a@example.com off your list? It does not exist any more.\n"
    assert parse(asked).report.kind is Kind.OTHER
    said = b"Your message to a@example.com could not be delivered. The mailbox does not exist.\n"
    assert parse(said).report.kind is Kind.BOUNCE


@pytest.mark.parametrize(
    ("sender", "subject", "returns"),
    [
        ("MAILER-DAEMON@mx.example.com", "Undelivered Mail Returned to Sender", ""),
        ("Mail Delivery System <noreply@mx.example.com>", "failure notice", "noreply@mx.example.com"),
        ("postmaster@mx.example.com", "Undeliverable: News", "postmaster@mx.example.com"),
        ("notify@mx.example.com", "Delivery failure", ""),
        ("MAILER-DAEMON <>", "failure notice", ""),
        ("MAILER-DAEMON@mx.example.com", "News", ""),
    ],
)  # fmt: skip
def test_a_mail_system_is_believed(sender: str, subject: str, returns: str) -> None:
    got = parse(mail(sender, subject, NOTICE, returns=returns))
    assert got.report.kind is Kind.BOUNCE
    assert [b.recipient.address for b in got.bounces] == ["reader@example.net"]


@pytest.mark.parametrize(
    ("sender", "daemon"),
    [
        ("MAILER-DAEMON@example.com", True),
        ("Mail Delivery Subsystem <x@example.com>", True),
        ('"Mail Deliver System" <MAILER-DAEMON>', True),
        ("系统退信 <x@example.cn>", True),
        ("Matt Daemon <matt@example.net>", False),
        ("Anna <anna@example.net>", False),
        ("The Postmaster Weekly Digest <news@example.net>", False),
        ("No Reply <no-reply@mailer.example.com>", False),
        ("", False),
    ],
)
def test_who_signs_like_a_mail_system(sender: str, daemon: bool) -> None:  # noqa: FBT001
    assert View(read(mail(sender, "x", "x"))).daemon is daemon


@pytest.mark.parametrize(
    ("subject", "text"),
    [
        ("The mailbox is almost full", "b@example.org has used 92% of its quota."),
        ("Warning: E-mail viruses detected", "It was delivered without it to b@example.org."),
        ("Speicher", "Ihr Postfach b@example.org ist fast voll: 552 5.2.2 droht."),
    ],
)
def test_a_warning_after_which_nothing_came_back_is_no_bounce(subject: str, text: str) -> None:
    assert parse(mail("postmaster@example.com", subject, text, returns="")).bounces == ()


SAYINGS = (Path(__file__).parents[1] / "data" / "undelivered.tsv").read_text("utf-8").splitlines()


@pytest.mark.parametrize("saying", [line.partition("\t")[2] for line in SAYINGS[1:]])
def test_a_failed_delivery_is_heard_in_a_subject_and_in_a_notice(saying: str) -> None:
    assert View(read(mail("x@example.com", saying, "x"))).report_subject
    assert View(read(mail("x@example.com", "x", f"x\n{saying}.\n"))).speaks_of_failure()


@pytest.mark.parametrize(
    "saying",
    [
        "Ihre Rechnung wurde nicht bezahlt",
        "Échec de la connexion",
        "No ha sido posible iniciar sesión",
        "Nie udało się zalogować",
        "Přihlášení selhalo",
        "Đăng nhập thất bại",
        "فشل تسجيل الدخول",
        "支付失败",
        "로그인 실패",
        "ログインに失敗しました",
    ],
)
def test_what_else_fails_is_no_delivery(saying: str) -> None:
    assert pattern("undelivered").search(saying) is None


def test_a_postmaster_who_writes_about_dead_addresses_is_a_person() -> None:
    text = "Hello,\n\nyou write to many who are not here (550 5.1.1, for one a@example.com).\n"
    sender, subject = "postmaster@example.com", "Your mails to unknown users"
    assert parse(mail(sender, subject, text, returns=sender)).report.kind is Kind.OTHER
    notice = "Your message to a@example.com could not be delivered: 550 5.1.1 user unknown\n"
    assert parse(mail(sender, subject, notice, returns=sender)).report.kind is Kind.BOUNCE


def test_a_mailbox_that_is_wholly_full_bounced() -> None:
    text = "<a@example.com>: 552 5.2.2 the user has used 100% of the quota\n"
    got = parse(mail("MAILER-DAEMON@example.com", "Undelivered Mail", text, returns=""))
    assert [b.recipient.address for b in got.bounces] == ["a@example.com"]

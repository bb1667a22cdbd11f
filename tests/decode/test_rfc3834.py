"""Automatic replies and challenges are told from bounces, in the languages people are away in."""

import pytest

from bounced import parse
from bounced.decode import rfc3834
from bounced.decode.view import View
from bounced.message import read
from bounced.model import Kind
from tests.decode.letters import NOTICE, mail

AUTOMATIC = "Auto-Submitted: auto-replied"


@pytest.mark.parametrize(
    ("subject", "text", "headers"),
    [
        ("Automatic reply: News", "I am out of the office. Mail to old@example.net fails with 550 5.1.1 user unknown.", [AUTOMATIC]),
        ("Automatic reply: News", "Anna no longer works here. Write to bob@example.net.\n\n> 550 5.1.1 unknown", [AUTOMATIC]),
        ("Out of office", "I am on vacation until Monday.", ["Precedence: bulk"]),
        ("Abwesenheitsnotiz: Rundbrief", "Ich bin nicht im Büro. Ihre Nachricht wird nicht weitergeleitet. Vertretung: bernd@example.de.", [AUTOMATIC]),
        ("Réponse automatique : Lettre", "Je suis absente. Contactez bernard@example.fr.", []),
        ("Respuesta automática: Boletín", "Estoy fuera de la oficina. No se ha podido leer su mensaje; escriba a juan@example.es", []),
        ("Risposta automatica: Notizie", "Sono fuori sede. Il messaggio non è stato letto.", []),
        ("Resposta automática: Boletim", "Estou de férias. A mensagem não foi lida.", []),
        ("Автоответ: Новости", "Я нахожусь в отпуске. Письмо не было прочитано. Пишите ivan@example.ru", [AUTOMATIC]),
        ("自動返信：ニュース", "ただいま不在にしております。メールは届きません。", [AUTOMATIC]),
        ("自动回复: 新闻", "您好，我正在休假，无法及时回复您的邮件。请联系 wang@example.cn", []),
        ("부재중 자동응답", "부재중입니다. 메일이 전달되지 않습니다. kim@example.kr", [AUTOMATIC]),
    ],
)  # fmt: skip
def test_who_is_away_does_not_bounce(subject: str, text: str, headers: list[str]) -> None:
    got = parse(mail("Anna <anna@example.net>", subject, text, *headers, returns=""))
    assert (got.report.kind, got.bounces) == (Kind.AUTO_REPLY, ())


@pytest.mark.parametrize(
    ("subject", "text"),
    [
        ("Please confirm your message", "Your message has been held until you confirm that you are human."),
        ("News [verify#abc]", "Click on the link below to deliver your mail."),
        ("Re: News", "To release your message, prove that you are a person."),
    ],
)  # fmt: skip
def test_who_asks_whether_we_are_human_does_not_bounce(subject: str, text: str) -> None:
    got = parse(mail("Anna <anna@example.net>", subject, text, AUTOMATIC, returns=""))
    assert (got.report.kind, got.bounces) == (Kind.CHALLENGE, ())


def test_a_daemon_that_quotes_such_words_bounces_all_the_same() -> None:
    text = NOTICE.replace(
        "User unknown", "please confirm your message, click on the link below and type"
    )
    got = parse(
        mail("MAILER-DAEMON@mx.example.com", "Undelivered Mail", text, AUTOMATIC, returns="")
    )
    assert got.report.kind is Kind.BOUNCE


@pytest.mark.parametrize(
    ("subject", "text", "header"),
    [
        ("Re: vacation", "I am away next week, talk then.", "X-Mailer: x"),
        (
            "Vacation offers",
            "We will be back with more.",
            "List-Unsubscribe: <https://example.net>",
        ),
        ("Majordomo results", "your subscription request", "Precedence: bulk"),
    ],
)
def test_people_lists_and_list_managers_reply_not_automatically(
    subject: str, text: str, header: str
) -> None:
    raw = mail("Anna <anna@example.net>", subject, text, header, returns="anna@example.net")
    assert rfc3834.decode(View(read(raw))) is None
    assert rfc3834.challenge(View(read(raw))) is None


def test_a_challenge_in_the_form_of_a_report_does_not_bounce() -> None:
    report = (
        "From: guard@people.example.net\nTo: bounces@lists.example.org\nSubject: Re: Weekly\n"
        'MIME-Version: 1.0\nContent-Type: multipart/report; report-type=delivery-status; boundary="b"\n\n'
        "--b\nContent-Type: text/plain\n\nTo deliver your message to Eli, prove that you are a person.\n"
        "--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; people.example.net\n\n"
        "Final-Recipient: rfc822; eli@example.net\nAction: failed\nStatus: 4.7.0\n"
        "Diagnostic-Code: X-Guard-Notice; Sender not approved yet\n--b--\n"
    )
    assert parse(report.encode()).report.kind is Kind.CHALLENGE
    answered = report.replace("X-Guard-Notice; Sender", "smtp; 550 5.7.1 Sender")
    assert parse(answered.encode()).report.kind is Kind.BOUNCE


def test_an_answer_without_an_envelope_sender_is_no_persons() -> None:
    text = "Gone fishing. Call the office."
    assert parse(mail("Gail <g@example.net>", "RE: News", text, returns="")).report.kind is (
        Kind.AUTO_REPLY
    )
    answered = parse(mail("Gail <g@example.net>", "RE: News", text, returns="g@example.net"))
    assert answered.report.kind is Kind.OTHER

"""Over notices of any layout: who is named failed, whole, and nobody else is."""

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from bounced import parse
from bounced.model import Kind
from tests.decode.letters import mail

LIST = "birds@lists.example.org"
BOUNCES = "bounces@lists.example.org"  # to whom tests.decode.letters addresses its mails
SENDER = "editor@news.example.org"
HELP = "helpdesk.team@isp.example.net"
DAEMON = "MAILER-DAEMON@mx.example.com"
OURS = {LIST, BOUNCES, SENDER, HELP, DAEMON.lower()}

_LOCAL = st.from_regex(r"[a-z][a-z0-9]{0,10}([._+-][a-z0-9]{1,8}){0,2}", fullmatch=True)
_DOMAIN = st.from_regex(
    r"([a-z][a-z0-9]{0,8}[.-]){0,2}[a-z][a-z0-9]{1,8}\.example\.(com|net|co\.uk)", fullmatch=True
)
_ROLES = ("postmaster", "abuse", "noc", "hostmaster", "helpdesk")
RECIPIENTS = st.lists(
    st.builds("{}@{}".format, _LOCAL.filter(lambda name: name not in _ROLES), _DOMAIN),
    min_size=1,
    max_size=4,
    unique_by=str.lower,
)
REPLIES = st.sampled_from(
    [
        "550 5.1.1 user unknown",
        "552 5.2.2 mailbox full",
        "554 5.7.1 refused as spam, write to " + HELP,
        "451 4.4.1 connection timed out",
        "550 no mailbox here by that name",
    ]
)

Layout = Callable[[str, str], str]
LAYOUTS: dict[str, Layout] = {
    "postfix": lambda who, why: f"<{who}>: host mx.example.com[192.0.2.1] said: {why}\n",
    "exim": lambda who, why: f"  {who}\n    SMTP error from remote mail server after RCPT TO:<{who}>:\n    host mx.example.com [192.0.2.1]: {why}\n",
    "qmail": lambda who, why: f"<{who}>:\n192.0.2.1 does not like recipient.\nRemote host said: {why}\nGiving up on 192.0.2.1.\n",
    "label": lambda who, why: f"Recipient: {who}\nReason: {why}\n",
    "bullet": lambda who, why: f" * {who}\n   {why}\n",
    "named": lambda who, why: f"  A. Reader <{who}>\n     {why}\n",
    "quoted": lambda who, why: f'"{who}" nie dostał listu: {why}\n',
    "sendmail": lambda who, why: f"<{who}>\n    (reason: {why})\n",
    "table": lambda who, why: f"| {who} | {why} |\n",
    "keys": lambda who, why: f"To={who}\nReply={why}\n",
    "sentence": lambda who, why: f"Your message could not be delivered to {who} because the server said: {why}\n",
    "chinese": lambda who, why: f"收件人：{who}\n原因：{why}\n",
    "german": lambda who, why: f"Empfänger: {who}\nGrund: {why}\n",
}  # fmt: skip
OPENINGS = st.sampled_from(
    [
        "This is the mail system. Your message could not be delivered:",
        "Ihre Nachricht konnte nicht zugestellt werden:",
        f"For help contact {HELP} or <{HELP}>. Delivery failed:",
        "下列收件人的邮件被退回：",
    ]
)
ENDINGS = st.sampled_from(
    ["", f"Please contact {HELP} for assistance.\n", "The mail system\n", "Questions? Write to postmaster.\n"]
)  # fmt: skip


def returned(to: str) -> str:
    return (
        "\n------ This is a copy of the message, including all the headers. ------\n\n"
        f"Return-Path: <{BOUNCES}>\nFrom: The Editor <{SENDER}>\nTo: {to}\nReply-To: {LIST}\n"
        f"List-Post: <mailto:{LIST}>\nSubject: 550 5.1.1 <nobody@quoted.example.com>: User unknown\n\n"
        "This week: <nobody@quoted.example.com>: 550 5.1.1 User unknown\n"
    )


@settings(deadline=None)
@given(
    recipients=RECIPIENTS, replies=st.lists(REPLIES, min_size=4, max_size=4),
    layout=st.sampled_from(sorted(LAYOUTS)), opening=OPENINGS, ending=ENDINGS, copy=st.booleans(),
)  # fmt: skip
def test_who_failed_is_named_whole_and_nobody_else(
    recipients: list[str], replies: list[str], layout: str, opening: str, ending: str, *, copy: bool
) -> None:
    blocks = "\n".join(LAYOUTS[layout](*pair) for pair in zip(recipients, replies, strict=False))
    text = f"{opening}\n\n{blocks}\n{ending}" + (returned(", ".join(recipients)) if copy else "")
    got = parse(mail(DAEMON, "Undelivered Mail", text, returns=""))
    assert got.report.kind is Kind.BOUNCE
    assert {bounce.recipient.address for bounce in got.bounces} == set(recipients)


@settings(deadline=None)
@given(
    RECIPIENTS,
    REPLIES,
    st.sampled_from(sorted(LAYOUTS)),
    st.integers(0, 400),
    st.binary(max_size=3),
)
def test_no_damage_makes_our_own_addresses_bounce(
    recipients: list[str], reply: str, layout: str, at: int, noise: bytes
) -> None:
    blocks = "\n".join(LAYOUTS[layout](who, reply) for who in recipients)
    raw = mail(DAEMON, "Undelivered Mail", blocks + returned(recipients[0]), returns="")
    at += raw.index(b"\n\n") + 2  # damaged headers are damaged evidence; this is about the words
    raw = raw[:at] + noise + raw[at:]
    named = {bounce.recipient.address.lower() for bounce in parse(raw).bounces}
    assert named & (OURS - {HELP}) == set()


@settings(deadline=None)
@given(RECIPIENTS, st.sampled_from([LIST, BOUNCES, SENDER]), REPLIES)
def test_a_report_that_names_one_of_ours_suppresses_none_of_them(
    recipients: list[str], ours: str, reply: str
) -> None:
    groups = "".join(
        f"Final-Recipient: rfc822; {who}\nAction: failed\nStatus: 5.0.0\nDiagnostic-Code: smtp; {reply}\n\n"
        for who in [*recipients, ours]
    )
    text = (
        f"--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example.com\n\n{groups}"
        f"--b\nContent-Type: message/rfc822\n\nReturn-Path: <{BOUNCES}>\nFrom: <{SENDER}>\nTo: {recipients[0]}\n"
        f"Reply-To: {LIST}\nSubject: News\n\nHello\n--b--\n"
    )
    kind = "Content-Type: multipart/report; report-type=delivery-status; boundary=b"
    got = parse(mail(DAEMON, "Undelivered Mail", text, kind, returns=""))
    assert {bounce.recipient.address for bounce in got.bounces} == set(recipients)

"""Whose address a text notice is about, and what was said of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bounced.decode import notice
from bounced.decode.notice import Surroundings
from bounced.decode.view import View
from bounced.message import read as message
from bounced.model import Action
from tests.decode.letters import mail

A = "a@example.com"


def read(text: str, **around: object) -> list[tuple[str, int | None, str | None]]:
    found = notice.recipients(text, Surroundings(**around))  # type: ignore[arg-type]
    return [
        (r.address, r.reply.code, str(r.reply.status) if r.reply.status else None) for r in found
    ]


@pytest.mark.parametrize(
    "text",
    [
        f"<{A}>: host mx.example.com[192.0.2.1] said: 550 5.1.1 unknown",
        f"<{A}>: host mx.example.com[192.0.2.1] said:\n    550 5.1.1 unknown",
        f"  {A}\n    SMTP error from remote mail server after RCPT TO:<{A}>:\n    host mx [192.0.2.1]: 550 5.1.1 unknown",
        f"<{A}>:\n192.0.2.1 does not like recipient.\nRemote host said: 550 5.1.1 unknown\nGiving up on 192.0.2.1.",
        f"550 5.1.1 <{A}>... unknown",
        f"   ----- Transcript of session follows -----\n>>> RCPT To:<{A}>\n<<< 550 5.1.1 unknown",
        f"* {A}\n  Reason: 550 5.1.1 unknown",
        f"Recipient: {A}\nReason: 550 5.1.1 unknown",
        f"Could not be delivered to {A} because 550 5.1.1 unknown",
        f"收件人：{A}\n原因：550 5.1.1 用户不存在",
        f"宛先: {A}\n理由: 550 5.1.1 unknown",
        f"Empfänger: {A}\nGrund: 550 5.1.1 unbekannt",
        f"'{A}' am 15.06.2026 09:01\n   550 5.1.1 unbekannt",
        f"{A} le ven., 11 oct. 2002 11:02\n   550 5.1.1 inconnu",
        f"  Anna Alt <{A}>\n     550 5.1.1 unknown",
        f"From=news@example.org\nTo={A}\nReply=550 5.1.1 unknown",
        f"550 5.1.1 unknown\n    for {A}\n",
        f"X-Failed-Rcpt: {A}\nX-Reply: 550 5.1.1 unknown",
    ],
    ids=[
        "postfix", "folded", "exim", "qmail", "sendmail", "transcript", "bullet", "label", "sentence", "chinese", "japanese",
        "german", "quoted", "dated", "named", "keys", "answer above", "fields",
    ],
)  # fmt: skip
def test_one_address_and_what_was_said_of_it(text: str) -> None:
    assert read(text) == [(A, 550, "5.1.1")]


def test_each_address_has_its_own_answer() -> None:
    text = f"<{A}>: said: 550 5.1.1 unknown\n\n<b@example.com>: said: 452 4.2.2 full\n"
    assert read(text) == [(A, 550, "5.1.1"), ("b@example.com", 452, "4.2.2")]


def test_answers_may_stand_above_whom_they_are_for() -> None:
    text = f"550 5.1.1 unknown\n  for {A}\n452 4.2.2 full\n  for b@example.com\n"
    assert read(text) == [(A, 550, "5.1.1"), ("b@example.com", 452, "4.2.2")]


def test_words_above_a_list_of_addresses_are_said_of_all_of_them() -> None:
    text = f"These mailboxes are full:\n\n  {A}\n  b@example.com\n"
    said = [r.reply.text for r in notice.recipients(text, Surroundings())]
    assert said == ["These mailboxes are full:"] * 2


def test_an_answer_below_a_list_of_addresses_is_said_of_all_of_them() -> None:
    text = f"Delivery failed for:\n- {A}\n- b@example.com\n\nThe host responded:\n550 5.7.1 spam\n"
    assert read(text) == [(A, 550, "5.7.1"), ("b@example.com", 550, "5.7.1")]


def test_an_answer_right_below_the_last_of_several_addresses_is_only_his() -> None:
    text = f"{A}\nb@example.com\n   550 5.1.1 unknown\n"
    assert read(text) == [(A, None, None), ("b@example.com", 550, "5.1.1")]


def test_lines_that_repeat_the_mail_are_no_answer() -> None:
    text = f"Empfänger: {A}\nBetreff: News\nDatum: heute\n\nDas Postfach ist voll.\n"
    (found,) = notice.recipients(text, Surroundings())
    assert "Postfach ist voll" in found.reply.text
    assert "News" not in found.reply.text


def test_an_address_in_the_subject_counts_where_the_words_name_nobody() -> None:
    assert read("It is full.", subject=f"Undeliverable: {A}") == [(A, None, None)]
    assert read("It is full.", subject=f"Undeliverable: {A}", never=frozenset({A})) == []
    assert read("It is full.", subject=f"Undeliverable: {A} b@example.com") == []


@pytest.mark.parametrize(
    "cut",
    [
        "<a@example.co\ufffdm>: 550 5.1.1 unknown", "<a@example.com: 550 5.1.1 unknown", "a@example.=?utf-8?Q?com?= 550 no",
        "\\210a@example.com: 550 5.1.1 unknown", "to a@example.\u202ecom: 550 5.1.1 unknown",
    ],
)  # fmt: skip
def test_an_address_that_damage_cut_is_nobodys(cut: str) -> None:
    assert read(f"Not delivered:\n\n{cut}\n") == []


def test_what_is_left_of_an_address_of_ours_is_nobodys() -> None:
    ours = frozenset({"bounces+4c1@lists.example.org"})
    assert read("ounces+4c1@lists.example.org: 550 5.1.1 unknown\n", never=ours) == []


def test_addresses_of_senders_and_of_helpers_do_not_bounce() -> None:
    text = (
        f"<{A}>: 550 5.1.1 unknown\n\nFor help write to help@example.com\nnews@example.org: 550 x\n"
    )
    assert read(text, never=frozenset({"news@example.org"})) == [(A, 550, "5.1.1")]
    assert read("Please contact postmaster@example.com about 550 5.1.1\n") == []


def test_a_header_that_names_the_failed_goes_before_the_words() -> None:
    text = f"  {A}\n    550 5.1.1 unknown\n\n  b@example.com\n    550 5.1.1 unknown\n"
    assert [found[0] for found in read(text, failed=("b@example.com",))] == ["b@example.com"]


def test_where_no_address_stands_the_only_one_mailed_is_meant() -> None:
    assert read("550 5.1.1 User unknown\n", mailed=(A,)) == [(A, 550, "5.1.1")]
    assert read("550 5.1.1 User unknown\n", mailed=(A, "b@example.com")) == []


SENDMAIL_8_6 = """\
   ----- The following addresses had delivery problems -----
<bob@example.com>  (unrecoverable error)
<"|/usr/bin/news-gate">  (unrecoverable error)
    (expanded from: <gate@example.org>)

   ----- Transcript of session follows -----
<bob@example.com>... Deferred: Connection timed out with mx.example.com.
Message will be deleted from queue
sh: /usr/bin/news-gate: not found
554 <"|/usr/bin/news-gate">... unknown mailer error 127
"""


def test_an_alias_has_the_answer_to_the_program_that_stands_for_it() -> None:
    bob, gate = notice.recipients(SENDMAIL_8_6, Surroundings())
    assert (bob.address, bob.reply.code) == ("bob@example.com", None)
    assert "Connection timed out" in bob.reply.text
    assert "mailer error" not in bob.reply.text
    assert (gate.address, gate.reply.code) == ("gate@example.org", 554)
    assert "unknown mailer error 127" in gate.reply.text


def test_the_code_of_an_answer_is_no_part_of_the_address_behind_it() -> None:
    text = f"mx.example.com did not like our RCPT TO:\n550-{A}\n550-This customer has left us.\n550 (N-17)\n"
    (report,) = notice.recipients(text, Surroundings())
    assert (report.address, report.reply.code) == (A, 550)
    assert "left us" in report.reply.text


def test_an_answer_of_several_lines_is_one() -> None:
    lines = [">>> RCPT To:<a@example.com>", "<<< 550-5.1.1 not", "<<< 550 5.1.1 here", ">>> QUIT"]
    assert list(notice.sessions(lines)) == [
        ("RCPT To:<a@example.com>", "550-5.1.1 not 550 5.1.1 here (in reply to RCPT To command)")
    ]


@pytest.mark.parametrize(
    ("subject", "text", "action"),
    [
        ("Delayed: News", "not delivered yet", Action.DELAYED),
        ("Warning: could not send message for past 4 hours", "", Action.DELAYED),
        ("Verzögert: Rundbrief", "", Action.DELAYED),
        ("Mail", "Delivery is delayed, we will keep trying.", Action.DELAYED),
        ("Bericht nog niet bezorgd", "We blijven het proberen.", Action.DELAYED),
        (
            "Brief",
            "Ihre Nachricht konnte bisher nicht zugestellt werden. Wir versuchen es noch zwei Tage.",
            Action.DELAYED,
        ),
        ("メール", "配信が遅延しています。引き続き試みます。", Action.DELAYED),
        ("Report", "Your message was successfully delivered to a@example.com.", Action.DELIVERED),
        ("Rapport", "Votre message à a@example.com a bien été remis.", Action.DELIVERED),
        (
            "Report",
            "Your message was delivered to 17 of 20 recipients; these failed:",
            Action.FAILED,
        ),
        ("Report", "Il messaggio non è stato consegnato.", Action.FAILED),
        ("Mail", "Delivery was delayed; giving up.", Action.FAILED),
        ("Warning: delivery failed", "", Action.FAILED),
        ("Undelivered Mail", "could not be delivered", Action.FAILED),
    ],
)
def test_a_warning_is_told_from_a_failure(subject: str, text: str, action: Action) -> None:
    assert notice.action(View(message(mail("x@example.com", subject, text)))) is action


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("host mx.example.com[192.0.2.1] said: 550", "mx.example.com"),
        ("while talking to mx.example.com.:", "mx.example.com"),
        ("nobody said a thing", None),
    ],
)
def test_the_host_that_answered_is_named_where_the_words_name_it(
    text: str, host: str | None
) -> None:
    assert notice.remote_host(text) == host


def test_an_address_a_thousand_times_is_read_in_good_time() -> None:
    assert len(read(f"<{A}> (trouble)\n" * 2_000)) == 1


def test_whom_an_answer_tells_to_try_is_not_who_failed() -> None:
    text = (
        f"There was an error delivering your mail to <{A}>.\n\n"
        "mx.example.com [192.0.2.1] did not like our RCPT TO:\n"
        "551 5.1.6 a has moved; please try <b@example.org>\n"
    )
    assert read(text, mailed=(A,)) == [(A, 551, "5.1.6")]


def test_an_answer_of_several_lines_is_read_to_its_last() -> None:
    text = (
        f"There was an error delivering your mail to <{A}>.\n\n"
        "mx.example.com [192.0.2.1] did not like our connect:\n"
        "554-mx.example.com\n554 Your server has a poor reputation here\n\nMessage headers follow.\n"
    )
    (report,) = notice.recipients(text, Surroundings())
    assert report.reply.text.endswith("Your server has a poor reputation here")


def test_what_a_program_printed_before_sendmail_called_it_unavailable_is_part_of_the_answer() -> (
    None
):
    def answer(printed: str) -> str:
        text = (
            "   ----- Transcript of session follows -----\n"
            f"{printed}\n554 <a@example.com>... Service unavailable\n"
        )
        (report,) = notice.recipients(text, Surroundings(failed=(A,)))
        return report.reply.text

    unavailable = "554 <a@example.com>... Service unavailable"
    assert answer("a: Over quota") == f"{unavailable} (a: Over quota)"
    assert answer("procmail: user unknown: bo") == unavailable


def test_who_got_the_mail_is_not_among_those_who_failed() -> None:
    text = "It was delivered to a@example.com.\n\nIt could not be delivered to b@example.com:\nno such user\n"
    assert [r.address for r in notice.recipients(text, notice.Surroundings())] == ["b@example.com"]


def test_in_a_table_of_fates_only_those_who_failed_did() -> None:
    text = (
        "b@example.com   OK, delivered\na@example.com   FAILED: no such user\nc@example.com: sent\n"
    )
    assert [r.address for r in notice.recipients(text, notice.Surroundings())] == [A]


def test_a_recipient_called_contact_may_fail() -> None:
    text = "Votre message pour vous, contact@example.com, a disparu."
    assert [r.address for r in notice.recipients(text, notice.Surroundings())] == [
        "contact@example.com"
    ]


def test_a_sender_on_a_line_of_their_own_is_nobody_who_failed() -> None:
    for announced in ("From", "Your message, sent by", "il messaggio proveniente da"):
        text = f'{announced}\n"b@example.org" and addressed to\n<a@example.com>: no such user\n'
        found = notice.recipients(text, notice.Surroundings())
        assert [r.address for r in found] == ["a@example.com"], announced


PIECES = st.sampled_from([
    "to ", "for", "the address ", "<", ">", "a@b.de", "@", "mailto:", "Recipient: ", "x", "満",
    "destinatario ", " ", "：", "に", '"', ".", "user ", "(", "delivered to ",
])  # fmt: skip


@given(st.lists(PIECES, max_size=14).map("".join))
def test_sentences_with_an_address_are_found_by_its_sign_as_by_the_pattern_alone(line: str) -> None:
    found = [one.span() for one in notice._inlines(line)]
    assert found == [one.span() for one in notice._INLINE.finditer(line)]


STARTS = st.sampled_from([
    "reader", "@example.com", "<", ">", " ", "\t", ":", "=", ".", "-", "+", "1", "to ", "mailto:", "é",
    "user", "failed ", "x-failed", "(", ")", ",", ";", "a" * 64, "@", "满",
])  # fmt: skip


@given(st.lists(STARTS, max_size=9).map("".join))
def test_a_plain_address_begins_a_line_as_any_other_does(line: str) -> None:
    found = notice._PLAIN_START.match(line)
    if found and len(found["address"]) <= 64:
        whole = notice._LINE_START.match(line)
        assert whole is not None
        assert (whole.groupdict(), whole.span("after")) == (found.groupdict(), found.span("after"))

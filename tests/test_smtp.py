"""Replies, statuses, commands and addresses are found in every hiding place, and never invented."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bounced.smtp import (
    ADDRESS,
    MAX_REPLY,
    addresses,
    canonical,
    find_code,
    find_command,
    find_status,
    is_address,
    parse_reply,
    verp_recipient,
)

# text, reply code, enhanced status, command
REPLIES = [
    # bare
    ("550 5.1.1 <a@example.com>: User unknown", 550, "5.1.1", None),
    ("554 5.0.0 Service unavailable", 554, "5.0.0", None),
    ("250 2.1.5 OK", 250, "2.1.5", None),
    ("354 go ahead", 354, None, None),
    ("550", 550, None, None),
    ("5.1.1", None, "5.1.1", None),
    ("599 5.9.9 odd", 599, "5.9.9", None),
    ('"550 nope"', 550, None, None),
    # the first word of a server counts, not what it quotes later
    ("250 2.0.0 ok, later 5.1.1 unknown", 250, "2.0.0", None),
    ("550 5.1.1 <a.5.2.2@example.com> unknown", 550, "5.1.1", None),
    ("<550@example.com>: 551 5.7.1 no relay", 551, "5.7.1", None),
    # Postfix
    (
        "host mx.example.com[192.0.2.1] said: 550 5.1.1 <a@example.com>: no such user (in reply to RCPT TO command)",
        550,
        "5.1.1",
        "RCPT",
    ),
    (
        "host mx.example.com[192.0.2.1] said: 452 4.2.2 full (in reply to end of DATA command)",
        452,
        "4.2.2",
        "DATA",
    ),
    (
        "host mx.example.com[192.0.2.1] refused to talk to me: 554 5.7.1 go away",
        554,
        "5.7.1",
        None,
    ),
    ("454 4.7.0 TLS not available (in reply to STARTTLS command)", 454, "4.7.0", "STARTTLS"),
    ("502 5.5.1 not implemented (in reply to EHLO command)", 502, "5.5.1", "EHLO"),
    ("535 5.7.8 failed (in reply to AUTH LOGIN command)", 535, "5.7.8", "AUTH"),
    ("500 5.5.2 too long (in reply to BDAT command)", 500, "5.5.2", "DATA"),
    (
        "lost connection with mx.example.com[192.0.2.1] while sending RCPT TO",
        None,
        None,
        "RCPT",
    ),
    ("connect to mx.example.com[192.0.2.1]:25: Connection timed out", None, None, None),
    # Exim
    (
        "SMTP error from remote mail server after RCPT TO:<a@example.com>: host mx.example.com [192.0.2.1]: 550 No such user",
        550,
        None,
        "RCPT",
    ),
    (
        "SMTP error from remote mail server after end of data: host mx.example.com [192.0.2.1]: 554 spam",
        554,
        None,
        "DATA",
    ),
    (
        "SMTP error from remote mail server after initial connection: host mx.example.com [192.0.2.1]: 421 busy",
        421,
        None,
        "CONN",
    ),
    (
        "SMTP error from remote mail server after pipelined MAIL FROM:<b@example.org> SIZE=1000: 552 5.3.4 too big",
        552,
        "5.3.4",
        "MAIL",
    ),
    ("LMTP error after RCPT TO:<a@example.com>: 550 5.1.1 unknown", 550, "5.1.1", "RCPT"),
    ("retry time not reached; last error: 450 4.2.1 slow down", 450, "4.2.1", None),
    # Sendmail
    ("550 5.1.1 <a@example.com>... User unknown", 550, "5.1.1", None),
    ("(reason: 550 5.1.1 <a@example.com>... User unknown)", 550, "5.1.1", None),
    ("<<< 550 5.1.1 unknown", 550, "5.1.1", None),
    (">>> RCPT To:<a@example.com>", None, None, "RCPT"),
    ("<a@example.com>... Deferred: Connection refused by mx.example.com.", None, None, None),
    # qmail
    ("Sorry, no mailbox here by that name. (#5.1.1)", None, "5.1.1", None),
    ("CNAME lookup failed temporarily. (#4.4.3)", None, "4.4.3", None),
    ("192.0.2.1 does not like recipient. Remote host said: 550 5.1.1 no", 550, "5.1.1", None),
    ("sender was rejected. Remote host said: 553 sorry (#5.7.1)", 553, "5.7.1", None),
    # Exchange
    ("#5.1.1 smtp;550 5.1.1 RESOLVER.ADR.RecipNotFound; not found", 550, "5.1.1", None),
    ("#< #5.1.1 smtp; 550 5.1.1 user unknown> #SMTP#", 550, "5.1.1", None),
    ("mx.example.com #550 5.1.1 RESOLVER.ADR.RecipNotFound; not found ##", 550, "5.1.1", None),
    (
        "Remote Server returned '<mx.example.com #5.1.1 smtp;550 5.1.1 unknown>'",
        550,
        "5.1.1",
        None,
    ),
    ("Remote Server returned '550 5.1.10 RecipientNotFound'", 550, "5.1.10", None),
    ("450 4.4.316 Connection refused [LastAttemptedIP=192.0.2.1:25]", 450, "4.4.316", None),
    # others
    ("smtp; 550 5.1.1 unknown", 550, "5.1.1", None),
    ("SMTP;550-5.7.1 no", 550, "5.7.1", None),
    ("[SMTP error] 550 nope", 550, None, None),
    ("Error: 550 nope", 550, None, None),
    ("error code 550", 550, None, None),
    ("SMTP code: 550", 550, None, None),
    ("Response was: 550 nope", 550, None, None),
    ("said:550 nope", 550, None, None),
    ("status=bounced (550)", 550, None, None),
    ("x-unix; user unknown", None, None, None),
    # full-width forms, as East Asian notices print them
    ("エラー：550 5.1.1 該当ユーザなし", 550, "5.1.1", None),
    ("５５０ ５．１．１ ユーザが存在しません", 550, "5.1.1", None),
    ("错误：５５０ 用户不存在", 550, None, None),
]


@pytest.mark.parametrize(("text", "code", "status", "command"), REPLIES)
def test_a_reply_is_found_where_servers_put_it(
    text: str, code: int | None, status: str | None, command: str | None
) -> None:
    reply = parse_reply(text)
    told = (reply.code, str(reply.status) if reply.status else None, reply.command)
    assert told == (code, status, command)


@pytest.mark.parametrize(
    "text",
    [
        "host 192.0.2.55 could not be reached",
        "connect to 192.0.2.1:550",
        "mail for port 465 of 192.0.2.1",
        "Mon, 12 May 2025 10:20:30 +0200 could not deliver",
        "message of 550 bytes was refused",
        "size 5500000 exceeds 2000000",
        "size=550 accepted",
        "the message is 554 kilobytes",
        "tried for 450 minutes",
        "you have 450 friends waiting",
        "user 550e8400-e29b-41d4-a716-446655440000 was deleted",
        "call +49 30 550 1234",
        "sender address 550@example.com rejected",
        "650 6.1.1 odd",
        "199 1.0.0 odd",
        "5501 Main Street",
    ],
)
def test_a_number_that_is_no_reply_is_no_code(text: str) -> None:
    assert parse_reply(text).code is None


@pytest.mark.parametrize(
    "text",
    [
        "running 5.1.1.2 of the software",
        "version 5.1.1 of the software",
        "v5.1.1 is running",
        "Mozilla/5.0.1",
        "Postfix 2.5.1 here",
        "Exim 4.9.5 here",
        "host 10.5.1.1 unknown",
        "host 5.1.1.10 unknown",
        "id 4.5.1.1",
        "wieder da am 4.2.25 oder später",
        "5.1.1000",
        "5.10.1",
        "6.1.1",
        "1.5.1.1",
        "5..1.1",
    ],
)
def test_versions_addresses_and_dates_are_no_enhanced_status(text: str) -> None:
    assert find_status(text) is None


@pytest.mark.parametrize(
    ("text", "code", "status", "words"),
    [
        (
            "550 4.4.7 QUEUE.Expired; message expired in 48 hours {LED=451 4.7.1 Greylisted, try again};{MSG=};{FQDN=mx.example.com}",
            451,
            "4.7.1",
            "451 4.7.1 Greylisted, try again",
        ),
        (
            "554 4.4.7 Message expired: unable to deliver in 840 minutes.<421 4.2.2 The mailbox is over quota>",
            421,
            "4.2.2",
            "421 4.2.2 The mailbox is over quota",
        ),
        (
            "554 5.4.7 expired. Last error was: 452 4.2.2 mailbox full",
            452,
            "4.2.2",
            "452 4.2.2 mailbox full",
        ),
    ],
)
def test_a_reply_inside_a_reply_is_kept_as_quoted(
    text: str, code: int, status: str, words: str
) -> None:
    quoted = parse_reply(text).quoted
    assert quoted is not None
    assert (quoted.code, str(quoted.status), quoted.text) == (code, status, words)


def test_a_reply_in_angle_brackets_is_not_quoted_where_nobody_gave_up() -> None:
    assert parse_reply("550 5.1.1 unknown <450 Main Street>").quoted is None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "550-5.1.1 The account that you tried to reach\n550-5.1.1 does not exist. 550 5.1.1 See help",
            "550-5.1.1 The account that you tried to reach does not exist. See help",
        ),
        (
            "550-mailbox\n550-is not here\n550 see https://example.com",
            "550-mailbox is not here see https://example.com",
        ),
        (
            "<550@example.com>: 550-5.1.1 no 550 5.1.1 such user",
            "<550@example.com>: 550-5.1.1 no such user",
        ),
        ("550 error 550 in room 550", "550 error 550 in room 550"),
        ("550  a\r\n\tb", "550 a b"),
    ],
)
def test_a_reply_of_several_lines_reads_as_one_sentence(text: str, sentence: str) -> None:
    assert parse_reply(text).text == sentence


def test_the_command_that_the_reader_knows_goes_before_the_one_in_the_words() -> None:
    assert parse_reply("550 no (in reply to RCPT TO command)", command="DATA").command == "DATA"


@pytest.mark.parametrize(
    "text", ["after mailing you", "after the dates", "connecting to mx", "in reply to your mail"]
)
def test_ordinary_words_are_no_smtp_command(text: str) -> None:
    assert find_command(text) is None


def test_only_the_beginning_of_an_endless_reply_is_read() -> None:
    assert len(parse_reply("550 " + "x" * 100_000).text) <= MAX_REPLY


@given(st.text(alphabet="0123456789.-#:;<>(){}= \n５．x@LED=said", max_size=200))
def test_any_text_is_a_reply_and_what_is_told_of_it_stands_in_it(text: str) -> None:
    reply = parse_reply(text)
    plain = text.translate({0xFF15: "5", 0xFF0E: "."})
    assert reply.code is None or str(reply.code) in plain
    assert reply.status is None or str(reply.status.subject) in plain
    assert reply.code is None or 200 <= reply.code <= 599
    found = find_code(text)
    assert found is None or plain[found[1] : found[1] + 3] == str(found[0])


# --- addresses ---


@pytest.mark.parametrize(
    "address",
    [
        "a@example.com",
        '"a b"@example.com',
        '"a@b"@example.com',
        "o'neil@example.com",
        "anna.müller@example.de",
        "anna@müller.example",
        "用户@例子.test",
        "a@[192.0.2.1]",
        "a@[IPv6:2001:db8::1]",
        "a@localhost",
        "a..b.@example.com",  # forbidden, and yet in use
        "list+reader=host.example@example.com",
        "a{b}$^~*!%&#/@example.com",
        "a@exa_mple.com",
        "x" * 64 + "@example.com",
        "a@" + "d" * 63 + ".com",
    ],
)
def test_a_mailbox_as_real_servers_have_it_is_an_address(address: str) -> None:
    assert is_address(address)
    assert ADDRESS.findall(f"to <{address}> it was") == [address]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a@",
        "@example.com",
        "a@b@c",
        "a@b.example@c.example",
        "a@.example.com",
        "a@-example.com",
        "a@example.com.",
        "a@example.com-",
        "a@example.com\n",
        "<a@example.com>",
        "mailto:a@example.com",
        "a b@example.com",
        "a@example.com,b@example.com",
        "x" * 65 + "@example.com",
        "é" * 65 + "@example.com",
        "a@" + "d" * 64 + ".com",
        "a@" + ".".join(["d" * 60] * 12),
    ],
)
def test_what_is_more_or_less_than_a_mailbox_is_no_address(text: str) -> None:
    assert not is_address(text)


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("a@b@c", []),
        ("a@b.example@c.example", []),
        ("x" * 65 + "@example.com", []),
        ("é" * 65 + "@example.com", []),
        ("a@" + "d" * 64 + ".com", []),
        ("reader@example.com.", ["reader@example.com"]),
        ("reader@example.com- gone", ["reader@example.com"]),
        ("'reader@example.com'", ["reader@example.com"]),
        ("'o'neil@example.com'", ["o'neil@example.com"]),
        ("reader@example.com's mailbox", ["reader@example.com"]),
        ("mailto:reader@example.com", ["reader@example.com"]),
        ("a@example.com;b@example.com", ["a@example.com", "b@example.com"]),
        ("用户reader@example.com，不存在", ["reader@example.com"]),
        ("邮箱reader@example.com不存在", ["reader@example.com"]),
        ("收件人：reader@example.com。", ["reader@example.com"]),
        ("ユーザreader@example.com様", ["reader@example.com"]),
        ("「reader@example.com」は存在しません", ["reader@example.com"]),
    ],
)
def test_an_address_ends_where_the_sentence_around_it_goes_on(
    text: str, addresses: list[str]
) -> None:
    assert ADDRESS.findall(text) == addresses


@pytest.mark.parametrize(
    ("address", "kept"),
    [
        ("Reader@EXAMPLE.com", "Reader@example.com"),
        (" a@example.com ", "a@example.com"),
        ("a@example.com.", "a@example.com"),
        ("a@MÜLLER.example", "a@xn--mller-kva.example"),
        ("用户@例子.test", "用户@xn--fsqu00a.test"),
        ('"A@b"@Example.com', '"A@b"@example.com'),
        ("a@" + "ü" * 70 + ".example", "a@" + "ü" * 70 + ".example"),
        ("nobody", "nobody"),
        ("", ""),
    ],
)
def test_an_address_is_kept_with_its_domain_in_lower_case_ascii(address: str, kept: str) -> None:
    assert canonical(address) == kept


@given(st.text(alphabet="aBü例ß.。-@ \n\x00", max_size=40) | st.text(max_size=20))
def test_the_form_in_which_an_address_is_kept_is_kept_again_the_same(address: str) -> None:
    assert canonical(canonical(address)) == canonical(address)


@pytest.mark.parametrize(
    ("return_path", "recipient"),
    [
        ("bounces+reader=host.example@lists.example.org", "reader@host.example"),
        ("bounces+first-last=host.example@lists.example.org", "first-last@host.example"),
        ("bounces+4711-c0de-reader=host.example@lists.example.org", "reader@host.example"),
        ("list-bounces+reader=host.example@example.org", "reader@host.example"),
        ("list-return-118-reader=host.example@example.org", "reader@host.example"),
        ("news-bounce-first-last=host.example@example.org", "first-last@host.example"),
        ("news-reader=host.example@example.org", "reader@host.example"),
        ("bounces+a=b=host.example@example.org", "a=b@host.example"),
        ("bounce+c0ffee.a1b2c3-first-last=host.example@mg.example.org", "first-last@host.example"),
        ("bounce-mc.us11_4711.815-first-last=host.example@example.org", "first-last@host.example"),
        ("bounce+first.last==a==host.example==news@lists.example.org", "first.last@host.example"),
        ("bounce+reader==a==host.example==news==r@lists.example.org", "reader@host.example"),
        # wrapped by a forwarder, or signed on the way out
        ("prvs=0123abcdef=bounces+reader=host.example@example.org", "reader@host.example"),
        (
            "SRS0=ab12=XY=example.org=bounces+reader=host.example@f.example.net",
            "reader@host.example",
        ),
        # where the recipient's name begins is not certain
        ("a-b-reader=host.example@example.org", None),
        ("owner-list-reader=host.example@example.org", None),
        # nobody is named
        ("reader@example.org", None),
        ("bounces+4711@example.org", None),
        ("prvs=123abc=reader@example.org", None),
        ("SRS0=abcd=XY=host.example=reader@example.org", None),
        ("", None),
    ],
)
def test_a_variable_return_path_names_its_recipient_or_nobody(
    return_path: str, recipient: str | None
) -> None:
    assert verp_recipient(return_path) == recipient


# --- what is looked for first ---

SIGNS = st.sampled_from(
    ["a", "b.c", "@", "<", ">", '"', " ", "@x.de", "満", "'", "-", "\n", "a" * 70, '"@x.de']
)


@given(st.lists(SIGNS, max_size=25).map("".join))
@example('"Ann <a@x.de>"@gateway.example: unknown')
def test_addresses_are_found_beside_their_signs_as_by_the_pattern_alone(text: str) -> None:
    assert [a.span() for a in addresses(text)] == [a.span() for a in ADDRESS.finditer(text)]


def test_of_a_log_of_a_session_the_answer_is_the_one_that_refuses() -> None:
    reply = parse_reply("<<< 250 2.1.0 Sender ok <<< 550 5.1.1 User unknown")
    assert (reply.code, str(reply.status)) == (550, "5.1.1")
    assert parse_reply("250 2.0.0 Ok: 550 octets taken").code == 250


def test_a_numbered_answer_may_begin_a_line() -> None:
    assert parse_reply("#550 5.1.1 RESOLVER.ADR.RecipNotFound; not found ##").code == 550

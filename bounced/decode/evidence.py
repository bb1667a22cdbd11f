"""What speaks for a message being a report from a mail system, and what for a person's mail.

Each function looks at one thing and answers yes or no; `is_report` weighs them. A person who
forwards or quotes a bounce writes from an address of their own, with a subject of their own.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from bounced.automaton import later
from bounced.decode.words import pattern
from bounced.smtp import ADDRESS, addresses, first_address

if TYPE_CHECKING:
    from bounced.message import Message

_SMTP_REPLY: Final = re.compile(
    r"(?<![\d.])[45][0-57]\d[ \-]+(?:#?[45]\.\d\.\d{1,3}\b|(?:[A-Z<]|[^\x00-\x7f])[^\n]{3,})"
    r"|\b[45]\.[0-7]\.\d{1,3}\b"
)
# how either begins: rare in prose, and looked for first
_LIKE_REPLY: Final = re.compile(r"[45](?:[0-57]\d[ \-]|\.[0-7]\.\d)")
_ADDRESS_AT: Final = re.compile(r"\S@\S")


def daemon_sender(message: Message) -> bool:
    """Whether a mail system signs it."""
    sender = message.header("from") or message.header("sender")
    return _daemon(sender) if len(sender) <= 200 else _daemon.__wrapped__(sender)


@lru_cache(1_024)
def _daemon(sender: str) -> bool:
    address = first_address(sender)
    name = sender.replace(address, "").strip(" \"'<>()")
    # what a host is called tells nothing: "mailer.example.com" has people, too
    account = address[: address.rfind("@") + 1]
    if not address or pattern("daemon").search(account):
        return pattern("daemon").search(sender) is not None
    # a person may be called Daemon, and a newsletter Postmaster Digest
    found = pattern("daemon").search(name)
    return found is not None and len(found[0]) * 10 >= len(name) * 6


def null_sender(message: Message) -> bool:
    """Whether its envelope sender was empty (RFC 5321, 4.5.5)."""
    return any(value.strip() in ("<>", "") for value in message.all_headers("return-path"))


def report_subject(message: Message) -> bool:
    subject = message.header("subject")
    called = pattern("report_subject").search(subject) or pattern("undelivered").search(subject)
    return called is not None


def reply_subject(message: Message) -> bool:
    """Whether a person answers or forwards."""
    return _ANSWER.match(message.header("subject")) is not None


_ANSWER: Final = re.compile(
    r"(?:re|fwd?|aw|wg|tr|rv|antw|sv|vs|enc|回复|回覆|答复|转发|轉寄)\s{0,80}(?:\[\d+\])?\s{0,80}[:：]",
    re.IGNORECASE,
)


def failure_words(text: str) -> bool:
    head = text[:20_000]
    return any(pattern(name).search(head) for name in ("failure", "delayed", "undelivered"))


def smtp_words(text: str) -> bool:
    text = text[:20_000]
    likely = _LIKE_REPLY.search(text)
    return likely is not None and _SMTP_REPLY.search(text, likely.start()) is not None


def is_report(message: Message, notice: str) -> bool:
    """Whether to believe that a mail system reports here on a delivery.

    Bare bodies (no headers at all) are believed by their words alone.
    """
    if not message.headers:
        told = failure_words(notice) and _ADDRESS_AT.search(notice) is not None
        return told and (smtp_words(notice) or not _asks_about_it(notice[:8_000]))
    if message.header("x-failed-recipients"):
        return True
    if by_person(message) or says_itself_automatic(message) or by_list(message):
        return False
    points = weigh(message)
    if points < 1 or _a_postmaster_writes(message, notice):
        return False  # whatever it says: a person's mail, which most mail is
    reply = smtp_words(notice)
    if _nothing_came_back(message, notice, reply=reply) or (
        not reply and _speaks_of_other_things(message, notice)
    ):
        return False
    return _agree(message, notice, points, reply=reply)


def _agree(message: Message, notice: str, points: int, *, reply: bool) -> bool:
    """Whether the headers' `points` and the words say enough together."""
    words = failure_words(notice) or pattern("delivered").search(notice[:4_000]) is not None
    points += words + reply
    head = notice[:8_000]
    named = _address_line(head)
    if by_machine(message):
        named = named or len({found[0].lower() for found in addresses(head)}) == 1
        answers = bool(message.header("in-reply-to"))
        enough = 3 if daemon_sender(message) and named and not answers else 4
        return points >= enough and (words or reply or report_subject(message))
    # nobody says that a machine wrote it: subject, words, code and an address line must agree, and
    # nothing in it may ask or greet anybody, be it below a notice that was pasted
    coded = _CODE_ANYWHERE.search(notice[:4_000]) is not None
    return points >= 3 and words and coded and named and pattern("asks").search(head) is None


_ADDRESS_LINE: Final = later(
    rf"^[ \t]{{0,8}}(?:[\w'() -]{{1,40}}:[ \t]{{0,8}})?<?{ADDRESS.pattern}>?(?:[ \t]*$|:|\.\.\.)",
    re.MULTILINE,
)


def _address_line(head: str) -> bool:
    """Whether a line is about an address; only those with an `@` can be."""
    starts = {head.rfind("\n", 0, found.start()) + 1 for found in re.finditer("@", head)}
    return any(_ADDRESS_LINE.match(head, start) for start in starts)


_CODE_ANYWHERE: Final = re.compile(r"(?<![\d.])[45][0-57]\d(?![\d.])|(?<![\d.])[45]\.\d\.\d")


def _a_postmaster_writes(message: Message, notice: str) -> bool:
    """Whether it takes its own bounces and says of no mail that it was not delivered."""
    report = message.content_type == "multipart/report"
    return takes_bounces(message) and not report and not failure_words(notice)


def _speaks_of_other_things(message: Message, notice: str) -> bool:
    """Whether what was not delivered is no mail: a parcel, tickets, an order.

    Asked where no server's reply is quoted. A mail system that signs as one is believed.
    """
    nameless = null_sender(message) and "@" not in message.header("from")
    if nameless or daemon_sender(message) or message.content_type == "multipart/report":
        return False
    told = message.header("subject") + "\n" + notice[:8_000]
    if pattern("parcels").search(told) or pattern("mail_words").search(told) is None:
        return True
    return not report_subject(message)


def _nothing_came_back(message: Message, notice: str, *, reply: bool) -> bool:
    """Whether a program warns the owner of a mailbox, or tells that a mail went on without a part.

    Both speak like a refusal, and neither says that a mail was returned.
    """
    if message.content_type == "multipart/report":
        return False
    told = message.header("subject") + "\n" + notice[:2_000]
    went_on = pattern("went_on").search(told) is not None
    return went_on or (not reply and pattern("own_mailbox").search(told[:400]) is not None)


def _asks_about_it(head: str) -> bool:
    """Whether somebody asks a question, or greets, before the notice that they show begins."""
    first = next(addresses(head), None)
    return pattern("asks").search(head[: first.start()] if first else head) is not None


def by_list(message: Message) -> bool:
    """Whether it was sent to a list's readers, which no mail system's report is."""
    listed = message.header("list-unsubscribe") or message.header("list-post")
    if not listed and not null_sender(message):
        listed = message.header("list-id")
    return (
        bool(listed) and message.content_type != "multipart/report" and not daemon_sender(message)
    )


def takes_bounces(message: Message) -> bool:
    """Whether the mail takes its own bounces where it says that it comes from."""
    sender = first_address(message.header("from").lower())
    returns = [value.strip(" <>").lower() for value in message.all_headers("return-path")]
    return sender != "" and sender in returns


def by_machine(message: Message) -> bool:
    """Whether sender, envelope or headers say that no person wrote this."""
    submitted = message.header("auto-submitted").lower()
    answered = bool(submitted) and not submitted.startswith("no")
    report = message.content_type == "multipart/report"
    return answered or report or daemon_sender(message) or null_sender(message)


def by_person(message: Message) -> bool:
    """Whether the mail takes its own bounces at the address that signs it, as no daemon does."""
    signed = message.header("from").lower()
    sender = first_address(signed)
    name = signed.replace(sender, "").strip(" \"'<>()")
    submitted = message.header("auto-submitted").lower()
    automatic = bool(submitted) and not submitted.startswith("no")
    return (
        takes_bounces(message)
        and not (automatic or message.content_type == "multipart/report")
        and pattern("daemon").search(sender[: sender.rfind("@") + 1]) is None
        and pattern("daemon").fullmatch(name) is None
    )


def says_itself_automatic(message: Message) -> bool:
    """Whether a mailbox, not a mail system, says in the subject that it answered by itself."""
    subject = message.header("subject")
    return (
        pattern("auto_reply_itself").search(subject) is not None
        and not report_subject(message)
        and not daemon_sender(message)
    )


def weigh(message: Message) -> int:
    """What the headers alone say for a mail system (positive) or a person (negative)."""
    daemon, null = daemon_sender(message), null_sender(message)
    submitted = message.header("auto-submitted").lower()
    points = 2 * daemon + 2 * null + 2 * report_subject(message)
    points += (message.content_type == "multipart/report") + (
        bool(submitted) and not submitted.startswith("no")
    )
    if not daemon:
        points -= 3 * reply_subject(message) + 2 * (
            bool(message.header("in-reply-to")) and not null
        )
    return points

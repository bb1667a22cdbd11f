"""What speaks for a message being a report from a mail system, and what for a person's mail.

Each function looks at one thing and answers yes or no; `is_report` weighs them. A person who
forwards or quotes a bounce writes from an address of their own, with a subject of their own.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from bounced.automaton import later
from bounced.decode.words import pattern
from bounced.smtp import ADDRESS, addresses, first_address

if TYPE_CHECKING:
    from bounced.decode.view import View

_SMTP_REPLY: Final = re.compile(
    r"(?<![\d.])[45][0-57]\d[ \-]+(?:#?[45]\.\d\.\d{1,3}\b|(?:[A-Z<]|[^\x00-\x7f])[^\n]{3,})"
    r"|\b[45]\.[0-7]\.\d{1,3}\b"
)
# how either begins: rare in prose, and looked for first
_LIKE_REPLY: Final = re.compile(r"[45](?:[0-57]\d[ \-]|\.[0-7]\.\d)")
_ADDRESS_AT: Final = re.compile(r"\S@\S")


def smtp_words(text: str) -> bool:
    text = text[:20_000]
    likely = _LIKE_REPLY.search(text)
    return likely is not None and _SMTP_REPLY.search(text, likely.start()) is not None


def is_report(view: View) -> bool:
    """Whether to believe that a mail system reports here on a delivery.

    Bare bodies (no headers at all) are believed by their words alone.
    """
    if view.believed is None:
        view.believed = _is_report(view)
    return view.believed


def _is_report(view: View) -> bool:
    message = view.message
    if not message.headers:
        notice = view.said
        told = view.speaks_of_failure() and _ADDRESS_AT.search(notice) is not None
        return told and (smtp_words(notice) or not _asks_about_it(notice[:8_000]))
    if message.header("x-failed-recipients"):
        return True
    if by_person(view) or says_itself_automatic(view) or by_list(view):
        return False
    points = weigh(view)
    if points < 1 or _a_postmaster_writes(view):
        return False  # whatever it says: a person's mail, which most mail is
    reply = smtp_words(view.said)
    if _nothing_came_back(view, reply=reply) or (not reply and _speaks_of_other_things(view)):
        return False
    return _agree(view, points, reply=reply)


def _agree(view: View, points: int, *, reply: bool) -> bool:
    """Whether the headers' `points` and the words say enough together."""
    notice = view.said
    words = view.speaks_of_failure() or view.says("delivered", 4_000)
    points += words + reply
    head = notice[:8_000]
    named = _address_line(head)
    if by_machine(view):
        if _may_be_a_person(view) and _GREETS.match(head) and not _about_an_address(head):
            return False
        named = named or len({found[0].lower() for found in addresses(head)}) == 1
        answers = bool(view.message.header("in-reply-to"))
        enough = 3 if view.daemon and named and not answers else 4
        told = words or reply or view.report_subject
        if not told and view.daemon and view.null_sender:
            told = _about_an_address(head)  # in a language that we do not read
        return points >= enough and told
    # nobody says that a machine wrote it: subject, words, code and an address line must agree, and
    # nothing in it may ask or greet anybody, be it below a notice that was pasted
    coded = _CODE_ANYWHERE.search(notice[:4_000]) is not None
    return points >= 3 and words and coded and named and pattern("asks").search(head) is None


def _may_be_a_person(view: View) -> bool:
    """Whether nothing but the name of a postmaster, who may be one, speaks for a machine."""
    if view.null_sender or view.automatic or view.report or view.report_subject:
        return False
    return "postmaster@" in view.message.header("from").lower()


# how a letter of a person begins
_GREETS: Final = re.compile(
    r"\s{0,80}(?:guten (?:tag|morgen|abend)|hallo|hello|hi\b|hey\b|dear|sehr geehrte|liebe[rs]?\b"
    r"|bonjour|madame|monsieur|hola|buen[oa]s|estimad|ciao|buongiorno|gentile|salve|ol[áa]\b|prezad"
    r"|bom dia|beste\b|geachte|goede|dzień dobry|witam|szanown|здравствуйте|добрый день|уважаем"
    r"|hej\b|dobr[ýy] den|您好|你好|尊敬的|안녕|こんにちは|お世話)",
    re.IGNORECASE,
)
_ADDRESS_LINE: Final = later(
    rf"^[ \t]{{0,8}}(?:[\w'() -]{{1,40}}:[ \t]{{0,8}})?<?{ADDRESS.pattern}>?(?:[ \t]*$|:|\.\.\.)",
    re.MULTILINE,
)


def _address_line(head: str) -> bool:
    """Whether a line is about an address; only those with an `@` can be."""
    at = head.find("@")
    while at >= 0:
        if _ADDRESS_LINE.match(head, head.rfind("\n", 0, at) + 1):
            return True
        end = head.find("\n", at)
        at = head.find("@", end) if end >= 0 else -1
    return False


# whom the mail was sent to and from is repeated by notices of any kind
_REPEATED: Final = re.compile(
    r"^[ \t>]{0,8}(?:to|cc|from)[ \t]{0,8}:.*$", re.IGNORECASE | re.MULTILINE
)


def _about_an_address(head: str) -> bool:
    return "@" in head and _address_line(_REPEATED.sub("", head))


_CODE_ANYWHERE: Final = re.compile(r"(?<![\d.])[45][0-57]\d(?![\d.])|(?<![\d.])[45]\.\d\.\d")


def _a_postmaster_writes(view: View) -> bool:
    """Whether it takes its own bounces and says of no mail that it was not delivered."""
    return view.takes_bounces and not view.report and not view.speaks_of_failure()


def _speaks_of_other_things(view: View) -> bool:
    """Whether what was not delivered is no mail: a parcel, tickets, an order.

    Asked where no server's reply is quoted. A mail system that signs as one is believed.
    """
    nameless = view.null_sender and "@" not in view.message.header("from")
    if nameless or view.daemon or view.report:
        return False
    told = f"{view.subject}\n{view.said[:8_000]}"
    if pattern("parcels").search(told) or pattern("mail_words").search(told) is None:
        return True
    return not view.report_subject and not _about_an_address(view.said[:8_000])


def _nothing_came_back(view: View, *, reply: bool) -> bool:
    """Whether a program warns the owner of a mailbox, or tells that a mail went on without a part.

    Both speak like a refusal, and neither says that a mail was returned.
    """
    if view.report:
        return False
    if view.told("went_on", 2_000):
        return True
    # at the beginning of the two, of which the subject is a part
    return not reply and view.told("own_mailbox", 399 - len(view.subject))


def _asks_about_it(head: str) -> bool:
    """Whether somebody asks a question, or greets, before the notice that they show begins."""
    first = next(addresses(head), None)
    return pattern("asks").search(head[: first.start()] if first else head) is not None


def by_list(view: View) -> bool:
    """Whether it was sent to a list's readers, which no mail system's report is."""
    message = view.message
    listed = message.header("list-unsubscribe") or message.header("list-post")
    if not listed and not view.null_sender:
        listed = message.header("list-id")
    return bool(listed) and not view.report and not view.daemon


def by_machine(view: View) -> bool:
    """Whether sender, envelope or headers say that no person wrote this."""
    return view.automatic or view.report or view.daemon or view.null_sender or view.unanswerable


def by_person(view: View) -> bool:
    """Whether the mail takes its own bounces at the address that signs it, as no daemon does."""
    if view.automatic or view.report or not view.takes_bounces:
        return False
    signed = view.message.header("from").lower()
    sender = first_address(signed)
    name = signed.replace(sender, "").strip(" \"'<>()")
    return (
        pattern("daemon").search(sender[: sender.rfind("@") + 1]) is None
        and pattern("daemon").fullmatch(name) is None
    )


def says_itself_automatic(view: View) -> bool:
    """Whether a mailbox, not a mail system, says in the subject that it answered by itself."""
    return not view.daemon and view.titled("auto_reply_itself") and not view.report_subject


def weigh(view: View) -> int:
    """What the headers alone say for a mail system (positive) or a person (negative)."""
    points = 2 * view.daemon + 2 * view.null_sender + 2 * view.report_subject
    points += view.report + view.automatic + view.unanswerable
    if not view.daemon:
        points -= 3 * view.reply_subject + 2 * (
            bool(view.message.header("in-reply-to")) and not view.null_sender
        )
    return points

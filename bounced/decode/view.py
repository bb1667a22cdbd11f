"""A message as the decoders look at it: each question that several ask is answered once."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Final

from bounced.automaton import Lists, Passage
from bounced.decode import formats
from bounced.decode.original import BORDER, border, borders, naming, returned_fields
from bounced.decode.words import pattern
from bounced.smtp import first_address

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bounced.decode.notice import Surroundings
    from bounced.message import Headers, Message

# What of a notice is listened to; nobody says more before coming to the point.
MOST: Final = 20_000
# What is asked of the beginning, be it the notice's or not, asks of no more.
_BEGINNING: Final = 6_000
# Where what is returned begins farther down it is looked for a second time.
_WINDOW: Final = 4_000

# The word lists by which notices are known, and those by which the answers of mailboxes are: what
# a mail system signs is never asked for the latter, which take a while to make ready.
_OF_NOTICES: Final = (
    "auto_reply_itself", "delay_subject", "delayed", "delivered", "failure", "final",
    "own_mailbox", "report_subject", "undelivered", "went_on",
)  # fmt: skip
_OF_REPLIES: Final = ("auto_reply", "challenge", "complaint", "list_manager", "parcels")
AUTO_SUBJECT: Final = "auto_reply_subject"
_BEGINNINGS: Final = "beginnings"


@cache
def _notices() -> Lists:
    return Lists({name: pattern(name) for name in _OF_NOTICES})


@cache
def _replies() -> Lists:
    lists = {name: pattern(name) for name in _OF_REPLIES}
    lists[AUTO_SUBJECT] = pattern(AUTO_SUBJECT, begins=r"(?:^|[\[(:\s])")
    return Lists(lists)


@cache
def _structure() -> Lists:
    """What is asked of every notice, be it beside a standard report."""
    return Lists({BORDER: borders(), _BEGINNINGS: formats.beginnings()})


@lru_cache(1_024)
def _title(subject: str) -> Passage:
    """A subject; a program gives all its reports the same few."""
    return Passage(_notices(), subject)


class View:
    """What headers and words of a message say to whoever asks.

    `automatic` is whether the message says of itself that a program wrote it (RFC 3834, 5),
    `report` whether it has the form of a report (RFC 6522). `believed` and `around` are kept here
    by those who work them out.
    """

    __slots__ = (
        "_addressed", "_begin", "_daemon", "_failure", "_fields", "_null_sender",
        "_report_subject", "_said", "_structured", "_takes_bounces", "_titled", "_told",
        "_written", "_wrote", "around", "automatic", "believed", "message", "report", "subject",
    )  # fmt: skip

    def __init__(self, message: Message) -> None:
        self.message: Final = message
        self.subject: Final = _untagged(message.header("subject"))
        submitted = message.header("auto-submitted").lower()
        self.automatic: Final = bool(submitted) and not submitted.startswith("no")
        self.report: Final = message.content_type == "multipart/report"
        self.believed: bool | None = None
        self.around: Surroundings | None = None
        self._titled: Passage | None = None
        self._structured: Passage | None = None
        self._told: Passage | None = None
        self._wrote: Passage | None = None
        self._begin: Final = len(self.subject) + 1
        self._said: str | None = None
        self._fields: Headers | None = None
        self._written: Headers | None = None
        self._addressed: Headers | None = None
        self._daemon: bool | None = None
        self._null_sender: bool | None = None
        self._report_subject: bool | None = None
        self._takes_bounces: bool | None = None
        self._failure: bool | None = None

    # --- the notice, and what it returns ---

    def _divide(self) -> str:
        text = self.message.text()
        near = text if len(text) <= _WINDOW else text[: text.rfind("\n", 0, _WINDOW) + 1]
        passage = Passage(_structure(), near)
        at = border(text, passage)
        if at is None and len(near) < len(text):
            passage = Passage(_structure(), text)
            at = border(text, passage)
        self._structured = passage
        self._said = text if at is None else text[:at]
        return self._said

    @property
    def said(self) -> str:
        """The notice without the mail that it returns."""
        return self._divide() if self._said is None else self._said

    def _behind(self) -> str:
        return self.message.text()[len(self.said) :]

    @property
    def fields(self) -> Headers:
        """The headers of the returned mail."""
        if self._fields is None:
            self._fields = returned_fields(self.message, self._behind)
        return self._fields

    @property
    def written(self) -> Headers:
        """The headers that name who wrote the message and who received it."""
        if self._written is None:
            self._written = naming(self.message.headers)
        return self._written

    @property
    def addressed(self) -> Headers:
        """Those of the returned mail that do."""
        if self._addressed is None:
            self._addressed = naming(self.fields)
        return self._addressed

    # --- words ---

    def _heard(self) -> Passage:
        """The subject, and the notice from `_begin` on."""
        if self._told is None:
            self._told = Passage(_notices(), f"{self.subject}\n{self.said[:MOST]}")
        return self._told

    def _seen(self) -> Passage:
        """The subject, and the beginning of the text, whoever wrote it, from `_begin` on."""
        if self._wrote is None:
            text = f"{self.subject}\n{self.message.text()[:_BEGINNING]}"
            self._wrote = Passage(_replies(), text)
        return self._wrote

    def titled(self, name: str) -> bool:
        """Whether the subject holds something of that list, one of notices."""
        if self._titled is None:
            short = len(self.subject) <= 200
            self._titled = (_title if short else _title.__wrapped__)(self.subject)
        return self._titled.holds(name, 0, len(self.subject))

    def says(self, name: str, most: int) -> bool:
        """Whether the first `most` characters of the notice do."""
        return self._heard().holds(name, self._begin, self._begin + min(most, len(self.said)))

    def told(self, name: str, most: int) -> bool:
        """Whether the subject and the first `most` characters of the notice do, as one text."""
        return self._heard().holds(name, 0, self._begin + min(most, len(self.said)))

    def answers(self, name: str, most: int) -> bool:
        """Whether the first `most` (or 6,000) characters hold something of a list of replies."""
        return self._seen().holds(name, self._begin, self._begin + most)

    def answers_titled(self, name: str) -> bool:
        """Whether the subject does."""
        return self._seen().holds(name, 0, len(self.subject))

    def answers_told(self, name: str, most: int) -> bool:
        """Whether the subject and the first `most` characters do, as one text."""
        return self._seen().holds(name, 0, self._begin + most)

    def beginnings(self) -> Iterator[int]:
        """Which of `formats.beginnings()` the notice holds, lowest first."""
        end = min(MOST, len(self.said))  # which finds what notices begin with, too
        assert self._structured is not None  # noqa: S101 - a mistake of ours
        return self._structured.standing(_BEGINNINGS, 0, end)

    def speaks_of_failure(self) -> bool:
        """Whether the notice does, in whatever language."""
        if self._failure is None:
            self._failure = any(self.says(name, MOST) for name in FAILURE)
        return self._failure

    # --- who wrote it ---

    @property
    def daemon(self) -> bool:
        """Whether a mail system signs it."""
        if self._daemon is None:
            sender = self.message.header("from") or self.message.header("sender")
            short = len(sender) <= 200
            self._daemon = (_daemon if short else _daemon.__wrapped__)(sender)
        return self._daemon

    @property
    def null_sender(self) -> bool:
        """Whether its envelope sender was empty (RFC 5321, 4.5.5)."""
        if self._null_sender is None:
            self._null_sender = any(
                value.strip() in ("<>", "") for value in self.message.all_headers("return-path")
            )
        return self._null_sender

    @property
    def unanswerable(self) -> bool:
        """Whether it says that nobody reads what is answered to it."""
        sender = self.message.header("from")
        return _TO_REPLY.search(sender) is not None and _UNREAD.search(sender) is not None

    @property
    def report_subject(self) -> bool:
        if self._report_subject is None:
            self._report_subject = self.titled("report_subject") or self.titled("undelivered")
        return self._report_subject

    @property
    def reply_subject(self) -> bool:
        """Whether a person answers or forwards."""
        return _ANSWER.match(self.subject) is not None

    @property
    def takes_bounces(self) -> bool:
        """Whether the mail takes its own bounces where it says that it comes from."""
        if self._takes_bounces is None:
            sender = first_address(self.message.header("from").lower())
            returns = self.message.all_headers("return-path") if sender else ()
            self._takes_bounces = sender in [value.strip(" <>").lower() for value in returns]
        return self._takes_bounces


FAILURE: Final = ("failure", "delayed", "undelivered")

_ANSWER: Final = re.compile(
    r"(?:re|fwd?|aw|wg|tr|rv|antw|sv|vs|enc|回复|回覆|答复|转发|轉寄)\s{0,80}(?:\[\d+\])?\s{0,80}[:：]",
    re.IGNORECASE,
)


# what filters on the way write before a subject: `[SPAM]`, `***SPAM***`, `{Spam?}`, `EXTERNAL:`
_TAG: Final = re.compile(
    r"[ \t]{0,4}(?:\*{2,5}|[\[({<])[^\[\](){}<>*\n]{1,40}(?:\*{2,5}|[\])}>])[ \t:]{0,4}"
    r"|[ \t]{0,4}(?:spam|external|ext)[ \t]?:[ \t]{0,4}",
    re.IGNORECASE,
)
_FILTERED: Final = re.compile(
    r"spam|extern|\bext\b|bulk|junk|suspect|suspicious|phish|unsafe|werbung", re.IGNORECASE
)


def _untagged(subject: str) -> str:
    """A subject without the marks of filters, where anything is left of it."""
    begin = 0
    while (tag := _TAG.match(subject, begin)) is not None and _FILTERED.search(tag[0]):
        begin = tag.end()
    return subject[begin:] or subject


# words of the next, by which it is seen ten times as fast that they are not there
_TO_REPLY: Final = re.compile(r"re(?:ply|sp|pond)", re.IGNORECASE)
_UNREAD: Final = re.compile(
    r"\b(?:no|do[-_.]?not|ne[-_.]?pas)[-_.]?(?:reply|respond|repondre|responda|responder)[^@]{0,20}@"
    r"|noreply",
    re.IGNORECASE,
)


@lru_cache(1_024)
def _daemon(sender: str) -> bool:
    address = first_address(sender)
    name = sender.replace(address, "").strip(" \"'<>()")
    # what a host is called tells nothing: "mailer.example.com" has people, too
    account = address[: address.rfind("@") + 1]
    found = pattern("daemon").search(account) if address else None
    if found and found.re.match(sender, sender.find(account) + found.start()):
        return True  # as it stands there, it stands in the whole
    if found or not address:
        return pattern("daemon").search(sender) is not None
    # a person may be called Daemon, and a newsletter Postmaster Digest
    found = pattern("daemon").search(name)
    return found is not None and len(found[0]) * 10 >= len(name) * 6

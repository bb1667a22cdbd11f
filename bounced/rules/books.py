"""Rules and the books they are written in: TOML in, frozen rules out, every mistake at once."""

from __future__ import annotations

import difflib
import hashlib
import re
import tomllib
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from functools import cache
from importlib.resources import files
from itertools import product
from typing import TYPE_CHECKING, Any, Final, TypeVar

from bounced.model import EnhancedStatus, Fault, Outcome, Reason
from bounced.rules.folding import fold, spell

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from importlib.resources.abc import Traversable
    from pathlib import Path

Choice = TypeVar("Choice", bound=StrEnum)


class RuleError(ValueError):
    """Books that cannot be used; the message names every mistake, one a line."""


class Level(IntEnum):
    """How good a kind of evidence is; smaller is better, and comes first."""

    OPERATOR = 0
    PROVIDER = 1
    PHRASE = 2
    STATUS = 3
    CODE = 4


# Whose fault a reason is unless the rule says otherwise.
FAULTS: Final[Mapping[Reason, Fault]] = {
    reason: fault
    for fault, reasons in {
        Fault.RECIPIENT: "user_unknown bad_address_syntax host_unknown null_mx mailbox_disabled "
        "user_moved owner_changed mailbox_full mailbox_full_persistent recipient_refused "
        "recipient_rate_limited complaint",
        Fault.RECIPIENT_SYSTEM: "mailbox_unavailable_temp greylisted system_full system_busy "
        "system_unavailable system_error routing_loop eai_unsupported",
        Fault.SENDER: "rate_limited ip_blocked domain_blocked sender_blocked sender_rejected "
        "sender_dns sender_dns_ptr auth_failure spam_block policy_block relay_denied "
        "auth_required auth_failed protocol_error tls_required tls_failed too_many_recipients",
        Fault.MESSAGE: "message_too_big spam_content virus_detected content_rejected "
        "attachment_rejected",
        Fault.NETWORK: "network_error dns_failure expired",
        Fault.UNKNOWN: "provider_suppressed undetermined",
        Fault.NONE: "not_a_failure auto_reply challenge_response mdn delayed delivered relayed "
        "expanded not_a_bounce",
    }.items()
    for reason in map(Reason, reasons.split())
}

# How often a level's word is right where a rule does not say it itself: (hard, anything else).
_CONFIDENCE: Final[Mapping[Level, tuple[float, float]]] = {
    Level.OPERATOR: (1.0, 1.0),
    Level.PROVIDER: (0.97, 0.95),
    Level.PHRASE: (0.95, 0.9),
    Level.STATUS: (0.8, 0.6),
    Level.CODE: (0.5, 0.4),
}

# How many characters of a masked text `…` may stand for: a clause, not a page.
REACH: Final = 60

# A phrase of so few letters stands for a whole word only: it begins too many others.
_WHOLE: Final = 3


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words that must stand in the text in this order, each near the one before.

    `pieces` are spelt as `folding.spell` spells a reply. A piece begins where a word begins and
    may end inside one, so that `block` finds `blocked`; a phrase of three letters or fewer is a
    whole word (`ube` is not in `überprüfen`).
    """

    pieces: tuple[str, ...]

    def in_words(self, words: str) -> bool:
        """Whether the words hold the phrase. Linear in them: `…` reaches only so far."""
        first, *rest = self.pieces
        if not rest:
            return first in words
        ends = set(_ends(first, words, 0, len(words)))
        for piece in rest:
            reach = REACH + len(piece)
            ends = {end for begin in ends for end in _ends(piece, words, begin, begin + reach)}
        return bool(ends)


def _ends(piece: str, words: str, begin: int, end: int) -> Iterator[int]:
    while (found := words.find(piece, begin, end)) >= 0:
        yield found + len(piece)
        begin = found + 1


@dataclass(frozen=True, slots=True)
class StatusMask:
    """An enhanced status in which a part may be open (`x.1.1`, `5.7.x`, `5.7.700-749`)."""

    class_: int | None
    subject: int | None
    detail: range

    def fits(self, status: EnhancedStatus) -> bool:
        """Whether every part that the mask fixes is the status's own."""
        return (
            self.class_ in (None, status.class_)
            and self.subject in (None, status.subject)
            and status.detail in self.detail
        )


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """One piece of judgement with the texts that taught it to us.

    What is empty does not narrow; where several kinds of narrowing are given all must fit, and
    within one kind any; `unless` is the exception. `says`, `unless` and `pattern` read the masked
    words, `mentions` the text with its names. `examples` are replies the rule must win,
    `counterexamples` replies it must lose; `line` is where the rule begins in its book.
    """

    id: str
    outcome: Outcome
    reason: Reason
    because: str
    source: str
    fault: Fault
    confidence: float
    level: Level
    book: str
    line: int = 0
    says: tuple[Phrase, ...] = ()
    unless: tuple[Phrase, ...] = ()
    mentions: tuple[str, ...] = ()
    pattern: re.Pattern[str] | None = None
    code: tuple[range, ...] = ()
    status: tuple[StatusMask, ...] = ()
    command: tuple[str, ...] = ()
    provider: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()
    counterexamples: tuple[str, ...] = ()

    def fits_code(self, code: int | None) -> bool:
        """Whether the rule's `code` leaves room for a reply's code."""
        return not self.code or (code is not None and any(code in codes for codes in self.code))

    def fits_status(self, status: EnhancedStatus | None) -> bool:
        """Whether the rule's `status` leaves room for an enhanced status."""
        return not self.status or (
            status is not None and any(fixed.fits(status) for fixed in self.status)
        )

    @property
    def means_temporary(self) -> bool:
        """Whether the rule names 4xx replies itself; only then may it call one hard."""
        return any(400 <= codes.start < 500 for codes in self.code) or any(
            status.class_ in (None, 4) for status in self.status
        )


_HEADER: Final = re.compile(r"\s*\[\[\s*rule\s*\]\]")


def _beginnings(text: str, count: int) -> list[int]:
    """The line on which each entry begins; 0 where the page is written in an unusual way."""
    found = [at for at, line in enumerate(text.splitlines(), 1) if _HEADER.match(line)]
    return found if len(found) == count else [0] * count


_STATUS: Final = re.compile(r"([245x])\.(\d{1,3}|x)\.(?:(\d{1,3})(?:-(\d{1,3}))?|x)")

REQUIRED: Final = ("id", "outcome", "reason", "because", "source", "examples")
OPTIONAL: Final = (
    "says", "unless", "mentions", "pattern", "code", "status", "command", "provider", "fault",
    "confidence", "counterexamples",
)  # fmt: skip
_NARROWING: Final = ("says", "mentions", "pattern", "code", "status", "command", "provider")


@dataclass(slots=True)
class _Reader:
    """Reads the entries of one book and remembers what was wrong with them."""

    book: str
    level: Level
    mistakes: list[str]
    where: str = ""
    line: int = 0
    entry: dict[str, Any] = field(default_factory=dict)

    def rules(self, text: str) -> Iterator[Rule]:
        try:
            content = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            self.mistakes.append(f"{self.book}: not TOML: {error}")
            return
        for key in content.keys() - {"rule"}:
            self.mistakes.append(f"{self.book}: unknown table {key!r}; a book holds [[rule]] only")
        entries = content.get("rule", [])
        if not isinstance(entries, list) or not all(isinstance(one, dict) for one in entries):
            self.mistakes.append(f"{self.book}: write each rule as [[rule]]")
            return
        lines = _beginnings(text, len(entries))
        for number, self.entry in enumerate(entries, 1):
            self.line = lines[number - 1]
            self.where = f"{self.book}: rule {self.entry.get('id', f'number {number}')!r}"
            before = len(self.mistakes)
            self._keys()
            rule = self._rule() if len(self.mistakes) == before else None
            if rule is not None and len(self.mistakes) == before:
                yield rule

    def _wrong(self, what: str) -> None:
        self.mistakes.append(f"{self.where}: {what}")

    def _keys(self) -> None:
        known = REQUIRED + OPTIONAL
        for key in self.entry.keys() - set(known):
            self._wrong(f"unknown key {key!r}{nearest(key, known)}")
        for key in REQUIRED:
            if not self.entry.get(key):
                self._wrong(f"{key!r} is missing or empty")
        if not any(self.entry.get(key) for key in _NARROWING):
            self._wrong(
                "fits every reply; say when it applies with one of " + ", ".join(_NARROWING)
            )

    def _rule(self) -> Rule:
        outcome = self._choice("outcome", Outcome, Outcome.SOFT)
        reason = self._choice("reason", Reason, Reason.UNDETERMINED)
        sure = _CONFIDENCE[self.level][outcome is not Outcome.HARD]
        return Rule(
            id=self._text("id"),
            outcome=outcome,
            reason=reason,
            because=self._text("because"),
            source=self._text("source"),
            fault=self._choice("fault", Fault, FAULTS[reason]),
            confidence=self._confidence(sure),
            level=self.level,
            book=self.book,
            line=self.line,
            says=self._phrases("says"),
            unless=self._phrases("unless"),
            mentions=tuple(fold(name) for name in self._texts("mentions")),
            pattern=self._pattern(),
            code=tuple(self._code(code) for code in self._texts("code")),
            status=tuple(self._status(status) for status in self._texts("status")),
            command=tuple(command.upper() for command in self._texts("command")),
            provider=tuple(fold(domain).lstrip(".") for domain in self._texts("provider")),
            examples=self._texts("examples"),
            counterexamples=self._texts("counterexamples"),
        )

    def _text(self, key: str) -> str:
        value = self.entry[key]
        if isinstance(value, str):
            return value
        self._wrong(f"{key!r} must be a text, not {value!r}")
        return ""

    def _texts(self, key: str) -> tuple[str, ...]:
        value = self.entry.get(key, [])
        several = value if isinstance(value, list) else [value]
        if not all(isinstance(one, str) and one.strip() for one in several):
            self._wrong(f"{key!r} must be a text or a list of texts, none of them empty")
            return ()
        return tuple(several)

    def _choice(self, key: str, choices: type[Choice], default: Choice) -> Choice:
        value = self.entry.get(key, default.value)
        valid = [choice.value for choice in choices]
        if value in valid:
            return choices(value)
        self._wrong(f"{key} = {value!r} is not one of ours{nearest(str(value), valid)}")
        return default

    def _confidence(self, default: float) -> float:
        value = self.entry.get("confidence", default)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1:
            return float(value)
        self._wrong(f"confidence = {value!r} must be a number from 0 to 1")
        return default

    def _phrases(self, key: str) -> tuple[Phrase, ...]:
        return tuple(phrase for said in self._texts(key) for phrase in self._read(said, key))

    def _read(self, said: str, key: str) -> Iterator[Phrase]:
        """What one entry stands for: `a|b … c|d` is `a … c`, `a … d`, `b … c` and `b … d`."""
        choices = [list(map(_piece, piece.split("|"))) for piece in said.split("…")]
        if not all(piece.strip() for pieces in choices for piece in pieces):
            self._wrong(f"{key} = {said!r} has nothing on one side of '…' or '|'")
        for pieces in product(*choices):
            yield Phrase((_whole(pieces[0]),) if len(pieces) == 1 else pieces)

    def _pattern(self) -> re.Pattern[str] | None:
        pattern = self.entry.get("pattern")
        if pattern is None:
            return None
        try:
            return re.compile(pattern)
        except (re.error, TypeError) as error:
            self._wrong(f"pattern = {pattern!r} is no regular expression: {error}")
            return None

    def _code(self, code: str) -> range:
        found = re.fullmatch(r"([2-5]\d\d)(?:-([2-5]\d\d))?", code)
        if not found or int(found[2] or found[1]) < int(found[1]):
            self._wrong(f'code = {code!r} must look like "550" or "550-559"')
            return range(0)
        return range(int(found[1]), int(found[2] or found[1]) + 1)

    def _status(self, status: str) -> StatusMask:
        found = re.fullmatch(
            r"([245x])\.(\d{1,3}|x)\.(?:(\d{1,3})(?:-(\d{1,3}))?|x)", status.lower()
        )
        if not found:
            self._wrong(f'status = {status!r} must look like "5.1.1", "x.1.1" or "5.7.700-749"')
            return StatusMask(0, 0, range(0))
        class_, subject, low, high = found.groups()
        return StatusMask(
            None if class_ == "x" else int(class_),
            None if subject == "x" else int(subject),
            range(1000) if low is None else range(int(low), int(high or low) + 1),
        )


def _piece(piece: str) -> str:
    """A phrase's piece as a reply would be spelt: a Latin word must begin where a word begins."""
    if _SPELT.fullmatch(piece) and not _NEGATED.search(piece):
        return f" {' '.join(piece.split())}"
    spelt = spell(fold(piece)).strip()
    return f" {spelt}" if spelt[:1].isascii() else spelt


# Words that are spelt already, as in most phrases: thousands are read before the first letter is.
_SPELT: Final = re.compile(r"[a-z0-9 ]*[a-z0-9][a-z0-9 ]*")
_NEGATED: Final = re.compile(r"nt|cannot|dos")


def _whole(piece: str) -> str:
    """A piece that is a whole phrase: one word of few letters must end where a word ends."""
    return f"{piece} " if piece[:1] == " " and 1 < len(piece) <= _WHOLE + 1 else piece


def nearest(word: str, valid: Iterable[str]) -> str:
    """A hint for a person who mistyped: `; did you mean 'status'?`, or the choice there is."""
    valid = list(valid)
    close = difflib.get_close_matches(word, valid, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; choose from {', '.join(valid)}"


def read_book(book: str, text: str, level: Level, mistakes: list[str]) -> tuple[Rule, ...]:
    """The rules of one book in the order of the page; what is wrong is added to `mistakes`."""
    return tuple(_Reader(book, level, mistakes).rules(text))


def _own_books() -> Iterator[tuple[Level, str, Traversable]]:
    """Our books, best evidence first. Files of one level come by name."""
    here = files("bounced.rules")
    for level, shelf in ((Level.PROVIDER, "providers"), (Level.PHRASE, "phrases")):
        for page in sorted(here.joinpath(shelf).iterdir(), key=lambda page: page.name):
            if page.name.endswith(".toml"):
                yield level, f"{shelf}/{page.name}", page
    yield Level.STATUS, "statuses.toml", here.joinpath("statuses.toml")
    yield Level.CODE, "codes.toml", here.joinpath("codes.toml")


@cache
def own_rules() -> tuple[Rule, ...]:
    """Our own rules in order of evidence. Raises RuleError (which a test rules out)."""
    mistakes: list[str] = []
    rules = tuple(
        rule
        for level, book, page in _own_books()
        for rule in read_book(book, page.read_text("utf-8"), level, mistakes)
    )
    _refuse(mistakes + _twins(rules))
    return rules


def operator_pages(
    paths: Iterable[Path], mistakes: list[str] | None = None
) -> list[tuple[str, bytes]]:
    """The operator's pages, name and content.

    What cannot be read is added to `mistakes`, or else a RuleError that names all of it.
    """
    wrong: list[str] = []
    pages: list[tuple[str, bytes]] = []
    for path in paths:
        try:
            pages.append((path.name, path.read_bytes()))
        except OSError as error:
            wrong.append(f"{path.name}: cannot be read: {error.strerror}")
            if isinstance(error, FileNotFoundError):
                wrong[-1] += f"; to begin an empty book, type: touch {path.name}"
    if mistakes is None:
        _refuse(wrong)
    else:
        mistakes += wrong
    return pages


def operator_rules(paths: Iterable[Path]) -> tuple[Rule, ...]:
    """The operator's rules in the order of the files given. RuleError names all mistakes."""
    mistakes: list[str] = []
    pages: list[tuple[str, str]] = []
    for name, content in operator_pages(paths, mistakes):
        try:
            pages.append((name, content.decode("utf-8")))
        except UnicodeDecodeError:
            mistakes.append(f"{name}: cannot be read: TOML must be UTF-8")
    return written_rules(pages, mistakes)


def written_rules(
    pages: Iterable[tuple[str, str]], mistakes: Iterable[str] = ()
) -> tuple[Rule, ...]:
    """The operator's rules as his pages (name and text) have them. RuleError names all mistakes."""
    found = list(mistakes)
    rules = [rule for name, text in pages for rule in read_book(name, text, Level.OPERATOR, found)]
    _refuse(found + _twins((*rules, *own_rules())))
    return tuple(rules)


def _twins(rules: Iterable[Rule]) -> list[str]:
    seen: dict[str, str] = {}
    twins = []
    for rule in rules:
        if rule.id in seen:
            twins.append(f"{rule.book}: rule {rule.id!r} has the id of a rule in {seen[rule.id]}")
        seen.setdefault(rule.id, rule.book)
    return twins


def _refuse(mistakes: list[str]) -> None:
    if mistakes:
        raise RuleError("\n".join(mistakes))


def content_version(pages: Iterable[tuple[str, bytes]]) -> str:
    """A short name for exactly these pages: twelve hex digits that change when any of them does."""
    digest = hashlib.sha256()
    for name, page in pages:
        digest.update(b"%s\0%d\0%s" % (name.encode(), len(page), page))
    return digest.hexdigest()[:12]


def own_version() -> str:
    """The version of our own books, the list of contra-indications among them."""
    pages = [(book, page.read_bytes()) for _, book, page in _own_books()]
    extra = files("bounced.rules").joinpath("contraindications.toml").read_bytes()
    return content_version([*pages, ("contraindications.toml", extra)])


@cache
def contraindications(key: str = "says") -> tuple[Phrase, ...]:
    """Words that forbid calling an address dead on weak evidence: one list of that book.

    `says` binds a code or a status alone, `elsewhere` the phrase books as well, and what `aside`
    names is passed over when `elsewhere` is looked for.
    """
    text = files("bounced.rules").joinpath("contraindications.toml").read_text("utf-8")
    return tuple(Phrase((_whole(_piece(said)),)) for said in tomllib.loads(text)[key])


def speaks_elsewhere(words: str) -> bool:
    """Whether a reply speaks of somebody or something else than the recipient."""
    for phrase in contraindications("aside"):
        words = words.replace(phrase.pieces[0], " ")
    return any(phrase.in_words(words) for phrase in contraindications("elsewhere"))


@cache
def vocabulary() -> frozenset[str]:
    """Every word that a phrase of ours is made of: never mistaken for somebody's name."""
    return frozenset(
        word
        for phrase in (
            *contraindications(),
            *contraindications("elsewhere"),
            *(said for rule in own_rules() for said in rule.says),
        )
        for piece in phrase.pieces
        for word in piece.split()
    )


def names_in(*addresses: str | None) -> frozenset[str]:
    """What mailboxes are called, where that cannot be mistaken for what a server says."""
    names = set()
    for address in filter(None, addresses):
        local = address.rpartition("@")[0]
        local = local.lower() if local.isascii() and local.isalnum() else fold(local)
        if len(local) > 2 and local not in vocabulary() and not local.isdigit():
            names.add(local)
    return frozenset(names)

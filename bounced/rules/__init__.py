"""What a server's answer means: replies in, verdicts out.

Judgement lives in the books beside this file (TOML), one rule a piece, each with the texts that
taught it to us; here is only the machine that reads them. Evidence is weighed in the order of the
books: the operator's own, then what a provider is known to mean, then what the words say, then the
enhanced status (RFC 3463), then command and reply code (RFC 5321). Within a book the first rule
that fits wins. Three laws hold whatever a book says: a temporary reply (4xx) is never hard unless
the rule names 4xx itself; a code alone is never hard against words that speak of something else;
and no saying is hard in a text that speaks of the sender (`contraindications.toml`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Final

from bounced.model import (
    Action,
    Bounce,
    Conclusion,
    EnhancedStatus,
    Fault,
    Kind,
    Outcome,
    Reason,
    RecipientReport,
    Reply,
    Report,
    Verdict,
)
from bounced.rules.books import (
    Level,
    Rule,
    RuleError,
    content_version,
    names_in,
    operator_pages,
    operator_rules,
    own_rules,
    own_version,
    vocabulary,
)
from bounced.rules.folding import evidence_in, fold
from bounced.rules.index import index_of
from bounced.smtp import addresses, is_address, parse_reply

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bounced.rules.index import Heard, RuleIndex

__all__ = [
    "RULES_VERSION",
    "Lapse",
    "Rule",
    "RuleError",
    "classify",
    "judge",
    "lapses",
    "matching",
    "rulebook",
    "rules_version",
    "unproven",
    "winner",
]

RULES_VERSION: Final = own_version()


def rules_version(extra: tuple[Path, ...] = ()) -> str:
    """The version of our books, with a second part where the operator's own books are read too.

    Raises RuleError where a book cannot be read.
    """
    if not extra:
        return RULES_VERSION
    own = content_version(operator_pages(extra))
    return f"{RULES_VERSION}+{own}"


_IGNORANCE: Final = Verdict(
    Outcome.SOFT,
    Reason.UNDETERMINED,
    Fault.UNKNOWN,
    0.2,
    "none/undetermined",
    "No rule knows this answer; the address keeps the benefit of the doubt.",
)

# A `Status:` that the reporting server made up from a bare reply code is hearsay: Sendmail writes
# 5.1.1 for every 550.
_HEARSAY: Final = 0.75
# How sure a forwarded recipient's dead end makes us of the recipient.
_FORWARDED: Final = 0.75

# Replies below it refuse nothing (RFC 5321, 4.2.1).
_FIRST_REFUSAL: Final = 400

# Commands that come before anyone has named the recipient: their answers cannot condemn him.
_BEFORE_RCPT: Final = frozenset({"CONN", "HELO", "EHLO", "STARTTLS", "AUTH", "MAIL"})
# A saying as vague as this, an unknown host, or a code alone, is not hard where the status is one
# of the system, of media or of security (RFC 3463, 2: subjects 3, 6 and 7).
_WEAK: Final = 0.8
_OTHER_SUBJECTS: Final = frozenset({3, 6, 7})
# Under a status of security "unknown" is believed only where no word speaks of security as well.
_SECURITY: Final = 7
# What words that condemn are worth under such a status: they and the number contradict each other.
_CONTRADICTED: Final = 0.85

# Sayings that name another mailbox and still speak of the recipient.
_OF_ANYBODY: Final = frozenset({Reason.USER_MOVED, Reason.PROVIDER_SUPPRESSED})
# "Bad destination mailbox" in the server's own words: the stranger that a reply names is then
# where the recipient's mail was sent on to. Less sure all the same: some say it of senders too.
_DESTINATION: Final = EnhancedStatus(5, 1, 1)

# Replies to AUTH (RFC 4954, 6): who is unknown or disabled there is the one who logs in.
_ABOUT_LOGIN: Final = frozenset({530, 534, 535, 538})
_STAGES: Final = {
    "but greeting failed": "CONN",
    "but my name was rejected": "HELO",
    "but sender was rejected": "MAIL",
    "does not like recipient": "RCPT",
    "failed on DATA command": "DATA",
    "failed after I sent the message": "DATA",
}

# Before an address that is only to be written to, or to be used instead.
_CONTACT: Final = re.compile(
    r"(?:\b(?:to|at|via|or|and|with|use|try|now|is|contact|ask|e?-?mail|write|see|please|report"
    r"|from|by|help|support|questions?|[a-z]*master)|mailto)\W{0,3}\Z",
    re.IGNORECASE,
)
# Mailboxes of staff (RFC 2142), recipients that gateways rename, and names put for any name.
_NOBODY: Final = re.compile(
    r"(?:postmaster|hostmaster|webmaster|mailmaster|abuse|support|help|admin|noc|security|info"
    r"|delist|unblock|removal|spam|tosa|contact|service|imceaex|x+|some(?:one|body)|user(?:name)?"
    r"|recipient|rcpt|address|e?mail|name)(?![a-z])",
    re.IGNORECASE,
)


@dataclass(slots=True)
class _Evidence:
    """One reply, prepared once for all rules."""

    said: str
    words: str
    heard: Heard
    code: int | None
    status: EnhancedStatus | None
    command: str | None
    hosts: tuple[str, ...]
    temporary: bool
    elsewhere: bool
    hearsay: bool
    text: str
    recipient: RecipientReport
    of_another: bool | None = None  # once it has been asked


def judge(report: Report, *, rules: tuple[Rule, ...] | None = None) -> Conclusion:
    """Give each recipient of a report its verdict. Never raises.

    `rules` is what `rulebook(extra)` returned; our own books where it is None.
    """
    return Conclusion(
        report,
        tuple(
            [
                Bounce(recipient, classify(recipient, report, rules=rules))
                for recipient in report.recipients
            ]
        ),
    )


def classify(
    recipient: RecipientReport,
    report: Report | None = None,
    *,
    rules: tuple[Rule, ...] | None = None,
) -> Verdict:
    """What one recipient's report means for the address. Never raises; ignorance is soft.

    Only failed deliveries are judged by the books; of everything else the kind of the report, or
    the recipient's own action, says enough (`kind/…` verdicts).
    """
    kind = _kind(recipient, report)
    if kind is Kind.COMPLAINT:
        return _feedback(recipient)
    if kind is not None and (said := _KINDS.get(kind)) is not None:
        return _explained(said, recipient, rules) if said.reason is Reason.DELAYED else said
    decisive, evidence = next(_ranked(recipient, rules), (None, None))
    if decisive is None or evidence is None:
        return _IGNORANCE
    return _verdict(decisive, evidence)


def matching(
    recipient: RecipientReport,
    report: Report | None = None,
    *,
    rules: tuple[Rule, ...] | None = None,
) -> Iterator[Rule]:
    """Every rule that fits, the winner first; none where no delivery failed."""
    if _kind(recipient, report) in _KINDS:
        return
    seen: set[str] = set()
    for rule, _ in _ranked(recipient, rules):
        if rule.id not in seen:
            seen.add(rule.id)
            yield rule


@cache
def rulebook(extra: tuple[Path, ...] = ()) -> tuple[Rule, ...]:
    """All rules in order of evidence, those of the operator's books (`extra`) first.

    Raises RuleError that names every mistake: unknown keys with the nearest valid one, values
    that are none, an id used twice, and an operator's rule that loses its own example.
    """
    rules = unproven(extra)
    lost = [
        f"{rule.book}: rule {rule.id!r} does not win its example {example!r}"
        for rule in rules
        if rule.level is Level.OPERATOR
        for example in rule.examples
        if winner(rule, example, rules) is not rule
    ]
    if lost:
        raise RuleError("\n".join(lost))
    return rules


def unproven(extra: tuple[Path, ...] = ()) -> tuple[Rule, ...]:
    """As `rulebook`, but whether the operator's rules win their examples is not asked."""
    return (*operator_rules(extra), *own_rules())


@dataclass(frozen=True, slots=True)
class Lapse:
    """An example that its rule does not win, or a counterexample (`wanted` False) that it wins."""

    rule: Rule
    text: str
    wanted: bool
    winner: Rule | None


def lapses(rules: tuple[Rule, ...]) -> Iterator[Lapse]:
    """Every example and counterexample that does not come out as its rule says."""
    for rule in rules:
        texts = [(text, True) for text in rule.examples]
        texts += [(text, False) for text in rule.counterexamples]
        for text, wanted in texts:
            found = winner(rule, text, rules)
            if (found is rule) is not wanted:
                yield Lapse(rule, text, wanted, found)


def winner(rule: Rule, example: str, rules: tuple[Rule, ...]) -> Rule | None:
    """Which rule decides an example of `rule`."""
    return next(matching(example_report(rule, example), rules=rules), None)


def example_report(rule: Rule, example: str) -> RecipientReport:
    """The recipient report that a rule's example stands for: the reply where the rule applies."""
    return RecipientReport(
        address="",
        reply=parse_reply(example, command=rule.command[0] if rule.command else None),
        remote_mta=f"mx.{rule.provider[0]}" if rule.provider else None,
    )


def _ranked(
    recipient: RecipientReport, rules: tuple[Rule, ...] | None
) -> Iterator[tuple[Rule, _Evidence]]:
    """Rules that fit with what they fit, best first.

    A reply that quotes another is judged by itself unless it only says that time ran out, or
    says less than the one it quotes.
    """
    rules = own_rules() if rules is None else rules
    index = index_of(rules)
    outer = _evidence(index, recipient, recipient.reply, recipient.best_status)
    quoted = recipient.reply.quoted
    if quoted is None:
        yield from _fitting(index, outer)
        return
    fitting = list(_fitting(index, outer))
    inner = _evidence(index, recipient, quoted, quoted.status)
    causes = list(_fitting(index, inner))
    if causes and (not fitting or _says_more(causes[0][0], fitting[0][0])):
        yield from causes
        yield from fitting
    else:
        yield from fitting
        yield from causes


def _fitting(index: RuleIndex, evidence: _Evidence) -> Iterator[tuple[Rule, _Evidence]]:
    codes = (evidence.code, evidence.status, evidence.command)
    candidates = index.candidates(evidence.heard, evidence.said, codes, evidence.hosts)
    for rule in candidates:
        if _fits(rule, evidence):
            yield rule, evidence


def _says_more(inner: Rule, outer: Rule) -> bool:
    if outer.reason is Reason.EXPIRED:
        return inner.level < Level.CODE and inner.reason is not Reason.UNDETERMINED
    return outer.level >= Level.STATUS and inner.level < outer.level


def _evidence(
    index: RuleIndex, recipient: RecipientReport, reply: Reply, status: EnhancedStatus | None
) -> _Evidence:
    names = names_in(recipient.address, recipient.original_address)
    said = fold(reply.text)
    spelt = _spelt(*_without_own(said, recipient.address.lower(), names))
    heard = index.heard(spelt)
    classes = [reply.code // 100] if reply.code else []
    classes += [reply.status.class_] if reply.status else []
    if not classes and status is not None:
        classes = [status.class_]
    domain = recipient.address.rpartition("@")[2]
    return _Evidence(
        said=said,
        words=spelt,
        heard=heard,
        code=reply.code,
        status=status,
        command=reply.command or _stage(reply.text),
        hosts=tuple(
            [name for host in (recipient.remote_mta, domain) if host and (name := _host(host))]
        ),
        temporary=4 in classes,
        elsewhere=heard.elsewhere or reply.code in _ABOUT_LOGIN,
        hearsay=reply.status is None and reply.code is not None,
        text=reply.text,
        recipient=recipient,
    )


@lru_cache(4_096)
def _spelt(folded: str, names: frozenset[str]) -> str:
    """What is evidence in a reply; servers say the same of many recipients."""
    return evidence_in(folded, names=names, vocabulary=vocabulary())


# An address that masking takes out whole, and one like it, which is taken out in the same way.
_MASKED_WHOLE: Final = re.compile(r"[a-z0-9_+.-]{1,64}@[a-z0-9.-]{1,255}")
_ANY: Final = "<a@b>"
_UNNAMED: Final = frozenset({"\0"})


def _without_own(folded: str, own: str, names: frozenset[str]) -> tuple[str, frozenset[str]]:
    """A folded reply with any address for the recipient's own, and `names` where any stands there.

    What is evidence in it stays the same, and is the same for all whom the server answered so.
    """
    marked = f"<{own}>"
    if marked in folded and _MASKED_WHOLE.fullmatch(own):
        folded = folded.replace(marked, _ANY)
    for name in names:
        if " " in name or name in folded:
            return folded, names
    return folded, _UNNAMED if names else names


def _said_of_another(evidence: _Evidence) -> bool:
    """Whether a reply names mailboxes, the first of them no contact, and none is the recipient's.

    "User unknown" is then said of whoever is named, most often the sender. Kin to the recipient
    is a mailbox of the same domain, or one whose name is the same or a part of the same.
    """
    text = evidence.text
    if "@" not in text or _names(text, evidence.recipient.address):
        return False
    own = [
        one.casefold().rpartition("@")
        for one in (evidence.recipient.address, evidence.recipient.original_address)
        if one and "@" in one
    ]
    found = list(addresses(text)) if own else []
    if not found or _CONTACT.search(text, max(0, found[0].start() - 16), found[0].start()):
        return False
    named = [one[0].casefold().rpartition("@") for one in found]
    return not any(
        _NOBODY.match(local)
        or any(mine in local or local in mine for mine, _, _ in own)
        or any(_within(domain, host) or _within(host, domain) for _, _, host in own)
        for local, _, domain in named
    )


def _names(text: str, address: str) -> bool:
    """Whether the recipient stands in a reply as servers write it: what is searched for first."""
    return f"<{address}>" in text and '"' not in text and is_address(address)


def _stage(text: str) -> str | None:
    """The command that was answered, in the words of qmail, which names none."""
    for words, command in _STAGES.items():
        if words in text:
            return command
    return None


def _host(name: str) -> str:
    """A host as reports write it (`dns; mx1.example.com (192.0.2.1)`), bare and lower-case."""
    bare = name.rpartition(";")[2].strip().split()
    return bare[0].strip(".[]<>").lower() if bare else ""


def _fits(rule: Rule, evidence: _Evidence) -> bool:
    """Whether a rule that the index found fits in what the index does not know."""
    if rule.pattern is not None and rule.pattern.search(evidence.words) is None:
        return False
    return rule.outcome is not Outcome.HARD or _may_be_hard(rule, evidence)


def _may_be_hard(rule: Rule, evidence: _Evidence) -> bool:
    taken = evidence.code is not None and evidence.code < _FIRST_REFUSAL
    if taken or (evidence.temporary and not rule.means_temporary):
        return False
    if evidence.command in _BEFORE_RCPT and not rule.command and rule.reason is not Reason.NULL_MX:
        return False
    vague = rule.level is Level.PHRASE and (
        rule.confidence < _WEAK or rule.reason is Reason.HOST_UNKNOWN
    )
    if (vague or rule.level is Level.CODE) and _of_other_subject(evidence):
        return False
    if evidence.elsewhere and rule.level > Level.OPERATOR:
        return rule.reason is Reason.PROVIDER_SUPPRESSED  # said by our own side, of our account
    bound = rule.level >= Level.STATUS or (
        rule.reason is Reason.USER_UNKNOWN
        and rule.level is Level.PHRASE
        and evidence.status is not None
        and evidence.status.subject == _SECURITY
    )
    if bound and evidence.heard.contraindicated:
        return False
    destination = evidence.status == _DESTINATION and not evidence.hearsay
    return destination or not _doubtful(rule, evidence)


def _of_other_subject(evidence: _Evidence) -> bool:
    return evidence.status is not None and evidence.status.subject in _OTHER_SUBJECTS


def _doubtful(rule: Rule, evidence: _Evidence) -> bool:
    """Whether what the rule concludes of the recipient may have been said of somebody else."""
    if rule.level is Level.OPERATOR or rule.reason in _OF_ANYBODY:
        return False
    if evidence.of_another is None:
        evidence.of_another = _said_of_another(evidence)
    return evidence.of_another


def _within(host: str, domain: str) -> bool:
    return host == domain or host.endswith(f".{domain}")


def _verdict(rule: Rule, evidence: _Evidence) -> Verdict:
    sure = rule.confidence
    if rule.level is Level.STATUS and evidence.hearsay:
        sure = min(sure, _HEARSAY)
    if rule.outcome is Outcome.HARD and _doubtful(rule, evidence):
        sure = min(sure, _FORWARDED)
    if rule.outcome is Outcome.HARD and rule.level is Level.PHRASE and _of_other_subject(evidence):
        sure = min(sure, _CONTRADICTED)
    return Verdict(rule.outcome, rule.reason, rule.fault, sure, rule.id, rule.because)


def _kind(recipient: RecipientReport, report: Report | None) -> Kind | Action | None:
    kind = Kind.BOUNCE if report is None else report.kind
    if kind in (Kind.BOUNCE, Kind.DELIVERY):
        return (
            recipient.action
            if recipient.action is not Action.FAILED or kind is Kind.BOUNCE
            else kind
        )
    return kind


def _feedback(recipient: RecipientReport) -> Verdict:
    """What a feedback report means: only a complaint of the reader's own ends his subscription.

    Its type (RFC 5965, 7.3) is what the report said of the recipient (`feedback-type: abuse`),
    and as such on record; where it is missing the report is a complaint.
    """
    field, _, value = recipient.reply.text.partition(":")
    told = value.strip().lower()
    if field.strip().lower() != "feedback-type" or not told or told in _COMPLAINTS:
        return _KINDS[Kind.COMPLAINT]
    return _OTHER_FEEDBACK.get(told, _UNKNOWN_FEEDBACK)


def _explained(
    delayed: Verdict, recipient: RecipientReport, rules: tuple[Rule, ...] | None
) -> Verdict:
    """A delay with the cause in words, where the books know it."""
    cause = next((rule for rule, _ in _ranked(recipient, rules) if rule.level < Level.CODE), None)
    if cause is None:
        return delayed
    because = f"{delayed.because} So far: {cause.because}"
    return Verdict(
        delayed.outcome, delayed.reason, delayed.fault, delayed.confidence, delayed.rule, because
    )


def _nothing_failed(rule: str, reason: Reason, fault: Fault, because: str) -> Verdict:
    return Verdict(Outcome.NONE, reason, fault, 1.0, f"kind/{rule}", because)


# Types of feedback by which a reader says that he does not want the mail.
_COMPLAINTS: Final = frozenset(
    {"abuse", "fraud", "phishing", "spam", "opt-out", "opt-out-list", "unsubscribe"}
)
_OTHER_FEEDBACK: Final = {
    told: _nothing_failed(f"feedback-{told}", Reason.NOT_A_FAILURE, Fault.NONE, because)
    for told, because in {
        "not-spam": "The reader says that the message is not spam (RFC 6430): no complaint.",
        "virus": "A filter found a virus in the message (RFC 5965): no wish of the reader's.",
        "auth-failure": "A server reports a failed signature (RFC 6591): no wish of the reader's.",
    }.items()
}
_UNKNOWN_FEEDBACK: Final = _nothing_failed(
    "feedback-other",
    Reason.NOT_A_FAILURE,
    Fault.NONE,
    "A feedback report of a type that says nothing of the reader's wish (RFC 5965): look at it.",
)
_DELAYED: Final = _nothing_failed(
    "delay",
    Reason.DELAYED,
    Fault.NONE,
    "Not delivered yet; the sending server keeps trying.",
)
_DELIVERED: Final = _nothing_failed(
    "delivered", Reason.DELIVERED, Fault.NONE, "The message was delivered (RFC 3464, 2.3.3)."
)
_KINDS: Final[dict[Kind | Action, Verdict]] = {
    Kind.COMPLAINT: _nothing_failed(
        "complaint",
        Reason.COMPLAINT,
        Fault.RECIPIENT,
        "The recipient reported the message as spam (RFC 5965).",
    ),
    Kind.DELAY: _DELAYED,
    Action.DELAYED: _DELAYED,
    Kind.DELIVERY: _DELIVERED,
    Action.DELIVERED: _DELIVERED,
    Action.RELAYED: _nothing_failed(
        "relayed",
        Reason.RELAYED,
        Fault.NONE,
        "Handed to a server that sends no reports (RFC 3464, 2.3.3).",
    ),
    Action.EXPANDED: _nothing_failed(
        "expanded",
        Reason.EXPANDED,
        Fault.NONE,
        "Delivered to a list, which passed it on (RFC 3464, 2.3.3).",
    ),
    Kind.AUTO_REPLY: _nothing_failed(
        "auto-reply",
        Reason.AUTO_REPLY,
        Fault.NONE,
        "An automatic answer, such as a vacation notice (RFC 3834).",
    ),
    Kind.RECEIPT: _nothing_failed(
        "receipt", Reason.MDN, Fault.NONE, "A read receipt (RFC 8098): the message arrived."
    ),
    Kind.CHALLENGE: _nothing_failed(
        "challenge",
        Reason.CHALLENGE_RESPONSE,
        Fault.NONE,
        "The recipient's system asks the sender to prove that a person wrote.",
    ),
    Kind.OTHER: _nothing_failed(
        "other", Reason.NOT_A_BOUNCE, Fault.NONE, "Not a report about a delivery."
    ),
}

"""`bounced audit` and `bounced retry`: is every letter accounted for, and a second look."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

import click

from bounced.cli.failures import Exit, most_urgent, tell
from bounced.cli.holds import say_how_to_decide
from bounced.cli.settings import Settings, config_option, ledger_options, open_ledger, say
from bounced.cli.sync import chosen_mailboxes, folder_of, owner
from bounced.text import safe

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bounced.config import Config, MailboxConfig
    from bounced.ledger import Ledger
    from bounced.ledger.audit import Balance, QuarantinedRow
    from bounced.mailbox import Census
    from bounced.mailbox.quarantine import Quarantine
    from bounced.model import Letter, Reading, Visit


@click.command()
@click.option("--folders", is_flag=True, help="Count the folders on the mail servers too.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a mailbox.")
@ledger_options
@click.pass_context
def audit(context: click.Context, *, folders: bool, as_json: bool) -> None:
    """See that every letter fetched was judged, understood otherwise, set aside or quarantined.

    Exits with 1 when the numbers do not agree.
    """
    from bounced.ledger.audit import balances, quarantined
    from bounced.mailbox.quarantine import Quarantine
    from bounced.report import json_line

    settings = context.ensure_object(Settings)
    config = settings.config() if folders else settings.ledger_config()
    copies = Quarantine(config.quarantine_folder)
    codes: list[Exit] = []
    with settings.ledger() as ledger:
        found = balances(ledger)
        for balance in found:
            missing = [
                row for row in quarantined(ledger, balance.mailbox) if not _has_copy(copies, row)
            ]
            wrong = [*_wrong_in(balance), *_without_copy(missing, copies)]
            codes.append(Exit.PERSON_NEEDED if wrong else Exit.DONE)
            if as_json:
                facts = {name: getattr(balance, name) for name in balance.__dataclass_fields__}
                for name in ("piles", "leaving"):
                    facts[name] = {pile.value: count for pile, count in facts[name].items()}
                click.echo(json_line({**facts, "wrong": wrong}))
            else:
                _show(balance, wrong)
    if not found:
        say("No mailbox is on record yet.")
    if folders:
        codes.extend(_compare(config, found))
    context.exit(most_urgent(codes))


def _has_copy(copies: Quarantine, row: QuarantinedRow) -> bool:
    return copies.path(row.raw_sha256).is_file()


def _show(balance: Balance, wrong: Sequence[str]) -> None:
    click.echo(
        f"{safe(balance.mailbox)}: {balance.fetched} fetched = {balance.judged} judged + "
        f"{balance.other} other + {balance.set_aside} set aside + "
        f"{balance.quarantined} quarantined"
        + (f"; {balance.unfiled} of them still to be moved" if balance.unfiled else "")
    )
    for sentence in wrong:
        click.echo(f"  WRONG  {safe(sentence)}")


def _wrong_in(balance: Balance) -> Iterator[str]:
    parts = balance.judged + balance.other + balance.set_aside + balance.quarantined
    if parts != balance.fetched:
        yield f"{balance.fetched} letters were fetched, but {parts} are accounted for"
    if balance.without_event:
        yield f"{balance.without_event} judged letters have no event on record"
    if balance.without_judgement:
        yield f"{balance.without_judgement} events have no judgement"


def _without_copy(rows: Sequence[QuarantinedRow], copies: Quarantine) -> Iterator[str]:
    if rows:
        yield f"{len(rows)} quarantined letters have no raw copy in {copies.folder}"


class _Pile(NamedTuple):
    """A folder on a server, as far as several mailboxes may share one."""

    host: str
    user: str
    folder: str


@dataclass(slots=True)
class _Count:
    """Letters on one pile: by the ledger, and by the server.

    What a pass was cut off from filing (`leaving`) may be on it, or in its folder still.
    """

    filed: int = 0
    leaving: int = 0
    there: int = 0

    @property
    def agrees(self) -> bool:
        return self.filed <= self.there <= self.filed + self.leaving


def _compare(config: Config, balances: Sequence[Balance]) -> Iterator[Exit]:
    """Compare what the ledger says was filed with what the servers count."""
    recorded = {balance.mailbox: balance for balance in balances}
    piles: dict[_Pile, _Count] = defaultdict(_Count)
    for mailbox in chosen_mailboxes(config, ()):
        balance = recorded.get(mailbox.name)
        if balance is None:
            say(f"{mailbox.name}: not on record yet")
            continue
        try:
            census = _census(mailbox, config)
        except Exception as problem:  # noqa: BLE001 - told; the other mailboxes get their turn
            say(f"{mailbox.name}:")
            yield tell(problem)
            continue
        _count(mailbox, balance, census, piles)
        where = safe(str(mailbox.path or mailbox.folder))
        click.echo(f"{safe(mailbox.name)}: {census.waiting} waiting in {where}")
    for here, count in piles.items():
        _show_pile(here, count)
        yield Exit.DONE if count.agrees else Exit.PERSON_NEEDED
    if not all(count.agrees for count in piles.values()):
        say(
            "Somebody else has put letters on a pile or taken some off it, or a sync is at work. "
            "Once none is (bounced status says so), type: bounced audit --folders"
        )


def _count(
    mailbox: MailboxConfig, balance: Balance, census: Census, piles: dict[_Pile, _Count]
) -> None:
    """Add one mailbox to its piles; several folders of an account share theirs."""
    from bounced.model import Destination

    names = {
        Destination.PROCESSED: mailbox.processed,
        Destination.UNRECOGNISED: mailbox.unrecognised,
        Destination.QUARANTINE: mailbox.quarantine,
    }
    if not census.piles:
        here = _Pile(mailbox.host, mailbox.user, f"{mailbox.folder} (marked)")
        piles[here] = _Count(sum(balance.piles.values()), balance.unfiled, census.filed)
    for pile, there in census.piles.items():
        folder = str(mailbox.piles.get(pile.value, names[pile]))
        count = piles[_Pile(mailbox.host, mailbox.user, folder)]
        count.filed += balance.piles[pile]
        count.leaving += balance.leaving[pile]
        count.there = there


def _show_pile(here: _Pile, count: _Count) -> None:
    words = "" if count.there == count.filed else f"; the ledger says {count.filed}"
    if words and count.leaving:
        words += f", and {count.leaving} that were still to be moved"
    mark = "ok   " if count.agrees else "WRONG"
    whose = f" of {safe(here.user)}" if here.user else ""
    click.echo(f"  {mark}  {count.there} letters in {safe(here.folder)}{whose}{words}")


def _census(mailbox: MailboxConfig, config: Config) -> Census:
    folder = folder_of(mailbox, tokens=config.tokens)
    try:
        folder.open()
        return folder.census()
    finally:
        folder.close()


@click.command()
@click.argument("mailboxes", nargs=-1, metavar="[MAILBOX]...")
@config_option
@click.pass_context
def retry(context: click.Context, mailboxes: tuple[str, ...]) -> None:
    """Read quarantined letters again, with today's program and rules.

    Those that can be read now are recorded and moved out of the quarantine folder.
    """
    from bounced.ledger.audit import balances
    from bounced.mailbox.quarantine import Quarantine

    config = context.ensure_object(Settings).config()
    copies = Quarantine(config.quarantine_folder)
    ledger = open_ledger(config)
    codes: list[Exit] = []
    try:
        chosen: dict[str, MailboxConfig | None] = {}
        if not mailboxes:  # letters that `bounced ingest` was handed lie in no mailbox
            chosen = {one.mailbox: None for one in balances(ledger) if one.quarantined}
        if mailboxes or config.mailboxes:
            chosen |= {one.name: one for one in chosen_mailboxes(config, mailboxes)}
        for name, mailbox in chosen.items():
            try:
                codes.append(_retry(name, mailbox, ledger, copies, config))
            except Exception as problem:  # noqa: BLE001 - told; the others get their turn
                say(f"{name}:")
                codes.append(tell(problem))
    finally:
        ledger.close()
    context.exit(most_urgent(codes))


def _retry(
    name: str,
    mailbox: MailboxConfig | None,
    ledger: Ledger,
    copies: Quarantine,
    config: Config,
) -> Exit:
    from bounced.cli.tables import counted
    from bounced.ledger.audit import quarantined
    from bounced.sync import LeaseTakenError

    before = quarantined(ledger, name)
    visit = ledger.begin(name, owner=owner(), at=datetime.now(UTC))
    if visit is None:
        raise LeaseTakenError(name)
    error: str | None = "interrupted"
    again = _Again(ledger, visit, copies, config)
    try:
        for row in before:
            raw = copies.raw(row.raw_sha256)
            if raw is not None:
                again.read(row, raw)
        again.tidy()
        moved = _move_out(mailbox, ledger, again) if mailbox is not None else 0
        error = None
    except Exception as problem:
        error = f"{type(problem).__name__}: {problem}"
        raise
    finally:
        ledger.end(visit, at=datetime.now(UTC), error=error)
    left = len(before) - again.recorded
    click.echo(
        f"{safe(name)}: {counted(again.recorded, 'letter')} can be read now, {left} still cannot"
        + (f"; {moved} moved out of quarantine" if moved else "")
    )
    for reason, count in sorted(again.reasons.items()):
        click.echo(f"  {count} × {safe(reason)}")
    if again.held:
        say(f"{name}: the brake holds run {visit.run_id}.")
        say_how_to_decide(visit.run_id)
    return Exit.PERSON_NEEDED if left or again.held else Exit.DONE


class _Again:
    """A second reading of quarantined letters, under one lease."""

    def __init__(self, ledger: Ledger, visit: Visit, copies: Quarantine, config: Config) -> None:
        self._ledger = ledger
        self._visit = visit
        self._copies = copies
        self._books = config.rules
        self.tokens = config.tokens
        self.recorded = 0
        self.held = 0
        self.reasons: dict[str, int] = defaultdict(int)
        self._tried: set[int] = set()
        self._done_with: set[str] = set()

    def read(self, row: QuarantinedRow, raw: bytes) -> None:
        """Read one, once, and record it if that went well now."""
        from bounced.ledger.audit import record_again
        from bounced.model import Destination, Letter

        if row.message_id in self._tried:
            return
        self._tried.add(row.message_id)
        truncated = "truncated" in row.problems
        letter = Letter(row.uid, raw, row.received_at, truncated=truncated)
        reading = self._read(letter, row.problems)
        if reading.destination is Destination.QUARANTINE:
            reason = ", ".join(reading.conclusion.report.problems)
            self.reasons[reason] += 1
            self._copies.keep(raw)
            return
        done = record_again(self._ledger, self._visit, row, reading, at=datetime.now(UTC))
        self.recorded += 1
        self.held = done.held or self.held
        self._done_with.add(row.raw_sha256)

    def tidy(self) -> None:
        """Remove the copies of what is recorded by now."""
        for digest in self._done_with:
            self._copies.forget(digest)

    def _read(self, letter: Letter, problems: Sequence[str]) -> Reading:
        from bounced.isolation import read_in_child
        from bounced.reading import read_letter

        # what has killed a reader is never read in this process
        killed = any(problem.startswith("poison") for problem in problems)
        read = read_in_child if killed else read_letter
        return read(letter, datetime.now(UTC), self._books)


def _move_out(mailbox: MailboxConfig, ledger: Ledger, again: _Again) -> int:
    """Move what is recorded elsewhere by now out of the quarantine folder; how many went.

    A letter without a raw copy here is read from that folder.
    """
    from bounced.ledger.audit import piles, quarantined
    from bounced.model import Destination

    if mailbox.archive == "flag":
        return 0
    place = str(mailbox.piles.get("quarantine", mailbox.quarantine))
    folder = folder_of(mailbox, place, tokens=again.tokens)
    moved = 0
    try:
        folder.open()
        for uids in folder.waiting():
            found: dict[str, list[Letter]] = defaultdict(list)
            for letter in folder.fetch(uids):
                found[sha256(letter.raw).hexdigest()].append(letter)
            for row in quarantined(ledger, mailbox.name):
                if row.raw_sha256 in found:
                    again.read(row, found[row.raw_sha256][0].raw)
            belong = piles(ledger, mailbox.name, list(found))
            for pile in (Destination.PROCESSED, Destination.UNRECOGNISED):
                digests = [digest for digest, where in belong.items() if where is pile]
                out = [letter.uid for digest in digests for letter in found[digest]]
                moved += len(folder.file(out, pile)) if out else 0
        again.tidy()
    finally:
        folder.close()
    return moved

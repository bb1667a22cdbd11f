"""`bounced suppressed import`: suppression lists of mail services and list managers, taken over.

What they call their columns stands in services.toml; files may be CSV, a JSON list (bare or inside
an object), one JSON object a line, or plain lines.
"""

from __future__ import annotations

import csv
import json
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import chain
from typing import IO, TYPE_CHECKING, Any, Final

import click

from bounced.cli.moments import moment_option
from bounced.cli.services import incoming, services
from bounced.cli.settings import Settings, ledger_options, operator, say
from bounced.cli.subscribers import is_address
from bounced.report.rows import FORMULA_STARTS
from bounced.text import safe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from bounced.ledger import Hearsay, Ledger, Source

# The mark of a line that held nothing but an address.
PLAIN: Final = "\0plain"


@click.command("import", short_help="Take over a suppression list from elsewhere.")
@click.argument("path", type=click.Path(allow_dash=True))
@click.option("--from", "source", required=True, type=click.Choice(sorted(incoming())))
@click.option("--complaints", is_flag=True, help="Every line of the file is a complaint.")
@moment_option("--since", "Only lines that are dated then or later, or not at all.")
@ledger_options
@click.pass_context
def import_file(
    context: click.Context, path: str, *, source: str, complaints: bool, since: datetime | None
) -> None:
    """Take over the suppression list in PATH, remembering where it came from.

    It is hearsay: it suppresses, and is never counted as a bounce of its own. An address that was
    released here stays released when the same line is imported again. A list that would suppress
    more than [brake] lets pass waits for your decision, like a sync.
    """
    from bounced.cli.sync import owner
    from bounced.ledger import Source, adopt

    now = datetime.now(UTC)
    with click.open_file(path, encoding="utf-8-sig", errors="replace") as file:
        listing = Listing(file, source, complaints=complaints, since=since)
        with context.ensure_object(Settings).ledger(create=True) as ledger:
            by = Source(source, services()[source].title)
            told = adopt(ledger, by, listing.rows(), owner=owner(), at=now, by=operator())
            if told is not None and told.known:
                _say_what_is_undone(ledger, by)
    _tell(context, listing, told)


def _say_what_is_undone(ledger: Ledger, source: Source) -> None:
    """A line that an undone import brought is known, so that importing it again does nothing."""
    for decision in ledger.decisions(1_000):
        undone = decision.what == "import" and decision.undone_at is not None
        if undone and decision.subject.endswith(f"from {source.title}"):
            say(
                f"{decision.subject} are known and without effect: their import was undone. "
                f"To put it into force again type: bounced redo {decision.id}"
            )


def _tell(context: click.Context, listing: Listing, told: Any) -> None:
    from bounced.cli.failures import Exit
    from bounced.cli.holds import say_how_to_decide

    if told is None:
        say("Another import from there is at work; nothing was touched.")
        context.exit(Exit.TRY_AGAIN)
    passed = f", {listing.passed} passed over" if listing.passed else ""
    click.echo(
        f"{listing.good} lines read, {told.new} new, {told.suppressed} now suppressed"
        f"{passed}, {listing.bad} not usable."
    )
    if told.held:
        say(f"{told.held} addresses wait for your decision: more than [brake] lets pass.")
        say_how_to_decide(told.run_id)
    context.exit(Exit.PERSON_NEEDED if told.held or listing.bad else Exit.DONE)


class Listing:
    """Somebody's suppression list, line by line; what cannot be used is told and counted."""

    def __init__(
        self, file: IO[str], source: str, *, complaints: bool, since: datetime | None
    ) -> None:
        self.good = self.bad = self.passed = 0
        self._file = file
        self._service = services()[source]
        self._complaints = complaints
        self._since = since

    def rows(self) -> Iterator[Hearsay]:
        for number, fields in enumerate(self._fields(), 1):
            address = bare(_first(fields, self._service.address))
            if not is_address(address):
                self.bad += 1
                say(f"entry {number}: no address: {', '.join(map(str, fields.values()))[:80]}")
                continue
            line = self._line(address, fields)
            if line is None:
                self.passed += 1
                continue
            self.good += 1
            yield line

    def _fields(self) -> Iterator[Mapping[str, Any]]:
        start = self._file.readline()
        while start and not start.strip():
            start = self._file.readline()
        if start.lstrip()[:1] in ("[", "{"):
            yield from _json_objects(start, self._file)
        elif self._service.plain and self._no_head(start):
            yield from self._lines(start)
        else:
            yield from self._table(start)

    def _no_head(self, first: str) -> bool:
        """Whether a first line names no column of ours, or is the only one there can be."""
        names = {cell.strip(' "').lower() for cell in re.split("[,;\t]", first.strip())}
        return not names & set(self._service.address)

    def _lines(self, first: str) -> Iterator[Mapping[str, Any]]:
        for line in chain([first], self._file):
            if not line.strip() or self._service.skips(line.strip()):
                continue
            yield {self._service.address[0]: line, PLAIN: True}

    def _table(self, first: str) -> Iterator[Mapping[str, Any]]:
        delimiter = max(",;\t", key=first.count)
        head = [name.strip().lower() for name in next(csv.reader([first], delimiter=delimiter), [])]
        if any(is_address(cell) for cell in head):  # no header: address and, perhaps, its kind
            yield from self._bare([first], delimiter)
            yield from self._bare(self._file, delimiter)
            return
        if not set(head) & set(self._service.address):
            raise click.UsageError(
                f"the first line names no column {' or '.join(self._service.address)}; "
                f"it holds: {safe(first.strip())[:200] or 'nothing'}"
            )
        for cells in csv.reader(self._file, delimiter=delimiter):
            if cells:
                yield dict(zip(head, cells, strict=False))

    def _bare(self, lines: Iterable[str], delimiter: str) -> Iterator[Mapping[str, Any]]:
        names = (self._service.address[0], self._service.kind[0])
        for cells in csv.reader(lines, delimiter=delimiter):
            if cells:
                yield dict(zip(names, cells, strict=False))

    def _line(self, address: str, fields: Mapping[str, Any]) -> Hearsay | None:
        from bounced.ledger import Hearsay

        service = self._service
        kind = _first(fields, service.kind).lower()
        at = _time(_first(fields, service.when))
        if any(word in kind for word in service.unwanted):
            return None
        if not (self._complaints or PLAIN in fields or service.counts(fields)):
            return None
        if self._since is not None and at is not None and at < self._since:
            return None
        complaint = self._complaints or any(word in kind for word in service.complaint)
        words = dict.fromkeys(filter(None, (kind, _first(fields, service.said))))
        return Hearsay(address, complaint, "; ".join(words), at)


def _json_objects(start: str, file: IO[str]) -> Iterator[Mapping[str, Any]]:
    """The objects of a JSON list, of the only list in an object, or one a line."""
    try:
        first = json.loads(start)
    except ValueError:
        first = None  # it goes on over several lines
    if isinstance(first, dict) and _listed(first) == [first]:
        found: Iterable[Any] = _one_a_line(first, file)
    else:
        found = _listed(_parsed(start + file.read()))
    for one in found:
        if isinstance(one, dict):
            yield dict(_flat(one))


def _flat(one: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Fields by name in lower case, those of a field in it as `reason.code`."""
    for key, value in one.items():
        name = f"{before}{key}".lower()
        if isinstance(value, dict) and not before:
            yield from _flat(value, f"{name}.")
        else:
            yield name, value


def _one_a_line(first: Any, file: IO[str]) -> Iterator[Any]:
    yield first
    yield from (_parsed(line) for line in file if line.strip())


def _listed(whole: Any) -> list[Any]:
    """The list, or that in an object (`{"data": {"results": […]}}`), else the object by itself."""
    if isinstance(whole, dict):
        inner = [part for part in whole.values() if isinstance(part, dict)]
        parts = [value for table in (whole, *inner) for value in table.values()]
        return next((part for part in parts if isinstance(part, list)), [whole])
    return whole if isinstance(whole, list) else []


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise click.UsageError("the file begins like JSON and is none; nothing was read") from None


def bare(text: str) -> str:
    """The address in `Name <address>`, which is how list managers write some lines.

    Without the apostrophe, too, that `--for-spreadsheet` puts before some.
    """
    if text[:1] == "'" and text[1:].startswith(FORMULA_STARTS):
        text = text[1:]
    before, bracket, after = text.strip().rpartition("<")
    return after[:-1].strip() if bracket and after.endswith(">") and before else text.strip()


def _first(fields: Mapping[str, Any], names: Sequence[str]) -> str:
    return next((str(fields[name]) for name in names if fields.get(name) not in (None, "")), "")


def _time(text: str) -> datetime | None:
    """A time as services write it: ISO 8601, seconds since 1970, or as in mail (RFC 5322, 3.3)."""
    readers: tuple[Callable[[str], datetime], ...] = (
        datetime.fromisoformat,
        lambda told: datetime.fromtimestamp(float(told), UTC),
        lambda told: parsedate_to_datetime(told.replace(" UTC", " +0000")),
    )
    for read in readers:
        try:
            found = read(text.strip())
        except (ValueError, TypeError, OverflowError, OSError):
            continue
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    return None

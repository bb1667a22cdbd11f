"""`bounced reclassify` and `bounced simulate`: the same facts, judged again or weighed otherwise.

Both print counts first and then every address whose standing would be another, one a line. The
lines wait in a temporary file until the counts are known, so that memory stays small.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Never, Self

import click

from bounced.cli.moments import moment_option
from bounced.cli.settings import Settings, jobs_option, ledger_options, operator, say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from bounced.ledger import Replay, StandingChange
    from bounced.model import RecipientReport, Report, Verdict

_json_option = click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print JSON: the counts, then one object a line.",
)


@click.command()
@moment_option("--since", "Only what was reported from then on is judged again.")
@click.option("--apply", "applies", is_flag=True, help="Change it; without this it is only shown.")
@click.option("--force", is_flag=True, help="Apply even what the brake would stop.")
@_json_option
@jobs_option
@ledger_options
@click.pass_obj
def reclassify(  # noqa: PLR0913 - one for each option
    settings: Settings,
    *,
    since: datetime | None,
    applies: bool,
    force: bool,
    as_json: bool,
    jobs: int,
) -> None:
    """Judge what is stored again, by today's rules (yours too) and policy, and show the difference.

    Nothing is changed without --apply. Each change is kept with your name, like that of a release.
    """
    import bounced.ledger  # noqa: F401 - loaded once, before there are several of us
    from bounced import rules
    from bounced.jobs import HEAVY, Jobs

    books = settings.ledger_config().rules
    rules.rulebook(books)  # made once likewise
    classify = partial(_classify, books)
    now = datetime.now(UTC)
    with (
        Jobs(jobs, _done, _deadly, weigh=lambda _: HEAVY) as several,
        settings.ledger() as ledger,
        Difference(as_json=as_json) as shown,
    ):

        def together(work: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
            # should one die, another is forked; it must not inherit a connection
            ledger.close()
            return several.results((work, item) for item in items)

        over = map if jobs == 1 else together
        for piece in ledger.reclassified(classify, at=now, since=since, over=over):
            shown.add(piece)
        shown.print()
        if not applies:
            shown.close_with("Nothing was changed. To change it, add --apply")
            return
        if ledger.too_many(shown.suppressed) and not force:
            _refuse(shown.suppressed)
        done: Counter[str] = Counter()
        for piece in ledger.reclassify(classify, by=operator(), at=now, since=since):
            done.update(_sort(change) for change in piece.changes)
    say(f"Done: {done['suppressed']} suppressed, {done['released']} released.")


def _refuse(newly: int) -> None:
    from bounced.cli.failures import Exit

    say(
        f"Nothing was changed: {newly} addresses newly suppressed are more than [brake] lets pass. "
        "If that is right, type the same again with --force"
    )
    raise click.exceptions.Exit(Exit.PERSON_NEEDED)


def _classify(books: tuple[Path, ...], recipient: RecipientReport, report: Report) -> Verdict:
    """By name and not as a closure, for it goes to other processes; each has made the books."""
    from bounced import rules

    return rules.classify(recipient, report, rules=rules.rulebook(books))


def _done(some: Sequence[tuple[Callable[[Any], Any], Any]]) -> list[Any]:
    return [work(item) for work, item in some]


def _deadly(_one: tuple[Callable[[Any], Any], Any]) -> Never:
    raise click.ClickException(
        "Judging some of the stored reports has killed a process twice. Nothing was changed. See "
        "whether memory was short, and type the same again"
    )


@click.command()
@click.option(
    "--policy",
    "path",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file with a [policy] table, such as a changed copy of your configuration.",
)
@moment_option("--since", "Both policies see only what was reported from then on.")
@_json_option
@ledger_options
@click.pass_obj
def simulate(settings: Settings, path: Path, *, since: datetime | None, as_json: bool) -> None:
    """Replay the past under the policy of another file, and show where the standings would differ.

    Changes nothing. To live by that policy, put it into your configuration and type
    bounced reclassify --apply
    """
    from bounced import config

    tried = config.load(path)
    now = datetime.now(UTC)
    with settings.ledger() as ledger, Difference(as_json=as_json) as shown:
        for piece in ledger.simulated(tried.policy, at=now, since=since, lists=tried.lists):
            shown.add(piece)
        shown.print()
        shown.close_with("Nothing was changed.")


class Difference:
    """Counts what would change, and keeps the lines for later."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._lines: IO[str] = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115
        self._sorts: Counter[str] = Counter()
        self._by_rule: Counter[tuple[str, str]] = Counter()
        self._rules: Counter[tuple[str, str]] = Counter()
        self._judged = self._addresses = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_problem: object) -> None:
        self._lines.close()

    @property
    def suppressed(self) -> int:
        return self._sorts["suppressed"]

    def add(self, piece: Replay) -> None:
        from bounced.report import json_line

        self._addresses += piece.addresses
        self._judged += piece.judged
        self._rules.update(piece.rules)
        for change in piece.changes:
            sort = _sort(change)
            self._sorts[sort] += 1
            self._by_rule[sort, _deciding(change)] += 1
            self._lines.write((json_line(change) if self._as_json else _line(change)) + "\n")

    def print(self) -> None:
        from bounced.report import json_line

        if self._as_json:
            click.echo(json_line(self._counts()))
        else:
            for line in self._told():
                click.echo(line)
        self._lines.seek(0)
        for line in self._lines:
            click.echo(line, nl=False)

    def close_with(self, sentence: str) -> None:
        if not self._as_json:
            say(sentence)

    def _counts(self) -> dict[str, Any]:
        return {
            "addresses": self._addresses,
            "events_judged": self._judged,
            "judged_otherwise": [
                {"from": old, "to": new, "events": count}
                for (old, new), count in self._rules.most_common()
            ],
            "suppressed": self._sorts["suppressed"],
            "released": self._sorts["released"],
            "otherwise": self._sorts["otherwise"],
            "by_rule": [
                {"change": sort, "rule": rule, "addresses": count}
                for (sort, rule), count in self._by_rule.most_common()
            ],
        }

    def _told(self) -> Iterable[str]:
        from bounced.text import safe

        sorts = self._sorts
        if self._judged:
            otherwise = sum(self._rules.values())
            yield f"{self._judged} events judged again, {otherwise} of them otherwise."
        for (old, new), count in self._rules.most_common():
            yield f"{count:>8}  {safe(old)} -> {safe(new)}"
        yield (
            f"Of {self._addresses} addresses {sorts['suppressed']} would be suppressed, "
            f"{sorts['released']} released; {sorts['otherwise']} would change otherwise."
        )
        for (sort, rule), count in self._by_rule.most_common():
            yield f"{count:>8}  {sort} by rule {safe(rule)}"


def _sort(change: StandingChange) -> str:
    if change.to_suppressed == change.from_suppressed:
        return "otherwise"
    return "suppressed" if change.to_suppressed else "released"


def _deciding(change: StandingChange) -> str:
    """The rule that brings the change; where none speaks any more, the one that spoke before."""
    return change.to_rule or change.from_rule or "none"


_MARKS = {"suppressed": "+", "released": "-", "otherwise": "~"}


def _line(change: StandingChange) -> str:
    from bounced.text import safe

    before = _state(change.from_status, suppressed=change.from_suppressed)
    after = _state(change.to_status, suppressed=change.to_suppressed)
    mark = _MARKS[_sort(change)]
    because = f": {safe(change.because)}" if change.because else ""
    on = f" on {safe(change.list)}" if change.list else ""
    return f"{mark} {safe(change.address)}{on}  {before} -> {after}{because}"


def _state(status: str, *, suppressed: bool) -> str:
    return f"{status} (suppressed)" if suppressed else status

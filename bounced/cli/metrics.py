"""Figures for Prometheus: printed for a textfile collector, or served on loopback.

prometheus_client is the library and this its only door; it comes with the extra `metrics`.
"""

from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from bounced.config import Config
    from bounced.ledger import Ledger
    from bounced.ledger.health import Figures, Heartbeat
    from bounced.ledger.rows import MailboxRow

# What an MTA hands over is in no configuration either, but after a failure it comes again soon.
ABANDONED_AFTER: Final = timedelta(days=1)


def abandoned(row: MailboxRow, config: Config, now: datetime) -> bool:
    """Whether nobody empties a mailbox any more, so that its last failure is nobody's concern.

    So it is when the configuration names others, and it has not been tried for a day.
    """
    names = {folder.name for mailbox in config.mailboxes for folder in mailbox.each_folder()}
    if row.imported or not names or row.mailbox in names or row.last_sync_at is None:
        return False
    return now - row.last_sync_at > ABANDONED_AFTER


class _Metric(NamedTuple):
    """One family: its name, what it means, its label (or none), and a figure for each value."""

    name: str
    meaning: str
    label: str | None
    figures: dict[str, float]


def metrics_text(ledger: Ledger, config: Config) -> str:
    """The figures of this moment in Prometheus' text format."""
    from prometheus_client.exposition import generate_latest

    return generate_latest(_registry(ledger, config)).decode("utf-8")


@contextmanager
def served_metrics(ledger: Ledger, config: Config, place: tuple[str, int] | None) -> Iterator[None]:
    """Serve the figures, counted anew at each request, for the length of a `with`; None: nowhere.

    Raises click.UsageError where the port cannot be had.
    """
    if place is None:
        yield
        return
    from prometheus_client.exposition import start_http_server

    host, port = place
    try:
        server, thread = start_http_server(port, host, _registry(ledger, config))
    except OSError as problem:
        raise click.UsageError(
            f"metrics cannot be served at {host}:{port} ({problem.strerror}); choose another port"
        ) from None
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def see_that_it_is_there() -> None:
    """Raises click.UsageError where the extra is not installed."""
    try:
        import prometheus_client  # noqa: F401
    except ModuleNotFoundError:
        raise click.UsageError(
            "metrics need a library that is not installed; "
            "type: pip install 'bounced-mail[metrics]'"
        ) from None


def _registry(ledger: Ledger, config: Config) -> Any:
    from prometheus_client.registry import CollectorRegistry

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(ledger, config))
    return registry


class _Collector:
    def __init__(self, ledger: Ledger, config: Config) -> None:
        self._ledger = ledger
        self._config = config

    def describe(self) -> list[Any]:
        return []

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        from bounced.ledger import health

        figures = health.figures(self._ledger)
        beats = health.heartbeats(self._ledger)
        rows = self._ledger.mailboxes()
        rows = [row for row in rows if not abandoned(row, self._config, figures.now)]
        for metric in (*_mailboxes(rows, figures), *_others(figures, beats)):
            labels = () if metric.label is None else (metric.label,)
            family = GaugeMetricFamily(metric.name, metric.meaning, labels=labels)
            for value, figure in metric.figures.items():
                family.add_metric((value,) if labels else (), figure)
            yield family
        letters = CounterMetricFamily(
            "bounced_letters", "Letters recorded, by kind.", labels=("mailbox", "kind")
        )
        for name, one in figures.letters.items():
            for kind, count in sorted(one.kinds.items()):
                letters.add_metric((name, kind), count)
        yield letters


def _mailboxes(rows: Sequence[MailboxRow], figures: Figures) -> Iterator[_Metric]:
    now, letters = figures.now, figures.letters
    yield _Metric(
        "bounced_mailbox_last_success_timestamp_seconds",
        "When the mailbox was last emptied without an error.",
        "mailbox",
        {row.mailbox: row.last_success_at.timestamp() for row in rows if row.last_success_at},
    )
    yield _Metric(
        "bounced_mailbox_failing_seconds",
        "Since how long the mailbox has been failing; 0 when its last pass went well.",
        "mailbox",
        {row.mailbox: max(0.0, (now - (row.failing_since or now)).total_seconds()) for row in rows},
    )
    yield _Metric(
        "bounced_quarantined_letters",
        "Letters that could not be read; bounced retry reads them again.",
        "mailbox",
        {name: one.piles.get("quarantine", 0) for name, one in letters.items()},
    )
    yield _Metric(
        "bounced_unfiled_letters",
        "Letters whose facts are recorded and which have not left their folder.",
        "mailbox",
        {name: one.unfiled for name, one in letters.items()},
    )
    yield _Metric(
        "bounced_oldest_unfiled_seconds",
        "How long ago the oldest of these was recorded; 0 when there is none.",
        "mailbox",
        {name: one.oldest.total_seconds() if one.oldest else 0 for name, one in letters.items()},
    )


def _others(figures: Figures, beats: Sequence[Heartbeat]) -> Iterator[_Metric]:
    yield _Metric(
        "bounced_suppressed_addresses",
        "Addresses on the suppression list now.",
        None,
        {"": figures.suppressed},
    )
    yield _Metric(
        "bounced_held_runs",
        "Runs that the brake holds until a person decides: bounced hold list.",
        None,
        {"": figures.held},
    )
    yield _Metric(
        "bounced_heartbeat_age_seconds",
        "Since how long a bounced run has given no sign of life.",
        "owner",
        {beat.owner: beat.silent.total_seconds() for beat in beats},
    )

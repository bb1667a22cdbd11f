"""Servers and databases that several folders of tests share.

Dovecot is started once; without it, PostgreSQL or MariaDB their tests skip and say so.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import bounced.message
from tests.servers import database, dovecot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any


COMPILED = not str(bounced.message.__file__).endswith(".py")


def pytest_report_header() -> str:
    return f"bounced: {'compiled' if COMPILED else 'as Python'}, {Path(bounced.__file__).parent}"


def pytest_configure() -> None:
    if os.environ.get("BOUNCED_TEST_COMPILED") and not COMPILED:
        pytest.exit("BOUNCED_TEST_COMPILED is set, and what would be tested is not compiled")


@pytest.fixture(scope="session")
def run_dovecot() -> Iterator[Callable[..., dovecot.Dovecot]]:
    """Start one more Dovecot, with the settings given; all are stopped at the end."""
    if dovecot.installed() is None:
        pytest.skip("dovecot is not installed (Debian: apt-get install dovecot-imapd)")
    running: list[dovecot.Dovecot] = []

    def run(**settings: Any) -> dovecot.Dovecot:
        # not in pytest's folder: each session closes that to the server's own accounts
        where = Path(tempfile.mkdtemp(prefix="bounced-dovecot-"))
        where.chmod(0o755)
        running.append(dovecot.start(where, **settings))
        return running[-1]

    yield run
    dovecot.stop(*(server.where for server in running))
    for server in running:
        shutil.rmtree(server.where)


@pytest.fixture(scope="session")
def server(run_dovecot: Callable[..., dovecot.Dovecot]) -> dovecot.Dovecot:
    return run_dovecot()


@pytest.fixture(scope="session")
def ledgers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[database.Ledgers]:
    with database.Ledgers(tmp_path_factory.mktemp("ledgers")) as made:
        yield made


@pytest.fixture(params=database.KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path, ledgers: database.Ledgers) -> Iterator[str]:
    """A database of its own, with a ledger in it that holds nothing."""
    with ledgers.lent(request.param, tmp_path) as own:
        yield own


@pytest.fixture(params=database.KINDS)
def bare_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database of its own with nothing in it, not even a ledger."""
    with database.empty(request.param, tmp_path) as own:
        yield own

"""A Dovecot for the tests of this folder, started once; without one these tests are skipped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.servers import dovecot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any


@pytest.fixture(scope="session")
def run_dovecot(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., dovecot.Dovecot]]:
    """Start one more Dovecot, with the settings given; all are stopped at the end."""
    if dovecot.installed() is None:
        pytest.skip("dovecot is not installed (Debian: apt-get install dovecot-imapd)")
    running: list[dovecot.Dovecot] = []

    def run(**settings: Any) -> dovecot.Dovecot:
        where = tmp_path_factory.mktemp("dovecot")
        for folder in (where, *where.parents[:2]):
            folder.chmod(0o755)  # the server's own accounts must get through
        running.append(dovecot.start(where, **settings))
        return running[-1]

    yield run
    for server in running:
        dovecot.stop(server.where)


@pytest.fixture(scope="session")
def server(run_dovecot: Callable[..., dovecot.Dovecot]) -> dovecot.Dovecot:
    return run_dovecot()

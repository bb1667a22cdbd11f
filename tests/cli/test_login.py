"""`bounced login`, and a sync of a mailbox that knows no password."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cli.test_dovecot import box, waiting
from tests.cli.test_sync import configure, letters
from tests.servers.authority import Authority

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.cli.conftest import Bounced
    from tests.servers.dovecot import Dovecot


@pytest.fixture(scope="module")
def authority() -> Iterator[Authority]:
    with Authority(user="login") as running:
        yield running


@pytest.fixture(scope="module")
def server(authority: Authority, run_dovecot: Callable[..., Dovecot]) -> Dovecot:
    return run_dovecot(introspection=authority.url("introspect"))


def test_a_person_logs_in_once_and_syncs_go_on_by_themselves(
    bounced: Bounced, server: Dovecot, authority: Authority
) -> None:
    server.deliver("login", letters(2))
    table = box(server, "login")
    del table["password"]
    endpoints = {"token_url": authority.url("token"), "device_url": authority.url("device")}
    configure(bounced.folder, table)
    with (bounced.folder / "config.toml").open("a") as file:
        file.write('[mailbox.oauth2]\nflow = "device_code"\nclient_id = "client"\n')
        file.writelines(f'{key} = "{url}"\n' for key, url in endpoints.items())
    before = bounced("sync")
    assert before.exit_code == 2
    assert "Type: bounced login" in before.stderr
    result = bounced("login", "login")
    assert result.exit_code == 0, result.output
    assert "enter the code ABCD-EFGH" in result.stderr
    assert "has let us in as login" in result.stdout
    assert bounced("doctor").exit_code == 0
    synced = bounced("sync")
    assert synced.exit_code == 0, synced.output
    assert waiting(server, "login", ".Bounced.Processed") == 2
    assert bounced("audit", "--folders").exit_code == 0
    assert len(list((bounced.folder / "tokens").glob("*.json"))) == 1
    for output in (before.output, result.output, synced.output):
        assert "canary" not in output


def test_a_mailbox_with_a_password_has_nothing_to_log_in_to(
    bounced: Bounced, server: Dovecot
) -> None:
    configure(bounced.folder, box(server, "plain"))
    result = bounced("login", "plain")
    assert (result.exit_code, "by password" in result.stderr) == (2, True)
    assert bounced("login", "palin").exit_code == 2

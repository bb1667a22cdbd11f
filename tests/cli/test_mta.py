"""The recipes of docs/mta.md with the real Postfix and the real Exim: nothing lost, nothing twice."""

from __future__ import annotations

import re
import shutil
import smtplib
import subprocess
import sys
import sysconfig
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.conftest import ROOT, process
from tests.cli.test_ingest import kept
from tests.cli.test_sync import configure, letters, until
from tests.servers import exim, postfix
from tests.servers.database import rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.servers.exim import Exim
    from tests.servers.postfix import Postfix

PAGE = ROOT / "docs" / "mta.md"
TO = "b+token@bounces.example.com"
# Whom a pipe may become: not root, and there on every Debian.
USER = "mail"

needs_postfix = pytest.mark.skipif(
    not postfix.installed(), reason="there is no Postfix, or no root"
)
needs_exim = pytest.mark.skipif(exim.program() is None, reason="there is no Exim, or no root")


def recipe(name: str, **instead: Path | str) -> str:
    """A block of the page, with what is this test's own in place of what it names."""
    found = re.search(
        rf"^```ini {name}\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    assert found is not None, name
    text = found[1]
    for here, there in instead.items():
        old = {"etc": "/etc/postfix", "program": "/usr/local/bin/bounced", "run": "/run/bounced",
               "config": "/etc/bounced/config.toml", "user": "user=bounced"}[here]  # fmt: skip
        assert old in text or here == "user", (name, old)
        text = text.replace(old, str(there))
    return text


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that everybody may enter, which pytest's own are not."""
    where = Path(tempfile.mkdtemp(prefix="bounced-mta-"))
    where.chmod(0o755)
    yield where
    shutil.rmtree(where)


@pytest.fixture
def home(place: Path) -> Path:
    """Where `bounced` has its configuration and its database."""
    folder = place / "bounced"
    folder.mkdir()
    configure(folder)
    (folder / "config.toml").chmod(0o644)
    shutil.chown(folder, USER, USER)
    return folder


def sent(server: Postfix | Exim, letter: bytes, to: str = TO) -> None:
    with smtplib.SMTP("127.0.0.1", server.port, timeout=20) as client:
        client.sendmail("", [to], letter)


def soon(true: Callable[[], object], server: Postfix | Exim) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end, server.log
        time.sleep(0.05)


def counted_once(server: Postfix | Exim, home: Path, count: int = 1) -> None:
    """The MTA has nothing left, and each letter has one event and one copy."""
    soon(lambda: not server.waiting(), server)
    url = f"sqlite:///{home}/bounced.db"
    assert rows(url, "SELECT count(*) FROM event") == [(count,)], server.log
    assert rows(url, "SELECT DISTINCT state FROM message") == [("filed",)]
    copies = kept(home, "processed")
    assert len(copies) == count
    assert all(TO.encode() in copy.split(b"\r\n\r\n")[0] for copy in copies), "the token is there"


def killed_and_begun_again(server: Postfix | Exim, home: Path, place: str) -> None:
    """A letter comes while nobody listens, then to one who is killed, then to one who is not."""
    sent(server, letters(1)[0])
    soon(lambda: "deferred" in server.log or "defer (" in server.log, server)
    killed = process(
        "lmtp", place, "--mode", "0660", cwd=home, BOUNCED_FAILPOINT="committed:1:kill"
    )
    soon(lambda: killed.poll() is not None, server)
    assert server.waiting() == 1
    running = process("lmtp", place, cwd=home)
    until(running, "event=recorded")
    counted_once(server, home)
    sent(server, letters(2)[1])
    counted_once(server, home, 2)
    running.terminate()


def entered(folder: Path, group: str) -> Path:
    """A folder as `install -d -g group -m 2750` makes it."""
    folder.mkdir()
    shutil.chown(folder, group=group)
    folder.chmod(0o2750)
    return folder


@needs_postfix
def test_postfix_hands_over_a_domain_and_again_what_a_killed_listener_had(
    place: Path, home: Path
) -> None:
    server = postfix.start(place / "postfix", main=recipe("postfix-lmtp-main.cf"))
    try:
        entered(server.queue / "bounced", "postfix")
        killed_and_begun_again(server, home, str(server.queue / "bounced" / "lmtp.sock"))
    finally:
        server.stop()


@needs_postfix
def test_postfix_hands_over_one_address_among_others(place: Path, home: Path) -> None:
    main = "mydestination = bounces.example.com\n" + recipe("postfix-address-main.cf", etc=place)
    server = postfix.start(place / "postfix", main=main, aliases="b: root\n")
    (place / "transport").write_text(
        recipe("postfix-address-transport").replace("bounces@example.com", "b@bounces.example.com")
    )
    try:
        server.index(place / "transport")
        entered(server.queue / "bounced", "postfix")
        running = process("lmtp", str(server.queue / "bounced" / "lmtp.sock"), cwd=home)
        until(running, "event=started")
        sent(server, letters(1)[0])
        counted_once(server, home)
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            sent(server, letters(1)[0], "other@bounces.example.com")
        running.terminate()
    finally:
        server.stop()


@needs_exim
def test_exim_hands_over_a_domain_and_again_what_a_killed_listener_had(
    place: Path, home: Path
) -> None:
    run = entered(place / "run", exim.USER)
    server = exim.start(
        place / "exim",
        routers=recipe("exim-lmtp-routers"),
        transports=recipe("exim-lmtp-transports", run=run),
    )
    try:
        killed_and_begun_again(server, home, str(run / "lmtp.sock"))
    finally:
        server.stop()


# What becomes of `bounced` the first times that it is called; then it is let be.
FATES = (
    "BOUNCED_FAILPOINT=parsed:1:error; export BOUNCED_FAILPOINT",
    "exit 1",  # a Python that does not start
    "kill -9 $$",
    "BOUNCED_FAILPOINT=committed:1:kill; export BOUNCED_FAILPOINT",
)


def program(place: Path, user: str) -> Path:
    """`bounced` for an MTA's pipe, which fares ill at first. Skips where `user` cannot run it."""
    library = f"{ROOT}:{sysconfig.get_path('purelib')}"
    for python in (sys.executable, "/usr/bin/python3"):  # the first may be in somebody's home
        with suppress(OSError, subprocess.CalledProcessError):
            words = ["env", f"PYTHONPATH={library}", python, "-c", "import bounced.cli, sqlalchemy"]
            subprocess.run(words, check=True, user=user, cwd="/", capture_output=True)
            break
    else:
        pytest.skip(f"{user} may not read the checkout, or its Python")
    calls = place / "calls"
    calls.mkdir()
    calls.chmod(0o777)
    cases = "".join(f"{n}) {fate};;\n" for n, fate in enumerate(FATES))
    path = place / "program"
    path.write_text(
        f"#!/bin/sh\nn=$(ls {calls} | wc -l)\n: >{calls}/$n\n"
        f"case $n in\n{cases}esac\nPYTHONPATH={library}; export PYTHONPATH\n"
        f'exec {python} -c "from bounced.cli import main; main()" "$@"\n'
    )
    path.chmod(0o755)
    return path


def calls(place: Path) -> int:
    return len(list((place / "calls").iterdir()))


@needs_postfix
def test_postfix_pipes_a_letter_again_whatever_became_of_the_program(
    place: Path, home: Path
) -> None:
    instead: dict[str, Any] = {"program": program(place, USER), "config": home / "config.toml"}
    server = postfix.start(
        place / "postfix",
        main=recipe("postfix-pipe-main.cf"),
        master=recipe("postfix-pipe-master.cf", **instead, user=f"user={USER}"),
    )
    try:
        sent(server, letters(1)[0])
        soon(lambda: calls(place) > len(FATES), server)
        counted_once(server, home)
    finally:
        server.stop()


@needs_exim
def test_exim_pipes_a_letter_again_whatever_became_of_the_program(place: Path, home: Path) -> None:
    # without a place among its trusted configurations it cannot become anybody else
    instead: dict[str, Any] = {"program": program(place, exim.USER), "config": home / "config.toml"}
    transports = recipe("exim-pipe-transports", **instead)
    shutil.chown(home, exim.USER, exim.USER)
    server = exim.start(
        place / "exim",
        routers=recipe("exim-pipe-routers"),
        transports=transports.replace("user = bounced", f"user = {exim.USER}"),
    )
    try:
        sent(server, letters(1)[0])
        soon(lambda: calls(place) > len(FATES), server)
        counted_once(server, home)
    finally:
        server.stop()

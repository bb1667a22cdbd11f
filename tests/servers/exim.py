"""A private, throw-away Exim on loopback, from the program of the machine or of BOUNCED_TEST_EXIM.

It runs as root only, in a folder of its own with its own queue, and asks nobody for names. Debian
lets Exim (exim4-daemon-light) and Postfix not be installed together; unpacked somewhere
(dpkg-deb -x), its program does as well, where there is the user Debian-exim.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.servers.dovecot import STARTS_WITHIN, STOPS_WITHIN, await_listening, free_port

if TYPE_CHECKING:
    from pathlib import Path

USER = "Debian-exim"
CONFIGURATION = """
exim_path = {program}
tls_advertise_hosts =
primary_hostname = mx.example.net
domainlist local_domains = localhost : bounces.example.com
daemon_smtp_ports = {port}
local_interfaces = 127.0.0.1
spool_directory = {where}/queue
log_file_path = {where}/log/%slog
pid_file_path = {where}/pid
keep_environment =
acl_smtp_rcpt = rcpt
acl_smtp_data = accept

begin acl
rcpt:
  accept domains = +local_domains

begin routers
{routers}

begin transports
{transports}

begin retry
# what waits is tried again after a second
* * F,1h,1s
"""


def program() -> str | None:
    """Exim's program, where there is one that can be run."""
    if os.geteuid() != 0:
        return None
    try:
        pwd.getpwnam(USER)
    except KeyError:
        return None
    named = os.environ.get("BOUNCED_TEST_EXIM")
    return named or shutil.which("exim4", path="/usr/sbin:/usr/local/sbin")


@dataclass(frozen=True, slots=True)
class Exim:
    """A running server: it takes mail by SMTP at `port` of loopback."""

    where: Path
    port: int

    @property
    def log(self) -> str:
        return "".join(path.read_text() for path in sorted((self.where / "log").iterdir()))

    def waiting(self) -> int:
        """Letters that it still has."""
        return len(list((self.where / "queue" / "input").rglob("*-H")))

    def stop(self) -> None:
        pid = int((self.where / "pid").read_text())
        os.kill(pid, signal.SIGTERM)
        end = time.monotonic() + STOPS_WITHIN
        while time.monotonic() < end:
            with suppress(ProcessLookupError):
                os.kill(pid, 0)
                time.sleep(0.05)
                continue
            return


def start(where: Path, *, routers: str, transports: str) -> Exim:
    """Start one with these routers and transports; it listens when this returns.

    `where` has to be readable by everybody, as /tmp is: Exim does little of its work as root.
    """
    found = program()
    if found is None:
        raise FileNotFoundError("exim4 is not installed")
    server = Exim(where, free_port())
    for folder in (where, where / "log", where / "queue"):
        folder.mkdir(exist_ok=True)
        shutil.chown(folder, USER, USER)
    configuration = where / "exim.conf"
    configuration.write_text(
        CONFIGURATION.format(
            program=found,
            where=where,
            port=server.port,
            routers=routers,
            transports=transports,
        )
    )
    with (where / "stdout.log").open("ab") as out:
        subprocess.run(
            [found, "-C", str(configuration), "-bd", "-q1s"],
            check=True,
            stdout=out,
            stderr=out,
            cwd="/",
            timeout=STARTS_WITHIN,
        )
    await_listening(server.port, where)
    return server

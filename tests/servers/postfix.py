"""A private, throw-away Postfix on loopback, as Debian sets it up: most of it in a chroot.

It runs as root only, because Postfix does, in a folder of its own with its own queue, and asks
nobody for names. `installed` says whether it can be had (Debian: postfix).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.servers.dovecot import free_port

if TYPE_CHECKING:
    from pathlib import Path

MAIN = """
compatibility_level = 3.6
queue_directory = {where}/queue
data_directory = {where}/data
maillog_file = {where}/log
maillog_file_prefixes = {where}
myhostname = mx.example.net
mydestination = localhost
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
smtp_host_lookup = native
alias_maps = {aliases}
alias_database =
# what waits is tried again after two seconds, else after minutes; of one, half may have gone by
# before the delivery agent has let go of the letter, which is then not looked at again
minimal_backoff_time = 2s
maximal_backoff_time = 2s
queue_run_delay = 1s
transport_retry_time = 1s
"""
# A chroot is Debian's default for whatever can live in one.
MASTER = """
127.0.0.1:{port} inet n - y - - smtpd
postlog unix-dgram n - n - 1 postlogd
cleanup unix n - y - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - y - - trivial-rewrite
bounce unix - - y - 0 bounce
defer unix - - y - 0 bounce
trace unix - - y - 0 bounce
proxymap unix - - n - - proxymap
anvil unix - - y - 1 anvil
smtp unix - - y - - smtp
error unix - - y - - error
retry unix - - y - - error
local unix - n n - - local
lmtp unix - - y - - lmtp
"""


def installed() -> bool:
    return os.geteuid() == 0 and shutil.which("postfix", path=_PATH) is not None


_PATH = "/usr/sbin:/usr/local/sbin:" + os.environ.get("PATH", "")


@dataclass(frozen=True, slots=True)
class Postfix:
    """A running server: it takes mail by SMTP at `port` of loopback."""

    where: Path
    port: int

    @property
    def queue(self) -> Path:
        return self.where / "queue"

    @property
    def log(self) -> str:
        return (self.where / "log").read_text()

    def waiting(self) -> int:
        """Letters that it still has."""
        told = _command("postqueue", "-c", self.where / "etc", "-j")
        return len(told.splitlines())

    def index(self, table: Path) -> None:
        """Make a table of lines one that Postfix looks things up in."""
        _command("postmap", "-c", self.where / "etc", f"hash:{table}")

    def stop(self) -> None:
        _command("postfix", "-c", self.where / "etc", "stop")


def start(where: Path, *, main: str = "", master: str = "", aliases: str = "") -> Postfix:
    """Start one whose configuration ends with `main` and `master`; it listens when this returns.

    `where` has to be readable by everybody, as /tmp is: Postfix does little of its work as root.
    `aliases` are the lines of its alias file.
    """
    etc = where / "etc"
    etc.mkdir(parents=True)
    port = free_port()
    (etc / "aliases").write_text(aliases)
    (etc / "main.cf").write_text(MAIN.format(where=where, aliases=f"hash:{etc}/aliases") + main)
    (etc / "master.cf").write_text(MASTER.format(port=port) + master)
    (where / "queue").mkdir()
    (where / "data").mkdir()
    shutil.chown(where / "data", "postfix")
    _command("postalias", "-c", etc, f"hash:{etc}/aliases")
    _command("postfix", "-c", etc, "start")
    return Postfix(where, port)


def _command(*words: str | Path) -> str:
    done = subprocess.run(
        [str(word) for word in words],
        check=False,
        capture_output=True,
        text=True,
        cwd="/",
        env={"PATH": _PATH},
        timeout=60,
    )
    if done.returncode:
        raise RuntimeError(f"{words[0]}: {done.stderr}{done.stdout}")
    return done.stdout

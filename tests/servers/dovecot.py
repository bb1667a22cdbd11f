"""A private, throw-away Dovecot 2.3 on loopback, with a certificate authority of its own.

    python -m tests.servers.dovecot start DIR [--port 10143] [--tls-port 10993]
    python -m tests.servers.dovecot stop DIR

Any user may log in with the password `secret`; each has an empty mailbox of their own. The CA is
DIR/ca.pem. It touches nothing outside DIR, runs as root or as anybody, and exits with 3 when no
Dovecot is installed (Debian: dovecot-imapd).
"""

from __future__ import annotations

import argparse
import grp
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

PASSWORD = "secret"
STARTS_WITHIN = 15.0
STOPS_WITHIN = 10.0

CONFIGURATION = """
protocols = imap
listen = 127.0.0.1
base_dir = {run}
state_dir = {where}/state
instance_name = bounced-test-{port}
log_path = {where}/dovecot.log
default_internal_user = {internal}
default_login_user = {internal}
default_internal_group = {internal_group}
first_valid_uid = 0
first_valid_gid = 0
mail_uid = {uid}
mail_gid = {gid}
mail_location = {storage}
mail_fsync = never
disable_plaintext_auth = no
auth_mechanisms = {mechanisms}
auth_failure_delay = 0 secs
ssl = yes
ssl_cert = <{where}/server.pem
ssl_key = <{where}/server.key
passdb {{
  driver = static
  args = password={password}
  mechanisms = plain login
}}
{oauth2}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={where}/mail/%n
}}
namespace inbox {{
  inbox = yes
  separator = {separator}
  prefix = {prefix}
  mailbox Unwanted {{
    auto = {junk}
    special_use = \\Junk
  }}
}}
{more}
protocol imap {{
  {capability}
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = {tls_port}
    ssl = yes
  }}
}}
service anvil {{
  chroot =
  # or else a wrong password makes every later login from here wait up to 15 s
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service stats {{
  chroot =
}}
"""

# RFC 7662: Dovecot asks whose a token is. It caches nothing of what it hears.
OAUTH2 = """
passdb {{
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = {where}/oauth2.conf
}}
"""
INTROSPECTION = """
introspection_mode = post
introspection_url = {url}
username_attribute = username
active_attribute = active
active_value = true
"""
CLIENTS = """
ssl_ca = <{where}/ca.pem
ssl_verify_client_cert = yes
ssl_require_crl = no
auth_ssl_require_client_cert = yes
"""


def installed() -> str | None:
    """The server's program; Debian keeps it out of an ordinary user's PATH."""
    return shutil.which("dovecot") or shutil.which("dovecot", path="/usr/sbin:/usr/local/sbin")


@dataclass(frozen=True, slots=True)
class Dovecot:
    """A running server; `ca_file` is what a client needs to trust it."""

    where: Path
    port: int
    tls_port: int
    password: str = PASSWORD

    @property
    def ca_file(self) -> str:
        return str(self.where / "ca.pem")

    def deliver(self, user: str, letters: Iterable[bytes], folder: str = "") -> None:
        """Put letters into a mailbox behind the server's back, as a local MTA would."""
        maildir = self.where / "mail" / user / "Maildir" / folder
        owner = mail_account()
        for path in (maildir, *(maildir / part for part in ("cur", "new", "tmp"))):
            path.mkdir(parents=True, exist_ok=True)
        for number, letter in enumerate(letters, len(list((maildir / "new").iterdir())) + 1):
            (maildir / "new" / f"{1_700_000_000 + number}.{number}.test").write_bytes(letter)
        if os.geteuid() == 0:
            for path in (self.where / "mail" / user, *(self.where / "mail" / user).rglob("*")):
                os.chown(path, owner.pw_uid, owner.pw_gid)

    def take_over(self, user: str) -> None:
        """Put into the server's own storage what lies in a user's Maildir."""
        home = self.where / "mail" / user
        owner = mail_account()
        # without -u it asks nobody who the user is; mail_location's "~" is HOME
        subprocess.run(
            [*("doveadm", "-c", str(self.where / "dovecot.conf"), "import"),
             *(f"maildir:{home}/Maildir", "", "ALL")],
            check=True,
            capture_output=True,
            env={**os.environ, "HOME": str(home), "USER": user},
            user=owner.pw_uid if os.geteuid() == 0 else None,
            group=owner.pw_gid if os.geteuid() == 0 else None,
        )  # fmt: skip
        shutil.rmtree(home / "Maildir")


def mail_account() -> pwd.struct_passwd:
    """Whose the mail is: Dovecot refuses to serve any as root."""
    return pwd.getpwnam("mail") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def start(
    where: Path,
    *,
    port: int = 0,
    tls_port: int = 0,
    capability: str = "",
    separator: str = "/",
    prefix: str = "",
    certificate_days: int = 2,
    certified: str = "DNS:localhost,IP:127.0.0.1",
    introspection: str = "",
    mechanisms: str = "",
    client_certificates: bool = False,
    storage: str = "maildir:~/Maildir",
) -> Dovecot:
    """Start a server in a folder of its own; it listens when this returns.

    `capability` replaces what the server says it can do after login; a negative
    `certificate_days` gives an expired certificate; `certified` is whom it names. With
    `introspection`, the URL of an endpoint (RFC 7662), OAuth2 tokens are accepted too, by
    `mechanisms` (SASL's names). With `client_certificates` it lets in who has one of its own CA:
    DIR/client.pem and DIR/client.key. Each account has a folder for junk, "Unwanted". Where the
    `storage` is none that `deliver` writes, `take_over` puts there what was delivered.
    """
    program = installed()
    if program is None:
        raise FileNotFoundError("dovecot is not installed")
    where = where.resolve()
    server = Dovecot(where, port or free_port(), tls_port or free_port())
    shutil.rmtree(where / "run", ignore_errors=True)  # a stale socket there delays the first login
    for name in ("run", "state", "mail"):
        (where / name).mkdir(parents=True, exist_ok=True)
    owner, me = mail_account(), pwd.getpwuid(os.geteuid())
    os.chown(where / "mail", owner.pw_uid, owner.pw_gid)
    root = os.geteuid() == 0
    certify(where, certificate_days, certified)
    (where / "dovecot.conf").write_text(
        CONFIGURATION.format(
            where=where,
            run=where / "run",
            port=server.port,
            tls_port=server.tls_port,
            internal="dovecot" if root else me.pw_name,
            internal_group="dovecot" if root else grp.getgrgid(me.pw_gid).gr_name,
            uid=owner.pw_uid,
            gid=owner.pw_gid,
            password=PASSWORD,
            mechanisms=f"plain login {mechanisms or ('xoauth2 oauthbearer' if introspection else '')}",
            oauth2=OAUTH2.format(where=where) if introspection else "",
            separator=separator,
            junk="subscribe",
            storage=storage,
            more=CLIENTS.format(where=where) if client_certificates else "",
            prefix=prefix,
            capability=f"imap_capability = {capability}" if capability else "",
        )
    )
    (where / "oauth2.conf").write_text(INTROSPECTION.format(url=introspection))
    with (where / "stdout.log").open("ab") as out:
        process = subprocess.Popen(
            [program, "-F", "-c", str(where / "dovecot.conf")],
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    (where / "pid").write_text(str(process.pid))
    process.returncode = 0  # it outlives us when started from the command line; stop() ends it
    for listening in (server.port, server.tls_port):
        await_listening(listening, where)
    return server


def stop(*folders: Path) -> None:
    """End the servers in these folders, all at once, and wait until they are gone."""
    pids = [int((where / "pid").read_text()) for where in folders]
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + STOPS_WITHIN
    for pid in pids:
        while _is_running(pid) and time.monotonic() < end:
            time.sleep(0.05)


def _is_running(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG) == (0, 0)
    except ChildProcessError:  # not ours: started from another command line
        return Path(f"/proc/{pid}").exists()


def certify(where: Path, days: int, names: str) -> None:
    """A certificate authority, and a server certificate for some names from it."""
    (where / "names.cnf").write_text(f"subjectAltName={names}\n")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    _openssl(where, "req", "-x509", *key, "-days", "3", "-subj", "/CN=bounced test CA",
             "-addext", "keyUsage=critical,keyCertSign,cRLSign", "-keyout", "ca.key", "-out", "ca.pem")  # fmt: skip
    _openssl(
        where, "req", *key, "-subj", "/CN=localhost", "-keyout", "server.key", "-out", "server.csr"
    )
    _openssl(where, "x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
             "-days", str(days), "-extfile", "names.cnf", "-out", "server.pem")  # fmt: skip
    _openssl(where, "req", *key, "-subj", "/CN=bounced client", "-keyout", "client.key",
             "-out", "client.csr")  # fmt: skip
    _openssl(where, "x509", "-req", "-in", "client.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
             "-days", "2", "-out", "client.pem")  # fmt: skip


def _openssl(where: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=where, check=True, capture_output=True)


def await_listening(port: int, where: Path) -> None:
    end = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), 0.5).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError((where / "stdout.log").read_text() or f"dovecot does not listen on {port}")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=("start", "stop"))
    parser.add_argument("where", type=Path)
    parser.add_argument("--port", type=int, default=10143)
    parser.add_argument("--tls-port", type=int, default=10993)
    chosen = parser.parse_args()
    if chosen.command == "stop":
        stop(chosen.where)
        return 0
    try:
        server = start(chosen.where, port=chosen.port, tls_port=chosen.tls_port)
    except FileNotFoundError as problem:
        print(problem, file=sys.stderr)  # noqa: T201
        return 3
    print(f"imaps://127.0.0.1:{server.tls_port} imap://127.0.0.1:{server.port} {server.ca_file}")  # noqa: T201
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

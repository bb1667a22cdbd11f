"""A throw-away MariaDB server on loopback, for tests.

    python -m tests.servers.mariadb start DIR PORT     # prints the URL for BOUNCED_TEST_MARIADB
    python -m tests.servers.mariadb stop DIR

Installs nothing: it takes `mariadbd` from PATH or /usr/sbin and exits with 3 where there is none.
MariaDB refuses to run as root; root becomes `mysql` or `nobody` for it. The server's defaults are
unkind on purpose (another collation, another time zone, no strict mode): what a ledger needs it
has to ask for itself.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

UNKIND = (
    "--character-set-server=latin1",
    "--collation-server=latin1_swedish_ci",
    "--sql-mode=",
    "--default-time-zone=+05:00",
)
SAFE_TO_LOSE = (
    "--debug-no-sync",
    "--innodb-flush-method=nosync",
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-doublewrite=0",
    "--sync-binlog=0",
    "--skip-log-bin",
)
PATIENCE_SECONDS = 60


def program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def account() -> pwd.struct_passwd | None:
    """Whom to become; None when we are nobody special already."""
    if os.geteuid() != 0:
        return None
    for name in ("mysql", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise SystemExit("root may not run MariaDB and there is neither mysql nor nobody")


def identity() -> dict[str, object]:
    who = account()
    return {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": []} if who else {}


def start(where: Path, port: int) -> str:
    server, install = program("mariadbd"), program("mariadb-install-db")
    if server is None or install is None:
        print("no MariaDB server is installed", file=sys.stderr)  # noqa: T201
        raise SystemExit(3)
    where.mkdir(parents=True, exist_ok=True)
    if who := account():
        os.chown(where, who.pw_uid, who.pw_gid)
    data, log = where / "data", where / "log.err"
    ids = identity()
    if not data.exists():
        plain = ["--no-defaults", "--skip-test-db", "--auth-root-authentication-method=normal"]
        subprocess.run(  # type: ignore[call-overload]
            [install, *plain, f"--datadir={data}"],
            check=True,
            cwd="/",
            stdout=subprocess.DEVNULL,
            **ids,
        )
    place = [f"--datadir={data}", f"--socket={where / 'socket'}", f"--pid-file={where / 'pid'}"]
    ear = ["--bind-address=127.0.0.1", f"--port={port}", f"--log-error={log}"]
    subprocess.Popen(  # type: ignore[call-overload]
        [server, "--no-defaults", *place, *ear, *UNKIND, *SAFE_TO_LOSE],
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        **ids,
    )
    _wait(where, log)
    client = program("mariadb") or "mariadb"
    user = (
        "CREATE USER IF NOT EXISTS bounced@'127.0.0.1'; "
        "GRANT ALL ON *.* TO bounced@'127.0.0.1'; CREATE DATABASE IF NOT EXISTS bounced"
    )
    words = ["--no-defaults", f"--socket={where / 'socket'}", "-u", "root", "-e", user]
    subprocess.run([client, *words], check=True)
    return f"mariadb://bounced@127.0.0.1:{port}/bounced"


def _wait(where: Path, log: Path) -> None:
    ends = time.monotonic() + PATIENCE_SECONDS
    while not ((where / "socket").exists() and (where / "pid").exists()):
        if time.monotonic() > ends:
            raise SystemExit(f"MariaDB did not start; see {log}")
        time.sleep(0.1)


def stop(where: Path) -> None:
    """End the server of this directory, and none else."""
    try:
        number = int((where / "pid").read_text())
        os.kill(number, signal.SIGTERM)
    except (FileNotFoundError, ProcessLookupError):
        return
    ends = time.monotonic() + PATIENCE_SECONDS
    while (where / "pid").exists() and time.monotonic() < ends:
        time.sleep(0.1)


def main(words: list[str]) -> None:
    if words[:1] == ["start"] and len(words) == 3:
        print(start(Path(words[1]).resolve(), int(words[2])))  # noqa: T201
    elif words[:1] == ["stop"] and len(words) == 2:
        stop(Path(words[1]).resolve())
    else:
        raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])

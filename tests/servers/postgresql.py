"""A throw-away PostgreSQL server on loopback, for tests.

    python tests/servers/postgresql.py start DIR PORT     # prints the URL for BOUNCED_TEST_POSTGRESQL
    python tests/servers/postgresql.py stop DIR

Installs nothing: it takes the newest binaries it finds (PATH, /usr/lib/postgresql/*/bin) and
exits with 3 when there are none. PostgreSQL refuses to run as root; root becomes `postgres` or
`nobody` for it.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

SAFE_TO_LOSE = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


def binaries() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"), key=lambda p: int(p.parts[4]))
    if found:
        return found[-1].parent
    on_path = shutil.which("pg_ctl")
    return Path(on_path).parent if on_path else None


def account() -> pwd.struct_passwd | None:
    """Whom to become; None when we are nobody special already."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise SystemExit("root may not run PostgreSQL and there is neither postgres nor nobody")


def run(*command: str | Path) -> None:
    who = account()
    ids = {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": []} if who else {}
    environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"}
    subprocess.run(  # type: ignore[call-overload]
        [str(word) for word in command],
        check=True,
        cwd="/",
        env=environment,
        stdout=subprocess.DEVNULL,
        **ids,
    )


def start(where: Path, port: int, *, durable: bool = False) -> str:
    """Start it; what it holds may be lost in a crash unless it is to be `durable`."""
    programs = binaries()
    if programs is None:
        print("no PostgreSQL server is installed", file=sys.stderr)  # noqa: T201
        raise SystemExit(3)
    where.mkdir(parents=True, exist_ok=True)
    who = account()
    if who:
        os.chown(where, who.pw_uid, who.pw_gid)
    data = where / "data"
    if not data.exists():
        run(programs / "initdb", "-D", data, "-U", "bounced", "-A", "trust", "-E", "UTF8", "-N")
    settings = "" if durable else " ".join(f"-c {setting}" for setting in SAFE_TO_LOSE)
    options = (
        f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={where} {settings}"
    )
    run(programs / "pg_ctl", "-D", data, "-l", where / "log", "-w", "-o", options, "start")
    return f"postgresql://bounced@127.0.0.1:{port}/postgres"


def stop(where: Path) -> None:
    programs = binaries()
    if programs is not None and (where / "data" / "postmaster.pid").exists():
        run(programs / "pg_ctl", "-D", where / "data", "-m", "immediate", "-w", "stop")


def main(words: list[str]) -> None:
    if words[:1] == ["start"] and len(words) == 3:
        print(start(Path(words[1]).resolve(), int(words[2])))  # noqa: T201
    elif words[:1] == ["stop"] and len(words) == 2:
        stop(Path(words[1]).resolve())
    else:
        raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])

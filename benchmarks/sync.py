"""What `bounced sync` takes end to end, from a Dovecot of its own over TLS into a new database.

    python benchmarks/sync.py                                # 5000 letters into SQLite
    python benchmarks/sync.py --letters 1000 10000 100000    # does the cost of a letter stay flat?
    python benchmarks/sync.py --database postgresql          # into a PostgreSQL of its own
    python benchmarks/sync.py --letters 200000 --samples     # a soak: memory and files as it goes
    python benchmarks/sync.py --grow                         # the same database, fuller each time
    python benchmarks/sync.py --compiled                     # with what `make compiled` has built

Letters are copies of fixtures/eml, each with its own Message-ID and its own recipients. CPU is that
of the `bounced sync` process (neither Dovecot's nor PostgreSQL's), less that of a sync of the first
few hundred, which have to pay for starting and for everything that is made at first use. It is
compared with reading letters, as warm, in a process that does nothing else.
"""

from __future__ import annotations

import argparse
import imaplib
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT))

from bounced import parse  # noqa: E402 - found from the checkout
from tests.servers import dovecot, postgresql  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bounced.model import Conclusion

USER = "bench"
WARM = 600
COMMAND = "from bounced.cli import main; main()"
READING = """
import sys
from datetime import UTC, datetime
from benchmarks.sync import letters
from bounced.model import Letter
from bounced.reading import read_letter
import resource, gc
gc.set_threshold(20_000, 10, 10)  # as commands have it
first, count, warm = (int(word) for word in sys.argv[1:])
at = datetime.now(UTC)
for raw in letters(0, warm):
    read_letter(Letter(1, raw), at)
raws = list(letters(first, count))
gc.collect()
began = resource.getrusage(resource.RUSAGE_SELF)
for uid, raw in enumerate(raws, 1):
    read_letter(Letter(uid, raw), at)
ended = resource.getrusage(resource.RUSAGE_SELF)
print(ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime)
"""


def letters(first: int, count: int) -> Iterator[bytes]:
    """Copies of the fixtures, each about recipients of its own: no two are one mail."""
    originals = templates()
    for number in range(first, first + count):
        yield one_more(originals[number % len(originals)], b"%07d" % number)


@cache
def templates() -> list[bytes]:
    """Those letters whose recipients can all be told apart by a mark (not in base64)."""
    paths = sorted((ROOT / "fixtures" / "eml").rglob("*.eml"))
    made = [templated(path.read_bytes()) for path in paths]
    return [one for one in made if all_marked(parse(one_more(one, b"0000000")))]


def all_marked(read: Conclusion) -> bool:
    told = [bounce.recipient for bounce in read.bounces]
    named = [name for one in told for name in (one.address, one.original_address) if name]
    return all("0000000" in name for name in named)


def templated(raw: bytes) -> bytes:
    """A letter with a mark at its Message-ID, its end and wherever it names a recipient."""
    raw = re.sub(rb"(?im)^(message-id:[ \t]*<)", rb"\g<1>s\0.", raw.replace(b"\0", b""))
    told = [bounce.recipient for bounce in parse(raw).bounces]
    named = {name for one in told for name in (one.address, one.original_address) if name}
    for address in sorted(named, key=len, reverse=True):
        local, at, domain = address.encode().partition(b"@")
        whole = rb"(?i)(?<![\w.+=-])(" + re.escape(local) + rb")(@" + re.escape(domain) + rb")"
        if local and at:
            raw = re.sub(whole, rb"\g<1>.\0\g<2>", raw)
    return raw + b"\r\n\0\r\n"


def one_more(template: bytes, mark: bytes) -> bytes:
    return template.replace(b"\0", mark)


@dataclass(slots=True)
class Measured:
    """One process: CPU and wall seconds, peak MB, and (seconds, MB, open files) as it went."""

    cpu: float
    seconds: float
    peak: float
    samples: list[tuple[float, float, int]] = field(default_factory=list)


def measured(command: list[str], where: Path) -> Measured:
    """Run a command that must go through; 1 says that a person should look at something."""
    began = time.monotonic()
    samples: list[tuple[float, float, int]] = []
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, cwd=where, stdout=quiet, stderr=quiet) as process:
        while os.waitid(os.P_PID, process.pid, _LOOK) is None:
            now = resident_mb(process.pid)
            if now is not None:
                samples.append((time.monotonic() - began, now, open_files(process.pid)))
            time.sleep(0.1)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):
        raise SystemExit(f"{command[-2:]} ended with {process.returncode}")
    cpu = used.ru_utime + used.ru_stime
    # not ru_maxrss, which knows how big we were when we forked
    peak = max((resident for _, resident, _ in samples), default=0.0)
    return Measured(cpu, time.monotonic() - began, peak, samples)


_LOOK = os.WEXITED | os.WNOHANG | os.WNOWAIT


def resident_mb(pid: int) -> float | None:
    try:
        status = Path(f"/proc/{pid}/status").read_text("ascii")
    except OSError:
        return None
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found else None


def open_files(pid: int) -> int:
    try:
        return len(list(Path(f"/proc/{pid}/fd").iterdir()))
    except OSError:  # it has just ended
        return 0


def reading_alone(home: Path, first: int, count: int) -> float:
    """CPU seconds of reading and judging the same letters, nothing else."""
    command = [sys.executable, "-c", READING, str(first), str(count), str(WARM)]
    told = subprocess.run(command, cwd=home, capture_output=True, text=True, check=True)
    return float(told.stdout)


class Setting:
    """A Dovecot, a database and a configuration, for one row of the table or several."""

    def __init__(self, home: Path, server: dovecot.Dovecot, url: str, limit: int) -> None:
        self.home = home
        self.server = server
        (home / "config.toml").write_text(
            f'[database]\nurl = "{url}"\n[brake]\nfloor = {limit}\n[[mailbox]]\nname = "bench"\n'
            f'host = "localhost"\nport = {server.tls_port}\nca_file = "{server.ca_file}"\n'
            f'user = "{USER}"\npassword = "{server.password}"\n'
        )
        (home / "config.toml").chmod(0o600)
        measured([sys.executable, "-c", COMMAND, "db", "upgrade"], home)

    def deliver(self, first: int, count: int) -> None:
        self.server.deliver(USER, letters(first, count))
        self.server.take_over(USER)

    def waiting(self) -> int:
        with imaplib.IMAP4("127.0.0.1", self.server.port) as connection:
            connection.login(USER, self.server.password)
            return int(connection.select(readonly=True)[1][0] or 0)

    def sync(self, jobs: int) -> Measured:
        command = [sys.executable, "-c", COMMAND, "sync", "--jobs", str(jobs)]
        return measured(command, self.home)


def row(setting: Setting, first: int, count: int, jobs: int, *, sampled: bool) -> None:
    setting.deliver(10**7 - WARM - first, WARM)
    idle = setting.sync(jobs)
    setting.deliver(first, count)
    done = setting.sync(jobs)
    if waiting := setting.waiting():
        raise SystemExit(f"{waiting} letters are still in the mailbox")
    alone = reading_alone(setting.home, first, min(count, 5000)) / min(count, 5000)
    each = (done.cpu - idle.cpu) / (count - WARM)
    print(
        f"{count:>9} {each / alone:9.2f} x {each * 1e6:9.0f} us {alone * 1e6:9.0f} us"
        f" {(count - WARM) / (done.seconds - idle.seconds):9.0f}/s {done.peak:8.0f} MB",
        flush=True,
    )
    if sampled:
        show(done, count)


def show(done: Measured, count: int) -> None:
    for at, resident, files in done.samples[:: max(1, len(done.samples) // 12)]:
        print(f"{at:8.1f} s  {resident:6.1f} MB  {files} files open")
    # without its very end, where what was held is given back
    half = [one for one in done.samples if 0.5 < one[0] / done.seconds < 0.95]
    letters_between = (half[-1][0] - half[0][0]) / done.seconds * count
    slope = (half[-1][1] - half[0][1]) / letters_between * 10_000
    print(f"slope of the second half {slope:+.2f} MB per 10,000 letters")


@contextmanager
def database(kind: str, home: Path) -> Iterator[str]:
    if kind == "sqlite":
        yield f"sqlite:///{home}/bench.db"
        return
    where = home / "postgresql"
    try:
        yield postgresql.start(where, dovecot.free_port(), durable=True)
    finally:
        postgresql.stop(where)


@contextmanager
def setting(kind: str, limit: int) -> Iterator[Setting]:
    home = Path(tempfile.mkdtemp(prefix="bounced-bench-"))
    home.chmod(0o755)
    # a maildir's list of names is read and written whole at each move
    server = dovecot.start(home / "dovecot", storage="mdbox:~/mdbox")
    try:
        with database(kind, home) as url:
            yield Setting(home, server, url, limit)
    finally:
        dovecot.stop(server.where)
        shutil.rmtree(home)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--letters", type=int, nargs="+", default=[5000])
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--grow", action="store_true", help="One database for all rows.")
    parser.add_argument("--jobs", type=int, default=1, help="Processes that read letters.")
    parser.add_argument("--samples", action="store_true", help="Memory and files as it goes.")
    parser.add_argument("--compiled", action="store_true", help="What lies in build/compiled.")
    wanted = parser.parse_args()
    # for the processes that are measured; this one measures with the checkout
    places = [ROOT / "build" / "compiled", ROOT] if wanted.compiled else [ROOT]
    os.environ["PYTHONPATH"] = os.pathsep.join(map(str, places))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    limit = sum(wanted.letters)
    how = ", compiled" if wanted.compiled else ""
    print(f"{wanted.database}{how}: sync beside reading alone, CPU a letter")
    print(f"{'letters':>9} {'ratio':>11} {'sync':>12} {'reading':>12} {'wall':>11} {'peak':>11}")
    first = 0
    if wanted.grow:
        with setting(wanted.database, limit) as kept:
            for count in wanted.letters:
                row(kept, first, count, wanted.jobs, sampled=wanted.samples)
                first += count
        return
    for count in wanted.letters:
        with setting(wanted.database, limit) as fresh:
            row(fresh, 0, count, wanted.jobs, sampled=wanted.samples)


if __name__ == "__main__":
    main()

"""How much memory a sync of many letters takes, from a Dovecot of its own over TLS.

    python benchmarks/soak.py [--letters 10000] [--url sqlite:///soak.db]

Fills a mailbox with copies of fixtures/eml (each a letter of its own, about the same few hundred
recipients), runs `bounced sync` as a process, and prints its resident memory as it goes, letters
a second, and the slope in MB per 10,000 letters over the second half of the run.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests.servers import dovecot  # noqa: E402 - found from the checkout


def letters(count: int) -> list[bytes]:
    """Copies of the fixtures, each with its own Message-ID and last line: no two are one mail."""
    originals = [path.read_bytes() for path in sorted((ROOT / "fixtures" / "eml").rglob("*.eml"))]
    return [one_more(originals[n % len(originals)], n) for n in range(count)]


def one_more(raw: bytes, number: int) -> bytes:
    mark = b"%07d" % number
    raw = re.sub(rb"(?im)^(message-id:[ \t]*<)", rb"\g<1>s" + mark + b".", raw)
    return raw + b"\r\n" + mark + b"\r\n"


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--letters", type=int, default=10_000)
    parser.add_argument("--url", default="")
    wanted = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="bounced-soak-"))
    home.chmod(0o755)
    server = dovecot.start(home / "dovecot")
    try:
        server.deliver("soak", letters(wanted.letters))
        run(home, server, wanted.url or f"sqlite:///{home}/soak.db", wanted.letters)
    finally:
        dovecot.stop(server.where)
        shutil.rmtree(home)


def run(home: Path, server: dovecot.Dovecot, url: str, count: int) -> None:
    (home / "config.toml").write_text(
        f'[database]\nurl = "{url}"\n[brake]\nfloor = {count}\n[[mailbox]]\nname = "soak"\n'
        f'host = "localhost"\nport = {server.tls_port}\nca_file = "{server.ca_file}"\n'
        f'user = "soak"\npassword = "{server.password}"\n'
    )
    (home / "config.toml").chmod(0o600)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-c", "from bounced.cli import main; main()", "sync", "--json"],
        cwd=home,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    samples: list[tuple[float, float, int]] = []
    while process.poll() is None:
        resident = resident_mb(process.pid)
        if resident:
            files = open_files(process.pid)
            samples.append((time.monotonic() - began, resident, files))
        time.sleep(0.25)
    seconds = time.monotonic() - began
    print(process.stdout.read().strip() if process.stdout else "")
    half = [s for s in samples if s[0] > seconds / 2]
    slope = (half[-1][1] - half[0][1]) / (half[-1][0] - half[0][0]) * seconds / count * 10_000
    for at, resident, files in samples[:: max(1, len(samples) // 12)]:
        print(f"{at:6.1f} s  {resident:6.1f} MB  {files} files open")
    print(f"{count} letters in {seconds:.1f} s: {count / seconds:.0f} a second")
    print(f"peak {max(s[1] for s in samples):.1f} MB; slope {slope:+.2f} MB per 10,000 letters")


if __name__ == "__main__":
    main()

"""How quick reading and judging is, beside others that read the same mail.

    python benchmarks/speed.py [--rounds 5]        # pip install flufl.bounce to see it in the table
    python benchmarks/speed.py --compiled          # beside it, what `make compiled` has built
    python benchmarks/speed.py --check             # for CI: short, and fails when far too slow

Every contender reads the same letters in this one process, in turns, `--rounds` times; CPU time is
the measure, the median of the rounds is printed, and ratios come first, because machines differ.
"Cold" is without anything remembered of earlier letters (what servers say is much the same from
letter to letter, so that texts met before cost less), "warm" a second reading of the same ones:
a night's mail lies between the two, nearer to cold. Letters are those of fixtures/eml and, where
they lie beside the checkout, of ../shared.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import email
import functools
import gc
import importlib
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

ROOT = Path(__file__).parent.parent
COMPILED = ROOT / "build" / "compiled"

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bounced.message import Message
    from bounced.model import Conclusion, Report

SETS = {
    "fixtures": ROOT / "fixtures" / "eml",
    "corpus": ROOT.parent / "shared" / "corpus" / "eml",
    "mta": ROOT.parent / "shared" / "mta",
}
# What --check allows (bounced, cold, against the yardstick). Letters as they arrive must not cost
# more than twice their mere parsing; fixtures are a quarter as long and have little to parse.
ALLOWED = {"fixtures": 7.0, "corpus": 2.0, "mta": 2.0}
YARDSTICK = "email.message_from_bytes (parse only)"
COLD, WARM = "bounced.parse (cold)", "bounced.parse (warm)"


class Program(NamedTuple):
    """What is measured, and how it is called in the table (nothing: the checkout, as Python)."""

    called: str
    parse: Callable[[bytes], Conclusion]
    read: Callable[[bytes], Message]
    decode: Callable[[Message], Report]
    judge: Callable[[Report], Conclusion]

    def racer(self, name: str) -> str:
        """`COLD` or `WARM` with its own name to it."""
        return name.replace("parse", f"parse, {self.called}") if self.called else name


def program(place: Path, called: str = "") -> Program:
    """The package that lies in a folder, whatever else of that name is loaded already."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "bounced"]:
        del sys.modules[name]
    sys.path.insert(0, str(place))
    try:
        parse = importlib.import_module("bounced").parse
        parse(b"")  # loads what it needs, from here as well
        found = [
            importlib.import_module(f"bounced.{room}") for room in ("message", "decode", "rules")
        ]
    finally:
        sys.path.remove(str(place))
    return Program(called, parse, found[0].read, found[1].decode, found[2].judge)


def compiled() -> Program:
    """What `make compiled` has built. SystemExit where it has not, or of other sources."""
    for source in sorted((ROOT / "bounced").rglob("*.py")):
        built = COMPILED / source.relative_to(ROOT)
        if not built.exists() or built.read_bytes() != source.read_bytes():
            raise SystemExit(f"{built} is not what the checkout says. Type: make compiled")
    found = program(COMPILED, "compiled")
    if not str(sys.modules["bounced.message"].__file__).endswith(".so"):
        raise SystemExit(f"{COMPILED} holds no compiled modules. Type: make compiled")
    return found


class Sample(NamedTuple):
    path: Path
    raw: bytes


def samples(folder: Path) -> list[Sample]:
    return [Sample(path, path.read_bytes()) for path in sorted(folder.rglob("*.eml"))]


def contenders(programs: list[Program]) -> dict[str, Callable[[Sample], object]]:
    """Who takes part: name and what it does with one letter. Warm follows cold."""
    found: dict[str, Callable[[Sample], object]] = {
        "open and read the file (cat)": lambda sample: sample.path.read_bytes(),
        YARDSTICK: lambda sample: email.message_from_bytes(sample.raw),
    }
    for one in programs:
        for name in (COLD, WARM):
            found[one.racer(name)] = lambda sample, one=one: one.parse(sample.raw)  # type: ignore[misc]
    with contextlib.suppress(ImportError):
        scan = importlib.import_module("flufl.bounce").scan_message
        found["flufl.bounce (addresses only)"] = lambda sample: scan(
            email.message_from_bytes(sample.raw)
        )
    with warnings.catch_warnings(), contextlib.suppress(ImportError):
        warnings.simplefilter("ignore")
        mime = importlib.import_module("flanker.mime")
        found["flanker (parse only)"] = lambda sample: mime.from_string(
            sample.raw.decode("latin-1")
        )
    return found


def forget() -> None:
    """Empty what the program remembers of letters (its bounded caches, not its books)."""
    remembering = type(functools.lru_cache(1)(len))
    for one in gc.get_objects():
        # what compiled code remembers of a method tells of no module
        ours = isinstance(one, remembering) and (one.__module__ or "bounced").startswith("bounced")
        if ours and one.cache_info().maxsize:
            one.cache_clear()
    gc.collect()


def microseconds(work: Callable[[Sample], object], letters: list[Sample]) -> float:
    """CPU microseconds a letter; what a contender cannot read counts with the time it took."""
    began = time.process_time()
    for letter in letters:
        with contextlib.suppress(Exception):
            work(letter)
    return (time.process_time() - began) / len(letters) * 1e6


def laps(
    racers: dict[str, Callable[[Sample], object]], letters: list[Sample], rounds: int
) -> list[dict[str, float]]:
    for work in racers.values():
        microseconds(work, letters[:200])
    driven = []
    for _ in range(rounds):
        lap = {}
        for name, work in racers.items():
            if name.endswith("(cold)"):
                forget()
            lap[name] = microseconds(work, letters)
        driven.append(lap)
    return driven


def medians(driven: list[dict[str, float]]) -> dict[str, tuple[float, float]]:
    """Of each contender the median of its time and of its ratio to the yardstick's in its lap."""
    return {
        name: (
            statistics.median(lap[name] for lap in driven),
            statistics.median(lap[name] / lap[YARDSTICK] for lap in driven),
        )
        for name in driven[0]
    }


def stages(one: Program, letters: list[Sample]) -> dict[str, float]:
    """What each room takes of a cold reading."""
    forget()
    spent: dict[str, float] = {}
    found: list[Any] = [letter.raw for letter in letters]
    rooms: dict[str, Callable[[Any], Any]] = {
        "read": one.read,
        "decode": one.decode,
        "judge": one.judge,
    }
    for name, work in rooms.items():
        began = time.process_time()
        found = [work(what) for what in found]
        spent[name] = (time.process_time() - began) / len(letters) * 1e6
    return spent


def slowest(parse: Callable[[bytes], object], letters: list[Sample]) -> tuple[float, float]:
    """Milliseconds of the slowest letter, and of that which 99 of a hundred do not exceed."""
    spent = []
    for letter in letters:
        began = time.process_time()
        parse(letter.raw)
        spent.append((time.process_time() - began) * 1e3)
    return max(spent), sorted(spent)[len(spent) * 99 // 100]


def readers(one: Program, letters: list[Sample]) -> str:
    """How many letters each reader of the MIME structure took."""
    took = Counter(
        one.read(letter.raw).reader
        for letter in letters
        if b"multipart/" in letter.raw[:20_000].lower()
    )
    return ", ".join(f"{name} {number}" for name, number in took.most_common())


def peak_memory(folder: Path, work: str) -> str:
    """MiB resident at most of a process that does nothing else, where the system tells it."""
    code = f"""
import email, pathlib, re
{work}
for path in pathlib.Path({str(folder)!r}).rglob("*.eml"):
    work(path.read_bytes())
print(int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) // 1024, "MiB")
"""
    command = [sys.executable, "-c", code]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return told.stdout.strip() or "unknown"


def cpu_milliseconds(command: list[str]) -> float:
    """CPU of a whole process. RuntimeError where it fails."""
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):
        raise RuntimeError(f"{command} failed: {process.returncode}")
    return (used.ru_utime + used.ru_stime) * 1e3


def as_installed(folder: Path) -> None:
    """Let commands from here on find our bytecode, in `folder`, as what pip has installed does."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(folder)
    subprocess.run([sys.executable, "-m", "compileall", "-q", ROOT / "bounced"], check=True)


def start_up(rounds: int) -> Iterator[tuple[str, float]]:
    """CPU milliseconds of whole commands, `python -c pass` first."""
    program = [sys.executable, "-c", "from bounced.cli import main; main()"]
    report, prose = (
        str(next(SETS["fixtures"].rglob(f"{who}/01*.eml"))) for who in ("postfix", "qmail")
    )
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "bounced --help": [*program, "--help"],
        "bounced parse one.eml, a report": [*program, "parse", report],
        "bounced parse one.eml, a notice in prose": [*program, "parse", prose],
        "bounced sync --help": [*program, "sync", "--help"],
    }
    with tempfile.TemporaryDirectory() as folder:
        as_installed(Path(folder))
        for name, command in commands.items():
            cpu_milliseconds(command)  # makes the bytecode of what it needs besides
            yield name, statistics.median(cpu_milliseconds(command) for _ in range(rounds))


def megabytes() -> dict[str, bytes]:
    """Letters of a megabyte that give each room much to do."""
    head = b"From: MAILER-DAEMON@example.com\nTo: b@example.org\nSubject: failure notice\n"
    text = b"Your message to reader@example.com could not be delivered: 550 5.1.1 unknown\n"
    report = (
        head + b"Content-Type: multipart/report; boundary=b\n\n--b\n\nfailed\n"
        b"--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example.com\n\n%s\n"
        b"--b\nContent-Type: message/rfc822\n\n%s\n--b--\n"
    )
    failed = b"Final-Recipient: rfc822; r%d@example.com\nAction: failed\nStatus: 5.1.1\n\n"
    many = b"".join(failed % number for number in range(12_000))
    subject = b"Subject: hello\n\n"
    return {
        "of words": head + b"\n" + text * 13_000,
        "of one line": head + b"\n" + text.replace(b"\n", b" ") * 13_000,
        "of addresses": head + b"\n" + b"<reader@example.com>:\n" * 47_000,
        "of recipients": report % (many, subject),
        "that returns as much": report % (failed % 1, subject + text * 13_000),
        "of base64": head
        + b"Content-Transfer-Encoding: base64\n\n"
        + base64.encodebytes(text * 9_700),
    }


def table(programs: list[Program], name: str, folder: Path, rounds: int) -> None:
    letters = samples(folder)
    if not letters:
        print(f"== {name}: not here")
        return
    figures = medians(laps(contenders(programs), letters, rounds))
    mean = statistics.mean(len(letter.raw) for letter in letters)
    print(f"== {name}: {len(letters)} letters of {mean / 1024:.1f} KiB on average")
    for who, (spent, ratio) in sorted(figures.items(), key=lambda pair: pair[1]):
        print(f"{ratio:6.2f} x   {spent:7.0f} us   {who}")
    for one in programs:
        who = f" ({one.called})" if one.called else ""
        told = ", ".join(f"{stage} {spent:.0f} us" for stage, spent in stages(one, letters).items())
        print(f"        of which{who} {told}")
        longest, most = slowest(one.parse, letters)
        print(f"        slowest letter{who} {longest:.1f} ms, 99 of 100 within {most:.1f} ms")
    print(f"        multiparts by reader: {readers(programs[0], letters)}")
    ours = peak_memory(folder, "from bounced import parse as work")
    theirs = peak_memory(folder, "work = email.message_from_bytes")
    print(f"        peak memory {ours}, of the yardstick {theirs}")


def same(programs: list[Program], letters: list[Sample]) -> bool:
    """Whether all of them conclude the same, to the letter."""
    told = [[repr(one.parse(letter.raw)) for letter in letters] for one in programs]
    others = [letter.path for letter, *said in zip(letters, *told, strict=True) if len({*said}) > 1]
    for path in others:
        print(f"{path}: compiled, it is concluded otherwise")
    return not others


def check(programs: list[Program]) -> int:
    """Whether reading costs far more than it should: medians of paired laps, so that noise, which
    both of a pair meet, cannot fail it. Or whether compiled it says something else.
    """
    failed = sum(not same(programs, samples(folder)) for folder in SETS.values())
    wanted = (YARDSTICK, *(one.racer(COLD) for one in programs))
    racers = {name: work for name, work in contenders(programs).items() if name in wanted}
    for name, folder in SETS.items():
        letters = samples(folder)[:1_000]
        if not letters:
            print(f"{name}: not here")
            continue
        found = medians(laps(racers, letters, 7))
        for racer in wanted[1:]:
            ratio = found[racer][1]
            failed += ratio > ALLOWED[name]
            print(
                f"{name}: {racer} {ratio:.2f} times the mere parsing; {ALLOWED[name]} is the most"
            )
    return 1 if failed else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--check", action="store_true", help="short; fail when far too slow")
    parser.add_argument("--compiled", action="store_true", help="measure build/compiled beside it")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)  # contenders tell of what they cannot read
    programs = [program(ROOT), *([compiled()] if arguments.compiled else [])]
    if arguments.check:
        return check(programs)
    for name, folder in SETS.items():
        table(programs, name, folder, arguments.rounds)
    print("== a megabyte")
    for name, raw in megabytes().items():
        spent = [f"{slowest(one.parse, [Sample(ROOT, raw)])[0]:7.0f} ms" for one in programs]
        print(*spent, f"  {name}")
    print("== start")
    for name, spent in start_up(arguments.rounds):
        print(f"{spent:7.0f} ms   {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Say where the time of asyncmail goes: the functions of one work, counted by what they are for.

    python benchmarks/where.py                     sending, receiving, retrieving
    python benchmarks/where.py send-1 retrieve-2k  some works
    python benchmarks/where.py --quick             whether it runs

A profiler makes each call of a function cost more than it does otherwise, so shares are what counts here; what
a message takes without one is told by `compare.py`.
"""

from __future__ import annotations

import argparse
import pstats
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from harness import Work, prepare, scaled
from table import print_rows
from works import WORKS

_HERE = Path(__file__).parent
_USUAL = ("send-1", "server-pipelining", "retrieve-2k")
_LEAST = 0.005  # of the time, to be shown
_WAITING = "<method 'poll' of"
_SYSTEM_CALLS = ("<method 'send' of '_socket", "<method 'recv")

# The first that is part of a function's path says what it is for; what is none of these belongs to the start.
_PURPOSES = (
    ("asyncmail/message", "envelope and octets of the message"),
    ("asyncmail/address", "envelope and octets of the message"),
    ("asyncmail/wire", "line ends and dots"),
    ("asyncmail/smtp/outcome", "outcomes"),
    ("asyncmail/smtp", "SMTP: commands, replies, states, transactions"),
    ("asyncmail/pop3", "POP3: commands, responses, states"),
    ("asyncmail/sending", "pool, queue, outcomes handed over"),
    ("asyncmail/client", "sessions"),
    ("asyncmail/server", "sessions"),
    ("asyncmail/net", "streams"),
    ("asyncio", "event loop"),
    ("selectors.py", "event loop"),
    ("contenders", "the program that uses it"),
)


def main() -> None:
    """Profile what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("works", nargs="*", metavar="WORK", help=" ".join(work.name for work in WORKS))
    parser.add_argument("--quick", action="store_true", help="a hundredth of the work")
    chosen = parser.parse_args()
    prepare()
    for work in WORKS:
        if work.name in (chosen.works or _USUAL):
            _show(work, 0.01 if chosen.quick else 1.0)


def _show(work: Work, scale: float) -> None:
    contender = work.contenders[0]
    messages = scaled(contender.messages, scale)
    with tempfile.TemporaryDirectory() as directory, work.serve(scale) as options:
        file = Path(directory, "profile")
        command = [sys.executable, "-m", "cProfile", "-o", str(file), "-m", f"contenders.{contender.module}"]
        command += ["--messages", str(messages), *options, *contender.options]
        subprocess.run(command, cwd=_HERE, check=True, stdout=subprocess.DEVNULL)
        functions = pstats.Stats(str(file)).stats  # type: ignore[attr-defined]
    seconds: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    for (path, _, name), (_, number, own, _, callers) in functions.items():
        if name.startswith(_SYSTEM_CALLS):
            seconds["system calls of sockets"] += own
            calls["system calls of sockets"] += number
        elif path == "~" and not name.startswith(
            _WAITING
        ):  # len, append, search, …: the time of who calls it
            for (caller, _, _), (_, _, own, _) in callers.items():
                if purpose := _purpose(caller):
                    seconds[purpose] += own
        elif purpose := _purpose(path):
            seconds[purpose] += own
            calls[purpose] += number
    total = seconds.total()
    print_rows(
        f"{work.title} ({work.name})",
        ["", "share", "calls of functions in Python for each message"],
        [
            [purpose, f"{own / total:.0%}", f"{calls[purpose] / messages:.1f}"]
            for purpose, own in seconds.most_common()
            if own > _LEAST * total
        ],
    )


def _purpose(path: str) -> str:
    return next((purpose for part, purpose in _PURPOSES if part in path), "")


if __name__ == "__main__":
    main()

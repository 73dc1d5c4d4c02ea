"""Compare asyncmail with other programs, in one process tree on one core, and print what came of it.

    python benchmarks/compare.py                       everything; takes about half an hour
    python benchmarks/compare.py --only send-1 server  some works, or all whose names begin so
    python benchmarks/compare.py --quick               whether everything runs; the figures mean nothing

It fails nothing: a mark that is missed is printed, as is the reason why a contender could not run.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from harness import compare, prepare
from table import as_json, print_finding, print_summary
from works import WORKS

if TYPE_CHECKING:
    from harness import Work

_QUICK = 0.01


def main() -> None:
    """Run what the command line asks for."""
    options = _parse()
    works = [work for work in WORKS if not options.only or any(work in _named(name) for name in options.only)]
    prepare()
    rounds, scale = (1, _QUICK) if options.quick else (options.rounds, 1.0)
    findings = []
    for work in works:
        finding = compare(work, rounds=rounds, scale=scale, progress=_show)
        _show("")
        findings.append(finding)
        if not options.json:
            print_finding(finding)
    if options.json:
        json.dump([as_json(finding) for finding in findings], sys.stdout, indent=2)
        print()
    else:
        print_summary(findings)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="NAME", help=" ".join(work.name for work in WORKS)
    )
    parser.add_argument("--rounds", type=int, default=5, help="turns of each contender (default 5)")
    parser.add_argument("--quick", action="store_true", help="one round of a hundredth of the work")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    options = parser.parse_args()
    for name in options.only:
        if not _named(name):
            parser.error(f"no work is called {name}")
    return options


def _named(name: str) -> list[Work]:
    """The work of this name, or those whose names begin with it."""
    return [work for work in WORKS if work.name == name] or [
        work for work in WORKS if work.name.startswith(f"{name}-")
    ]


def _show(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()

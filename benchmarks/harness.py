"""Runs contenders alternately, each in a fresh process, and relates what they measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Self

from peers import PeerFailed, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from contextlib import AbstractContextManager

__all__ = [
    "Contender",
    "Finding",
    "Mark",
    "Result",
    "Sample",
    "Spread",
    "Work",
    "compare",
    "prepare",
    "scaled",
]

_HERE = Path(__file__).parent
_PATHS = (_HERE.parent, _HERE.parent / "tests", _HERE)
_TIMEOUT = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One way to do a work.

    Args:
        name: for the table.
        module: in the package `contenders`.
        messages: how many it is given; those that are slow need fewer.
        options: of its command line.
        rate: the rate of the first contender over this one's is to be at least this.
        cpu: the own CPU time per message of the first contender over this one's is to be at most this.
    """

    name: str
    module: str
    messages: int
    options: tuple[str, ...] = ()
    rate: float | None = None
    cpu: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What is to be done, and by whom.

    Args:
        name: for the command line.
        title: for the table.
        serve: a context manager in which the servers run; it yields options for all contenders. Its argument is
            the part of the full amount of work that is asked for, as in `Contender.messages`.
        contenders: the first one is measured against the others.
        memory: octets that the first one may need, in addition to what it needed before, for each of `per`.
        per: what memory is needed for.
    """

    name: str
    title: str
    serve: Callable[[float], AbstractContextManager[Sequence[str]]]
    contenders: tuple[Contender, ...]
    memory: int | None = None
    per: str = "message"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What one run of one contender came to.

    Args:
        rate: messages per second.
        cpu: seconds of the process's own CPU time, user and system, per message.
        memory: octets, in a work that measures memory.
    """

    rate: float
    cpu: float
    memory: float | None = None


@dataclass(frozen=True, slots=True)
class Spread:
    """The median, the least and the greatest of several figures."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, figures: Iterable[float]) -> Self:
        """Return the spread of at least one figure."""
        figures = list(figures)
        return cls(median(figures), min(figures), max(figures))


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A ratio or an amount that is to be reached, and what it came to.

    Args:
        spread: of all rounds; a ratio is taken within a round, and then its median.
        limit: None where there is nothing to reach.
        is_least: whether the limit is the least that will do, or the most.
    """

    spread: Spread
    limit: float | None
    is_least: bool

    @property
    def is_reached(self) -> bool | None:
        """Whether the median reaches the limit; None if there is none."""
        if self.limit is None:
            return None
        return self.spread.median >= self.limit if self.is_least else self.spread.median <= self.limit


@dataclass(slots=True, kw_only=True)
class Result:
    """What one contender came to in all rounds, or why it did not."""

    contender: Contender
    samples: list[Sample] = field(default_factory=list)
    reason: str = ""

    def spread(self, quantity: Callable[[Sample], float]) -> Spread:
        """Return the spread of a quantity."""
        return Spread.of(map(quantity, self.samples))


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What came of a work: a result for each of its contenders, in their order."""

    work: Work
    results: tuple[Result, ...]

    def marks(self) -> list[tuple[str, str, Mark]]:
        """Return contender, quantity and mark, also where there is nothing to reach.

        The quantities: `rate` and `cpu` of the first contender as a multiple of this one's, `memory` in octets.
        """
        first = self.results[0]
        marks = []
        for result in self.results:
            contender = result.contender
            if result.reason:
                continue
            if result is not first and not first.reason:
                rates = _ratios(first, result, lambda sample: sample.rate)
                cpus = _ratios(first, result, lambda sample: sample.cpu)
                marks += [
                    (contender.name, "rate", Mark(spread=rates, limit=contender.rate, is_least=True)),
                    (contender.name, "cpu", Mark(spread=cpus, limit=contender.cpu, is_least=False)),
                ]
            octets = [sample.memory for sample in result.samples if sample.memory is not None]
            if octets:
                limit = self.work.memory if result is first else None
                marks.append(
                    (contender.name, "memory", Mark(spread=Spread.of(octets), limit=limit, is_least=False))
                )
        return marks


def _ratios(ours: Result, theirs: Result, quantity: Callable[[Sample], float]) -> Spread:
    """The spread of a quantity as a multiple of what it is for another contender in the same round."""
    pairs = zip(ours.samples, theirs.samples, strict=True)
    return Spread.of([quantity(our_sample) / quantity(their_sample) for our_sample, their_sample in pairs])


def prepare() -> None:
    """Let all that this process starts find the modules that it needs, and keep it on one core.

    With two free cores figures vary by a factor of two to five from run to run: to wake the other core costs more
    than a transaction.
    """
    os.environ["PYTHONPATH"] = os.pathsep.join(map(str, _PATHS))
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def scaled(number: int, scale: float) -> int:
    """The part of a full amount of work that is done, at least one of it."""
    return max(round(number * scale), 1)


def compare(
    work: Work, *, rounds: int, scale: float = 1.0, progress: Callable[[str], None] = lambda text: None
) -> Finding:
    """Let the contenders of a work take turns.

    Args:
        work: what they do.
        rounds: turns of each.
        scale: the part of the full amount of work that is done.
        progress: told what happens next.

    Returns:
        What came of it. A contender that fails once is not asked again; if the servers do not run, all fail.
    """
    results = tuple(Result(contender=contender) for contender in work.contenders)
    progress(f"{work.name}: servers start")
    try:
        with work.serve(scale) as options:
            for number in range(1, rounds + 1):
                for result in results:
                    if not result.reason:
                        progress(f"{work.name}: round {number} of {rounds}, {result.contender.name}")
                        _take_turn(result, options, scale)
    except (Unavailable, PeerFailed) as error:
        for result in results:
            result.reason = str(error)
    return Finding(work=work, results=results)


def _take_turn(result: Result, options: Sequence[str], scale: float) -> None:
    contender = result.contender
    # Servers may know better how many messages there are: what comes later on the command line counts.
    command = [sys.executable, "-m", f"contenders.{contender.module}"]
    command += ["--messages", str(scaled(contender.messages, scale)), *options, *contender.options]
    try:
        process = subprocess.run(
            command,
            cwd=_HERE,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        result.reason = f"did not end in {_TIMEOUT:g} s"
        return
    if process.returncode:
        result.reason = (process.stderr.strip() or f"exit status {process.returncode}").splitlines()[-1]
        return
    line = json.loads(process.stdout)
    result.samples.append(
        Sample(
            rate=line["messages"] / line["seconds"],
            cpu=line["cpu"] / line["messages"],
            memory=line["memory"],
        )
    )

"""What the command shows: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from ..errors import printable
from ..smtp import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from rich.progress import Task

__all__ = [
    "Bar",
    "drop_output",
    "heading",
    "lost_output",
    "note",
    "progress",
    "say",
    "show_json",
    "show_table",
    "status_text",
    "warn",
]

# Cut to a width that nobody sees, the end of a reply would be lost to `grep`.
_WIDTH = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 240


class _Results(Console):
    """What cannot be written is lost; the work goes on, and `lost` says why."""

    lost: OSError | None = None

    def write(self, write: Callable[[], object]) -> None:
        try:
            write()
        except OSError as error:
            self.lost = error
            self.quiet = True
            drop_output()

    def on_broken_pipe(self) -> None:
        raise


# Text of others is never markup, and is coloured by nothing but its meaning.
_out = _Results(width=_WIDTH, markup=False, highlight=False, emoji=False)


class _Notes(Console):
    """What is said to a terminal that has gone, or a disk that is full, is lost; the work goes on."""

    def on_broken_pipe(self) -> None:
        self.quiet = True

    def note(self, text: str | Text, style: str) -> None:
        try:
            self.print(text, style=style, soft_wrap=True)
        except OSError:
            self.quiet = True


_err = _Notes(stderr=True, markup=False, highlight=False, emoji=False)

_REFRESH_SECONDS = 0.1

_COLOURS = {
    Status.ACCEPTED: "green",
    Status.REFUSED: "red",
    Status.DEFERRED: "yellow",
    Status.UNKNOWN: "magenta",
}

Cell = str | int | Text


def note(text: str | Text, style: str = "") -> None:
    """Tell the user something, on standard error."""
    _err.note(text, style)


def warn(text: str) -> None:
    """Warn the user of something that is no error."""
    note(Text.assemble(("warning: ", "bold yellow"), text))


def say(text: str, style: str = "") -> None:
    """Print a line of the result, on standard output."""
    _out.write(lambda: _out.print(text, style=style, soft_wrap=True))


def drop_output() -> None:
    """Have what is still to be written on standard output go nowhere."""
    # Python would complain once more when it closes it.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def lost_output() -> OSError | None:
    """Write what is left of the result; return why not all of it could be written."""
    _out.write(sys.stdout.flush)
    return _out.lost


def heading(text: str) -> None:
    """Say what follows, or what it comes to, on standard output."""
    say(text, "bold")


def show_json(value: object) -> None:
    """Print a result for scripts."""
    is_unicode = sys.stdout.encoding.lower() == "utf-8"
    text = json.dumps(value, indent=2, ensure_ascii=not is_unicode)
    _out.write(lambda: sys.stdout.write(f"{text}\n"))


def show_table(columns: Iterable[str], rows: Iterable[Iterable[Cell]]) -> None:
    """Print a table; columns whose name begins with # hold numbers."""
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for column in columns:
        is_number = column.startswith("#")
        table.add_column(
            column.removeprefix("#"),
            justify="right" if is_number else "left",
            no_wrap=is_number,
            overflow="fold",
        )
    for row in rows:
        table.add_row(*map(_cell, row))
    _out.write(lambda: _out.print(table))


def _cell(value: Cell) -> Text:
    if isinstance(value, Text):
        return value
    return Text(f"{value:,}" if isinstance(value, int) else printable(value, 1000))


def status_text(status: Status) -> Text:
    """A status in its colour."""
    return Text(status.value, style=_COLOURS[status])


class Bar:
    """A progress bar; counting costs next to nothing."""

    def __init__(self, bars: Progress, label: str, total: int | None) -> None:
        self._bars = bars
        self._task = bars.add_task(label, total=total)
        self._done = 0
        self._shown = 0.0

    def advance(self, count: int = 1) -> None:
        """Count what is done."""
        self.reach(self._done + count)

    def reach(self, done: int, total: int | None = None) -> None:
        """Set what is done, and the total if it is known only now."""
        self._done = done
        if total is not None or monotonic() - self._shown > _REFRESH_SECONDS:
            self._shown = monotonic()
            self._bars.update(self._task, completed=done, total=total)

    def finish(self) -> None:
        """Show what was counted last."""
        self._bars.update(self._task, completed=self._done)


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f}/s", style="cyan")


@contextmanager
def progress() -> Iterator[Callable[[str, int | None], Bar]]:
    """Show progress bars while the block runs, if standard error is a terminal.

    Yields:
        A function that adds a bar: it takes a label, and a total or None.
    """
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
    )
    made: list[Bar] = []
    with Progress(*columns, console=_err, transient=True, disable=not sys.stderr.isatty()) as bars:

        def add(label: str, total: int | None = None) -> Bar:
            made.append(Bar(bars, label, total))
            return made[-1]

        try:
            yield add
        finally:
            for bar in made:
                bar.finish()

"""What is shown of a comparison: a table, with rich if it is installed, or JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness import Mark, Result, Spread, Work

__all__ = ["as_json", "print_table"]

_WIDTH = 150  # where the output is no terminal


def print_table(work: Work, results: list[Result]) -> None:
    """Print the results of a work."""
    header, rows = _table(work, results)
    try:
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        _print_plainly(work.title, header, rows)
        return
    table = Table(title=f"{work.title} ({work.name})", title_justify="left", title_style="bold")
    for number, name in enumerate(header):
        table.add_column(name, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    console = Console()
    if not console.is_terminal:
        console.width = _WIDTH
    console.print(table)


def as_json(work: Work, results: list[Result]) -> dict[str, object]:
    """Return the results of a work, all samples included."""
    first = results[0]
    contenders = []
    for result in results:
        entry: dict[str, object] = {"name": result.contender.name}
        if result.reason:
            entry["reason"] = result.reason
        else:
            entry["samples"] = [asdict(sample) for sample in result.samples]
            if result is not first and not first.reason:
                entry["rate_ratio"] = _mark_as_json(result.rate_mark(first))
                entry["cpu_ratio"] = _mark_as_json(result.cpu_mark(first))
            if result.measures_memory:
                entry["memory"] = _mark_as_json(result.memory_mark(work.memory if result is first else None))
        contenders.append(entry)
    return {"name": work.name, "title": work.title, "contenders": contenders}


def _mark_as_json(mark: Mark) -> dict[str, object]:
    return {**asdict(mark), "is_reached": mark.is_reached}


def _table(work: Work, results: list[Result]) -> tuple[list[str], list[list[str]]]:
    first = results[0]
    ours = first.contender.name
    header = ["", "messages/s", "own CPU, µs each", f"rate of {ours}: times", "", "CPU: times", ""]
    has_memory = any(result.measures_memory for result in results)
    if has_memory:
        header += [f"memory, KB per {work.per}", ""]
    rows = []
    for result in results:
        row = [result.contender.name]
        if result.reason:
            row += [result.reason]
        else:
            row.append(_spread(result.spread(lambda sample: sample.rate)))
            row.append(_spread(result.spread(lambda sample: sample.cpu), 1e-6))
            if result is not first and not first.reason:
                row += [*_mark(result.rate_mark(first)), *_mark(result.cpu_mark(first))]
            elif has_memory:
                row += [""] * 4
            if result.measures_memory:
                row += _mark(result.memory_mark(work.memory if result is first else None), 1000)
        rows.append(row + [""] * (len(header) - len(row)))
    return header, rows


def _mark(mark: Mark, unit: float = 1) -> tuple[str, str]:
    verdict = ""
    if mark.limit is not None:
        sign = "≥" if mark.is_least else "≤"
        verdict = f"{sign} {_number(mark.limit / unit)} {'reached' if mark.is_reached else 'MISSED'}"
    return _spread(mark.spread, unit), verdict


def _spread(spread: Spread, unit: float = 1) -> str:
    middle, least, most = (_number(figure / unit) for figure in (spread.median, spread.least, spread.most))
    return middle if least == most else f"{middle} ({least} to {most})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _print_plainly(title: str, header: list[str], rows: list[list[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    print(title)
    for row in (header, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print()

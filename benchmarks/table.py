"""What is shown of a comparison: tables, with rich if it is installed, or JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from harness import Finding, Mark, Result, Spread

__all__ = ["as_json", "print_finding", "print_rows", "print_summary"]

_WIDTH = 160  # where the output is no terminal


def print_finding(finding: Finding) -> None:
    """Print what came of a work."""
    ours = finding.results[0].contender.name
    header = ["", "messages/s", "own CPU, µs each", f"rate of {ours} / its", "to reach"]
    header += [f"CPU of {ours} / its", "to reach", f"memory, KB per {finding.work.per}", "to reach"]
    rows = [_row(finding, result) for result in finding.results]
    used = [number for number in range(len(header)) if any(row[number] for row in rows)]
    print_rows(
        f"{finding.work.title} ({finding.work.name})",
        [header[number] for number in used],
        [[row[number] for number in used] for row in rows],
    )
    for result in finding.results:
        if result.reason:
            print(f"{result.contender.name}: {result.reason}\n")


def print_summary(findings: Iterable[Finding]) -> None:
    """Print how many marks were reached, and which were not."""
    marks = [
        (finding, *each) for finding in findings for each in finding.marks() if each[2].limit is not None
    ]
    missed = [each for each in marks if not each[3].is_reached]
    print(f"{len(marks) - len(missed)} of {len(marks)} marks reached")
    for finding, contender, quantity, mark in missed:
        figure, limit = _mark(mark, 1000 if quantity == "memory" else 1)
        print(f"  {finding.work.name}, {quantity}, {contender}: {figure}, {limit}")


def print_rows(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table, the first column of which holds names."""
    try:
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        _print_plainly(title, header, rows)
        return
    table = Table(title=title, title_justify="left", title_style="bold")
    for number, name in enumerate(header):
        table.add_column(name, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    console = Console()
    if not console.is_terminal:
        console.width = _WIDTH
    console.print(table)


def _print_plainly(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    print(title)
    for row in (header, *rows):
        print("  ".join([cell.ljust(width) for cell, width in zip(row, widths, strict=True)]).rstrip())
    print()


def as_json(finding: Finding) -> dict[str, object]:
    """Return what came of a work, all samples included."""
    contenders = []
    for result in finding.results:
        entry: dict[str, object] = {"name": result.contender.name}
        if result.reason:
            entry["reason"] = result.reason
        else:
            entry["samples"] = [asdict(sample) for sample in result.samples]
        contenders.append(entry)
    marks = [
        {"contender": contender, "quantity": quantity, **asdict(mark), "is_reached": mark.is_reached}
        for contender, quantity, mark in finding.marks()
    ]
    return {
        "name": finding.work.name,
        "title": finding.work.title,
        "contenders": contenders,
        "marks": marks,
    }


def _row(finding: Finding, result: Result) -> list[str]:
    row = [result.contender.name]
    if result.reason:
        return [*row, "see below", *[""] * 7]
    row.append(_spread(result.spread(lambda sample: sample.rate)))
    row.append(_spread(result.spread(lambda sample: sample.cpu), 1e-6))
    marks = {quantity: mark for name, quantity, mark in finding.marks() if name == result.contender.name}
    for quantity, unit in (("rate", 1), ("cpu", 1), ("memory", 1000)):
        row += _mark(marks[quantity], unit) if quantity in marks else ("", "")
    return row


def _mark(mark: Mark, unit: float) -> tuple[str, str]:
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

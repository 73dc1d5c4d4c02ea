"""The table of recipients of a bulk run: one row, one message."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from ..address import check_forward_path
from ..errors import InputError, printable, quoted
from ..message.envelope import addr_spec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

__all__ = ["Recipients", "Row"]

_DELIMITERS = ",;\t"
_LARGEST_FIELD = 16 * 1024 * 1024  # characters


@dataclass(frozen=True, slots=True)
class Row:
    """One row.

    Args:
        line: at which it begins; the first of the file is 1.
        fields: its values by column.
        problem: why it cannot be used, empty if it can.
    """

    line: int
    fields: dict[str, str]
    problem: str = ""


class Recipients:
    """A CSV file with a header line, in UTF-8; columns are separated by commas, semicolons or tabs.

    Args:
        path: of the file.
        to_column: the column that holds the address.

    Raises:
        InputError: it cannot be read, or has no such column.
    """

    def __init__(self, path: Path, to_column: str) -> None:
        self.path = path
        self.to_column = to_column
        self.columns: tuple[str, ...] = ()
        for _, values in self._records():
            self.columns = tuple(value.strip() for value in values)
            break
        named = [column for column in self.columns if column]
        if not named:
            raise self.error(1, "there is no header line", "name the columns in the first line")
        for column in named:
            if named.count(column) > 1:
                raise self.error(1, f"two columns are named {quoted(column)}", "name each once")
        self.require([to_column], "give --to-column with the name of the column that holds the addresses")

    def require(self, columns: Iterable[str], cure: str) -> None:
        """Raise InputError if a column is missing."""
        missing = [column for column in columns if column not in self.columns]
        if missing:
            there = ", ".join(map(printable, filter(None, self.columns)))
            problem = f"there is no column {', '.join(quoted(each) for each in missing)}, only {there}"
            raise self.error(1, problem, cure)

    def rows(self) -> Iterator[Row]:
        """Read the rows; empty lines count for nothing.

        Raises:
            InputError: the file cannot be read, or is not CSV, from some line on.
        """
        records = self._records()
        next(records, None)
        for line, values in records:
            fields = {name: value.strip() for name, value in zip(self.columns, values, strict=False) if name}
            problem = ""
            if len(values) != len(self.columns):
                fields_here = "1 field" if len(values) == 1 else f"{len(values)} fields"
                problem = f"{fields_here}, where the header has {len(self.columns)}"
            yield Row(line, fields, problem)

    def error(self, line: int, problem: str, cure: str) -> InputError:
        """Return an error about a line of the file."""
        return InputError(f"{printable(self.path)}, line {line}: {problem}", cure=cure)

    def address_of(self, row: Row) -> str:
        """The address of a row, as it goes into the envelope.

        Raises:
            AddressSyntaxError: it has none, or not exactly one.
        """
        return check_forward_path(addr_spec(row.fields.get(self.to_column, "")), smtputf8=True)

    def _records(self) -> Iterator[tuple[int, list[str]]]:
        """The records of the file that are not empty, each with the line at which it begins."""
        lines = self._lines()
        first = next(lines, "")
        delimiter = max(_DELIMITERS, key=first.count)
        csv.field_size_limit(_LARGEST_FIELD)
        reader = csv.reader(chain([first], lines), delimiter=delimiter, skipinitialspace=True, strict=True)
        begin = 1
        try:
            for values in reader:
                if any(value.strip() for value in values):
                    yield begin, values
                begin = reader.line_num + 1
        except csv.Error as error:
            raise self.error(
                begin,
                f"not CSV: {printable(error)}",
                'put " around fields that hold line breaks, separators or ", and double the latter',
            ) from None

    def _lines(self) -> Iterator[str]:
        number = 0
        try:
            with self.path.open("rb") as file:
                for number, line in enumerate(file, 1):
                    yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            raise self.error(number, "this is not UTF-8", "save the file as UTF-8") from None
        except OSError as error:
            raise InputError(
                f"{printable(self.path)} cannot be read: {error.strerror}", cure="check the path"
            ) from None

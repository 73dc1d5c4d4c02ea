"""Transcripts of sessions for people: one line for each line on the wire, marked with who said it.

Secrets and content never get here: the protocol objects replace them before they call a trace.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..wire import Direction

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..wire import Trace

__all__ = ["transcript"]


def transcript(write: Callable[[str], object], *, label: str = "", server_side: bool = False) -> Trace:
    """Return a trace that writes lines such as `C: NOOP` and `S: 250 OK`.

    Args:
        write: called with each line, without a line ending; `print`, a logger's method, a list's `append`.
        label: stands before each line, to tell sessions apart.
        server_side: the traced end is the server's.
    """
    sent, received = ("S: ", "C: ") if server_side else ("C: ", "S: ")

    def trace(direction: Direction, line: str) -> None:
        write(f"{label}{sent if direction is Direction.SENT else received}{line}")

    return trace

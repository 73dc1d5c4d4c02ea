"""The signals that ask a command to end."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["as_interrupts", "ending_signals"]


def ending_signals() -> list[signal.Signals]:
    """Those of an interrupt, of an end and of a terminal that is closed, but for what `nohup` has this ignore."""
    asking = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    return [each for each in asking if signal.getsignal(each) is not signal.SIG_IGN]


@contextmanager
def as_interrupts() -> Iterator[None]:
    """Let each of them do what an interrupt does, so that the block can clean up."""
    handlers: dict[signal.Signals, Callable[..., None]] = dict.fromkeys(ending_signals(), _interrupt)
    # A script that runs this in the background has it ignore interrupts, but `raise_signal` below needs one.
    handlers[signal.SIGINT] = signal.default_int_handler
    before = {each: signal.signal(each, handler) for each, handler in handlers.items()}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _interrupt(*_: object) -> None:
    signal.raise_signal(signal.SIGINT)

"""Receiving: the contenders are servers, and start their clients themselves."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

from harness import Contender, Work, scaled

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

__all__ = ["IDLE", "RECEIVING"]


def _nothing(scale: float) -> AbstractContextManager[Sequence[str]]:
    return nullcontext(())


def _receiving(load: str, title: str, *, aiosmtpd: float) -> Work:
    options = ("--load", load)
    messages = 10_000
    return Work(
        name=f"server-{load}",
        title=title,
        serve=_nothing,
        contenders=(
            Contender(name="asyncmail", module="serve_asyncmail", messages=messages, options=options),
            Contender(
                name="aiosmtpd",
                module="serve_aiosmtpd",
                messages=messages,
                options=options,
                rate=aiosmtpd,
                cpu=1 / 4,
            ),
            Contender(
                name="bare asyncio server", module="serve_bare", messages=messages, options=options, cpu=1.5
            ),
        ),
    )


RECEIVING = (
    _receiving("persistent", "Receive 1 KB in 10 sessions that stay (smtp-source)", aiosmtpd=3.0),
    _receiving("sessions", "Receive 1 KB, a session for each, 10 at once (smtp-source)", aiosmtpd=2.3),
    _receiving("pipelining", "Receive 1 KB in 10 pipelined sessions (bare loop)", aiosmtpd=7.0),
)


def _idle(scale: float) -> AbstractContextManager[Sequence[str]]:
    return nullcontext(("--idle", str(scaled(5_000, scale))))


IDLE = (
    Work(
        name="idle",
        title="5,000 idle connections, while receiving 1 KB in 10 sessions that stay",
        serve=_idle,
        memory=10_000,
        per="idle connection",
        contenders=(
            Contender(name="asyncmail", module="serve_asyncmail", messages=5_000),
            Contender(name="aiosmtpd", module="serve_aiosmtpd", messages=5_000),
            Contender(name="bare asyncio server", module="serve_bare", messages=5_000),
        ),
    ),
)

"""Asking what an application supplied: what it does wrong is logged, under its name and with the cure."""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from types import CoroutineType
from typing import TYPE_CHECKING, TypeVar, cast

from ..errors import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..errors import NegativeReply

__all__ = ["ask", "complain"]

T = TypeVar("T")
R = TypeVar("R")

_logger = logging.getLogger("asyncmail.server")


async def ask(
    hook: Callable[..., Awaitable[T]], *arguments: object, refusal: type[NegativeReply], failed: R
) -> T | R:
    """Return what a hook answers.

    Args:
        refusal: what it may raise instead of returning a reply.
        failed: the reply that stands for whatever else it raises.
    """
    try:
        answer: object = hook(*arguments)
        # Mostly it is a coroutine; to ask the abstract class takes longer than many a handler.
        if type(answer) is CoroutineType or isinstance(answer, Awaitable):
            return cast("T", await answer)
    except refusal as error:
        return cast("R", error.reply)
    except Exception:
        _logger.exception("%s failed; the client is told to try again", _name(hook))
    else:
        _logger.error("%s is not async: write async def", _name(hook))
    return failed


def complain(hook: Callable[..., object], answer: object, cure: str) -> None:
    """Log that a hook returned what it may not."""
    _logger.error("%s returned %s, which is %s", _name(hook), printable(repr(answer)), cure)


def _name(hook: Callable[..., object]) -> str:
    name: str = getattr(hook, "__qualname__", type(hook).__qualname__)
    return name.rpartition("<locals>.")[2]

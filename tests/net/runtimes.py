"""How tests run on every event loop: asyncio, uvloop and Trio.

pytest-asyncio in its automatic mode takes every `async def` test, and anyio's plugin wants the same ones. So here no
plugin runs anything: `@on_each_runtime` makes a plain function of an async test, parametrised by the runtime, that
starts a new event loop for each case. It stops a test that hangs, and fails one that leaves a socket open.
An async test without the decorator is pytest-asyncio's, on asyncio alone. Async fixtures do not go with the decorator;
async context managers inside the test do.

For other test packages: `from net.runtimes import on_each_runtime`.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import os
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import trio
import uvloop

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

__all__ = ["RUNTIMES", "eventually", "on_each_runtime", "run"]

RUNTIMES = ("asyncio", "uvloop", "trio")
PATIENCE = 30.0  # seconds for one test


def run(runtime: str, async_fn: Callable[[], Awaitable[None]]) -> None:
    """Run an async function in a new event loop."""

    async def bounded() -> None:
        with anyio.fail_after(PATIENCE):
            await async_fn()

    before = _open_sockets()
    gc.disable()  # so that all that the test made is still in the youngest generation, which is quick to collect
    try:
        if runtime == "trio":
            trio.run(bounded)
        else:
            runner = asyncio.Runner(
                loop_factory=uvloop.new_event_loop if runtime == "uvloop" else asyncio.new_event_loop
            )
            try:
                runner.run(bounded())
            finally:
                # uvloop hangs if a warning about what is left open becomes an exception while it closes.
                with warnings.catch_warnings(record=True) as caught:
                    warnings.simplefilter("always")
                    runner.close()
            assert not caught, caught[0].message
        gc.collect(0)  # what is left behind unclosed warns now, and a warning is an error
    finally:
        gc.enable()
    left = _open_sockets() - before
    assert not left, f"left open: {left}"


def on_each_runtime(
    test: Callable[..., Awaitable[None]] | None = None, *, runtimes: Sequence[str] = RUNTIMES
) -> Any:
    """Make a test of an async function, which may take the argument `runtime`, for each runtime."""
    if test is None:
        return functools.partial(on_each_runtime, runtimes=runtimes)
    signature = inspect.signature(test)
    wants_runtime = "runtime" in signature.parameters

    @functools.wraps(test)
    def sync_test(runtime: str, **arguments: object) -> None:
        if wants_runtime:
            arguments["runtime"] = runtime
        run(runtime, functools.partial(test, **arguments))

    parameter = inspect.Parameter("runtime", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    others = [each for name, each in signature.parameters.items() if name != "runtime"]
    sync_test.__signature__ = signature.replace(parameters=[parameter, *others])  # type: ignore[attr-defined]
    return pytest.mark.parametrize("runtime", runtimes)(sync_test)


async def eventually(condition: Callable[[], object]) -> None:
    """Let other tasks run until something has become true; the test's own time limit ends the wait."""
    while not condition():  # noqa: ASYNC110 - most conditions have no event
        await anyio.sleep(0.001)


def _open_sockets() -> set[str]:
    sockets = set()
    for fd in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the one of the listing itself
            sockets.add(os.readlink(f"/proc/self/fd/{fd}"))
    return {name for name in sockets if name.startswith("socket:")}

"""Work that outlives the call which began it, on asyncio and on Trio.

No task group: one would hold a cancel scope open from `__aenter__` to `__aexit__`, and these run in different tasks
in the lifespan of a web application and in pytest's fixtures.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from typing import TYPE_CHECKING, TypeVarTuple, Unpack

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import trio

__all__ = ["BackgroundTask", "Waiter", "current_task", "spawn"]

Ts = TypeVarTuple("Ts")

_logger = logging.getLogger("asyncmail.net")
_current: contextvars.ContextVar[BackgroundTask] = contextvars.ContextVar("asyncmail.net.background")
_running: set[BackgroundTask] = set()  # an event loop itself keeps weak references only


class Waiter:
    """Something that happens once, and one task that waits for it.

    Made inside the event loop in which it is used.
    """

    __slots__ = ("_event",)

    _event: asyncio.Future[None] | trio.Event

    def __init__(self) -> None:
        try:
            self._event = asyncio.get_running_loop().create_future()
        except RuntimeError:
            import trio

            self._event = trio.Event()

    @property
    def is_set(self) -> bool:
        """Whether it has happened."""
        event = self._event
        if isinstance(event, asyncio.Future):
            return event.done() and not event.cancelled()
        return event.is_set()

    def set(self) -> None:
        """Let it have happened. Idempotent."""
        event = self._event
        if not isinstance(event, asyncio.Future):
            event.set()
        elif not event.done():
            event.set_result(None)

    def set_soon(self, seconds: float) -> None:
        """Let it happen when more may have come together; on Trio, at once."""
        event = self._event
        if isinstance(event, asyncio.Future):
            event.get_loop().call_later(seconds, self.set)
        else:
            event.set()

    def wait(self) -> Awaitable[None]:
        """Return what to await, once: a wait that was cancelled cannot be repeated."""
        event = self._event
        return event if isinstance(event, asyncio.Future) else event.wait()


class BackgroundTask:
    """A function that runs by itself. Made by `spawn`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_done: bool = False
        self._cancel: Callable[[], object] = lambda: None
        self._then: list[Callable[[], object]] = []

    def __repr__(self) -> str:
        return f"<BackgroundTask {self.name} {'done' if self.is_done else 'running'}>"

    def cancel(self) -> None:
        """Ask it to end, by cancellation; does nothing once it has ended."""
        if not self.is_done:
            self._cancel()

    async def wait(self) -> None:
        """Wait until it has ended, in whatever way. Cancelling this does not cancel the task."""
        if not self.is_done:
            waiter = Waiter()
            self.then(waiter.set)
            await waiter.wait()

    def then(self, callback: Callable[[], object]) -> None:
        """Have something called once it has ended, in whatever way; on asyncio it may have been cancelled unbegun."""
        self._then.append(callback)

    def _ended(self) -> None:
        self.is_done = True
        _running.discard(self)
        for callback in self._then:
            callback()


def current_task() -> BackgroundTask:
    """Return the task that runs this: for whoever shall be able to cancel it, at less cost than a cancel scope."""
    return _current.get()


def spawn(async_fn: Callable[[Unpack[Ts]], Awaitable[object]], *args: *Ts, name: str = "") -> BackgroundTask:
    """Run an async function in a task of its own, in the present context.

    An exception that escapes from it is logged, since there is nobody to raise it to.

    Args:
        args: positional arguments for the function.
        name: for debugging; by default the function's.
    """
    task = BackgroundTask(name or getattr(async_fn, "__qualname__", "background"))

    async def run() -> None:
        _current.set(task)
        try:
            await async_fn(*args)
        except Exception:
            _logger.exception("background task %s failed", task.name)

    _running.add(task)
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        _spawn_on_trio(task, run)
    else:
        native = loop.create_task(run(), name=task.name)
        task._cancel = native.cancel
        native.add_done_callback(lambda _: task._ended())
    return task


def _spawn_on_trio(task: BackgroundTask, run: Callable[[], Awaitable[None]]) -> None:
    import trio

    scope = trio.CancelScope()
    task._cancel = scope.cancel

    async def cancellable() -> None:
        try:
            with scope:
                await run()
        finally:
            task._ended()

    trio.lowlevel.spawn_system_task(cancellable, name=task.name, context=contextvars.copy_context())

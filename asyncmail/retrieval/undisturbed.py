"""Steps that are not to be left half done."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVarTuple

from ..errors import ClosedError
from ..net.background import spawn

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ..net.background import BackgroundTask

__all__ = ["Undisturbed"]

Ts = TypeVarTuple("Ts")


class Undisturbed:
    """Runs steps to their end, even if the task that waits for one is cancelled."""

    def __init__(self) -> None:
        self._running: set[BackgroundTask] = set()

    def __repr__(self) -> str:
        return f"<Undisturbed {len(self._running)} running>"

    async def run(self, step: Callable[[*Ts], Awaitable[object]], *args: *Ts) -> None:
        """Run one step, and raise what it raises; when cancelled, leave it running."""
        is_done = False
        failure: Exception | None = None

        async def run() -> None:
            nonlocal is_done, failure
            try:
                await step(*args)
                is_done = True
            except Exception as error:
                failure = error
            finally:
                self._running.discard(task)

        task = spawn(run)
        self._running.add(task)
        await task.wait()
        if not is_done:
            # Without a failure it was cancelled: the event loop is being shut down.
            raise failure or ClosedError("the program is ending")

    async def wait(self) -> None:
        """Wait until all steps have ended."""
        for task in [*self._running]:
            await task.wait()

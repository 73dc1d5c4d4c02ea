from __future__ import annotations

import contextvars
import logging

import anyio
import anyio.lowlevel
import pytest

from asyncmail.net import Waiter, now, spawn
from asyncmail.net.background import current_task
from net.runtimes import eventually, on_each_runtime, run


@on_each_runtime
async def test_a_task_runs_by_itself():
    done = []

    async def work(first, second):
        await anyio.lowlevel.checkpoint()
        done.append((first, second))

    task = spawn(work, 1, "b", name="worker")
    assert not task.is_done
    assert repr(task) == "<BackgroundTask worker running>"
    await task.wait()
    assert done == [(1, "b")]
    assert task.is_done
    assert repr(task) == "<BackgroundTask worker done>"
    await task.wait()
    task.cancel()


@on_each_runtime
async def test_names():
    async def work():
        pass

    assert spawn(work).name.endswith("work")
    assert spawn(lambda: work()).name.endswith("<lambda>")


@on_each_runtime
async def test_cancellation():
    states = []

    async def work():
        states.append("begun")
        try:
            await anyio.sleep_forever()
        finally:
            states.append("ended")

    task = spawn(work)
    await eventually(lambda: states)
    task.cancel()
    await task.wait()
    assert states == ["begun", "ended"]


@on_each_runtime
async def test_several_wait_and_one_gives_up():
    go = Waiter()
    task = spawn(go.wait)
    ended = []

    async def wait():
        await task.wait()
        ended.append(True)

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(wait)
        with anyio.move_on_after(0.01):
            await task.wait()
        assert not task.is_done
        go.set()
    assert len(ended) == 3


@on_each_runtime
async def test_an_exception_is_logged(caplog):
    async def work():
        raise LookupError("nobody waits for this")

    task = spawn(work, name="unlucky")
    await task.wait()
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "background task unlucky failed" in caplog.text
    assert "nobody waits for this" in caplog.text
    caplog.clear()


variable = contextvars.ContextVar("variable", default="unset")


@on_each_runtime
async def test_the_context_is_the_callers():
    seen = []

    async def work():
        seen.append(variable.get())
        variable.set("inside")

    variable.set("outside")
    await spawn(work).wait()
    assert seen == ["outside"]
    assert variable.get() == "outside"


@on_each_runtime
async def test_a_task_outlives_the_one_that_spawned_it():
    tasks = []
    go = Waiter()

    async def work():
        await go.wait()

    async def spawner():
        tasks.append(spawn(work))

    async with anyio.create_task_group() as group:
        group.start_soon(spawner)
    assert not tasks[0].is_done
    go.set()
    await tasks[0].wait()


@on_each_runtime
async def test_set_before_wait():
    waiter = Waiter()
    assert not waiter.is_set
    waiter.set()
    waiter.set()
    assert waiter.is_set
    await waiter.wait()


@on_each_runtime
async def test_set_after_the_waiting_task_was_cancelled():
    waiter = Waiter()
    with anyio.move_on_after(0.01):
        await waiter.wait()
    assert not waiter.is_set
    waiter.set()


@on_each_runtime
async def test_the_clock_goes_with_deadlines():
    before = now()
    assert now() >= before
    with anyio.CancelScope(deadline=now() + 0.05) as scope:
        await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert now() - before >= 0.049
    assert anyio.current_time() == pytest.approx(now(), abs=0.5)


def test_the_clock_needs_an_event_loop():
    with pytest.raises(RuntimeError):
        now()


@on_each_runtime
async def test_a_task_knows_itself_and_may_be_cancelled_by_whom_it_tells():
    known = []

    async def work():
        known.append(current_task())
        await anyio.lowlevel.checkpoint()
        known.append(current_task())
        await anyio.sleep_forever()

    tasks = [spawn(work), spawn(work)]
    await eventually(lambda: len(known) == 4)
    assert [known.count(task) for task in tasks] == [2, 2]
    for task in set(known):
        task.cancel()
    for task in tasks:
        await task.wait()
    with pytest.raises(LookupError):
        current_task()


@on_each_runtime
async def test_what_follows_a_task():
    """Even one that on asyncio is cancelled before it has begun."""
    for turns in range(3):
        ended = []
        task = spawn(anyio.sleep_forever)
        task.then(lambda ended=ended: ended.append(True))
        for _ in range(turns):
            await anyio.lowlevel.checkpoint()
        assert not ended
        task.cancel()
        await task.wait()
        assert ended == [True]


@pytest.mark.parametrize("runtime", ["asyncio", "trio"])
def test_the_end_of_the_event_loop_ends_the_task(runtime):
    states = []

    async def work():
        try:
            await anyio.sleep_forever()
        finally:
            states.append("ended")

    async def main():
        task = spawn(work)
        await anyio.sleep(0.01)
        assert not task.is_done

    run(runtime, main)
    assert states == ["ended"]

from __future__ import annotations

import sys

import anyio.to_thread
import pytest

from asyncmail.net import NEVER, now
from net.runtimes import on_each_runtime


@on_each_runtime
async def test_the_clock_of_the_event_loop():
    before = now()
    await anyio.sleep(0.01)
    assert before < now() < before + 20 < NEVER
    assert abs(now() - anyio.current_time()) < 1


@on_each_runtime
async def test_worker_threads_have_none():
    with pytest.raises(RuntimeError):
        await anyio.to_thread.run_sync(now)


def test_without_an_event_loop(monkeypatch):
    with pytest.raises(RuntimeError):
        now()
    monkeypatch.delitem(sys.modules, "trio")
    monkeypatch.setattr("builtins.__import__", None)  # Trio need not even be installed
    with pytest.raises(RuntimeError, match="no running event loop"):
        now()

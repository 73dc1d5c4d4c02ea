"""Servers that are 20 ms away, each way."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from peers import reserve_port, workspace
from peers.process import listens, running

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["distant", "run_script"]

_HERE = Path(__file__).parents[1]


@contextmanager
def distant(port: int) -> Iterator[int]:
    """Yield a port by which what listens at `port` is 20 ms away, each way."""
    with run_script("relay.py", "--to", str(port)) as far_port:
        yield far_port


@contextmanager
def run_script(name: str, *options: str) -> Iterator[int]:
    """Run a server of this directory; yield the port at which it listens, which it is given as `--port`."""
    port = reserve_port()
    command: list[str | Path] = [sys.executable, _HERE / name, "--port", str(port), *options]
    with workspace() as directory, running(command, log=directory / "log", is_ready=lambda: listens(port)):
        yield port

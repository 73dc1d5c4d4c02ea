"""Starting a server, waiting until it listens, and ending it: by its process id, whatever happens."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = [
    "HOST",
    "LIFETIME",
    "PeerFailed",
    "Unavailable",
    "find_program",
    "greets",
    "listens",
    "reserve_port",
    "running",
    "wait_until",
    "workspace",
]

HOST: Final = "127.0.0.1"
LIFETIME: Final = 3600
"""Seconds after which a server ends by itself, should nobody be left to end it."""
START_TIMEOUT: Final = 30.0
STOP_TIMEOUT: Final = 10.0


class Unavailable(Exception):
    """A peer cannot run on this machine; the text says why."""


class PeerFailed(Exception):
    """A peer that should have run did not; the text holds its log."""


def find_program(name: str, *directories: str | Path) -> str:
    """Return the path of a program, looked for in `directories`, in PATH and where servers are kept.

    Raises:
        Unavailable: it is nowhere.
    """
    places = [*map(str, directories), os.environ.get("PATH", os.defpath), "/usr/sbin"]
    program = shutil.which(name, path=os.pathsep.join(places))
    if program is None:
        raise Unavailable(f"{name} is not installed (see .ci/peers)")
    return program


def reserve_port() -> int:
    """Return a loopback port that the system will give to nobody else for the next minute.

    A connection in TIME_WAIT holds it: who asks for any port does not get this one, yet a server that asks
    for it by number, with SO_REUSEADDR as every server sets it, does.
    """
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.listen(1)
        port: int = listener.getsockname()[1]
        with socket.create_connection((HOST, port)) as client:
            accepted, _ = listener.accept()
            accepted.close()  # first, as the side that closes first is the one to wait
            client.recv(1)
    return port


@contextmanager
def workspace() -> Iterator[Path]:
    """Yield a temporary directory that servers can enter under their own user ids.

    Its path is short, as that of a Unix socket in it has to be; the directories of pytest are neither.
    """
    with tempfile.TemporaryDirectory(prefix="peer-", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        directory.chmod(0o755)
        yield directory


def wait_until(ready: Callable[[], bool], timeout: float) -> bool:
    """Whether `ready` came true within `timeout` seconds."""
    end = time.monotonic() + timeout
    while not ready():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def listens(port: int) -> bool:
    """Whether somebody accepts connections at `port`."""
    with suppress(OSError), socket.create_connection((HOST, port), timeout=START_TIMEOUT):
        return True
    return False


def greets(port: int, greeting: bytes) -> bool:
    """Whether somebody at `port` says `greeting`; takes leave of it with QUIT."""
    with suppress(OSError), socket.create_connection((HOST, port), timeout=START_TIMEOUT) as client:
        if client.recv(512).startswith(greeting):
            client.sendall(b"QUIT\r\n")
            while client.recv(512):
                pass
            return True
    return False


@contextmanager
def running(
    command: Sequence[str | Path],
    *,
    log: Path,
    is_ready: Callable[[], bool],
    user: str | None = None,
    bounded: bool = False,
) -> Iterator[None]:
    """Run a server in the foreground for as long as the block lasts.

    Args:
        command: the program with its arguments.
        log: what it prints goes here; shown if it does not start.
        is_ready: whether it is up; asked again and again.
        user: whose privileges it gets; needs root.
        bounded: whether the command sees to it that it ends within `LIFETIME` seconds.

    Raises:
        PeerFailed: it ended, or was not ready in time.
    """
    if not bounded:
        command = [find_program("timeout"), "--kill-after=5", str(LIFETIME), *command]
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd="/",
            user=user,
            group=user,
            extra_groups=None if user is None else [],
        )
    try:
        ready = wait_until(lambda: process.poll() is not None or is_ready(), START_TIMEOUT)
        if not ready or process.poll() is not None:
            text = log.read_text(errors="replace")[-8000:]
            raise PeerFailed(f"{command} {'ended' if ready else 'is not ready'}:\n{text}")
        yield
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            # start_new_session made it a group of its own, so this ends its children and nobody else.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

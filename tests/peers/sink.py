"""Postfix's test programs: smtp-sink, which accepts everything, and smtp-source, which sends."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .process import HOST, LIFETIME, PeerFailed, find_program, greets, reserve_port, running, workspace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Sink", "run_smtp_sink", "smtp_source"]

_BACKLOG = "1024"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sink:
    """A running smtp-sink."""

    port: int
    directory: Path
    host: str = HOST

    def transactions(self) -> list[bytes]:
        """Return what it wrote down, if it was started with `dump=True`: one file per transaction.

        Each begins with the session's X-Client-Addr, X-Helo-Args, X-Mail-Args and X-Rcpt-Args.
        """
        return [file.read_bytes() for file in sorted(self.directory.glob("dump.*"))]


@contextmanager
def run_smtp_sink(*options: str, dump: bool = False, connections: int = 1024) -> Iterator[Sink]:
    """Run smtp-sink.

    Args:
        options: of its command line, such as `-L` for LMTP, `-f RCPT` or `-w 1`.
        dump: whether it keeps what it gets, which makes it slow.
        connections: how many it serves at once.

    Raises:
        Unavailable: it is not installed.
        PeerFailed: it does not start.
    """
    program = find_program("smtp-sink")
    port = reserve_port()
    with workspace() as directory:
        command = [program, *options, "-m", str(connections)]
        if dump:
            command += ["-d", f"{directory}/dump."]
        if os.geteuid() == 0:
            command += ["-u", "nobody"]  # it refuses to work as root
            os.chmod(directory, 0o777)
        command += [f"inet:{HOST}:{port}", _BACKLOG]
        with running(command, log=directory / "log", is_ready=lambda: greets(port, b"220")):
            yield Sink(port=port, directory=directory)


def smtp_source(
    port: int,
    *options: str,
    sessions: int = 1,
    messages: int = 1,
    octets: int = 1000,
    sender: str = "sender@example.com",
    recipient: str = "recipient@example.com",
    timeout: float = LIFETIME,
) -> None:
    """Run smtp-source against a server until all messages are sent.

    Args:
        port: where the server listens.
        options: of its command line, such as `-d` to send several messages per session, or `-L` for LMTP.
        sessions: how many at once.
        messages: how many in all.
        octets: of content per message, without its headers.
        sender: the reverse-path.
        recipient: the forward-path.
        timeout: seconds.

    Raises:
        Unavailable: it is not installed.
        PeerFailed: a message was refused, or time was up.
    """
    command = [find_program("smtp-source"), *options, "-s", str(sessions), "-m", str(messages)]
    command += ["-l", str(octets), "-f", sender, "-t", recipient, f"inet:{HOST}:{port}"]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=timeout)
    except subprocess.CalledProcessError as error:
        raise PeerFailed(f"smtp-source: {error.stderr}") from None
    except subprocess.TimeoutExpired:
        raise PeerFailed(f"smtp-source did not end in {timeout:g} s") from None

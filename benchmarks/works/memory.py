"""One message of 1 GiB, and the memory that it takes."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from contenders.common import make_content
from harness import Contender, Work, scaled

from peers import run_dovecot, run_smtp_sink

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

__all__ = ["MEMORY"]

_GIB = 1 << 30
_MIB = 1 << 20
_USER = "reader"


@contextmanager
def _sink(scale: float) -> Iterator[Sequence[str]]:
    with run_smtp_sink() as sink:
        yield ["--port", str(sink.port), "--octets", str(scaled(_GIB, scale))]


@contextmanager
def _maildrop(scale: float) -> Iterator[Sequence[str]]:
    with run_dovecot(tls=False) as dovecot:
        path = dovecot.maildir(_USER).path / "new" / "1.large.peer"
        octets = _write(path, scaled(_GIB, scale))
        if dovecot.owner is not None:
            os.chown(path, *dovecot.owner)
        options = ["--port", str(dovecot.port), "--user", _USER, "--password", dovecot.password]
        yield [*options, "--octets", str(octets)]


def _write(path: Path, octets: int) -> int:
    """Write a message of about this size; return its octets with CRLF line ends."""
    block = make_content(_MIB)
    blocks = max(octets // _MIB, 1)
    with path.open("wb") as file:
        for _ in range(blocks):
            file.write(block.replace(b"\r\n", b"\n"))
    return blocks * len(block)


MEMORY = (
    Work(
        name="memory-send",
        title="Send one message of 1 GiB: memory beside the message itself",
        serve=_sink,
        memory=32 * _MIB,
        contenders=(Contender(name="asyncmail", module="send_one_asyncmail", messages=1),),
    ),
    Work(
        name="memory-retrieve",
        title="Retrieve one message of 1 GiB",
        serve=_maildrop,
        memory=32 * _MIB,
        contenders=(Contender(name="asyncmail", module="retrieve_one_asyncmail", messages=1),),
    ),
)

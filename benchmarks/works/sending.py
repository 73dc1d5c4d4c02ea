"""Sending to smtp-sink, which takes everything and keeps nothing."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from harness import Contender, Work

from peers import run_smtp_sink, workspace

from .distance import distant, run_script

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

__all__ = ["MERGING", "SENDING", "SENDING_FAR"]


@contextmanager
def _sink(scale: float) -> Iterator[Sequence[str]]:
    with run_smtp_sink() as sink:
        yield ["--port", str(sink.port)]


@contextmanager
def _far_sink(scale: float) -> Iterator[Sequence[str]]:
    with run_smtp_sink() as sink, distant(sink.port) as port:
        yield ["--port", str(port)]


@contextmanager
def _far_chunking_server(scale: float) -> Iterator[Sequence[str]]:
    with run_script("accept_all.py") as server_port, distant(server_port) as port:
        yield ["--port", str(port)]


@contextmanager
def _sink_and_key(scale: float) -> Iterator[Sequence[str]]:
    with run_smtp_sink() as sink, workspace() as directory:
        key = directory / "key.pem"
        _write_key(key)
        yield ["--port", str(sink.port), "--key", str(key)]


def _write_key(path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = generate_private_key(public_exponent=65537, key_size=2048)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()))


def _sending(
    name: str,
    title: str,
    *,
    connections: int,
    octets: int,
    messages: int,
    aiosmtplib: float,
    aiosmtplib_cpu: float | None = None,
    smtplib: float | None = None,
    smtp_source: float | None = None,
    bare_cpu: float | None = None,
) -> Work:
    options = ("--connections", str(connections), "--octets", str(octets))
    with_uvloop = (*options, "--loop", "uvloop")
    marks: list[tuple[str, str, tuple[str, ...], float | None, float | None]] = [
        ("asyncmail", "send_asyncmail", options, None, None),
        ("asyncmail on uvloop", "send_asyncmail", with_uvloop, None, None),
        ("aiosmtplib", "send_aiosmtplib", options, aiosmtplib, aiosmtplib_cpu),
        ("smtplib", "send_smtplib", options, smtplib, None),
        ("smtp-source (C)", "send_smtp_source", options, smtp_source, None),
        ("bare asyncio loop", "send_bare", options, None, bare_cpu),
    ]
    return Work(
        name=name,
        title=title,
        serve=_sink,
        contenders=tuple(
            Contender(name=who, module=module, messages=messages, options=how, rate=rate, cpu=cpu)
            for who, module, how, rate, cpu in marks
        ),
    )


SENDING = (
    _sending(
        "send-1",
        "Send 1 KB on 1 connection",
        connections=1,
        octets=1000,
        messages=10_000,
        aiosmtplib=4.0,
        aiosmtplib_cpu=1 / 5,
        smtplib=2.0,
        smtp_source=1.8,
        bare_cpu=1.8,
    ),
    _sending(
        "send-10",
        "Send 1 KB on 10 connections",
        connections=10,
        octets=1000,
        messages=10_000,
        aiosmtplib=4.5,
        aiosmtplib_cpu=1 / 5,
        smtp_source=1.8,
        bare_cpu=1.8,
    ),
    _sending(
        "send-1-large",
        "Send 10 KB on 1 connection",
        connections=1,
        octets=10_000,
        messages=5_000,
        aiosmtplib=3.0,
    ),
    _sending(
        "send-10-large",
        "Send 10 KB on 10 connections",
        connections=10,
        octets=10_000,
        messages=5_000,
        aiosmtplib=3.0,
    ),
)

_THREE = ("--recipients", "3")

SENDING_FAR = (
    Work(
        name="send-far-pipelining",
        title="Send 1 KB to 3 recipients, 20 ms each way, 1 connection, PIPELINING",
        serve=_far_sink,
        contenders=(
            Contender(name="asyncmail", module="send_asyncmail", messages=100, options=_THREE),
            Contender(name="aiosmtplib", module="send_aiosmtplib", messages=25, options=_THREE, rate=5.5),
            Contender(name="bare asyncio loop", module="send_bare", messages=100, options=_THREE),
        ),
    ),
    Work(
        name="send-far-chunking",
        title="Send 1 KB to 3 recipients, 20 ms each way, 1 connection, CHUNKING",
        serve=_far_chunking_server,
        contenders=(
            Contender(name="asyncmail", module="send_asyncmail", messages=4_000, options=_THREE),
            Contender(name="aiosmtplib", module="send_aiosmtplib", messages=25, options=_THREE, rate=80.0),
        ),
    ),
)

MERGING = (
    Work(
        name="merge",
        title="Personalise, with inline image, sign with RSA-2048, send on 1 connection",
        serve=_sink_and_key,
        contenders=(
            Contender(name="asyncmail", module="merge_asyncmail", messages=2_000),
            Contender(
                name="EmailMessage, dkimpy, aiosmtplib", module="merge_usual", messages=2_000, rate=12.0
            ),
        ),
    ),
)

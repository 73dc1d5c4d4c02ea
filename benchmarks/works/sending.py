"""Sending to smtp-sink, which takes everything and keeps nothing."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from harness import Contender, Work

from peers import run_smtp_sink

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["SENDING"]


@contextmanager
def _serve(scale: float) -> Iterator[Sequence[str]]:
    with run_smtp_sink() as sink:
        yield ["--port", str(sink.port)]


def _sending(
    name: str,
    title: str,
    *,
    connections: int,
    octets: int,
    messages: int,
    aiosmtplib: tuple[float, float | None],
    smtplib: float | None = None,
    smtp_source: float | None = None,
    bare_cpu: float | None = None,
) -> Work:
    options = ("--connections", str(connections), "--octets", str(octets))
    with_uvloop = (*options, "--loop", "uvloop")

    def contender(
        name: str,
        module: str,
        *,
        rate: float | None = None,
        cpu: float | None = None,
        options: tuple[str, ...] = options,
    ) -> Contender:
        return Contender(name=name, module=module, messages=messages, options=options, rate=rate, cpu=cpu)

    return Work(
        name=name,
        title=title,
        serve=_serve,
        contenders=(
            contender("asyncmail", "send_asyncmail"),
            contender("asyncmail on uvloop", "send_asyncmail", options=with_uvloop),
            contender("aiosmtplib", "send_aiosmtplib", rate=aiosmtplib[0], cpu=aiosmtplib[1]),
            contender("smtplib", "send_smtplib", rate=smtplib),
            contender("smtp-source (C)", "send_smtp_source", rate=smtp_source),
            contender("bare asyncio loop", "send_bare", cpu=bare_cpu),
        ),
    )


SENDING = (
    _sending(
        "send-1",
        "Send 1 KB on 1 connection",
        connections=1,
        octets=1000,
        messages=10_000,
        aiosmtplib=(4.0, 1 / 5),
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
        aiosmtplib=(4.5, 1 / 5),
        smtp_source=1.8,
        bare_cpu=1.8,
    ),
    _sending(
        "send-1-large",
        "Send 10 KB on 1 connection",
        connections=1,
        octets=10_000,
        messages=5_000,
        aiosmtplib=(3.0, None),
    ),
    _sending(
        "send-10-large",
        "Send 10 KB on 10 connections",
        connections=10,
        octets=10_000,
        messages=5_000,
        aiosmtplib=(3.0, None),
    ),
)

"""A process with an SMTP and a POP3 server, for tests that attack it: `attacked.py '{"runtime": "asyncio", …}'`.

It writes a line of JSON with the ports, and runs until its standard input ends.
"""

from __future__ import annotations

import json
import resource
import ssl
import sys
from typing import Any

import anyio
import anyio.to_thread

from asyncmail import POP3Server, SMTPServer
from asyncmail.server import ConnectionLimits, InMemoryMaildrops

MESSAGE = b"Subject: large\r\n\r\n" + (b"x" * 76 + b"\r\n") * 10_000


async def main(certificate: str, idle_seconds: float, connections: int) -> None:
    received = 0

    async def deliver(transaction: Any) -> None:
        nonlocal received
        received += 1

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    limits = ConnectionLimits(connections=connections, connections_per_host=connections)
    common: dict[str, Any] = {
        "idle_seconds": idle_seconds,
        "connection_limits": limits,
        "grace_seconds": 1,
        "tls_context": context,
    }
    maildrops = InMemoryMaildrops({f"user{number}": "secret" for number in range(10)})
    for number in range(10):
        maildrops.deliver(f"user{number}", MESSAGE)
    async with (
        SMTPServer(deliver, **common) as smtp,
        SMTPServer(deliver, implicit_tls=True, **common) as smtps,
        POP3Server(maildrops, login_seconds=idle_seconds, **common) as pop3,
    ):
        print(json.dumps({"smtp": smtp.port, "smtps": smtps.port, "pop3": pop3.port}), flush=True)  # noqa: T201
        await anyio.to_thread.run_sync(sys.stdin.read)
    print(json.dumps({"received": received}), flush=True)  # noqa: T201


if __name__ == "__main__":
    options = json.loads(sys.argv[1])
    files = options.pop("files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    runtime = options.pop("runtime")
    arguments = (options["certificate"], options["idle_seconds"], options["connections"])
    anyio.run(
        main,
        *arguments,
        backend="trio" if runtime == "trio" else "asyncio",
        backend_options={"use_uvloop": True} if runtime == "uvloop" else {},
    )

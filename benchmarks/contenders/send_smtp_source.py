"""Send with smtp-source, the C program of Postfix: lock-step, in one process, without looking at the content."""

from __future__ import annotations

import subprocess
import tempfile
from typing import TYPE_CHECKING

from peers import find_program

from .common import HOST, SENDER, Stopwatch, main, make_content, make_recipients, warm_up

if TYPE_CHECKING:
    from argparse import Namespace

    from .common import Measured


def send(options: Namespace) -> Measured:
    (recipient,) = make_recipients(1)
    with tempfile.NamedTemporaryFile() as file:
        file.write(make_content(options.octets).replace(b"\r\n", b"\n"))
        file.flush()
        command = [find_program("smtp-source"), "-d", "-f", SENDER, "-t", recipient, "-F", file.name]
        command += ["-s", str(options.connections)]

        def send_all(messages: int) -> None:
            subprocess.run([*command, "-m", str(messages), f"inet:{HOST}:{options.port}"], check=True)

        send_all(warm_up(options.messages))
        with Stopwatch(children=True) as watch:
            send_all(options.messages)
    return watch.measured(options.messages)


if __name__ == "__main__":
    main(send)

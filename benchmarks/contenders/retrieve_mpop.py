"""Retrieve with mpop, a C program: the whole session.

It has to put the messages somewhere; this is the place that takes least time, one file in memory.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from peers import find_program

from .common import HOST, Stopwatch, expect, main

if TYPE_CHECKING:
    from argparse import Namespace

    from .common import Measured

_MEMORY = "/dev/shm"

_CONFIGURATION = """
account default
host {host}
port {port}
tls off
auth user
user {user}
password {password}
keep on
received_header off
delivery mbox {directory}/mail
uidls_file {directory}/uidls
"""


def retrieve(options: Namespace) -> Measured:
    program = find_program("mpop")
    with tempfile.TemporaryDirectory(dir=_MEMORY) as name:
        directory = Path(name)
        configuration = directory / "mpoprc"
        configuration.write_text(
            _CONFIGURATION.format(
                host=HOST,
                port=options.port,
                user=options.user,
                password=options.password,
                directory=directory,
            )
        )
        configuration.chmod(0o600)
        with Stopwatch(children=True) as watch:
            subprocess.run([program, "--quiet", f"--file={configuration}"], check=True)
        expect(
            (directory / "mail").read_bytes().count(b"\n\nFrom ") + 1, options.messages, "messages retrieved"
        )
    return watch.measured(options.messages)


if __name__ == "__main__":
    main(retrieve)

"""Fetch many maildrops into Maildirs with one run of getmail6."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from peers import find_program

from .common import HOST, Stopwatch, expect, main

if TYPE_CHECKING:
    from argparse import Namespace

    from .common import Measured

_CONFIGURATION = """
[retriever]
type = SimplePOP3Retriever
server = {host}
port = {port}
username = {user}
password = {password}

[destination]
type = Maildir
path = {maildir}/

[options]
read_all = false
delete = false
verbose = 0
delivered_to = false
received = false
"""


def fetch(options: Namespace) -> Measured:
    command = [find_program("getmail")]
    user = "mail" if os.geteuid() == 0 else None  # it refuses to work as root
    directory = Path(tempfile.mkdtemp(dir=options.directory))
    command.append(f"--getmaildir={directory}")
    for number in range(options.maildrops):
        maildrop = f"{options.user}{number}"
        maildir = directory / maildrop
        for part in ("", "tmp", "new", "cur"):
            (maildir / part).mkdir()
        configuration = directory / f"{maildrop}.rc"
        configuration.write_text(
            _CONFIGURATION.format(
                host=HOST,
                port=options.port,
                user=maildrop,
                password=options.password,
                maildir=maildir,
            )
        )
        command.append(f"--rcfile={configuration}")
    if user is not None:
        for path in (directory, *directory.rglob("*")):
            shutil.chown(path, user, user)
    with Stopwatch(children=True) as watch:
        subprocess.run(command, check=True, user=user, group=user, extra_groups=user and [])
    expect(len(list(directory.glob("*/new/*"))), options.messages, "messages fetched")
    return watch.measured(options.messages)


if __name__ == "__main__":
    main(fetch)

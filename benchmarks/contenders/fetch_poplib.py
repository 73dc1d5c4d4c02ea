"""Fetch many maildrops into Maildirs with eight threads of the standard library's poplib and mailbox."""

from __future__ import annotations

import mailbox
import poplib
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from .common import HOST, Stopwatch, expect, main

if TYPE_CHECKING:
    from argparse import Namespace

    from .common import Measured

_THREADS = 8


def fetch(options: Namespace) -> Measured:
    users = [f"{options.user}{number}" for number in range(options.maildrops)]
    directory = Path(tempfile.mkdtemp(dir=options.directory))
    with ThreadPoolExecutor(_THREADS) as threads, Stopwatch() as watch:
        fetched = sum(threads.map(partial(_fetch, options, directory), users))
    expect(fetched, options.messages, "messages fetched")
    return watch.measured(fetched)


def _fetch(options: Namespace, directory: Path, user: str) -> int:
    maildir = mailbox.Maildir(directory / user)
    client = poplib.POP3(HOST, options.port)
    client.user(user)
    client.pass_(options.password)
    _, listings, _ = client.uidl()
    for number in range(1, len(listings) + 1):
        maildir.add(b"\n".join(client.retr(number)[1]) + b"\n")
    client.quit()
    return len(listings)


if __name__ == "__main__":
    main(fetch)

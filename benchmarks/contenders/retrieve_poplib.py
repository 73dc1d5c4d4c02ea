"""Retrieve with the standard library's poplib, each message into octets."""

from __future__ import annotations

import poplib
from typing import TYPE_CHECKING

from .common import HOST, Stopwatch, expect, main

if TYPE_CHECKING:
    from argparse import Namespace

    from .common import Measured


def retrieve(options: Namespace) -> Measured:
    watch = Stopwatch()
    watch.start()
    client = poplib.POP3(HOST, options.port)
    client.user(options.user)
    client.pass_(options.password)
    if not options.whole:
        watch.start()
    _, listings, _ = client.list()
    numbers = [int(listing.split()[0]) for listing in listings][: options.messages]
    for number in numbers:
        b"\r\n".join(client.retr(number)[1])
    if not options.whole:
        watch.stop()
    client.quit()
    if options.whole:
        watch.stop()
    expect(len(numbers), options.messages, "messages retrieved")
    return watch.measured(len(numbers))


if __name__ == "__main__":
    main(retrieve)

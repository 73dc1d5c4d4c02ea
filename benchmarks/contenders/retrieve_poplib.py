"""Retrieve with the standard library's poplib, each message into octets."""

from __future__ import annotations

import poplib
from typing import TYPE_CHECKING

from .common import HOST, Stopwatch, expect, main, warm_up

if TYPE_CHECKING:
    from argparse import Namespace

    from .common import Measured


def retrieve(options: Namespace) -> Measured:
    watch = Stopwatch()
    if not options.whole:
        client = _log_in(options)
        for number in range(1, warm_up(options.messages) + 1):
            client.retr(number)
        client.quit()
    watch.start()
    client = _log_in(options)
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


def _log_in(options: Namespace) -> poplib.POP3:
    client = poplib.POP3(HOST, options.port)
    client.user(options.user)
    client.pass_(options.password)
    return client


if __name__ == "__main__":
    main(retrieve)

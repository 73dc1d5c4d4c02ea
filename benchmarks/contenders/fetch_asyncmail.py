"""Fetch many maildrops into Maildirs with `asyncmail.Fetcher`."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

from asyncmail import Fetcher, Maildir

from .common import HOST, Stopwatch, expect, main

if TYPE_CHECKING:
    from argparse import Namespace

    from .common import Measured


async def fetch(options: Namespace) -> Measured:
    urls = [
        f"pop3://{options.user}{number}:{options.password}@{HOST}:{options.port}"
        for number in range(options.maildrops)
    ]
    directory = tempfile.mkdtemp(dir=options.directory)
    with Stopwatch() as watch:
        fetcher = Fetcher(urls, deliver_to=Maildir(f"{directory}/{{user}}"), ledger=f"{directory}/seen.db")
        fetched = 0
        async for report in fetcher.run():
            if report.error is not None:
                raise SystemExit(str(report.error))
            fetched += report.fetched
    expect(fetched, options.messages, "messages fetched")
    return watch.measured(fetched)


if __name__ == "__main__":
    main(fetch)

"""Fetch the new messages of many maildrops into Maildirs, and print what has not been read.

    python examples/fetch_maildrops.py DIRECTORY pop3s://ann:secret@mail.example.com pop3s://bob:secret@mail.example.org

What is new goes to DIRECTORY/<user>/new, and DIRECTORY/seen.db remembers it. Run it as often as you like, and kill it
when you like: nothing is lost.
"""

import asyncio
import sys
from email import message_from_bytes
from email.policy import default
from pathlib import Path

import asyncmail


async def fetch(directory, urls):
    """Fetch what is new; return how many maildrops failed."""
    fetcher = asyncmail.Fetcher(
        urls, deliver_to=asyncmail.Maildir(directory / "{user}"), ledger=directory / "seen.db", connections=50
    )
    failures = 0
    async for report in fetcher.run():
        if report.error is None:
            print(f"{report.maildrop}: {report.fetched} new of {report.listed}, {report.octets} octets")
        else:
            failures += 1
            print(f"{report.maildrop}: {report.error}")
    return failures


def show(directory):
    """Print the subjects of what has not been read."""
    for file in sorted(directory.glob("*/new/*")):
        message = message_from_bytes(file.read_bytes(), policy=default)
        print(f"{file.parts[-3]}: {message['Subject']}")


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    failures = asyncio.run(fetch(directory, sys.argv[2:]))
    show(directory)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()

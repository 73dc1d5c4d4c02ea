"""A service that takes mail for tickets: ticket-17@… goes to ticket 17, everybody else is told there is no such user.

    python examples/embedded_server.py 2525
    swaks --server localhost:2525 --to ticket-17@example.com

The handler decides about each recipient while the client waits, so nothing has to bounce later. Whatever `deliver`
raises is answered 451: the client keeps the message and tries again.
"""

import asyncio
import re
import sys
from contextlib import suppress

import asyncmail

TICKET = re.compile(r"ticket-(\d+)@example\.com", re.IGNORECASE)


class Tickets:
    """Collects messages by ticket."""

    def __init__(self):
        self.messages = {}

    async def rcpt(self, transaction, recipient):
        if not TICKET.fullmatch(recipient):
            return asyncmail.Reply(550, "No such user", "5.1.1")

    async def deliver(self, transaction):
        for recipient in transaction.recipients:
            number = int(TICKET.fullmatch(recipient)[1])
            self.messages.setdefault(number, []).append(transaction.message["Subject"])
            print(f"ticket {number}: {transaction.message['Subject']} from {transaction.sender}", flush=True)


async def main():
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 2525
    async with asyncmail.SMTPServer(Tickets(), port=port, hostname="tickets.example.com") as server:
        print(f"listening on port {server.port}", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):  # Ctrl-C ends it
        asyncio.run(main())

"""Send a personalised, DKIM-signed message to everybody in a CSV file with the columns email and name.

    python examples/bulk_send.py smtp://localhost:2525 people.csv dkim-key.pem

Sends over four connections, holds only a few hundred messages in memory whatever the size of the file, and prints what
became of those who did not get theirs. For runs that can be interrupted and resumed see `asyncmail bulk`.
"""

import asyncio
import csv
import sys

import asyncmail
from asyncmail.message import verp

DOMAIN = "example.com"
TEMPLATE = asyncmail.Template(
    sender=f"Example News <news@{DOMAIN}>",
    subject="{name}, here is what is new",
    text="Dear {name},\n\nhere is what is new.\n",
    html="<p>Dear {name},</p><p>here is what is <b>new</b>.</p>",
    unsubscribe=f"https://{DOMAIN}/unsubscribe?who={{email}}",
)


def parcels(path):
    """One message for each row; a bounce names its recipient in its envelope (VERP)."""
    with open(path, newline="", encoding="utf-8-sig") as file:
        for row in csv.DictReader(file):
            bounces = verp(f"bounces@{DOMAIN}", row["email"])
            yield TEMPLATE.render(row, to=[row["email"]], sender=bounces, tag=row["email"])


async def send(server, path, key):
    """Send to everybody; return how many did not get theirs."""
    signer = asyncmail.DKIMSigner(domain=DOMAIN, selector="news", private_key=key)
    failures = 0
    async with asyncmail.Mailer(server, connections=4) as mailer:
        # Rendered and signed in worker threads, on the other cores.
        async for outcome in mailer.send_many(signer.sign_many(parcels(path))):
            if not outcome.ok:
                failures += 1
                for each in outcome.recipients:
                    print(f"{each.address}: {each.status} {each.reply or outcome.error}")
    return failures


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    server, path, key_path = sys.argv[1:]
    with open(key_path, "rb") as file:
        failures = asyncio.run(send(server, path, file.read()))
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()

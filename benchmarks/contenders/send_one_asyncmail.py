"""Send one large message with `asyncmail.Mailer`; what counts is the memory it takes beside the message."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncmail import Mailer, Parcel

from .common import HOST, SENDER, Stopwatch, main, make_content, make_recipients
from .memory import mark_peak, peak_since_mark

if TYPE_CHECKING:
    from argparse import Namespace

    from .common import Measured


async def send(options: Namespace) -> Measured:
    recipients = make_recipients(1)
    content = make_content(options.octets) + b".dotted\r\n"  # so that it is not sent as it is
    async with Mailer(f"smtp://{HOST}:{options.port}", connections=1) as mailer:
        await mailer.send(Parcel(make_content(1000), SENDER, recipients))
        before = mark_peak()
        with Stopwatch() as watch:
            outcome = await mailer.send(Parcel(content, SENDER, recipients))
        memory = peak_since_mark() - before
    outcome.raise_for_refusals()
    return watch.measured(1, memory=memory)


if __name__ == "__main__":
    main(send)

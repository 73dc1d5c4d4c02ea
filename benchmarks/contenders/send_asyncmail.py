"""Send with `asyncmail.Mailer.send_many`."""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING

from asyncmail import Mailer, Parcel

from .common import HOST, SENDER, Stopwatch, expect, main, make_content, make_recipients, warm_up

if TYPE_CHECKING:
    from argparse import Namespace

    from .common import Measured


async def send(options: Namespace) -> Measured:
    parcel = Parcel(make_content(options.octets), SENDER, make_recipients(options.recipients))
    async with Mailer(f"smtp://{HOST}:{options.port}", connections=options.connections) as mailer:
        await _send(mailer, parcel, warm_up(options.messages))
        with Stopwatch() as watch:
            await _send(mailer, parcel, options.messages)
    return watch.measured(options.messages)


async def _send(mailer: Mailer, parcel: Parcel, messages: int) -> None:
    accepted = 0
    async for outcome in mailer.send_many(repeat(parcel, messages)):
        accepted += not (outcome.refused or outcome.deferred or outcome.unknown)
    expect(accepted, messages, "messages accepted")


if __name__ == "__main__":
    main(send)

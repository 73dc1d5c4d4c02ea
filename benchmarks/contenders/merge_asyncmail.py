"""Personalise, sign and send with `asyncmail.Template`, `asyncmail.DKIMSigner` and `asyncmail.Mailer`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncmail import DKIMSigner, Mailer, Parcel, Template

from .common import HOST, SENDER, Stopwatch, expect, main, warm_up
from .newsletter import DOMAIN, HTML, IMAGE, IMAGE_NAME, SELECTOR, SUBJECT, TEXT, make_rows

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterable, Iterator

    from .common import Measured


async def merge(options: Namespace) -> Measured:
    signer = DKIMSigner(domain=DOMAIN, selector=SELECTOR, private_key=options.key)
    template = Template(
        sender=SENDER,
        to="{name} <{email}>",
        subject=SUBJECT,
        text=TEXT,
        html=HTML,
        inline={"logo": (IMAGE_NAME, IMAGE)},
    )

    def parcels(rows: Iterable[dict[str, str]]) -> Iterator[Parcel]:
        for row in rows:
            parcel = template.render(row)
            assert isinstance(parcel.content, bytes)
            yield Parcel(signer.sign(parcel.content), parcel.sender, parcel.recipients)

    async def send_all(messages: int) -> None:
        accepted = 0
        async for outcome in mailer.send_many(parcels(make_rows(messages))):
            accepted += len(outcome.accepted)
        expect(accepted, messages, "messages accepted")

    async with Mailer(f"smtp://{HOST}:{options.port}", connections=options.connections) as mailer:
        await send_all(warm_up(options.messages))
        with Stopwatch() as watch:
            await send_all(options.messages)
    return watch.measured(options.messages)


if __name__ == "__main__":
    main(merge)

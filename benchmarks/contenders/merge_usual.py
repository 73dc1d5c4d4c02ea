"""Personalise, sign and send with the standard library's EmailMessage, dkimpy and aiosmtplib."""

from __future__ import annotations

from email.message import EmailMessage, MIMEPart
from email.policy import SMTP
from email.utils import formatdate, make_msgid
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import aiosmtplib
import dkim

from .common import HOST, SENDER, Stopwatch, main, warm_up
from .newsletter import DOMAIN, HTML, IMAGE, IMAGE_NAME, SELECTOR, SUBJECT, TEXT, make_rows

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Coroutine

    from .common import Measured


def merge(options: Namespace) -> Coroutine[None, None, Measured]:
    return _merge(options.port, options.messages, Path(options.key).read_bytes())


async def _merge(port: int, number: int, key: bytes) -> Measured:
    async def send_all(messages: int) -> None:
        for row in make_rows(messages):
            octets = _compose(row).as_bytes()
            signature = dkim.sign(
                octets, SELECTOR.encode(), DOMAIN.encode(), key, canonicalize=(b"relaxed", b"relaxed")
            )
            await client.sendmail(SENDER, [row["email"]], signature + octets)

    async with aiosmtplib.SMTP(hostname=HOST, port=port) as client:
        await send_all(warm_up(number))
        with Stopwatch() as watch:
            await send_all(number)
    return watch.measured(number)


def _compose(row: dict[str, str]) -> EmailMessage:
    message = EmailMessage(policy=SMTP)
    message["From"] = SENDER
    message["To"] = f"{row['name']} <{row['email']}>"
    message["Subject"] = SUBJECT.format_map(row)
    message["Date"] = formatdate()
    message["Message-ID"] = make_msgid(domain=DOMAIN)
    message.set_content(TEXT.format_map(row))
    message.add_alternative(
        HTML.format_map({name: escape(value) for name, value in row.items()}), subtype="html"
    )
    html = message.get_payload(1)
    assert isinstance(html, MIMEPart)
    html.add_related(IMAGE, "image", "png", cid="<logo>", filename=IMAGE_NAME)
    return message


if __name__ == "__main__":
    main(merge)

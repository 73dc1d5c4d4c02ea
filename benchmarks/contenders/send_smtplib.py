"""Send with the standard library's smtplib: a client for each connection, and a thread for each if they are many."""

from __future__ import annotations

import smtplib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from .common import HOST, SENDER, Stopwatch, main, make_content, make_recipients, warm_up

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator

    from .common import Measured


def send(options: Namespace) -> Measured:
    content, recipients = make_content(options.octets), make_recipients(options.recipients)

    def send_each(client: smtplib.SMTP, numbers: Iterator[int]) -> None:
        for _ in numbers:
            client.sendmail(SENDER, recipients, content)

    def send_all(messages: int) -> None:
        numbers = iter(range(messages))
        if len(clients) == 1:
            send_each(clients[0], numbers)
            return
        for future in [threads.submit(send_each, client, numbers) for client in clients]:
            future.result()

    clients = [smtplib.SMTP(HOST, options.port) for _ in range(options.connections)]
    with ThreadPoolExecutor(len(clients)) as threads:
        send_all(warm_up(options.messages))
        with Stopwatch() as watch:
            send_all(options.messages)
    for client in clients:
        client.quit()
    return watch.measured(options.messages)


if __name__ == "__main__":
    main(send)

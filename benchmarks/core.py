"""Whether the costs of the pure protocol objects grow linearly, in one process and without input or output.

    python benchmarks/core.py            every case at full size
    python benchmarks/core.py --quick    whether everything runs; the figures mean nothing

Each case is done at a quarter, at half and at the whole of its size; the cost of a unit should stay what it is.
It fails nothing.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1]))

from table import print_rows

from asyncmail import pop3, smtp
from asyncmail.wire import Signal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_SEGMENT = 65_536
_LINEAR = 1.5
_QUICK = 0.001
_PARTS = (0.25, 0.5, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Something whose cost should be in proportion to its size.

    Args:
        name: for the table.
        unit: what the size is a number of.
        size: how much is done.
        run: does this much.
    """

    name: str
    unit: str
    size: int
    run: Callable[[int], None]

    def cost(self, size: int) -> float:
        """CPU time for each unit of this size, in seconds: the least of three times."""
        times = []
        for _ in range(3):
            start = time.process_time()
            self.run(size)
            times.append(time.process_time() - start)
        return min(times) / size


def _octet_by_octet(data: bytes) -> Iterable[bytes]:
    return [data[index : index + 1] for index in range(len(data))]


def _in_segments(data: bytes) -> Iterable[bytes]:
    return [data[start : start + _SEGMENT] for start in range(0, len(data), _SEGMENT)]


# --- SMTP


def _smtp_client(limits: smtp.ClientLimits | None = None) -> smtp.ClientProtocol:
    client = smtp.ClientProtocol(limits=limits)
    client.receive_data(b"220 localhost ESMTP\r\n")
    client.next_event()
    client.send(smtp.Ehlo(domain="localhost"))
    client.receive_data(b"250-localhost\r\n250 PIPELINING\r\n")
    client.next_event()
    return client


def _read_long_reply(segments: Iterable[bytes]) -> None:
    client = _smtp_client(smtp.ClientLimits(reply=1 << 30))
    client.send(smtp.Help(text=""))
    event: smtp.ClientEvent | Signal = Signal.NEED_DATA
    for segment in segments:
        client.receive_data(segment)
        event = client.next_event()
    assert isinstance(event, smtp.ReplyReceived)


def _long_reply(lines: int) -> bytes:
    return b"214-This line is one of many\r\n" * (lines - 1) + b"214 This is the last one\r\n"


def _serve(segments: Iterable[bytes], *, recipients: int = 1, size: int = 1 << 30) -> int:
    """Feed a server, accept everything, and return the octets of content."""
    limits = smtp.ServerLimits(recipients=recipients, commands=recipients + 10, message_size=size)
    server = smtp.ServerProtocol(limits=limits)
    server.send(smtp.Reply(220, "localhost ESMTP"))
    octets = 0
    for segment in segments:
        server.receive_data(segment)
        while (event := server.next_event()) is not Signal.NEED_DATA:
            if isinstance(event, smtp.ContentReceived):
                octets += len(event.data)
            else:
                assert isinstance(event, smtp.CommandReceived | smtp.ContentEnded)
                server.accept()
        server.data_to_send()
    return octets


def _transaction(wire_content: bytes, recipients: int = 1) -> bytes:
    envelope = b"EHLO localhost\r\nMAIL FROM:<sender@example.com>\r\n"
    envelope += b"".join([b"RCPT TO:<recipient%d@example.com>\r\n" % number for number in range(recipients)])
    return envelope + b"DATA\r\n" + wire_content + b".\r\n"


def _serve_octets(octets: int) -> None:
    content = b"x" * 76 + b"\r\n"
    content *= octets // len(content) + 1
    assert _serve(_octet_by_octet(_transaction(content))) == len(content)


def _serve_dots(octets: int) -> None:
    lines = octets // 3
    assert _serve(_in_segments(_transaction(b"..\r\n" * lines))) == 3 * lines


def _serve_recipients(recipients: int) -> None:
    assert _serve(_in_segments(_transaction(b"\r\n", recipients)), recipients=recipients) == 2


def _send_dots(octets: int) -> None:
    client = _smtp_client()
    pipeline = smtp.Pipeline(client)
    pipeline.submit(
        smtp.Transaction("sender@example.com", ["recipient@example.com"], b".\r\n" * (octets // 3))
    )
    pipeline.advance()
    _answer(client, pipeline, [b"250 OK\r\n", b"250 OK\r\n", b"354 Go on\r\n", b"250 OK\r\n"])
    assert sum(map(len, client.data_to_send())) > octets


def _send_to_recipients(recipients: int) -> None:
    client = _smtp_client()
    pipeline = smtp.Pipeline(client)
    addresses = [f"recipient{number}@example.com" for number in range(recipients)]
    pipeline.submit(smtp.Transaction("sender@example.com", addresses, b"\r\n"))
    pipeline.advance()
    _answer(client, pipeline, [b"250 OK\r\n"] * (recipients + 1) + [b"354 Go on\r\n", b"250 OK\r\n"])


def _answer(client: smtp.ClientProtocol, pipeline: smtp.Pipeline, replies: list[bytes]) -> None:
    """Answer what a pipeline sends, until its only transaction is decided."""
    for reply in replies:
        client.receive_data(reply)
        event = client.next_event()
        assert isinstance(event, smtp.ReplyReceived)
        pipeline.handle([event])
        pipeline.advance()
    ((_, outcome),) = pipeline.outcomes
    assert not (outcome.refused or outcome.deferred or outcome.unknown)


# --- POP3


def _pop3_client() -> pop3.ClientProtocol:
    client = pop3.ClientProtocol()
    client.receive_data(b"+OK localhost\r\n")
    client.next_event()
    for command in (pop3.User(name="user"), pop3.Pass(password="secret")):
        client.send(command)
        client.receive_data(b"+OK\r\n")
        client.next_event()
    return client


def _retrieve(segments: Iterable[bytes]) -> int:
    """Feed a client with an answer to RETR, and return the octets of content."""
    client = _pop3_client()
    client.send(pop3.Retr(number=1))
    octets = 0
    for segment in segments:
        client.receive_data(segment)
        while isinstance(event := client.next_event(), pop3.ContentReceived):
            octets += len(event.data)
    assert event is Signal.NEED_DATA
    return octets


def _retrieve_octets(octets: int) -> None:
    content = b"x" * 76 + b"\r\n"
    content *= octets // len(content) + 1
    assert _retrieve(_octet_by_octet(b"+OK\r\n" + content + b".\r\n")) == len(content)


def _retrieve_dots(octets: int) -> None:
    lines = octets // 3
    assert _retrieve(_in_segments(b"+OK\r\n" + b"..\r\n" * lines + b".\r\n")) == 3 * lines


def _list(lines: int) -> None:
    client = _pop3_client()
    client.send(pop3.List())
    listing = b"".join([b"%d 1000\r\n" % number for number in range(1, lines + 1)])
    event: pop3.ClientEvent | Signal = Signal.NEED_DATA
    for segment in _in_segments(b"+OK\r\n" + listing + b".\r\n"):
        client.receive_data(segment)
        event = client.next_event()
    assert isinstance(event, pop3.ListingReceived)
    assert len(list(event.listing)) == lines


CASES = (
    Case(
        name="SMTP client: a reply, octet by octet",
        unit="octet",
        size=500_000,
        run=lambda octets: _read_long_reply(_octet_by_octet(_long_reply(octets // 30 + 1))),
    ),
    Case(name="SMTP server: content, octet by octet", unit="octet", size=500_000, run=_serve_octets),
    Case(name="POP3 client: content, octet by octet", unit="octet", size=500_000, run=_retrieve_octets),
    Case(
        name="SMTP client: a reply of 10,000 lines",
        unit="line",
        size=10_000,
        run=lambda lines: _read_long_reply(_in_segments(_long_reply(lines))),
    ),
    Case(name="POP3 client: a listing of 10,000 lines", unit="line", size=10_000, run=_list),
    Case(name="SMTP client: 64 MB of lone dots", unit="octet", size=64_000_000, run=_send_dots),
    Case(name="SMTP server: 64 MB of lone dots", unit="octet", size=64_000_000, run=_serve_dots),
    Case(name="POP3 client: 64 MB of lone dots", unit="octet", size=64_000_000, run=_retrieve_dots),
    Case(name="SMTP client: 100,000 recipients", unit="recipient", size=100_000, run=_send_to_recipients),
    Case(name="SMTP server: 100,000 recipients", unit="recipient", size=100_000, run=_serve_recipients),
)


def main() -> None:
    """Run all cases and print what a unit costs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a thousandth of the work")
    scale = _QUICK if parser.parse_args().quick else 1.0
    rows = []
    for case in CASES:
        costs = [case.cost(max(round(case.size * scale * part), 10)) for part in _PARTS]
        growth = costs[-1] / costs[0]
        rows.append(
            [
                case.name,
                case.unit,
                *(f"{cost * 1e9:,.3g} ns" if cost < 1e-6 else f"{cost * 1e6:,.3g} µs" for cost in costs),
                f"{growth:.2f}",
                f"≤ {_LINEAR:g} {'reached' if growth <= _LINEAR else 'MISSED'}",
            ]
        )
    header = ["", "CPU for each", "at a quarter", "at half", "at full size", "growth", "to reach"]
    print_rows("Costs grow linearly", header, rows)


if __name__ == "__main__":
    main()

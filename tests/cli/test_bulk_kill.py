"""kill -9 at random moments of a bulk run: nobody is sent a second copy, and nobody is forgotten."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections import Counter, defaultdict
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio
import pytest

from asyncmail.cli.bulk import _WINDOW
from commandline import Command, Receiver, Servers, starter

if TYPE_CHECKING:
    from pathlib import Path

    from asyncmail import ReceivedTransaction, Reply

ROWS = 600
KILLS = 5  # in each of four runs
CONNECTIONS = 2

TEMPLATE = "From: news@example.com\nTo: {email}\nSubject: News for {name}\n\nDear {name}\n"


class SlowReceiver(Receiver):
    """Takes its time, so that a kill hits in the middle of something."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: defaultdict[str, set[str]] = defaultdict(set)
        self.at = -1  # so many messages
        self.arrived = threading.Event()

    async def deliver(self, transaction: ReceivedTransaction) -> Reply | None:
        self.ids[transaction.recipients[0]].add(transaction.message["Message-ID"])
        # Who is killed in between gets no answer to what was taken, or has not sent what is taken.
        await anyio.sleep(random.choice((0, 0.001, 0.002)))
        reply = await super().deliver(transaction)
        await anyio.sleep(random.choice((0, 0.001)))
        if len(self.received) >= self.at:
            self.arrived.set()
        return reply

    def expect(self, more: int) -> None:
        self.arrived.clear()
        self.at = len(self.received) + more


@pytest.mark.parametrize("seed", range(4))
def test_killed_at_random_moments(asyncmail: Command, servers: Servers, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    receiver = SlowReceiver()
    server = f"smtp://127.0.0.1:{servers.smtp(receiver)}"
    table = tmp_path / "members.csv"
    everybody = {f"r{n}@example.com" for n in range(ROWS)}
    table.write_text("email,name\n" + "".join(f"{address},{address[:2]}\n" for address in sorted(everybody)))
    (tmp_path / "news.eml").write_text(TEMPLATE)
    arguments = ["bulk", str(table), str(tmp_path / "news.eml"), "--server", server]
    arguments += ["--connections", str(CONNECTIONS)]

    with starter() as start:
        for _ in range(KILLS):
            receiver.expect(chance.randrange(80))
            if chance.random() < 0.2:
                receiver.arrived.set()  # before it has sent anything
            with (
                start(arguments) as process,
                suppress(ProcessLookupError),
            ):  # a run that got to its end before
                while not receiver.arrived.wait(0.1):
                    os.kill(process, 0)
                time.sleep(chance.random() * 0.02)
                os.kill(process, signal.SIGKILL)
            time.sleep(0.01)  # what had left the killed process is still arriving

    result = asyncmail(*arguments, "--json")
    told = json.loads(result.out)
    copies = Counter(receiver.recipients)
    unknown = {each["address"] for each in told["unsettled"]}
    assert {each["status"] for each in told["unsettled"]} <= {"unknown"}
    assert told["accepted"] == ROWS - len(unknown)
    assert result.status == (1 if unknown else 0)
    # Exactly one copy, or listed as unknown: then one copy or none.
    assert set(copies.values()) == {1}
    assert everybody - copies.keys() <= unknown
    assert len(unknown) <= KILLS * 2 * _WINDOW * CONNECTIONS

    result = asyncmail(*arguments, "--retry-unknown", "--json")
    assert result.status == 0
    assert json.loads(result.out)["accepted"] == ROWS
    copies = Counter(receiver.recipients)
    assert copies.keys() == everybody
    # Only the unknown can have a second copy, and it can be told from its Message-ID that it is one.
    assert {address for address, count in copies.items() if count > 1} <= unknown
    assert max(copies.values()) <= 2
    assert all(len(ids) == 1 for ids in receiver.ids.values())

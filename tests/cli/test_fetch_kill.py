"""kill -9 at 20 random moments of a fetch that deletes: nothing is lost, and nothing comes twice."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from commandline import Command, Servers, starter

if TYPE_CHECKING:
    from pathlib import Path

    from asyncmail import InMemoryMaildrops

KILLS = 20


def test_killed_at_random_moments(
    asyncmail: Command, servers: Servers, maildrops: InMemoryMaildrops, tmp_path: Path
) -> None:
    chance = random.Random(7)
    arguments = ["fetch", f"pop3://ann:secret@127.0.0.1:{servers.pop3(maildrops)}", "--to", str(tmp_path)]
    arguments.append("--delete")
    expected: list[bytes] = []
    were_killed = 0
    with starter() as start:
        for kill in range(KILLS):
            for number in range(60):
                content = b"Subject: %d.%d\r\n\r\n%b\r\n" % (
                    kill,
                    number,
                    b"x" * chance.choice([9, 900, 90_000]),
                )
                expected.append(content)
                maildrops.deliver("ann", content)
            with start(arguments) as process, suppress(ProcessLookupError):
                time.sleep(chance.uniform(0.005, 0.15))
                os.kill(process, signal.SIGKILL)
                were_killed += 1
    assert were_killed == KILLS
    for _ in range(500):  # the server may not have noticed yet that the last one has gone
        if asyncmail(*arguments).status == 0:
            break
        time.sleep(0.01)
    stored = [path.read_bytes() for path in tmp_path.glob("ann@*/new/*")]
    assert sorted(stored) == sorted(expected)
    assert maildrops.contents("ann") == []
    assert asyncmail(*arguments).status == 0
    assert len(list(tmp_path.glob("ann@*/new/*"))) == len(expected)

"""The benchmarks run; what they measure here means nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def run(script: str, *options: str) -> str:
    command = [sys.executable, str(BENCHMARKS / script), "--quick", *options]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


@pytest.mark.parametrize(
    ("work", "programs"),
    [
        ("send-1", ["smtp-sink", "smtp-source"]),
        ("retrieve-2k", ["dovecot"]),
    ],
)
def test_all_contenders_do_the_work(work: str, programs: list[str], program: Callable[[str], str]) -> None:
    for name in programs:
        program(name)
    (finding,) = json.loads(run("compare.py", "--json", "--only", work))
    assert finding["name"] == work
    for contender in finding["contenders"]:
        assert "reason" not in contender, contender
        (sample,) = contender["samples"]
        assert sample["rate"] > 0 and sample["cpu"] > 0
    assert {mark["quantity"] for mark in finding["marks"]} == {"rate", "cpu"}


def test_the_table(program: Callable[[str], str]) -> None:
    program("smtp-source")
    table = run("compare.py", "--only", "server-sessions")
    for text in ("(server-sessions)", "asyncmail", "aiosmtpd", "bare asyncio server", "of 3 marks reached"):
        assert text in table


def test_costs_of_the_core() -> None:
    assert "100,000 recipients" in run("core.py")


def test_where_the_time_goes(program: Callable[[str], str]) -> None:
    program("smtp-sink")
    table = run("where.py", "send-1")
    for text in ("(send-1)", "SMTP: commands, replies, states, transactions", "event loop"):
        assert text in table

"""How much memory this process has, as Linux counts it."""

from __future__ import annotations

import gc
import os
import re
from pathlib import Path

__all__ = ["peak_since_mark", "mark_peak", "resident"]

_PROCESS = Path("/proc/self")
_PEAK = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)


def resident() -> int:
    """Octets in memory now."""
    gc.collect()
    pages = int((_PROCESS / "statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE")


def mark_peak() -> int:
    """Forget the most that there ever was; return the octets in memory now."""
    now = resident()
    (_PROCESS / "clear_refs").write_text("5")
    return now


def peak_since_mark() -> int:
    """The most octets in memory since `mark_peak`."""
    found = _PEAK.search((_PROCESS / "status").read_text())
    assert found is not None
    return int(found[1]) * 1024

"""What is compared, in the order of the table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .memory import MEMORY
from .receiving import IDLE, RECEIVING
from .retrieving import FETCHING, RETRIEVING, RETRIEVING_FAR
from .sending import MERGING, SENDING, SENDING_FAR

if TYPE_CHECKING:
    from harness import Work

__all__ = ["WORKS"]

WORKS: tuple[Work, ...] = (
    *SENDING,
    *SENDING_FAR,
    *MERGING,
    *RECEIVING,
    *RETRIEVING,
    *RETRIEVING_FAR,
    *FETCHING,
    *MEMORY,
    *IDLE,
)

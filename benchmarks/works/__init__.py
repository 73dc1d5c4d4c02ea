"""What is compared, in the order of the table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .receiving import IDLE, RECEIVING
from .sending import MERGING, SENDING, SENDING_FAR

if TYPE_CHECKING:
    from harness import Work

__all__ = ["WORKS"]

WORKS: tuple[Work, ...] = (*SENDING, *SENDING_FAR, *MERGING, *RECEIVING, *IDLE)

"""Many maildrops at once: each message stored once, whatever dies when."""

from .fetcher import Fetcher
from .ledger import History, Intent, Ledger
from .report import FetchReport, Progress
from .store import Destination, StreamDestination

__all__ = [
    "Destination",
    "FetchReport",
    "Fetcher",
    "History",
    "Intent",
    "Ledger",
    "Progress",
    "StreamDestination",
]

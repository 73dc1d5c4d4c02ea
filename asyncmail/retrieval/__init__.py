"""Many maildrops at once: each message stored once, whatever dies when."""

from .ledger import History, Intent, Ledger

__all__ = ["History", "Intent", "Ledger"]

"""Sending in volume: a pool shared by tasks, bulk streams, DKIM."""

from .dkim import DKIMSigner
from .journal import Journal, Unsettled
from .mailer import Mailer
from .oneshot import send
from .pool import MailerStatistics, PoolLimits

__all__ = ["DKIMSigner", "Journal", "Mailer", "MailerStatistics", "PoolLimits", "Unsettled", "send"]

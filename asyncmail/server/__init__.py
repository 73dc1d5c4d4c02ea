"""Servers to embed: SMTP and LMTP, POP3, and the maildrops that POP3 serves."""

from .handlers import (
    Authenticator,
    Handler,
    HandlerLike,
    ReceivedTransaction,
    RecipientFilter,
    SenderFilter,
    SessionFilter,
    SessionInfo,
    StreamingHandler,
    Verifier,
)
from .listener import ConnectionLimits
from .maildrops import InMemoryMaildrops, MaildirMaildrops, Maildrop, MaildropStore, StoredMessage
from .pop3 import POP3Server
from .smtp import SMTPServer

__all__ = [
    "Authenticator",
    "ConnectionLimits",
    "Handler",
    "HandlerLike",
    "InMemoryMaildrops",
    "MaildirMaildrops",
    "Maildrop",
    "MaildropStore",
    "POP3Server",
    "ReceivedTransaction",
    "RecipientFilter",
    "SMTPServer",
    "SenderFilter",
    "SessionFilter",
    "SessionInfo",
    "StoredMessage",
    "StreamingHandler",
    "Verifier",
]

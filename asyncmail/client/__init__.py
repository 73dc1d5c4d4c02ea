"""Sessions of clients: one connection each, from greeting to QUIT."""

from .options import SMTPOptions
from .pop3 import POP3Client, POP3Options
from .retrieval import ContentStream, Retrievals, RetrievedMessage
from .smtp import SMTPClient
from .timeouts import POP3Timeouts, SMTPTimeouts

__all__ = [
    "ContentStream",
    "POP3Client",
    "POP3Options",
    "POP3Timeouts",
    "Retrievals",
    "RetrievedMessage",
    "SMTPClient",
    "SMTPOptions",
    "SMTPTimeouts",
]

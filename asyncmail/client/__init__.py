"""Sessions of clients: one connection each, from greeting to QUIT."""

from .smtp import SMTPClient, SMTPOptions
from .timeouts import SMTPTimeouts

__all__ = ["SMTPClient", "SMTPOptions", "SMTPTimeouts"]

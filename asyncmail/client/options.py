"""What a session, a pool and a single call take alike: the server, and options that are passed on by name."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, TypedDict

from ..errors import URLError
from ..net import MailProtocol, ServerURL

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable

    from ..smtp import ClientLimits
    from ..wire import Trace
    from .timeouts import SMTPTimeouts

__all__ = ["SMTPOptions", "check_options", "parse_server"]


class SMTPOptions(TypedDict, total=False):
    """What `SMTPClient`, `Mailer` and `send` take beside the server; all have defaults.

    Args:
        username: instead of the one in the URL.
        password: instead of the one in the URL.
        mechanisms: names of the SASL mechanisms that may be used; by default all that are known.
        tls_context: by default one that verifies certificates against the system's authorities.
        allow_cleartext_credentials: log in even where the connection is neither encrypted nor to this machine.
        local_hostname: the name given with EHLO; by default this machine's, or an address literal.
        local_address: the IP address of this machine to connect from.
        timeouts: for each phase; a number of seconds stands for all of them.
        limits: what the server may send.
        trace: called with each line of a session, secrets replaced; see `transcript`.
    """

    username: str
    password: str
    mechanisms: tuple[str, ...]
    tls_context: ssl.SSLContext
    allow_cleartext_credentials: bool
    local_hostname: str
    local_address: str
    timeouts: SMTPTimeouts | float
    limits: ClientLimits
    trace: Trace


def parse_server(server: str | ServerURL) -> ServerURL:
    """Return the server that messages can be sent to.

    Raises:
        URLError: it is not a URL, or not one of SMTP or LMTP.
    """
    url = server if isinstance(server, ServerURL) else ServerURL.parse(server)
    if url.protocol is MailProtocol.POP3:
        raise URLError("a pop3 server takes no messages", cure="use an smtp:// or lmtp:// URL")
    return url


def check_options(owner: str, known: type, given: Iterable[str]) -> None:
    """Refuse an option that `known`, a TypedDict, does not have.

    The interpreter does so for parameters; here a misspelt one would just have no effect.

    Raises:
        TypeError: one is not known.
    """
    for name in given:
        if name not in known.__annotations__:
            alike = get_close_matches(name, known.__annotations__, 1)
            hint = f", did you mean {alike[0]!r}?" if alike else ""
            raise TypeError(f"{owner}() got an unexpected keyword argument {name!r}{hint}")

"""The TLS handshake, over any stream that is in the clear."""

from __future__ import annotations

import ssl
from contextlib import suppress
from typing import TYPE_CHECKING

from ..errors import ConnectionLost, MailError
from .tls import handshake_error
from .tls_engine import TLSEngine

if TYPE_CHECKING:
    from .stream import ByteStream

__all__ = ["shake_hands"]


async def shake_hands(
    stream: ByteStream,
    context: ssl.SSLContext,
    *,
    server_hostname: str | None,
    server_side: bool,
    deadline: float,
) -> TLSEngine:
    """Negotiate TLS; return what encrypts from now on. The stream itself stays as it is.

    Raises:
        TLSError, ConnectionLost, TimeoutError, ClosedError: as `ByteStream.start_tls` does.
    """
    name = server_hostname or stream.peer
    data = b""
    try:
        engine = TLSEngine(context, server_hostname=server_hostname, server_side=server_side)
    except (ssl.SSLError, ValueError) as exc:  # a context for the other side, or a name that is none
        raise handshake_error(exc, name) from exc
    try:
        while not engine.handshake(data):
            await stream.send([engine.data_to_send()], deadline=deadline)
            data = await stream.receive(deadline=deadline)
            if not data:
                raise ConnectionLost
        await stream.send([engine.data_to_send()], deadline=deadline)
    except (ssl.SSLError, ssl.CertificateError) as exc:
        with suppress(MailError, TimeoutError):
            await stream.send([engine.data_to_send()], deadline=deadline)  # an alert
        raise handshake_error(exc, name) from exc
    except (ConnectionLost, ValueError) as exc:
        raise handshake_error(exc, name) from exc
    except TimeoutError:
        raise TimeoutError("the TLS handshake took longer than its deadline") from None
    return engine

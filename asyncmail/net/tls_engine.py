"""TLS between octets in the clear and octets on the wire, without input or output of its own."""

from __future__ import annotations

import ssl
from contextlib import suppress

__all__ = ["TLSEngine"]

# Octets that are handed to OpenSSL at once: the longest content of a record (RFC 8446 §5.1). Its memory grows to the
# most that it ever held, and stays.
_RECORD = 16 * 1024


class TLSEngine:
    """One end of a TLS connection.

    All streams share it. Event loops have TLS of their own, which takes 256 KiB for each connection on asyncio, and
    anyio's does not say goodbye unless it also takes every end without goodbye for an attack on the content.
    SMTP and POP3 mark the end of all that they say: a connection that is cut off loses what was in flight, no more.

    Renegotiation is not supported (RFC 9325 §3.4).

    Raises:
        ValueError: `server_hostname` is none.
    """

    __slots__ = ("_incoming", "_outgoing", "failure", "is_ended", "ssl_object")

    def __init__(
        self, context: ssl.SSLContext, *, server_hostname: str | None = None, server_side: bool = False
    ) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.ssl_object: ssl.SSLObject = context.wrap_bio(
            self._incoming,
            self._outgoing,
            server_side=server_side,
            server_hostname=None if server_side else server_hostname,
        )
        self.is_ended: bool = False
        """The peer said that it sends no more."""
        self.failure: ssl.SSLError | None = None
        """Why nothing more can be sent or received."""

    def handshake(self, data: bytes) -> bool:
        """Take octets from the wire; return whether the handshake is complete.

        Raises:
            ssl.SSLError, ssl.CertificateError: it failed; `data_to_send` may have an alert for the peer.
        """
        self._incoming.write(data)
        try:
            self.ssl_object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def decrypt(self, data: bytes | memoryview) -> bytes:
        """Take octets from the wire; return what they say, as far as it is complete.

        The octets before an end or a failure are returned, what comes after is ignored.
        """
        chunks: list[bytes] = []
        position = 0
        while not (self.is_ended or self.failure):
            position += self._incoming.write(data[position : position + _RECORD])
            self._read_records(chunks)
            if position >= len(data):
                break
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _read_records(self, chunks: list[bytes]) -> None:
        try:
            while self._incoming.pending:
                data = self.ssl_object.read(_RECORD)
                if not data:
                    self.is_ended = True
                    return
                chunks.append(data)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.is_ended = True
        except ssl.SSLError as exc:
            self.failure = exc

    def receive_eof(self) -> None:
        """Note that nothing more comes from the wire; that is a failure unless the peer has said goodbye."""
        if not self.is_ended and self.failure is None:
            self._incoming.write_eof()
            try:
                self.ssl_object.read(1)
            except ssl.SSLError as exc:
                self.failure = exc

    def encrypt(self, data: bytes) -> bytes:
        """Return what says `data` on the wire.

        Raises:
            ssl.SSLError: it cannot be said any more; that is the `failure`, too.
        """
        view = memoryview(data)
        position = 0
        pieces = []
        try:
            while position < len(view):
                position += self.ssl_object.write(view[position : position + _RECORD])
                pieces.append(self._outgoing.read())
        except ssl.SSLError as exc:
            self.failure = exc
            raise
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def data_to_send(self) -> bytes:
        """Return what TLS itself has to say on the wire, and forget it."""
        return self._outgoing.read()

    def end(self) -> bytes:
        """Return what says on the wire that this side sends no more (close_notify, RFC 8446 §6.1)."""
        if self.failure is None:
            with suppress(ssl.SSLError):  # the peer has not said so yet
                self.ssl_object.unwrap()
        return self._outgoing.read()

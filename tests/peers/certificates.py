"""Certificates nobody else trusts."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import trustme

from .process import HOST

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Authority"]


class Authority:
    """A certificate authority of the tests' own; its certificates are for `localhost` and 127.0.0.1."""

    def __init__(self) -> None:
        self._authority = trustme.CA()
        self._leaf = self.issue("localhost", HOST)

    def issue(self, *names: str) -> trustme.LeafCert:
        """Return a certificate for other names."""
        return self._authority.issue_cert(*names)

    def server_context(self, certificate: trustme.LeafCert | None = None) -> ssl.SSLContext:
        """Return a new context for servers."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        (certificate or self._leaf).configure_cert(context)
        return context

    def client_context(self) -> ssl.SSLContext:
        """Return a new context for clients: it trusts this authority and no other, and checks names."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._authority.configure_trust(context)
        return context

    def write(self, directory: Path) -> tuple[Path, Path]:
        """Write certificate chain and private key into `directory`, for servers; return their paths."""
        chain, key = directory / "chain.pem", directory / "key.pem"
        chain.write_bytes(b"".join(blob.bytes() for blob in self._leaf.cert_chain_pems))
        key.write_bytes(self._leaf.private_key_pem.bytes())
        key.chmod(0o600)
        return chain, key

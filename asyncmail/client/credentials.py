"""Whether and as whom to log in."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from ..errors import CleartextCredentialsRefused, InputError
from ..sasl import Credentials

if TYPE_CHECKING:
    from ..net import ByteStream, ServerURL

__all__ = ["credentials_for", "cure_of_refusal", "refuse_cleartext"]


def credentials_for(url: ServerURL, username: str | None, password: str | None) -> Credentials | None:
    """Return what to log in with: the arguments before the URL; None if neither names a user.

    Raises:
        InputError: there is a username without a password, or the other way round.
    """
    username = url.username if username is None else username
    password = url.password if password is None else password
    if not username and not password:
        return None
    if not username or not password:
        raise InputError(
            f"the {'password' if username else 'username'} for {url.endpoint} is missing",
            cure="give both, in the URL or as username= and password=",
        )
    return Credentials(username=username, password=password)


def refuse_cleartext(stream: ByteStream, *, allowed: bool) -> None:
    """Raise CleartextCredentialsRefused if credentials would leave this machine in the clear, unless allowed."""
    if allowed or stream.tls is not None or _is_local(stream.peer):
        return
    raise CleartextCredentialsRefused(
        f"the connection to {stream.peer or 'the server'} is not encrypted",
        cure="use a URL with TLS, or say allow_cleartext_credentials=True",
    )


def cure_of_refusal(mechanism: str) -> str:
    """Return what to do after credentials were refused."""
    cure = "check username and password"
    if mechanism in ("CRAM-MD5", "APOP"):
        # Nobody there may know the password that the digest is to be compared with.
        cure += f", or leave {mechanism} out of mechanisms= if the server keeps passwords as hashes"
    return cure


def _is_local(peer: str) -> bool:
    if peer == "unix":
        return True
    try:
        return ipaddress.ip_address(peer.partition("%")[0]).is_loopback
    except ValueError:
        return False

"""Which mechanism comes first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..errors import InputError, MechanismUnavailable, printable, quoted
from .client import CLIENT_MECHANISMS
from .server import SERVER_MECHANISMS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .client import ClientMechanism
    from .credentials import Credentials
    from .server import ServerMechanism

__all__ = ["choose", "server_mechanisms"]

# In the clear, not to send the password matters most. Behind encryption CRAM-MD5 comes last: it is deprecated
# and obliges the server to keep passwords readable, so it fails where they are kept as hashes.
_ENCRYPTED: Final = ("PLAIN", "LOGIN", "CRAM-MD5")
_CLEARTEXT: Final = ("CRAM-MD5", "PLAIN", "LOGIN")


def choose(
    offered: Iterable[str],
    credentials: Credentials,
    *,
    encrypted: bool,
    allowed: Iterable[str] | None = None,
) -> list[ClientMechanism]:
    """Return the mechanisms to try, best first, each ready for one exchange.

    Args:
        offered: the names that the server gave, in any case; unknown ones are passed over.
        encrypted: whether the connection is. This decides the order only; whether a mechanism that
            `needs_encryption` may be used without is for the caller to say.
        allowed: the names that the caller permits, in any order; all that are known if None.

    Raises:
        MechanismUnavailable: none is left.
        InputError: `allowed` holds a name that is not known.
    """
    offers = [name.upper() for name in offered]
    permitted = _permitted(allowed)
    candidates = [
        CLIENT_MECHANISMS[name]
        for name in (_ENCRYPTED if encrypted else _CLEARTEXT)
        if name in offers and name in permitted
    ]
    if not candidates:
        listing = printable(" ".join(offers)) or "none"
        raise MechanismUnavailable(
            f"the server offers {listing}, the client can use {' '.join(permitted) or 'none'}",
            cure="look whether the server offers more after STARTTLS, or allow more mechanisms",
        )
    if credentials.authorization_id:
        candidates = [mechanism for mechanism in candidates if mechanism.carries_authorization_id]
        if not candidates:
            raise MechanismUnavailable(
                "no common mechanism carries an authorization identity",
                cure="leave authorization_id empty, or use a server that offers PLAIN",
            )
    return [mechanism(credentials) for mechanism in candidates]


def server_mechanisms(
    *, encrypted: bool, allowed: Iterable[str] | None = None
) -> dict[str, type[ServerMechanism]]:
    """Return the mechanisms that a server should offer on a connection, by name, best first.

    Args:
        encrypted: whether the connection is, or the operator accepts passwords in the clear.
        allowed: the names that the operator permits, in any order; all that are known if None.

    Raises:
        InputError: `allowed` holds a name that is not known.

    RFC 4954 §4, RFC 8314 §3.
    """
    permitted = _permitted(allowed)
    return {
        name: SERVER_MECHANISMS[name]
        for name in (_ENCRYPTED if encrypted else _CLEARTEXT)
        if name in permitted and (encrypted or not SERVER_MECHANISMS[name].needs_encryption)
    }


def _permitted(allowed: Iterable[str] | None) -> list[str]:
    if allowed is None:
        return list(CLIENT_MECHANISMS)
    names = [name.upper() for name in allowed]
    for name in names:
        if name not in CLIENT_MECHANISMS:
            raise InputError(
                f"{quoted(name)} is not a known mechanism",
                cure=f"choose from {' '.join(CLIENT_MECHANISMS)}",
            )
    return names

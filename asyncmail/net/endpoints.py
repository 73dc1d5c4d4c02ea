"""Names to addresses, and what the operating system says about them to errors of this library."""

from __future__ import annotations

import errno
import ipaddress
import socket
from itertools import chain, zip_longest

import anyio

from ..errors import ConnectError, ConnectionLost, printable

__all__ = ["connect_error", "connection_lost", "peer_name", "resolve"]

_PROBLEMS = {
    errno.ECONNREFUSED: ("nothing listens there", "check host and port, and that the server runs"),
    errno.EHOSTUNREACH: ("there is no way to that host", "check the address and the network"),
    errno.ENETUNREACH: ("there is no way to that network", "check the address and the network"),
    errno.ETIMEDOUT: ("the host does not answer", "check the address, the port and firewalls"),
    errno.ECONNRESET: ("the host broke the connection off", "check that the port is the right one"),
    errno.EADDRNOTAVAIL: ("the address is not one of this machine", "use one that the machine has"),
    errno.EADDRINUSE: (
        "the address is in use",
        "stop what listens there, or choose another port; 0 picks one",
    ),
    errno.EACCES: (
        "this user is not permitted to",
        "ports below 1024 need a privilege, sockets in the file system their directory's permission",
    ),
    errno.ENOENT: ("there is no such socket", "check the path, and that the server runs"),
    errno.EMFILE: (
        "this process has too many open files",
        "raise its limit (ulimit -n), or open less at once",
    ),
}
_UNRESOLVED = ("the name cannot be resolved", "check the host name and the name server")


def connect_error(exc: OSError, endpoint: str, action: str) -> ConnectError:
    """Return the error for what the operating system refused.

    Args:
        endpoint: `host:port` or the path of a socket.
        action: `connect to` or `listen on`.
    """
    # An error of several attempts, or one that anyio wrapped, tells its reason in its cause.
    if exc.errno is None and isinstance(exc.__cause__, OSError):
        exc = exc.__cause__
    if isinstance(exc, socket.gaierror):
        problem, cure = _UNRESOLVED
    else:
        reason = exc.strerror or str(exc) or type(exc).__name__
        problem, cure = _PROBLEMS.get(exc.errno or 0, (reason, "check the address and the network"))
    return ConnectError(f"cannot {action} {printable(endpoint)}: {problem}", cure=cure)


def connection_lost(exc: BaseException) -> ConnectionLost:
    """Return the error for a connection that broke."""
    reason = (exc.strerror if isinstance(exc, OSError) else None) or str(exc)
    return ConnectionLost(f"the connection was lost: {reason}" if reason else "the connection was lost")


async def resolve(host: str, port: int) -> list[str]:
    """Return the IP addresses of a host, without duplicates, both families in turn.

    Raises:
        OSError: there are none.

    RFC 8305 §4.
    """
    try:
        ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        return [host]
    infos = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    families: dict[int, dict[str, None]] = {}
    for family, _, _, _, address in infos:
        families.setdefault(family, {})[address[0]] = None
    return [address for address in chain(*zip_longest(*families.values())) if address is not None]


def peer_name(address: object) -> str:
    """Return a socket's address as `ByteStream.peer` has it: the IP address, `unix`, or nothing."""
    if isinstance(address, tuple):
        return str(address[0])
    return "" if address is None else "unix"

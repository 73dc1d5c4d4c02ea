"""Where a server is and how to speak to it, in one line: `smtp+starttls://user:password@mail.example.com`."""

from __future__ import annotations

import enum
import ipaddress
import re
from dataclasses import dataclass, field
from urllib.parse import quote, unquote_to_bytes

from ..address.domains import encode_domain
from ..errors import AddressSyntaxError, URLError

__all__ = ["MailProtocol", "ServerURL", "TLSMode", "format_endpoint"]


class MailProtocol(enum.Enum):
    """What is spoken with a server."""

    SMTP = "smtp"
    LMTP = "lmtp"
    POP3 = "pop3"


class TLSMode(enum.Enum):
    """When TLS begins."""

    OPPORTUNISTIC = "opportunistic"  # by STARTTLS or STLS where the server offers it
    REQUIRED = "required"  # by STARTTLS or STLS; without it the session ends
    IMPLICIT = "implicit"  # with the first octet (RFC 8314 §3)


# scheme: protocol, TLS, default port (0: the path of a socket)
_SCHEMES = {
    "smtp": (MailProtocol.SMTP, TLSMode.OPPORTUNISTIC, 25),
    "smtp+starttls": (MailProtocol.SMTP, TLSMode.REQUIRED, 587),
    "smtps": (MailProtocol.SMTP, TLSMode.IMPLICIT, 465),
    "lmtp": (MailProtocol.LMTP, TLSMode.OPPORTUNISTIC, 24),
    "lmtp+starttls": (MailProtocol.LMTP, TLSMode.REQUIRED, 24),
    "lmtp+unix": (MailProtocol.LMTP, TLSMode.OPPORTUNISTIC, 0),
    "pop3": (MailProtocol.POP3, TLSMode.OPPORTUNISTIC, 110),
    "pop3+starttls": (MailProtocol.POP3, TLSMode.REQUIRED, 110),
    "pop3s": (MailProtocol.POP3, TLSMode.IMPLICIT, 995),
}

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_UNUSABLE = re.compile(r"[\x00-\x20\x7f-\xa0]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerURL:
    """A server's address, the protocol and security to use with it, and perhaps credentials.

    Args:
        scheme: `smtp`, `smtp+starttls`, `smtps`, `lmtp`, `lmtp+starttls`, `lmtp+unix`, `pop3`, `pop3+starttls`
            or `pop3s`.
        host: a domain, in ASCII after construction, or an IP address without brackets; empty with `lmtp+unix`.
        port: 1 to 65535; 0 stands for the scheme's own.
        path: of the socket, absolute; with `lmtp+unix` only.
        username: empty for none.
        password: never shown, neither here nor in errors.

    Raises:
        URLError: a value cannot be used.

    RFC 3986 §3, RFC 8314 §3.
    """

    scheme: str
    host: str = ""
    port: int = 0
    path: str = ""
    username: str = ""
    password: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if self.scheme not in _SCHEMES:
            raise URLError(
                "the scheme is not one that mail servers have", cure=f"use one of {' '.join(_SCHEMES)}"
            )
        if self.scheme == "lmtp+unix":
            if self.host or self.port:
                raise self._error("a socket in the file system has no host or port")
            if not self.path.startswith("/") or "\0" in self.path:
                raise self._error("the path of the socket is missing or not absolute")
        else:
            if self.path:
                raise self._error("nothing can follow the port")
            object.__setattr__(self, "host", self._encode_host())
            if not 0 <= self.port <= 65535:
                raise self._error("the port is not between 1 and 65535")
            object.__setattr__(self, "port", self.port or _SCHEMES[self.scheme][2])
        if self.password and not self.username:
            raise self._error("there is a password and no username")
        if _CONTROL.search(self.username) or _CONTROL.search(self.password):
            raise self._error("username or password holds a control character")

    @classmethod
    def parse(cls, url: str) -> ServerURL:
        """Return the server that a URL stands for. Username and password are percent-decoded.

        Raises:
            URLError: it is not a URL of a mail server. The text of the error repeats no more of it than the scheme,
                since a password can be anywhere in a URL that is malformed.
        """
        if not isinstance(url, str):
            raise URLError(
                f"a {type(url).__name__} is no URL", cure="pass a text such as smtp://mail.example.com:25"
            )
        scheme, separator, rest = url.partition("://")
        scheme = scheme.lower()
        if not separator or not _SCHEME.fullmatch(scheme):
            raise URLError(
                "there is no scheme",
                cure="put before it what to speak, as in smtp://mail.example.com:25 or pop3s://mail.example.com",
            )
        if scheme not in _SCHEMES:
            raise URLError(
                f"{scheme!r} is not a scheme of a mail server", cure=f"use one of {' '.join(_SCHEMES)}"
            )
        if _UNUSABLE.search(rest):
            raise _error(scheme, "it holds a space or control character; write those with %")
        authority, slash, path = rest.partition("/")
        if "?" in rest or "#" in rest:
            raise _error(scheme, "it holds ? or #; in a username or password write %3F or %23")
        if "@" in path:
            raise _error(scheme, "a slash stands before @; in a username or password write %2F")
        userinfo, _, endpoint = authority.rpartition("@")
        if "@" in userinfo:
            raise _error(scheme, "it holds @ twice; in a username or password write %40")
        username, _, password = userinfo.partition(":")
        host, port = _split_endpoint(scheme, endpoint)
        unix = scheme == "lmtp+unix"
        return cls(
            scheme=scheme,
            host=host,
            port=port,
            path=_decode(scheme, slash + path) if unix or path else "",
            username=_decode(scheme, username),
            password=_decode(scheme, password),
        )

    @property
    def protocol(self) -> MailProtocol:
        """What is spoken with the server."""
        return _SCHEMES[self.scheme][0]

    @property
    def security(self) -> TLSMode:
        """When TLS begins."""
        return _SCHEMES[self.scheme][1]

    @property
    def is_loopback(self) -> bool:
        """Whether what is sent there never leaves this machine."""
        if self.path:
            return True
        try:
            address = ipaddress.ip_address(self.host)
        except ValueError:
            return self.host == "localhost" or self.host.endswith(".localhost")  # RFC 6761 §6.3
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        return (mapped or address).is_loopback

    @property
    def endpoint(self) -> str:
        """`host:port`, with brackets around an IPv6 address, or the path of the socket."""
        return self.path or format_endpoint(self.host, self.port)

    def __str__(self) -> str:
        user = quote(self.username, safe="")
        if self.password:
            user += ":***"
        if user:
            user += "@"
        return f"{self.scheme}://{user}{quote(self.path) or self.endpoint}"

    def __repr__(self) -> str:
        return f"<ServerURL {self}>"

    def _encode_host(self) -> str:
        if not self.host:
            raise self._error("the host is missing")
        try:
            return str(ipaddress.ip_address(self.host))
        except ValueError:
            pass
        try:
            if ":" in self.host or "[" in self.host:
                raise AddressSyntaxError("", "")
            return encode_domain(self.host.removesuffix("."), "").lower()
        except AddressSyntaxError:
            raise self._error("the host is neither a domain nor an IP address") from None

    def _error(self, problem: str) -> URLError:
        return _error(self.scheme, problem)


def format_endpoint(host: str, port: int) -> str:
    """Return `host:port`, with brackets around an IPv6 address (RFC 3986 §3.2.2)."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _error(scheme: str, problem: str) -> URLError:
    example = "/run/lmtp.sock" if scheme == "lmtp+unix" else f"mail.example.com:{_SCHEMES[scheme][2]}"
    return URLError(f"the {scheme} URL cannot be used: {problem}", cure=f"an example is {scheme}://{example}")


def _split_endpoint(scheme: str, endpoint: str) -> tuple[str, int]:
    if endpoint.startswith("["):
        host, bracket, rest = endpoint[1:].partition("]")
        if not bracket or ":" not in host or rest[:1] not in ("", ":"):
            raise _error(scheme, "the IPv6 address in brackets is malformed")
        port = rest[1:]
    else:
        host, colon, port = endpoint.partition(":")
        if ":" in port:
            raise _error(scheme, "it holds too many colons; write an IPv6 address in brackets, as [::1]")
        rest = colon
    if rest and not (port.isascii() and port.isdecimal() and 0 < int(port[:6]) <= 65535):
        raise _error(scheme, "the port is not a number between 1 and 65535; credentials end with @")
    return host, int(port or 0)


def _decode(scheme: str, text: str) -> str:
    if _BAD_ESCAPE.search(text):
        raise _error(scheme, "% is not followed by two hexadecimal digits; write it %25")
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeError:
        raise _error(scheme, "username, password or path cannot be UTF-8") from None

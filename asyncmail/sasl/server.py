"""The server's side of the mechanisms: from what the client sends to what it claims."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Final

from ..errors import AuthenticationError
from .attempt import Attempt, DigestAttempt, PasswordAttempt
from .digests import cram_md5_digest

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SERVER_MECHANISMS", "Challenge", "CramMD5Server", "LoginServer", "PlainServer", "ServerMechanism"]


@dataclass(frozen=True, slots=True)
class Challenge:
    """What the server sends next, not yet in base64 (RFC 4422 §3.3)."""

    data: bytes


class ServerMechanism(ABC):
    """One authentication exchange; an object serves one exchange only.

    `start` is called once, with what came along with the command that began the exchange; then `respond` with
    each of the client's responses, until one of the two returns an `Attempt`, which the server judges.

    Args:
        timestamp: a new one from `make_timestamp`, for mechanisms in which the server sends one.
    """

    __slots__ = ("_timestamp",)

    name: ClassVar[str]
    """As registered with IANA."""
    needs_encryption: ClassVar[bool]
    """Whether who reads along has the password."""

    def __init__(self, timestamp: str) -> None:
        self._timestamp = timestamp

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    @abstractmethod
    def start(self, initial_response: bytes | None) -> Challenge | Attempt:
        """Begin the exchange.

        Args:
            initial_response: not in base64; None if there was none, which is not the same as an empty one.

        Raises:
            AuthenticationError: the client does not keep to the mechanism; the exchange has failed.
        """

    @abstractmethod
    def respond(self, response: bytes) -> Challenge | Attempt:
        """Take the answer to the last challenge, not in base64.

        Raises:
            AuthenticationError: the client does not keep to the mechanism; the exchange has failed.
        """

    def _text(self, octets: bytes) -> str:
        try:
            return octets.decode()
        except UnicodeDecodeError:
            raise AuthenticationError("the response is not UTF-8", mechanism=self.name) from None


class PlainServer(ServerMechanism):
    """PLAIN (RFC 4616)."""

    __slots__ = ()

    name = "PLAIN"
    needs_encryption = True

    def start(self, initial_response: bytes | None) -> Challenge | Attempt:
        return Challenge(b"") if initial_response is None else self.respond(initial_response)

    def respond(self, response: bytes) -> Attempt:
        fields = self._text(response).split("\0")
        if len(fields) != 3:
            raise AuthenticationError("the response does not have three fields", mechanism=self.name)
        authorization_id, username, password = fields
        return PasswordAttempt(
            mechanism=self.name, username=username, password=password, authorization_id=authorization_id
        )


class LoginServer(ServerMechanism):
    """LOGIN (draft-murchison-sasl-login); the username may come as initial response."""

    __slots__ = ("_username",)

    name = "LOGIN"
    needs_encryption = True

    def __init__(self, timestamp: str) -> None:
        super().__init__(timestamp)
        self._username: str | None = None

    def start(self, initial_response: bytes | None) -> Challenge | Attempt:
        return Challenge(b"Username:") if initial_response is None else self.respond(initial_response)

    def respond(self, response: bytes) -> Challenge | Attempt:
        text = self._text(response)
        if self._username is None:
            self._username = text
            return Challenge(b"Password:")
        return PasswordAttempt(mechanism=self.name, username=self._username, password=text)


class CramMD5Server(ServerMechanism):
    """CRAM-MD5 (RFC 2195); the user database has to know the passwords themselves."""

    __slots__ = ()

    name = "CRAM-MD5"
    needs_encryption = False

    def start(self, initial_response: bytes | None) -> Challenge:
        if initial_response is not None:
            raise AuthenticationError("the client answered before it was challenged", mechanism=self.name)
        return Challenge(self._timestamp.encode())

    def respond(self, response: bytes) -> Attempt:
        username, _, digest = self._text(response).rpartition(" ")
        return DigestAttempt(
            mechanism=self.name,
            username=username,
            digest=digest,
            digest_of=partial(cram_md5_digest, self._timestamp.encode()),
        )


SERVER_MECHANISMS: Final[Mapping[str, type[ServerMechanism]]] = MappingProxyType(
    {mechanism.name: mechanism for mechanism in (PlainServer, LoginServer, CramMD5Server)}
)

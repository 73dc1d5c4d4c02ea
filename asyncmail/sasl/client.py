"""The client's side of the mechanisms: what to answer to which challenge."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Final

from ..errors import AuthenticationError
from .digests import cram_md5_digest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .credentials import Credentials

__all__ = ["CLIENT_MECHANISMS", "ClientMechanism", "CramMD5Client", "LoginClient", "PlainClient"]


class ClientMechanism(ABC):
    """One authentication exchange; an object serves one exchange only.

    `initial_response` may go along with the command that begins the exchange. Where there is none, or the
    caller holds it back because the command line has no room, the server's first challenge follows. Each
    challenge is given to `respond`, until the server says yes or no. A yes while `is_complete` is False must
    not be trusted: not everything was sent, or the server has not proved what the mechanism wants proved.
    """

    __slots__ = ("_credentials", "is_complete")

    name: ClassVar[str]
    """As registered with IANA."""
    needs_encryption: ClassVar[bool]
    """Whether who reads along has the password."""
    carries_authorization_id: ClassVar[bool]

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self.is_complete: bool = False

    def __repr__(self) -> str:
        state = "complete" if self.is_complete else "incomplete"
        return f"<{type(self).__name__} {self._credentials.username!r} {state}>"

    @abstractmethod
    def initial_response(self) -> bytes | None:
        """Return the octets to begin with, not yet in base64; None if the server speaks first."""

    @abstractmethod
    def respond(self, challenge: bytes) -> bytes:
        """Return the answer to a challenge, both without base64.

        Raises:
            AuthenticationError: no answer is possible; the exchange has to be cancelled.
        """

    def _refuse(self, problem: str) -> AuthenticationError:
        return AuthenticationError(problem, mechanism=self.name)


class PlainClient(ClientMechanism):
    """PLAIN: the password as it is (RFC 4616)."""

    __slots__ = ("_challenged",)

    name = "PLAIN"
    needs_encryption = True
    carries_authorization_id = True

    def __init__(self, credentials: Credentials) -> None:
        super().__init__(credentials)
        self._challenged = False

    def initial_response(self) -> bytes:
        self.is_complete = True
        who = self._credentials
        return f"{who.authorization_id}\0{who.username}\0{who.password}".encode()

    def respond(self, challenge: bytes) -> bytes:
        # An empty challenge asks for the initial response, held back or not looked at by the server.
        if challenge or self._challenged:
            raise self._refuse("the server sent a challenge where none belongs")
        self._challenged = True
        return self.initial_response()


class LoginClient(ClientMechanism):
    """LOGIN: username, then password, whatever the prompts say (draft-murchison-sasl-login)."""

    __slots__ = ("_answers",)

    name = "LOGIN"
    needs_encryption = True
    carries_authorization_id = False

    def __init__(self, credentials: Credentials) -> None:
        super().__init__(credentials)
        self._answers = [credentials.password, credentials.username]

    def initial_response(self) -> None:
        return None

    def respond(self, challenge: bytes) -> bytes:
        if not self._answers:
            raise self._refuse("the server sent a third prompt")
        answer = self._answers.pop()
        self.is_complete: bool = not self._answers
        return answer.encode()


class CramMD5Client(ClientMechanism):
    """CRAM-MD5: a digest of the password and the server's challenge (RFC 2195)."""

    __slots__ = ()

    name = "CRAM-MD5"
    needs_encryption = False
    carries_authorization_id = False

    def initial_response(self) -> None:
        return None

    def respond(self, challenge: bytes) -> bytes:
        if self.is_complete:
            raise self._refuse("the server sent a second challenge")
        if not challenge:
            raise self._refuse("the server's challenge is empty")
        self.is_complete = True
        who = self._credentials
        return f"{who.username} {cram_md5_digest(challenge, who.password)}".encode()


CLIENT_MECHANISMS: Final[Mapping[str, type[ClientMechanism]]] = MappingProxyType(
    {mechanism.name: mechanism for mechanism in (PlainClient, LoginClient, CramMD5Client)}
)

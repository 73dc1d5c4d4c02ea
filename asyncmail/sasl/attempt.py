"""What a client claims when it logs in, for the server's user database to judge."""

from __future__ import annotations

import hmac
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from ..errors import AuthenticationError
from .credentials import has_control_character
from .digests import apop_digest

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Attempt", "DigestAttempt", "PasswordAttempt", "apop_attempt"]

_DIGEST = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt(ABC):
    """One client's claim to be `username`.

    Who compares `password` with a hash, instead of calling `verify`, has to look at `authorization_id` too.

    Args:
        mechanism: the SASL mechanism, or the POP3 command: `APOP`, `USER`.
        username: the authentication identity.
        authorization_id: the identity to act for; empty if it is the username's own.

    Raises:
        AuthenticationError: the username is empty, or a value holds a control character.

    RFC 4422 §2.
    """

    mechanism: str
    username: str
    authorization_id: str = ""

    def __post_init__(self) -> None:
        if not self.username:
            raise AuthenticationError("the username is empty", mechanism=self.mechanism)
        if has_control_character(self.username + self.authorization_id):
            raise AuthenticationError("a username holds a control character", mechanism=self.mechanism)
        if self.authorization_id == self.username:
            object.__setattr__(self, "authorization_id", "")

    @property
    @abstractmethod
    def password(self) -> str | None:
        """What the client sent, for a check against a hash; None for a digest, which `verify` can check."""

    def verify(self, password: str, *, may_act_for_others: bool = False) -> bool:
        """Whether the client has proved to know `password`; a near miss takes as long as any other.

        Args:
            password: the user's password, in the clear.
            may_act_for_others: whether this user may name an `authorization_id`; otherwise that is refused.
        """
        return self._proves(password) and (may_act_for_others or not self.authorization_id)

    @abstractmethod
    def _proves(self, password: str) -> bool: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordAttempt(Attempt):
    """An attempt with the password itself: PLAIN, LOGIN, or USER and PASS of POP3.

    Args:
        password: never shown by `repr`.

    Raises:
        AuthenticationError: it is empty or holds a control character.

    RFC 4616 §2.
    """

    password: str = field(repr=False)

    def __post_init__(self) -> None:
        Attempt.__post_init__(self)  # not super(): slots=True makes a second class, which that does not find
        # An empty password is none: some user databases take it for an anonymous login.
        if not self.password:
            raise AuthenticationError("the password is empty", mechanism=self.mechanism)
        if has_control_character(self.password):
            raise AuthenticationError("the password holds a control character", mechanism=self.mechanism)

    def _proves(self, password: str) -> bool:
        return hmac.compare_digest(self.password.encode(), password.encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class DigestAttempt(Attempt):
    """An attempt with a digest of the password and something the server had sent: CRAM-MD5, or APOP of POP3.

    Args:
        digest: 32 lower-case hexadecimal digits.
        digest_of: computes from a password what the digest should be.

    Raises:
        AuthenticationError: `digest` does not look like one.
    """

    digest: str = field(repr=False)
    digest_of: Callable[[str], str] = field(repr=False)

    def __post_init__(self) -> None:
        Attempt.__post_init__(self)  # not super(): slots=True makes a second class, which that does not find
        if not _DIGEST.fullmatch(self.digest):
            raise AuthenticationError("the digest is not 32 hexadecimal digits", mechanism=self.mechanism)

    @property
    def password(self) -> None:
        """None: a digest does not tell."""
        return None

    def _proves(self, password: str) -> bool:
        return hmac.compare_digest(self.digest, self.digest_of(password))


def apop_attempt(*, timestamp: str, username: str, digest: str) -> DigestAttempt:
    """Return what the command `APOP username digest` claims, given the greeting's timestamp (RFC 1939 §7)."""
    return DigestAttempt(
        mechanism="APOP", username=username, digest=digest, digest_of=partial(apop_digest, timestamp)
    )

"""Who logs in, and with what."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ..errors import InputError

__all__ = ["Credentials", "has_control_character"]

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def has_control_character(text: str) -> bool:
    """Whether `text` holds what no name or password may hold (RFC 4013 §2.3, the control characters)."""
    return _CONTROL.search(text) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """A username and its password, checked once so that every mechanism can send them.

    Args:
        username: the authentication identity: whose password it is.
        password: never shown by `repr`.
        authorization_id: the identity to act for, if it is another one than the username's; empty otherwise.

    Raises:
        InputError: username or password is empty, or a value holds a control character or cannot be UTF-8.

    RFC 4616 §2.
    """

    username: str
    password: str = field(repr=False)
    authorization_id: str = ""

    def __post_init__(self) -> None:
        for name, value in (
            ("username", self.username),
            ("password", self.password),
            ("authorization identity", self.authorization_id),
        ):
            if not value and name != "authorization identity":
                raise InputError(f"the {name} is empty", cure="give both a username and a password")
            if has_control_character(value):
                raise InputError(
                    f"the {name} holds a control character", cure="look for a line break at its end"
                )
            try:
                value.encode()
            except UnicodeEncodeError:
                raise InputError(
                    f"the {name} cannot be encoded as UTF-8", cure="decode its octets before you pass them on"
                ) from None

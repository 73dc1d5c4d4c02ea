"""The one gate through which text becomes part of a command or reply line."""

from __future__ import annotations

import re

from ..errors import LocalProtocolError, quoted

__all__ = ["encode_argument"]

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def encode_argument(text: str, what: str) -> bytes:
    """Return `text` as octets that cannot end a line.

    Args:
        text: an argument, parameter value or line of reply text.
        what: its name for the error, such as `forward-path`.

    Returns:
        The UTF-8 octets; plain ASCII unless the caller allowed more.

    Raises:
        LocalProtocolError: it holds a control character (CR, LF, NUL, …) or a lone surrogate.
    """
    if _CONTROL.search(text):
        raise LocalProtocolError(
            f"{what} {quoted(text)} holds a control character",
            cure="remove line breaks and other control characters",
        )
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise LocalProtocolError(
            f"{what} {quoted(text)} cannot be encoded", cure="decode the octets before you pass them on"
        ) from None

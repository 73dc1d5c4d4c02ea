"""Parameters of MAIL and RCPT (RFC 5321 §4.1.2): `keyword` or `keyword=value`."""

from __future__ import annotations

import enum
import re

from ..errors import LocalProtocolError, printable, quoted

__all__ = ["BodyType", "check_parameters", "encode_parameters", "parse_parameters"]

_KEYWORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")
_VALUE = re.compile(r"[!-<>-~\u0080-\U0010ffff]+")


class BodyType(enum.Enum):
    """The BODY parameter of MAIL (RFC 6152, RFC 3030)."""

    SEVEN_BIT = "7BIT"
    EIGHT_BIT_MIME = "8BITMIME"
    BINARY_MIME = "BINARYMIME"


Parameters = dict[str, str | None]


def check_parameters(parameters: Parameters) -> None:
    """Raise LocalProtocolError unless every keyword and value can stand in a command line."""
    for keyword, value in parameters.items():
        if not _KEYWORD.fullmatch(keyword):
            raise LocalProtocolError(f"{quoted(keyword)} is not a parameter keyword")
        if value is not None and not _VALUE.fullmatch(value):
            raise LocalProtocolError(
                f"{quoted(value)} is not a value for the parameter {keyword}", cure="encode it as xtext"
            )


def encode_parameters(parameters: Parameters) -> str:
    """Return the parameters as they follow a path, each with a space before it."""
    return "".join(
        f" {keyword}" if value is None else f" {keyword}={value}" for keyword, value in parameters.items()
    )


def parse_parameters(text: str) -> Parameters:
    """Parse what follows the path; keywords come back in upper case, values as they were.

    Raises:
        ValueError: the text is not a list of parameters, each behind a space, or one is given twice.
    """
    if not text.startswith(" "):
        raise ValueError("a space stands before each parameter")
    parameters: Parameters = {}
    for item in filter(None, text.split(" ")):
        keyword, equals, value = item.partition("=")
        keyword = keyword.upper()
        if not _KEYWORD.fullmatch(keyword) or (equals and not _VALUE.fullmatch(value)):
            raise ValueError(f"not a parameter: {printable(item)}")
        if keyword in parameters:
            raise ValueError(f"parameter {keyword} is given twice")
        parameters[keyword] = value if equals else None
    return parameters

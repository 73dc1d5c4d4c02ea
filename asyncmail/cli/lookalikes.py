"""What looks like a placeholder for a column, is none, and would be mailed as it is."""

from __future__ import annotations

import re
from email import message_from_bytes
from email.policy import default
from typing import TYPE_CHECKING

from ..errors import InputError, quoted
from .terminal import warn

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from email.message import MIMEPart

__all__ = ["check_lookalikes"]

_PLACEHOLDER = re.compile(r"\{[^\W\d][\w -]*\}")
# A property of a style sheet looks much like a column with a format, but for the alignment.
_STYLE = re.compile(r"\{[^:]*:(?!.?[<>^=])")


def check_lookalikes(content: bytes, columns: Iterable[str], *, jinja: bool) -> None:
    """Look through one message as it would go out, and warn of braces that may have been meant otherwise.

    Raises:
        InputError: some were.
    """
    # Longer names first: one may begin with another.
    names = "|".join(map(re.escape, sorted(filter(None, columns), key=len, reverse=True)))
    lookalike = re.compile(rf"\{{[ \t\xa0]*({names})[ \t\xa0]*(?:[.!:\[][^{{}}\n]*)?\}}")
    for place, text in _texts(content):
        for match in lookalike.finditer(text):
            found, column = match[0], match[1]
            value = f"{{{{ {column} }}}}" if jinja else f"{{{column}}}"
            # What is written as `{{name}}` is meant, and so may be a style sheet.
            if _STYLE.match(found) or (not jinja and _PLACEHOLDER.fullmatch(found)):
                warn(f"{place} holds {quoted(found)}, which goes out as it is; for the value write {value}")
                continue
            if not jinja and not _PLACEHOLDER.fullmatch(value):
                cure = "rename the column: a placeholder is made of letters, digits, spaces, _ and -"
            else:
                is_doubled = text[: match.start()].endswith("{") and not jinja
                cure = (
                    f"write {value},{' or say --jinja,' if is_doubled else ''} or rename the column if it is"
                    " meant as text"
                )
            raise InputError(f"{place} holds {quoted(found)}, which would go out as it is", cure=cure)


def _texts(content: bytes) -> Iterator[tuple[str, str]]:
    """What templates fill in, each with its place."""
    message = message_from_bytes(content, policy=default)
    yield from message.items()
    parts: list[MIMEPart] = [message]
    for part in parts:
        if part.get_content_maintype() == "multipart":
            parts += part.iter_parts() if part.get_content_subtype() != "signed" else ()
        elif part.get_content_maintype() == "text" and not (part.is_attachment() or part.get_filename()):
            octets = part.get_payload(decode=True)
            assert isinstance(octets, bytes)
            yield (
                "the HTML" if part.get_content_subtype() == "html" else "the text",
                octets.decode(errors="replace"),
            )

"""Files that travel with a message."""

from __future__ import annotations

import mimetypes
import re
from dataclasses import dataclass
from email.message import EmailMessage, Message, MIMEPart
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from ..errors import MessageError, printable, quoted
from .parsing import as_email_message

if TYPE_CHECKING:
    import os

    from .envelope import MessageLike

__all__ = ["Attachment", "AttachmentLike", "attach", "embed"]

_CONTENT_TYPE = re.compile(r"[A-Za-z0-9][\w!#$&^.+-]*/[A-Za-z0-9][\w!#$&^.+-]*", re.ASCII)
# Control characters, and those that turn the direction of writing so that "exe" can look like "txt".
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_CONTENT_ID = re.compile(r"[\w!#$%&*+/=?^`{|}~.@-]+", re.ASCII)
_DIRECTORIES = re.compile(r".*[/\\]", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A file to attach.

    Args:
        filename: the name the recipient sees; directories and control characters are taken off.
        content: its octets.
        content_type: such as `application/pdf`; by default what the name suggests.

    Raises:
        MessageError: the content type is none.

    RFC 2183.
    """

    filename: str
    content: bytes
    content_type: str = ""

    def __post_init__(self) -> None:
        filename = _UNSAFE.sub("", _DIRECTORIES.sub("", self.filename)).strip(" ")
        if filename in ("", ".", ".."):
            filename = "attachment"
        content_type = self.content_type or _guess(filename)
        if not _CONTENT_TYPE.fullmatch(content_type):
            raise MessageError(
                f"{quoted(content_type)} is not a content type", cure="write one such as application/pdf"
            )
        object.__setattr__(self, "filename", filename)
        object.__setattr__(self, "content_type", content_type)

    @classmethod
    def from_path(
        cls, path: str | os.PathLike[str], *, filename: str = "", content_type: str = ""
    ) -> Attachment:
        """Read a file.

        Raises:
            MessageError: it cannot be read.
        """
        path = Path(path)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise MessageError(
                f"the attachment {printable(path)} cannot be read: {error.strerror}", cure="check the path"
            ) from error
        return cls(filename=filename or path.name, content=content, content_type=content_type)


AttachmentLike: TypeAlias = (
    "Attachment | str | os.PathLike[str] | tuple[str, bytes] | tuple[str, bytes, str] | MessageLike"
)
"""A path, a tuple (file name, octets[, content type]), an `Attachment`, or a whole message."""


def attach(message: EmailMessage, source: AttachmentLike) -> None:
    """Attach a file, or a message that is forwarded as it is, to a message."""
    if isinstance(source, Message):
        message.add_attachment(as_email_message(source))
        return
    file = as_attachment(source)
    maintype, _, subtype = file.content_type.partition("/")
    if file.content_type == "message/rfc822":
        # It may not be encoded (RFC 2046 §5.2.1), so it goes as a message and not as octets.
        message.add_attachment(as_email_message(file.content), filename=file.filename)
    else:
        message.add_attachment(file.content, maintype=maintype, subtype=subtype, filename=file.filename)


def embed(html: MIMEPart, content_id: str, source: AttachmentLike) -> None:
    """Add to an HTML part the file that it shows as `cid:<content_id>`."""
    if isinstance(source, Message):
        raise MessageError("a message cannot be shown inside of HTML", cure="attach it")
    if not _CONTENT_ID.fullmatch(content_id):
        raise MessageError(
            f"{quoted(content_id)} is not a content id", cure="use letters, digits, dots and hyphens"
        )
    file = as_attachment(source)
    maintype, _, subtype = file.content_type.partition("/")
    html.add_related(
        file.content,
        maintype=maintype,
        subtype=subtype,
        cid=f"<{content_id}>",
        filename=file.filename,
        disposition="inline",
    )


def as_attachment(
    source: Attachment | str | os.PathLike[str] | tuple[str, bytes] | tuple[str, bytes, str],
) -> Attachment:
    """Return an attachment given in any of the forms that callers may use."""
    if isinstance(source, Attachment):
        return source
    if isinstance(source, tuple):
        filename, content, *content_type = source
        if not isinstance(content, bytes):
            raise MessageError(
                f"the attachment {printable(filename)} is of the type {type(content).__name__}",
                cure="encode text, and pass bytes",
            )
        return Attachment(filename=filename, content=content, content_type="".join(content_type))
    return Attachment.from_path(source)


def _guess(filename: str) -> str:
    content_type, encoding = mimetypes.guess_type(filename)
    if encoding is not None:
        return f"application/{encoding}" if encoding == "gzip" else "application/octet-stream"
    return content_type or "application/octet-stream"

"""The folder formats without the async face: Maildir by its file names, mbox and MH by the library."""

from __future__ import annotations

import contextlib
import enum
import mailbox
import os
from abc import ABC, abstractmethod
from email.parser import BytesHeaderParser
from typing import TYPE_CHECKING, cast

from ..errors import FolderError, quoted
from .disk import folder_errors, make_directory
from .files import MaildirFiles

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Flag", "Format", "FormatKind", "open_format"]


class Flag(enum.Enum):
    """What a user did with a message; the values are the letters of a Maildir file name."""

    SEEN = "S"
    ANSWERED = "R"
    FLAGGED = "F"
    DELETED = "T"  # to be removed at the user's next tidying up
    DRAFT = "D"
    PASSED = "P"  # forwarded, bounced or resent


class FormatKind(enum.Enum):
    """How a folder stores its messages."""

    MAILDIR = "maildir"
    MBOX = "mbox"
    MH = "mh"


class Format(ABC):
    """An open folder. A key that is not there is a `KeyError`, which `errors` makes a `FolderError`."""

    def __init__(self, path: str) -> None:
        self.path = path

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Raise what goes wrong in here as a `FolderError`."""
        try:
            with folder_errors(self.path):
                yield
        except KeyError as error:
            raise FolderError(
                f"no message {quoted(error.args[0])}", path=self.path, cure="list the folder again"
            ) from None
        except mailbox.ExternalClashError as error:
            raise FolderError(
                f"another program holds or changed it: {error}",
                path=self.path,
                cure="try again",
                is_transient=True,
            ) from error
        except (mailbox.Error, UnicodeError) as error:
            raise FolderError(
                f"damaged: {error}", path=self.path, cure="repair it with the program that wrote it"
            ) from error

    @abstractmethod
    def lock(self) -> None:
        """Lock the folder; `mailbox.ExternalClashError` if another program has."""

    @abstractmethod
    def list_keys(self) -> list[str]:
        """Return the key of each message, in order."""

    @abstractmethod
    def read(self, key: str) -> bytes:
        """Return a message with the line endings it has in the folder."""

    @abstractmethod
    def append(self, content: bytes, flags: frozenset[Flag]) -> str:
        """Add a message and return its key."""

    @abstractmethod
    def flags(self, key: str) -> frozenset[Flag]:
        """Return the flags of a message."""

    @abstractmethod
    def set_flags(self, key: str, flags: frozenset[Flag]) -> None:
        """Replace the flags of a message."""

    @abstractmethod
    def remove(self, key: str) -> None:
        """Remove a message."""

    @abstractmethod
    def flush(self) -> None:
        """Bring all changes to the disk."""

    @abstractmethod
    def close(self) -> None:
        """Bring all changes to the disk, unlock the folder and let go of it."""


class MaildirFormat(Format):
    """A Maildir: flags are in the file names, changes are renames, nothing is locked."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._files = MaildirFiles(path)
        self._files.make()
        self._names: dict[str, tuple[str, str]] = {}

    def lock(self) -> None:
        pass

    def list_keys(self) -> list[str]:
        self._names.clear()
        for directory in ("new", "cur"):
            for name in sorted(os.listdir(os.path.join(self.path, directory))):
                if not name.startswith("."):
                    self._names[name.partition(":")[0]] = directory, name
        return list(self._names)

    def read(self, key: str) -> bytes:
        with open(self._find(key), "rb") as file:
            return file.read()

    def append(self, content: bytes, flags: frozenset[Flag]) -> str:
        (key,) = self._files.write([content])
        if flags:
            self._move(os.path.join(self.path, "tmp", key), key, flags)
        else:
            self._files.publish([key])
        return key

    def flags(self, key: str) -> frozenset[Flag]:
        letters = _info(self._find(key))
        return frozenset(flag for flag in Flag if flag.value in letters)

    def set_flags(self, key: str, flags: frozenset[Flag]) -> None:
        self._move(self._find(key), key, flags)

    def remove(self, key: str) -> None:
        os.unlink(self._find(key))
        del self._names[key]

    def flush(self) -> None:
        self._files.sync()

    def close(self) -> None:
        self.flush()

    def _move(self, source: str, key: str, flags: frozenset[Flag]) -> None:
        # Letters that mean nothing here are another program's: they stay.
        unknown = set(_info(source)) - {flag.value for flag in Flag}
        name = f"{key}:2,{''.join(sorted(unknown | {flag.value for flag in flags}))}"
        os.rename(source, os.path.join(self.path, "cur", name))
        self._names[key] = "cur", name

    def _find(self, key: str) -> str:
        # Another program may have moved it since it was listed.
        if key not in self._names or not os.path.exists(os.path.join(self.path, *self._names[key])):
            self.list_keys()
        return os.path.join(self.path, *self._names[key])


class LibraryFormat(Format):
    """What mbox and MH have in common."""

    box: mailbox.mbox | mailbox.MH

    def lock(self) -> None:
        # What cannot be written can be read, but not locked.
        if os.access(self.path, os.W_OK):
            self.box.lock()

    def list_keys(self) -> list[str]:
        return [str(key) for key in self.box.iterkeys()]

    def read(self, key: str) -> bytes:
        return self.box.get_bytes(_as_key(self._number(key)))

    def append(self, content: bytes, flags: frozenset[Flag]) -> str:
        # Both are formats of Unix text files.
        key = str(self.box.add(content.replace(b"\r\n", b"\n")))
        self.set_flags(key, flags)
        return key

    def remove(self, key: str) -> None:
        self.box.remove(_as_key(self._number(key)))

    def flush(self) -> None:
        self.box.flush()

    def close(self) -> None:
        self.box.close()

    def _number(self, key: str) -> int:
        number = int(key) if key.isdecimal() else -1
        if _as_key(number) not in self.box:
            raise KeyError(key)
        return number


class MboxFormat(LibraryFormat):
    """One file, a `From ` line before each message, flags in the Status and X-Status fields."""

    _letters = (
        ("R", Flag.SEEN),
        ("A", Flag.ANSWERED),
        ("F", Flag.FLAGGED),
        ("D", Flag.DELETED),
        ("T", Flag.DRAFT),
    )

    box: mailbox.mbox

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.box = mailbox.mbox(path)

    def flags(self, key: str) -> frozenset[Flag]:
        with self.box.get_file(_as_key(self._number(key))) as file:
            header = b"".join(iter(lambda: file.readline().strip(b"\r\n") + b"\n", b"\n"))
        fields = BytesHeaderParser().parsebytes(header)
        letters = f"{fields.get('Status', '')}{fields.get('X-Status', '')}"
        return frozenset(flag for letter, flag in self._letters if letter in letters)

    def set_flags(self, key: str, flags: frozenset[Flag]) -> None:
        # To set them is to write the message anew.
        if flags != self.flags(key):
            message = self.box.get_message(_as_key(self._number(key)))
            message.set_flags("O" + "".join(letter for letter, flag in self._letters if flag in flags))
            self.box[_as_key(self._number(key))] = message


class MHFormat(LibraryFormat):
    """A directory of numbered files, flags in `.mh_sequences`."""

    _sequences = (("flagged", Flag.FLAGGED), ("replied", Flag.ANSWERED))

    box: mailbox.MH

    def __init__(self, path: str) -> None:
        super().__init__(path)
        make_directory(path)
        with open(os.path.join(path, ".mh_sequences"), "ab"):
            self.box = mailbox.MH(path)

    def flags(self, key: str) -> frozenset[Flag]:
        number = self._number(key)
        sequences = self.box.get_sequences()
        flags = {flag for name, flag in self._sequences if number in sequences.get(name, ())}
        return frozenset(flags if number in sequences.get("unseen", ()) else {*flags, Flag.SEEN})

    def set_flags(self, key: str, flags: frozenset[Flag]) -> None:
        number = self._number(key)
        sequences = self.box.get_sequences()
        wanted = {name: flag in flags for name, flag in self._sequences} | {"unseen": Flag.SEEN not in flags}
        for name, is_in in wanted.items():
            others = set(sequences.get(name, ())) - {number}
            sequences[name] = sorted(others | {number} if is_in else others)
        self.box.set_sequences(sequences)


def open_format(path: str, kind: FormatKind | None, *, create: bool) -> Format:
    """Open a folder, of the kind that it is found to be if `kind` is None; a new one is a Maildir then."""
    if not create and not os.path.exists(path):
        raise FolderError("no such folder", path=path, cure="check the path, or pass create=True")
    match kind or _detect(path):
        case FormatKind.MAILDIR:
            return MaildirFormat(path)
        case FormatKind.MBOX:
            return MboxFormat(path)
        case FormatKind.MH:
            return MHFormat(path)


def _detect(path: str) -> FormatKind:
    if os.path.isfile(path):
        return FormatKind.MBOX
    if os.path.isdir(path) and not os.path.isdir(os.path.join(path, "cur")) and os.listdir(path):
        return FormatKind.MH
    return FormatKind.MAILDIR


def _info(path: str) -> str:
    """The flag letters of a Maildir file name."""
    return os.path.basename(path).partition(":2,")[2]


def _as_key(number: int) -> str:
    # Keys are numbers, though the type stubs of the standard library take them for text.
    return cast("str", number)

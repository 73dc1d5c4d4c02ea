"""POP3 commands: one class each, with the only encoder and the only parser of its line."""

from __future__ import annotations

import enum
import operator
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Self

from ..errors import InputError, LocalProtocolError, RemoteProtocolError, Stage
from ..sasl.encoding import CANCEL, decode_initial_response, encode_base64, encode_initial_response
from ..wire import encode_argument

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

__all__ = [
    "Answer",
    "Apop",
    "Auth",
    "AuthResponse",
    "Capa",
    "Command",
    "Dele",
    "List",
    "Noop",
    "Pass",
    "Quit",
    "Retr",
    "Rset",
    "Stat",
    "Stls",
    "Top",
    "Uidl",
    "User",
    "check_numbers",
    "parse_command",
]

_NUMBER = re.compile(r"[0-9]{1,10}")
_MECHANISM = re.compile(r"[A-Za-z0-9_-]{1,20}")  # RFC 4422 §3.1
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
# RFC 2449 §4; an initial response that does not fit is for the first challenge (RFC 5034 §4).
_LONGEST = 255
_HIDDEN = "****"
_CURE_OF_NUMBERS = "use those that list() returns"


class Answer(enum.Enum):
    """What follows a positive status line."""

    LINE = "nothing"
    SCAN_LISTING = "a scan listing"
    UNIQUE_ID_LISTING = "a unique-id listing"
    CAPABILITIES = "a capability list"
    CONTENT = "a message"


# Asked for with each message: a member costs several times as much to look up in its class before Python 3.12.
_CONTENT = Answer.CONTENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command; as it stands, one without arguments.

    `stage`: the part of a session that it belongs to.
    """

    verb: ClassVar[str]
    stage: ClassVar[Stage] = Stage.COMMAND

    @property
    def answer(self) -> Answer:
        """What follows +OK; -ERR is always a single line (RFC 1939 §3)."""
        return Answer.LINE

    def encode(self) -> bytes:
        """Return the octets of the line.

        Raises:
            LocalProtocolError: an argument holds control characters.
        """
        return f"{self.verb}\r\n".encode()

    def redacted(self) -> str:
        """The line without its ending, for a transcript: secrets replaced."""
        return self.encode()[:-2].decode()

    @classmethod
    def from_argument(cls, argument: str) -> Self:
        """Return the command for what stood behind the verb.

        Raises:
            InputError: it is not what this command takes.
        """
        if argument.strip(" "):
            raise InputError(f"{cls.verb} takes no argument")
        return cls()


@dataclass(frozen=True, slots=True, kw_only=True)
class User(Command):
    """USER (RFC 1939 §7)."""

    verb: ClassVar[str] = "USER"
    stage: ClassVar[Stage] = Stage.AUTHENTICATION
    name: str

    def encode(self) -> bytes:
        """Return the octets of the line."""
        return b"USER %b\r\n" % encode_argument(self.name, "user name")

    @classmethod
    def from_argument(cls, argument: str) -> Self:
        """Return the command for what stood behind the verb."""
        if not argument.strip(" "):
            raise InputError("USER takes a name")
        return cls(name=argument.strip(" "))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass(Command):
    """PASS (RFC 1939 §7)."""

    verb: ClassVar[str] = "PASS"
    stage: ClassVar[Stage] = Stage.AUTHENTICATION
    password: str = field(repr=False)

    def encode(self) -> bytes:
        """Return the octets of the line."""
        try:
            return b"PASS %b\r\n" % encode_argument(self.password, "password")
        except LocalProtocolError:  # its text shows the argument
            raise LocalProtocolError("the password holds a control character or cannot be encoded") from None

    def redacted(self) -> str:
        """The line without its ending, for a transcript."""
        return f"PASS {_HIDDEN}"

    @classmethod
    def from_argument(cls, argument: str) -> Self:
        """Return the command for what stood behind the verb: spaces are part of the password."""
        if not argument:
            raise InputError("PASS takes a password")
        return cls(password=argument)


@dataclass(frozen=True, slots=True, kw_only=True)
class Apop(Command):
    """APOP (RFC 1939 §7)."""

    verb: ClassVar[str] = "APOP"
    stage: ClassVar[Stage] = Stage.AUTHENTICATION
    name: str
    digest: str = field(repr=False)

    def encode(self) -> bytes:
        """Return the octets of the line."""
        return b"APOP %b %b\r\n" % (
            encode_argument(self.name, "user name"),
            encode_argument(self.digest, "digest"),
        )

    def redacted(self) -> str:
        """The line without its ending, for a transcript."""
        return f"APOP {self.name} {_HIDDEN}"

    @classmethod
    def from_argument(cls, argument: str) -> Self:
        """Return the command for what stood behind the verb."""
        name, _, digest = argument.strip(" ").rpartition(" ")
        if not name.strip(" "):
            raise InputError("APOP takes a name and a digest")
        return cls(name=name.strip(" "), digest=digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Auth(Command):
    """AUTH, begun with or without an initial response (RFC 5034 §4)."""

    verb: ClassVar[str] = "AUTH"
    stage: ClassVar[Stage] = Stage.AUTHENTICATION
    mechanism: str
    initial_response: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not _MECHANISM.fullmatch(self.mechanism):
            raise InputError("AUTH takes the name of a mechanism")

    @property
    def fits(self) -> bool:
        """Whether the line is short enough for the initial response to be sent (RFC 5034 §4)."""
        return len(self._line()) <= _LONGEST

    def encode(self) -> bytes:
        """Return the octets of the line."""
        line = self._line()
        if len(line) > _LONGEST:
            raise LocalProtocolError(
                f"AUTH {self.mechanism} with its initial response has more than {_LONGEST} octets",
                cure="send the response after the first challenge",
            )
        return line

    def redacted(self) -> str:
        """The line without its ending, for a transcript."""
        return f"AUTH {self.mechanism}" + ("" if self.initial_response is None else f" {_HIDDEN}")

    @classmethod
    def from_argument(cls, argument: str) -> Self:
        """Return the command for what stood behind the verb.

        Raises:
            InputError: there is no mechanism.
            AuthenticationError: the initial response is not base64.
        """
        mechanism, _, response = argument.strip(" ").partition(" ")
        initial_response = decode_initial_response(response.strip(" ")) if response else None
        return cls(mechanism=mechanism.upper(), initial_response=initial_response)

    def _line(self) -> bytes:
        if self.initial_response is None:
            return f"AUTH {self.mechanism}\r\n".encode()
        return b"AUTH %b %b\r\n" % (self.mechanism.encode(), encode_initial_response(self.initial_response))


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthResponse(Command):
    """A client's line in an AUTH exchange; None gives the exchange up (RFC 5034 §4)."""

    verb: ClassVar[str] = "AUTH"
    stage: ClassVar[Stage] = Stage.AUTHENTICATION
    response: bytes | None = field(repr=False)

    def encode(self) -> bytes:
        """Return the octets of the line."""
        return (CANCEL if self.response is None else encode_base64(self.response)) + b"\r\n"

    def redacted(self) -> str:
        """The line without its ending, for a transcript."""
        return "*" if self.response is None else _HIDDEN


@dataclass(frozen=True, slots=True, kw_only=True)
class Capa(Command):
    """CAPA (RFC 2449 §5)."""

    verb: ClassVar[str] = "CAPA"
    stage: ClassVar[Stage] = Stage.CAPABILITIES

    @property
    def answer(self) -> Answer:
        """What follows +OK."""
        return Answer.CAPABILITIES


@dataclass(frozen=True, slots=True, kw_only=True)
class Stls(Command):
    """STLS (RFC 2595 §4)."""

    verb: ClassVar[str] = "STLS"
    stage: ClassVar[Stage] = Stage.TLS


@dataclass(frozen=True, slots=True, kw_only=True)
class Stat(Command):
    """STAT (RFC 1939 §5)."""

    verb: ClassVar[str] = "STAT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Noop(Command):
    """NOOP (RFC 1939 §5)."""

    verb: ClassVar[str] = "NOOP"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rset(Command):
    """RSET: unmark what DELE marked (RFC 1939 §5)."""

    verb: ClassVar[str] = "RSET"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quit(Command):
    """QUIT (RFC 1939 §6)."""

    verb: ClassVar[str] = "QUIT"
    stage: ClassVar[Stage] = Stage.QUIT


@dataclass(frozen=True, slots=True, kw_only=True)
class _Numbered(Command):
    number: int

    def __post_init__(self) -> None:
        check_numbers((self.number,))

    def encode(self) -> bytes:
        """Return the octets of the line."""
        return self.encode_many((self.number,))

    @classmethod
    def encode_many(cls, numbers: Iterable[int]) -> bytes:
        """Return the octets of the lines for several messages."""
        return b"".join(map((b"%b %%d\r\n" % cls.verb.encode()).__mod__, numbers))

    @classmethod
    def from_argument(cls, argument: str) -> Self:
        """Return the command for what stood behind the verb."""
        (number,) = _numbers(cls.verb, argument, 1)
        return cls(number=number)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retr(_Numbered):
    """RETR (RFC 1939 §5)."""

    verb: ClassVar[str] = "RETR"
    stage: ClassVar[Stage] = Stage.RETRIEVAL

    @property
    def answer(self) -> Answer:
        """What follows +OK."""
        return _CONTENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Dele(_Numbered):
    """DELE (RFC 1939 §5)."""

    verb: ClassVar[str] = "DELE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Top(_Numbered):
    """TOP: header and the first `lines` lines of the body (RFC 1939 §7)."""

    verb: ClassVar[str] = "TOP"
    stage: ClassVar[Stage] = Stage.RETRIEVAL
    lines: int

    def __post_init__(self) -> None:
        # Not super(): a class made anew for its slots is not the one that the compiler noted.
        _Numbered.__post_init__(self)
        if not hasattr(self.lines, "__index__") or self.lines < 0:
            raise InputError(
                f"TOP takes a number of lines, not {self.lines!r}", cure="use 0 for the header alone"
            )

    @property
    def answer(self) -> Answer:
        """What follows +OK."""
        return _CONTENT

    def encode(self) -> bytes:
        """Return the octets of the line."""
        return b"TOP %d %d\r\n" % (self.number, self.lines)

    @classmethod
    def from_argument(cls, argument: str) -> Self:
        """Return the command for what stood behind the verb."""
        number, lines = _numbers(cls.verb, argument, 2)
        return cls(number=number, lines=lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class _OptionallyNumbered(Command):
    number: int | None = None

    def __post_init__(self) -> None:
        if self.number is not None:
            check_numbers((self.number,))

    def encode(self) -> bytes:
        """Return the octets of the line."""
        return (self.verb if self.number is None else f"{self.verb} {self.number}").encode() + b"\r\n"

    @classmethod
    def from_argument(cls, argument: str) -> Self:
        """Return the command for what stood behind the verb."""
        if not argument.strip(" "):
            return cls()
        (number,) = _numbers(cls.verb, argument, 1)
        return cls(number=number)


@dataclass(frozen=True, slots=True, kw_only=True)
class List(_OptionallyNumbered):
    """LIST, of all messages or of one (RFC 1939 §5)."""

    verb: ClassVar[str] = "LIST"

    @property
    def answer(self) -> Answer:
        """What follows +OK."""
        return Answer.SCAN_LISTING if self.number is None else Answer.LINE


@dataclass(frozen=True, slots=True, kw_only=True)
class Uidl(_OptionallyNumbered):
    """UIDL, of all messages or of one (RFC 1939 §7)."""

    verb: ClassVar[str] = "UIDL"

    @property
    def answer(self) -> Answer:
        """What follows +OK."""
        return Answer.UNIQUE_ID_LISTING if self.number is None else Answer.LINE


def check_numbers(numbers: Collection[int]) -> None:
    """Check that messages can have these numbers.

    Raises:
        InputError: one is none.
    """
    try:
        least = min(map(operator.index, numbers), default=1)
    except TypeError:
        strange = next((number for number in numbers if not hasattr(number, "__index__")), numbers)
        raise InputError(f"{strange!r} is no message number", cure=_CURE_OF_NUMBERS) from None
    if least < 1:
        raise InputError(f"message numbers begin at 1, not {least}", cure=_CURE_OF_NUMBERS)


def _numbers(verb: str, argument: str, count: int) -> list[int]:
    words = argument.split()
    if len(words) != count or not all(_NUMBER.fullmatch(word) for word in words):
        raise InputError(f"{verb} takes {'a number' if count == 1 else f'{count} numbers'}")
    return [int(word) for word in words]


_COMMANDS: dict[str, type[Command]] = {
    command.verb: command
    for command in (User, Pass, Apop, Auth, Capa, Stls, Stat, List, Retr, Dele, Noop, Rset, Top, Uidl, Quit)
}


def parse_command(line: bytes) -> Command:
    """Parse a command line with its line ending (a bare LF is tolerated, and lower case is legal).

    Raises:
        RemoteProtocolError: it is not a command, or its arguments are not what it takes. The text, which is
            for the answer, repeats nothing of the line: that may be a secret sent at the wrong time.
        AuthenticationError: the initial response of an AUTH is not base64.

    RFC 1939 §3
    """
    text = line.removesuffix(b"\n").removesuffix(b"\r")
    if _CONTROL.search(text):
        raise RemoteProtocolError("the line holds a control character")
    try:
        verb, _, argument = text.decode().partition(" ")
    except UnicodeDecodeError:
        raise RemoteProtocolError("the line is not UTF-8") from None
    command = _COMMANDS.get(verb.upper())
    if command is None:
        raise RemoteProtocolError("unknown command")
    try:
        return command.from_argument(argument)
    except InputError as error:
        raise RemoteProtocolError(error.problem) from None

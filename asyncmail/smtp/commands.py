"""SMTP, ESMTP and LMTP commands: one class each, its encoder and its parser side by side.

A command validates itself when it is made; `encode` is the only way from a command to octets, so no argument can
hold what ends a line. Parsing raises ValueError (AddressSyntaxError for a path) or a MailError; a 501 reply is due.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field
from typing import ClassVar, Self

from ..address import check_forward_path, check_reverse_path, parse_forward_path, parse_reverse_path
from ..address.grammar import MAILBOX_PATTERN, MAX_MAILBOX
from ..errors import ExtensionRequired, LocalProtocolError, Stage, printable, quoted
from ..sasl import CANCEL, decode_base64, decode_initial_response, encode_base64, encode_initial_response
from ..wire import decode_xtext, encode_argument, encode_xtext
from .parameters import BodyType, Parameters, check_parameters, encode_parameters, parse_parameters

__all__ = [
    "Auth",
    "AuthResponse",
    "Bdat",
    "Command",
    "Data",
    "Ehlo",
    "EndOfContent",
    "Expn",
    "Helo",
    "Help",
    "Lhlo",
    "Mail",
    "Noop",
    "Quit",
    "Rcpt",
    "Rset",
    "Starttls",
    "UnknownCommand",
    "Vrfy",
    "parse_command",
    "plain_command",
]

_MECHANISM = re.compile(r"[A-Z0-9_-]{1,20}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_HELLO_NAME = re.compile(r"[^\s\x00-\x20\x7f]+")

# What most lines of MAIL and RCPT are: nothing in them has to be looked at again.
_PATH = rb"<(?![^>]{%d})(%b)>" % (MAX_MAILBOX + 1, MAILBOX_PATTERN.encode("ascii"))
_match_plain = re.compile(
    rb"(?:(?i:RCPT TO:)%b|(?i:MAIL FROM:)%b(?: SIZE=([0-9]{1,20}))?(?: BODY=(7BIT|8BITMIME))?)\r\n"
    % (_PATH, _PATH)
).fullmatch
_set = object.__setattr__


class UnknownCommand(ValueError):
    """A line whose verb is none of SMTP's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """Base of all commands; the class body says what they have in common:

    `verb`: the first word of its line.
    `ends_group`: nothing may be sent behind it until it is answered (RFC 2920 §3.1).
    `stage`: the part of a session that it belongs to.
    """

    verb: ClassVar[str] = ""
    ends_group: ClassVar[bool] = False
    stage: ClassVar[Stage] = Stage.COMMAND
    _line: ClassVar[bytes] = b""

    def __init_subclass__(cls) -> None:
        cls._line = encode_argument(cls.verb, "verb") + b"\r\n"

    def encode(self) -> bytes:
        """Return the command line, CRLF included."""
        return self._line

    @classmethod
    def parse(cls, argument: str) -> Self:
        """Make the command from what followed its verb."""
        if argument:
            raise ValueError(f"{cls.verb} takes no argument")
        return cls()

    def __str__(self) -> str:
        line = self.encode()[:-2].decode()
        return printable(line, len(line))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Hello(Command):
    domain: str
    ends_group: ClassVar[bool] = True
    stage: ClassVar[Stage] = Stage.HELLO

    def __post_init__(self) -> None:
        if not _HELLO_NAME.fullmatch(self.domain):
            raise LocalProtocolError(
                f"{quoted(self.domain)} is not a name for {self.verb}",
                stage=self.stage,
                cure="use a domain or an address literal such as [127.0.0.1]",
            )

    def encode(self) -> bytes:
        """Return the command line, CRLF included."""
        return encode_argument(f"{self.verb} {self.domain}", "domain") + b"\r\n"

    @classmethod
    def parse(cls, argument: str) -> Self:
        """Make the command from the client's name; what follows the name is ignored."""
        domain = argument.strip().partition(" ")[0]
        if not domain:
            raise ValueError(f"{cls.verb} takes a domain or an address literal")
        return cls(domain=domain)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ehlo(_Hello):
    """Identify the client and ask for extensions (RFC 5321 §4.1.1.1)."""

    verb: ClassVar[str] = "EHLO"


@dataclass(frozen=True, slots=True, kw_only=True)
class Helo(_Hello):
    """Identify the client, without extensions (RFC 5321 §4.1.1.1)."""

    verb: ClassVar[str] = "HELO"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lhlo(_Hello):
    """EHLO of LMTP (RFC 2033 §4.1)."""

    verb: ClassVar[str] = "LHLO"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail(Command):
    """Begin a transaction (RFC 5321 §4.1.1.2).

    Args:
        sender: the reverse-path without brackets; empty for the null reverse-path.
        size: estimate of the content's octets (RFC 1870).
        body: what the content holds (RFC 6152, RFC 3030).
        smtputf8: addresses or header hold non-ASCII characters (RFC 6531).
        auth: who submitted the message, empty for `<>` (RFC 4954 §5).
        parameters: any others, keyword to value or None.
    """

    verb: ClassVar[str] = "MAIL"
    stage: ClassVar[Stage] = Stage.SENDER
    sender: str
    size: int | None = None
    body: BodyType | None = None
    smtputf8: bool = False
    auth: str | None = None
    parameters: Parameters = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_reverse_path(self.sender, smtputf8=self.smtputf8)
        if self.size is not None and self.size < 0:
            raise LocalProtocolError("content cannot have fewer than 0 octets", stage=self.stage)
        if self.auth is not None:
            encode_xtext(self.auth)
        if self.parameters:
            check_parameters(self.parameters)

    def encode(self) -> bytes:
        """Return the command line, CRLF included; the domain is written in ASCII where it can be."""
        tail = "" if self.auth is None else f" AUTH={encode_xtext(self.auth) or '<>'}"
        if self.parameters:
            tail += encode_parameters(self.parameters)
        return _encode_mail(self.sender, self.size, self.body, self.smtputf8, tail)

    @classmethod
    def parse(cls, argument: str) -> Self:
        """Make the command from `FROM:<path> parameters`."""
        sender, tail = parse_reverse_path(_after_keyword(argument, "FROM:"))
        parameters = parse_parameters(tail) if tail else {}
        utf8 = "SMTPUTF8" in parameters
        if not utf8 and not sender.isascii():
            raise ExtensionRequired(
                "SMTPUTF8", "a non-ASCII address needs the parameter SMTPUTF8", stage=Stage.SENDER
            )
        if not parameters:
            return cls(sender=sender)
        size = _take_value(parameters, "SIZE")
        body = _take_value(parameters, "BODY")
        auth = _take_value(parameters, "AUTH")
        if size is not None and not (size.isascii() and size.isdigit() and len(size) <= 20):
            raise ValueError("SIZE takes a number of octets")
        if utf8 and parameters.pop("SMTPUTF8") is not None:
            raise ValueError("SMTPUTF8 takes no value")
        return cls(
            sender=sender,
            size=None if size is None else int(size),
            body=None if body is None else BodyType(body.upper()),
            smtputf8=utf8,
            auth=None if auth is None else "" if auth == "<>" else decode_xtext(auth),
            parameters=parameters,
        )

    @classmethod
    def for_path(cls, path: str, size: int | None = None, body: BodyType | None = None) -> Self:
        """Make the command for a reverse-path that has been checked, see `check_reverse_path`."""
        mail = object.__new__(cls)
        _set(mail, "sender", path)
        _set(mail, "size", size)
        _set(mail, "body", body)
        _set(mail, "smtputf8", False)
        _set(mail, "auth", None)
        _set(mail, "parameters", {})
        return mail


@functools.lru_cache(maxsize=256, typed=True)  # many messages have few senders, and about as many octets
def _encode_mail(sender: str, size: int | None, body: BodyType | None, smtputf8: bool, tail: str) -> bytes:
    if not sender.isascii():
        sender = check_reverse_path(sender, smtputf8=smtputf8)
    line = f"MAIL FROM:<{sender}>"
    if size is not None:
        line += f" SIZE={size}"
    if body is not None:
        line += f" BODY={body.value}"
    if smtputf8:
        line += " SMTPUTF8"
    return encode_argument(line + tail, "MAIL") + b"\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rcpt(Command):
    """Name one recipient (RFC 5321 §4.1.1.3); `recipient` is the forward-path without brackets."""

    verb: ClassVar[str] = "RCPT"
    stage: ClassVar[Stage] = Stage.RECIPIENT
    recipient: str
    parameters: Parameters = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_forward_path(self.recipient, smtputf8=True)
        if self.parameters:
            check_parameters(self.parameters)

    def encode(self) -> bytes:
        """Return the command line, CRLF included; the domain is written in ASCII where it can be."""
        recipient = self.recipient
        if not recipient.isascii():
            recipient = check_forward_path(recipient, smtputf8=True)
        tail = encode_parameters(self.parameters) if self.parameters else ""
        return encode_argument(f"RCPT TO:<{recipient}>{tail}", "RCPT") + b"\r\n"

    @classmethod
    def parse(cls, argument: str) -> Self:
        """Make the command from `TO:<path> parameters`."""
        recipient, tail = parse_forward_path(_after_keyword(argument, "TO:"))
        return cls(recipient=recipient, parameters=parse_parameters(tail) if tail else {})

    @classmethod
    def for_path(cls, path: str) -> Self:
        """Make the command for a forward-path that has been checked, see `check_forward_path`."""
        rcpt = object.__new__(cls)
        _set(rcpt, "recipient", path)
        _set(rcpt, "parameters", {})
        return rcpt


@dataclass(frozen=True, slots=True, kw_only=True)
class Data(Command):
    """Announce dot-stuffed content (RFC 5321 §4.1.1.4)."""

    verb: ClassVar[str] = "DATA"
    ends_group: ClassVar[bool] = True
    stage: ClassVar[Stage] = Stage.CONTENT


@dataclass(frozen=True, slots=True, kw_only=True)
class EndOfContent(Command):
    """The lone dot after the content: not a command in the RFC's sense, but answered like one (RFC 5321 §4.1.1.4)."""

    verb: ClassVar[str] = "."
    stage: ClassVar[Stage] = Stage.CONTENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Bdat(Command):
    """Announce a chunk of `size` octets, the last of its content or not (RFC 3030 §2)."""

    verb: ClassVar[str] = "BDAT"
    stage: ClassVar[Stage] = Stage.CONTENT
    size: int
    last: bool = False

    def __post_init__(self) -> None:
        if self.size < 0:
            raise LocalProtocolError("a chunk cannot have fewer than 0 octets", stage=self.stage)

    def encode(self) -> bytes:
        """Return the command line, CRLF included."""
        return b"BDAT %d LAST\r\n" % self.size if self.last else b"BDAT %d\r\n" % self.size

    @classmethod
    def parse(cls, argument: str) -> Self:
        """Make the command from `size` or `size LAST`."""
        match = re.fullmatch(r"([0-9]{1,20})(?: +(LAST))?", argument, re.IGNORECASE)
        if match is None:
            raise ValueError("BDAT takes a number of octets and, for the last chunk, LAST")
        return cls(size=int(match[1]), last=match[2] is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rset(Command):
    """Give up the transaction (RFC 5321 §4.1.1.5)."""

    verb: ClassVar[str] = "RSET"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quit(Command):
    """End the session (RFC 5321 §4.1.1.10)."""

    verb: ClassVar[str] = "QUIT"
    ends_group: ClassVar[bool] = True
    stage: ClassVar[Stage] = Stage.QUIT


@dataclass(frozen=True, slots=True, kw_only=True)
class Starttls(Command):
    """Ask for TLS on this connection (RFC 3207)."""

    verb: ClassVar[str] = "STARTTLS"
    ends_group: ClassVar[bool] = True
    stage: ClassVar[Stage] = Stage.TLS


@dataclass(frozen=True, slots=True, kw_only=True)
class _TextCommand(Command):
    text: str = ""
    ends_group: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.text:
            encode_argument(self.text, f"the text of {self.verb}")

    def encode(self) -> bytes:
        """Return the command line, CRLF included."""
        return encode_argument(f"{self.verb} {self.text}".rstrip(" "), self.verb) + b"\r\n"

    @classmethod
    def parse(cls, argument: str) -> Self:
        """Make the command from its text."""
        return cls(text=argument.strip())


@dataclass(frozen=True, slots=True, kw_only=True)
class _NamedCommand(_TextCommand):
    def __post_init__(self) -> None:
        _TextCommand.__post_init__(
            self
        )  # not super(): slots=True makes a second class, which that does not find
        if not self.text:
            raise LocalProtocolError(f"{self.verb} takes a name", cure="name a user, mailbox or list")


@dataclass(frozen=True, slots=True, kw_only=True)
class Noop(_TextCommand):
    """Do nothing (RFC 5321 §4.1.1.9)."""

    verb: ClassVar[str] = "NOOP"


@dataclass(frozen=True, slots=True, kw_only=True)
class Help(_TextCommand):
    """Ask for help, in general or on `text` (RFC 5321 §4.1.1.8)."""

    verb: ClassVar[str] = "HELP"


@dataclass(frozen=True, slots=True, kw_only=True)
class Vrfy(_NamedCommand):
    """Ask whether `text` names a user or mailbox (RFC 5321 §4.1.1.6)."""

    verb: ClassVar[str] = "VRFY"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expn(_NamedCommand):
    """Ask for the members of the list `text` (RFC 5321 §4.1.1.7)."""

    verb: ClassVar[str] = "EXPN"


@dataclass(frozen=True, slots=True, kw_only=True)
class Auth(Command):
    """Begin an authentication exchange (RFC 4954 §4).

    Args:
        mechanism: a SASL mechanism name.
        initial_response: the client's first message, None to let the server speak first.
    """

    verb: ClassVar[str] = "AUTH"
    ends_group: ClassVar[bool] = True
    stage: ClassVar[Stage] = Stage.AUTHENTICATION
    mechanism: str
    initial_response: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not _MECHANISM.fullmatch(self.mechanism):
            # It is not shown: it may be a secret in the wrong place.
            raise ValueError("a SASL mechanism name has 1 to 20 letters, digits, hyphens and underscores")

    def encode(self) -> bytes:
        """Return the command line, CRLF included."""
        line = b"AUTH " + self.mechanism.encode("ascii")
        if self.initial_response is not None:
            line += b" " + encode_initial_response(self.initial_response)
        return line + b"\r\n"

    @classmethod
    def parse(cls, argument: str) -> Self:
        """Make the command from `mechanism` or `mechanism initial-response`."""
        mechanism, _, response = argument.strip().partition(" ")
        response = response.strip()
        initial = decode_initial_response(response) if response else None
        return cls(mechanism=mechanism.upper(), initial_response=initial)

    def __str__(self) -> str:
        return f"AUTH {self.mechanism}" + ("" if self.initial_response is None else " ****")


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthResponse(Command):
    """The client's next message in an authentication exchange; None gives the exchange up (RFC 4954 §4)."""

    verb: ClassVar[str] = "AUTH"
    ends_group: ClassVar[bool] = True
    stage: ClassVar[Stage] = Stage.AUTHENTICATION
    response: bytes | None = field(repr=False)

    def encode(self) -> bytes:
        """Return the line, CRLF included."""
        return (CANCEL if self.response is None else encode_base64(self.response)) + b"\r\n"

    @classmethod
    def parse(cls, argument: str) -> Self:
        """Make the response from a whole line."""
        return cls(response=None if argument.encode() == CANCEL else decode_base64(argument))

    def __str__(self) -> str:
        return "*" if self.response is None else "****"


def _after_keyword(argument: str, keyword: str) -> str:
    if argument[: len(keyword)].upper() != keyword:
        raise ValueError(f"expected {keyword}<address>")
    return argument[len(keyword) :].lstrip(" ")


def _take_value(parameters: Parameters, keyword: str) -> str | None:
    if keyword not in parameters:
        return None
    value = parameters.pop(keyword)
    if value is None:
        raise ValueError(f"{keyword} takes a value")
    return value


_COMMANDS: dict[str, type[Command]] = {
    command.verb: command
    for command in (
        Ehlo,
        Helo,
        Lhlo,
        Mail,
        Rcpt,
        Data,
        Bdat,
        Rset,
        Noop,
        Quit,
        Vrfy,
        Expn,
        Help,
        Starttls,
        Auth,
    )
}
_BARE: dict[bytes, Command] = {
    command.encode(): command for command in (Data(), Rset(), Quit(), Noop(), Starttls())
}


def plain_command(line: bytes) -> Command | None:
    """Parse a line, CRLF included, as most are; None if it has to be looked at closely, see `parse_command`."""
    plain = _match_plain(line)
    if plain is None:
        return _BARE.get(line)
    recipient, sender, size, body = plain.groups()
    if recipient is not None:
        return Rcpt.for_path(recipient.decode("ascii"))
    return Mail.for_path(
        sender.decode("ascii"),
        None if size is None else int(size),
        None if body is None else BodyType(body.decode("ascii")),
    )


def parse_command(line: bytes) -> Command:
    """Parse a command line without its line ending; blanks at its end are ignored (RFC 5321 §4.1.1).

    Raises:
        UnknownCommand: no such verb.
        ValueError: the argument does not fit the verb, or the line holds control characters.
    """
    text = line.decode().rstrip(" \t")
    if not text.isprintable() and _CONTROL.search(text):
        raise ValueError("a command line holds no control characters")
    verb, _, argument = text.partition(" ")
    command = _COMMANDS.get(verb.upper())
    if command is None:
        raise UnknownCommand("no such verb")
    return command.parse(argument)

"""The replies of a server where no application decides, among them those to lines that are no commands."""

from __future__ import annotations

from ..errors import AddressSyntaxError, AuthenticationError, ExtensionRequired, MailError, printable
from .commands import (
    Auth,
    AuthResponse,
    Command,
    Data,
    EndOfContent,
    Expn,
    Help,
    Mail,
    Noop,
    Quit,
    Rcpt,
    Rset,
    Starttls,
    UnknownCommand,
    Vrfy,
)
from .replies import Reply

__all__ = [
    "ACCEPTED",
    "BARE_NEWLINE",
    "BARE_NEWLINE_IN_COMMAND",
    "BDAT_WITHOUT_SIZE",
    "CHUNK_ACCEPTED",
    "CONSEQUENCES",
    "LINE_TOO_LONG",
    "NEEDS_SMTPUTF8",
    "NO_RECIPIENTS",
    "NO_SENDER",
    "OUT_OF_SEQUENCE",
    "TOO_MANY_COMMANDS",
    "TOO_MANY_ERRORS",
    "TOO_MANY_RECIPIENTS",
    "fault",
]

ACCEPTED: dict[type[Command], Reply] = {
    Mail: Reply(250, "OK", "2.1.0"),
    Rcpt: Reply(250, "OK", "2.1.5"),
    Data: Reply(354, "Go ahead, end with a lone dot"),
    EndOfContent: Reply(250, "Message accepted", "2.6.0"),
    Rset: Reply(250, "OK", "2.0.0"),
    Quit: Reply(221, "Goodbye", "2.0.0"),
    Vrfy: Reply(252, "Try it with RCPT", "2.5.2"),
    Expn: Reply(502, "Lists are not expanded", "5.5.1"),
    Help: Reply(214, "See RFC 5321", "2.0.0"),
    Noop: Reply(250, "OK", "2.0.0"),
    Starttls: Reply(220, "Go ahead", "2.0.0"),
    Auth: Reply(235, "Authenticated", "2.7.0"),
    AuthResponse: Reply(235, "Authenticated", "2.7.0"),
}
BARE_NEWLINE = Reply(550, "Lines end in CRLF: the content holds a bare CR or LF", "5.6.0")
LINE_TOO_LONG = Reply(500, "The line is too long", "5.5.2")
BDAT_WITHOUT_SIZE = Reply(421, "BDAT takes a number of octets and, for the last chunk, LAST", "4.5.4")
BARE_NEWLINE_IN_COMMAND = Reply(500, "Lines end in CRLF", "5.5.2")
CHUNK_ACCEPTED = Reply(250, "Chunk received", "2.0.0")
NEEDS_SMTPUTF8 = Reply(553, "A non-ASCII address needs the parameter SMTPUTF8", "5.6.7")
OUT_OF_SEQUENCE = "5.5.1"
NO_SENDER = Reply(503, "Use MAIL first", OUT_OF_SEQUENCE)
NO_RECIPIENTS = Reply(503, "No valid recipients", OUT_OF_SEQUENCE)
TOO_MANY_COMMANDS = Reply(421, "Too many commands in one session", "4.7.0")
TOO_MANY_ERRORS = Reply(421, "Too many errors in one session", "4.7.0")
TOO_MANY_RECIPIENTS = Reply(452, "Too many recipients", "4.5.3")
# A client that pipelines gets these for what it had sent before it knew: no fault of its own.
CONSEQUENCES = frozenset((NO_SENDER, NO_RECIPIENTS, TOO_MANY_RECIPIENTS))


def fault(line: bytes, error: ValueError | MailError) -> tuple[str, Reply]:
    """What to show of a line that is no command, and what to answer. Unknown parts of a line may be secret."""
    hidden = f"<a line of {len(line)} octets>"
    match error:
        case UnknownCommand():
            # What looks like a verb may be the password behind an AUTH that was refused.
            return hidden, Reply(500, "Not a command known here", "5.5.2")
        case AuthenticationError():
            return "<an authentication line>", Reply(501, error.problem, "5.5.2")
        case _ if line[:4].upper() == b"BDAT":
            # The octets behind it cannot be told from commands: the session ends.
            return hidden, BDAT_WITHOUT_SIZE
        case UnicodeDecodeError():
            return hidden, Reply(500, "The line is not UTF-8", "5.5.2")
        case AddressSyntaxError():
            code = "5.1.7" if line[:4].upper() == b"MAIL" else "5.1.3"
            return printable(line[:-2]), Reply(501, printable(error.problem), code)
        case ExtensionRequired():
            return printable(line[:-2]), NEEDS_SMTPUTF8
        case MailError():
            return printable(line[:-2]), Reply(501, printable(error.problem), "5.5.4")
        case _:
            return hidden, Reply(501, printable(error), "5.5.4")

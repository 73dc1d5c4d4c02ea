"""The states of both ends of a session and every move between them, as data: a missing cell is the error.

The client's state is that of what it has *sent*: with PIPELINING it runs ahead of the answers. A command that changes
what may come next in a way only its answer tells ends its group (RFC 2920 §3.1), and its answer moves the state on.
The server's state moves only when it answers.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, ClassVar

from .commands import (
    Auth,
    AuthResponse,
    Bdat,
    Command,
    Data,
    Ehlo,
    EndOfContent,
    Expn,
    Helo,
    Help,
    Lhlo,
    Mail,
    Noop,
    Quit,
    Rcpt,
    Rset,
    Starttls,
    Vrfy,
)

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "CLIENT_ANSWERS",
    "CLIENT_SENDS",
    "SERVER_ANSWERS",
    "SERVER_RECEIVES",
    "Answer",
    "Awaiting",
    "ClientState",
    "ServerState",
]


class _State(enum.Enum):
    # Every move looks up the tables, and Enum's own hash is that of the name, computed in Python.
    __hash__: ClassVar[Callable[[object], int]] = object.__hash__


class ClientState(_State):
    """What a client may do next."""

    GREETING = "greeting"  # the server speaks first
    REFUSED = "refused"  # by the greeting: only QUIT may follow
    HELLO = "hello"  # EHLO is due
    READY = "ready"  # no transaction
    SENDER = "sender"  # MAIL was sent
    RECIPIENTS = "recipients"  # RCPT was sent
    DATA = "data"  # DATA was sent
    CONTENT = "content"  # 354 came
    LONE_DOT = "lone dot"  # 354 came though nobody was accepted: only the end of content may follow
    CHUNK = "chunk"  # BDAT was sent, its octets are due
    CHUNKS = "chunks"  # a chunk that is not the last is complete
    RESET_DUE = "reset due"  # BDAT failed: the server's state is unknown until RSET (RFC 3030 §2)
    AUTHENTICATION = "authentication"
    SECURING = "securing"  # STARTTLS was sent
    HANDSHAKE = "handshake"  # 220 came: TLS is due
    QUIT = "quit"
    CLOSED = "closed"
    ERROR = "error"


class ServerState(_State):
    """What a server may receive next."""

    GREETING = "greeting"  # the server speaks first
    REFUSED = "refused"  # by the greeting: QUIT is due
    HELLO = "hello"
    READY = "ready"
    SENDER = "sender"  # MAIL was accepted
    RECIPIENTS = "recipients"  # at least one RCPT was accepted
    CONTENT = "content"  # 354 was sent
    CHUNK = "chunk"  # the octets of BDAT come
    CHUNKS = "chunks"  # a chunk that is not the last was accepted
    AUTHENTICATION = "authentication"
    HANDSHAKE = "handshake"
    CLOSED = "closed"
    ERROR = "error"


class Answer(_State):
    """The classes of replies that moves depend on (RFC 5321 §4.2.1)."""

    POSITIVE = 2
    INTERMEDIATE = 3
    NEGATIVE = 4


class Awaiting(_State):
    """What a protocol object waits for; what a client does has a time limit each (RFC 5321 §4.5.3.2)."""

    GREETING = "the greeting"
    ANSWER = "the answer to a command"
    MAIL = "the answer to MAIL"
    RCPT = "the answer to RCPT"
    DATA = "the answer to DATA"
    END_OF_CONTENT = "the answer to the content"
    COMMAND = "a command"
    CONTENT = "the content"
    NOTHING = "nothing"


_C = ClientState
_S = ServerState

_ANYWHERE: tuple[type[Command], ...] = (Noop, Help, Vrfy, Expn)


def _client(
    state: ClientState, moves: dict[type[Command], ClientState] | None = None
) -> dict[type[Command], ClientState]:
    return {Quit: _C.QUIT} | dict.fromkeys(_ANYWHERE, state) | (moves or {})


CLIENT_SENDS: dict[ClientState, dict[type[Command], ClientState]] = {
    _C.GREETING: {},
    _C.REFUSED: {Quit: _C.QUIT},
    # RFC 5321 §4.1.1.1, §4.1.4: these need no EHLO first
    _C.HELLO: _client(_C.HELLO, {Ehlo: _C.HELLO, Helo: _C.HELLO, Lhlo: _C.HELLO, Rset: _C.HELLO}),
    _C.READY: _client(
        _C.READY,
        {
            Ehlo: _C.HELLO,
            Helo: _C.HELLO,
            Lhlo: _C.HELLO,
            Rset: _C.READY,
            Mail: _C.SENDER,
            Auth: _C.AUTHENTICATION,
            Starttls: _C.SECURING,
        },
    ),
    _C.SENDER: _client(_C.SENDER, {Rset: _C.READY, Rcpt: _C.RECIPIENTS}),
    _C.RECIPIENTS: _client(
        _C.RECIPIENTS, {Rset: _C.READY, Rcpt: _C.RECIPIENTS, Data: _C.DATA, Bdat: _C.CHUNK}
    ),
    _C.DATA: {},
    _C.CONTENT: {EndOfContent: _C.READY},
    _C.LONE_DOT: {EndOfContent: _C.READY},
    _C.CHUNK: {},
    _C.CHUNKS: {Bdat: _C.CHUNK, Rset: _C.READY, Quit: _C.QUIT},
    _C.RESET_DUE: {Rset: _C.READY, Quit: _C.QUIT},
    _C.AUTHENTICATION: {AuthResponse: _C.AUTHENTICATION},
    _C.SECURING: {},
    _C.HANDSHAKE: {},
    _C.QUIT: {},
    _C.CLOSED: {},
    _C.ERROR: {},
}
"""State, command sent → state."""

CLIENT_ANSWERS: dict[tuple[ClientState, type[Command], Answer], ClientState] = {
    (_C.HELLO, Ehlo, Answer.POSITIVE): _C.READY,
    (_C.HELLO, Helo, Answer.POSITIVE): _C.READY,
    (_C.HELLO, Lhlo, Answer.POSITIVE): _C.READY,
    (_C.DATA, Data, Answer.INTERMEDIATE): _C.CONTENT,
    # RFC 5321 §3.3: the transaction stays open when DATA itself is refused
    (_C.DATA, Data, Answer.NEGATIVE): _C.RECIPIENTS,
    (_C.CHUNKS, Bdat, Answer.NEGATIVE): _C.RESET_DUE,
    (_C.READY, Bdat, Answer.NEGATIVE): _C.RESET_DUE,
    (_C.AUTHENTICATION, Auth, Answer.POSITIVE): _C.READY,
    (_C.AUTHENTICATION, Auth, Answer.NEGATIVE): _C.READY,
    (_C.AUTHENTICATION, AuthResponse, Answer.POSITIVE): _C.READY,
    (_C.AUTHENTICATION, AuthResponse, Answer.NEGATIVE): _C.READY,
    (_C.SECURING, Starttls, Answer.POSITIVE): _C.HANDSHAKE,
    (_C.SECURING, Starttls, Answer.NEGATIVE): _C.READY,
    (_C.QUIT, Quit, Answer.POSITIVE): _C.CLOSED,
    (_C.QUIT, Quit, Answer.NEGATIVE): _C.CLOSED,
}
"""State, command, class of its answer → state, where the answered command is the last one sent; else it stays."""


def _server(*more: type[Command]) -> frozenset[type[Command]]:
    return frozenset((*_ANYWHERE, Quit, Rset, *more))


_HELLOS = (Ehlo, Helo, Lhlo)

SERVER_RECEIVES: dict[ServerState, frozenset[type[Command]]] = {
    # RFC 5321 §3.1: the connection stays until the client has said QUIT
    _S.REFUSED: frozenset((Quit,)),
    _S.HELLO: _server(*_HELLOS, Starttls),
    _S.READY: _server(*_HELLOS, Mail, Auth, Starttls),
    # RFC 5321 §4.1.4: EHLO in a transaction is a reset
    _S.SENDER: _server(*_HELLOS, Rcpt),
    _S.RECIPIENTS: _server(*_HELLOS, Rcpt, Data, Bdat),
    _S.CHUNKS: _server(*_HELLOS, Bdat),
    _S.CONTENT: frozenset((EndOfContent,)),
    _S.AUTHENTICATION: frozenset((AuthResponse,)),
}
"""State → commands that are legal; any other is answered 503."""

SERVER_ANSWERS: dict[tuple[type[Command], Answer], ServerState | None] = {
    (Ehlo, Answer.POSITIVE): _S.READY,
    (Helo, Answer.POSITIVE): _S.READY,
    (Lhlo, Answer.POSITIVE): _S.READY,
    (Mail, Answer.POSITIVE): _S.SENDER,
    (Rcpt, Answer.POSITIVE): _S.RECIPIENTS,
    (Data, Answer.INTERMEDIATE): _S.CONTENT,
    (Rset, Answer.POSITIVE): _S.READY,
    (Auth, Answer.INTERMEDIATE): _S.AUTHENTICATION,
    (AuthResponse, Answer.INTERMEDIATE): _S.AUTHENTICATION,
    (Auth, Answer.POSITIVE): _S.READY,
    (Auth, Answer.NEGATIVE): _S.READY,
    (AuthResponse, Answer.POSITIVE): _S.READY,
    (AuthResponse, Answer.NEGATIVE): _S.READY,
    (Starttls, Answer.POSITIVE): _S.HANDSHAKE,
    (Quit, Answer.POSITIVE): _S.CLOSED,
    (EndOfContent, Answer.POSITIVE): _S.READY,
    (EndOfContent, Answer.NEGATIVE): _S.READY,
    **{(command, Answer.POSITIVE): None for command in _ANYWHERE},
}
"""Command, class of its answer → state, None for the same. With no cell, only a negative answer is legal, and the
state stays."""

"""The states of a session and every move between them, as data; both ends use the same table.

The three states of RFC 1939 §3, with what they hide made visible: the greeting, the wait for PASS, the AUTH
exchange, the TLS handshake that has to follow STLS, and the ends.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

from .commands import (
    Apop,
    Auth,
    AuthResponse,
    Capa,
    Command,
    Dele,
    List,
    Noop,
    Pass,
    Quit,
    Retr,
    Rset,
    Stat,
    Stls,
    Top,
    Uidl,
    User,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["ENDS_GROUP", "TRANSITIONS", "Awaiting", "Move", "State"]


class State(enum.Enum):
    """What may come next."""

    # Every command looks up the table, and Enum's own hash is that of the name, computed in Python.
    __hash__: ClassVar[Callable[[object], int]] = object.__hash__

    GREETING = "greeting"  # the server speaks first
    AUTHORIZATION = "authorization"
    PASSWORD = "password"  # USER was accepted
    AUTHENTICATION = "authentication"  # the server has sent a challenge
    HANDSHAKE = "handshake"  # STLS was accepted: TLS is due
    TRANSACTION = "transaction"
    UPDATE = "update"  # QUIT was given: the server removes what is marked as deleted
    CLOSED = "closed"
    ERROR = "error"


class Awaiting(enum.Enum):
    """What a protocol object needs from its peer, for a driver to set a deadline by."""

    NOTHING = "nothing"
    GREETING = "the greeting"
    RESPONSE = "the answer to a command"
    CONTENT = "the rest of an answer"
    UPDATE = "the answer to QUIT"  # which may take long while messages are removed
    COMMAND = "a command"
    CREDENTIALS = "a command or response of one who is not logged in"


@dataclass(frozen=True, slots=True)
class Move:
    """What a command does to the state; None leaves it as it is.

    Args:
        ok: after +OK.
        err: after -ERR.
        challenge: after a challenge, which only AUTH may be answered with.
        begun: from when it is given until it is answered.
    """

    ok: State | None = None
    err: State | None = None
    challenge: State | None = None
    begun: State | None = None


_S = State
_STAY = Move()
_LOGIN = Move(ok=_S.TRANSACTION, err=_S.AUTHORIZATION)
_EXCHANGE = Move(ok=_S.TRANSACTION, err=_S.AUTHORIZATION, challenge=_S.AUTHENTICATION)
_END = Move(ok=_S.CLOSED, err=_S.CLOSED)

_TABLE: dict[State, dict[type[Command], Move]] = {
    _S.GREETING: {},
    _S.AUTHORIZATION: {
        User: Move(ok=_S.PASSWORD),
        Apop: _LOGIN,
        Auth: _EXCHANGE,
        Capa: _STAY,
        Stls: Move(ok=_S.HANDSHAKE),
        Quit: _END,
    },
    # RFC 1939 §7 has PASS and QUIT only; CAPA is legal throughout (RFC 2449 §5), and names get corrected.
    _S.PASSWORD: {
        Pass: _LOGIN,
        User: Move(err=_S.AUTHORIZATION),
        Capa: _STAY,
        Quit: _END,
    },
    _S.AUTHENTICATION: {AuthResponse: _EXCHANGE},
    _S.HANDSHAKE: {},
    _S.TRANSACTION: {
        **dict.fromkeys((Stat, List, Uidl, Retr, Top, Dele, Noop, Rset, Capa), _STAY),
        # RFC 1939 §6: whatever the answer, the server closes
        Quit: Move(ok=_S.CLOSED, err=_S.CLOSED, begun=_S.UPDATE),
    },
    _S.UPDATE: {},
    _S.CLOSED: {},
    _S.ERROR: {},
}

TRANSITIONS: Mapping[State, Mapping[type[Command], Move]] = MappingProxyType(_TABLE)
"""State, command → what its answer does; a missing cell is a command that is not legal there."""

ENDS_GROUP: frozenset[type[Command]] = frozenset((User, Pass, Apop, Auth, AuthResponse, Stls, Capa, Quit))
"""Commands whose answer decides what may come next: nothing may be sent before it is there."""

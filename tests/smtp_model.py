"""A server that does what servers may do, at random, and remembers what it really took under which envelope."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Behaviour", "ModelServer", "Taken"]

# How often servers say what, where nothing forces them to.
USUALLY = {
    "MAIL": [250] * 12 + [450, 550, 503, 421],
    "RCPT": [250] * 8 + [251, 450, 550, 550, 421],
    "DATA": [354] * 12 + [451, 554, 421],
    "CONTENT": [250] * 8 + [451, 552, 554, 421],
    "RSET": [250] * 40 + [421],
}
_PATH = re.compile(rb":<([^>]*)>")


@dataclass(frozen=True)
class Behaviour:
    """What a server is like."""

    pipelining: bool = True
    chunking: bool = False
    lmtp: bool = False
    keeps_transaction: bool = False
    """After BDAT without recipients the transaction stays open, and the next MAIL is answered 503."""
    goes_on: bool = False
    """DATA without recipients is answered 354."""
    cannot_follow: bool = False
    """MAIL is answered 503 while the client has not heard what became of the content before it."""
    is_hasty: bool = False
    """Content behind DATA may be refused before its end, to which it is read all the same."""


@dataclass(frozen=True)
class Taken:
    """A message that the server has taken responsibility for."""

    sender: str
    recipient: str
    content: bytes
    reply: str


@dataclass
class ModelServer:
    """Reads octets, answers into `output`; `choose` picks one of several reply codes.

    Written against the RFCs and not with asyncmail: what it has `taken` is the truth to compare outcomes with.
    """

    behaviour: Behaviour
    choose: Callable[[list[int]], int]
    output: bytearray = field(default_factory=bytearray)
    taken: list[Taken] = field(default_factory=list)
    answers: dict[tuple[str, str], list[str]] = field(default_factory=lambda: defaultdict(list))
    """What was asked (MAIL and sender, RCPT and recipient, CONTENT and sender), and all that was answered."""
    too_early: set[str] = field(default_factory=set)
    """Answers that are no fault of what they answer."""
    closed: bool = False

    def __post_init__(self) -> None:
        self._input = bytearray()
        self._sender: str | None = None
        self._last_mail = ""  # accepted or not
        self._recipients: list[str] = []
        self._in_content = False
        self._is_refused = False  # the content that is being read
        self._chunk: tuple[int, bool] | None = None
        self._chunks = b""
        self._serial = 0
        self._said = 0  # octets
        self._said_of_content = 0  # octets, up to the last answer to content

    @property
    def _is_ahead(self) -> bool:
        return self._said - len(self.output) < self._said_of_content

    def receive(self, data: bytes) -> None:
        if self.closed:
            return
        if self.output and not self._in_content and self._chunk is None and not self._input:
            assert self.behaviour.pipelining, "a client without PIPELINING waits for answers"
        self._input += data
        while not self.closed and self._step():
            pass

    def _step(self) -> bool:
        if self._in_content:
            return self._read_content()
        if self._chunk is not None:
            return self._read_chunk(*self._chunk)
        line, end, rest = self._input.partition(b"\r\n")
        if not end:
            return False
        self._input = rest
        self._command(bytes(line))
        return True

    def _command(self, line: bytes) -> None:
        verb = line[:4].decode().strip()
        if verb != "BDAT" and not self.behaviour.pipelining:
            assert not self._input, "a client without PIPELINING sends one command at a time"
        match verb:
            case "RSET":
                if self._say("RSET", "", self.choose(USUALLY["RSET"])) < 300:
                    self._forget()
            case "MAIL":
                self._last_mail = _path(line)
                if self._sender is not None or (self.behaviour.cannot_follow and self._is_ahead):
                    self.too_early.add(f"r{self._serial}")
                    code = 503
                else:
                    code = self.choose(USUALLY["MAIL"])
                if self._say("MAIL", self._last_mail, code) < 300:
                    self._forget()
                    self._sender = self._last_mail
            case "RCPT":
                code = 503 if self._sender is None else self.choose(USUALLY["RCPT"])
                if self._say("RCPT", _path(line), code) < 300:
                    self._recipients.append(_path(line))
            case "DATA":
                assert not self._input, "nothing may follow DATA before its answer"
                self._data()
            case "BDAT":
                _, size, *last = line.split(b" ")
                assert last in ([], [b"LAST"])
                self._chunk = int(size), bool(last)
            case "QUIT":
                self._say("QUIT", "", 221)
                self.closed = True
            case _:
                raise AssertionError(f"not a command: {line!r}")

    def _data(self) -> None:
        if self._recipients:
            code = self.choose(USUALLY["DATA"])
        elif self.behaviour.goes_on and self._sender is not None:
            code = 354
        else:
            code = self.choose([503, 554])
        self._in_content = self._say("CONTENT", self._last_mail, code) == 354

    def _read_content(self) -> bool:
        if self._input.startswith(b".\r\n"):
            content, rest = b"", self._input[3:]
        else:
            found, end, rest = self._input.partition(b"\r\n.\r\n")
            if not end:
                if self.behaviour.is_hasty and self._input and self._recipients and not self._is_refused:
                    self._is_refused = True
                    for _ in self._recipients if self.behaviour.lmtp else "x":
                        if not self.closed:
                            self._say("CONTENT", self._last_mail, self.choose([452, 552, 552, 554, 421]))
                return False
            content = b"\r\n".join(each.removeprefix(b".") for each in bytes(found).split(b"\r\n")) + b"\r\n"
        self._input = rest
        self._in_content = False
        if self._is_refused:
            self._is_refused = False
            self._forget()
        else:
            self._take(content)
        return True

    def _read_chunk(self, size: int, last: bool) -> bool:
        if len(self._input) < size:
            return False
        chunk, self._input = bytes(self._input[:size]), self._input[size:]
        self._chunk = None
        if not self.behaviour.pipelining:
            assert not self._input, "a client without PIPELINING sends one command at a time"
        if not self._recipients:
            self._say("CONTENT", self._last_mail, self.choose([503, 554]))
            if not self.behaviour.keeps_transaction:
                self._forget()
        elif last:
            self._take(self._chunks + chunk)
        elif self._say("CONTENT", self._last_mail, self.choose([250, 250, 452])) < 300:
            self._chunks += chunk
        else:
            self._forget()
        return True

    def _take(self, content: bytes) -> None:
        sender, recipients = self._sender, self._recipients
        self._forget()
        if not recipients:
            assert content == b"", "nobody was to see this"
            self._say("CONTENT", self._last_mail, 554)
            return
        assert sender is not None
        for each in recipients if self.behaviour.lmtp else [None]:
            code = self.choose(USUALLY["CONTENT"])
            reply = f"r{self._serial}"
            if code < 300:
                self.taken += [
                    Taken(sender, recipient, content, reply) for recipient in ([each] if each else recipients)
                ]
            self._say("CONTENT", self._last_mail, code)
            if self.closed:
                return

    def _forget(self) -> None:
        self._sender = None
        self._recipients = []
        self._chunks = b""

    def _say(self, what: str, whom: str, code: int) -> int:
        text = f"r{self._serial}"
        self._serial += 1
        self.answers[what, whom].append(text)
        line = b"%d %b\r\n" % (code, text.encode())
        if self._serial % 5 == 0:
            line = line.replace(b" ", b"-") + line
        self.output += line
        self._said += len(line)
        if what == "CONTENT":
            self._said_of_content = self._said
        self.closed = code == 421
        return code


def _path(line: bytes) -> str:
    found = _PATH.search(line)
    assert found is not None, line
    return found[1].decode()

"""The two protocol objects against each other, and what may be imported to have them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncmail.pop3 import (
    AuthenticationReceived,
    AuthResponse,
    Capa,
    CapabilitiesReceived,
    ChallengeReceived,
    ClientEvent,
    ClientProtocol,
    Command,
    CommandReceived,
    ContentReceived,
    Dele,
    GreetingReceived,
    List,
    Listing,
    ListingReceived,
    Noop,
    Pass,
    Quit,
    Response,
    ResponseReceived,
    Retr,
    Rset,
    ScanListing,
    ServerOffer,
    ServerProtocol,
    Stat,
    State,
    Status,
    Stls,
    Top,
    Uidl,
    UniqueIdListing,
    User,
    encode_listing,
)
from asyncmail.sasl import Credentials, choose
from asyncmail.wire import Signal

MESSAGES = [b"Subject: 1\r\n\r\n.\r\n..two\r\n", b"", b"no end of line", b"\r\n" * 50]


class Pair:
    """A client and a server in one process, which move octets in pieces of `size`."""

    def __init__(self, size: int = 65_536, offer: ServerOffer | None = None) -> None:
        self.client = ClientProtocol()
        self.server = ServerProtocol(offer=offer or ServerOffer(cleartext_login=True))
        self.size = size
        self.password = "secret"
        self.server.send(Response(Status.OK, "ready"))
        self.greeting = self.events()

    def answer(self) -> None:
        while not isinstance(event := self.server.next_event(), Signal):
            match event:
                case AuthenticationReceived(attempt):
                    self.server.send(Response(Status.OK if attempt.verify(self.password) else Status.ERR))
                case CommandReceived(command):
                    self.answer_command(command)

    def answer_command(self, command: Command) -> None:
        match command:
            case Retr(number=number) | Top(number=number) if number <= len(MESSAGES):
                self.server.send(Response(Status.OK))
                message = MESSAGES[number - 1]
                for start in range(0, len(message), 3):
                    self.server.send_content(message[start : start + 3])
                self.server.end_content()
            case List(number=None):
                self.server.send(Response(Status.OK))
                self.server.send_content(encode_listing([ScanListing(1, 5), ScanListing(2, 6)]))
                self.server.end_content()
            case Uidl(number=None):
                self.server.send(Response(Status.OK))
                self.server.send_content(encode_listing([UniqueIdListing(1, "a"), UniqueIdListing(2, "b")]))
                self.server.end_content()
            case Retr() | Top():
                self.server.send(Response(Status.ERR, "no such message"))
            case _:
                self.server.send(Response(Status.OK, command.verb))

    def events(self) -> list[ClientEvent]:
        found: list[ClientEvent] = []
        while True:
            up = b"".join(self.client.data_to_send())
            for start in range(0, len(up), self.size):
                self.server.receive_data(up[start : start + self.size])
                self.answer()
            down = b"".join(self.server.data_to_send())
            if not up and not down:
                return found
            for start in range(0, len(down), self.size):
                self.client.receive_data(down[start : start + self.size])
                while not isinstance(event := self.client.next_event(), Signal):
                    found.append(event)

    def exchange(self, command: Command) -> list[ClientEvent]:
        self.client.send(command)
        return self.events()


def test_the_greeting_arrives() -> None:
    assert isinstance(Pair().greeting[0], GreetingReceived)


def logged_in(size: int = 65_536) -> Pair:
    pair = Pair(size)
    pair.exchange(Capa())
    pair.exchange(User(name="tim"))
    pair.exchange(Pass(password="secret"))
    assert pair.client.state is pair.server.state is State.TRANSACTION
    return pair


commands = st.one_of(
    st.sampled_from([Stat(), List(), Uidl(), Noop(), Rset()]),
    st.builds(Retr, number=st.integers(1, 6)),
    st.builds(Top, number=st.integers(1, 6), lines=st.integers(0, 9)),
    st.builds(Dele, number=st.integers(1, 6)),
)


@given(st.lists(commands, max_size=12), st.integers(1, 40))
def test_each_command_gets_its_own_answer(sent: list[Command], size: int) -> None:
    pair = logged_in(size)
    for command in sent:
        pair.client.send(command)
    contents: dict[int, bytes] = {}
    answered: list[Command] = []
    for event in pair.events():
        match event:
            case ContentReceived(command, data, ended):
                contents[len(answered)] = contents.get(len(answered), b"") + data
                if ended:
                    answered.append(command)
            case ResponseReceived(command) | ListingReceived(command):
                answered.append(command)
            case _:
                pytest.fail(f"{event} was not asked for")
    assert answered == sent
    for position, content in contents.items():
        command = sent[position]
        assert isinstance(command, Retr | Top)
        message = MESSAGES[command.number - 1]
        assert content == message + (b"" if not message or message.endswith(b"\r\n") else b"\r\n")


def test_listings_arrive() -> None:
    pair = logged_in()
    assert pair.exchange(List()) == [ListingReceived(List(), Listing([ScanListing(1, 5), ScanListing(2, 6)]))]
    assert pair.exchange(Uidl()) == [
        ListingReceived(Uidl(), Listing([UniqueIdListing(1, "a"), UniqueIdListing(2, "b")]))
    ]


@pytest.mark.parametrize("password", ["secret", "wrong"])
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
def test_authentication_exchanges(mechanism: str, password: str) -> None:
    from asyncmail.pop3 import Auth

    pair = Pair()
    (event,) = pair.exchange(Capa())
    assert isinstance(event, CapabilitiesReceived)
    credentials = Credentials(username="tim", password=password)
    (client_side,) = choose(event.capabilities.mechanisms, credentials, encrypted=False, allowed=[mechanism])
    (event,) = pair.exchange(Auth(mechanism=mechanism, initial_response=client_side.initial_response()))
    while isinstance(event, ChallengeReceived):
        (event,) = pair.exchange(AuthResponse(response=client_side.respond(event.challenge)))
    assert isinstance(event, ResponseReceived)
    expected = State.TRANSACTION if password == "secret" else State.AUTHORIZATION
    assert pair.client.state is pair.server.state is expected


def test_tls_starts_on_both_sides_or_on_none() -> None:
    pair = Pair(offer=ServerOffer(stls=True))
    pair.exchange(Stls())
    pair.server.start_tls()
    pair.client.start_tls()
    (event,) = pair.exchange(Capa())
    assert isinstance(event, CapabilitiesReceived)
    assert "STLS" not in event.capabilities
    assert "USER" in event.capabilities


def test_the_session_ends_on_both_sides() -> None:
    pair = logged_in()
    assert pair.exchange(Quit()) == [ResponseReceived(Quit(), Response(Status.OK, "QUIT"))]
    assert pair.client.state is pair.server.state is State.CLOSED


def test_the_package_is_pure() -> None:
    impure = {"asyncio", "anyio", "socket", "ssl", "threading", "subprocess", "time", "logging"}
    program = (
        "import sys; before = set(sys.modules); import asyncmail.pop3; print(*set(sys.modules) - before)"
    )
    root = Path(__file__).parents[2]
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=root
    )
    assert "asyncmail.pop3.client" in result.stdout.split()
    assert not impure & set(result.stdout.split())

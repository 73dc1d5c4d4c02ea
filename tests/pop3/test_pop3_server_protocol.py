"""The server's protocol object: transcripts, fed in every way, and what it makes impossible."""

from __future__ import annotations

import base64
import itertools
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncmail.errors import InputError, LocalProtocolError, PlaintextAfterStartTLS
from asyncmail.pop3 import (
    TRANSITIONS,
    AuthenticationReceived,
    Awaiting,
    Capabilities,
    CommandAnswered,
    CommandReceived,
    CommandRejected,
    ConnectionEnded,
    Dele,
    List,
    Quit,
    Response,
    ResponseCode,
    Retr,
    ServerEvent,
    ServerLimits,
    ServerOffer,
    ServerProtocol,
    Stat,
    State,
    Status,
    Stls,
    Uidl,
    parse_capabilities,
)
from asyncmail.sasl import PasswordAttempt, apop_digest, cram_md5_digest
from asyncmail.wire import Direction, Signal

if TYPE_CHECKING:
    from collections.abc import Iterable

OK = Response(Status.OK)
NO = Response(Status.ERR, "no")
OPEN = ServerOffer(cleartext_login=True, apop=True)


def started(offer: ServerOffer = OPEN, limits: ServerLimits | None = None) -> ServerProtocol:
    server = ServerProtocol(offer=offer, limits=limits)
    server.send(Response(Status.OK, "ready"))
    server.data_to_send()
    return server


def logged_in(limits: ServerLimits | None = None) -> ServerProtocol:
    server = started(limits=limits)
    give(server, b"USER tim\r\n")
    give(server, b"PASS secret\r\n")
    server.send(OK)
    server.data_to_send()
    assert server.state is State.TRANSACTION
    return server


def give(server: ServerProtocol, data: bytes) -> ServerEvent:
    """Feed `data` and return the next event, which must be there."""
    server.receive_data(data)
    event = server.next_event()
    assert not isinstance(event, Signal)
    return event


def output(server: ServerProtocol) -> bytes:
    return b"".join(server.data_to_send())


def rejection(server: ServerProtocol, data: bytes) -> str:
    event = give(server, data)
    assert isinstance(event, CommandRejected)
    assert output(server).endswith(event.response.encode())
    return event.response.text


# --- greeting


def test_the_server_speaks_first() -> None:
    server = ServerProtocol(offer=ServerOffer(apop=True, hostname="pop.example"))
    server.receive_data(b"STAT\r\n")
    assert server.next_event() is Signal.PAUSED
    assert server.state is State.GREETING
    server.send(Response(Status.OK, "ready"))
    greeting = output(server)
    assert greeting.startswith(b"+OK ready <")
    assert greeting.endswith(b"@pop.example>\r\n")
    assert isinstance(server.next_event(), CommandRejected)


def test_the_greeting_may_be_bare_or_without_invitation_to_apop() -> None:
    server = ServerProtocol(offer=ServerOffer(apop=True))
    server.send(OK)
    assert output(server).startswith(b"+OK <")
    server = ServerProtocol()
    server.send(Response(Status.OK, "hi"))
    assert output(server) == b"+OK hi\r\n"


def test_a_server_may_refuse_at_once() -> None:
    server = ServerProtocol()
    server.send(Response(Status.ERR, "too many connections", ResponseCode.SYS_TEMP))
    assert output(server) == b"-ERR [SYS/TEMP] too many connections\r\n"
    assert server.state is State.CLOSED
    assert server.next_event() is Signal.PAUSED
    assert server.awaiting is Awaiting.NOTHING


# --- login


def test_name_and_password() -> None:
    server = started()
    assert server.awaiting is Awaiting.CREDENTIALS
    assert isinstance(give(server, b"USER tim\r\n"), CommandAnswered)
    assert output(server) == b"+OK\r\n"
    assert server.state is State.PASSWORD
    event = give(server, b"PASS with blank \r\n")
    assert event == AuthenticationReceived(
        PasswordAttempt(mechanism="USER", username="tim", password="with blank ")
    )
    assert "blank" not in repr(event)
    assert server.next_event() is Signal.PAUSED
    server.send(Response(Status.ERR, "wrong", ResponseCode.AUTH))
    assert output(server) == b"-ERR [AUTH] wrong\r\n"
    assert server.state is State.AUTHORIZATION
    give(server, b"USER tim\r\n")
    give(server, b"PASS secret\r\n")
    server.send(OK)
    assert server.state is State.TRANSACTION
    assert server.awaiting is Awaiting.COMMAND


def test_apop() -> None:
    server = ServerProtocol(offer=OPEN)
    server.send(OK)
    timestamp = output(server)[4:-2].decode()
    event = give(server, f"APOP tim {apop_digest(timestamp, 'secret')}\r\n".encode())
    assert isinstance(event, AuthenticationReceived)
    assert event.attempt.mechanism == "APOP"
    assert event.attempt.verify("secret")
    assert not event.attempt.verify("wrong")
    server.send(NO)
    assert server.state is State.AUTHORIZATION
    assert "32 hexadecimal digits" in rejection(server, b"APOP tim 1234\r\n")
    assert server.state is State.AUTHORIZATION
    assert server.in_flight == ()


def test_plain_at_once_and_after_a_challenge() -> None:
    response = base64.b64encode(b"\0tim\0secret")
    expected = AuthenticationReceived(PasswordAttempt(mechanism="PLAIN", username="tim", password="secret"))
    server = started()
    assert give(server, b"AUTH PLAIN " + response + b"\r\n") == expected
    server.send(OK)
    assert server.state is State.TRANSACTION
    server = started()
    assert isinstance(give(server, b"auth plain\r\n"), CommandAnswered)
    assert output(server) == b"+ \r\n"
    assert server.state is State.AUTHENTICATION
    assert server.awaiting is Awaiting.CREDENTIALS
    assert give(server, response + b"\r\n") == expected
    server.send(OK)
    assert server.state is State.TRANSACTION


def test_an_exchange_of_several_challenges() -> None:
    server = started()
    give(server, b"AUTH LOGIN\r\n")
    assert output(server) == b"+ " + base64.b64encode(b"Username:") + b"\r\n"
    give(server, base64.b64encode(b"tim") + b"\r\n")
    assert output(server) == b"+ " + base64.b64encode(b"Password:") + b"\r\n"
    event = give(server, base64.b64encode(b"secret") + b"\r\n")
    assert event == AuthenticationReceived(
        PasswordAttempt(mechanism="LOGIN", username="tim", password="secret")
    )


def test_cram_md5() -> None:
    server = started(ServerOffer())
    give(server, b"AUTH CRAM-MD5\r\n")
    challenge = base64.b64decode(output(server)[2:])
    digest = cram_md5_digest(challenge, "secret")
    event = give(server, base64.b64encode(f"tim {digest}".encode()) + b"\r\n")
    assert isinstance(event, AuthenticationReceived)
    assert event.attempt.verify("secret")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"*\r\n", "the exchange was given up"),
        (b"!!!\r\n", "a challenge or response is not base64"),
        (b"aGk=\r\n", "the response does not have three fields"),
        (b"x" * 200 + b"\r\n", "the line is too long"),
    ],
)
def test_an_exchange_that_fails(line: bytes, problem: str) -> None:
    server = started(limits=ServerLimits(authentication_line=100))
    give(server, b"AUTH PLAIN\r\n")
    assert rejection(server, line) == problem
    assert server.state is State.AUTHORIZATION
    assert server.in_flight == ()
    assert isinstance(give(server, b"USER tim\r\n"), CommandAnswered)


def test_a_mechanism_may_refuse_the_initial_response() -> None:
    server = started()
    assert "answered before it was challenged" in rejection(server, b"AUTH CRAM-MD5 aGk=\r\n")
    assert server.state is State.AUTHORIZATION
    assert "not base64" in rejection(server, b"AUTH PLAIN ?\r\n")


@pytest.mark.parametrize(
    ("offer", "line", "problem"),
    [
        (ServerOffer(), b"USER tim\r\n", "passwords are not taken without TLS"),
        (ServerOffer(), b"AUTH PLAIN\r\n", "the mechanism is not offered"),
        (ServerOffer(mechanisms=("PLAIN",)), b"AUTH CRAM-MD5\r\n", "the mechanism is not offered"),
        (ServerOffer(), b"AUTH SCRAM-SHA-1\r\n", "the mechanism is not offered"),
        (ServerOffer(), b"APOP tim 0\r\n", "APOP is not offered"),
        (ServerOffer(), b"STLS\r\n", "TLS is not available"),
        (ServerOffer(stls=True, encrypted=True), b"STLS\r\n", "TLS is active already"),
    ],
)
def test_what_is_not_offered_is_refused(offer: ServerOffer, line: bytes, problem: str) -> None:
    server = started(offer)
    assert rejection(server, line) == problem
    assert server.state is State.AUTHORIZATION


def test_an_offer_is_checked_when_it_is_made() -> None:
    with pytest.raises(InputError):
        ServerOffer(hostname="two words")
    with pytest.raises(InputError):
        ServerOffer(mechanisms=("ROT13",))


# --- capabilities


def capa(server: ServerProtocol) -> Capabilities:
    assert isinstance(give(server, b"CAPA\r\n"), CommandAnswered)
    answer = output(server)
    assert answer.startswith(b"+OK\r\n")
    assert answer.endswith(b"\r\n.\r\n")
    capabilities = parse_capabilities(answer[5:-3])
    assert capabilities == server.capabilities
    return capabilities


def test_capabilities_follow_the_session() -> None:
    more = Capabilities({"IMPLEMENTATION": ("asyncmail",), "EXPIRE": ("NEVER",)})
    server = started(ServerOffer(stls=True, more=more))
    always = {"TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING", "IMPLEMENTATION", "EXPIRE", "SASL"}
    assert set(capa(server)) == always | {"STLS"}
    assert capa(server).mechanisms == ("CRAM-MD5",)
    assert not server.encrypted
    assert give(server, b"STLS\r\n") == CommandReceived(Stls())
    server.send(OK)
    server.data_to_send()
    server.start_tls()
    assert server.encrypted
    assert set(capa(server)) == always | {"USER"}
    assert capa(server).mechanisms == ("PLAIN", "LOGIN", "CRAM-MD5")
    give(server, b"USER tim\r\n")
    give(server, b"PASS secret\r\n")
    server.send(OK)
    server.data_to_send()
    assert set(capa(server)) == always


def test_no_mechanism_no_sasl() -> None:
    assert "SASL" not in capa(started(ServerOffer(mechanisms=("PLAIN",))))


# --- transaction


def test_a_command_waits_for_its_answer_whatever_else_has_come() -> None:
    server = logged_in()
    assert give(server, b"STAT\r\nDELE 1\r\n") == CommandReceived(Stat())
    assert server.next_event() is Signal.PAUSED
    assert server.in_flight == (Stat(),)
    assert server.awaiting is Awaiting.NOTHING
    server.send(Response(Status.OK, "2 320"))
    assert output(server) == b"+OK 2 320\r\n"
    assert server.next_event() == CommandReceived(Dele(number=1))
    server.send(NO)
    assert server.next_event() is Signal.NEED_DATA


def test_an_answer_of_several_lines() -> None:
    server = logged_in()
    give(server, b"RETR 1\r\n")
    server.send(OK)
    server.send_content(b".dot\r\nsplit\r\n")
    assert server.next_event() is Signal.PAUSED
    server.send_content(b".again\r\nno end")
    server.end_content()
    assert output(server) == b"+OK\r\n..dot\r\nsplit\r\n..again\r\nno end\r\n.\r\n"
    assert server.next_event() is Signal.NEED_DATA


@pytest.mark.parametrize("line", [b"LIST\r\n", b"UIDL\r\n", b"TOP 1 0\r\n"])
def test_a_refusal_has_one_line(line: bytes) -> None:
    server = logged_in()
    give(server, line)
    server.send(NO)
    assert output(server) == b"-ERR no\r\n"
    assert server.next_event() is Signal.NEED_DATA


@pytest.mark.parametrize("command", [List(number=1), Uidl(number=1)])
def test_listings_of_one_message_have_one_line(command: List | Uidl) -> None:
    server = logged_in()
    assert give(server, command.encode()) == CommandReceived(command)
    server.send(Response(Status.OK, "1 5"))
    assert server.next_event() is Signal.NEED_DATA


def test_answers_come_in_order_and_once() -> None:
    server = logged_in()
    with pytest.raises(LocalProtocolError, match="no command waits"):
        server.send(OK)
    for forbidden in (lambda: server.send_content(b"x"), server.end_content):
        with pytest.raises(LocalProtocolError, match="no answer of several lines"):
            forbidden()
    give(server, b"RETR 1\r\n")
    with pytest.raises(LocalProtocolError, match="challenges"):
        server.send(Response(Status.CHALLENGE))
    server.send(OK)
    with pytest.raises(LocalProtocolError, match="no command waits"):
        server.send(OK)
    server.end_content()
    assert output(server) == b"+OK\r\n.\r\n"


@pytest.mark.parametrize("response", [OK, NO])
def test_quit_leads_to_update_and_out(response: Response) -> None:
    server = logged_in()
    assert give(server, b"QUIT\r\nSTAT\r\n") == CommandReceived(Quit())
    assert server.state is State.UPDATE
    server.send(response)
    assert server.state is State.CLOSED
    assert server.next_event() is Signal.PAUSED


def test_quit_without_login_updates_nothing() -> None:
    server = started()
    assert give(server, b"QUIT\r\n") == CommandReceived(Quit())
    assert server.state is State.AUTHORIZATION
    server.send(OK)
    assert server.state is State.CLOSED


LINES = [
    b"USER tim\r\n",
    b"PASS x\r\n",
    b"APOP tim " + b"0" * 32 + b"\r\n",
    b"AUTH PLAIN\r\n",
    b"CAPA\r\n",
    b"STLS\r\n",
    b"STAT\r\n",
    b"LIST\r\n",
    b"UIDL\r\n",
    b"RETR 1\r\n",
    b"TOP 1 1\r\n",
    b"DELE 1\r\n",
    b"NOOP\r\n",
    b"RSET\r\n",
    b"QUIT\r\n",
]


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("state", [State.AUTHORIZATION, State.PASSWORD, State.TRANSACTION])
def test_the_table_says_what_is_legal(state: State, line: bytes) -> None:
    if state is State.TRANSACTION:
        server = logged_in()
    else:
        server = started(ServerOffer(cleartext_login=True, apop=True, stls=True))
        if state is State.PASSWORD:
            give(server, b"USER tim\r\n")
    event = give(server, line)
    legal = line.split()[0].decode() in {command.verb for command in TRANSITIONS[state]}
    assert isinstance(event, CommandRejected) is not legal
    if not legal:
        assert "is not legal in the state" in output(server).decode()
        assert server.state is state


# --- how it is fed

SESSION = b"CAPA\r\nUSER tim\r\nPASS secret\r\nSTAT\r\nretr 1\nnonsense\r\nRETR 0\r\nNOOP\r\nQUIT\r\n"


def drive(server: ServerProtocol, pieces: Iterable[bytes]) -> tuple[list[ServerEvent], bytes]:
    """Answer +OK to everything, content where it is due."""
    found: list[ServerEvent] = []
    for data in pieces:
        server.receive_data(data)
        while not isinstance(event := server.next_event(), Signal):
            found.append(event)
            if isinstance(event, ConnectionEnded):
                break
            if server.in_flight:
                (command,) = server.in_flight
                server.send(OK)
                if isinstance(command, Retr):
                    server.send_content(b"x\r\n")
                    server.end_content()
    return found, output(server)


@given(st.sets(st.integers(0, len(SESSION))))
def test_any_split_of_a_session_gives_the_same_events(cuts: set[int]) -> None:
    marks = sorted(cuts | {0, len(SESSION)})
    pieces = [SESSION[a:b] for a, b in itertools.pairwise(marks)]
    assert drive(started(), pieces) == drive(started(), [SESSION])


@given(st.lists(st.binary(max_size=80)))
def test_any_octets_are_events(pieces: list[bytes]) -> None:
    drive(started(), pieces)
    drive(logged_in(), pieces)


def test_the_end_of_a_connection() -> None:
    server = logged_in()
    server.receive_data(b"STA")
    server.receive_eof()
    assert server.next_event() == ConnectionEnded()
    assert server.next_event() == ConnectionEnded()


# --- what the core makes impossible


def test_plaintext_behind_stls_is_refused() -> None:
    server = started(ServerOffer(stls=True))
    give(server, b"STLS\r\nUSER tim\r\n")
    server.send(OK)
    assert server.next_event() is Signal.PAUSED
    with pytest.raises(PlaintextAfterStartTLS):
        server.start_tls()
    assert server.state is State.ERROR
    assert server.next_event() is Signal.PAUSED


def test_tls_starts_after_stls_only() -> None:
    with pytest.raises(LocalProtocolError):
        started().start_tls()


def test_a_line_without_end_is_refused_once_and_dropped() -> None:
    server = logged_in(ServerLimits(command_line=20))
    assert rejection(server, b"x" * 30) == "the line is too long"
    server.receive_data(b"y" * 1000)
    assert server.next_event() is Signal.NEED_DATA
    assert len(server._buffer) == 0
    assert give(server, b"zzz\r\nSTAT\r\n") == CommandReceived(Stat())


def test_a_client_that_only_errs_is_sent_away() -> None:
    server = logged_in(ServerLimits(errors=2))
    rejection(server, b"XYZZY\r\n")
    rejection(server, b"STLS\r\n")
    assert server.state is State.TRANSACTION
    assert rejection(server, b"RETR x\r\n") == "too many errors"
    assert server.state is State.CLOSED


def test_failed_logins_are_errors() -> None:
    server = started(limits=ServerLimits(errors=1))
    for closed in (False, True):
        give(server, b"USER tim\r\n")
        give(server, b"PASS wrong\r\n")
        server.send(NO)
        assert (server.state is State.CLOSED) is closed


def test_refusals_by_the_maildrop_are_no_errors() -> None:
    server = logged_in(ServerLimits(errors=0))
    for _ in range(3):
        give(server, b"RETR 9\r\n")
        server.send(NO)
    assert server.state is State.TRANSACTION


def test_a_session_has_an_end() -> None:
    server = logged_in(ServerLimits(commands=5))
    for _ in range(3):
        assert isinstance(give(server, b"NOOP\r\n"), CommandAnswered)
    assert rejection(server, b"NOOP\r\n") == "too many commands"
    assert server.state is State.CLOSED


def test_what_did_not_leave_ends_the_session() -> None:
    server = logged_in()
    give(server, b"STAT\r\nSTAT\r\n")
    server.send_failed()
    server.send(OK)
    assert server.state is State.ERROR
    assert server.next_event() is Signal.PAUSED


# --- transcripts for people


def test_a_trace_shows_everything_but_secrets_and_content() -> None:
    lines: list[tuple[Direction, str]] = []
    server = ServerProtocol(offer=ServerOffer(cleartext_login=True), limits=ServerLimits(command_line=64))
    server.trace = lambda direction, line: lines.append((direction, line))
    server.send(Response(Status.OK, "hi"))
    drive(
        server,
        [b"AUTH PLAIN\r\naHVzaA==\r\nUSER tim\r\nhush\r\nPASS hush\r\nRETR 1\r\n" + b"hush" * 30 + b"\r\n"],
    )
    assert [line for direction, line in lines if direction is Direction.RECEIVED] == [
        "AUTH PLAIN",
        "****",
        "USER tim",
        "<a line of 6 octets>",
        "PASS ****",
        "RETR 1",
        "<a line of more than 64 octets>",
    ]
    assert [line for direction, line in lines if direction is Direction.SENT] == [
        "+OK hi",
        "+ ****",
        "-ERR [AUTH] the response does not have three fields",
        "+OK",
        "-ERR unknown command",
        "+OK",
        "+OK",
        "<3 octets of content>",
        "-ERR the line is too long",
    ]


def test_repr_shows_state_and_counts() -> None:
    server = logged_in()
    assert repr(server) == "<pop3.ServerProtocol transaction, nothing in hand, 0 unread>"
    give(server, b"STAT\r\nNO")
    assert repr(server) == "<pop3.ServerProtocol transaction, STAT in hand, 2 unread>"

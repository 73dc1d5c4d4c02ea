"""Client and server mechanisms, each against the octets of its specification, and each against the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncmail.errors import AuthenticationError
from asyncmail.sasl import (
    CLIENT_MECHANISMS,
    SERVER_MECHANISMS,
    Attempt,
    Challenge,
    CramMD5Client,
    CramMD5Server,
    Credentials,
    LoginClient,
    LoginServer,
    PlainClient,
    PlainServer,
    make_timestamp,
)

if TYPE_CHECKING:
    from asyncmail.sasl import ClientMechanism

TIM = Credentials(username="tim", password="tanstaaftanstaaf")
CHALLENGE = "<1896.697170952@postoffice.reston.mci.net>"

text = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1)


def exchange(client: ClientMechanism, *, hold_back: bool = False) -> Attempt:
    """What the server side makes of what the client side sends."""
    server = SERVER_MECHANISMS[client.name](make_timestamp("localhost"))
    step = server.start(None if hold_back else client.initial_response())
    while isinstance(step, Challenge):
        step = server.respond(client.respond(step.data))
    assert client.is_complete
    return step


@pytest.mark.parametrize("name", sorted(CLIENT_MECHANISMS))
@pytest.mark.parametrize("hold_back", [False, True])
@given(username=text, password=text)
def test_each_side_understands_the_other(name: str, hold_back: bool, username: str, password: str) -> None:
    client = CLIENT_MECHANISMS[name](Credentials(username=username, password=password))
    attempt = exchange(client, hold_back=hold_back)
    assert attempt.mechanism == name
    assert attempt.username == username
    assert attempt.authorization_id == ""
    assert attempt.password in (None, password)
    assert attempt.verify(password)
    assert not attempt.verify(password + "x")


def test_both_sides_know_the_same_mechanisms() -> None:
    assert set(CLIENT_MECHANISMS) == set(SERVER_MECHANISMS)
    for name, client in CLIENT_MECHANISMS.items():
        server = SERVER_MECHANISMS[name]
        assert name == client.name == server.name
        assert client.needs_encryption is server.needs_encryption


def test_plain_with_an_authorization_identity() -> None:
    client = PlainClient(Credentials(username="Kurt", password="xipj3plmq", authorization_id="Ursel"))
    assert client.initial_response() == b"Ursel\0Kurt\0xipj3plmq"  # RFC 4616 §4
    assert exchange(client).authorization_id == "Ursel"


def test_plain_answers_one_empty_challenge() -> None:
    client = PlainClient(TIM)
    assert not client.is_complete
    assert client.respond(b"") == b"\0tim\0tanstaaftanstaaf"
    assert client.is_complete
    with pytest.raises(AuthenticationError, match=r"PLAIN: .*where none belongs"):
        client.respond(b"")


def test_plain_does_not_answer_a_challenge_with_text() -> None:
    with pytest.raises(AuthenticationError, match="where none belongs"):
        PlainClient(TIM).respond(b"Password:")


@pytest.mark.parametrize(
    ("response", "problem"),
    [
        (b"", "three fields"),
        (b"\0tim", "three fields"),
        (b"\0tim\0secret\0", "three fields"),
        (b"\0tim\0sec\0ret", "three fields"),
        (b"\0\0secret", "username is empty"),
        (b"\0tim\0", "password is empty"),
        (b"\0tim\n\0secret", "control character"),
        (b"\0tim\0sec\x1bret", "control character"),
        (b"\0tim\0\xff", "not UTF-8"),
    ],
)
def test_plain_that_is_not_plain(response: bytes, problem: str) -> None:
    with pytest.raises(AuthenticationError, match=problem):
        PlainServer(CHALLENGE).start(response)


def test_login_takes_no_notice_of_the_prompts() -> None:
    client = LoginClient(TIM)
    assert client.initial_response() is None
    assert client.respond(b"Benutzername?") == b"tim"
    assert not client.is_complete
    assert client.respond(b"") == b"tanstaaftanstaaf"
    assert client.is_complete
    with pytest.raises(AuthenticationError, match="third prompt"):
        client.respond(b"Password:")


def test_login_server() -> None:
    server = LoginServer(CHALLENGE)
    assert server.start(None) == Challenge(b"Username:")
    assert server.respond(b"tim") == Challenge(b"Password:")
    attempt = server.respond(b"secret")
    assert isinstance(attempt, Attempt)
    assert (attempt.username, attempt.password) == ("tim", "secret")


def test_login_with_the_username_as_initial_response() -> None:
    server = LoginServer(CHALLENGE)
    assert server.start(b"tim") == Challenge(b"Password:")
    assert isinstance(server.respond(b"secret"), Attempt)


@pytest.mark.parametrize(
    ("username", "password"),
    [(b"", b"secret"), (b"tim", b""), (b"t\0m", b"x"), (b"\xff", b"x"), (b"tim", b"\xff")],
)
def test_login_that_is_not_login(username: bytes, password: bytes) -> None:
    server = LoginServer(CHALLENGE)
    with pytest.raises(AuthenticationError):
        server.start(username)
        server.respond(password)


def test_cram_md5_as_in_rfc_2195() -> None:
    client, server = CramMD5Client(TIM), CramMD5Server(CHALLENGE)
    assert client.initial_response() is None
    assert server.start(None) == Challenge(CHALLENGE.encode())
    response = client.respond(CHALLENGE.encode())
    assert response == b"tim b913a602c7eda7a495b4e6e7334d3890"
    assert server.respond(response).verify("tanstaaftanstaaf")


def test_cram_md5_answers_one_challenge_that_is_one() -> None:
    client = CramMD5Client(TIM)
    with pytest.raises(AuthenticationError, match="challenge is empty"):
        client.respond(b"")
    client.respond(b"<a@b>")
    with pytest.raises(AuthenticationError, match="second challenge"):
        client.respond(b"<a@b>")


def test_cram_md5_has_no_initial_response() -> None:
    with pytest.raises(AuthenticationError, match="before it was challenged"):
        CramMD5Server(CHALLENGE).start(b"")


@pytest.mark.parametrize(
    "response",
    [
        b"",
        b"tim",
        b"b913a602c7eda7a495b4e6e7334d3890",
        b" b913a602c7eda7a495b4e6e7334d3890",
        b"tim b913",
        b"\xff x",
    ],
)
def test_cram_md5_that_is_not_cram_md5(response: bytes) -> None:
    server = CramMD5Server(CHALLENGE)
    server.start(None)
    with pytest.raises(AuthenticationError):
        server.respond(response)


@given(data=st.binary(), name=st.sampled_from(sorted(SERVER_MECHANISMS)))
def test_a_server_mechanism_raises_one_error_only(data: bytes, name: str) -> None:
    server = SERVER_MECHANISMS[name](CHALLENGE)
    try:
        server.start(data)
        server.respond(data)
    except AuthenticationError as error:
        assert error.mechanism == name


def test_nothing_secret_shows() -> None:
    client = LoginClient(TIM)
    assert repr(client) == "<LoginClient 'tim' incomplete>"
    client.respond(b"")
    client.respond(b"")
    assert repr(client) == "<LoginClient 'tim' complete>"
    assert repr(LoginServer(CHALLENGE)) == "<LoginServer>"

"""Command lines, both ways."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncmail.errors import AuthenticationError, InputError, LocalProtocolError, RemoteProtocolError
from asyncmail.pop3 import (
    Answer,
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
    check_numbers,
    parse_command,
)

BOTH_WAYS: list[tuple[Command, bytes]] = [
    (User(name="mrose"), b"USER mrose\r\n"),
    (User(name="first last@example.com"), b"USER first last@example.com\r\n"),
    (User(name="jürgen"), "USER jürgen\r\n".encode()),
    (Pass(password="tanstaaf"), b"PASS tanstaaf\r\n"),
    (Pass(password=" with  blanks "), b"PASS  with  blanks \r\n"),
    (
        Apop(name="mrose", digest="c4c9334bac560ecc979e58001b3e22fb"),
        b"APOP mrose c4c9334bac560ecc979e58001b3e22fb\r\n",
    ),
    (Apop(name="two words", digest="d"), b"APOP two words d\r\n"),
    (Auth(mechanism="CRAM-MD5"), b"AUTH CRAM-MD5\r\n"),
    (Auth(mechanism="PLAIN", initial_response=b"\0tim\0secret"), b"AUTH PLAIN AHRpbQBzZWNyZXQ=\r\n"),
    (Auth(mechanism="EXTERNAL", initial_response=b""), b"AUTH EXTERNAL =\r\n"),
    (Capa(), b"CAPA\r\n"),
    (Stls(), b"STLS\r\n"),
    (Stat(), b"STAT\r\n"),
    (List(), b"LIST\r\n"),
    (List(number=2), b"LIST 2\r\n"),
    (Retr(number=1), b"RETR 1\r\n"),
    (Dele(number=4_000_000_000), b"DELE 4000000000\r\n"),
    (Noop(), b"NOOP\r\n"),
    (Rset(), b"RSET\r\n"),
    (Top(number=1, lines=10), b"TOP 1 10\r\n"),
    (Top(number=7, lines=0), b"TOP 7 0\r\n"),
    (Uidl(), b"UIDL\r\n"),
    (Uidl(number=3), b"UIDL 3\r\n"),
    (Quit(), b"QUIT\r\n"),
]

TOLERATED: list[tuple[bytes, Command]] = [
    (b"noop\n", Noop()),
    (b"NooP  \r\n", Noop()),
    (b"retr  7 \r\n", Retr(number=7)),
    (b"top 1  2\r\n", Top(number=1, lines=2)),
    (b"LIST \r\n", List()),
    (b"RETR 007\r\n", Retr(number=7)),
    (b"auth plain\r\n", Auth(mechanism="PLAIN")),
    (b"user  tim \r\n", User(name="tim")),
]

NO_COMMANDS = [
    (b"\r\n", "unknown command"),
    (b"XTND\r\n", "unknown command"),
    (b"GET / HTTP/1.1\r\n", "unknown command"),
    (b"RETR\r\n", "RETR takes a number"),
    (b"RETR one\r\n", "RETR takes a number"),
    (b"RETR -1\r\n", "RETR takes a number"),
    (b"RETR 0\r\n", "message numbers begin at 1, not 0"),
    (b"RETR 1 2\r\n", "RETR takes a number"),
    (b"RETR 11111111111\r\n", "RETR takes a number"),
    ("RETR \u0661\r\n".encode(), "RETR takes a number"),
    (b"LIST 0\r\n", "message numbers begin at 1, not 0"),
    (b"UIDL x\r\n", "UIDL takes a number"),
    (b"TOP 1\r\n", "TOP takes 2 numbers"),
    (b"TOP 0 1\r\n", "message numbers begin at 1, not 0"),
    (b"STAT 1\r\n", "STAT takes no argument"),
    (b"USER\r\n", "USER takes a name"),
    (b"USER  \r\n", "USER takes a name"),
    (b"PASS\r\n", "PASS takes a password"),
    (b"APOP mrose\r\n", "APOP takes a name and a digest"),
    (b"AUTH\r\n", "AUTH takes the name of a mechanism"),
    (b"AUTH pl\xc3\xa4in\r\n", "AUTH takes the name of a mechanism"),
    (b"NOOP\0\r\n", "the line holds a control character"),
    (b"PASS\tsecret\r\n", "the line holds a control character"),
    (b"USER a\rb\r\n", "the line holds a control character"),
    (b"USER \xff\r\n", "the line is not UTF-8"),
]


@pytest.mark.parametrize(("command", "octets"), BOTH_WAYS)
def test_encode_and_parse(command: Command, octets: bytes) -> None:
    assert command.encode() == octets
    assert parse_command(octets) == command


@pytest.mark.parametrize(("octets", "command"), TOLERATED)
def test_what_clients_get_wrong_is_understood(octets: bytes, command: Command) -> None:
    assert parse_command(octets) == command


@pytest.mark.parametrize(("octets", "problem"), NO_COMMANDS)
def test_anything_else_is_no_command(octets: bytes, problem: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        parse_command(octets)
    assert caught.value.problem == problem


@given(
    st.one_of(
        st.binary(max_size=40), st.sampled_from([o for _, o in BOTH_WAYS]).map(lambda o: o[:-3] + b"\0\r\n")
    )
)
def test_a_line_is_parsed_or_refused_and_never_anything_else(junk: bytes) -> None:
    try:
        parse_command(junk)
    except (RemoteProtocolError, AuthenticationError) as error:
        assert str(error).isprintable()


def test_an_initial_response_that_is_not_base64_is_a_failed_authentication() -> None:
    with pytest.raises(AuthenticationError):
        parse_command(b"AUTH PLAIN !!!\r\n")


INJECTIONS = ["a\r\nDELE 1", "a\nDELE 1", "a\rDELE 1", "a\0", "a\x7f", "a\tb"]


@pytest.mark.parametrize("text", INJECTIONS)
@pytest.mark.parametrize(
    "make",
    [
        lambda text: User(name=text),
        lambda text: Pass(password=text),
        lambda text: Apop(name=text, digest="d"),
        lambda text: Apop(name="n", digest=text),
    ],
)
def test_no_argument_can_end_the_line(make, text: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(LocalProtocolError) as caught:
        make(text).encode()
    assert "control character" in str(caught.value)
    if not isinstance(make("x"), Pass):
        return
    assert "DELE" not in str(caught.value)


@pytest.mark.parametrize("mechanism", ["", "PLAIN\r\nQUIT", "PL AIN", "X" * 21])
def test_a_mechanism_is_a_word(mechanism: str) -> None:
    with pytest.raises(InputError):
        Auth(mechanism=mechanism)


def test_a_password_that_cannot_be_encoded_does_not_show() -> None:
    with pytest.raises(LocalProtocolError) as caught:
        Pass(password="hush\ud800").encode()
    assert "hush" not in str(caught.value)


@given(st.binary(max_size=300))
def test_a_response_of_an_exchange_stays_on_its_line(data: bytes) -> None:
    line = AuthResponse(response=data).encode()
    assert line.count(b"\n") == line.count(b"\r") == 1
    assert line.endswith(b"\r\n")


def test_an_exchange_can_be_given_up() -> None:
    assert AuthResponse(response=None).encode() == b"*\r\n"
    assert AuthResponse(response=None).redacted() == "*"


def test_a_long_initial_response_waits_for_the_challenge() -> None:
    long = Auth(mechanism="PLAIN", initial_response=b"x" * 200)
    assert not long.fits
    with pytest.raises(LocalProtocolError, match="255 octets"):
        long.encode()
    assert Auth(mechanism="PLAIN", initial_response=b"x" * 100).fits


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: Retr(number=0), "message numbers begin at 1, not 0"),
        (lambda: Uidl(number=-1), "message numbers begin at 1, not -1"),
        (lambda: Top(number=0, lines=1), "message numbers begin at 1, not 0"),
        (lambda: Top(number=1, lines=-1), "TOP takes a number of lines, not -1"),
        (lambda: Top(number=1, lines=1.5), "TOP takes a number of lines, not 1.5"),
        (lambda: Retr(number=1.5), "1.5 is no message number"),
        (lambda: Dele(number="1"), "'1' is no message number"),
        (lambda: List(number="1\r\nDELE 2"), "'1\\r\\nDELE 2' is no message number"),
        (lambda: check_numbers([2, None, 0]), "None is no message number"),
        (lambda: check_numbers([2, 0, -1]), "message numbers begin at 1, not -1"),
    ],
)
def test_numbers_have_their_range(make, error: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError) as caught:
        make()
    assert caught.value.problem == error
    assert caught.value.cure


def test_what_is_a_number_only_now_and_then() -> None:
    class Array:
        def __index__(self) -> int:
            raise TypeError("only arrays of one element can be an index")

        def __repr__(self) -> str:
            return "array([1, 2])"

    with pytest.raises(InputError, match=r"array\(\[1, 2\]\)\] is no message number"):
        check_numbers([1, Array()])


def test_no_numbers_are_fine() -> None:
    check_numbers([])


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (Pass(password="hush"), "PASS ****"),
        (Apop(name="tim", digest="hush"), "APOP tim ****"),
        (Auth(mechanism="PLAIN", initial_response=b"hush"), "AUTH PLAIN ****"),
        (Auth(mechanism="PLAIN"), "AUTH PLAIN"),
        (AuthResponse(response=b"hush"), "****"),
        (User(name="tim"), "USER tim"),
        (Retr(number=3), "RETR 3"),
    ],
)
def test_no_secret_is_shown(command: Command, line: str) -> None:
    assert command.redacted() == line
    assert "hush" not in repr(command)


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        (List(), Answer.SCAN_LISTING),
        (List(number=1), Answer.LINE),
        (Uidl(), Answer.UNIQUE_ID_LISTING),
        (Uidl(number=1), Answer.LINE),
        (Retr(number=1), Answer.CONTENT),
        (Top(number=1, lines=0), Answer.CONTENT),
        (Capa(), Answer.CAPABILITIES),
        (Stat(), Answer.LINE),
        (Dele(number=1), Answer.LINE),
    ],
)
def test_what_follows_a_positive_answer(command: Command, answer: Answer) -> None:
    assert command.answer is answer

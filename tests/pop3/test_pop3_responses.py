"""Response lines, both ways."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncmail.errors import LocalProtocolError, RemoteProtocolError
from asyncmail.pop3 import Response, ResponseCode, Status, parse_response

OK, ERR, CHALLENGE = Status.OK, Status.ERR, Status.CHALLENGE

BOTH_WAYS = [
    (Response(OK), b"+OK\r\n"),
    (Response(OK, "2 320"), b"+OK 2 320\r\n"),
    (Response(OK, "dewey POP3 server signing off"), b"+OK dewey POP3 server signing off\r\n"),
    (Response(ERR), b"-ERR\r\n"),
    (Response(ERR, "no such message"), b"-ERR no such message\r\n"),
    (Response(ERR, "locked", "IN-USE"), b"-ERR [IN-USE] locked\r\n"),
    (Response(ERR, "", "SYS/TEMP"), b"-ERR [SYS/TEMP]\r\n"),
    (Response(OK, "welcome", "X-NEW/DEEPER/1"), b"+OK [X-NEW/DEEPER/1] welcome\r\n"),
    (Response(OK, "größer"), "+OK größer\r\n".encode()),
    (Response(CHALLENGE, "PDE4OTY+"), b"+ PDE4OTY+\r\n"),
    (Response(CHALLENGE), b"+ \r\n"),
]

TOLERATED = [
    (b"+ok lower case\r\n", Response(OK, "lower case")),
    (b"-Err [in-use] mixed\r\n", Response(ERR, "mixed", "IN-USE")),
    (b"+OK bare LF\n", Response(OK, "bare LF")),
    (b"+OK\ttab\r\n", Response(OK, "tab")),
    (b"+OK   blanks\r\n", Response(OK, "blanks")),
    (b"+OK \r\n", Response(OK)),
    (b"+\r\n", Response(CHALLENGE)),
    (b"+OK [not a code\r\n", Response(OK, "[not a code")),
    (b"+OK [nor] this\r\n", Response(OK, "this", "NOR")),
    (b"+OK []\r\n", Response(OK, "[]")),
    (b"-ERR caf\xe9\r\n", Response(ERR, "caf\\xe9")),
    (b"-ERR bell\x07\x1b[31m\r\n", Response(ERR, "bell\\x07\\x1b[31m")),
]

NO_RESPONSES = [
    b"\r\n",
    b"+OKAY\r\n",
    b"+OK\r\r\n",
    b"-ERRor\r\n",
    b"220 smtp.example ESMTP\r\n",
    b"* OK IMAP4rev1\r\n",
    b" +OK\r\n",
    b"+OK without end",
    b"+x\r\n",
    b"OK\r\n",
]


@pytest.mark.parametrize(("response", "octets"), BOTH_WAYS)
def test_encode_and_parse(response: Response, octets: bytes) -> None:
    assert response.encode() == octets
    assert parse_response(octets) == response


@pytest.mark.parametrize(("octets", "response"), TOLERATED)
def test_what_servers_get_wrong_is_understood(octets: bytes, response: Response) -> None:
    assert parse_response(octets) == response


@pytest.mark.parametrize("octets", NO_RESPONSES)
def test_anything_else_is_no_response(octets: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="not a response"):
        parse_response(octets)


@given(st.binary(max_size=60))
def test_a_line_is_parsed_or_refused_and_never_anything_else(junk: bytes) -> None:
    try:
        response = parse_response(junk)
    except RemoteProtocolError as error:
        assert str(error).isprintable()
    else:
        assert str(response).isprintable() or not response.text.isprintable()


@given(st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=600))
def test_an_encoded_line_keeps_to_its_length(text: str) -> None:
    line = Response(ERR, text).encode()
    assert len(line) <= 512
    assert line.count(b"\n") == 1
    line.decode()


def test_long_text_is_cut_between_characters() -> None:
    assert Response(ERR, "\u20ac" * 200).encode() == b"-ERR " + "\u20ac".encode() * 168 + b"\r\n"


def test_a_challenge_is_never_cut() -> None:
    assert len(Response(CHALLENGE, "A" * 2000).encode()) == 2004


@pytest.mark.parametrize("text", ["a\r\n+OK", "a\nb", "a\0", "\x7f"])
def test_a_response_cannot_hold_a_second_line(text: str) -> None:
    with pytest.raises(ValueError, match="control characters"):
        Response(OK, text)


def test_a_lone_surrogate_cannot_be_sent() -> None:
    with pytest.raises(LocalProtocolError):
        Response(OK, "\ud800").encode()


@pytest.mark.parametrize("code", ["in use", "]", "/TEMP", "IN-USE]\r\n"])
def test_a_code_is_a_word(code: str) -> None:
    with pytest.raises(ValueError, match="not a response code"):
        Response(ERR, "", code)


@pytest.mark.parametrize(
    ("response", "transient"),
    [
        (Response(ERR, "", ResponseCode.IN_USE), True),
        (Response(ERR, "", ResponseCode.LOGIN_DELAY), True),
        (Response(ERR, "", ResponseCode.SYS_TEMP), True),
        (Response(ERR, "", "SYS/TEMP/DISK"), True),
        (Response(ERR, "", ResponseCode.SYS_PERM), False),
        (Response(ERR, "", ResponseCode.AUTH), False),
        (Response(ERR, "", "SYS/TEMPER"), False),
        (Response(ERR, "no"), False),
        (Response(OK, "", ResponseCode.IN_USE), False),
    ],
)
def test_which_refusals_pass(response: Response, transient: bool) -> None:
    assert response.is_transient is transient


def test_codes_form_a_hierarchy() -> None:
    response = Response(ERR, "", "SYS/TEMP")
    assert response.has_code("SYS")
    assert response.has_code("AUTH", "SYS/TEMP")
    assert not response.has_code("SYS/TEMP/DISK")
    assert not Response(ERR).has_code("SYS")
    assert Response(OK).is_positive
    assert not response.is_positive
    assert str(response) == "-ERR [SYS/TEMP]"

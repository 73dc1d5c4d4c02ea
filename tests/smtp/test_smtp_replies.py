"""Replies, both ways."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncmail.errors import RemoteProtocolError
from asyncmail.smtp import Reply, ReplyReceived, Rset, UnsolicitedReply, parse_reply
from asyncmail.smtp.replies import transcribe
from smtp_talk import heard, octet_by_octet, session

BOTH_WAYS = [
    (Reply(250, ""), b"250 \r\n"),
    (Reply(220, "mx.example ESMTP"), b"220 mx.example ESMTP\r\n"),
    (
        Reply(250, "mx.example\nPIPELINING\nSIZE 1000"),
        b"250-mx.example\r\n250-PIPELINING\r\n250 SIZE 1000\r\n",
    ),
    (Reply(250, "OK", "2.1.5"), b"250 2.1.5 OK\r\n"),
    (Reply(550, "no such\nuser", "5.1.1"), b"550-5.1.1 no such\r\n550 5.1.1 user\r\n"),
    (Reply(421, "", "4.3.2"), b"421 4.3.2 \r\n"),
    (Reply(354, "2.0.0 is no code of a 354"), b"354 2.0.0 is no code of a 354\r\n"),
    (Reply(450, "5.1.1 is not one of a 450"), b"450 5.1.1 is not one of a 450\r\n"),
    (Reply(250, "5.1"), b"250 5.1\r\n"),
    (Reply(250, "2.1.5.3 has four parts"), b"250 2.1.5.3 has four parts\r\n"),
    (Reply(250, "one\n\nthree"), b"250-one\r\n250-\r\n250 three\r\n"),
    (Reply(250, "gr\u00fc\u00df dich"), "250 gr\u00fc\u00df dich\r\n".encode()),
    (Reply(250, "  indented\n    more"), b"250-  indented\r\n250     more\r\n"),
    (Reply(334, "A" * 2000), b"334 " + b"A" * 2000 + b"\r\n"),
]

TOLERATED = [
    (b"250\r\n", Reply(250)),
    (b"250\n", Reply(250)),
    (b"250 bare LF\n", Reply(250, "bare LF")),
    (b"250-bare\n250 LF\n", Reply(250, "bare\nLF")),
    (b"250-\r\n250\r\n", Reply(250, "\n")),
    (b"250 2.1.5\r\n", Reply(250, "", "2.1.5")),
    (b"550-5.1.1 once\r\n550 only\r\n", Reply(550, "once\nonly", "5.1.1")),
    (b"550-5.1.1 one\r\n550 5.1.10 another\r\n", Reply(550, "one\n5.1.10 another", "5.1.1")),
    (b"250 tab\there\r\n", Reply(250, "tab\there")),
    (b"550 caf\xe9\r\n", Reply(550, "caf\\xe9")),
    (b"550 bell\x07\x1b[31m\x00\r\n", Reply(550, "bell\\x07\\x1b[31m\\x00")),
]

NO_REPLIES = [
    b"\r\n",
    b"25\r\n",
    b"2500 what\r\n",
    b"199 too low\r\n",
    b"600 too high\r\n",
    b"abc\r\n",
    b" 250 ok\r\n",
    b"250_ok\r\n",
    b"250 a\rb\r\n",
    b"250 ok\r\r\n",
    b"+OK POP3\r\n",
    b"\xff\xfe\r\n",
]


@pytest.mark.parametrize(("reply", "octets"), BOTH_WAYS)
def test_encode_and_parse(reply: Reply, octets: bytes) -> None:
    assert reply.encode() == octets
    assert parse_reply(*octets.splitlines(keepends=True)) == reply


@pytest.mark.parametrize(("octets", "reply"), TOLERATED)
def test_what_servers_get_wrong_is_understood(octets: bytes, reply: Reply) -> None:
    assert parse_reply(*octets.splitlines(keepends=True)) == reply


@pytest.mark.parametrize(
    ("reply", "octets"),
    [row for row in BOTH_WAYS if not row[0].is_intermediate]
    + [(reply, octets) for octets, reply in TOLERATED],
)
def test_a_reply_is_read_whole_and_octet_by_octet_and_with_more_behind_it(
    reply: Reply, octets: bytes
) -> None:
    command = Rset()
    for pieces in ([octets], octet_by_octet(octets)):
        client = session()
        client.send(command)
        assert heard(client, *pieces) == [ReplyReceived(command, reply)]
    client = session()
    client.send(command)
    assert heard(client, octets + b"421 bye\r\n") == [
        ReplyReceived(command, reply),
        UnsolicitedReply(Reply(421, "bye")),
    ]


@pytest.mark.parametrize("octets", NO_REPLIES)
def test_anything_else_is_no_reply(octets: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="not a reply"):
        parse_reply(octets)


@pytest.mark.parametrize("last", [b"550 no\r\n", b"251 ok\r\n"])
def test_codes_that_differ_within_one_reply_are_an_error(last: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="codes differ"):
        parse_reply(b"250-ok\r\n", last)
    client = session()
    client.send(Rset())
    with pytest.raises(RemoteProtocolError, match="codes differ"):
        heard(client, b"250-ok\r\n" + last)


@given(st.binary(max_size=60))
def test_a_line_is_parsed_or_refused_and_never_anything_else(junk: bytes) -> None:
    for line in (junk, b"250 " + junk + b"\r\n"):
        try:
            reply = parse_reply(line)
        except RemoteProtocolError as error:
            assert str(error).isprintable()
        else:
            assert str(reply).isprintable()
            assert parse_reply(*reply.encode().splitlines(keepends=True)).code == reply.code


texts = st.text(st.characters(exclude_categories=("Cc", "Cs")) | st.just("\n"), max_size=1500)


@given(texts, st.sampled_from([None, "5.1.1"]))
def test_lines_keep_to_their_length_and_lose_nothing(text: str, enhanced: str | None) -> None:
    octets = Reply(550, text, enhanced).encode()
    lines = octets.split(b"\r\n")
    assert lines.pop() == b""
    assert all(len(line) <= 510 for line in lines)
    assert [line[3:4] for line in lines] == [b"-"] * (len(lines) - 1) + [b" "]
    start = 4 if enhanced is None else 10
    assert "".join(line[start:].decode() for line in lines) == text.replace("\n", "")


printable_text = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)


@given(
    st.sampled_from([250, 354, 450, 550]),
    st.sampled_from(["", "2.1.5", "4.0.0", "5.1.1", "9.9.9"]),
    printable_text,
)
def test_the_common_line_is_read_like_any_other(code: int, enhanced: str, text: str) -> None:
    line = f"{code} {enhanced} {text}" if enhanced else f"{code} {text}"
    reply = parse_reply(line.encode() + b"\r\n")
    assert reply == parse_reply(line.encode() + b"\n")  # not the common form
    assert reply == Reply(reply.code, reply.text, reply.enhanced_status_code)
    if enhanced[:1] == str(code)[0]:
        assert reply.enhanced_status_code == enhanced


@pytest.mark.parametrize("code", [0, 199, 600, 25, 2500])
def test_a_code_has_three_digits(code: int) -> None:
    with pytest.raises(ValueError, match="between 200 and 599"):
        Reply(code)


@pytest.mark.parametrize("text", ["a\r\n250 b", "a\rb", "a\0", "\x7f", "\x1b[2J", "\ud800"])
def test_text_cannot_hold_control_characters(text: str) -> None:
    with pytest.raises(ValueError, match="control characters"):
        Reply(250, text)


@pytest.mark.parametrize(
    "enhanced", ["", "2", "2.1", "2.1.5 ", "2.1.5\n", "5.1.1", "2.1.5.0", "3.0.0", "2.1.1000", "x.y.z"]
)
def test_an_enhanced_status_code_belongs_to_its_reply(enhanced: str) -> None:
    with pytest.raises(ValueError, match="enhanced status code"):
        Reply(250, "", enhanced)


def test_tabs_do_not_leave() -> None:
    assert Reply(250, "a\tb").encode() == b"250 a b\r\n"


@pytest.mark.parametrize(
    ("code", "expected"), [(250, "positive"), (354, "intermediate"), (450, "transient"), (550, "permanent")]
)
def test_classes(code: int, expected: str) -> None:
    reply = Reply(code)
    for name in ("positive", "intermediate", "transient", "permanent"):
        assert getattr(reply, f"is_{name}") is (name == expected)


@pytest.mark.parametrize(
    "line",
    [
        b"421 4.7.0 mx.example.com Error: too many connections from 192.0.2.1",
        b"421 4.3.2 Too many open connections.",
        b"421 Too many concurrent SMTP connections; please try again later.",
        b"421 4.7.28 Our system has detected an unusual rate",
        b"450 4.7.1 Error: too much mail from 192.0.2.1",
        b"432 4.3.2 Concurrent connections limit exceeded",
        b"451 Sending too fast",
        b"451 You are being throttled",
        b"454 Throttling failure: Maximum sending rate exceeded.",
        b"454 4.7.0 Too many login attempts",
    ],
)
def test_throttling(line: bytes) -> None:
    assert parse_reply(line).is_throttling


@pytest.mark.parametrize(
    "line",
    [
        b"220 not too many connections",
        b"421 4.3.2 Shutting down",
        b"421 4.4.2 mx.example.com Error: timeout exceeded",
        b"421 4.7.0 mx.example.com Error: too many errors",
        b"421 4.7.0 Too many commands in one session",
        b"421 too many messages in this connection",
        b"450 4.2.0 <a@example.com>: Recipient address rejected: Greylisted",
        b"450 4.2.1 The user you are trying to contact is receiving mail at a rate that is too high",
        b"451 4.7.1 Greylisting in action, come back later",
        b"452 4.5.3 Too many recipients",
        b"550 5.7.1 Rate limit exceeded",
    ],
)
def test_what_is_no_throttling(line: bytes) -> None:
    assert not parse_reply(line).is_throttling


def test_a_reply_prints_on_one_line() -> None:
    assert str(Reply(550, "no\nsuch \u2028user", "5.1.1")) == "550 5.1.1 no / such \\u2028user"
    assert str(Reply(250)) == "250"
    assert Reply(250, "a\nb").lines == ["a", "b"]
    assert Reply(250).lines == [""]


def test_a_transcript_hides_challenges_and_shows_line_separators() -> None:
    assert transcribe(Reply(334, "c2VjcmV0")) == ["334 ****"]
    assert transcribe(Reply(250, "a\nb", "2.0.0")) == ["250-2.0.0 a", "250 2.0.0 b"]
    assert transcribe(Reply(250, "a\u2028250 b\x85c")) == ["250 a\\u2028250 b\\x85c"]

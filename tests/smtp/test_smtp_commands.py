"""Commands, both ways; parameters; what cannot be a command."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asyncmail.errors import AddressSyntaxError, ExtensionRequired, LocalProtocolError, MailError
from asyncmail.smtp import (
    Auth,
    AuthResponse,
    Bdat,
    BodyType,
    Command,
    CommandAnswered,
    CommandReceived,
    CommandRejected,
    ConnectionEnded,
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
    Reply,
    Rset,
    ServerEvent,
    ServerOffer,
    ServerProtocol,
    ServerState,
    Starttls,
    UnknownCommand,
    Vrfy,
    parse_command,
)
from asyncmail.smtp.commands import plain_command
from smtp_talk import octet_by_octet, sent, server_in, told, yes

S = ServerState

# command, its octets, a state in which it is legal
BOTH_WAYS: list[tuple[Command, bytes, ServerState]] = [
    (Ehlo(domain="client.example"), b"EHLO client.example\r\n", S.HELLO),
    (Ehlo(domain="[127.0.0.1]"), b"EHLO [127.0.0.1]\r\n", S.READY),
    (Helo(domain="client.example"), b"HELO client.example\r\n", S.RECIPIENTS),
    (Mail(sender=""), b"MAIL FROM:<>\r\n", S.READY),
    (Mail(sender="a@b.example"), b"MAIL FROM:<a@b.example>\r\n", S.READY),
    (Mail(sender='"a b"@[192.0.2.1]'), b'MAIL FROM:<"a b"@[192.0.2.1]>\r\n', S.READY),
    (Mail(sender="a@b.example", size=0), b"MAIL FROM:<a@b.example> SIZE=0\r\n", S.READY),
    (
        Mail(sender="a@b.example", size=1000, body=BodyType.EIGHT_BIT_MIME),
        b"MAIL FROM:<a@b.example> SIZE=1000 BODY=8BITMIME\r\n",
        S.READY,
    ),
    (
        Mail(sender="j\u00fcrgen@b.example", body=BodyType.SEVEN_BIT, smtputf8=True),
        "MAIL FROM:<j\u00fcrgen@b.example> BODY=7BIT SMTPUTF8\r\n".encode(),
        S.READY,
    ),
    (
        Mail(sender="j\u00fcrgen@b\u00fccher.example", smtputf8=True),
        "MAIL FROM:<j\u00fcrgen@b\u00fccher.example> SMTPUTF8\r\n".encode(),
        S.READY,
    ),
    (Mail(sender="", auth=""), b"MAIL FROM:<> AUTH=<>\r\n", S.READY),
    (
        Mail(sender="a@b.example", auth="e+mc2=\u00fc@b.example"),
        b"MAIL FROM:<a@b.example> AUTH=e+2Bmc2+3D+C3+BC@b.example\r\n",
        S.READY,
    ),
    (Rcpt(recipient="a@b.example"), b"RCPT TO:<a@b.example>\r\n", S.SENDER),
    (Rcpt(recipient="a@[IPv6:::1]"), b"RCPT TO:<a@[IPv6:::1]>\r\n", S.RECIPIENTS),
    (Rcpt(recipient="Postmaster"), b"RCPT TO:<Postmaster>\r\n", S.SENDER),
    (Data(), b"DATA\r\n", S.RECIPIENTS),
    (Rset(), b"RSET\r\n", S.CHUNKS),
    (Noop(), b"NOOP\r\n", S.SENDER),
    (Noop(text="are you there?"), b"NOOP are you there?\r\n", S.HELLO),
    (Help(), b"HELP\r\n", S.READY),
    (Help(text="MAIL"), b"HELP MAIL\r\n", S.READY),
    (Vrfy(text="Smith"), b"VRFY Smith\r\n", S.READY),
    (Vrfy(text="J\u00fcrgen <j@b.example>"), "VRFY J\u00fcrgen <j@b.example>\r\n".encode(), S.HELLO),
    (Expn(text="staff"), b"EXPN staff\r\n", S.CHUNKS),
    (Starttls(), b"STARTTLS\r\n", S.READY),
    (Quit(), b"QUIT\r\n", S.REFUSED),
]

# Legal in no state of a server with the usual offer, or events of their own.
ENCODED: list[tuple[Command, bytes]] = [
    (Lhlo(domain="client.example"), b"LHLO client.example\r\n"),
    (
        Mail(sender="", body=BodyType.BINARY_MIME, parameters={"RET": "HDRS", "ENVID": "QQ314159"}),
        b"MAIL FROM:<> BODY=BINARYMIME RET=HDRS ENVID=QQ314159\r\n",
    ),
    (Mail(sender="", parameters={"MT-PRIORITY": "3", "REQUIRETLS": None}),
     b"MAIL FROM:<> MT-PRIORITY=3 REQUIRETLS\r\n"),
    (
        Rcpt(recipient="a@b.example", parameters={"NOTIFY": "SUCCESS,FAILURE", "ORCPT": "rfc822;a+2Bb@c.d"}),
        b"RCPT TO:<a@b.example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;a+2Bb@c.d\r\n",
    ),
    (Rcpt(recipient="j\u00fcrgen@b.example"), "RCPT TO:<j\u00fcrgen@b.example>\r\n".encode()),
    (Bdat(size=0), b"BDAT 0\r\n"),
    (Bdat(size=86, last=True), b"BDAT 86 LAST\r\n"),
    (Auth(mechanism="CRAM-MD5"), b"AUTH CRAM-MD5\r\n"),
    (Auth(mechanism="PLAIN", initial_response=b"\0tim\0secret"), b"AUTH PLAIN AHRpbQBzZWNyZXQ=\r\n"),
    (Auth(mechanism="EXTERNAL", initial_response=b""), b"AUTH EXTERNAL =\r\n"),
]  # fmt: skip

LINES: list[tuple[bytes, Command]] = [
    (b"ehlo client.example", Ehlo(domain="client.example")),
    (b"EHLO  client.example and more", Ehlo(domain="client.example")),
    (b"EHLO b\xc3\xbccher", Ehlo(domain="b\u00fccher")),
    (b"mail from:<a@b.c>", Mail(sender="a@b.c")),
    (b"MAIL From: <a@b.c>  size=5   Body=8bitmime ", Mail(sender="a@b.c", size=5, body=BodyType.EIGHT_BIT_MIME)),
    (b"MAIL FROM:<@x.y,@z.w:a@b.c>", Mail(sender="a@b.c")),
    (b"MAIL FROM:<a@b.c> x-par=y", Mail(sender="a@b.c", parameters={"X-PAR": "y"})),
    (b"MAIL FROM:<> AUTH=a<>b", Mail(sender="", auth="a<>b")),
    (b"RCPT to:<postMASTER>", Rcpt(recipient="postMASTER")),
    (b"RCPT TO:<a@b.c> ", Rcpt(recipient="a@b.c")),
    (b"DATA \t ", Data()),
    (b"bdat 5  last", Bdat(size=5, last=True)),
    (b"BDAT 007 ", Bdat(size=7)),
    (b"noop   ", Noop()),
    (b"auth plain", Auth(mechanism="PLAIN")),
    (b"AUTH  LOGIN  dGlt", Auth(mechanism="LOGIN", initial_response=b"tim")),
]  # fmt: skip

NO_COMMANDS: list[bytes] = [
    b"EHLO",
    b"EHLO  ",
    b"HELO",
    b"MAIL",
    b"MAIL a@b.c",
    b"MAIL FROM a@b.c",
    b"MAIL FROM:a@b.c",
    b"MAIL FROM:<a@b.c",
    b"MAIL FROM:<a@b@c>",
    b"MAIL FROM:<postmaster>",
    b"MAIL FROM:<a@b.c>SIZE=5",
    b"MAIL FROM:<a@b.c>>",
    b"MAIL FROM:<a@b.c> SIZE",
    b"MAIL FROM:<a@b.c> SIZE=",
    b"MAIL FROM:<a@b.c> SIZE=-1",
    b"MAIL FROM:<a@b.c> SIZE=1k",
    b"MAIL FROM:<a@b.c> SIZE=" + b"9" * 21,
    "MAIL FROM:<a@b.c> SIZE=\u0663".encode(),
    b"MAIL FROM:<a@b.c> SIZE=1 SIZE=2",
    b"MAIL FROM:<a@b.c> BODY",
    b"MAIL FROM:<a@b.c> BODY=9BIT",
    b"MAIL FROM:<a@b.c> AUTH",
    b"MAIL FROM:<a@b.c> AUTH=+2",
    b"MAIL FROM:<a@b.c> AUTH=+FF",
    b"MAIL FROM:<a@b.c> SMTPUTF8=1",
    b"MAIL FROM:<a@b.c> =1",
    b"MAIL FROM:<a@b.c> A_B=1",
    "MAIL FROM:<j\u00fcrgen@b.c>".encode(),
    "MAIL FROM:<a@b\u00fccher.c> SIZE=1".encode(),
    b"RCPT TO:<>",
    b"RCPT TO:",
    b"RCPT FROM:<a@b.c>",
    b"RCPT TO:<a@b.c>X",
    b"DATA now",
    b"BDAT",
    b"BDAT LAST",
    b"BDAT -1",
    b"BDAT 5 FIRST",
    b"BDAT 5LAST",
    b"BDAT " + b"9" * 21,
    b"RSET all",
    b"QUIT please",
    b"STARTTLS now",
    b"VRFY",
    b"EXPN  ",
    b"AUTH",
    b"AUTH pl\xc3\xa4in",
    b"AUTH PLAIN !!!!",
    b"AUTH PLAIN dGl",
    b"AUTH PLAIN dGlt dGlt",
    b"AUTH " + b"A" * 21,
    b"NOOP a\tb",
    b"NOOP a\rb",
    b"NOOP \x00",
    b"NOOP \x7f",
    b"MAIL FROM:<a@b.c> \rSIZE=5",
    b"QUIT\r",
]

UNKNOWN = [
    b"",
    b" ",
    b" NOOP",
    b"GET / HTTP/1.1",
    b"XCLIENT ADDR=1",
    b".",
    b"BDATX 5",
    b"QUI",
    b"QUIT\xc2\xa0",
]


@pytest.mark.parametrize(("command", "octets"), [row[:2] for row in BOTH_WAYS] + ENCODED)
def test_encode_and_parse(command: Command, octets: bytes) -> None:
    assert command.encode() == octets
    assert parse_command(octets[:-2]) == command


@pytest.mark.parametrize(("line", "command"), LINES)
def test_what_clients_write_otherwise_is_understood(line: bytes, command: Command) -> None:
    assert parse_command(line) == command


@pytest.mark.parametrize("line", NO_COMMANDS)
def test_what_does_not_fit_its_verb(line: bytes) -> None:
    with pytest.raises((ValueError, MailError)) as caught:
        parse_command(line)
    assert not isinstance(caught.value, UnknownCommand)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("line", UNKNOWN)
def test_verbs_of_others(line: bytes) -> None:
    with pytest.raises(UnknownCommand):
        parse_command(line)


def test_a_line_is_utf_8() -> None:
    with pytest.raises(UnicodeDecodeError):
        parse_command(b"NOOP \xff")


@given(
    st.sampled_from([b"", *(line[:5] for line in NO_COMMANDS), b"MAIL FROM:<a@b.c> "]), st.binary(max_size=40)
)
def test_any_line_is_a_command_that_can_be_written_or_an_error(start: bytes, junk: bytes) -> None:
    try:
        command = parse_command(start + junk)
    except (ValueError, MailError) as error:
        assert isinstance(error, UnicodeDecodeError) or str(error).isprintable()
    else:
        assert str(command)
        assert parse_command(command.encode()[:-2]) == command


@pytest.mark.parametrize(("command", "octets", "state"), BOTH_WAYS)
def test_a_command_is_read_whole_and_octet_by_octet_and_with_more_behind_it(
    command: Command, octets: bytes, state: ServerState
) -> None:
    expected = CommandAnswered if isinstance(command, Noop) else CommandReceived
    for pieces in ([octets], octet_by_octet(octets)):
        assert told(server_in(state), *pieces, answer=lambda *_: None) == [expected(command)]
    # With more behind it, that waits for the answer, however it came.
    for pieces in ([octets + b"what?\r\n"], octet_by_octet(octets + b"what?\r\n")):
        server = server_in(state)
        events = told(server, *pieces)
        assert events[0] == expected(command)
        if not isinstance(command, Quit | Starttls | Data):
            assert isinstance(events[1], CommandRejected)
        assert len(events) <= 2


def test_authentication_commands_are_events_of_their_own() -> None:
    server = server_in(ServerState.READY, ServerOffer(authentication=True, cleartext_login=True))
    assert told(server, *octet_by_octet(b"AUTH LOGIN\r\n")) == [CommandAnswered(Auth(mechanism="LOGIN"))]
    assert sent(server) == b"334 VXNlcm5hbWU6\r\n"
    assert told(server, *octet_by_octet(b"dGlt\r\n")) == [CommandAnswered(AuthResponse(response=b"tim"))]


RESPONSES = [
    (AuthResponse(response=b""), b"\r\n"),
    (AuthResponse(response=b"tim"), b"dGlt\r\n"),
    (AuthResponse(response=b"\xff\xfe"), b"//4=\r\n"),
    (AuthResponse(response=None), b"*\r\n"),
]


@pytest.mark.parametrize(("response", "octets"), RESPONSES)
def test_authentication_lines_both_ways(response: AuthResponse, octets: bytes) -> None:
    assert response.encode() == octets
    assert AuthResponse.parse(octets[:-2].decode()) == response


def test_secrets_do_not_show() -> None:
    command = Auth(mechanism="PLAIN", initial_response=b"\0tim\0secret")
    assert str(command) == "AUTH PLAIN ****"
    assert str(Auth(mechanism="LOGIN")) == "AUTH LOGIN"
    response = AuthResponse(response=b"secret")
    assert str(response) == "****"
    assert str(AuthResponse(response=None)) == "*"
    for each in (command, response):
        assert "secret" not in repr(each)
        assert "c2VjcmV0" not in repr(each)


def test_commands_print_as_they_are_written() -> None:
    assert str(Mail(sender="a@b.c", size=5)) == "MAIL FROM:<a@b.c> SIZE=5"
    assert str(Bdat(size=5, last=True)) == "BDAT 5 LAST"
    assert str(Vrfy(text="a\u2028b\x85c")) == "VRFY a\\u2028b\\x85c"


def test_end_of_content_is_a_dot() -> None:
    assert EndOfContent().encode() == b".\r\n"


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (Mail(sender="a@b\u00fccher.example"), b"MAIL FROM:<a@xn--bcher-kva.example>\r\n"),
        (Mail(sender="a@b\u00fccher.example", smtputf8=True), b"MAIL FROM:<a@xn--bcher-kva.example> SMTPUTF8\r\n"),
        (Rcpt(recipient="a@b\u00fccher.example"), b"RCPT TO:<a@xn--bcher-kva.example>\r\n"),
    ],
)  # fmt: skip
def test_a_domain_is_written_in_ascii_where_it_can_be(command: Command, line: bytes) -> None:
    assert command.encode() == line


def test_an_address_beyond_ascii_needs_smtputf8() -> None:
    with pytest.raises(AddressSyntaxError, match="not ASCII"):
        Mail(sender="j\u00fcrgen@b.example")
    for line in ("MAIL FROM:<j\u00fcrgen@b.c>", "MAIL FROM:<a@b\u00fccher.c> SIZE=5"):
        with pytest.raises(ExtensionRequired) as caught:
            parse_command(line.encode())
        assert caught.value.extension == "SMTPUTF8"


REFUSED: list[tuple[type[Command], dict[str, Any]]] = [
    (Ehlo, {"domain": ""}),
    (Helo, {"domain": "two words"}),
    (Mail, {"sender": "nobody"}),
    (Mail, {"sender": "", "size": -1}),
    (Mail, {"sender": "", "parameters": {"A B": None}}),
    (Mail, {"sender": "", "parameters": {"": None}}),
    (Mail, {"sender": "", "parameters": {"A": ""}}),
    (Mail, {"sender": "", "parameters": {"A": "b=c"}}),
    (Mail, {"sender": "", "auth": "\ud800"}),
    (Rcpt, {"recipient": ""}),
    (Rcpt, {"recipient": "a@b.c", "parameters": {"A": "b c"}}),
    (Bdat, {"size": -1}),
    (Vrfy, {"text": ""}),
    (Expn, {"text": ""}),
    (Auth, {"mechanism": "plain"}),
    (Auth, {"mechanism": ""}),
    (Auth, {"mechanism": "PLAIN TEXT"}),
]


@pytest.mark.parametrize(("command", "arguments"), REFUSED)
def test_a_command_checks_itself_when_it_is_made(command: type[Command], arguments: dict[str, Any]) -> None:
    with pytest.raises((ValueError, LocalProtocolError)):
        command(**arguments)


def test_which_commands_end_a_group() -> None:
    """RFC 2920 §3.1, RFC 3030 §4.2, RFC 4954 §3, RFC 3207 §4."""
    commands: set[type[Command]] = {type(row[0]) for row in BOTH_WAYS} | {type(row[0]) for row in ENCODED}
    commands |= {EndOfContent, AuthResponse}
    assert {command for command in commands if not command.ends_group} == {
        Mail,
        Rcpt,
        Rset,
        Bdat,
        EndOfContent,
    }


def test_a_refused_command_leaves_the_next_one_readable() -> None:
    def refuse(server: ServerProtocol, event: ServerEvent) -> None:
        if isinstance(event, CommandReceived) and isinstance(event.command, Vrfy):
            server.send(Reply(550, "unknown"))
        else:
            yes(server, event)

    server = server_in(ServerState.READY)
    events = told(server, b"VRFY x\r\nRSET\r\n", answer=refuse)
    assert events == [CommandReceived(Vrfy(text="x")), CommandReceived(Rset())]
    server.receive_eof()
    assert told(server) == [ConnectionEnded()]


# --- what is common is parsed by one expression: it says what the grammar says

near_paths = st.text("ab1-_.@", max_size=12) | st.text('ab.@[]:\\"<> \u00fc', max_size=12)
long_paths = st.builds(
    lambda local, label, labels: f"{'a' * local}@{'.'.join(['b' * label] * labels)}",
    st.integers(62, 66),
    st.integers(61, 65),
    st.integers(1, 4),
)
paths = near_paths | long_paths | st.emails()
numbers = st.integers(0).map(str) | st.text("019a", max_size=22)
bodies = st.sampled_from(["7BIT", "8BITMIME", "8bitmime", "BINARYMIME", "9BIT"])
parameters = st.lists(st.builds("SIZE={}".format, numbers) | st.builds("BODY={}".format, bodies), max_size=3)


def parsed(kind: type[Command], argument: str) -> Command | tuple[type, str]:
    try:
        return kind.parse(argument)
    except (ValueError, MailError) as error:
        return type(error), getattr(error, "problem", "")


@given(path=paths, parameters=parameters)
@example(path=f"{'a' * 64}@{'b' * 62}.{'b' * 62}.{'b' * 63}", parameters=[])  # 254 octets
@example(path=f"{'a' * 64}@{'b' * 62}.{'b' * 63}.{'b' * 63}", parameters=[])
@pytest.mark.parametrize(("kind", "keyword"), [(Mail, "FROM:"), (Rcpt, "TO:")])
def test_common_arguments_are_parsed_as_all_others(
    kind: type[Command], keyword: str, path: str, parameters: list[str]
) -> None:
    tail = "".join([f" {parameter}" for parameter in parameters])
    command = parsed(kind, f"{keyword}<{path}>{tail}")
    assert command == parsed(kind, f"{keyword.lower()}<{path}>{tail}")
    assert command == parsed(kind, f"{keyword} <{path}>{tail}")  # the blank is for the grammar alone
    if isinstance(command, Command):
        assert replace(command) == command  # the constructor has no objections
        assert type(command).parse(command.encode()[5:-2].decode()) == command


@given(path=paths, parameters=parameters)
@example(path=f"{'a' * 64}@{'b' * 62}.{'b' * 62}.{'b' * 63}", parameters=[])  # 254 octets
@example(path=f"{'a' * 64}@{'b' * 62}.{'b' * 63}.{'b' * 63}", parameters=[])
@example(path="a@b.example", parameters=["SIZE=10", "BODY=8BITMIME"])
@pytest.mark.parametrize("start", ["MAIL FROM:", "RCPT TO:", "rcpt to:", "MAIL TO:"])
def test_plain_lines_are_parsed_as_all_others(start: str, path: str, parameters: list[str]) -> None:
    line = f"{start}<{path}>{''.join([f' {parameter}' for parameter in parameters])}".encode()
    plain = plain_command(line + b"\r\n")
    if plain is not None:
        assert plain == parse_command(line)
        assert replace(plain) == plain  # the constructor has no objections


@pytest.mark.parametrize(
    "line",
    [
        b"MAIL FROM:<a.b@c-d.example>",
        b"mail From:<a@b.example> SIZE=10 BODY=8BITMIME",
        b"MAIL FROM:<a@b.example> BODY=7BIT",
        b"RCPT TO:<a@b.example>",
        b"DATA",
        b"RSET",
        b"QUIT",
        b"NOOP",
        b"STARTTLS",
    ],
)
def test_what_is_plain(line: bytes) -> None:
    assert plain_command(line + b"\r\n") == parse_command(line)


@pytest.mark.parametrize("end", [b"", b"\n", b"\r", b" \r\n", b"\r\n\r\n", b"\n\r\n"])
@pytest.mark.parametrize("line", [b"DATA", b"RCPT TO:<a@b.example>", b"MAIL FROM:<a@b.example> SIZE=1"])
def test_a_plain_line_ends_in_crlf_and_nothing_else(line: bytes, end: bytes) -> None:
    assert plain_command(line + end) is None


def test_commands_of_one_line_do_not_share_their_parameters() -> None:
    line = b"RCPT TO:<a@b.example>"
    for parse in (parse_command, lambda line: plain_command(line + b"\r\n")):
        one, other = parse(line), parse(line)
        assert isinstance(one, Rcpt) and isinstance(other, Rcpt)
        one.parameters["NOTIFY"] = "NEVER"
        assert not other.parameters


def test_equal_arguments_of_other_types_do_not_stand_for_each_other() -> None:
    Mail(sender="q@x.example", size=True).encode()
    assert Mail(sender="q@x.example", size=1).encode() == b"MAIL FROM:<q@x.example> SIZE=1\r\n"


@pytest.mark.parametrize("nobody", [None, b"", 0])
def test_only_text_is_a_sender(nobody: object) -> None:
    with pytest.raises(TypeError):
        Mail(sender=nobody)  # type: ignore[arg-type]

"""CR, LF and NUL in an argument never reach the wire: what is made of any text is one line, or an error."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asyncmail import pop3, smtp
from asyncmail.errors import MailError
from asyncmail.sasl import Credentials, choose
from smtp_talk import client_in, sent, server_in

CONTROL = ["\r", "\n", "\0", "\r\n", "\r\nQUIT\r\n", "\x0b", "\x7f", "\x1b[2J"]
PLACES = ["{}", "a{}", "{}a", "a{}a@b.example", "a@b.example{}"]
HARMFUL = [place.format(control) for control in CONTROL for place in PLACES]

# A command, and for each of its arguments a value that can stand.
SMTP_COMMANDS: list[tuple[type[smtp.Command], dict[str, Any]]] = [
    (smtp.Ehlo, {"domain": "a"}),
    (smtp.Helo, {"domain": "a"}),
    (smtp.Lhlo, {"domain": "a"}),
    (smtp.Mail, {"sender": "a@b.example", "auth": "a@b.example", "size": 1, "parameters": {"A": "b"}}),
    (smtp.Rcpt, {"recipient": "a@b.example", "parameters": {"A": "b"}}),
    (smtp.Bdat, {"size": 1}),
    (smtp.Noop, {"text": "a"}),
    (smtp.Help, {"text": "a"}),
    (smtp.Vrfy, {"text": "a"}),
    (smtp.Expn, {"text": "a"}),
    (smtp.Auth, {"mechanism": "PLAIN", "initial_response": b"a"}),
    (smtp.AuthResponse, {"response": b"a"}),
]
POP3_COMMANDS: list[tuple[type[pop3.Command], dict[str, Any]]] = [
    (pop3.User, {"name": "a"}),
    (pop3.Pass, {"password": "a"}),
    (pop3.Apop, {"name": "a", "digest": "a"}),
    (pop3.Auth, {"mechanism": "PLAIN", "initial_response": b"a"}),
    (pop3.AuthResponse, {"response": b"a"}),
    (pop3.List, {"number": 1}),
    (pop3.Uidl, {"number": 1}),
    (pop3.Retr, {"number": 1}),
    (pop3.Dele, {"number": 1}),
    (pop3.Top, {"number": 1, "lines": 1}),
]


def variants(arguments: dict[str, Any], name: str, harm: str) -> list[dict[str, Any]]:
    """The arguments with `harm` in the one of that name; in parameters, as keyword and as value."""
    value = arguments[name]
    if isinstance(value, dict):
        return [
            {**arguments, name: each} for each in ({harm: "b"}, {harm: None}, {"A": harm}, {"A": f"b{harm}"})
        ]
    return [{**arguments, name: harm.encode() if isinstance(value, bytes) else harm}]


ARGUMENTS = [
    (command, arguments, name)
    for command, arguments in [*SMTP_COMMANDS, *POP3_COMMANDS]
    for name in arguments
]  # fmt: skip


def test_every_argument_is_tried() -> None:
    with_arguments = {command for command, _ in [*SMTP_COMMANDS, *POP3_COMMANDS]}
    for package in (smtp, pop3):
        for name in package.__all__:
            command = getattr(package, name)
            if (
                isinstance(command, type)
                and issubclass(command, smtp.Command | pop3.Command)
                and fields(command)
            ):
                assert command in with_arguments, command


@pytest.mark.parametrize("harm", HARMFUL)
@pytest.mark.parametrize(("command", "arguments", "name"), ARGUMENTS)
def test_no_argument_ends_the_line(command: Any, arguments: dict[str, Any], name: str, harm: str) -> None:
    for each in variants(arguments, name, harm):
        try:
            octets = command(**each).encode()
        except (MailError, ValueError, TypeError) as error:
            assert "\r" not in str(error) and "\n" not in str(error)
            continue
        # Only what is sent in base64 or xtext may hold anything.
        assert isinstance(arguments[name], bytes) or name == "auth"
        assert octets.endswith(b"\r\n")
        assert not set(octets[:-2]) & {0, 10, 13}


@given(st.text() | st.text(st.sampled_from("\r\n\0 <>@a.\u2028\x85")), st.sampled_from(ARGUMENTS))
@example("\u2028", ARGUMENTS[0])
def test_any_text_is_one_line_or_an_error(text: str, row: tuple[Any, dict[str, Any], str]) -> None:
    command, arguments, name = row
    for each in variants(arguments, name, text):
        try:
            octets = command(**each).encode()
        except (MailError, ValueError, TypeError):
            continue
        assert octets.endswith(b"\r\n")
        assert not set(octets[:-2]) & {0, 10, 13}


@pytest.mark.parametrize("state", [smtp.ClientState.READY, smtp.ClientState.HELLO, smtp.ClientState.SENDER])
def test_nothing_is_written_of_a_command_that_is_refused(state: smtp.ClientState) -> None:
    client = client_in(state)
    unchecked = object.__new__(smtp.Noop)  # as if nothing had been checked when it was made
    object.__setattr__(unchecked, "text", "a\r\nQUIT")
    with pytest.raises(MailError):
        client.send(unchecked)
    assert client.data_to_send() == []
    assert client.in_flight == ()
    assert client.state is state


# --- answers


@pytest.mark.parametrize("harm", [harm for harm in HARMFUL if "\n" not in harm.replace("\r\n", "\r")])
def test_no_reply_ends_its_line(harm: str) -> None:
    with pytest.raises(ValueError):
        smtp.Reply(250, harm)
    with pytest.raises(ValueError):
        smtp.Reply(250, "", f"2.0.0{harm}")
    with pytest.raises(ValueError):
        pop3.Response(pop3.Status.OK, harm)
    with pytest.raises(ValueError):
        pop3.Response(pop3.Status.ERR, "", harm)


@given(st.text(st.sampled_from("\r\n\0 250-.a\u2028\x85"), max_size=30))
def test_any_text_is_one_reply_or_an_error(text: str) -> None:
    try:
        octets = smtp.Reply(250, text).encode()
    except ValueError:
        return
    lines = octets.split(b"\r\n")
    assert lines.pop() == b""
    assert all(line.startswith(b"250-") for line in lines[:-1])
    assert lines[-1].startswith(b"250 ")
    assert not set(b"".join(lines)) & {0, 10, 13}


def test_a_greeting_is_one_reply() -> None:
    for harm in CONTROL:
        with pytest.raises(MailError):
            smtp.ServerOffer(hostname=f"mx{harm}")
        with pytest.raises(MailError):
            pop3.ServerOffer(hostname=f"mx{harm}")
        with pytest.raises(MailError):
            smtp.ServerOffer(more={f"A{harm}": ""})
        with pytest.raises(MailError):
            smtp.ServerOffer(more={"A": harm})


def test_what_a_client_says_does_not_come_back_as_a_line() -> None:
    server = server_in(smtp.ServerState.READY)
    for line in (b"MAIL FROM:<a@b>\r250 ok\r\n", b"NOOP\n250 ok\r\n", b"EHLO a\x00\r\n", b"AUTH \r\r\n"):
        server.receive_data(line)
        while server.next_event().__class__.__name__ != "Signal":
            pass
        for reply in sent(server).split(b"\r\n")[:-1]:
            assert reply[:1] == b"5"
            assert not set(reply) & {0, 10, 13}


# --- secrets


@pytest.mark.parametrize("harm", CONTROL)
def test_credentials_hold_no_control_characters(harm: str) -> None:
    for arguments in (
        {"username": f"a{harm}", "password": "b"},
        {"username": "a", "password": f"b{harm}"},
        {"username": "a", "password": "b", "authorization_id": f"c{harm}"},
    ):
        with pytest.raises(MailError):
            choose(["PLAIN", "LOGIN", "CRAM-MD5"], Credentials(**arguments), encrypted=True)


def test_parameters_are_a_plain_mapping() -> None:
    """They may be changed after the command was made: it is the encoder that counts."""
    parameters: dict[str, str | None] = {"A": "b"}
    command = smtp.Mail(sender="", parameters=parameters)
    parameters["A"] = "b\r\nQUIT"
    with pytest.raises(MailError):
        command.encode()

from __future__ import annotations

import os
import poplib
import signal
import smtplib
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from asyncmail import ServerURL
from asyncmail.cli import serve as module

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

    from commandline import Command, Result
    from peers import Authority

    Action = Callable[[int, int], object]


@pytest.fixture
def serve(asyncmail: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Result]:
    """Run the servers as long as an action takes, and end them by a signal."""

    def run(action: Action, *arguments: object) -> Result:
        failures: list[Exception] = []
        announce = module._announce

        def announce_and_act(smtp: Any, pop3: Any, *others: Any) -> None:
            announce(smtp, pop3, *others)
            ports = smtp.port, pop3.port

            def act() -> None:
                try:
                    action(*ports)
                except Exception as failure:
                    failures.append(failure)
                finally:
                    os.kill(os.getpid(), signal.SIGTERM)

            threading.Thread(target=act).start()

        monkeypatch.setattr(module, "_announce", announce_and_act)
        ports = ("--smtp-port", 0, "--pop3-port", 0)
        result = asyncmail("serve", "--directory", tmp_path / "mail", *ports, *arguments)
        if failures:
            raise failures[0]
        return result

    return run


def send(port: int, *recipients: str, user: str = "", password: str = "", text: str = "x") -> None:
    with smtplib.SMTP("127.0.0.1", port) as client:
        if user:
            client.login(user, password)
        client.sendmail("me@example.com", recipients, f"Subject: {text}\r\n\r\n{text}\r\n")


def received(port: int, user: str, password: str = "secret") -> list[bytes]:
    client = poplib.POP3("127.0.0.1", port)
    try:
        client.user(user)
        client.pass_(password)
        return [b"\r\n".join(client.retr(n + 1)[1]) for n in range(client.stat()[0])]
    finally:
        client.quit()


def test_what_is_sent_can_be_fetched(serve: Callable[..., Result], tmp_path: Path) -> None:
    def action(smtp: int, pop3: int) -> None:
        send(
            smtp, "Ann@example.com", "ann@example.org", "bob@example.com", '"..x/y"@example.com', "postmaster"
        )
        send(smtp, "ann@example.com", user="anybody", password="secret", text="two")
        assert received(pop3, "ann") == [b"Subject: x\r\n\r\nx", b"Subject: two\r\n\r\ntwo"]
        assert received(pop3, "ANN@example.com") == received(pop3, "ann")
        assert received(pop3, "..x/y") == [b"Subject: x\r\n\r\nx"]
        with pytest.raises(poplib.error_proto):
            received(pop3, "ann", "wrong")
        with pytest.raises(smtplib.SMTPAuthenticationError):
            send(smtp, "ann@example.com", user="anybody", password="wrong")

    status, out, err = serve(action)
    assert status == 0
    assert "any recipient" in out
    assert "anybody, with the password secret" in out
    assert "me@example.com to ann@example.com, 21 bytes: two" in out
    assert "asyncmail fetch pop3://ann:secret@127.0.0.1:" in out
    assert "ending" in err
    assert sorted(path.name for path in tmp_path.joinpath("mail").iterdir()) == [
        "%2E.x%2Fy",
        "ann",
        "bob",
        "postmaster",
    ]


def test_named_users(serve: Callable[..., Result]) -> None:
    def action(smtp: int, pop3: int) -> None:
        send(smtp, "ann@example.com", user="Ann", password="a:b")
        assert len(received(pop3, "ann", "a:b")) == 1
        for user, password in (("ann", "secret"), ("bob", "a:b"), ("bob", "")):
            with pytest.raises(poplib.error_proto):
                received(pop3, user, password)

    status, out, _ = serve(action, "--user", "ann:a:b", "--user", "eve:x", "--quiet")
    assert status == 0
    assert "ann, eve" in out
    assert "a:b" not in out
    assert "bytes" not in out


def test_tls_and_a_transcript(serve: Callable[..., Result], authority: Authority, tmp_path: Path) -> None:
    chain, key = authority.write(tmp_path)

    def action(smtp: int, pop3: int) -> None:
        with smtplib.SMTP("localhost", smtp) as client:
            client.starttls(context=authority.client_context())
            client.login("ann", "secret")
            client.sendmail("me@example.com", "ann@example.com", "Subject: x\r\n\r\nx\r\n")
        session = poplib.POP3("localhost", pop3)
        session.stls(context=authority.client_context())
        session.user("ann")
        session.pass_("secret")
        session.quit()

    status, _, err = serve(action, "--tls-cert", chain, "--tls-key", key, "-v")
    assert status == 0
    assert "C: STARTTLS" in err
    assert "C: STLS" in err
    assert "secret" not in err


def test_where_others_can_reach_it(serve: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ServerURL, "is_loopback", False)
    status, out, err = serve(lambda smtp, pop3: send(smtp, "ann@example.com"))
    assert status == 0
    assert "password secret" not in out
    assert "anybody, with the password " in out
    assert "warning: whoever can reach this machine can deposit mail here" in err


def test_a_message_that_cannot_be_stored(serve: Callable[..., Result], tmp_path: Path) -> None:
    def action(smtp: int, pop3: int) -> None:
        (tmp_path / "mail" / "ann").write_text("in the way")
        with pytest.raises(smtplib.SMTPDataError) as info:
            send(smtp, "ann@example.com")
        assert info.value.smtp_code == 452

    status, _, err = serve(action)
    assert status == 0
    assert "warning: a message was not stored: delivery: " in err
    assert "not a directory" in err


@pytest.mark.parametrize(
    ("arguments", "status", "texts"),
    [
        (("--tls-key", "x"), 2, ("input: there is a key and no certificate", "give --tls-cert")),
        (("--tls-cert", "none.pem"), 2, ("input: none.pem cannot be read", "check the path")),
        (("--tls-cert", __file__), 1, ("tls: no certificate with its key in", "give --tls-key for a key")),
        (("--user", "secret"), 2, ("input: a --user is not NAME:PASSWORD", "write --user ann:secret")),
        (
            ("--smtp-port", "{taken}"),
            2,
            ("input: cannot listen on", "the address is in use", "choose another port"),
        ),
        (("--directory", "/proc/nothing"), 1, ("delivery: /proc/nothing", "no such file or directory")),
        (("--host", "no host"), 2, ("input: ", "the host is neither a domain nor an IP address")),
    ],
)
def test_what_cannot_be_served(
    asyncmail: Command, tmp_path: Path, arguments: tuple[str, ...], status: int, texts: tuple[str, ...]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ports = ("--smtp-port", "0", "--pop3-port", "0", "--directory", tmp_path)
        result = asyncmail("serve", *ports, *[each.replace("{taken}", str(port)) for each in arguments])
    assert result.status == status
    for text in ("error: ", *texts):
        assert text in result.err

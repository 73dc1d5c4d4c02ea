from __future__ import annotations

import json
import socket
import ssl
import threading
from typing import TYPE_CHECKING

import pytest
import trustme

from asyncmail.errors import CleartextCredentialsRefused
from asyncmail.smtp import Reply

if TYPE_CHECKING:
    from pathlib import Path

    from commandline import Command, Receiver, ReceiverWithLogin, Servers

MESSAGE = b"From: me@example.com\nTo: ann@example.com\nSubject: Hi\nMessage-ID: <1@example.com>\n\nHello\n"
PARTS = ("--from", "me@example.com", "--to", "ann@example.com", "--subject", "Hi", "--text", "Hello")


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


# --- what it sends


def test_a_message_of_parts(asyncmail: Command, smtp: str, receiver: Receiver, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("attached")
    (tmp_path / "h.html").write_text("<p>Hällo")
    status, out, err = asyncmail(
        *("send", "--server", smtp, *PARTS, "--cc", "Bob <bob@example.com>", "--bcc", "eve@example.com"),
        *("--html-file", tmp_path / "h.html", "--attach", tmp_path / "a.txt"),
    )
    assert (status, err) == (0, "")
    assert out.count("250 2.6.0 Message accepted") == 3
    (transaction,) = receiver.received
    assert transaction.sender == "me@example.com"
    assert transaction.recipients == ["ann@example.com", "bob@example.com", "eve@example.com"]
    message = transaction.message
    assert message["Subject"] == "Hi"
    assert message["Bcc"] is None
    assert [part.get_content_type() for part in message.walk()][-3:] == [
        "text/plain",
        "text/html",
        "text/plain",
    ]


@pytest.mark.parametrize("arguments", [(), ("-",)])
def test_a_message_on_standard_input(
    asyncmail: Command, smtp: str, receiver: Receiver, arguments: tuple[str, ...]
) -> None:
    assert asyncmail("send", *arguments, "--server", smtp, stdin=MESSAGE).status == 0
    assert receiver.received[0].content == MESSAGE.replace(b"\n", b"\r\n")


def test_a_file_and_another_envelope(
    asyncmail: Command, smtp: str, receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "m.eml").write_bytes(MESSAGE)
    monkeypatch.setenv("ASYNCMAIL_SERVER", smtp)
    result = asyncmail("send", tmp_path / "m.eml", "--from", "x@example.com", "--to", "y@example.com")
    assert result.status == 0
    assert receiver.received[0].sender == "x@example.com"
    assert receiver.recipients == ["y@example.com"]


def test_text_from_standard_input(asyncmail: Command, smtp: str, receiver: Receiver) -> None:
    arguments = ("--from", "me@example.com", "--to", "a@example.com", "--text-file", "-")
    assert asyncmail("send", "--server", smtp, *arguments, stdin="Grüße\n".encode()).status == 0
    assert receiver.received[0].message.get_content() == "Grüße\n"


# --- what it tells


def test_some_recipients_are_refused(asyncmail: Command, smtp: str, receiver: Receiver) -> None:
    receiver.replies = {
        "b@example.com": Reply(550, "no [bold]such[/] user", "5.1.1"),
        "c@example.com": Reply(451, "later", "4.2.0"),
    }
    more = ("--to", "b@example.com", "--to", "c@example.com")
    status, out, _ = asyncmail("send", "--server", smtp, *PARTS, *more)
    assert status == 1
    rows = [line.split() for line in out.splitlines() if "@" in line]
    assert [row[:3] for row in rows] == [
        ["ann@example.com", "accepted", "250"],
        ["b@example.com", "refused", "550"],
        ["c@example.com", "deferred", "451"],
    ]
    assert "550 5.1.1 no [bold]such[/] user" in out
    result = json.loads(asyncmail("send", "--server", smtp, *PARTS, *more, "--json").out)
    assert result["sender"] == "me@example.com"
    assert result["message_id"].startswith("<")
    assert result["error"] is None
    assert result["recipients"][1] == {
        "address": "b@example.com",
        "status": "refused",
        "stage": "recipient",
        "reply": "550 5.1.1 no [bold]such[/] user",
    }


def test_a_transcript_without_secrets(
    asyncmail: Command, servers: Servers, receiver_with_login: ReceiverWithLogin
) -> None:
    url = f"smtp://me:right@127.0.0.1:{servers.smtp(receiver_with_login)}"
    status, out, err = asyncmail("send", "--server", url, *PARTS, "-v")
    assert status == 0
    assert "S: 220 localhost ESMTP" in err
    assert "C: AUTH" in err
    assert "C: MAIL FROM:<me@example.com>" in err
    assert "right" not in err
    assert "C: MAIL" not in out


def test_a_lost_connection(asyncmail: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, connection.makefile("rb") as lines:
                connection.sendall(b"220 x\r\n")
                lines.readline()
                connection.sendall(b"250 x\r\n")
                for answer in (b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"):
                    lines.readline()
                    connection.sendall(answer)
                while lines.readline() not in (b".\r\n", b""):
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        status, out, err = asyncmail("send", "--server", f"smtp://127.0.0.1:{port}", *PARTS, "--json")
        thread.join()
    assert status == 1
    assert json.loads(out)["recipients"][0]["status"] == "unknown"
    assert "error: content: the server closed the connection" in err or "connection" in err


# --- what can go wrong


def check(result: tuple[int, str, str], status: int, *texts: str) -> None:
    assert result[0] == status, result
    assert result[1] == ""
    for text in texts:
        assert text in result[2], (text, result[2])


@pytest.mark.parametrize(
    ("url", "status", "texts"),
    [
        ("mail.example.com", 2, ("input: there is no scheme", "smtp://mail.example.com:25")),
        ("http://example.com", 2, ("input: 'http' is not a scheme", "use one of smtp")),
        ("smtp://me:p@ss@example.com", 2, ("input:", "it holds @ twice", "an example is smtp://")),
        ("pop3://example.com", 2, ("a pop3 server takes no messages", "use an smtp:// or lmtp:// URL")),
        (
            "smtp://nowhere.invalid",
            1,
            ("connect: cannot connect to nowhere.invalid:25: the name", "name server"),
        ),
        (
            "smtp://127.0.0.1:{closed}",
            1,
            ("connect: cannot connect", "nothing listens there", "check host and"),
        ),
        ("lmtp+unix:///nowhere/lmtp", 1, ("connect:", "there is no such socket", "check the path")),
    ],
)
def test_servers_that_cannot_be(asyncmail: Command, url: str, status: int, texts: tuple[str, ...]) -> None:
    result = asyncmail("send", "--server", url.replace("{closed}", str(closed_port())), *PARTS)
    check(result, status, "error: ", *texts)
    assert "p@ss" not in result.err


def test_no_server(asyncmail: Command) -> None:
    assert asyncmail("send", *PARTS).status == 2


def test_passwords(
    asyncmail: Command,
    servers: Servers,
    receiver_with_login: ReceiverWithLogin,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address = f"127.0.0.1:{servers.smtp(receiver_with_login)}"
    result = asyncmail("send", "--server", f"smtp://me:wrong@{address}", *PARTS)
    check(result, 1, "error: authentication: ", "535 5.7.8", "check username and password")
    assert "wrong," not in result.err
    result = asyncmail("send", "--server", f"smtp://me@{address}", *PARTS)
    check(result, 2, "input: the password for smtp://me@127.0.0.1", "put it in ASYNCMAIL_PASSWORD")
    monkeypatch.setenv("ASYNCMAIL_PASSWORD", "right")
    assert asyncmail("send", "--server", f"smtp://me@{address}", *PARTS).status == 0
    monkeypatch.delenv("ASYNCMAIL_PASSWORD")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr("asyncmail.cli.options.getpass", lambda prompt: prompt and "right")
    assert asyncmail("send", "--server", f"smtp://me@{address}", *PARTS).status == 0


def test_refused_tls(asyncmail: Command, servers: Servers, receiver: Receiver, tmp_path: Path) -> None:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    encrypted = servers.smtp(receiver, tls_context=context, implicit_tls=True)
    plain = servers.smtp(receiver)
    result = asyncmail("send", "--server", f"smtps://localhost:{encrypted}", *PARTS)
    check(
        result,
        1,
        "error: tls: ",
        "authority is not trusted",
        "to trust the authority, give --ca-file with its certificate",
    )
    result = asyncmail("send", "--server", f"smtp+starttls://localhost:{plain}", *PARTS)
    check(result, 1, "error: tls: ", "does not offer STARTTLS", "use smtps://")
    result = asyncmail("send", "--server", f"smtps://localhost:{plain}", *PARTS)
    check(result, 1, "error: tls: ", "does not speak TLS on this port", "+starttls")
    result = asyncmail(
        "send", "--server", f"smtps://localhost:{encrypted}", *PARTS, "--ca-file", tmp_path / "no"
    )
    check(result, 2, "input: ", "cannot be read", "check the path")
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    result = asyncmail(
        "send", "--server", f"smtps://localhost:{encrypted}", *PARTS, "--ca-file", tmp_path / "ca.pem"
    )
    assert result.status == 0


def test_credentials_stay_here(asyncmail: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise CleartextCredentialsRefused(
            "the connection to 192.0.2.1 is not encrypted",
            cure="use a URL with TLS, or say allow_cleartext_credentials=True",
        )

    monkeypatch.setattr("asyncmail.cli.send.send_message", refuse)
    result = asyncmail("send", "--server", "smtp://a:b@192.0.2.1", *PARTS)
    check(result, 1, "authentication: the connection", "or say --allow-cleartext")


@pytest.mark.parametrize(
    ("arguments", "texts"),
    [
        ((), ("input: standard input is empty", "--subject and --text")),
        (("no.eml",), ("input: no.eml cannot be read: No such file", "check the path")),
        (("m.eml", "--text", "x"), ("a message is given, and parts of another",)),
        (("--text", "x", "--to", "a@example.com"), ("there is no sender", "give --from")),
        (("--text", "x", "--from", "a@example.com"), ("the message has no recipients", "or give --to")),
        ((*PARTS, "--text-file", "x"), ("the text is given twice", "--text or --text-file")),
        ((*PARTS, "--attach", "none.pdf"), ("the attachment none.pdf cannot be read", "check the path")),
        ((*PARTS, "--to", "no address"), ("'no address' is not a mail address", "position")),
        (("--from", "a@example.com", "--html", "x", "--to", "a\nb@example.com"), ("is not a mail address",)),
    ],
)
def test_messages_that_cannot_be(
    asyncmail: Command, smtp: str, arguments: tuple[str, ...], texts: tuple[str, ...]
) -> None:
    check(asyncmail("send", "--server", smtp, *arguments), 2, "error: input: ", *texts)


def test_a_file_in_another_encoding(asyncmail: Command, smtp: str, tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_bytes("Grüße".encode("latin-1"))
    result = asyncmail("send", "--server", smtp, *PARTS[:6], "--text-file", tmp_path / "t.txt")
    check(result, 2, "is not UTF-8", "save it as UTF-8")


def test_a_terminal_and_no_message(asyncmail: Command, smtp: str) -> None:
    check(asyncmail("send", "--server", smtp, stdin=None), 2, "there is no message", "give MESSAGE.eml")


def test_a_timeout(asyncmail: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"smtp://127.0.0.1:{silent.getsockname()[1]}"
        check(asyncmail("send", "--server", url, *PARTS, "--timeout", "0.2"), 1, "waited 0.2 s")

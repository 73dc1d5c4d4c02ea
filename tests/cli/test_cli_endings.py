"""What ends around the command, while it runs: its standard error, its patience, its user's."""

from __future__ import annotations

import signal
import ssl
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from asyncmail import (
    InMemoryMaildrops,
    InputError,
    Mailer,
    MailError,
    POP3Client,
    POP3Server,
    SMTPClient,
    SMTPServer,
    Template,
    compose,
    server_context,
)
from asyncmail.__main__ import main
from commandline import Receiver, Servers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from commandline import Command

TEMPLATE = b"From: news@example.com\nTo: {email}\nSubject: Hi\n\nHello\n"


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "asyncmail", *map(str, arguments)]


@pytest.fixture
def bulk(tmp_path: Path, servers: Servers) -> tuple[Receiver, list[object]]:
    """A receiver, and the arguments that send it 30 messages."""
    receiver = Receiver()
    rows = "".join(f"user{number}@example.com\n" for number in range(30))
    (tmp_path / "people.csv").write_text(f"email\n{rows}")
    (tmp_path / "mail.eml").write_bytes(TEMPLATE)
    url = f"smtp://127.0.0.1:{servers.smtp(receiver)}"
    return receiver, ["bulk", tmp_path / "people.csv", tmp_path / "mail.eml", "--server", url]


def test_a_transcript_that_nobody_reads_to_its_end(bulk: tuple[Receiver, list[object]]) -> None:
    receiver, arguments = bulk
    process = subprocess.Popen(
        command(*arguments, "-v"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stderr is not None
    process.stderr.readline()
    process.stderr.close()
    with process.stdout as out:
        assert "accepted" in out.read()
    assert process.wait(30) == 0
    assert len(receiver.received) == 30


def test_a_transcript_for_which_there_is_no_room(bulk: tuple[Receiver, list[object]]) -> None:
    receiver, arguments = bulk
    with open("/dev/full", "w") as full:
        result = subprocess.run(command(*arguments, "-v"), stdout=subprocess.PIPE, stderr=full, timeout=30)
    assert result.returncode == 0
    assert len(receiver.received) == 30


def test_a_sender_that_is_none_is_found_before_anything_is_begun(
    bulk: tuple[Receiver, list[object]], asyncmail: Command, tmp_path: Path
) -> None:
    receiver, arguments = bulk
    for more in ([], ["--dry-run"]):
        result = asyncmail(*arguments, "--from", "bad", *more)
        assert result.status == 2
        assert "'bad' is not a mail address" in result.err
    assert not (tmp_path / "people.csv.journal").exists()
    assert asyncmail(*arguments, "--from", "good@example.com").status == 0
    assert len(receiver.received) == 30


def test_an_option_that_is_given_empty_is_given(asyncmail: Command, servers: Servers) -> None:
    receiver = Receiver()
    url = f"smtp://127.0.0.1:{servers.smtp(receiver)}"
    result = asyncmail(
        *("send", "--server", url, "--from", "a@example.com", "--to", "b@example.com", "--text", ""),
        stdin=b"From: x@example.com\nTo: victim@example.com\n\nwhat a loop of a shell reads\n",
    )
    assert result.status == 0
    assert b"what a loop" not in receiver.received[0].content


def test_interrupted_while_it_starts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Interrupted:
        @property
        def run(self) -> object:
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "asyncmail.cli", Interrupted())  # type: ignore[arg-type]
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 130
    assert capsys.readouterr().err == "interrupted\n"


@pytest.mark.parametrize("what", ["--help", "--version"])
def test_no_room_for_help(what: str) -> None:
    with open("/dev/full", "w") as full:
        result = subprocess.run(command(what), stdout=full, stderr=subprocess.PIPE, text=True, timeout=30)
    assert result.returncode == 1
    assert result.stderr == "error: the result cannot be written: No space left on device\n"


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_no_room_for_the_result(bulk: tuple[Receiver, list[object]], more: list[str]) -> None:
    """That all was sent, or not, is told all the same."""
    receiver, arguments = bulk
    for number, status in ((10, 3), (30, 3), (30, 3)):
        limit = ["--limit", 10] if number == 10 else []
        with open("/dev/full", "w") as full:
            result = subprocess.run(
                command(*arguments, *limit, *more), stdout=full, stderr=subprocess.PIPE, text=True, timeout=30
            )
        assert result.returncode == status
        assert "error: the result cannot be written: No space left on device\n" in result.stderr
        assert len(receiver.received) == number


def test_serve_goes_on_without_a_reader(tmp_path: Path) -> None:
    ports = ("--smtp-port", 0, "--pop3-port", 0)
    with subprocess.Popen(
        command("serve", "--directory", tmp_path, *ports), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        address = next(line.split()[1] for line in process.stdout if "SMTP" in line)
        process.stdout.close()
        for _ in range(2):
            arguments = [
                "send",
                "--server",
                f"smtp://{address}",
                "--from",
                "a@x.example",
                "--to",
                "b@x.example",
            ]
            assert subprocess.run(command(*arguments, "--text", "x"), timeout=30).returncode == 0
        process.send_signal(signal.SIGTERM)
    assert process.returncode == 3
    assert len(list(tmp_path.glob("b/new/*"))) == 2


def test_a_terminal_that_is_closed_ends_bulk_as_an_interrupt_does(
    bulk: tuple[Receiver, list[object]], tmp_path: Path
) -> None:
    receiver, arguments = bulk
    process = subprocess.Popen(command(*arguments, "--rate", "20/s"), stderr=subprocess.PIPE)
    while not receiver.received:
        time.sleep(0.01)
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=30)
    assert process.returncode == 1
    assert b"begun" in (tmp_path / "people.csv.journal").read_bytes()
    assert subprocess.run(command(*arguments), timeout=30).returncode == 0
    assert receiver.recipients == sorted(f"user{number}@example.com" for number in range(30))


def test_bulk_goes_on_without_its_terminal_as_nohup_asks(bulk: tuple[Receiver, list[object]]) -> None:
    receiver, arguments = bulk
    process = subprocess.Popen(
        ["nohup", *command(*arguments, "--rate", "20/s")],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    while not receiver.received:
        time.sleep(0.01)
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=30)
    assert process.returncode == 0
    assert len(receiver.received) == 30


async def _serve_nowhere() -> None:
    await SMTPServer(lambda transaction: None, port=99_999).start()  # type: ignore[arg-type,return-value]


@pytest.mark.parametrize(
    "mistake",
    [
        lambda: Mailer(None),  # type: ignore[arg-type]
        lambda: POP3Client(None),  # type: ignore[arg-type]
        lambda: SMTPClient("smtp://localhost", timeouts="5"),  # type: ignore[arg-type]
        lambda: compose(sender="a@example.com", to=None),  # type: ignore[arg-type]
        lambda: compose(sender="a@example.com", to=[None]),  # type: ignore[list-item]
        lambda: compose(sender="a@example.com", attachments="numbers.csv"),
        lambda: compose(sender="a@example.com", attachments=[("a.txt", "text")]),  # type: ignore[list-item]
        lambda: Template(sender="a@example.com", text="x").render({}, to="b@example.com", sender="bad"),
        lambda: server_context(3),  # type: ignore[arg-type]
        lambda: SMTPServer(Receiver(), hostname=3),  # type: ignore[arg-type]
        lambda: SMTPServer(Receiver),
        lambda: POP3Server(None),  # type: ignore[arg-type]
        lambda: POP3Server(InMemoryMaildrops),  # type: ignore[arg-type]
        lambda: POP3Server(InMemoryMaildrops({}), hostname=3),  # type: ignore[arg-type]
        lambda: compose(sender="a@example.com", message_id=3),  # type: ignore[arg-type]
    ],
)
def test_wrong_types_are_errors_of_the_tree(mistake: Callable[[], object]) -> None:
    with pytest.raises(MailError) as caught:
        mistake()
    assert caught.value.cure


async def test_no_such_port() -> None:
    with pytest.raises(InputError, match="99999 is no port"):
        await _serve_nowhere()


async def test_content_is_octets() -> None:
    async with SMTPServer(Receiver()) as server, SMTPClient(f"smtp://127.0.0.1:{server.port}") as client:
        await client.mail("a@example.com")
        await client.rcpt("b@example.com")
        with pytest.raises(InputError):
            await client.data("text")  # type: ignore[arg-type]
        with pytest.raises(InputError):
            await client.bdat("text")  # type: ignore[arg-type]
        await client.data(b"Subject: x\r\n\r\n")


async def test_a_context_for_servers_is_none_for_clients() -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    async with SMTPServer(Receiver()) as server:
        with pytest.raises(MailError):
            await SMTPClient(f"smtps://127.0.0.1:{server.port}", tls_context=context).connect()


def test_an_interrupt_sends_no_more_than_what_is_under_way(bulk: tuple[Receiver, list[object]]) -> None:
    """What has been made ahead, and not begun, is not sent."""
    receiver, arguments = bulk
    process = subprocess.Popen(
        command(*arguments, "--rate", "4/s", "--connections", "1"), stderr=subprocess.PIPE
    )
    while not receiver.received:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert len(receiver.received) < 30

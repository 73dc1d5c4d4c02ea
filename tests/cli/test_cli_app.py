from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import pty
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest
import typer

from asyncmail import __main__, __version__
from asyncmail.cli import failures, options
from asyncmail.cli.terminal import show_json
from asyncmail.errors import ConnectError, InputError, MissingExtra

if TYPE_CHECKING:
    from collections.abc import Callable

    from commandline import Command


def test_version_and_help(asyncmail: Command) -> None:
    assert asyncmail("--version") == (0, f"asyncmail {__version__}\n", "")
    for arguments in (["--help"], ["-h"], []):
        assert all(name in asyncmail(*arguments).out for name in ("demo", "send", "bulk", "fetch", "serve"))
    for command in ("demo", "send", "bulk", "fetch", "serve"):
        status, out, _ = asyncmail(command, "--help")
        assert status == 0
        assert f"Usage: asyncmail {command}" in out


@pytest.mark.parametrize("arguments", [("nothing",), ("send", "--nothing"), ("demo", "--messages", "0")])
def test_what_is_not_there(asyncmail: Command, arguments: tuple[str, ...]) -> None:
    status, out, err = asyncmail(*arguments)
    assert status == 2
    assert out == ""
    assert "Usage: asyncmail" in err


def test_the_program() -> None:
    command = [sys.executable, "-m", "asyncmail", "--version"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.startswith("asyncmail ")


def test_main(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["asyncmail", "--version"])
    with pytest.raises(SystemExit) as end:
        __main__.main()
    assert end.value.code == 0
    assert capsys.readouterr().out == f"asyncmail {__version__}\n"


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(__main__, "find_spec", lambda name: None if name == "rich" else name)
    with pytest.raises(SystemExit) as end:
        __main__.main()
    assert end.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        "asyncmail: input: the asyncmail command, for want of rich, needs an extra (pip install 'asyncmail[cli]')\n"
    )


def command_that(action: Callable[[], bool]) -> int:
    with pytest.raises(typer.Exit) as end:
        failures.guarded(action)()
    return end.value.exit_code


def fail_with(error: BaseException) -> Callable[[], bool]:
    def command() -> bool:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (ConnectError("x\x1b[31m", cure="do y"), 1, "error: connect: x\\x1b[31m\n       do y\n"),
        (InputError("x"), 2, "error: input: x\n"),
        (
            MissingExtra("dkim", "a key"),
            2,
            "error: input: a key needs an extra\n       pip install 'asyncmail[dkim]'\n",
        ),
        (ExceptionGroup("g", [ExceptionGroup("h", [InputError("x")])]), 2, "error: input: x\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (BaseExceptionGroup("g", [KeyboardInterrupt()]), 130, "interrupted\n"),
    ],
)
def test_how_commands_end(
    capsys: pytest.CaptureFixture[str], error: BaseException, status: int, text: str
) -> None:
    assert command_that(fail_with(error)) == status
    assert capsys.readouterr().err == text


def test_a_fault_is_told_in_short(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_that(fail_with(KeyError("x"))) == 1
    assert "error: a fault in this program at test_cli_app.py:" in (text := capsys.readouterr().err)
    assert "KeyError: 'x'" in text
    assert "Traceback" not in text


def test_success_and_failure() -> None:
    assert command_that(lambda: True) == 0
    assert command_that(lambda: False) == 1


def test_a_reader_that_goes_away() -> None:
    program = """
        import typer
        from asyncmail.cli.failures import guarded
        from asyncmail.cli.terminal import say
        app = typer.Typer()
        app.command()(guarded(lambda: all(say("x" * 1000) is None for _ in range(1000))))
        app([])
    """
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write) as closed:
        command = [sys.executable, "-c", textwrap.dedent(program)]
        end = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, text=True)
    assert (end.returncode, end.stderr) == (3, "")


def run_in_shell(arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = f"{sys.executable} -m asyncmail {arguments}"
    return subprocess.run(
        command,
        shell=True,
        env=os.environ | environment,
        text=True,
        capture_output=True,
        stdin=subprocess.DEVNULL,
    )


def test_a_disk_without_room_for_the_output() -> None:
    for arguments in ("demo --messages 1 > /dev/full", "demo --messages 1 --json > /dev/full"):
        result = run_in_shell(arguments)
        assert result.returncode == 3
        assert result.stderr == "error: the result cannot be written: No space left on device\n"


def test_streams_that_are_closed() -> None:
    assert run_in_shell("demo --messages 1 <&- >&- 2>&-").returncode == 0
    result = run_in_shell("send --server smtp://localhost <&-")
    assert result.returncode == 2
    assert "standard input is empty" in result.stderr


ASCII = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}


def test_a_terminal_without_unicode() -> None:
    result = run_in_shell("fetch --help", **ASCII)
    assert (result.returncode, result.stderr) == (0, "")
    assert "[URL]..." in result.stdout
    result = run_in_shell(
        "send --server smtp://localhost:1 --from a@example.com --to b@example.com --text ü", **ASCII
    )
    assert result.returncode == 2
    assert "input: what is given for --text is not ASCII\n       write it in UTF-8" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ("send --server smtp://u:$X@localhost --from a@x.example --to b@x.example --text x", "--server"),
        ("send --server smtp://localhost --from a$X@x.example --to b@x.example --text x", "--from"),
        ("send --server smtp://localhost --from a@x.example --to b@x.example --to $X@x.example", "--to"),
        ("bulk no.csv no.eml --server smtp://localhost --to-column $X", "--to-column"),
        ("fetch pop3://u:$X@localhost --to no", "a URL"),
        ("serve --user u:$X", "--user"),
    ],
)
def test_what_is_not_utf_8(arguments: str, name: str) -> None:
    result = run_in_shell(arguments.replace("$X", "$(printf 'caf\\351')"))
    assert result.returncode == 2
    assert f"error: input: what is given for {name} is not UTF-8\n" in result.stderr
    assert "caf" not in result.stderr


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_json_in_any_encoding(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding, errors="backslashreplace"))
    show_json({"name": "ü😀"})
    sys.stdout.flush()
    assert json.loads(written.getvalue().decode(encoding)) == {"name": "ü😀"}


def test_what_is_logged_is_one_line(asyncmail: Command, capsys: pytest.CaptureFixture[str]) -> None:
    failures._log_plainly()
    failures._log_plainly()
    logger = logging.getLogger("asyncmail.server")
    try:
        raise ValueError("a\nb")
    except ValueError:
        logger.exception("the handler failed")
    logger.warning("plain")
    logger.info("not told")
    assert capsys.readouterr().err == "warning: the handler failed: a\\nb\nwarning: plain\n"


def test_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> str:
        return type(asyncio.get_running_loop()).__module__

    assert options.run_async(main).startswith("uvloop")
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert options.run_async(main).startswith("asyncio")


def test_bars_are_on_a_terminal_only() -> None:
    command = [sys.executable, "-m", "asyncmail", "demo", "--messages", "50", "--json"]
    terminal, other_end = pty.openpty()
    with os.fdopen(terminal, "rb", buffering=0) as shown:
        result = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=other_end, env=os.environ | {"TERM": "xterm"}
        )
        os.close(other_end)
        assert b"Retrieving" in shown.read(100_000)
    assert json.loads(result.stdout)["messages"] == 50
    assert subprocess.run(command, capture_output=True).stderr == b""

"""Options that several commands have, and what becomes of them."""

from __future__ import annotations

import asyncio
import math
import os
import re
import sys
from dataclasses import replace
from getpass import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from ..client.options import parse_server
from ..errors import InputError
from ..net import ServerURL, client_context, transcript
from .terminal import note

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from ..client.options import SMTPOptions
    from ..wire import Trace

__all__ = [
    "AllowCleartext",
    "AsJSON",
    "CAFile",
    "Server",
    "Timeout",
    "Verbose",
    "parse_rate",
    "run_async",
    "smtp_options",
    "smtp_server",
    "trace_to_terminal",
    "with_password",
]

T = TypeVar("T")

_SESSION = "Session"
_RATE = re.compile(r"([0-9]+(?:\.[0-9]+)?) */ *([smh])")
_SECONDS = {"s": 1, "m": 60, "h": 3600}
PASSWORD_VARIABLE = "ASYNCMAIL_PASSWORD"

Server = Annotated[
    str,
    typer.Option(
        "--server",
        metavar="URL",
        envvar="ASYNCMAIL_SERVER",
        help="Where to send: smtp://, smtp+starttls://, smtps://, lmtp:// or lmtp+unix://, as in"
        " smtps://user@mail.example.com. The password may be in the URL, in ASYNCMAIL_PASSWORD, or is asked for.",
        rich_help_panel=_SESSION,
    ),
]
CAFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Trust these certificate authorities (PEM) instead of the system's.",
        rich_help_panel=_SESSION,
    ),
]
AllowCleartext = Annotated[
    bool,
    typer.Option(
        "--allow-cleartext",
        metavar="",
        help="Log in even if the connection is neither encrypted nor to this machine.",
        rich_help_panel=_SESSION,
    ),
]
Timeout = Annotated[
    float | None,
    typer.Option(
        min=0.01,
        metavar="SECONDS",
        help="Wait so long for each answer; by default minutes, as the RFCs ask for.",
        rich_help_panel=_SESSION,
    ),
]
Verbose = Annotated[
    bool,
    typer.Option(
        "-v",
        "--verbose",
        metavar="",
        help="Show what client and server say, secrets hidden.",
        rich_help_panel=_SESSION,
    ),
]
AsJSON = Annotated[bool, typer.Option("--json", metavar="", help="Print the result as JSON.")]


def parse_rate(text: str) -> float:
    """Messages per second, of a text such as `100/s`, `600/m` or `5000/h`."""
    match = _RATE.fullmatch(text)
    rate = float(match[1]) / _SECONDS[match[2]] if match else 0.0
    if not 0 < rate < math.inf:
        raise typer.BadParameter("write a rate as 100/s, 600/m or 5000/h")
    return rate


def run_async(main: Callable[[], Coroutine[object, object, T]]) -> T:
    """Run an async function, on uvloop where that is installed."""
    with asyncio.Runner(loop_factory=_fastest_loop()) as runner:
        return runner.run(main())


def _fastest_loop() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        from uvloop import new_event_loop
    except ImportError:
        return asyncio.new_event_loop
    return new_event_loop


def smtp_server(server: str) -> ServerURL:
    """The server to send to, with its password.

    Raises:
        MailError: it cannot be used.
    """
    return with_password(parse_server(server))


def smtp_options(
    *, ca_file: Path | None, allow_cleartext: bool, timeout: float | None, verbose: bool
) -> SMTPOptions:
    """The options of a session."""
    options: SMTPOptions = {"allow_cleartext_credentials": allow_cleartext}
    if ca_file is not None:
        options["tls_context"] = client_context(cafile=ca_file)
    if timeout is not None:
        options["timeouts"] = timeout
    if verbose:
        options["trace"] = trace_to_terminal()
    return options


def trace_to_terminal(*, server_side: bool = False) -> Trace:
    """A transcript on standard error."""
    return transcript(lambda line: note(line, "dim"), server_side=server_side)


def with_password(url: ServerURL) -> ServerURL:
    """Fill in the password of a URL that names a user and has none: from the environment, or by asking.

    Raises:
        InputError: there is nobody to ask.
    """
    if not url.username or url.password:
        return url
    password = os.environ.get(PASSWORD_VARIABLE)
    if password is None and sys.stderr.isatty():
        password = getpass(f"Password for {url.username} at {url.endpoint}: ")
    if not password:
        raise InputError(
            f"the password for {url} is missing", cure=f"put it in {PASSWORD_VARIABLE}, or in the URL"
        )
    return replace(url, password=password)

"""Errors as a user of the command sees them: what went wrong, where, and what to do; never a traceback."""

from __future__ import annotations

import functools
import logging
import re
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec

import typer
from rich.text import Text

from ..errors import ConnectError, FolderError, InputError, MailError, MissingExtra, printable
from .terminal import drop_output, lost_output, note, warn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["explain", "guarded", "in_options", "starting", "written"]

P = ParamSpec("P")

# What the library says to programmers, for those who type.
_IN_OPTIONS = (
    (
        "pass tls_context=ssl.create_default_context(cafile='certificate.pem')",
        "give --ca-file with its certificate",
    ),
    ("give keyfile= for a key", "give --tls-key for a key"),
    ("give its password", "give a key without a password"),
    ("say allow_cleartext_credentials=True", "say --allow-cleartext"),
    ("in the URL or as username= and password=", "in the URL; the password may be in ASYNCMAIL_PASSWORD"),
    (", or leave CRAM-MD5 out of mechanisms= if the server keeps passwords as hashes", ""),
    (", or leave APOP out of mechanisms= if the server keeps passwords as hashes", ""),
    ("or pass a tls_context of your own", "or use another server"),
    ("pass a tls_context that fits the server", "give --ca-file with a certificate to trust"),
    ("or pass sender=", "or give --from"),
    ("pass sender=", "give --from, or write a From field"),
    ("or pass recipients=", "or give --to"),
    ("pass to=, or fill in", "fill in"),
    ("pass it, or double the braces", "add such a column, or double the braces"),
    ("parse several addresses as a list", "give one address at a time"),
    (
        "go on with what that run was about, or begin another journal",
        "go on with the template of that run, or give --new-journal to begin another one, with all rows",
    ),
)


_SURROGATE = re.compile(r"[\ud800-\udfff]")  # an octet that could not be decoded (PEP 383)
_NAMES = {"sender": "--from", "urls": "a URL"}  # of parameters that are called otherwise


def in_options(text: str) -> str:
    """The text of an error, or its cure, in terms of the command line."""
    for of_library, of_command in _IN_OPTIONS:
        text = text.replace(of_library, of_command)
    return text


def explain(error: MailError, *, context: str = "") -> None:
    """Print an error."""
    stage = f"{error.stage}: " if error.stage else ""
    text = Text.assemble(("error: ", "bold red"), context, stage, printable(error.describe(), 1000))
    note(text)
    if error.cure:
        note(f"       {in_options(error.cure)}", "dim")


@contextmanager
def starting() -> Iterator[None]:
    """Make an InputError of what keeps a command from doing anything: a file or a port that cannot be had."""
    try:
        yield
    except (FolderError, ConnectError) as error:
        raise InputError(error.describe(), cure=error.cure) from error


def guarded(command: Callable[P, bool]) -> Callable[P, None]:
    """Make a Typer command of a function that returns whether all went well."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        _log_plainly()

        def checked() -> bool:
            for name, value in kwargs.items():
                _check_text(name, value)
            return command(*args, **kwargs)

        raise typer.Exit(_status_of(checked))

    run.__annotations__ = {**command.__annotations__, "return": "None"}
    return run


def _check_text(name: str, value: object) -> None:
    """Raise InputError if text that was given cannot be read; the name of a file may be anything."""
    for each in value if isinstance(value, list) else [value]:
        if isinstance(each, str) and _SURROGATE.search(each):
            # Which is not shown: it may hold a password.
            raise InputError(
                f"what is given for {_NAMES.get(name, '--' + name.replace('_', '-'))} is not"
                f" {sys.getfilesystemencoding().upper()}",
                cure="write it in UTF-8, where the locale is one of UTF-8",
            )


def written(command: Callable[[], int]) -> int:
    """The exit status of what does nothing but print, once that has been written."""
    try:
        status = command()
        sys.stdout.flush()
    except OSError as error:
        drop_output()
        _explain_lost(error)
        return 1
    return status


def _status_of(command: Callable[[], bool]) -> int:
    try:
        went_well = command()
    except KeyboardInterrupt:
        note("interrupted", "yellow")
        return 130
    except (Exception, BaseExceptionGroup) as error:
        return _status_of_failure(_first(error))
    lost = lost_output()
    if lost is not None:
        _explain_lost(lost)
    # Told apart from what went wrong: who takes this for that would send everything again.
    return 1 if not went_well else 0 if lost is None else 3


def _explain_lost(error: OSError) -> None:
    if not isinstance(error, BrokenPipeError):  # whose reader has gone, and knows
        note(Text.assemble(("error: ", "bold red"), f"the result cannot be written: {error.strerror}"))


def _status_of_failure(error: BaseException) -> int:
    if isinstance(error, MailError):
        explain(error)
        return 2 if isinstance(error, InputError | MissingExtra) else 1
    if isinstance(error, KeyboardInterrupt):
        note("interrupted", "yellow")
        return 130
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    place = f" at {Path(frame.tb_frame.f_code.co_filename).name}:{frame.tb_lineno}" if frame else ""
    problem = printable(f"{type(error).__name__}: {error}", 500)
    note(Text.assemble(("error: ", "bold red"), f"a fault in this program{place}: {problem}"))
    note("       please report it, with the command that led to it", "dim")
    return 1


def _first(error: BaseException) -> BaseException:
    """What really happened, where a task group wrapped it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


class _Plain(logging.Handler):
    """Prints a record as one line: whoever runs a command wants no traceback."""

    def emit(self, record: logging.LogRecord) -> None:
        text = printable(record.getMessage(), 500)
        if record.exc_info is not None and record.exc_info[1] is not None:
            text += f": {printable(record.exc_info[1], 500) or record.exc_info[1].__class__.__name__}"
        warn(text)


def _log_plainly() -> None:
    for name in ("asyncmail", "asyncio"):
        logger = logging.getLogger(name)
        if not any(isinstance(handler, _Plain) for handler in logger.handlers):
            logger.addHandler(_Plain(logging.WARNING))
            logger.propagate = False

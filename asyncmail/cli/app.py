"""The commands, and how they come to an end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from .. import __version__
from .bulk import bulk
from .demo import demo
from .failures import guarded, written
from .fetch import fetch
from .send import send
from .serve import serve

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["app", "run"]

app: typer.Typer = typer.Typer(
    name="asyncmail",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit status: 0 if all went well, 1 if not, 2 if what was asked for cannot be done at all, so that nothing"
    " was, 3 if all went well and only the result could not be written.",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"asyncmail {__version__}")
        raise typer.Exit


@app.callback()
def about(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, metavar="", help="Print the version."
        ),
    ] = False,
) -> None:
    """Send mail, send it in bulk, fetch many maildrops, and try it all without a mail server."""


for _command in (demo, send, bulk, fetch, serve):
    app.command()(guarded(_command))


def run(arguments: Sequence[str]) -> int:
    """Run one command.

    Args:
        arguments: of the command line, without the program's name.

    Returns:
        The exit status.
    """
    return written(lambda: _run(arguments))


def _run(arguments: Sequence[str]) -> int:
    try:
        app(list(arguments), prog_name="asyncmail")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0

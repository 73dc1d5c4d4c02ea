"""`asyncmail fetch`: one or many maildrops into Maildirs, only what is new."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003 - Typer evaluates annotations
from typing import TYPE_CHECKING, Annotated

import anyio
import typer
from rich.filesize import decimal
from rich.text import Text

from ..errors import InputError, URLError, printable
from ..net import ServerURL, client_context
from ..retrieval import Fetcher
from .failures import in_options
from .options import (
    AllowCleartext,
    AsJSON,
    CAFile,
    Timeout,
    Verbose,
    run_async,
    trace_to_terminal,
    with_password,
)
from .places import made, maildirs_in
from .terminal import heading, progress, show_json, show_table

if TYPE_CHECKING:
    from ..retrieval import FetchReport

__all__ = ["fetch"]

_REFRESH_SECONDS = 0.1


def fetch(
    directory: Annotated[
        Path, typer.Option("--to", metavar="DIR", help="Where the Maildirs are, DIR/USER@HOST.")
    ],
    urls: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="URL",
            help="Maildrops: pop3://, pop3+starttls:// or pop3s://, as in pop3s://user@mail.example.com. The"
            " password may be in the URL, in ASYNCMAIL_PASSWORD, or is asked for.",
            show_default=False,
        ),
    ] = None,
    urls_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="More maildrops, a URL on each line; a line with # before it is a comment, - is standard input.",
        ),
    ] = None,
    delete: Annotated[
        bool,
        typer.Option(
            "--delete", metavar="", help="Delete messages from the server once they are on the disk."
        ),
    ] = False,
    connections: Annotated[
        int, typer.Option(min=1, metavar="N", help="At most so many sessions at a time.")
    ] = 64,
    connections_per_host: Annotated[
        int, typer.Option(min=1, metavar="N", help="At most so many of them with one server.")
    ] = 8,
    ledger: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Remembers what is stored.",
            show_default="DIR/.asyncmail-ledger.db",
        ),
    ] = None,
    ca_file: CAFile = None,
    allow_cleartext: AllowCleartext = False,
    timeout: Timeout = None,
    verbose: Verbose = False,
    as_json: AsJSON = False,
) -> bool:
    """Fetch the new messages of one or many maildrops into Maildirs.

    A message is on the disk before it is noted as fetched, and noted before it is deleted: end this when you like.
    Each maildrop has a Maildir of its own, DIR/USER@HOST.

    `asyncmail fetch pop3s://ann@mail.example.com --to fetched`
    """
    maildrops = [_usable(text) for text in [*(urls or ()), *_urls_in(urls_file)]]
    if not maildrops:
        raise InputError("there is nothing to fetch", cure="give a URL, or --urls-file")
    fetcher = Fetcher(
        maildrops,
        deliver_to=maildirs_in(made(directory), "{user}@{host}"),
        ledger=ledger or directory / ".asyncmail-ledger.db",
        delete=delete,
        # Transcripts of several sessions at once are for nobody.
        connections=1 if verbose else connections,
        connections_per_host=connections_per_host,
        tls_context=None if ca_file is None else client_context(cafile=ca_file),
        allow_cleartext_credentials=allow_cleartext,
        trace=trace_to_terminal() if verbose else None,
        timeouts=timeout,
    )
    reports = run_async(lambda: _run(fetcher))
    reports.sort(key=lambda report: report.index)
    if as_json:
        show_json([_as_json(report) for report in reports])
    else:
        _show(reports)
    return all(report.ok for report in reports)


async def _run(fetcher: Fetcher) -> list[FetchReport]:
    reports: list[FetchReport] = []
    with progress() as add_bar:
        maildrops = add_bar("Maildrops", fetcher.progress.maildrops)
        messages = add_bar("Messages", None)

        async def show() -> None:
            while True:
                maildrops.reach(fetcher.progress.finished)
                messages.reach(fetcher.progress.messages)
                await anyio.sleep(_REFRESH_SECONDS)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(show)
            async for report in fetcher.run():
                reports += [report]
            tasks.cancel_scope.cancel()
    return reports


def _show(reports: list[FetchReport]) -> None:
    rows = [
        (
            report.maildrop,
            report.listed,
            report.fetched,
            decimal(report.octets),
            report.deleted,
            Text("") if report.error is None else _error_text(report),
        )
        for report in reports
    ]
    show_table(("Maildrop", "#Listed", "#New", "#Size", "#Deleted", "Error"), rows)
    if len(reports) > 1:
        failed = sum(not report.ok for report in reports)
        heading(
            f"{sum(report.fetched for report in reports):,} new messages,"
            f" {decimal(sum(report.octets for report in reports))}, of {len(reports):,} maildrops"
            + (f"; {failed:,} failed" if failed else "")
        )


def _error_text(report: FetchReport) -> Text:
    error = report.error
    assert error is not None
    text = Text(f"{error.stage}: " if error.stage else "", style="red")
    text.append(printable(error.describe(), 1000))
    if error.cure:
        text.append(f" ({in_options(error.cure)})", "dim")
    return text


def _as_json(report: FetchReport) -> dict[str, object]:
    return {
        "url": report.url,
        "maildrop": report.maildrop,
        "listed": report.listed,
        "already_seen": report.already_seen,
        "fetched": report.fetched,
        "skipped": report.skipped,
        "octets": report.octets,
        "deleted": report.deleted,
        "seconds": round(report.duration, 3),
        "error": None if report.error is None else in_options(str(report.error)),
    }


def _usable(text: str) -> ServerURL | str:
    """A URL with its password; the text where it is none, for the fetcher to report."""
    try:
        url = ServerURL.parse(text)
    except URLError:
        return text
    return with_password(url)


def _urls_in(path: Path | None) -> list[str]:
    if path is None:
        return []
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise InputError(f"{printable(path)} cannot be read: {reason}", cure="check the path") from None
    lines = [line.strip() for line in text.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]

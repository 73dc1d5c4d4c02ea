"""`asyncmail send`: one message."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import InputError, MessageError, printable
from ..message import compose, prepare
from ..sending import send as send_message
from .failures import explain, in_options
from .options import (
    AllowCleartext,
    AsJSON,
    CAFile,
    Server,
    Timeout,
    Verbose,
    run_async,
    smtp_options,
    smtp_server,
)
from .terminal import show_json, show_table, status_text

if TYPE_CHECKING:
    from ..message import Prepared
    from ..smtp import Outcome

__all__ = ["send"]

_COMPOSE = "Message"


def send(
    server: Server,
    message: Annotated[
        Path | None,
        typer.Argument(
            metavar="MESSAGE.eml",
            help="A file with the message, sent as it is; - is standard input. Without it the message is made of the"
            " options below; if there are none of those either, it is read from standard input.",
            show_default=False,
        ),
    ] = None,
    sender: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="ADDRESS",
            help="The sender; with MESSAGE.eml that of the envelope, instead of the one in its header.",
        ),
    ] = "",
    to: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDRESS",
            help="A recipient; with MESSAGE.eml one of the envelope, instead of those in its header. Can be given"
            " repeatedly.",
        ),
    ] = None,
    cc: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDRESS",
            help="A recipient of a copy. Can be given repeatedly.",
            rich_help_panel=_COMPOSE,
        ),
    ] = None,
    bcc: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDRESS",
            help="A recipient whom the others do not see. Can be given repeatedly.",
            rich_help_panel=_COMPOSE,
        ),
    ] = None,
    subject: Annotated[
        str | None, typer.Option(metavar="TEXT", help="The subject.", rich_help_panel=_COMPOSE)
    ] = None,
    text: Annotated[
        str | None, typer.Option(metavar="TEXT", help="The text.", rich_help_panel=_COMPOSE)
    ] = None,
    text_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The text, in UTF-8; - is standard input.", rich_help_panel=_COMPOSE
        ),
    ] = None,
    html: Annotated[
        str | None, typer.Option(metavar="TEXT", help="The text as HTML.", rich_help_panel=_COMPOSE)
    ] = None,
    html_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The text as HTML, in UTF-8.", rich_help_panel=_COMPOSE),
    ] = None,
    attach: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE", help="A file to attach. Can be given repeatedly.", rich_help_panel=_COMPOSE
        ),
    ] = None,
    ca_file: CAFile = None,
    allow_cleartext: AllowCleartext = False,
    timeout: Timeout = None,
    verbose: Verbose = False,
    as_json: AsJSON = False,
) -> bool:
    """Send one message: a file, or one that is made of the options.

    `asyncmail send --server smtp://localhost:2525 --from a@example.com --to b@example.com --subject Hi --text Hello`

    `asyncmail send --server smtps://me@mail.example.com < message.eml`
    """
    # What is given is given, be it empty: standard input may be what a loop of a shell reads.
    parts = [each is not None for each in (cc, bcc, subject, text, text_file, html, html_file, attach)]
    if message is not None and any(parts):
        raise InputError(
            "a message is given, and parts of another",
            cure="give MESSAGE.eml, or --subject, --text and so on",
        )
    if message is None and not any(parts):
        if sys.stdin.isatty():
            raise InputError(
                "there is no message", cure="give MESSAGE.eml, or --from, --to, --subject and --text"
            )
        message = Path("-")
    if message is not None:
        prepared = prepare(_read(message), sender or None, to or None)
    elif not sender:
        raise InputError("there is no sender", cure="give --from")
    else:
        content = compose(
            sender=sender,
            to=to or (),
            cc=cc or (),
            bcc=bcc or (),
            subject=subject or "",
            text=_text_of("text", text, text_file),
            html=_text_of("html", html, html_file),
            attachments=attach or (),
        )
        prepared = prepare(content)
    url = smtp_server(server)
    options = smtp_options(ca_file=ca_file, allow_cleartext=allow_cleartext, timeout=timeout, verbose=verbose)
    envelope = prepared.envelope
    outcome = run_async(
        lambda: send_message(
            prepared.octets, server=url, sender=envelope.sender, recipients=envelope.recipients, **options
        )
    )
    _report(prepared, outcome, as_json)
    return outcome.ok


def _report(prepared: Prepared, outcome: Outcome, as_json: bool) -> None:
    if as_json:
        show_json(
            {
                "message_id": prepared.message_id,
                "sender": outcome.sender,
                "octets": len(prepared.octets),
                "recipients": [
                    {
                        "address": each.address,
                        "status": each.status.value,
                        "stage": each.stage.value,
                        "reply": None if each.reply is None else str(each.reply),
                    }
                    for each in outcome.recipients
                ],
                "error": None if outcome.error is None else in_options(str(outcome.error)),
            }
        )
    else:
        show_table(
            ("Recipient", "Outcome", "Answer"),
            [
                (each.address, status_text(each.status), "" if each.reply is None else str(each.reply))
                for each in outcome.recipients
            ],
        )
    if outcome.error is not None:
        explain(outcome.error)


def _text_of(name: str, text: str | None, path: Path | None) -> str | None:
    if path is None:
        return text
    if text is not None:
        raise InputError(f"the {name} is given twice", cure=f"give --{name} or --{name}-file")
    try:
        return _read(path).decode()
    except UnicodeDecodeError:
        raise MessageError(f"{printable(path)} is not UTF-8", cure="save it as UTF-8") from None


def _read(path: Path) -> bytes:
    if str(path) == "-":
        content = sys.stdin.buffer.read()
        if not content.strip():
            raise MessageError(
                "standard input is empty", cure="give a message there, or --from, --to, --subject and --text"
            )
        return content
    try:
        return path.read_bytes()
    except OSError as error:
        raise MessageError(
            f"{printable(path)} cannot be read: {error.strerror}", cure="check the path"
        ) from None

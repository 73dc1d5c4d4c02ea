"""`asyncmail serve`: a mail server for development."""

from __future__ import annotations

import os
import secrets
from contextlib import AsyncExitStack
from email.parser import BytesHeaderParser
from email.policy import default
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import anyio
import typer
from rich.filesize import decimal

from ..address import Address
from ..errors import AddressSyntaxError, FolderError, InputError, printable
from ..message.flatten import header_end
from ..net import ServerURL, server_context
from ..server import MaildirMaildrops, POP3Server, SMTPServer
from ..smtp import Reply
from .endings import ending_signals
from .failures import starting
from .options import Verbose, run_async, trace_to_terminal
from .places import made, maildirs_in
from .terminal import heading, note, say, show_table, warn

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..folders import Maildir
    from ..sasl import Attempt
    from ..server import ReceivedTransaction, SessionInfo

__all__ = ["serve"]

_PASSWORD = "secret"
_NOT_STORED = Reply(452, "The message cannot be stored now", "4.3.1")


def serve(
    directory: Annotated[Path, typer.Option(metavar="DIR", help="Where the Maildirs are, DIR/USER.")] = Path(
        "mail"
    ),
    smtp_port: Annotated[int, typer.Option(min=0, max=65535, metavar="PORT", help="0 picks one.")] = 2525,
    pop3_port: Annotated[int, typer.Option(min=0, max=65535, metavar="PORT", help="0 picks one.")] = 1110,
    user: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME:PASSWORD",
            help="Who may log in; can be given repeatedly. Without it anybody may, with the password 'secret'.",
        ),
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Offer STARTTLS and STLS with this certificate (PEM).")
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Its key, if that is in a file of its own.")
    ] = None,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Listen on this address; '' is all of this machine's.")
    ] = "127.0.0.1",
    quiet: Annotated[
        bool, typer.Option("--quiet", metavar="", help="Print no line for each message.")
    ] = False,
    verbose: Verbose = False,
) -> bool:
    """Run an SMTP and a POP3 server for development, which keep all mail in Maildirs.

    Every recipient is accepted: mail for ann@wherever goes to DIR/ann, and is on the disk before the client hears so.
    The user ann reads it by POP3. Ctrl-C ends it; sessions in the middle of something finish first.
    """
    if tls_key is not None and tls_cert is None:
        raise InputError("there is a key and no certificate", cure="give --tls-cert")
    tls_context = None if tls_cert is None else server_context(tls_cert, tls_key)
    is_local = bool(host) and ServerURL(scheme="smtp", host=host).is_loopback
    # Nobody can guess it where others than this machine's users could try.
    password = _PASSWORD if is_local else secrets.token_urlsafe(9)
    users = _Users(user) if user else _Users(for_all=password)
    maildrops = _Maildrops(made(directory), users)
    trace = trace_to_terminal(server_side=True) if verbose else None
    smtp = SMTPServer(
        _Handler(maildrops, users, quiet=quiet),
        host=host,
        port=smtp_port,
        tls_context=tls_context,
        allow_cleartext_login=is_local,
        trace=trace,
    )
    pop3 = POP3Server(maildrops, host=host, port=pop3_port, tls_context=tls_context, trace=trace)

    async def run() -> None:
        async with AsyncExitStack() as stack:
            with starting():
                await stack.enter_async_context(smtp)
                await stack.enter_async_context(pop3)
            with anyio.open_signal_receiver(*ending_signals()) as signals:
                _announce(smtp, pop3, directory, users)
                if not is_local:
                    warn("whoever can reach this machine can deposit mail here")
                await anext(signals)
                note("ending", "yellow")

    run_async(run)
    return True


def _announce(smtp: SMTPServer, pop3: POP3Server, directory: Path, users: _Users) -> None:
    who = ", ".join(users.names) or f"anybody, with the password {users.for_all}"
    show_table(
        ("", "Where", "Who"),
        [
            ("SMTP", " ".join(smtp.addresses), "any recipient"),
            ("POP3", " ".join(pop3.addresses), who),
            ("Mail", str(directory), ""),
        ],
    )
    name = next(iter(users.names), "ann")
    password = users.for_all or "PASSWORD"
    heading("Try it, in another terminal:")
    say(
        f"  asyncmail send --server smtp://{smtp.addresses[0]} --from me@example.com --to {name}@example.com"
        " --subject Hello --text Hi"
    )
    say(f"  asyncmail fetch pop3://{name}:{password}@{pop3.addresses[0]} --to fetched\n")


class _Users:
    """Who may log in.

    Args:
        users: NAME:PASSWORD for each; nobody else may.
        for_all: the password of anybody, if there are no users.
    """

    def __init__(self, users: Iterable[str] = (), *, for_all: str = "") -> None:
        self.for_all = for_all
        self._passwords: dict[str, str] = {}
        for user in users:
            name, _, password = user.partition(":")
            if not name or not password:
                # The text may hold a password.
                raise InputError("a --user is not NAME:PASSWORD", cure="write --user ann:secret")
            self._passwords[_folded(name)] = password

    @property
    def names(self) -> list[str]:
        """Those named."""
        return list(self._passwords)

    def authenticate(self, attempt: Attempt) -> str | None:
        """Return the user's name, if the password is right; users may add @ and a domain."""
        name = _folded(attempt.username.partition("@")[0])
        password = self.for_all or self._passwords.get(name)
        # An unknown name takes as long as a wrong password.
        proved = attempt.verify(password or "")
        return name if proved and password else None


class _Maildrops(MaildirMaildrops):
    """A Maildir for each local part, whatever characters it has."""

    def __init__(self, directory: Path, users: _Users) -> None:
        super().__init__(directory, {})
        self._users = users
        self._maildirs = maildirs_in(directory)

    async def authenticate(self, attempt: Attempt) -> str | None:
        name = self._users.authenticate(attempt)
        return None if name is None else os.path.basename(self.maildir_of(name).path)

    def maildir_of(self, name: str) -> Maildir:
        return self._maildirs.resolve(user=_folded(name))


class _Handler:
    def __init__(self, maildrops: _Maildrops, users: _Users, *, quiet: bool) -> None:
        self._maildrops = maildrops
        self._users = users
        self._quiet = quiet

    async def authenticate(self, session: SessionInfo, attempt: Attempt) -> str | None:
        return self._users.authenticate(attempt)

    async def deliver(self, transaction: ReceivedTransaction) -> Reply | None:
        try:
            for name in {_local_part(recipient): None for recipient in transaction.recipients}:
                await self._maildrops.maildir_of(name).deliver(transaction.content)
        except FolderError as error:
            warn(f"a message was not stored: {error}")
            return _NOT_STORED
        if not self._quiet:
            header = transaction.content[: header_end(transaction.content)]
            subject = BytesHeaderParser(policy=default).parsebytes(header)["Subject"]
            say(
                f"{transaction.sender or '<>'} to {', '.join(transaction.recipients)},"
                f" {decimal(len(transaction.content))}: {printable(subject or 'no subject')}"
            )
        return None


def _local_part(recipient: str) -> str:
    try:
        return _folded(Address.parse(recipient).local_part)
    except AddressSyntaxError:  # <postmaster> has no domain, RFC 5321 §4.1.1.3
        return _folded(recipient)


def _folded(name: str) -> str:
    return name.lower()

"""`asyncmail demo`: thousands of messages, sent and retrieved at the same time in one event loop, and compared."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import anyio
import typer
from anyio import to_thread
from rich.filesize import decimal
from rich.text import Text

from ..errors import MailError
from ..message import Template
from ..net import now
from ..retrieval import Fetcher
from ..sending import Mailer
from ..server import InMemoryMaildrops, POP3Server, SMTPServer
from .endings import as_interrupts
from .failures import explain
from .options import AsJSON, run_async
from .places import made, maildirs_in
from .terminal import heading, note, progress, show_json, show_table

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ..message import Parcel
    from ..server import ReceivedTransaction
    from .terminal import Bar

__all__ = ["demo"]

_PASSWORD = "secret"
_CONNECTIONS = 4
_SESSIONS = 16
_BACKLOG = 10_000  # messages that the servers hold in memory at most, sent and not yet retrieved
_PAUSE = 0.02  # seconds between looks for new mail that found none
_DIGEST_OCTETS = 16
_MOST_SHOWN = 3  # errors

_TEXT = """\
Dear {name},

this is message {number}, and no other is like it: {token}.
.
A lone dot, such as the one above, ends a message on the wire, so it travels as two.
..and this line began with two.

{verse}
"""
_HTML = """\
<html><body>
<p>Dear <b>{name}</b>,</p>
<p>this is message {number}, and no other is like it: <code>{token}</code>.</p>
<blockquote>{verse}</blockquote>
</body></html>
"""
_VERSES = (
    "Some messages are plain and short, and some are long. ",
    "Überall ist Raum für Ümläute, 多言語, und für Zeilen, die sehr viel länger sind als andere. ",
)


def demo(
    messages: Annotated[int, typer.Option(min=1, metavar="N", help="How many to send.")] = 2000,
    maildrops: Annotated[int, typer.Option(min=1, metavar="N", help="How many users they are for.")] = 20,
    directory: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Keep the messages in DIR/USER.",
            show_default="a temporary directory, which is removed",
        ),
    ] = None,
    as_json: AsJSON = False,
) -> bool:
    """Send and retrieve thousands of messages on this machine, and account for every octet.

    Starts an SMTP and a POP3 server, sends personalised messages with text, HTML and an attachment, and fetches all
    maildrops at the same time, everything in one event loop. Then compares what was sent with what was retrieved.
    """
    with as_interrupts(), TemporaryDirectory(prefix="asyncmail-demo-") as name:
        temporary = Path(name)
        place = temporary if directory is None else made(directory)
        run = _Demo(messages, maildrops, place, temporary / "ledger.db")
        run_async(run.run)
        if as_json:
            show_json(run.as_json())
        else:
            run.show()
            if directory is not None:
                note(f"The messages are in {directory}.")
    return run.verdict.is_clean


@dataclass(slots=True)
class _Side:
    """What one side did."""

    messages: int = 0
    octets: int = 0
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        return self.messages / self.seconds if self.seconds else 0.0


@dataclass(slots=True)
class _Verdict:
    """What the comparison found, in messages."""

    lost: int = 0
    duplicated: int = 0
    altered: int = 0

    @property
    def is_clean(self) -> bool:
        return not (self.lost or self.duplicated or self.altered)


class _Demo:
    """One run.

    Args:
        messages: how many.
        maildrops: for how many users, in turn.
        directory: where they are delivered.
        ledger: of what is stored; belongs to this run alone.
    """

    def __init__(self, messages: int, maildrops: int, directory: Path, ledger: Path) -> None:
        width = len(str(maildrops))
        self._users = [f"user{number:0{width}}" for number in range(1, maildrops + 1)]
        self._messages = messages
        self._directory = directory
        self._ledger = ledger
        self._token = secrets.token_hex(8)
        self._digests: list[bytes] = []
        self._store = InMemoryMaildrops(dict.fromkeys(self._users, _PASSWORD))
        self._is_sent = False
        self._is_retrieved = False
        self._failures: list[MailError] = []
        self._sent = _Side()
        self._retrieved = _Side()
        self.verdict = _Verdict()

    async def run(self) -> None:
        """Send, retrieve, compare."""
        before = await to_thread.run_sync(self._stored)
        with progress() as add_bar:
            sending = add_bar("Sending", self._messages)
            retrieving = add_bar("Retrieving", self._messages)
            async with (
                SMTPServer(self._deliver) as smtp,
                POP3Server(self._store) as pop3,
                anyio.create_task_group() as tasks,
            ):
                tasks.start_soon(self._send, smtp.port, sending)
                tasks.start_soon(self._retrieve, pop3.port, retrieving)
            comparing = add_bar("Comparing", self._messages)
            await to_thread.run_sync(self._compare, before, comparing)

    async def _deliver(self, transaction: ReceivedTransaction) -> None:
        for recipient in transaction.recipients:
            self._store.deliver(recipient.partition("@")[0], transaction.content)

    # --- sending

    async def _send(self, port: int, bar: Bar) -> None:
        begun = now()
        try:
            async with Mailer(f"smtp://127.0.0.1:{port}", connections=_CONNECTIONS) as mailer:
                async for outcome in mailer.send_many(self._parcels()):
                    self._sent.messages += outcome.ok
                    self._sent.seconds = now() - begun
                    bar.advance()
        except MailError as error:
            self._failures.append(error)
        finally:
            self._is_sent = True
            bar.finish()

    async def _parcels(self) -> AsyncIterator[Parcel]:
        template = Template(
            sender="asyncmail demo <demo@example.com>",
            to="{name} <{user}@example.com>",
            subject="Message {number} for {name}",
            text=_TEXT,
            html=_HTML,
            attachments=[("octets.bin", bytes(range(256)) * 4)],
        )
        for number in range(self._messages):
            user = self._users[number % len(self._users)]
            fields = {
                "user": user,
                "name": f"{user.title()} {('Miller', 'Müller')[number % 2]}",
                "number": number,
                "token": secrets.token_hex(16),
                "verse": _VERSES[number % 2] * (number % 7),
            }
            parcel = template.render(fields, message_id=f"<{number}.{self._token}@example.com>")
            assert isinstance(parcel.content, bytes)
            self._digests.append(_digest(parcel.content))
            self._sent.octets += len(parcel.content)
            while number - self._retrieved.messages > _BACKLOG and not self._is_retrieved:  # noqa: ASYNC110
                await anyio.sleep(_PAUSE)
            yield parcel

    # --- retrieving

    async def _retrieve(self, port: int, bar: Bar) -> None:
        fetcher = Fetcher(
            [f"pop3://{user}:{_PASSWORD}@127.0.0.1:{port}" for user in self._users],
            deliver_to=maildirs_in(self._directory),
            ledger=self._ledger,
            delete=True,
            connections=_SESSIONS,
            connections_per_host=_SESSIONS,
        )
        begun = now()
        while True:
            was_sent = self._is_sent
            found = 0
            failures: list[MailError] = []
            try:
                async for report in fetcher.run():
                    found += report.fetched
                    self._retrieved.messages += report.fetched
                    self._retrieved.octets += report.octets
                    if report.fetched:
                        self._retrieved.seconds = now() - begun
                    if report.error is not None:
                        failures.append(report.error)
                    bar.reach(self._retrieved.messages)
            except MailError as error:
                failures.append(error)
            if not found and (was_sent or failures):
                self._failures += failures
                self._is_retrieved = True
                bar.finish()
                return
            if not found:
                await anyio.sleep(_PAUSE)

    # --- comparing

    def _stored(self) -> set[str]:
        """The paths of all messages in the Maildirs."""
        return {
            str(path)
            for user in self._users
            for folder in ("new", "cur")
            for path in self._directory.joinpath(user, folder).glob("*")
        }

    def _compare(self, before: set[str], bar: Bar) -> None:
        copies: Counter[int] = Counter()
        identity = re.compile(rb"^Message-ID: <(\d+)\.%b@" % self._token.encode("ascii"), re.MULTILINE)
        for path in sorted(self._stored() - before):
            content = Path(path).read_bytes()
            found = identity.search(content)
            number = int(found[1]) if found else -1
            if 0 <= number < len(self._digests):
                copies[number] += 1
                is_at_home = Path(path).parts[-3] == self._users[number % len(self._users)]
                is_intact = is_at_home and _digest(content) == self._digests[number]
            else:
                is_intact = False
            self.verdict.altered += not is_intact
            bar.advance()
        self.verdict.lost = self._messages - len(copies)
        self.verdict.duplicated = copies.total() - len(copies)

    def show(self) -> None:
        """Print the table."""
        for failure in self._failures[:_MOST_SHOWN]:
            explain(failure)
        if len(self._failures) > _MOST_SHOWN:
            note(f"       and {len(self._failures) - _MOST_SHOWN} more like these", "dim")
        verdict = self.verdict
        show_table(
            ("#Messages", "#Octets", "#Sent/s", "#Retrieved/s", "#Lost", "#Duplicated", "#Altered"),
            [
                (
                    self._sent.messages,
                    decimal(self._sent.octets),
                    round(self._sent.rate),
                    round(self._retrieved.rate),
                    *[
                        Text(f"{count:,}", style="red" if count else "green")
                        for count in (verdict.lost, verdict.duplicated, verdict.altered)
                    ],
                )
            ],
        )
        if verdict.is_clean:
            heading("Every octet that was sent was retrieved, once.")

    def as_json(self) -> dict[str, object]:
        """The table for scripts."""
        return {
            "messages": self._sent.messages,
            "octets": self._sent.octets,
            "sent_per_second": round(self._sent.rate, 1),
            "retrieved_per_second": round(self._retrieved.rate, 1),
            "lost": self.verdict.lost,
            "duplicated": self.verdict.duplicated,
            "altered": self.verdict.altered,
            "errors": [str(failure) for failure in self._failures],
        }


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=_DIGEST_OCTETS).digest()

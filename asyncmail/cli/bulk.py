"""`asyncmail bulk`: one personalised message for each row of a table, in a run that can be interrupted."""

from __future__ import annotations

import hashlib
from collections import Counter
from contextlib import AsyncExitStack
from itertools import islice
from operator import itemgetter
from pathlib import Path  # noqa: TC003 - Typer evaluates annotations
from typing import TYPE_CHECKING, Annotated

import anyio
import typer
from anyio import to_thread
from rich.text import Text

from ..errors import InputError, MailError, printable
from ..net import now
from ..sending import DKIMSigner, Journal, Mailer, PoolLimits
from ..sending.ahead import Ahead
from ..smtp import Status
from .endings import ending_signals
from .failures import explain, in_options, starting
from .merge import Merge, check
from .options import (
    AllowCleartext,
    AsJSON,
    CAFile,
    Server,
    Timeout,
    Verbose,
    parse_rate,
    run_async,
    smtp_options,
    smtp_server,
)
from .recipients import Recipients
from .terminal import heading, note, progress, show_json, show_table, status_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..message import Parcel
    from ..sending import Unsettled

__all__ = ["bulk"]

# Messages on one connection that may be without an answer. A run that is killed leaves up to twice as many for each
# connection of which nothing is known: as many again wait their turn.
_WINDOW = 8

_WAKING_SECONDS = 0.1  # a burst is what these hold at the rate that is asked for

_MOST_SHOWN = 50  # recipients who did not get their message
_ALIKE_SHOWN = 5  # of recipients with the same answer
_DKIM = "DKIM"
_PACE = "Pace"


def bulk(
    recipients: Annotated[
        Path,
        typer.Argument(metavar="RECIPIENTS.csv", help="A table with a header line, one row per message."),
    ],
    template: Annotated[
        Path,
        typer.Argument(
            metavar="TEMPLATE.eml",
            help="A message in which {column} stands for what a row has in that column.",
        ),
    ],
    server: Server,
    to_column: Annotated[
        str, typer.Option(metavar="COLUMN", help="The column with the addresses.")
    ] = "email",
    sender: Annotated[
        str, typer.Option("--from", metavar="ADDRESS", help="The envelope's sender, instead of that in From.")
    ] = "",
    verp: Annotated[
        bool,
        typer.Option(
            "--verp",
            metavar="",
            help="Put the recipient into the envelope's sender, for bounces to tell whose they are:"
            " news+ann=example.org@example.com. The mail server has to deliver these to news@example.com.",
        ),
    ] = False,
    unsubscribe: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URI",
            help="An https: or mailto: address that ends the subscription, for mail programs to offer:"
            " https://example.com/stop?who={id}. Can be given repeatedly.",
        ),
    ] = None,
    attach: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="A file to attach to all. Can be given repeatedly."),
    ] = None,
    jinja: Annotated[
        bool,
        typer.Option(
            "--jinja", metavar="", help="The template is one of Jinja2: {{ column }}, {% if column %}."
        ),
    ] = False,
    connections: Annotated[
        int,
        typer.Option(
            min=1, metavar="N", help="At most so many connections at a time.", rich_help_panel=_PACE
        ),
    ] = 4,
    messages_per_connection: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Begin another connection after so many.", rich_help_panel=_PACE
        ),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(
            parser=parse_rate,
            metavar="RATE",
            help="Send no faster, over all connections: 100/s, 600/m or 5000/h.",
            rich_help_panel=_PACE,
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Send no more than N messages in this run; that others are left is no failure.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", metavar="", help="Check everything and send nothing.")
    ] = False,
    allow_empty: Annotated[
        bool,
        typer.Option(
            "--allow-empty", metavar="", help="Let rows have nothing where the template wants something."
        ),
    ] = False,
    journal: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What became of each row.", show_default="RECIPIENTS.csv.journal"),
    ] = None,
    new_journal: Annotated[
        bool,
        typer.Option("--new-journal", metavar="", help="Set the old journal aside, and send to everybody."),
    ] = False,
    retry_unknown: Annotated[
        bool,
        typer.Option(
            "--retry-unknown",
            metavar="",
            help="Send again to those who may have got it when an earlier run was interrupted.",
        ),
    ] = False,
    dkim_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Sign with this key (PEM).", rich_help_panel=_DKIM)
    ] = None,
    dkim_selector: Annotated[
        str, typer.Option(metavar="NAME", help="The name of the key in the DNS.", rich_help_panel=_DKIM)
    ] = "",
    dkim_domain: Annotated[
        str,
        typer.Option(
            metavar="DOMAIN",
            help="The domain that signs.",
            show_default="that of the sender",
            rich_help_panel=_DKIM,
        ),
    ] = "",
    ca_file: CAFile = None,
    allow_cleartext: AllowCleartext = False,
    timeout: Timeout = None,
    verbose: Verbose = False,
    as_json: AsJSON = False,
) -> bool:
    """Send one personalised message to each row of a table.

    All rows are checked before anything is sent. A journal remembers what became of each, so that a run that was
    interrupted, by whatever, can be started again: nobody gets a second copy.

    `asyncmail bulk members.csv news.eml --server smtps://news@mail.example.com`
    """
    url = smtp_server(server)
    options = smtp_options(ca_file=ca_file, allow_cleartext=allow_cleartext, timeout=timeout, verbose=verbose)
    octets = _read_template(template)
    merge = Merge(
        Recipients(recipients, to_column),
        octets,
        sender,
        verp=verp,
        unsubscribe=unsubscribe or (),
        attachments=attach or (),
        engine="jinja2" if jinja else "braces",
        allow_empty=allow_empty,
    )
    rows = check(merge)
    if dkim_key is not None:
        if not dkim_selector:
            raise InputError("the key to sign with has no name", cure="give --dkim-selector")
        merge.signer = DKIMSigner(
            domain=dkim_domain or merge.domain, selector=dkim_selector, private_key=dkim_key
        )
    elif dkim_selector or dkim_domain:
        raise InputError("there is no key to sign with", cure="give --dkim-key")
    if dry_run:
        if as_json:
            show_json({"rows": rows, "sent_in_this_run": 0})
        else:
            heading(f"{_messages(rows)} could be sent; none was.")
        return True
    run = _Run(
        merge,
        Journal(
            journal or recipients.with_name(f"{recipients.name}.journal"),
            subject=f"template sha256 {hashlib.sha256(octets).hexdigest()}",
            fresh=new_journal,
        ),
        rows,
        limit=limit,
        retry_unknown=retry_unknown,
    )
    if verbose:
        connections = 1  # transcripts of several sessions at once are for nobody
    pool = PoolLimits(
        window=_WINDOW,
        messages_per_connection=messages_per_connection,
        messages_per_second=rate,
        # Else a connection that wakes up late would lower the rate.
        burst=max(1, int((rate or 0) * _WAKING_SECONDS)),
    )
    mailer = Mailer(url, connections=connections, pool=pool, **options)
    run_async(lambda: run.send(mailer, window=2 * _WINDOW * connections))
    return run.report(as_json=as_json)


class _Source:
    """The messages that are still to be sent, made in worker threads; none more once it is stopped."""

    def __init__(self, merge: Merge, journal: Journal, limit: int | None, *, retry_unknown: bool) -> None:
        self._merge = merge
        self._journal = journal
        self._retry_unknown = retry_unknown
        self._ahead = Ahead(islice(self._rendered(), limit), merge.sign)
        self.is_stopped = False

    def __aiter__(self) -> _Source:
        return self

    async def __anext__(self) -> Parcel:
        if not self.is_stopped:
            parcel = await anext(self._ahead)
            if not self.is_stopped:
                return parcel
        await self._ahead.aclose()
        raise StopAsyncIteration

    def _rendered(self) -> Iterator[Parcel]:
        for row in self._merge.recipients.rows():
            key = self._merge.key(row)
            if not self._journal.is_done(key, retry_unknown=self._retry_unknown):
                yield self._merge.render(row, self._journal.message_id(key, self._merge.domain))


class _Run:
    """One run, and what came of all runs with this journal."""

    def __init__(
        self, merge: Merge, journal: Journal, rows: int, *, limit: int | None, retry_unknown: bool
    ) -> None:
        self._merge = merge
        self._journal = journal
        self._rows = rows
        self._limit = limit
        self._retry_unknown = retry_unknown
        self._sent = 0
        self._seconds = 0.0
        self._error: MailError | None = None
        self._is_interrupted = False

    async def send(self, mailer: Mailer, *, window: int) -> None:
        """Send what is left."""
        async with AsyncExitStack() as stack:
            with starting():
                journal = await stack.enter_async_context(self._journal)
            await to_thread.run_sync(self._check_journal)
            source = _Source(self._merge, journal, self._limit, retry_unknown=self._retry_unknown)
            done = sum(journal.is_done(key, retry_unknown=self._retry_unknown) for key in journal)
            left = self._rows - done
            if done:
                unknown = done - sum(journal.is_done(key, retry_unknown=True) for key in journal)
                note(
                    f"{done:,} of {self._rows:,} rows are done already,"
                    f"{f' {unknown:,} of them unknown (--retry-unknown sends again),' if unknown else ''}"
                    f" see {printable(journal.path)}"
                )
            begun = now()
            async with mailer, anyio.create_task_group() as tasks:
                tasks.start_soon(self._stop_on_signal, source, mailer)
                with progress() as add_bar:
                    bar = add_bar("Sending", left if self._limit is None else min(left, self._limit))
                    try:
                        async for outcome in journal.send_many(
                            mailer, source, retry_unknown=self._retry_unknown, window=window
                        ):
                            self._sent += outcome.error is None
                            bar.advance()
                    except MailError as error:
                        self._error = error
                tasks.cancel_scope.cancel()
            self._seconds = now() - begun

    async def _stop_on_signal(self, source: _Source, mailer: Mailer) -> None:
        with anyio.open_signal_receiver(*ending_signals()) as signals:
            async for _ in signals:
                is_first = not self._is_interrupted
                self._is_interrupted = source.is_stopped = True
                if not is_first or not mailer.statistics.under_way:
                    mailer.abort()
                else:
                    note("waiting for the answers to what is under way; once more ends at once", "yellow")

    def _check_journal(self) -> None:
        """Raise InputError if rows that were begun are not in the table any more."""
        missing = set(self._journal)
        if missing:
            for row in self._merge.recipients.rows():
                missing.discard(self._merge.key(row))
        if missing:
            line, _, address = min(missing, key=_line_of).partition(" ")
            raise self._merge.recipients.error(
                int(line),
                f"here was {printable(address)} when this run was begun",
                "put the table back as it was, rows may only be added at its end; or give --new-journal to begin"
                " another run, with all rows",
            )

    def report(self, *, as_json: bool) -> bool:
        """Tell what came of it; returns whether every row was accepted, of those that were to be sent so far."""
        rows: Counter[Status] = Counter()
        unsettled: list[tuple[int, Unsettled]] = []
        for key in self._journal:
            failures = self._journal.unsettled(key)
            rows[failures[0].status if failures else Status.ACCEPTED] += 1
            unsettled += [(_line_of(key), each) for each in failures]
        unsettled.sort(key=itemgetter(0))
        not_sent = self._rows - len(self._journal)
        if as_json:
            show_json(
                {
                    "rows": self._rows,
                    **{status.value: rows[status] for status in Status},
                    "not_sent": not_sent,
                    "sent_in_this_run": self._sent,
                    "seconds": round(self._seconds, 3),
                    "interrupted": self._is_interrupted,
                    "error": None if self._error is None else in_options(str(self._error)),
                    "journal": self._journal.path,
                    "unsettled": [
                        {
                            "line": line,
                            "address": each.address,
                            "status": each.status.value,
                            "text": in_options(each.text),
                        }
                        for line, each in unsettled
                    ],
                }
            )
        else:
            self._show(rows, not_sent, unsettled)
        if self._error is not None and not self._is_interrupted:
            explain(self._error)
        is_limited = self._limit is not None and not self._is_interrupted
        wanted = len(self._journal) if is_limited else self._rows
        return rows[Status.ACCEPTED] == wanted and self._error is None

    def _show(self, rows: Counter[Status], not_sent: int, unsettled: list[tuple[int, Unsettled]]) -> None:
        if unsettled:
            show_table(("#Line", "Recipient", "Outcome", "Answer"), list(_abridged(unsettled)))
        table: list[tuple[Text, int, str]] = [
            (status_text(status), rows[status], meaning)
            for status, meaning in _MEANINGS.items()
            if rows[status] or status is Status.ACCEPTED
        ]
        if not_sent:
            table.append((Text("not sent"), not_sent, "run this again to go on"))
        show_table(("Outcome", "#Rows", ""), table)
        if self._sent:
            pace = f"{self._sent / self._seconds:,.0f}/s"
            heading(f"{_messages(self._sent)} in {self._seconds:.1f} s, {pace}")


def _messages(count: int) -> str:
    return f"{count:,} message{'' if count == 1 else 's'}"


def _abridged(unsettled: list[tuple[int, Unsettled]]) -> Iterator[tuple[str, str, Text, str]]:
    """Rows of a table: a few of those that have the same answer, and how many more there are."""
    alike: dict[tuple[Status, str], list[tuple[int, str]]] = {}
    for line, each in unsettled:
        alike.setdefault((each.status, in_options(each.text) or _NO_ANSWER), []).append((line, each.address))
    left = _MOST_SHOWN
    for (status, text), recipients in alike.items():
        shown = recipients[: min(_ALIKE_SHOWN, max(left, 1))]
        left -= len(shown)
        for line, address in shown:
            yield str(line), address, status_text(status), text
        if len(recipients) > len(shown):
            yield "", f"… and {len(recipients) - len(shown):,} more", status_text(status), ""


_NO_ANSWER = "the run ended before its answer was noted"
_MEANINGS = {
    Status.ACCEPTED: "",
    Status.REFUSED: "for good, by the server",
    Status.DEFERRED: "run this again to try them again",
    Status.UNKNOWN: "may or may not have got it; --retry-unknown sends again, perhaps a second copy",
}


def _line_of(key: str) -> int:
    return int(key.partition(" ")[0])


def _read_template(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(
            f"the template {printable(path)} cannot be read: {error.strerror}", cure="check the path"
        ) from None

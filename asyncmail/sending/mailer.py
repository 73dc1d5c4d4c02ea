"""One object that any number of tasks send through: few connections, many messages on each."""

from __future__ import annotations

from copy import copy
from email.message import Message
from functools import partial
from typing import TYPE_CHECKING, Self, Unpack

from ..client.options import SMTPOptions, parse_server
from ..client.smtp import SMTPClient
from ..errors import InputError, MailError
from ..message import prepare
from ..net import ServerURL, Waiter
from .bulk import Bulk, Outcomes
from .job import Job
from .pool import MailerStatistics, Pool, PoolLimits

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Iterable
    from types import TracebackType

    from ..message import Addresses, AddressLike, MessageLike, Parcel
    from ..smtp import Outcome

__all__ = ["Mailer"]


class Mailer:
    """A pool of sessions with one server, shared by any number of tasks.

    Connections are made when there is something to send and kept for what comes next. Each carries the messages of
    many tasks, pipelined. A message that failed because its connection did is sent again on another one, unless it may
    have been delivered: then its outcome is `unknown`, and it is never sent again unasked.

    Leaving the `async with` block waits for what has been handed over; leaving it by an exception does not. Where no
    block fits, make it anywhere, send through it, and await `aclose` in the end.

    Args:
        server: `smtp://`, `smtp+starttls://`, `smtps://`, `lmtp://` or `lmtp+unix://` URL.
        connections: at most so many at a time.
        pool: finer limits.
        options: see `SMTPOptions`; `timeouts`, `tls_context`, `username` and so on.

    Raises:
        URLError, InputError: an argument cannot be used.
    """

    def __init__(
        self,
        server: str | ServerURL,
        *,
        connections: int = 4,
        pool: PoolLimits | None = None,
        **options: Unpack[SMTPOptions],
    ) -> None:
        self._url = parse_server(server)
        make_client = partial(SMTPClient, self._url, **options)
        first = make_client()  # which finds out now what is wrong with the arguments
        self._pool = Pool(make_client, connections, pool or PoolLimits(), first_alone=first.logs_in)

    def __repr__(self) -> str:
        return f"<Mailer {self._url}, {self._pool!r}>"

    @property
    def statistics(self) -> MailerStatistics:
        """How many connections there are and what they do, as numbers of this moment."""
        return self._pool.statistics

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc_type is None:
            await self.aclose()
        else:
            self.abort()

    async def aclose(self) -> None:
        """Take no more messages, send those handed over, and end all sessions. Cancelling ends them at once."""
        try:
            await self._pool.aclose()
        except BaseException:
            self._pool.abort()
            raise

    def abort(self) -> None:
        """Close all connections at once; those who wait learn what is known of their messages."""
        self._pool.abort()

    async def send(
        self,
        message: Parcel | MessageLike | bytes,
        *,
        sender: AddressLike | None = None,
        recipients: Addresses | None = None,
    ) -> Outcome:
        """Send one message.

        Args:
            message: a message, its octets, or a parcel of either.
            sender: the reverse-path; by default that of the header.
            recipients: the forward-paths; by default those of the header. Bcc is never sent.

        Returns:
            What became of each recipient. Refusals are no exceptions: see `Outcome.raise_for_refusals`.

        Raises:
            MessageError, AddressSyntaxError: the message cannot be sent as it is.
            ExtensionRequired: it needs what the server does not offer.
            ConnectError, TLSError, AuthenticationError, SecurityError, …: no session could be had; nothing was sent.
            ClosedError: the mailer was closed.

        Cancelling harms no other task's message; this one is withdrawn if it has not been begun, else its outcome is
        read and dropped.
        """
        prepared = prepare(message, sender, recipients)
        results: list[Outcome | MailError] = []
        waiter = Waiter()

        def finish(job: Job, result: Outcome | MailError) -> None:
            results.append(result)
            waiter.set()

        job = Job(prepared, finish)
        self._pool.submit(job)
        try:
            await waiter.wait()
        except BaseException:
            job.is_withdrawn = True
            raise
        result = results[0]
        if isinstance(result, MailError):
            # Others may wait for the same, and raising an exception changes it.
            raise copy(result) from result.__cause__
        return result

    def send_many(
        self, messages: Iterable[Parcel | MessageLike | bytes] | AsyncIterable[Parcel | MessageLike | bytes]
    ) -> Outcomes:
        """Send messages as fast as the connections take them, and yield what became of each.

        Memory is bounded: the next messages are taken from `messages` only as outcomes of earlier ones are taken here.
        Outcomes come in the order in which they are known; `outcome.index` is the position in the input. A message
        that cannot be sent at all has an outcome with an `error` like any other.

        Raises:
            MailError: no session can be had any more. Before that, every message that was taken has been reported.
            ClosedError: the mailer was closed.
            InputError: `messages` is a message itself; at once.
            Exception: what `messages` raised. Before that, every message that it gave has been reported.

        Leaving the loop early withdraws what has not been begun.
        """
        self._pool.require_open()
        if isinstance(messages, Message | bytes | str):
            raise InputError("one message is given where several may be", cure="pass a list, or call send()")
        return Outcomes(Bulk(messages, self._pool.submit, self._pool.capacity))

"""Many maildrops at once."""

from __future__ import annotations

import os
from collections import deque
from datetime import timedelta
from typing import TYPE_CHECKING

import anyio

from ..client.timeouts import POP3Timeouts
from ..errors import BusyError, ConnectError, InputError, MailError, URLError
from ..folders import Maildir
from ..net import MailProtocol, ServerURL
from ..net.background import spawn
from ..net.clock import now
from ..pop3 import ClientLimits
from .ledger import Ledger
from .maildrop import MaildropFetch, name_of
from .report import FetchReport, Progress
from .schedule import Schedule
from .store import DestinationStore, MaildirStore
from .undisturbed import Undisturbed

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable

    from ..client.pop3 import POP3Options
    from ..net.background import BackgroundTask
    from ..wire import Trace
    from .store import Destination, Store

__all__ = ["Fetcher"]

_TIMEOUTS = POP3Timeouts(connect=15.0, greeting=30.0, answer=60.0, content=60.0, update=300.0)

# A session lends its place to others as long as its server says less than this in that time.
_SLOW = 1.0  # seconds
_LEAST = 1_024  # octets


class Fetcher:
    """Fetches the new messages of many maildrops.

    Each message is stored, then noted in the ledger, and only then deleted from its server if that is asked
    for. With a `Maildir` each message is stored once, whatever dies when; with any other destination the one
    in hand may come again after a kill. Messages are known by their unique-ids; see `list_messages` for
    servers that have none.

    Maildrops do not wait for each other: at most `connections` sessions are open at once, hosts take turns,
    and a session in which the server takes its time does not count meanwhile. A server that cannot be reached
    is tried twice at least, and then given up for the run.

    Args:
        urls: one for each maildrop, `pop3s://user:password@host` for example. One that cannot be used is
            reported; of several for one maildrop the first is taken.
        deliver_to: a `Maildir`, whose path may contain `{user}` and `{host}`; or an object with an async
            method `deliver(maildrop, content)`, or such a function. If the object also has a method
            `deliver_stream(maildrop, pieces)`, it gets large messages by that: see `StreamDestination`.
        ledger: the path of the file that remembers what is stored; see `Ledger`.
        delete: True removes messages from their servers once they are stored, a timedelta that long after.
        largest: octets; a larger message is left where it is. It also bounds what a server can send that
            tells wrong sizes.
        connections: most sessions at once.
        connections_per_host: most sessions at once with one server.
        tls_context: by default one that verifies certificates against the system's authorities.
        allow_cleartext_credentials: log in even where the connection is neither encrypted nor to this
            machine.
        mechanisms: names of the mechanisms that may be used to log in; by default all that are known.
        timeouts: for each phase of a session; a number of seconds stands for all of them. By default shorter than
            those of a single session, where somebody waits for that one server.
        trace: called with each line of all sessions, secrets replaced; see `transcript`.

    Raises:
        InputError: an option cannot be used.
    """

    def __init__(
        self,
        urls: Iterable[str | ServerURL],
        *,
        deliver_to: Maildir | Destination | Callable[[str, bytes], Awaitable[object]],
        ledger: str | os.PathLike[str],
        delete: bool | timedelta = False,
        largest: int | None = None,
        connections: int = 64,
        connections_per_host: int = 8,
        tls_context: ssl.SSLContext | None = None,
        allow_cleartext_credentials: bool = False,
        mechanisms: tuple[str, ...] | None = None,
        timeouts: POP3Timeouts | float | None = None,
        trace: Trace | None = None,
    ) -> None:
        for name, number in (("connections", connections), ("connections_per_host", connections_per_host)):
            if number < 1:
                raise InputError(f"{name}={number} allows no session", cure="use 1 or more")
        if isinstance(urls, str):
            raise InputError("one URL is given where several may be", cure="pass a list of URLs")
        _check_destination(deliver_to)
        self._delete_after = _seconds_until_deletion(delete)
        self._deliver_to = deliver_to
        self._ledger_path = os.fspath(ledger)
        self._largest = largest
        self._connections = connections
        self._connections_per_host = connections_per_host
        self._options: POP3Options = {
            "allow_cleartext_credentials": allow_cleartext_credentials,
            "timeouts": _TIMEOUTS if timeouts is None else timeouts,
        }
        if tls_context is not None:
            self._options["tls_context"] = tls_context
        if trace is not None:
            self._options["trace"] = trace
        if mechanisms is not None:
            self._options["mechanisms"] = mechanisms
        if largest is not None:
            # Twice: some servers count a line end as one octet.
            self._options["limits"] = ClientLimits(content=2 * largest + 65_536)
        self._indexes: dict[ServerURL, int] = {}
        self._unusable: list[FetchReport] = []
        names: set[str] = set()
        for index, text in enumerate(urls):
            try:
                url = text if isinstance(text, ServerURL) else ServerURL.parse(text)
            except URLError as error:
                # No more of it can be told: a password can be anywhere in a URL that is malformed.
                self._unusable.append(FetchReport(index=index, maildrop=f"URL {index + 1}", error=error))
                continue
            if (fault := _fault_of(url)) is not None:
                self._unusable.append(_failed(index, url, fault))
                continue
            if name_of(url) not in names:
                names.add(name_of(url))
                self._indexes[url] = index
        self._is_running = False
        self.progress: Progress = Progress(maildrops=len(self._indexes) + len(self._unusable))
        """Counters of the present run, or else of the last one."""

    def __repr__(self) -> str:
        return f"<Fetcher {self.progress}>"

    async def run(self) -> AsyncGenerator[FetchReport, None]:
        """Fetch all maildrops once.

        Closing the iteration early, or cancelling the task that iterates, gives up all sessions: what was
        stored stays stored and noted, and nothing more is deleted.

        Yields:
            The report of each maildrop as it ends.

        Raises:
            FolderError: the ledger cannot be opened.
            BusyError: it is running already.
        """
        if self._is_running:
            raise BusyError("this fetcher is running already")
        self._is_running = True
        try:
            self.progress = Progress(maildrops=self.progress.maildrops)
            async with Ledger(self._ledger_path) as ledger:
                run = _Run(self, ledger)
                try:
                    run.start()
                    while (report := await run.next_report()) is not None:
                        yield report
                finally:
                    await run.stop()
        finally:
            self._is_running = False

    def _make_fetch(self, url: ServerURL, ledger: Ledger, undisturbed: Undisturbed) -> MaildropFetch:
        return MaildropFetch(
            url,
            index=self._indexes[url],
            options=self._options,
            store=self._make_store(url, ledger, undisturbed),
            delete_after=self._delete_after,
            largest=self._largest,
            progress=self.progress,
        )

    def _make_store(self, url: ServerURL, ledger: Ledger, undisturbed: Undisturbed) -> Store:
        name = name_of(url)
        if isinstance(self._deliver_to, Maildir):
            maildir = self._deliver_to.resolve(user=url.username, host=url.host)
            return MaildirStore(name, ledger, undisturbed, maildir)
        deliver = self._deliver_to if callable(self._deliver_to) else self._deliver_to.deliver
        deliver_stream = getattr(self._deliver_to, "deliver_stream", None)
        return DestinationStore(name, ledger, undisturbed, deliver, deliver_stream)


class _Run:
    """One run: the sessions in the background, and their reports for whoever iterates.

    The sessions start each other, so that they go on however slowly the reports are taken.
    """

    def __init__(self, fetcher: Fetcher, ledger: Ledger) -> None:
        self._fetcher = fetcher
        self._ledger = ledger
        self._progress = fetcher.progress
        self._schedule = Schedule(
            fetcher._indexes,
            connections=fetcher._connections,
            connections_per_host=fetcher._connections_per_host,
        )
        self._undisturbed = Undisturbed()
        self._sessions: dict[ServerURL, BackgroundTask] = {}
        self._fetches: dict[ServerURL, MaildropFetch] = {}
        self._watch: BackgroundTask | None = None
        self._reports: deque[FetchReport] = deque()
        self._due = self._progress.maildrops
        self._news = anyio.Event()
        self._failure: Exception | None = None
        self._is_stopping = False

    def start(self) -> None:
        for report in self._fetcher._unusable:
            self._report(report)
        self._start_sessions()
        self._watch = spawn(self._watch_sessions)

    async def next_report(self) -> FetchReport | None:
        """Wait for a report; None after the last one."""
        if not self._due:
            return None
        while not self._reports:
            if self._failure is not None:
                raise self._failure
            self._news = anyio.Event()
            await self._news.wait()
        self._due -= 1
        return self._reports.popleft()

    async def stop(self) -> None:
        """End the sessions at once, but leave nothing half stored."""
        self._is_stopping = True
        for task in self._sessions.values():
            task.cancel()
        if self._watch is not None:
            self._watch.cancel()
        with anyio.CancelScope(shield=True):
            for task in [*self._sessions.values()]:
                await task.wait()
            await self._undisturbed.wait()

    def _start_sessions(self) -> None:
        while not self._is_stopping and (url := self._schedule.next()) is not None:
            self._progress.active += 1
            self._sessions[url] = spawn(self._run_session, url, name=f"fetch {url}")

    async def _run_session(self, url: ServerURL) -> None:
        try:
            fetch = self._fetcher._make_fetch(url, self._ledger, self._undisturbed)
            self._fetches[url] = fetch
            report = await fetch.run(lambda: self._opened(url))
        except Exception as error:
            # A fault of this program, not of the maildrop: for whoever iterates.
            self._failure = error
            self._news.set()
            return
        finally:
            self._progress.active -= 1
            self._fetches.pop(url, None)
            del self._sessions[url]
        for given_up in self._schedule.ended(url, has_answered=fetch.has_answered):
            self._report(self._give_up(given_up, report.error))
        self._report(report)
        self._start_sessions()

    def _opened(self, url: ServerURL) -> None:
        self._schedule.opened(url)

    async def _watch_sessions(self) -> None:
        heard: dict[ServerURL, tuple[int, float]] = {}  # octets, and when there were so many
        while True:
            for url, fetch in self._fetches.items():
                octets, since = heard.get(url, (0, now()))
                if fetch.octets_received >= octets + _LEAST:
                    octets, since = fetch.octets_received, now()
                    self._schedule.is_going_on(url)
                elif since < now() - _SLOW:
                    self._schedule.is_slow(url)
                heard[url] = octets, since
            self._start_sessions()
            await anyio.sleep(_SLOW / 2)

    def _give_up(self, url: ServerURL, error: MailError | None) -> FetchReport:
        given_up = ConnectError(
            f"{url.endpoint} was given up after other maildrops failed: {error}", cure="fetch it again later"
        )
        return _failed(self._fetcher._indexes[url], url, given_up)

    def _report(self, report: FetchReport) -> None:
        self._reports.append(report)
        self._progress.finished += 1
        self._progress.failed += not report.ok
        self._news.set()


def _seconds_until_deletion(delete: bool | timedelta) -> float | None:
    """How long a message stays on its server once it is stored; None for ever."""
    if isinstance(delete, timedelta):
        return delete.total_seconds()
    if not isinstance(delete, bool):
        raise InputError(f"delete={delete!r} is not known", cure="use True, False, or a timedelta")
    return 0.0 if delete else None


def _fault_of(url: ServerURL) -> URLError | None:
    if url.protocol is not MailProtocol.POP3:
        return URLError(f"{url} is no maildrop", cure="use a URL such as pop3s://user:password@host")
    if not url.username:
        return URLError(f"{url} names no user", cure="put user:password@ before the host")
    return None


def _failed(index: int, url: ServerURL, error: MailError) -> FetchReport:
    """The report of a maildrop without a session."""
    return FetchReport(
        index=index,
        url=str(url),
        maildrop=name_of(url),
        user=url.username,
        host=url.host,
        error=error,
    )


def _check_destination(deliver_to: object) -> None:
    if isinstance(deliver_to, str | os.PathLike):
        path = os.path.join(deliver_to, "{user}")
        raise InputError("deliver_to is a path", cure=f"pass asyncmail.Maildir({path!r})")
    if not callable(deliver_to) and not callable(getattr(deliver_to, "deliver", None)):
        raise InputError(
            f"a {type(deliver_to).__name__} cannot be delivered to",
            cure="pass a Maildir, or an async function that takes maildrop and content",
        )

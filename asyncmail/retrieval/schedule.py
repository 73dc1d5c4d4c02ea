"""Which maildrop is next: a queue for each host, so that no host holds up another."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..net.url import ServerURL

__all__ = ["Schedule"]

# So many sessions may be slow without holding up others; each of these has a file descriptor.
_MOST_LENT = 256


@dataclass(slots=True, eq=False)
class _Host:
    waiting: deque[ServerURL] = field(default_factory=deque)
    active: int = 0
    failures: int = 0
    has_answered: bool = False
    is_ready: bool = False


class Schedule:
    """Hands out maildrops within the limits, hosts in turn. Pure bookkeeping.

    A session in which nothing happens lends its place to others: a host that is down or slow costs them nothing. A
    host to which all of the first connections fail is given up for this run.

    Args:
        urls: one for each maildrop.
        connections: most sessions at once, those not counted that lend their place.
        connections_per_host: most sessions at once with one host.
    """

    def __init__(self, urls: Iterable[ServerURL], *, connections: int, connections_per_host: int) -> None:
        self._connections = connections
        self._per_host = connections_per_host
        self._hosts: dict[str, _Host] = {}
        for url in urls:
            self._hosts.setdefault(url.endpoint, _Host()).waiting.append(url)
        self._ready: deque[_Host] = deque()
        for host in self._hosts.values():
            self._make_ready(host)
        self._running: set[ServerURL] = set()
        self._lent: set[ServerURL] = set()
        self._active = 0

    def __repr__(self) -> str:
        waiting = sum(len(host.waiting) for host in self._hosts.values())
        return f"<Schedule {waiting} waiting, {self._active} active, {len(self._lent)} slow>"

    def next(self) -> ServerURL | None:
        """Take the maildrop to open now, if one may be opened."""
        if not self._ready or self._active - len(self._lent) >= self._connections:
            return None
        host = self._ready.popleft()
        host.is_ready = False
        url = host.waiting.popleft()
        host.active += 1
        self._active += 1
        self._running.add(url)
        self._make_ready(host)
        return url

    def is_slow(self, url: ServerURL) -> None:
        """Note that nothing has happened in a session for long."""
        if url in self._running and len(self._lent) < _MOST_LENT:
            self._lent.add(url)

    def is_going_on(self, url: ServerURL) -> None:
        """Note that something has happened in it."""
        self._lent.discard(url)

    def opened(self, url: ServerURL) -> None:
        """Note that a session is open."""
        self._lent.discard(url)
        self._hosts[url.endpoint].has_answered = True

    def ended(self, url: ServerURL, *, has_answered: bool) -> list[ServerURL]:
        """Note the end of a session.

        Args:
            has_answered: the server did, be it to refuse.

        Returns:
            Maildrops that are given up, because there is no such server now.
        """
        host = self._hosts[url.endpoint]
        host.active -= 1
        self._active -= 1
        self._running.discard(url)
        self._lent.discard(url)
        if has_answered:
            host.has_answered = True
        else:
            host.failures += 1
        if not host.has_answered and host.failures > 1 and not host.active:
            given_up = list(host.waiting)
            host.waiting.clear()
            return given_up
        self._make_ready(host)
        return []

    def _make_ready(self, host: _Host) -> None:
        # One failure may be an accident: once more, but alone.
        limit = 1 if host.failures and not host.has_answered else self._per_host
        if host.waiting and host.active < limit and not host.is_ready:
            host.is_ready = True
            self._ready.append(host)

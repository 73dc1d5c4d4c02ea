"""Retrieving from Dovecot, in whose maildrops everything stays."""

from __future__ import annotations

import poplib
from contextlib import contextmanager
from typing import TYPE_CHECKING

from contenders.common import make_content
from harness import Contender, Work, scaled

from peers import run_dovecot, workspace

from .distance import distant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from peers import Dovecot

__all__ = ["FETCHING", "RETRIEVING", "RETRIEVING_FAR"]

_USER = "reader"


@contextmanager
def _dovecot(users: Sequence[str], messages: int, octets: int) -> Iterator[Dovecot]:
    """Run Dovecot with maildrops that it has looked at before."""
    with run_dovecot(tls=False) as dovecot:
        content = make_content(octets)
        for user in users:
            dovecot.maildir(user).add([content] * messages)
            _look_at(dovecot, user)
        yield dovecot


def _look_at(dovecot: Dovecot, user: str) -> None:
    client = poplib.POP3(dovecot.host, dovecot.port)
    client.user(user)
    client.pass_(dovecot.password)
    client.list()
    client.quit()


def _maildrop(messages: int, octets: int) -> Callable[[float], AbstractContextManager[Sequence[str]]]:
    @contextmanager
    def serve(scale: float) -> Iterator[Sequence[str]]:
        with _dovecot([_USER], scaled(messages, scale), octets) as dovecot:
            yield ["--port", str(dovecot.port), "--user", _USER, "--password", dovecot.password]

    return serve


@contextmanager
def _far_maildrop(scale: float) -> Iterator[Sequence[str]]:
    with _dovecot([_USER], scaled(2_000, scale), 2_000) as dovecot, distant(dovecot.port) as port:
        yield ["--port", str(port), "--user", _USER, "--password", dovecot.password]


@contextmanager
def _maildrops(scale: float) -> Iterator[Sequence[str]]:
    number = scaled(50, scale)
    # Nothing is removed before all rounds are over: for minutes ext4 does not take the inodes of files that were
    # removed, and looks at each of them, file by file, for one to take.
    with (
        _dovecot([f"{_USER}{each}" for each in range(number)], 50, 5_000) as dovecot,
        workspace() as directory,
    ):
        options = ["--port", str(dovecot.port), "--user", _USER, "--password", dovecot.password]
        options += ["--directory", str(directory)]
        yield [*options, "--maildrops", str(number), "--messages", str(50 * number)]


def _retrieving(name: str, title: str, *, messages: int, octets: int, poplib: float) -> Work:
    return Work(
        name=name,
        title=title,
        serve=_maildrop(messages, octets),
        contenders=(
            Contender(name="asyncmail", module="retrieve_asyncmail", messages=messages),
            Contender(name="poplib", module="retrieve_poplib", messages=messages, rate=poplib),
            Contender(name="bare socket loop", module="retrieve_bare", messages=messages, rate=1 / 1.2),
        ),
    )


RETRIEVING = (
    _retrieving("retrieve-2k", "Retrieve 2,000 messages of 2 KB", messages=2_000, octets=2_000, poplib=2.7),
    _retrieving("retrieve-50k", "Retrieve 500 messages of 50 KB", messages=500, octets=50_000, poplib=1.9),
    _retrieving("retrieve-10m", "Retrieve 10 messages of 10 MB", messages=10, octets=10_000_000, poplib=2.1),
)

_WHOLE = ("--whole",)

RETRIEVING_FAR = (
    Work(
        name="retrieve-far",
        title="Retrieve 2 KB, 20 ms each way",
        serve=_far_maildrop,
        contenders=(
            Contender(name="asyncmail", module="retrieve_asyncmail", messages=2_000),
            Contender(name="poplib", module="retrieve_poplib", messages=200, rate=250.0),
        ),
    ),
    Work(
        name="retrieve-far-session",
        title="Retrieve 2,000 messages of 2 KB, 20 ms each way, from connecting to QUIT",
        serve=_far_maildrop,
        contenders=(
            Contender(name="asyncmail", module="retrieve_asyncmail", messages=2_000, options=_WHOLE),
            Contender(name="mpop (C)", module="retrieve_mpop", messages=2_000, rate=4.0),
        ),
    ),
)

FETCHING = (
    Work(
        name="maildrops",
        title="Fetch 50 maildrops with 50 messages of 5 KB each into Maildirs",
        serve=_maildrops,
        contenders=(
            Contender(name="asyncmail", module="fetch_asyncmail", messages=2_500),
            Contender(name="8 threads of poplib", module="fetch_poplib", messages=2_500, rate=1.8),
            Contender(name="getmail6", module="fetch_getmail", messages=2_500, rate=50.0),
        ),
    ),
)

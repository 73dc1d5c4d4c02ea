"""The fetcher against Dovecot."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from asyncmail import errors
from asyncmail.folders import Maildir
from asyncmail.retrieval import Fetcher, FetchReport

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

    from peers import Dovecot


def message(text: str, octets: int = 0) -> bytes:
    body = b"." * 70 + b"\r\n"
    return f"From: a@example.com\r\nSubject: {text}\r\n\r\n".encode() + body * (octets // 72 + 1)


def stored(path: Path) -> list[bytes]:
    return sorted((path / "new" / name).read_bytes() for name in os.listdir(path / "new"))


async def fetch(fetcher: Fetcher) -> list[FetchReport]:
    return sorted([report async for report in fetcher.run()], key=lambda report: report.index)


async def test_many_maildrops_over_tls(dovecot: Dovecot, client_tls: ssl.SSLContext, tmp_path: Path) -> None:
    users = [f"fetch{n}" for n in range(8)]
    expected: dict[str, list[bytes]] = {}
    for user in users:
        expected[user] = [message(f"{user} {n}", n * 100) for n in range(60)] + [message("large", 700_000)]
        dovecot.maildir(user).add(expected[user])
    schemes = ["pop3s", "pop3+starttls", "pop3"]
    urls = []
    for n, user in enumerate(users):
        scheme = schemes[n % 3]
        port = dovecot.tls_port if scheme == "pop3s" else dovecot.port
        urls.append(f"{scheme}://{user}:{dovecot.password}@{dovecot.host}:{port}")
    urls.append(f"pop3://other:wrong@{dovecot.host}:{dovecot.port}")

    def fetcher(*, delete: bool) -> Fetcher:
        return Fetcher(
            urls,
            deliver_to=Maildir(tmp_path / "{user}"),
            ledger=tmp_path / "seen.db",
            tls_context=client_tls,
            delete=delete,
        )

    *reports, failed = await fetch(fetcher(delete=False))
    assert [report.error for report in reports] == [None] * len(users)
    assert isinstance(failed.error, errors.AuthenticationError)
    assert [report.fetched for report in reports] == [61] * len(users)
    for user in users:
        assert stored(tmp_path / user) == sorted(expected[user])

    dovecot.maildir(users[0]).add([message("new")])
    *reports, _ = await fetch(fetcher(delete=True))
    assert [report.fetched for report in reports] == [1] + [0] * (len(users) - 1)
    assert [report.deleted for report in reports] == [62] + [61] * (len(users) - 1)
    *reports, _ = await fetch(fetcher(delete=True))
    assert [report.listed for report in reports] == [0] * len(users)

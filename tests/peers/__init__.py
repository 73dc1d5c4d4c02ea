"""Real servers on loopback, for tests and benchmarks: each a context manager that yields where it listens.

    from peers import run_postfix

    with run_postfix() as server:
        smtplib.SMTP(server.host, server.port) …

What cannot run here raises `Unavailable` with the reason; a server that should run and does not raises
`PeerFailed` with its log. `tests/` is on the path of pytest; elsewhere put it there, as in
`PYTHONPATH=tests python benchmarks/….py`. On Debian and Ubuntu `.ci/peers` installs what is needed.
"""

from __future__ import annotations

from .certificates import Authority
from .dovecot import Dovecot, run_dovecot
from .exim import Exim, run_exim
from .maildir import Maildir
from .postfix import Postfix, run_postfix
from .process import PeerFailed, Unavailable, find_program, reserve_port, workspace
from .sink import Sink, run_smtp_sink, smtp_source

__all__ = [
    "Authority",
    "Dovecot",
    "Exim",
    "Maildir",
    "PeerFailed",
    "Postfix",
    "Sink",
    "Unavailable",
    "run_dovecot",
    "run_exim",
    "find_program",
    "run_postfix",
    "reserve_port",
    "run_smtp_sink",
    "smtp_source",
    "workspace",
]

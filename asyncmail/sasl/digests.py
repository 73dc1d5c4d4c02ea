"""Digests that prove a password without sending it, and the timestamps they are made with."""

from __future__ import annotations

import hashlib
import hmac
import os
import re

from ..errors import InputError, quoted

__all__ = ["apop_digest", "cram_md5_digest", "find_timestamp", "make_timestamp"]

# A msg-id and nothing looser: with other octets in a forged greeting an attacker can search for MD5
# collisions that give the password away.
_TIMESTAMP = re.compile(r"<[!-;=?A-~]+@[!-;=?A-~]+>")


def make_timestamp(hostname: str) -> str:
    """Return a new `<…@hostname>` for a POP3 greeting or a CRAM-MD5 challenge.

    Raises:
        InputError: `hostname` does not fit into a msg-id.

    RFC 1939 §7, RFC 2195 §2.
    """
    # 128 random bits rather than process-ID and clock: as unique, and it cannot be foretold.
    timestamp = f"<{os.urandom(16).hex()}@{hostname}>"
    # Whoever checks no types might pass a number, which would do up to here.
    if not isinstance(hostname, str) or not _TIMESTAMP.fullmatch(timestamp):  # type: ignore[redundant-expr]
        raise InputError(
            f"{quoted(hostname)} is not a hostname", cure="give an ASCII name or address literal"
        )
    return timestamp


def find_timestamp(greeting: str) -> str | None:
    """Return the timestamp in a POP3 greeting, angle brackets included, or None: no APOP (RFC 1939 §7)."""
    found = _TIMESTAMP.search(greeting)
    return found[0] if found else None


def apop_digest(timestamp: str, password: str) -> str:
    """Return the digest argument of APOP: MD5 of timestamp and password, in hexadecimal (RFC 1939 §7)."""
    return hashlib.md5((timestamp + password).encode()).hexdigest()


def cram_md5_digest(challenge: bytes, password: str) -> str:
    """Return the keyed MD5 digest of a challenge, in hexadecimal (RFC 2195 §2)."""
    return hmac.new(password.encode(), challenge, "md5").hexdigest()

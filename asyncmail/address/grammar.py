"""The mailbox of SMTP: local part, @, domain (RFC 5321 §4.1.2, with UTF-8 as in RFC 6531 §3.3).

Linear in the length of the text: possessive expressions, no backtracking, no recursion.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ..errors import AddressSyntaxError
from .domains import DOMAIN_PATTERN, encode_domain

__all__ = [
    "ATEXT",
    "DOT_STRING",
    "MAILBOX_PATTERN",
    "MAX_MAILBOX",
    "UNPRINTABLE",
    "UTF8_NON_ASCII",
    "ScannedMailbox",
    "check_lengths",
    "quote",
    "scan_mailbox",
    "write_local_part",
]

MAX_LOCAL_PART = 64  # octets as written, RFC 5321 §4.5.3.1.1
MAX_MAILBOX = 254  # octets: a path has 256 with its angle brackets, RFC 5321 §4.5.3.1.3

# Inside of [...]: UTF8-non-ascii (RFC 6531 §3.3), without C1 controls, the two characters that Unicode calls
# line and paragraph separator, and surrogates, which have no encoding.
UTF8_NON_ASCII = r"\xa0-\u2027\u202a-\ud7ff\ue000-\U0010ffff"
# Inside of [...]: atext, its ASCII part (RFC 5322 §3.2.3).
ATEXT = r"!#-'*+\-/-9=?A-Z^-~"

# The common case in one expression: a dot-atom of ASCII at a domain that is not an address literal.
MAILBOX_PATTERN = rf"(?=[^@]{{1,{MAX_LOCAL_PART}}}@)[{ATEXT}]++(?:\.[{ATEXT}]++)*+@{DOMAIN_PATTERN}"

_FORM = "write local-part@domain"
DOT_STRING = re.compile(rf"[{ATEXT}{UTF8_NON_ASCII}]++(?:\.[{ATEXT}{UTF8_NON_ASCII}]++)*+")
UNPRINTABLE = re.compile(rf"[^ -~{UTF8_NON_ASCII}]")  # in no address, in no part of one
_QUOTED_STRING = re.compile(rf'"(?:[ !#-\[\]-~{UTF8_NON_ASCII}]|\\[ -~])++"')
_DOMAIN = re.compile(rf"\[[!-Z^-~]*+\]?|[A-Za-z0-9_.\-{UTF8_NON_ASCII}]++")


class ScannedMailbox(NamedTuple):
    """Where the parts of a mailbox are in a text."""

    at: int  # index of the @ between local part and domain
    end: int  # index after the domain
    ascii_domain: str


def scan_mailbox(text: str, start: int = 0) -> ScannedMailbox:
    """Recognise the mailbox that begins at `start`; what follows it is the caller's.

    Raises:
        AddressSyntaxError: there is none, or one of its parts is too long.

    RFC 5321 §4.1.2.
    """
    quoted = text.startswith('"', start)
    local = (_QUOTED_STRING if quoted else DOT_STRING).match(text, start)
    if local is None:
        raise AddressSyntaxError(
            text,
            "the quoted local part is empty, not closed or not printable" if quoted else "no local part",
            position=start,
            cure=_FORM,
        )
    at = local.end()
    if not text.startswith("@", at):
        raise AddressSyntaxError(
            text,
            "no @ after the local part",
            position=at,
            cure=f"{_FORM}; other characters in the local part than letters, digits, !#$%&'*+-/=?^_`{{|}}~"
            " and single dots between them need double quotes around it",
        )
    found = _DOMAIN.match(text, at + 1)
    domain = found[0] if found else ""
    ascii_domain = encode_domain(domain, text, at + 1)
    check_lengths(local[0], domain, ascii_domain, text)
    return ScannedMailbox(at, at + 1 + len(domain), ascii_domain)


def check_lengths(local_part: str, domain: str, ascii_domain: str, text: str) -> None:
    """Raise AddressSyntaxError, for `text`, if a mailbox of these parts, as written, is too long for SMTP."""
    octets = len(local_part.encode())
    if octets > MAX_LOCAL_PART:
        raise AddressSyntaxError(
            text, f"the local part has {octets} octets, more than {MAX_LOCAL_PART}", cure="shorten it"
        )
    octets += 1 + max(len(domain.encode()), len(ascii_domain))
    if octets > MAX_MAILBOX:
        raise AddressSyntaxError(text, f"it has {octets} octets, more than {MAX_MAILBOX}", cure="shorten it")


def quote(text: str) -> str:
    """Return `text` as a quoted string (RFC 5321 §4.1.2, RFC 5322 §3.2.4)."""
    escaped = text.replace("\\", r"\\").replace('"', r"\"")
    return f'"{escaped}"'


def write_local_part(value: str) -> str:
    """Return a local part as it stands in an address: quoted if it has to be (RFC 5321 §4.1.2)."""
    return value if DOT_STRING.fullmatch(value) else quote(value)

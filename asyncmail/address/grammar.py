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
    "MAILBOX_PATTERN",
    "MAX_MAILBOX",
    "UTF8_NON_ASCII",
    "ScannedMailbox",
    "check_lengths",
    "scan_mailbox",
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
_DOT_STRING = re.compile(rf"[{ATEXT}{UTF8_NON_ASCII}]++(?:\.[{ATEXT}{UTF8_NON_ASCII}]++)*+")
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
    local = (_QUOTED_STRING if quoted else _DOT_STRING).match(text, start)
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
            cure=f"{_FORM}; a local part with other characters than a-z 0-9 !#$%&'*+-/=?^_`{{|}}~ and single dots"
            " between them needs double quotes",
        )
    domain = _DOMAIN.match(text, at + 1)
    if domain is None:
        raise AddressSyntaxError(text, "no domain after the @", position=at + 1, cure=_FORM)
    ascii_domain = encode_domain(domain[0], text, at + 1)
    check_lengths(local[0], max(domain[0], ascii_domain, key=_octets), text)
    return ScannedMailbox(at, domain.end(), ascii_domain)


def check_lengths(local_part: str, domain: str, text: str) -> None:
    """Raise AddressSyntaxError, for `text`, if a mailbox of these parts, as written, is too long for SMTP."""
    octets = _octets(local_part)
    if octets > MAX_LOCAL_PART:
        raise AddressSyntaxError(
            text, f"the local part has {octets} octets, more than {MAX_LOCAL_PART}", cure="shorten it"
        )
    octets += 1 + _octets(domain)
    if octets > MAX_MAILBOX:
        raise AddressSyntaxError(text, f"it has {octets} octets, more than {MAX_MAILBOX}", cure="shorten it")


def _octets(text: str) -> int:
    return len(text.encode())

"""Domains and address literals: their grammar, and their form in ASCII (RFC 5321 §4.1.2, §4.1.3)."""

from __future__ import annotations

import functools
import ipaddress
import re

import idna

from ..errors import AddressSyntaxError, printable

__all__ = ["DOMAIN_PATTERN", "MAX_DOMAIN", "encode_domain"]

MAX_DOMAIN = 255  # octets, RFC 5321 §4.5.3.1.2
_MAX_LABEL = 63  # octets, RFC 1035 §2.3.4

# Letters, digits and hyphens, plus the underscore, which host names may not have and mail domains in use do.
# Possessive, so that a failure is final where it occurs. No hyphen ends a label: a word must follow it.
_LABEL_TOO_LONG = rf"[A-Za-z0-9_-]{{{_MAX_LABEL + 1}}}"
DOMAIN_PATTERN = rf"(?!{_LABEL_TOO_LONG})[A-Za-z0-9_]++(?:(?:-++|\.(?!{_LABEL_TOO_LONG}))[A-Za-z0-9_]++)*+"
_DOMAIN = re.compile(DOMAIN_PATTERN)
_GENERAL_LITERAL = re.compile(r"[A-Za-z0-9-]*[A-Za-z0-9]:[!-Z^-~]+")


def encode_domain(domain: str, address: str, position: int = 0) -> str:
    """Return a domain or address literal in ASCII: as it is, or with A-labels for labels that are not ASCII.

    Args:
        domain: `example.com`, `bücher.example`, `[192.0.2.1]`, `[IPv6:2001:db8::1]`.
        address: what the domain is part of, for the error.
        position: index of the domain in it.

    Raises:
        AddressSyntaxError: it is none of these.

    RFC 5321 §4.1.2; RFC 5891 with the mapping of UTS #46.
    """
    if domain.startswith("["):
        if _is_literal(domain):
            return domain
        raise AddressSyntaxError(
            address,
            f"{printable(domain)} is not an address literal",
            position=position,
            cure="write [192.0.2.1] or [IPv6:2001:db8::1]",
        )
    if len(domain) > MAX_DOMAIN:
        raise AddressSyntaxError(
            address, f"the domain is longer than {MAX_DOMAIN} octets", position=position, cure="shorten it"
        )
    if domain.isascii():
        encoded = domain
    else:
        try:
            encoded = _to_a_labels(domain)
        except idna.IDNAError as error:
            raise AddressSyntaxError(
                address,
                f"the domain is not an internationalised domain name: {printable(error)}",
                position=position,
                cure="correct the domain, or write it with A-labels (xn--…)",
            ) from None
    # The mapping can bring forth any ASCII character (U+FF20 becomes "@"), so this comes after it.
    if not _DOMAIN.fullmatch(encoded) or len(encoded) > MAX_DOMAIN:
        problem, cure, offset = _explain(encoded)
        if encoded is not domain:
            offset = 0
        raise AddressSyntaxError(address, problem, position=position + offset, cure=cure)
    return encoded


@functools.lru_cache(maxsize=1024)
def _to_a_labels(domain: str) -> str:
    labels = idna.uts46_remap(domain, std3_rules=False).split(".")
    return ".".join(label if label.isascii() else idna.alabel(label).decode("ascii") for label in labels)


def _explain(domain: str) -> tuple[str, str, int]:
    """What is wrong with an ASCII domain, what to do about it, and the offset of the first label concerned."""
    if not domain:
        return "the domain is empty", "write local-part@domain", 0
    offset = 0
    for label in domain.split("."):
        if not label:
            return "the domain has an empty label", "remove the surplus dot", offset
        if len(label) > _MAX_LABEL:
            return f"a label of the domain is longer than {_MAX_LABEL} octets", "shorten it", offset
        if label[0] == "-" or label[-1] == "-":
            return "a label of the domain begins or ends with a hyphen", "remove the hyphen", offset
        if not _DOMAIN.fullmatch(label):
            return "the domain holds a character that none has", "use letters, digits, - and .", offset
        offset += len(label) + 1
    return f"the domain is longer than {MAX_DOMAIN} octets in ASCII", "shorten it", 0


def _is_literal(literal: str) -> bool:
    if not literal.endswith("]"):
        return False
    content = literal[1:-1]
    tag, colon, value = content.partition(":")
    try:
        if not colon:
            ipaddress.IPv4Address(content)
        elif tag.lower() == "ipv6":
            ipaddress.IPv6Address(value)
        else:
            return _GENERAL_LITERAL.fullmatch(content) is not None
    except ValueError:
        return False
    return "%" not in value  # a zone means something on one machine only

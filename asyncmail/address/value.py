"""A mail address as a value."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from ..errors import AddressSyntaxError
from .domains import encode_domain
from .encoded_words import encode_words
from .grammar import ATEXT, UNPRINTABLE, UTF8_NON_ASCII, check_lengths, quote, write_local_part
from .lists import ParsedMailbox, parse_mailbox, parse_mailboxes
from .person import person_name

__all__ = ["Address"]

_ATOMS = re.compile(rf"[{ATEXT}{UTF8_NON_ASCII}]++(?: [{ATEXT}{UTF8_NON_ASCII}]++)*+")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Address:
    """A mailbox, perhaps with the name of its owner.

    Parts are values: without quotes, escapes, comments and encoded words. Two addresses are equal if they name the
    same mailbox: same local part, and same domain whatever the case and whichever of U-labels and A-labels; the
    display name does not count.

    Args:
        local_part: what stands before the @; letter case counts.
        domain: a domain, internationalised or not, or an address literal such as `[192.0.2.1]`.
        display_name: empty if there is none.

    Raises:
        AddressSyntaxError: SMTP has no such mailbox, it is too long, or the display name is not printable.

    RFC 5322 §3.4, RFC 5321 §4.1.2, RFC 6531 §3.3.
    """

    local_part: str
    domain: str
    display_name: str = ""

    def __post_init__(self) -> None:
        for what, value in (("local part", self.local_part), ("display name", self.display_name)):
            if found := UNPRINTABLE.search(value):
                raise AddressSyntaxError(
                    value,
                    f"the {what} holds a control character or a lone surrogate",
                    position=found.start(),
                    cure="remove it",
                )
        if not self.local_part:
            raise AddressSyntaxError(f"@{self.domain}", "no local part", position=0, cure="supply one")
        ascii_domain = encode_domain(self.domain, self.domain)
        check_lengths(write_local_part(self.local_part), self.domain, ascii_domain, self.addr_spec)

    @classmethod
    def parse(cls, text: str) -> Address:
        """Return the one address that `text` is, as header fields write it.

        Without a display name, comments take its place.

        Args:
            text: `user@example.com`, `"A. Name" <user@example.com>`, `user@example.com (A Name)`; folded or not.

        Raises:
            AddressSyntaxError: it is not exactly one address.

        RFC 5322 §3.4 and §4.4.
        """
        return cls._of(parse_mailbox(text))

    @classmethod
    def parse_list(cls, text: str) -> list[Address]:
        """Return all addresses in `text`, those in groups too.

        Args:
            text: addresses and groups with commas, or semicolons, between them; nothing between two is no fault.

        Raises:
            AddressSyntaxError: something in it is not an address.

        RFC 5322 §3.4 and §4.4.
        """
        return [cls._of(mailbox) for mailbox in parse_mailboxes(text)]

    @classmethod
    def _of(cls, mailbox: ParsedMailbox) -> Address:
        return cls(local_part=mailbox.local_part, domain=mailbox.domain, display_name=mailbox.display_name)

    @property
    def addr_spec(self) -> str:
        """The mailbox alone, as it stands between < and >; the local part quoted if it has to be."""
        return f"{write_local_part(self.local_part)}@{self.domain}"

    @property
    def ascii_domain(self) -> str:
        """The domain with A-labels for labels that are not ASCII (RFC 5891, mapped as UTS #46 says)."""
        return encode_domain(self.domain, self.domain)

    @property
    def person_name(self) -> str:
        """The name by which to call the owner, from the display name or else the local part; may be empty."""
        return person_name(self.display_name, self.local_part)

    @property
    def needs_smtputf8(self) -> bool:
        """Whether only servers that offer SMTPUTF8 can take it: the local part is not ASCII (RFC 6531)."""
        return not self.local_part.isascii()

    def ascii_only(self) -> Address:
        """Return the same address with its domain in ASCII; the display name stays.

        Raises:
            AddressSyntaxError: the local part is not ASCII, and nothing else can stand for it.

        RFC 5891.
        """
        if self.needs_smtputf8:
            raise AddressSyntaxError(
                self.addr_spec,
                "the local part is not ASCII",
                cure="use a server that offers SMTPUTF8, or an ASCII address of the same person",
            )
        return replace(self, domain=self.ascii_domain)

    def format(self, *, ascii_only: bool = False) -> str:
        """Return the text for a header field, not folded; `parse` gives the same address again.

        Args:
            ascii_only: whether to write the display name as encoded words where ASCII does not do, and the domain
                with A-labels.

        Raises:
            AddressSyntaxError: `ascii_only`, and the local part is not ASCII.

        RFC 5322 §3.4, RFC 2047 §5 (3), RFC 6532.
        """
        addr_spec = self.ascii_only().addr_spec if ascii_only else self.addr_spec
        name = self.display_name
        if not name:
            return addr_spec
        if ascii_only and not name.isascii():
            name = encode_words(name)
        elif "=?" in name or not _ATOMS.fullmatch(name):  # only quotes keep what looks like an encoded word
            name = quote(name)
        return f"{name} <{addr_spec}>"

    def __str__(self) -> str:
        return self.format()

    def __eq__(self, other: object) -> bool:
        return self._mailbox() == other._mailbox() if isinstance(other, Address) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._mailbox())

    def _mailbox(self) -> tuple[str, str]:
        return self.local_part, self.ascii_domain.lower()

"""What a server said in its answer to EHLO or LHLO (RFC 5321 §4.1.1.1)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

__all__ = ["Extensions"]


class Extensions(Mapping[str, str]):
    """The EHLO keywords offered, each with its parameters as one string; keywords in any case.

    `domain` is the name by which the server calls itself. Nothing is known before EHLO and after HELO: empty.
    """

    __slots__ = (
        "_keywords",
        "domain",
        "mechanisms",
        "messages",
        "pipelining",
        "recipient_domains",
        "recipients",
        "size",
    )

    def __init__(self, domain: str = "", keywords: Mapping[str, str] | None = None) -> None:
        self.domain: str = domain
        self._keywords = {keyword.upper(): parameters for keyword, parameters in (keywords or {}).items()}
        self.pipelining: bool = "PIPELINING" in self._keywords
        """Commands may be sent in groups (RFC 2920)."""
        self.size: int | None = _number(self._keywords.get("SIZE", "").split(" ")[0])
        """The most octets a message may have, None if the server names no maximum (RFC 1870 §4)."""
        limits = dict(
            item.split("=", 1) for item in self._keywords.get("LIMITS", "").upper().split() if "=" in item
        )
        self.messages: int | None = _number(limits.get("MAILMAX", ""))
        """The most messages in one session, None if the server names no maximum (RFC 9422 §4.1)."""
        self.recipients: int | None = _number(limits.get("RCPTMAX", ""))
        """The most recipients in one transaction, None if the server names no maximum (RFC 9422 §4.2)."""
        self.recipient_domains: int | None = _number(limits.get("RCPTDOMAINMAX", ""))
        """The most domains that recipients of one transaction have, None if the server names no maximum
        (RFC 9422 §4.3)."""
        self.mechanisms: tuple[str, ...] = tuple(
            dict.fromkeys(self._keywords.get("AUTH", "").upper().split())
        )
        """SASL mechanisms offered (RFC 4954 §3)."""

    @classmethod
    def parse(cls, lines: list[str]) -> Extensions:
        """Read the lines of a positive answer; tolerates `AUTH=…` and spaces around keywords."""
        keywords: dict[str, str] = {}
        for line in lines[1:]:
            keyword, _, parameters = line.replace("\t", " ").strip().partition(" ")
            if keyword[:5].upper() == "AUTH=":
                keyword, parameters = "AUTH", f"{keyword[5:]} {parameters}"
            if keyword:
                known = keywords.get(keyword.upper(), "")
                keywords[keyword.upper()] = f"{known} {parameters.strip()}".strip()
        return cls(lines[0].strip().partition(" ")[0], keywords)

    def __getitem__(self, keyword: str) -> str:
        return self._keywords[keyword.upper()]

    def __contains__(self, keyword: object) -> bool:
        return isinstance(keyword, str) and keyword.upper() in self._keywords

    def __iter__(self) -> Iterator[str]:
        return iter(self._keywords)

    def __len__(self) -> int:
        return len(self._keywords)

    def __repr__(self) -> str:
        return f"<Extensions of {self.domain or 'nobody'}: {' '.join(self._keywords) or 'none'}>"


def _number(text: str) -> int | None:
    """A number above 0, None if `text` is anything else."""
    return (int(text) or None) if len(text) <= 20 and text.isascii() and text.isdigit() else None

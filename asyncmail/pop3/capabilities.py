"""What a server says it can do (RFC 2449 §5 and §6)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

from ..wire import encode_argument

__all__ = ["Capabilities", "parse_capabilities"]


class Capabilities(Mapping[str, tuple[str, ...]]):
    """Capabilities and their arguments; tags are compared without regard to case.

    Args:
        items: tag and arguments of each; arguments of a tag given more than once are joined.

    RFC 2449 §5
    """

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[str, Iterable[str]] | Iterable[tuple[str, Iterable[str]]] = ()) -> None:
        self._items: dict[str, tuple[str, ...]] = {}
        for tag, arguments in items.items() if isinstance(items, Mapping) else items:
            self._items[tag.upper()] = self._items.get(tag.upper(), ()) + tuple(arguments)

    def __getitem__(self, tag: str) -> tuple[str, ...]:
        return self._items[tag.upper()]

    def __contains__(self, tag: object) -> bool:
        return tag in self._items or (isinstance(tag, str) and tag.upper() in self._items)

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return f"Capabilities({', '.join(' '.join((tag, *arguments)) for tag, arguments in self.items())})"

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """SASL mechanisms that AUTH takes, in capitals (RFC 5034 §3)."""
        return tuple(mechanism.upper() for mechanism in self.get("SASL", ()))

    @property
    def login_delay(self) -> int | None:
        """Seconds that the server wants between logins (RFC 2449 §6.5)."""
        value = _number(self.get("LOGIN-DELAY", ()))
        return None if value is None else int(value)

    @property
    def expire(self) -> float | None:
        """Days for which the server keeps messages, infinite for `NEVER` (RFC 2449 §6.7)."""
        return (
            math.inf
            if self.get("EXPIRE", ())[:1] in (("NEVER",), ("never",))
            else _number(self.get("EXPIRE", ()))
        )

    @property
    def implementation(self) -> str | None:
        """What the server says it is (RFC 2449 §6.9)."""
        return " ".join(self["IMPLEMENTATION"]) if "IMPLEMENTATION" in self else None

    def encode(self) -> bytes:
        """Return the lines of a capability list, without its end."""
        return b"".join(
            encode_argument(" ".join((tag, *arguments)), "capability") + b"\r\n"
            for tag, arguments in self.items()
        )


def _number(arguments: tuple[str, ...]) -> float | None:
    return float(arguments[0]) if arguments and arguments[0].isascii() and arguments[0].isdigit() else None


def parse_capabilities(lines: bytes) -> Capabilities:
    """Parse a capability list without its end; blank lines are passed over (RFC 2449 §5)."""
    words = (line.split() for line in lines.decode("utf-8", "backslashreplace").splitlines())
    return Capabilities((tag, arguments) for tag, *arguments in filter(None, words))

"""Options that are passed on by name."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["check_options"]


def check_options(owner: str, known: type, given: Iterable[str]) -> None:
    """Refuse an option that `known`, a TypedDict, does not have.

    The interpreter does so for parameters; here a misspelt one would just have no effect.

    Raises:
        TypeError: one is not known.
    """
    for name in given:
        if name not in known.__annotations__:
            alike = get_close_matches(name, known.__annotations__, 1)
            hint = f", did you mean {alike[0]!r}?" if alike else ""
            raise TypeError(f"{owner}() got an unexpected keyword argument {name!r}{hint}")

"""The `asyncmail` command."""

from __future__ import annotations

import sys
from importlib.util import find_spec

from .errors import MissingExtra

__all__ = ["main"]


def main() -> None:
    """Run the command, and exit with its status."""
    if missing := [name for name in ("typer", "rich") if find_spec(name) is None]:
        error = MissingExtra("cli", f"the asyncmail command, for want of {' and '.join(missing)},")
        print(f"asyncmail: {error}", file=sys.stderr)  # noqa: T201 - what would print it better is missing
        sys.exit(2)
    from .cli import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()

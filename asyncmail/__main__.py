"""The `asyncmail` command."""

from __future__ import annotations

import io
import os
import sys
from importlib.util import find_spec

from .errors import MissingExtra

__all__ = ["main"]


def main() -> None:
    """Run the command, and exit with its status."""
    _complete_streams()
    if missing := [name for name in ("typer", "rich") if find_spec(name) is None]:
        error = MissingExtra("cli", f"the asyncmail command, for want of {' and '.join(missing)},")
        print(f"asyncmail: {error}", file=sys.stderr)  # noqa: T201 - what would print it better is missing
        sys.exit(2)
    try:
        from .cli import run

        sys.exit(run(sys.argv[1:]))
    except KeyboardInterrupt:  # before any command was there to take it
        print("interrupted", file=sys.stderr)  # noqa: T201 - what would print it better may be missing
        sys.exit(130)


def _complete_streams() -> None:
    """Make up for standard streams that are closed, or cannot hold every character."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - until the end
        elif mode == "w" and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    main()

"""Directories that the user names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..folders import Maildir
from ..folders.disk import folder_errors, make_directory

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["made", "maildirs_in"]


def made(directory: Path) -> Path:
    """Return a directory, which is there now.

    Raises:
        FolderError: it cannot be made.
    """
    with folder_errors(str(directory)):
        make_directory(str(directory.absolute()))
    return directory


def maildirs_in(directory: Path, name: str = "{user}") -> Maildir:
    """The Maildirs in a directory, by a pattern for their names; braces in the directory's name are just that."""
    literal = str(directory).replace("{", "{{").replace("}", "}}")
    return Maildir(f"{literal}/{name}")

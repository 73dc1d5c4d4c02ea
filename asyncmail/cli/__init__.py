"""The `asyncmail` command: a thin layer over the library, made with Typer and Rich."""

from .app import app, run

__all__ = ["app", "run"]

"""The front door: what it names is there, and every package says what it exports."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import pytest

import asyncmail

MODULES = [
    module.name
    for module in walk_packages(asyncmail.__path__, "asyncmail.")
    if module.name not in ("asyncmail.__main__",)
]


def typed_names() -> set[str]:
    """The names that type checkers see: imported under TYPE_CHECKING."""
    tree = ast.parse(Path(asyncmail.__file__).read_text(encoding="utf-8"))
    return {
        alias.asname
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level == 1
        for alias in node.names
        if alias.asname
    }


def test_type_checkers_and_the_interpreter_see_the_same_names() -> None:
    assert typed_names() == set(asyncmail.__all__) - {"__version__"}


@pytest.mark.parametrize("name", asyncmail.__all__)
def test_each_name_is_there(name: str) -> None:
    assert getattr(asyncmail, name) is not None
    assert name in dir(asyncmail)


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = asyncmail.nothing  # type: ignore[attr-defined]


def test_every_error_is_at_the_front_door() -> None:
    errors = import_module("asyncmail.errors")
    assert set(errors.__all__) - set(asyncmail.__all__) == {"printable", "quoted"}


@pytest.mark.parametrize("name", MODULES)
def test_what_a_module_says_it_exports_is_there(name: str) -> None:
    module = import_module(name)
    for exported in module.__all__:
        assert hasattr(module, exported)


def test_importing_loads_nothing() -> None:
    code = "import asyncmail, sys; print([name for name in sys.modules if name.startswith('asyncmail.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"

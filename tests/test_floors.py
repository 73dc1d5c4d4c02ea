"""Floors 0 and 1 are pure: they know octets and text, no event loop, no socket and no clock."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import asyncmail

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(asyncmail.__file__).parent
PURE = ["errors", "wire", "address", "sasl", "smtp", "pop3", "message"]
FORBIDDEN = {"asyncio", "anyio", "socket", "ssl", "threading", "subprocess", "logging"}

# Without site, so that nothing is there that the environment's start-up files loaded.
PROGRAM = """
import sys
bare = set(sys.modules)
sys.path[:] = {path!r}
import {module}
print(*sorted(set(sys.modules) - bare))
"""


def modules_loaded_by(module: str) -> set[str]:
    program = PROGRAM.format(path=sys.path, module=module)
    run = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=True
    )
    return set(run.stdout.split())


# The standard library's email package loads socket for itself, so message is checked by its source alone.
@pytest.mark.parametrize("name", [name for name in PURE if name != "message"])
def test_importing_a_pure_package_loads_nothing_that_is_not(name: str) -> None:
    loaded = modules_loaded_by(f"asyncmail.{name}")
    assert f"asyncmail.{name}" in loaded
    assert {module.partition(".")[0] for module in loaded} & FORBIDDEN == set()
    above = {module.split(".")[1] for module in loaded if module.startswith("asyncmail.")} - set(PURE)
    assert above == set()


def test_the_check_would_notice() -> None:
    assert "socket" in modules_loaded_by("socket")


def sources(name: str) -> list[Path]:
    module = PACKAGE / f"{name}.py"
    return [module] if module.exists() else sorted((PACKAGE / name).rglob("*.py"))


def imported(tree: ast.AST) -> Iterator[str]:
    """The first part of each absolute import, those within functions and for type checkers too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield (node.module or "").partition(".")[0]


@pytest.mark.parametrize("name", PURE)
def test_no_source_of_a_pure_package_imports_what_is_not(name: str) -> None:
    paths = sources(name)
    assert paths
    for path in paths:
        names = set(imported(ast.parse(path.read_bytes(), path)))
        # The interpreter itself has loaded time, so only the source tells. importlib would go round this test.
        assert names & (FORBIDDEN | {"time", "importlib"}) == set(), path


@pytest.mark.parametrize(
    "source",
    ["import time", "from time import monotonic as m", "def f():\n  import time.x", "import re, time as t"],
)
def test_the_source_check_would_notice(source: str) -> None:
    assert "time" in set(imported(ast.parse(source)))
    assert "time" not in set(imported(ast.parse("from . import time\nfrom .time import x")))

"""The form of the package's code that ruff does not check: short functions, one thing a line."""

import ast
import subprocess
import sys

import pytest
from conftest import ROOT

PACKAGE = ROOT / "dtreward"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if "checkpoint_files" not in path.parts)
LONGEST = 40  # lines of a function, docstring not counted


each_module = pytest.mark.parametrize(
    "path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE))
)


def functions(path):
    """Give the functions and methods of a module."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [node for node in ast.walk(tree) if isinstance(node, kinds)]


def length(function):
    """Count a function's lines without its docstring."""
    text = ast.get_docstring(function, clean=False)
    return function.end_lineno - function.lineno + 1 - (len(text.splitlines()) if text else 0)


@each_module
def test_functions_fit_a_screen(path):
    long = {node.name: length(node) for node in functions(path) if length(node) > LONGEST}
    assert not long


@each_module
def test_one_line_assigns_one_thing(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    packed = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Tuple)
        and isinstance(getattr(node.value, "body", node.value), ast.Tuple)  # of a, b if c else d
    ]
    assert not packed


@pytest.mark.parametrize("words", [("check",), ("format", "--check")], ids=" ".join)
def test_ruff_has_nothing_to_say(words):
    command = [sys.executable, "-m", "ruff", *words, "--no-cache", "."]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout

"""The form of the package's code: short functions, few parameters, one statement a line."""

import ast

import pytest
from conftest import ROOT

PACKAGE = ROOT / "dtreward"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if "checkpoint_files" not in path.parts)
LONGEST = 40  # lines of a function, docstring not counted
MOST = 7  # parameters of a function that users do not call
SHORT = pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))


def functions(path):
    """Give the functions and methods of a module."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [node for node in ast.walk(tree) if isinstance(node, kinds)]


def length(function):
    """Count a function's lines without its docstring."""
    text = ast.get_docstring(function, clean=False)
    return function.end_lineno - function.lineno + 1 - (len(text.splitlines()) if text else 0)


@SHORT
def test_functions_fit_a_screen(path):
    long = {node.name: length(node) for node in functions(path) if length(node) > LONGEST}
    assert not long


@SHORT
def test_functions_take_few_parameters(path):
    many = {}
    for node in functions(path):
        count = len(node.args.posonlyargs) + len(node.args.args) + len(node.args.kwonlyargs)
        if count > MOST and node.name.startswith("_") and node.name != "__init__":
            many[node.name] = count
    assert not many


@SHORT
def test_one_line_assigns_one_thing(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    packed = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Tuple)
        and isinstance(node.value, ast.Tuple)
    ]
    assert not packed

"""The form of the package's code: short functions, few parameters, one statement a line."""

import ast

import pytest
from conftest import ROOT

PACKAGE = ROOT / "dtreward"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if "checkpoint_files" not in path.parts)
LONGEST = 40  # lines of a function, docstring not counted
MOST = 7  # parameters of a function that users do not call
# Modules that are still dense; a module that has become plain fails here until its name goes.
LONG_FUNCTIONS = ()
PACKED_LINES = ("study/report.py",)


def each_module(dense=()):
    """Run a test for each module; it must fail for those that are known to be dense."""
    cases = []
    for path in MODULES:
        name = str(path.relative_to(PACKAGE))
        marks = [pytest.mark.xfail(strict=True, reason="still dense")] if name in dense else []
        cases.append(pytest.param(path, id=name, marks=marks))
    return pytest.mark.parametrize("path", cases)


def functions(path):
    """Give the functions and methods of a module."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [node for node in ast.walk(tree) if isinstance(node, kinds)]


def length(function):
    """Count a function's lines without its docstring."""
    text = ast.get_docstring(function, clean=False)
    return function.end_lineno - function.lineno + 1 - (len(text.splitlines()) if text else 0)


@each_module(LONG_FUNCTIONS)
def test_functions_fit_a_screen(path):
    long = {node.name: length(node) for node in functions(path) if length(node) > LONGEST}
    assert not long


@each_module()
def test_functions_take_few_parameters(path):
    many = {}
    for node in functions(path):
        count = len(node.args.posonlyargs) + len(node.args.args) + len(node.args.kwonlyargs)
        if count > MOST and node.name.startswith("_") and node.name != "__init__":
            many[node.name] = count
    assert not many


@each_module(PACKED_LINES)
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

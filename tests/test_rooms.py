"""The rooms of the package: imports go down only, and private names stay in their module."""

import ast
import re
import sys
import tomllib
from functools import cache
from graphlib import TopologicalSorter
from importlib.metadata import packages_distributions

import pytest
from conftest import ROOT

PACKAGE = ROOT / "dtreward"
FLOORS = (  # a file or room imports from its own floor's room and from the floors above it here
    ("files", "stats", "published", "names", "fonts", "pooling"),
    ("record",),
    ("conversation", "figures"),
    ("pairs",),
    ("tree",),
    ("engine",),
    ("judges",),
    ("models",),
    ("benches", "keyboard"),
    ("study", "explorer", "benchmark", "demo"),
    ("cli",),
)
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}
ROOMS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))
SHIPPED = "checkpoint_files"  # goes into exported checkpoints; it is no part of the package
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
    if SHIPPED not in path.parts
}
# What a module needs beyond the core's dependencies, and the extra that brings it.
EXTRAS = {
    "study": "study",
    "study/parallel": "ray",
    "study/chapters": "docs",
    "study/cleaning": "docs",
    "study/gallery": "docs",
    "study/pages": "docs",
    "study/site": "docs",
    "demo": "study",
    "explorer": "app",
    "judges/attribution": "study",
    "judges/ask": "judges",
    "engine/ray": "ray",
}


distributions_of_packages = cache(packages_distributions)


@cache
def imports(name):
    """List what a module imports, late imports too: (module, name or None)."""
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, None) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} has a relative import"
            found += [(node.module, alias.name) for alias in node.names]
    return found


def own_imports(name):
    """Give the modules of this package that a module imports."""
    for module, attribute in imports(name):
        if module.split(".")[0] == "dtreward":
            inner = f"{module}.{attribute}"
            yield inner if inner in MODULES else module


def room(name):
    """Give the room, or the file beside the rooms, that a module is in."""
    return name.split(".")[1] if "." in name else ""


INNER = [name for name in MODULES if name != "dtreward"]


@pytest.mark.parametrize("name", INNER)
def test_imports_go_down_only(name):
    for other in own_imports(name):
        here, there = room(name), room(other)
        assert here == there or FLOOR[there] < FLOOR[here], f"{name} imports {other}"


def test_no_two_modules_import_each_other():
    graph = {name: set(own_imports(name)) - {name} for name in INNER}
    for others in graph.values():
        others.discard("dtreward")
    assert set(TopologicalSorter(graph).static_order()) >= set(graph)


def test_every_part_of_the_package_has_its_floor():
    assert {room(name) for name in INNER} <= set(FLOOR)


@pytest.mark.parametrize("name", INNER)
def test_no_private_name_is_used_outside_its_module(name):
    for module, attribute in imports(name):
        if module.split(".")[0] == "dtreward":
            assert not (attribute or "").startswith("_"), f"{name} imports {module}.{attribute}"


@pytest.mark.parametrize("name", INNER)
def test_no_import_is_hidden_behind_a_string(name):
    assert 'import_module("dtreward' not in MODULES[name].read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ROOMS)
def test_each_room_says_its_job_and_lists_its_files(name):
    text = ast.get_docstring(ast.parse((PACKAGE / name / "__init__.py").read_text("utf-8")))
    files = {path.stem for path in (PACKAGE / name).glob("*.py")} - {"__init__"}
    unlisted = [file for file in sorted(files) if not re.search(rf"\b{file}\b", text)]
    assert not unlisted, f"dtreward/{name}/__init__.py does not list {unlisted}"


@cache
def declared(*extras):
    """Give the distributions that pyproject.toml declares for the core and some extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = list(project["dependencies"])
    for extra in extras:
        wanted += project["optional-dependencies"][extra]
    return {re.match(r"[\w-]+", each)[0].lower().replace("_", "-") for each in wanted}


@pytest.mark.parametrize("name", INNER)
def test_everything_imported_is_declared(name):
    path = "/".join(name.split(".")[1:])
    extras = {extra for start, extra in EXTRAS.items() if path.startswith(start)}
    distributions = dict(distributions_of_packages())
    for module, _ in imports(name):
        top = module.split(".")[0]
        if top in sys.stdlib_module_names or top == "dtreward":
            continue
        if top == "ray" and top not in distributions:
            distributions["ray"] = ["ray"]
        names = {each.lower().replace("_", "-") for each in distributions[top]}
        assert names & declared(*sorted(extras)), (
            f"{name} imports {top}, which pyproject.toml lacks"
        )

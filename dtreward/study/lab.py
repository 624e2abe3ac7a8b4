"""Open JupyterLab on the notebooks, or on copies of them with a study's parameters."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

try:
    import nbformat
    from nbformat import NotebookNode
    from papermill.translators import PythonTranslator
except ImportError as error:
    raise ImportError('JupyterLab needs its extra: pip install "dtreward[study]"') from error

from dtreward.files import write_atomically
from dtreward.study.by_hand import folder_by_hand
from dtreward.study.plan import COMPARE, StudyPlan, plan_study
from dtreward.study.settings import NOTEBOOKS, parse_words

COPIES = "notebooks"  # of the folder for notebooks run by hand
AS_WRITTEN = "written_by_dtreward"  # in a copy's metadata: the digest of its cells
OPENING = """# A copy to be run by hand, with the parameters of the study '{study}'. Change what you like:
# the study's results stay in {folder}/; what you run here goes to {by_hand}/.
from dtreward.study.by_hand import start_in_notebooks

start_in_notebooks()  # paths are relative to notebooks/"""


def open_lab(words: Sequence[str]) -> None:
    """Become JupyterLab; Ctrl-C ends it.

    Args:
        words: study=NAME and parameters, name=value; without any, the notebooks themselves open.

    Raises:
        FileNotFoundError, ValueError: if the study cannot be planned.
    """
    first = NOTEBOOKS / f"{COMPARE}.ipynb"
    if words:
        first = copy_notebooks(plan_study(parse_words(words)))[0]
    jupyter = shutil.which("jupyter") or str(Path(sys.executable).with_name("jupyter"))
    command = [jupyter, "lab", "--notebook-dir=.", str(first)]
    if os.geteuid() == 0:
        command.append("--allow-root")
    sys.stdout.flush()
    os.execv(jupyter, command)


def copy_notebooks(plan: StudyPlan) -> list[Path]:
    """Write copies of a study's notebooks with its parameters, and give their paths in order.

    A copy whose cells somebody has changed is kept, and its name printed.
    """
    folder = folder_by_hand(plan.folder) / COPIES
    print(f"   copies of the notebooks with the parameters of '{plan.study}' are in {folder}/")
    paths = []
    for name in sorted(plan.notebooks):
        path = folder / f"{name}.ipynb"
        paths.append(path)
        if path.exists() and _is_changed(path):
            print(f"   {path} has changes of yours and stays; delete it for a fresh copy")
            continue
        copy = _copy(name, plan)
        if not path.exists() or _read(path).metadata[AS_WRITTEN] != copy.metadata[AS_WRITTEN]:
            write_atomically(path, lambda temporary, copy=copy: nbformat.write(copy, temporary))
    return paths


def _copy(name: str, plan: StudyPlan) -> NotebookNode:
    """Make a copy of a notebook without outputs, which starts in notebooks/ wherever it lies."""
    by_hand = folder_by_hand(plan.folder)
    values = _of_checkpoint_by_hand(plan.parameters[name], plan.folder)
    values["data_dir"] = os.path.relpath(by_hand.parent, NOTEBOOKS)
    notebook = _read(NOTEBOOKS / f"{name}.ipynb")
    opening = OPENING.format(study=plan.study, folder=plan.folder, by_hand=by_hand)
    cells = []
    for cell in notebook.cells:
        if "parameters" in cell.metadata.get("tags", []):
            cells.append(nbformat.v4.new_code_cell(opening, id="by-hand"))
            cell.source = with_values(cell.source, values)
        if cell.cell_type == "code":
            cell.outputs = []
            cell.execution_count = None
        cells.append(cell)
    notebook.cells = cells
    notebook.metadata[AS_WRITTEN] = _digest(notebook)
    return notebook


def with_values(source: str, values: Mapping[str, Any]) -> str:
    """Write values into a `parameters` cell, in the place of its own; comments stay.

    Args:
        source: annotated assignments, one a line.
        values: by parameter; those that the cell does not declare are left out.

    Example:
        >>> with_values("limit: int = 0  # pairs; 0 means all", {"limit": 300, "seed": 1})
        'limit: int = 300  # pairs; 0 means all'
    """
    lines = source.split("\n")
    for node in ast.parse(source).body:
        name = node.target.id
        if name in values:
            line = lines[node.lineno - 1].encode()  # the tree counts bytes
            before = line[: node.value.col_offset].decode()
            behind = line[node.value.end_col_offset :].decode()
            lines[node.lineno - 1] = f"{before}{PythonTranslator.translate(values[name])}{behind}"
    return "\n".join(lines)


def _of_checkpoint_by_hand(value: Any, folder: Path) -> Any:
    """Name, instead of the study's checkpoint, the one that may have been made by hand."""
    if isinstance(value, dict):
        pairs = value.items()
        return {
            _of_checkpoint_by_hand(key, folder): _of_checkpoint_by_hand(entry, folder)
            for key, entry in pairs
        }
    if isinstance(value, list):
        return [_of_checkpoint_by_hand(entry, folder) for entry in value]
    if value == os.path.relpath(folder / "checkpoint", NOTEBOOKS):
        return os.path.relpath(folder_by_hand(folder) / "checkpoint", NOTEBOOKS)
    return value


def _is_changed(path: Path) -> bool:
    """Say whether a copy's cells are others than were written, or cannot be read."""
    try:
        notebook = _read(path)
    except ValueError:
        return True
    return notebook.metadata.get(AS_WRITTEN) != _digest(notebook)


def _read(path: Path) -> NotebookNode:
    return nbformat.read(path, as_version=4)


def _digest(notebook: NotebookNode) -> str:
    """Hash what a notebook says and does, without outputs."""
    cells = [[cell.cell_type, cell.source] for cell in notebook.cells]
    return hashlib.sha256(json.dumps(cells).encode()).hexdigest()

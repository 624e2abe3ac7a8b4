"""What a study's site says of each notebook: its state, claims, parameters and provenance."""

from __future__ import annotations

import glob
import json
import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from dtreward.files import file_digest
from dtreward.record import OUTCOMES, Claim, count_claims
from dtreward.study.cleaning import clean_notebook, clean_text

try:
    import nbformat
    from nbformat import NotebookNode
    from papermill.translators import PythonTranslator
except ImportError as error:
    raise ImportError('the site needs Sphinx and others: pip install "dtreward[docs]"') from error

SITES = ("docs", "report")  # folders in a study's folder, which hold copies
STATES = {
    "done": "ran to its end",
    "failed": "stopped at an error",
    "unfinished": "was interrupted, or still runs",
    "outdated": "read files that have changed since: run the study again",
    "unreadable": "left a file that is no whole notebook",
    "not run": "has not run",
}


@dataclass(frozen=True)
class Places:
    """Where the parts of a study lie.

    Attributes:
        made: the study's folder, with records and what they were made from.
        executed: executed notebooks, partial ones among them.
        figures: figures of the notebooks.
        paper: what notebook 99 drew, with its index.
        sources: sources of the notebooks, and `studies/`.
    """

    made: Path
    executed: Path
    figures: Path
    paper: Path
    sources: Path


@dataclass(frozen=True)
class Parameter:
    """A parameter of a notebook: its value as text, what it means, and whether it was set."""

    name: str
    value: str
    meaning: str
    is_set: bool


@dataclass(frozen=True)
class Chapter:
    """One notebook of a study.

    Attributes:
        name: of its file, without the suffix.
        title: its first heading.
        question: the paragraph below it, in Markdown.
        state: one of `STATES`.
        error: the last error of a failed run.
        claims: as recorded, or as printed where there is no record.
        notebook: as far as it ran; None where nothing can be read.
        cleaned: the same without what runs, loads or tells of the machine.
        record: what the notebook recorded; empty unless it is of this run.
    """

    name: str
    title: str
    question: str
    state: str
    error: str
    claims: list[Claim]
    parameters: list[Parameter]
    notebook: NotebookNode | None
    cleaned: NotebookNode | None
    record: dict[str, Any] = field(default_factory=dict)

    @property
    def outcomes(self) -> str:
        """Give the number of claims by outcome, as words."""
        return ", ".join(f"{n} {outcome}" for outcome, n in count_claims(self.claims).items())

    @property
    def provenance(self) -> dict[str, Any]:
        """Give versions, inputs and machine of the run, as far as they are known."""
        return self.record.get("provenance", {})


def read_plan(study: str, places: Places) -> dict[str, Any]:
    """Read the YAML of a study, or of a table's own study in its folder; {} where it has none."""
    path = places.sources / "studies" / f"{study}.yaml"
    if not path.exists():
        path = places.made / f"{study}.yaml"
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}


def read_chapters(study: str, places: Places) -> list[Chapter]:
    """Read the notebooks that a study names (all, where it names none) and those that ran."""
    plan = read_plan(study, places)
    named = set(plan.get("notebooks", []))
    if not named:
        named = {path.stem for path in places.sources.glob("[0-9][0-9]_*.ipynb")}
    ran = {path.name.split(".")[0] for path in places.executed.glob("[0-9][0-9]_*.ipynb")}
    return [_chapter(name, places, plan) for name in sorted(named | ran)]


def _chapter(name: str, places: Places, plan: dict[str, Any]) -> Chapter:
    file = _file_of(name, places.executed)
    notebook = _read(file) if file else None
    cleaned = _cleaned(notebook)
    if cleaned is None:
        notebook = None
    shown = notebook or _read(places.sources / f"{name}.ipynb")
    state = _state(file, notebook)
    record = read_record(places.made / f"{name}.json") if state == "done" else {}
    if _has_outdated_inputs(record, places.made):
        state = "outdated"
    title, question = _opening(shown, name)
    planned = {} if notebook else plan.get("parameters", {}) | (plan.get(name) or {})
    return Chapter(
        name=name,
        title=title,
        question=question,
        state=state,
        error=_last_error(notebook),
        claims=_claims(notebook, record),
        parameters=_parameters(shown, planned),
        notebook=notebook,
        cleaned=cleaned,
        record=record,
    )


def _file_of(name: str, executed: Path) -> Path | None:
    """Give the finished notebook or the partial one, whichever is newer; None if there is none."""
    paths = [executed / f"{name}.ipynb", executed / f"{name}.partial.ipynb"]
    there = [path for path in paths if path.exists()]
    return max(there, key=lambda path: path.stat().st_mtime_ns, default=None)


def _read(path: Path) -> NotebookNode | None:
    """Read a notebook; None where it is none, or is damaged."""
    problems: dict[str, Any] = {}
    try:
        notebook = nbformat.read(path, as_version=4, capture_validation_error=problems)
    except Exception:  # noqa: BLE001 (damage shows anywhere; the page says that it is there)
        return None
    return None if problems else notebook


def _cleaned(notebook: NotebookNode | None) -> NotebookNode | None:
    """Clean a notebook; None where one of its outputs is damaged."""
    try:
        return clean_notebook(notebook) if notebook else None
    except (RecursionError, ValueError):
        return None


def read_record(path: Path) -> dict[str, Any]:
    """Read a record; {} where there is none that can be read."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _state(file: Path | None, notebook: NotebookNode | None) -> str:
    if file is None:
        return "not run"
    if notebook is None:
        return "unreadable"
    if ".partial" not in file.name:
        return "done"
    return "failed" if _last_error(notebook) else "unfinished"


def outputs_of(notebook: NotebookNode | None) -> list[NotebookNode]:
    """List the outputs of all cells."""
    cells = notebook.cells if notebook else []
    return [output for cell in cells for output in cell.get("outputs", ())]


def _last_error(notebook: NotebookNode | None) -> str:
    errors = [output for output in outputs_of(notebook) if output.output_type == "error"]
    if not errors:
        return ""
    return clean_text(f"{errors[-1].ename}: {errors[-1].evalue}")


def _opening(notebook: NotebookNode | None, name: str) -> tuple[str, str]:
    """Give title and question from the first cell that has a heading."""
    for cell in notebook.cells if notebook else []:
        if cell.source.startswith("# "):
            parts = cell.source.split("\n\n")
            question = parts[1] if len(parts) > 1 else ""
            return clean_text(parts[0].removeprefix("# ")), clean_text(question)
    return name, ""


def _claims(notebook: NotebookNode | None, record: dict[str, Any]) -> list[Claim]:
    """Give claims as recorded; without a record, as the notebook printed them."""
    if record:
        return [Claim(clean_text(one["sentence"]), one["held"]) for one in record["claims"]]
    streams = [output for output in outputs_of(notebook) if output.output_type == "stream"]
    printed = "".join(output.text for output in streams)
    held_of = {outcome: held for held, outcome in OUTCOMES.items()}
    lines = re.findall(f"^({'|'.join(held_of)}): (.+)$", printed, flags=re.MULTILINE)
    once = dict.fromkeys(lines)  # some are printed where they arise, and again at the end
    return [Claim(clean_text(sentence), held_of[outcome]) for outcome, sentence in once]


def _parameters(notebook: NotebookNode | None, planned: dict[str, Any]) -> list[Parameter]:
    """List the parameters that a notebook declares, with the values of its run or of its plan."""
    if notebook is None:
        return []
    given = planned | notebook.metadata.get("papermill", {}).get("parameters", {})
    cells = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ())]
    parameters = []
    for one in PythonTranslator.inspect(cells[0]) if cells else []:
        is_set = one.name in given
        value = json.dumps(given[one.name], ensure_ascii=False) if is_set else one.default
        parameters.append(Parameter(one.name, clean_text(value), one.help, is_set))
    return parameters


def _has_outdated_inputs(record: dict[str, Any], made: Path) -> bool:
    inputs = record.get("provenance", {}).get("inputs", {})
    return any(compare_input(made, *item) == "changed since" for item in inputs.items())


def compare_input(made: Path, name: str, digest: str) -> str:
    """Say whether a file that a notebook read is still the same."""
    paths = [path for path in made.rglob(glob.escape(Path(name).name)) if path.is_file()]
    paths = [path for path in paths if path.relative_to(made).parts[0] not in SITES]
    if not paths:
        return "not in the study's folder"
    now = {_digest(path, path.stat().st_mtime_ns) for path in paths}
    return "as it is now" if digest in now else "changed since"


@cache
def _digest(path: Path, written: int) -> str:
    return file_digest(path)

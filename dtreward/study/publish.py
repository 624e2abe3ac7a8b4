"""Copy what a study has made to the places where it is committed."""

from __future__ import annotations

import filecmp
import json
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from dtreward.study.readme import marked_pages, refresh
from dtreward.study.settings import NOTEBOOKS, plain_name
from dtreward.study.study_runs import record_run
from dtreward.study.texts import find_texts, texts_of

# Columns of a table that has a row for each verdict, or for each pair.
OF_VERDICTS = ("preference", "given", "swapped")
OF_PAIRS = ("pair", "pair_id", "prompt_id", *OF_VERDICTS)


def publish(study: str, root: Path = Path(".")) -> None:
    """Copy a study's executed notebooks and figures, and the demo's model, and print what changed.

    Committed notebooks and figures that a finished notebook does not make any more are deleted;
    those of a notebook that has not finished stay.

    Raises:
        FileNotFoundError: if no notebook of the study has finished.
        ValueError: if a file would show a text or a verdict of the study's pairs, unless they are
            the demo's.
    """
    made = root / "data" / plain_name(study)
    finished = {path.name[:2] for path in executed_notebooks(made)}
    if not finished:
        raise FileNotFoundError(
            f"expected executed notebooks in {made}/: run the study first, make study STUDY={study}"
        )
    copies = _copies(study, root)
    if study != "demo":
        _refuse_texts(made, copies)
        _refuse_verdicts(copies)
    changed = [target for source, target in copies.items() if _copy(source, target)]
    recorded = record_run(made, root)
    if recorded:
        changed.append(recorded)
    changed += [page for page in marked_pages(root) if refresh(page)]
    print(f"{len(changed)} of {len(copies)} files were new or changed")
    print(*(f"  {target.relative_to(root)}" for target in changed), sep="\n")
    for path in _outdated(study, root, set(copies.values()), finished):
        path.unlink()
        print(f"  deleted {path.relative_to(root)}, which the study does not make any more")


def _refuse_texts(made: Path, sources: Iterable[Path]) -> None:
    """Raise a ValueError where a file holds a piece of a text of the study's pairs."""
    texts = texts_of(pd.read_parquet(made / "pairs.parquet"))
    for path, piece in find_texts(texts, sources).items():
        raise ValueError(
            f"{path} shows a text of the study's pairs ({piece!r}), and only numbers and figures of a "
            "real study are published; change the cell that shows it, and run the notebook again"
        )


def _refuse_verdicts(sources: Iterable[Path]) -> None:
    """Raise a ValueError where a table has a row for each pair, or shows verdicts on single pairs."""
    for path in sources:
        shown = set()
        if path.suffix == ".csv":
            shown = set(pd.read_csv(path, nrows=0)) & set(OF_PAIRS)
        elif path.suffix == ".ipynb":
            headers = re.findall(r"<th[^>]*>\s*([a-z_]+)\s*</th>", _tables_of(path))
            shown = set(headers) & set(OF_VERDICTS)
        if shown:
            raise ValueError(
                f"{path} has a table with the column {min(shown)}: rows of single pairs, and "
                "only aggregates of a real study are published; change the cell that writes it, and "
                "run the notebook again"
            )


def _tables_of(notebook: Path) -> str:
    """Give the tables that a notebook shows, as HTML."""
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    except (KeyError, ValueError):  # no notebook, whatever its name says
        return ""
    outputs = [output for cell in cells for output in cell.get("outputs", ())]
    tables = [output.get("data", {}).get("text/html", "") for output in outputs]
    return "\n".join("".join(table) for table in tables)


def _outdated(study: str, root: Path, targets: set[Path], finished: set[str]) -> list[Path]:
    """List committed files that notebooks with these numbers have not made again."""
    folders = (root / NOTEBOOKS / "executed" / study, root / "figures" / study)
    paths = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    return [path for path in paths if path not in targets and _maker_of(path) in finished]


def _maker_of(path: Path) -> str:
    """Give the number of the notebook that makes a committed file; 99 draws those of the paper."""
    return "99" if path.parent.name == "paper" else path.name[:2]


def _copies(study: str, root: Path) -> dict[Path, Path]:
    """Give where each file of a study is copied to: {source: target}."""
    made = root / "data" / study
    figures = root / "figures" / study
    copies = {}
    for path in executed_notebooks(made):
        copies[path] = root / NOTEBOOKS / "executed" / study / path.name
    for path in (made / "figures").glob("*"):
        copies[path] = figures / path.name
    for path in (made / "paper").glob("*"):
        if path.is_file():  # LaTeX builds the paper in a folder there
            copies[path] = figures / "paper" / path.name
    if study == "demo":
        for path in (made / "checkpoint").glob("[!.]*"):
            copies[path] = made / path.name
    return copies


def executed_notebooks(folder: Path) -> list[Path]:
    """List a study's finished notebooks in order."""
    paths = sorted(folder.glob("[0-9][0-9]_*.ipynb"))
    return [path for path in paths if ".partial" not in path.name]


def _copy(source: Path, target: Path) -> bool:
    if target.exists() and filecmp.cmp(source, target, shallow=False):
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    return True

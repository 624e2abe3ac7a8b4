"""Compile a short paper of a study: `examples/paper/paper.tex` with what notebook 99 wrote."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dtreward.study.macros import write_macros
from dtreward.study.own import find_study
from dtreward.study.settings import plain_name

PAPER = Path("examples", "paper", "paper.tex")  # seen from the repository
BUILD = "build"  # of a study's folder paper/: all that LaTeX reads and writes
LATEX = ("pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape")
RUNS = 2  # the first writes down where figures and tables are, the second refers to them
LONGEST_RUN = 300  # seconds
# Without the time of the run in it, the PDF has the same bytes each time.
SAME_BYTES = {"SOURCE_DATE_EPOCH": "0", "FORCE_SOURCE_DATE": "1"}


def make_paper(study: str, root: Path = Path(".")) -> Path:
    """Compile the paper of a study; give its PDF.

    Raises:
        FileNotFoundError: if the study has no figures for a paper, or if LaTeX is not installed.
        ChildProcessError: if LaTeX stops with an error.
    """
    folder = gather_paper(study, root)
    if not shutil.which(LATEX[0]):
        raise FileNotFoundError(
            f"LaTeX is not installed: expected {LATEX[0]} on the PATH; install it (on Debian and "
            f"Ubuntu: apt-get install texlive) or compile {folder / PAPER.name} elsewhere"
        )
    return compile_paper(folder)


def gather_paper(study: str, root: Path = Path(".")) -> Path:
    """Copy all that LaTeX reads for the paper of a study into its build folder, made anew.

    The figures of the study's own run are taken, or the committed ones where it has not run. The
    folder needs nothing from outside, so it can be sent to a journal as it is.

    Returns:
        `data/<study>/paper/build`.

    Raises:
        FileNotFoundError: if neither is there, or if a file is missing that the index names.
        ValueError: if there is no such study.
    """
    made = root / "data" / plain_name(study) / "paper"
    figures = made
    if not (made / "index.json").exists():
        figures = root / "figures" / study / "paper"
    if not (figures / "index.json").exists():
        find_study(study)
        raise FileNotFoundError(
            f"expected figures of the paper in {made}/: run the study first, make study STUDY={study}"
        )
    index = json.loads((figures / "index.json").read_text(encoding="utf-8"))
    folder = made / BUILD
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for path in [root / PAPER, figures / "macros.tex", *_drawn(figures, index["drawn"])]:
        shutil.copy(path, folder)
    macros = [("left out", _in_words(index["left_out"]))]
    if index["findings"]:
        macros.append(("findings", " ".join(found["sentence"] for found in index["findings"])))
    write_macros(folder / "study.tex", macros)
    return folder


def _drawn(figures: Path, drawn: Mapping[str, Mapping[str, Any]]) -> list[Path]:
    """List the figures and tables of an index that LaTeX reads."""
    names = [name for entry in drawn.values() for name in entry["files"]]
    return [figures / name for name in names if name.endswith((".pdf", ".tex"))]


def _in_words(left_out: Mapping[str, str]) -> str:
    """Name what a study lacks, with the reason once: "a, b (no judges); c (no model)"."""
    names: dict[str, list[str]] = {}
    for name, lack in left_out.items():
        names.setdefault(lack, []).append(name)
    return "; ".join(f"{', '.join(listed)} ({lack})" for lack, listed in names.items()) or "none"


def compile_paper(folder: Path) -> Path:
    """Run LaTeX on the paper that `gather_paper` has put into a folder; give the PDF."""
    log = folder / PAPER.with_suffix(".log").name
    for _ in range(RUNS):
        done = subprocess.run(
            [*LATEX, PAPER.name],
            cwd=folder,
            env=os.environ | SAME_BYTES,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=LONGEST_RUN,
        )
        if done.returncode:
            raise ChildProcessError(
                f"LaTeX stopped at {PAPER}: {_first_error(log)}; all that it said is in {log}"
            )
    return log.with_suffix(".pdf")


def _first_error(log: Path) -> str:
    """Give the first error of LaTeX's log, with the line at which it stopped."""
    if not log.exists():
        return "it wrote no log"
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    errors = [line for line in lines if line.startswith("! ")]
    places = [line for line in lines if line.startswith("l.")]
    return " ".join([*errors[:1], *places[:1]]) or "it named no error"

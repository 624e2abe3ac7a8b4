"""Keep what committed pages say of a study's results the same as what was recorded.

A marked place of a page begins with a comment that says what stands there, and from which file, as
seen from the page: `<!-- table: ../figures/demo/paper/table_models.md -->`. It ends at `<!-- end -->`.
Where the file is not there yet, because the study has not been published, the place says so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from dtreward.files import write_atomically
from dtreward.record import OUTCOMES
from dtreward.study.sources import read_sources, write_credits
from dtreward.study.study_runs import describe_run

OPEN_OUTCOMES = ("did not hold", "cannot tell")
UNPUBLISHED = "This study has not been published here yet."
DEMO_FIGURE = "figures/demo/04_tree_predicted_rewards.png"
DEMO_OPENING = f"""\
![A decision tree on predicted rewards, demo world]({DEMO_FIGURE})

The picture shows the **demo world**, which this project invents; it says nothing about language models."""


def refreshed(page: Path) -> str:
    """Give a page's text with each marked place filled from the file that its marker names."""

    def fill(place: re.Match) -> str:
        start, kind, name, end = place.groups()
        path, _, part = name.partition("#")
        content = FILLED[kind](page.parent / path, name=PurePosixPath(path), part=part)
        return f"{start}\n{content}\n\n{end}"

    return PLACE.sub(fill, page.read_text(encoding="utf-8"))


def refresh(page: Path) -> bool:
    """Write a page anew if a marked place has changed; say whether it has."""
    text = refreshed(page)
    if text == page.read_text(encoding="utf-8"):
        return False
    write_atomically(page, lambda path: path.write_text(text, encoding="utf-8"))
    return True


def marked_pages(root: Path) -> list[Path]:
    """List the committed pages that have marked places.

    Args:
        root: the repository.
    """
    pages = [root / "README.md", *sorted((root / "docs").glob("*.md"))]
    there = [page for page in pages if page.exists()]
    return [page for page in there if PLACE.search(page.read_text(encoding="utf-8"))]


def list_claims(table: str, *, outcome: str) -> str:
    """List the claims of notebook 99's `table_claims.md` with an outcome, one a line.

    Example:
        >>> table = "| notebook | claim | outcome |\\n| 04 | Less is more. | did not hold |"
        >>> list_claims(table, outcome="did not hold"), list_claims(table, outcome="cannot tell")
        ('- Less is more.', 'None.')
    """
    sentences = []
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.strip("| ").split(" | ")]
        if cells[-1] == outcome:
            sentences.append(f"- {cells[1]}")
    return "\n".join(sentences) or "None."


def _table(path: Path, *, name: PurePosixPath, part: str) -> str:
    return path.read_text(encoding="utf-8").strip() if path.exists() else UNPUBLISHED


def _claims(outcome: str) -> Callable[..., str]:
    def fill(path: Path, *, name: PurePosixPath, part: str) -> str:
        if not path.exists():
            return UNPUBLISHED
        return list_claims(path.read_text(encoding="utf-8"), outcome=outcome)

    return fill


def _findings(path: Path, *, name: PurePosixPath, part: str) -> str:
    """List what a study found, from the index of its paper's figures."""
    found = _read(path).get("findings", [])
    return "\n".join(f"- {one['sentence']}" for one in found) or UNPUBLISHED


def _opening(path: Path, *, name: PurePosixPath, part: str) -> str:
    """Give a study's figure and what it found; before it is published, the picture of the demo.

    Args:
        part: name of the figure, in the study's folder of figures.
    """
    found = _read(path).get("findings", [])
    if not found:
        return DEMO_OPENING
    sentences = " ".join(one["sentence"] for one in found)
    figure = name.parent.parent / part
    return f"![What real judges look at]({figure})\n\n{sentences}"


def _credits(path: Path, *, name: PurePosixPath, part: str) -> str:
    """Say whose work the sources of a study are, from its YAML."""
    return write_credits(read_sources(yaml.safe_load(path.read_text(encoding="utf-8"))["sources"]))


def _run(path: Path, *, name: PurePosixPath, part: str) -> str:
    """Say what one whole run of the study `part` took."""
    run = _read(path).get(part)
    return describe_run(run) if run else "No whole run has been recorded yet."


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


FILLED = {
    "table": _table,
    "findings": _findings,
    "opening": _opening,
    "sources": _credits,
    "run": _run,
}
FILLED |= {outcome: _claims(outcome) for outcome in OUTCOMES.values()}
PLACE = re.compile(rf"(<!-- ({'|'.join(FILLED)}): (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)

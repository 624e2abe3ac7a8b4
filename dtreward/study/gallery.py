"""The figures and tables of a study's site, with their captions and files to download."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dtreward.files import file_digest
from dtreward.study.chapters import Chapter, read_record
from dtreward.study.cleaning import clean_text, markdown_html, words_of

try:
    from nbformat import NotebookNode
except ImportError as error:
    raise ImportError('the site needs Sphinx and others: pip install "dtreward[docs]"') from error


@dataclass
class Figure:
    """A figure or table with its caption.

    Attributes:
        stem: name of its files without suffix.
        title: what it is called.
        caption: HTML.
        files: name in the site's downloads by suffix, such as "png".
        table: HTML of a table; "" for figures.
    """

    stem: str
    title: str
    caption: str = ""
    files: dict[str, str] = field(default_factory=dict)
    table: str = ""

    @property
    def alternative(self) -> str:
        """Say in words what is seen: the title and the caption."""
        words = words_of(self.caption)
        return f"{self.title}: {words}" if words else self.title


def copy_figures(folder: Path, target: Path, chapters: Sequence[Chapter]) -> dict[str, Figure]:
    """Copy the PNG and PDF files of a study's notebooks, and give the figures by stem, in order."""
    figures: dict[str, Figure] = {}
    for path in sorted(folder.glob("[!.]*")):
        if path.suffix in (".png", ".pdf"):
            shutil.copyfile(path, target / path.name)
            figure = figures.setdefault(path.stem, Figure(path.stem, plain_title(path.stem)))
            figure.files[path.suffix[1:]] = path.name
    for chapter in chapters:
        own = {stem: one for stem, one in figures.items() if stem[:2] == chapter.name[:2]}
        for stem, caption in captions_of(chapter.notebook, list(own)).items():
            own[stem].caption = markdown_html(caption)
        for figure in own.values():
            if not figure.caption and chapter.state != "done":
                figure.caption = "<p>Drawn by an earlier run of its notebook.</p>"
    return figures


def copy_paper(folder: Path, target: Path) -> list[Figure]:
    """Copy the paper's figures and tables that are as their index says, with their data."""
    shown = []
    for stem, entry in read_record(folder / "index.json").get("drawn", {}).items():
        paths = [folder / Path(name).name for name in entry["files"]]
        is_whole = all(path.is_file() for path in paths)
        if not is_whole or file_digest(paths[-1]) != entry["sha256"]:
            continue
        number = f"Figure {int(stem[:2])}" if stem[:2].isdigit() else plain_title(stem)
        item = Figure(f"paper-{stem}", number, markdown_html(clean_text(entry["caption"])))
        for path in paths:
            shutil.copyfile(path, target / f"paper-{path.name}")
            item.files[path.suffix[1:]] = f"paper-{path.name}"
        if "md" in item.files:
            rows = (folder / f"{stem}.md").read_text(encoding="utf-8").partition("\n\n")[0]
            item.table = markdown_html(clean_text(rows), "table")
        shown.append(item)
    return shown


def plain_title(stem: str) -> str:
    """Give a title from the name of a file.

    Example:
        >>> plain_title("04_tree_ratings")
        'Tree ratings'
    """
    words = re.sub(r"^(\d\d|table)_", "", stem).replace("_", " ")
    return words[:1].upper() + words[1:]


def captions_of(notebook: NotebookNode | None, stems: Sequence[str]) -> dict[str, str]:
    """Give the Markdown that stands below each figure, found by the name that a cell saves."""
    captions: dict[str, str] = {}
    waiting: list[str] = []
    for cell in notebook.cells if notebook else []:
        if cell.cell_type != "code":
            begins_a_section = re.search(r"(?m)^##", cell.source)
            waiting = [] if begins_a_section else waiting
            continue
        waiting += [stem for stem in stems if saves(cell.source, stem)]
        text = "\n\n".join(
            output.data["text/markdown"]
            for output in cell.outputs
            if "text/markdown" in output.get("data", {})
        )
        if text:
            captions.update(dict.fromkeys(waiting, clean_text(text)))
            waiting = []
    return captions


def saves(source: str, stem: str) -> bool:
    """Say whether a cell names a figure; what an f-string puts in may be anything.

    Example:
        >>> saves('save_figure(figure, drawn / f"04_tree_{name}")', "04_tree_ratings")
        True
    """
    names = [re.escape(name) for name in re.findall(r'"(\d\d_[^"]+)"', source)]
    return any(re.fullmatch(re.sub(r"\\{.*?\\}", ".+", name), stem) for name in names)

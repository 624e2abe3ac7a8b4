"""Write the pages of a study's site as notebooks of headings, HTML and executed cells, for Sphinx.

Sphinx reads no text of a study as Markdown but headings, in which no sign has a meaning. So nothing
in a text can be a directive, a role, or a link that Sphinx would follow to a file of this machine.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path

from dtreward.study.cleaning import KERNEL, is_image, markdown_html

try:
    import nbformat
    from bs4 import BeautifulSoup
    from nbformat import NotebookNode
    from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_raw_cell
except ImportError as error:
    raise ImportError('the site needs Sphinx and others: pip install "dtreward[docs]"') from error

HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
Cells = list[NotebookNode]


def write_page(path: Path, title: str, cells: Cells, *, below: Sequence[str] = ()) -> None:
    """Write a page.

    Args:
        title: its heading; other headings of the first level go one level down.
        below: pages that stand below it in the site's contents, as seen from its folder.
    """
    for cell in cells:
        if cell.cell_type == "markdown" and cell.source.startswith("# "):
            cell.source = f"#{cell.source}"
    page = new_notebook(metadata={"kernelspec": KERNEL})
    page.cells = [_heading_cell(1, title), *cells]
    if below:
        contents = "\n".join(["```{toctree}", ":hidden:", "", *below, "```"])
        page.cells.append(new_markdown_cell(contents))
    for number, cell in enumerate(page.cells):
        cell.id = f"cell-{number}"
    path.parent.mkdir(exist_ok=True)
    nbformat.write(page, path)


def cells_of_html(html: str) -> Cells:
    """Give HTML, which is safe already, as cells; its headings become the site's."""
    cells = []
    parts = BeautifulSoup(html, "html.parser").contents
    for is_heading, run in itertools.groupby(parts, lambda part: part.name in HEADINGS):
        if is_heading:
            cells += [_heading_cell(int(part.name[1]), part.get_text()) for part in run]
        else:
            cells.append(html_cell("".join(map(str, run))))
    return cells


def cells_of_notebook(cleaned: NotebookNode, title: str, about: str) -> Cells:
    """Give the cells of a cleaned notebook.

    Args:
        title: the heading of the page, which is not repeated.
        about: HTML that stands below the notebook's first cell.
    """
    parts = [_cells(cell) for cell in cleaned.cells]
    opening = parts.pop(0) if parts and cleaned.cells[0].cell_type == "markdown" else []
    if opening and opening[0].source == _heading_cell(1, title).source:
        del opening[0]
    return [*opening, html_cell(about), *itertools.chain(*parts)]


def html_cell(html: str) -> NotebookNode:
    """Give HTML, which is safe already, as a cell."""
    return new_raw_cell(html, metadata={"format": "text/html"})


def _cells(cell: NotebookNode) -> Cells:
    if cell.cell_type == "code":
        return _code_cells(cell)
    if cell.cell_type == "raw":
        return [html_cell(f"<pre>{escape(cell.source)}</pre>")]
    return cells_of_html(markdown_html(cell.source, "table"))


def _code_cells(cell: NotebookNode) -> list[NotebookNode]:
    """Give each image but the first a cell of its own, as Sphinx takes one alternative text a cell."""
    cells = [new_code_cell(cell.source, metadata={"tags": ["hide-input"]})]
    has_image = False
    for output in cell.outputs:
        if is_image(output):
            if has_image:
                cells.append(new_code_cell(cell.source, metadata={"tags": ["remove-input"]}))
            has_image = True
            # With a width, Sphinx links the image to its file, where one can zoom in.
            image = {"alt": output.metadata["alternative"], "width": "100%"}
            cells[-1].metadata["mystnb"] = {"image": image}
        cells[-1].outputs.append(output)
    return cells


def _heading_cell(level: int, text: str) -> NotebookNode:
    words = re.sub(r"([\\`*_{}\[\]()<>#+!|~$:&-])", r"\\\1", " ".join(text.split()))
    return new_markdown_cell(f"{level * '#'} {words}")

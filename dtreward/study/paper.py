"""What notebook 99 writes for LaTeX and the web besides pictures: the data behind them, and tables."""

from __future__ import annotations

import json
from collections.abc import Collection
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dtreward.figures import save_figure
from dtreward.files import write_atomically
from dtreward.stats import Interval
from dtreward.tree.tree import PreferenceTree

# What LaTeX would read as a command, and signs that its fonts may lack.
ESCAPED = str.maketrans(
    {sign: f"\\{sign}" for sign in "%&_#${}"}
    | {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "≤": r"$\leq$",
        "≥": r"$\geq$",
        "−": "$-$",
        "²": r"\textsuperscript{2}",
        "κ": r"$\kappa$",
        "·": r"\textperiodcentered{}",
        "…": r"\ldots{}",
        "–": "--",
        "\u2068": "",  # marks around a name that reads from right to left
        "\u2069": "",
    }
)
# Shrinks a table that is wider than the page.
FITTED = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{\begin{tabular}"
LONG_CELL = 60  # characters from which a cell is broken into lines
LONG_TABLE = 30  # rows from which a table is broken into pages


def delete_undrawn(folder: Path, drawn: Collection[str]) -> None:
    """Delete the figures and tables of an earlier run that are not drawn again.

    Only files that the index of that run names are deleted.

    Args:
        drawn: names of the figures and tables that are drawn now.
    """
    index = folder / "index.json"
    if not index.exists():
        return
    earlier = json.loads(index.read_text(encoding="utf-8"))["drawn"]
    for name in earlier.keys() - set(drawn):
        for file in earlier[name]["files"]:
            (folder / Path(file).name).unlink(missing_ok=True)


def write_figure(folder: Path, name: str, figure: Figure, data: pd.DataFrame) -> None:
    """Write name.pdf, name.png and name.csv, the data behind them with six digits."""
    save_figure(figure, folder / name)
    exact = {"index": False, "float_format": "%.6g", "lineterminator": "\n"}
    write_atomically(folder / f"{name}.csv", partial(data.to_csv, **exact))


def write_table(folder: Path, name: str, table: pd.DataFrame, caption: str) -> None:
    """Write name.tex and name.md, both with the caption.

    LaTeX needs booktabs and graphicx, and for tables of many rows longtable, in one column.
    """
    cells = table.astype(object).where(table.notna(), "–").map(str)
    label = f"tab:{name.removeprefix('table_')}"
    write_text(folder / f"{name}.tex", _latex_table(cells, caption, label))
    write_text(folder / f"{name}.md", f"{markdown_table(cells)}\n\n{caption}\n")


def _latex_table(cells: pd.DataFrame, caption: str, label: str) -> str:
    formats = []
    for column in cells:
        is_long = cells[column].str.len().max() > LONG_CELL
        formats.append(r"p{0.6\linewidth}" if is_long else "l")
    written = (
        cells.map(latex)
        .rename(columns=latex)
        .to_latex(
            index=False,
            column_format="".join(formats),
            caption=latex(caption),
            label=label,
            longtable=len(cells) > LONG_TABLE,
        )
    )
    for plain, wide in (
        (r"\begin{table}", "\\begin{table*}\n\\centering\\footnotesize"),
        (r"\end{table}", r"\end{table*}"),
        (r"\begin{tabular}", FITTED),
        (r"\end{tabular}", r"\end{tabular}}"),
    ):
        written = written.replace(plain, wide)
    return written


def markdown_table(cells: pd.DataFrame) -> str:
    """Write a table of texts in Markdown, whose cells cannot hold "|".

    Example:
        >>> print(markdown_table(pd.DataFrame({"model": ["a|b"], "score": ["0.50"]})))
        | model   | score   |
        |:--------|:--------|
        | a/b     | 0.50    |
    """
    escaped = cells.map(lambda cell: cell.replace("|", "/"))
    escaped.columns = [str(name).replace("|", "/") for name in cells.columns]
    return escaped.to_markdown(index=False, disable_numparse=True)


def latex(text: str) -> str:
    r"""Escape what LaTeX would read as a command, and give the signs that its fonts may lack.

    Example:
        >>> latex("50 % of a_b")
        '50 \\% of a\\_b'
    """
    return text.translate(ESCAPED)


def with_intervals(table: pd.DataFrame, name: str) -> list[str]:
    """Write each estimate of a column with its interval, from name, name_low and name_high."""
    rows = table[[name, f"{name}_low", f"{name}_high"]].to_numpy(float)
    return ["–" if np.isnan(row[0]) else str(Interval(*row)) for row in rows]


def list_nodes(title: str, tree: PreferenceTree) -> pd.DataFrame:
    """List a tree's nodes, one a row: question, sides, share of pairs, and what these prefer."""
    nodes = pd.DataFrame(tree.to_dict()["nodes"]).rename_axis("node").reset_index()
    nodes[["response_1", "response_2"]] = nodes.pop("value").to_list()
    return nodes.assign(tree=title).astype({"left": "Int64", "right": "Int64"})


def write_text(path: Path, text: str) -> None:
    """Write a text with the same line ends on every system."""
    write_atomically(path, lambda new: new.write_text(text, encoding="utf-8", newline="\n"))

"""What notebook 99 writes besides pictures (data, tables, macros), and what 10 shares with it: a figure, its data."""

import json
import re
from functools import partial
from pathlib import Path
from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from dtreward.draw import save_figure
from dtreward.record import write_atomically
from dtreward.stats import Interval

SIGNS = {"≤": r"$\leq$", "≥": r"$\geq$", "−": "$-$", "²": r"\textsuperscript{2}", "κ": r"$\kappa$"}
SIGNS |= {"·": r"\textperiodcentered{}", "…": r"\ldots{}", "–": "--"}
ESCAPED = str.maketrans(
    {sign: f"\\{sign}" for sign in "%&_#${}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | SIGNS
)
LONG = 60  # characters, or rows, from which a cell is broken into lines and a table into pages


def write_figure(folder, name, figure, data):
    """Write name.pdf, name.png and name.csv, the data behind them with six digits."""
    save_figure(figure, folder / name)
    exact = {"index": False, "float_format": "%.6g", "lineterminator": "\n"}
    write_atomically(folder / f"{name}.csv", partial(data.to_csv, **exact))


def write_table(folder, name, table, caption):
    """Write name.tex (needs booktabs and longtable) and name.md, both with the caption."""
    cells = table.astype(object).where(table.notna(), "–").map(str)
    wide = [cells[column].str.len().max() > LONG for column in cells]
    look = {"column_format": "".join(r"p{0.7\linewidth}" if one else "l" for one in wide)}
    look |= {
        "caption": latex(caption),
        "label": f"tab:{name.removeprefix('table_')}",
        "longtable": len(cells) > LONG / 2,
    }
    written = cells.map(latex).rename(columns=latex).to_latex(index=False, **look)
    written = written.replace(r"\begin{table}", "\\begin{table*}\n\\centering\\footnotesize")
    written = written.replace(r"\end{table}", r"\end{table*}")
    lines = [cells.columns, ["---"] * cells.shape[1], *cells.itertuples(index=False)]
    rows = [" | ".join(str(cell).replace("|", "/") for cell in line) for line in lines]
    shown = "\n".join([*(f"| {row} |" for row in rows), "", caption, ""])
    for kind, text in {"tex": written, "md": shown}.items():
        write_atomically(folder / f"{name}.{kind}", partial(_write, text=text))


def write_macros(path, macros):
    """Write (words, value) pairs as one \\newcommand each; two of one name are a ValueError."""
    names = [macro_name(words) for words, _ in macros]
    if twice := sorted({name for name in names if names.count(name) > 1 or not name}):
        raise ValueError(f"expected a name of its own for each macro; these stand twice: {twice}")
    values = [latex(str(value)) for _, value in macros]
    lines = [f"\\newcommand{{\\{n}}}{{{v}}}\n" for n, v in zip(names, values, strict=True)]
    write_atomically(path, partial(_write, text="".join(lines)))


def macro_name(words):
    """Give a macro's name, letters only: "splits needed" is SplitsNeeded."""
    return "".join(word[0].upper() + word[1:] for word in re.findall("[A-Za-z]+", words))


def latex(text):
    """Escape what LaTeX would read as a command, and give the signs that its fonts may lack."""
    return text.translate(ESCAPED)


def with_intervals(table, name):
    """Write each estimate of a column with its interval, from name, name_low and name_high."""
    rows = table[[name, f"{name}_low", f"{name}_high"]].to_numpy(float)
    return ["–" if np.isnan(row[0]) else str(Interval(*row)) for row in rows]


def list_nodes(title, tree):
    """List a tree's nodes, one a row: question, sides, share of pairs, and what these prefer."""
    nodes = pd.DataFrame(tree.to_dict()["nodes"]).rename_axis("node").reset_index()
    nodes[["response_1", "response_2"]] = nodes.pop("value").to_list()
    return nodes.assign(tree=title).astype({"left": "Int64", "right": "Int64"})


def _write(path, text):
    path.write_text(text, encoding="utf-8", newline="\n")


def draw_ladder(ladders):
    """Draw tokens a second of each rung, a panel a shape; grey: padded, blue: packs; numbers: effective MFU.

    `ladders` is {shape: frame with step, tokens_per_second, effective_mfu}; the first three rungs are padded.
    """
    figure, axes = plt.subplots(1, len(ladders), figsize=(6.75, 4.6), layout="constrained", squeeze=False)
    for axis, (name, rows) in zip(axes[0], ladders.items(), strict=True):
        axis.barh(range(len(rows)), rows["tokens_per_second"] / 1000, color=["0.7"] * 3 + ["C0"] * (len(rows) - 3))
        axis.bar_label(axis.containers[0], [f" {one:.2f}" for one in rows["effective_mfu"]], fontsize=6)
        axis.set(
            title=name, xlabel="thousand tokens a second", yticks=range(len(rows)), ylim=(len(rows) - 0.5, -0.5)
        )
        axis.set_yticklabels([fill(step, 28) for step in rows["step"]], size=6)
        axis.set_xlim(0, 1.2 * rows["tokens_per_second"].max() / 1000)
    figure.suptitle("Reading a backbone of random weights; at each bar its effective MFU")
    return figure


def read_measured(folder, kind):
    """Read what the benchmark wrote as KIND_*.json: the files, and {shape: result}."""
    files, found = sorted(Path(folder).glob(f"{kind}_*.json")), {}
    for path in files:
        try:
            result = json.loads(path.read_text(encoding="utf-8"))
            found[result["shape"]] = result
        except (ValueError, LookupError, TypeError) as error:
            made = f"python -m dtreward.benchmark SHAPE {path} makes it"
            raise ValueError(f"{path} is no result of the benchmark ({error!r}); {made}") from error
    return files, found

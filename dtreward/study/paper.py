"""What notebook 99 writes besides pictures: data, tables, macros."""

import re
from functools import partial

import numpy as np
import pandas as pd

from dtreward.figures import save_figure
from dtreward.files import write_atomically
from dtreward.stats import Interval

SIGNS = {"≤": r"$\leq$", "≥": r"$\geq$", "−": "$-$", "²": r"\textsuperscript{2}", "κ": r"$\kappa$"}
SIGNS |= {"·": r"\textperiodcentered{}", "…": r"\ldots{}", "–": "--"}
ESCAPED = str.maketrans(
    {sign: f"\\{sign}" for sign in "%&_#${}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | SIGNS
)
DIGITS = ["Zero", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine"]
FITTED = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{\begin{tabular}"  # no wider than the page
LONG = 60  # characters, or rows, from which a cell is broken into lines and a table into pages


def write_figure(folder, name, figure, data):
    """Write name.pdf, name.png and name.csv, the data behind them with six digits."""
    save_figure(figure, folder / name)
    exact = {"index": False, "float_format": "%.6g", "lineterminator": "\n"}
    write_atomically(folder / f"{name}.csv", partial(data.to_csv, **exact))


def write_table(folder, name, table, caption):
    """Write name.tex and name.md, both with the caption.

    LaTeX needs booktabs and graphicx, and for tables of many rows longtable, in one column.
    """
    cells = table.astype(object).where(table.notna(), "–").map(str)
    wide = [cells[column].str.len().max() > LONG for column in cells]
    look = {"column_format": "".join(r"p{0.6\linewidth}" if one else "l" for one in wide)}
    look |= {
        "caption": latex(caption),
        "label": f"tab:{name.removeprefix('table_')}",
        "longtable": len(cells) > LONG / 2,
    }
    written = cells.map(latex).rename(columns=latex).to_latex(index=False, **look)
    written = written.replace(r"\begin{table}", "\\begin{table*}\n\\centering\\footnotesize")
    written = written.replace(r"\end{table}", r"\end{table*}")
    written = written.replace(r"\begin{tabular}", FITTED).replace(
        r"\end{tabular}", r"\end{tabular}}"
    )
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
    """Give a macro's name, letters only: "splits needed of 3" is SplitsNeededOfThree."""
    parts = [
        DIGITS[int(part)] if part.isdigit() else part
        for part in re.findall("[A-Za-z]+|[0-9]", words)
    ]
    return "".join(part[0].upper() + part[1:] for part in parts)


def list_macros(number):
    """List what the notebooks' numbers say, as (words, value): one macro of the text each."""
    counts, splits = (number["01_load_pairs"][name] for name in ("counts", "splits"))
    macros = [("pairs", f"{counts['pairs']:,}"), ("prompts", f"{counts['prompts']:,}")]
    macros += [(f"pairs in {name}", f"{part['preferences']:,}") for name, part in splits.items()]
    if probe := number.get("03_fit_attribute_probe"):
        read = _distinct(probe["quality"]["probe, Pearson"])
        macros += [(f"probe correlation {name}", Interval(**one)) for name, one in read.items()]
    if fit := number.get("04_fit_preference_tree"):
        macros.append(("floor", f"{fit['floor']:.3f}"))
        macros += [
            (f"accuracy on {key}", Interval(**one["accuracy"]))
            for key, one in fit["quality"].items()
        ]
        for key, (some, needed) in fit["splits_drawn_and_needed"].items():
            macros += [(f"splits on {key}", some), (f"splits needed on {key}", needed)]
    for name, one in number.get("05_ablate_depth_and_leaves", {}).get("test", {}).items():
        macros.append((f"depth chosen on {name}", one["depth"]))
    if moved := number.get("08_compare_shap"):
        macros.append(("shap pairs", f"{moved['pairs']:,}"))
    for name, sections in _distinct(
        number.get("09_evaluate_rewardbench", {}).get("scores", {})
    ).items():
        ends = {
            section: "{estimate:.1f} [{low:.1f}, {high:.1f}]".format(**one)
            for section, one in sections.items()
        }
        macros += [(f"score of {name} {section}", told) for section, told in ends.items()]
    for shape, rows in number.get("10_measure_throughput", {}).get("ladders", {}).items():
        best = [row for row in rows if "fp8" not in row["step"]][-1]
        macros.append((f"tokens a second {shape}", f"{best['tokens_per_second']:,.0f}"))
        macros.append((f"times sorted batches {shape}", f"{best['times sorted batches']:.2f}"))
    return macros


def _distinct(values):
    """Number the names that macros would not tell apart, as those in another alphabet."""
    found = [macro_name(name) for name in values]
    clear = [bool(name) and found.count(name) == 1 for name in found]
    names = (name if clear[at] else f"{name} {at + 1}" for at, name in enumerate(values))
    return dict(zip(names, values.values(), strict=True))


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

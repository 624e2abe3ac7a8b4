r"""Numbers for the text of the paper, as LaTeX macros, so that none is typed by hand.

A macro is a pair of words and a value: ("splits needed", 3) becomes \newcommand{\SplitsNeeded}{3}.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dtreward.stats import Interval
from dtreward.study.paper import latex, write_text

DIGITS = ["Zero", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine"]
Numbers = Mapping[str, Any]
Macros = list[tuple[str, Any]]


def write_macros(path: Path, macros: Macros) -> None:
    r"""Write each macro as a \newcommand.

    Raises:
        ValueError: if two macros have one name, or one has none.
    """
    names = Counter(macro_name(words) for words, _ in macros)
    unusable = sorted(name for name, count in names.items() if count > 1 or not name)
    if unusable:
        raise ValueError(
            f"expected a name of its own for each macro; these stand twice: {unusable}"
        )
    lines = []
    for words, value in macros:
        lines.append(f"\\newcommand{{\\{macro_name(words)}}}{{{latex(str(value))}}}\n")
    write_text(path, "".join(lines))


def macro_name(words: str) -> str:
    """Give a macro's name, which has letters only.

    Example:
        >>> macro_name("splits needed of 3")
        'SplitsNeededOfThree'
    """
    name = ""
    for part in re.findall("[A-Za-z]+|[0-9]", words):
        if part.isdigit():
            part = DIGITS[int(part)]
        name += part[0].upper() + part[1:]
    return name


def list_macros(numbers: Mapping[str, Numbers]) -> Macros:
    """List the numbers of a study that the text of a paper needs.

    Args:
        numbers: of each notebook that has run, as it recorded them.
    """
    of_notebook = {
        "01_load_pairs": _of_pairs,
        "03_fit_attribute_probe": _of_probe,
        "04_fit_preference_tree": _of_trees,
        "05_ablate_depth_and_leaves": _of_ablation,
        "08_compare_shap": _of_shap,
        "09_evaluate_rewardbench": _of_benches,
        "10_measure_throughput": _of_throughput,
    }
    macros = []
    for notebook, list_them in of_notebook.items():
        if notebook in numbers:
            macros += list_them(numbers[notebook])
    return macros


def _of_pairs(numbers: Numbers) -> Macros:
    counts = numbers["counts"]
    macros: Macros = [("pairs", f"{counts['pairs']:,}"), ("prompts", f"{counts['prompts']:,}")]
    for split, part in numbers["splits"].items():
        macros.append((f"pairs in {split}", f"{part['preferences']:,}"))
    return macros


def _of_probe(numbers: Numbers) -> Macros:
    correlations = distinct_names(numbers["quality"]["probe, Pearson"])
    return [
        (f"probe correlation {name}", Interval(**interval))
        for name, interval in correlations.items()
    ]


def _of_trees(numbers: Numbers) -> Macros:
    macros: Macros = [("floor", f"{numbers['floor']:.3f}")]
    for key, quality in numbers["quality"].items():
        macros.append((f"accuracy on {key}", Interval(**quality["accuracy"])))
    for key, splits in numbers["needed_splits"].items():
        macros.append((f"splits on {key}", splits["drawn"]))
        macros.append((f"splits needed on {key}", splits["needed"]))
    return macros


def _of_ablation(numbers: Numbers) -> Macros:
    return [(f"depth chosen on {name}", row["depth"]) for name, row in numbers["test"].items()]


def _of_shap(numbers: Numbers) -> Macros:
    return [("shap pairs", f"{numbers['pairs']:,}")]


def _of_benches(numbers: Numbers) -> Macros:
    macros: Macros = []
    for model, sections in distinct_names(numbers["scores"]).items():
        for section, interval in sections.items():
            score = "{estimate:.1f} [{low:.1f}, {high:.1f}]".format(**interval)
            macros.append((f"score of {model} {section}", score))
    for bench, models in distinct_names(numbers.get("newer_benches", {})).items():
        for model, sections in distinct_names(models).items():
            if "overall" in sections:
                score = "{estimate:.1f} [{low:.1f}, {high:.1f}]".format(**sections["overall"])
                macros.append((f"score of {model} on {bench}", score))
    return macros


def _of_throughput(numbers: Numbers) -> Macros:
    macros: Macros = []
    for shape, rungs in numbers["ladders"].items():
        in_16_bits = [rung for rung in rungs if "fp8" not in rung["step"]]
        best = in_16_bits[-1]
        macros.append((f"tokens a second {shape}", f"{best['tokens_per_second']:,.0f}"))
        macros.append((f"times sorted batches {shape}", f"{best['times sorted batches']:.2f}"))
    return macros


def distinct_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """Number the names that macros would not tell apart, such as those of another alphabet.

    Example:
        >>> distinct_names({"cost $": 1, "cost": 2, "wit": 3})
        {'cost $ 1': 1, 'cost 2': 2, 'wit': 3}
    """
    count = Counter(macro_name(name) for name in values)
    distinct = {}
    for number, (name, value) in enumerate(values.items(), 1):
        letters = macro_name(name)
        is_clear = bool(letters) and count[letters] == 1
        distinct[name if is_clear else f"{name} {number}"] = value
    return distinct

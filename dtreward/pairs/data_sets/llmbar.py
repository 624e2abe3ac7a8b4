"""LLMBar: pairs with a right answer, and the verdicts of LLM judges in both orders.

A folder has `Dataset/<set>/dataset.json` with the pairs of each set, and, for each judge and prompt
that was tried on it, `Dataset/<set>/evaluators/<LLM>/<prompt>/result.json`.

Source: Zeng et al. (2024), Evaluating Large Language Models at Evaluating Instruction Following;
github.com/princeton-nlp/LLMBar.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from dtreward.pairs.form import Formed
from dtreward.pairs.subsets import ORDINARY

NAME = "llmbar"
DATASET = "dataset.json"
RESULT = "result.json"
ORDERS = {"swap = False": "given", "swap = True": "swapped"}
# A winner is an output, whatever the order; a position is where that output was shown.
POSITIONS = {"given": {"1": "A", "2": "B"}, "swapped": {"1": "B", "2": "A"}}
# How the pairs of a set came about: what may be said of a judge depends on it.
SELECTED = "selected to mislead"
CONSTRUCTED = "constructed"


def has_llmbar(folder: Path) -> bool:
    """Say whether a folder has LLMBar's files."""
    return any(folder.glob(f"Dataset/*/*/{DATASET}"))


def read_llmbar(folder: Path) -> Formed:
    """Read the pairs of all sets; the preference is the right answer.

    Beside the texts and `preference`, a pair has `subset` (the name of its set), `selection` (how
    the pairs of the set came about), and `place` (its number in the set's file, from 0).

    Raises:
        ValueError: if an entry is not as LLMBar writes it.
    """
    tables = []
    for path, subset in _sets(folder):
        entries = _read_entries(path, ("input", "output_1", "output_2", "label"))
        table = pd.DataFrame(entries)
        labels = table["label"].astype(str)
        wrong = labels[~labels.isin(["1", "2"])]
        if len(wrong):
            raise ValueError(
                f"{path}, entry {wrong.index[0]}: expected label 1 or 2, came {wrong.iloc[0]}"
            )
        tables.append(
            pd.DataFrame(
                {
                    "prompt": table["input"],
                    "response_1": table["output_1"],
                    "response_2": table["output_2"],
                    "preference": (labels == "2").astype(float),
                    "subset": subset,
                    "selection": selection_of(subset),
                    "place": range(len(table)),
                }
            )
        )
    return Formed(pd.concat(tables, ignore_index=True), NAME)


def read_llmbar_verdicts(folder: Path) -> pd.DataFrame:
    """Read what each judge said: the position named in each order, one pair and judge a row.

    Columns: subset, place, judge ("GPT-4/CoT": the LLM and its prompt), family (the LLM), and `given`
    and `swapped`: "A" (the answer shown first), "B", or "unparsed".
    """
    rows = []
    for path, subset in _sets(folder):
        for result in sorted(path.parent.glob(f"evaluators/*/*/{RESULT}")):
            family, prompt = result.parts[-3:-1]
            for place, entry in enumerate(_read_entries(result, ("results",))):
                last = entry["results"][-1]
                row = {"subset": subset, "place": place, "judge": f"{family}/{prompt}"}
                for swap, order in ORDERS.items():
                    winner = str(last.get(swap, {}).get("winner"))
                    row[order] = POSITIONS[order].get(winner, "unparsed")
                rows.append(row | {"family": family})
    return pd.DataFrame(rows)


def selection_of(subset: str) -> str:
    """Say how the pairs of a set came about.

    Example:
        >>> selection_of("Adversarial/Manual"), selection_of("Natural"), selection_of("MT-Bench")
        ('selected to mislead', 'not selected to mislead', 'not selected to mislead')
    """
    if subset.startswith("Adversarial/"):
        return SELECTED
    return CONSTRUCTED if subset.startswith("CaseStudy/") else ORDINARY


def _sets(folder: Path) -> Iterator[tuple[Path, str]]:
    """Give the file of each set and its name: LLMBar's own sets, then other benches', without folder."""
    for path in sorted(folder.glob(f"Dataset/**/{DATASET}")):
        parts = path.relative_to(folder / "Dataset").parts[:-1]
        yield path, "/".join(parts[1:] if parts[0] in ("LLMBar", "Processed") else parts)


def _read_entries(path: Path, fields: tuple[str, ...]) -> list[dict[str, Any]]:
    """Read a list of objects that have these fields."""
    entries = json.loads(path.read_text(encoding="utf-8"))
    for place, entry in enumerate(entries):
        missing = [field for field in fields if field not in entry]
        if missing:
            raise ValueError(
                f"{path}, entry {place}: expected {', '.join(fields)}; lacks {missing[0]}"
            )
    return entries

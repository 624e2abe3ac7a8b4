"""JudgeBench: pairs with one right response, and its own rule of two orders."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from dtreward.benches.bench import Bench, NoVerdict, draw_items, expect_items
from dtreward.benches.evaluation import judge, weigh_pairs
from dtreward.benches.scoring import OTHER, Parts, one_part_each
from dtreward.models.comparison import RewardModel
from dtreward.models.ensemble import Ensemble

COLUMNS = ["pair_id", "source", "question", "response_A", "response_B", "label"]
SECTION_OF = {  # start of `source`: section
    "mmlu-pro": "knowledge",
    "livebench-reasoning": "reasoning",
    "livebench-math": "math",
    "livecodebench": "coding",
}
SECTIONS = tuple(SECTION_OF.values())
LABELS = ("A>B", "B>A")


@dataclass(frozen=True, eq=False)
class JudgeBench(Bench):
    """Pairs of which one response is right, in four sections; overall is the share of all pairs.

    Each order gives 1 point for the right response, -1 for the other one and none for a tie or no
    verdict. A pair is correct where the sum is above 0: right once and a tie once is correct, right
    once and wrong once is not. A tie of scores is not correct. A tree must be right in both orders.

    Source: Tan and others (2024), arXiv 2410.12784; utils/metrics.py of ScalerLab/JudgeBench.
    """

    name = "JudgeBench"
    repository = "ScalerLab/JudgeBench"
    unit = "pairs"
    sections = SECTIONS

    def judge(self, model: RewardModel, items: pd.DataFrame) -> pd.DataFrame:
        """Ask about pairs in both orders, and count by JudgeBench's rule."""
        return _by_points(judge(model, items), model.kind)

    def weigh(
        self, model: Ensemble, by_member: Mapping[str, pd.DataFrame], items: pd.DataFrame
    ) -> pd.DataFrame:
        """Give an ensemble's results from those of its members."""
        return _by_points(weigh_pairs(model, by_member, items), model.kind)

    def parts(self, results: pd.DataFrame, *, no_verdict: NoVerdict = "wrong") -> Parts:
        """Make each section a part; the rule leaves no choice for an order without a verdict."""
        values = one_part_each(results["correct"], self.section_of(results["subset"]))
        present = [name for name in (*SECTIONS, OTHER) if name in values]
        weights = pd.DataFrame(np.nan, index=values.columns, columns=[*SECTIONS, "overall"])
        for name in present:
            weights[name] = 100.0 * (weights.index == name)
        known = values[[name for name in SECTIONS if name in values]]
        if len(known.columns) == len(SECTIONS):
            values["all"] = known.sum(axis=1, min_count=1)
            weights.loc["all"] = 0.0
            weights["overall"] = 100.0 * (weights.index == "all")
        return Parts(values, weights)

    def section_of(self, subsets: pd.Series) -> pd.Series:
        """Give the section of each source by its start; `OTHER` for a source of other data."""
        sections = pd.Series(OTHER, index=subsets.index)
        for start, section in SECTION_OF.items():
            sections = sections.mask(subsets.str.startswith(start), section)
        return sections


def correct_by_points(
    first: Float[np.ndarray, " pairs"], second: Float[np.ndarray, " pairs"]
) -> Bool[np.ndarray, " pairs"]:
    """Say which pairs are correct by the points of both orders.

    Args:
        first: 1 where the right response was preferred, -1 where the other one was, 0 for a tie or
            no verdict, in one order.
        second: the same in the other order.

    >>> points = np.array([1.0, 1.0, 1.0, 0.0])
    >>> correct_by_points(points, np.array([1.0, 0.0, -1.0, 0.0])).tolist()
    [True, True, False, False]
    """
    return first + second > 0


def _by_points(results: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Count by the points of both orders, which the mean over both orders tells."""
    if kind == "verdict":
        mean = results["probability"]  # an order without a verdict is half a point in it
    else:
        mean = results["correct"]  # a tie of scores is 0
    points = (2 * mean - 1).to_numpy(float)  # the mean of both orders, from -1 to 1
    correct = correct_by_points(points, points).astype(float)
    return results.assign(correct=np.where(mean.isna(), np.nan, correct))


def read_judgebench(table: pd.DataFrame, source: str, limit: int, seed: int) -> pd.DataFrame:
    """Turn JudgeBench's rows into pairs of a chosen and a rejected response.

    Pairs with the same question are related (`problem`).

    Raises:
        ValueError: for other columns, a label that is none, or an id that comes twice.
    """
    items = table.rename(columns={"pair_id": "id"})
    expect_items(items, ["id", *COLUMNS[1:]], source)
    for row, label in items["label"].items():
        if label not in LABELS:
            raise ValueError(
                f"{source}: row {row}: label {label!r}; expected one of {', '.join(LABELS)}"
            )
    a_is_right = items["label"] == "A>B"
    pairs = pd.DataFrame(
        {
            "id": items["id"].astype(str),
            "subset": items["source"],
            "problem": items["question"].factorize()[0],
            "prompt": items["question"],
            "chosen": items["response_A"].where(a_is_right, items["response_B"]),
            "rejected": items["response_B"].where(a_is_right, items["response_A"]),
        }
    )
    return draw_items(pairs, limit, seed)

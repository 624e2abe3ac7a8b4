"""Published scores of RewardBench 2, RM-Bench and JudgeBench, by their source.

The same model has other scores in other papers, up to 7.9 points apart, so scores of several
sources are shown as a range and never averaged.
"""

from collections.abc import Mapping

import pandas as pd

from dtreward.published import PUBLISHED
from dtreward.stats import Interval

FILES = {
    "RewardBench 2": "rewardbench2_scores.csv",
    "RM-Bench": "rmbench_scores.csv",
    "JudgeBench": "judgebench_scores.csv",
}
NAMES = {"INF-ORM-Llama3.1-70B": "INF-QRM-Llama3.1-70B"}  # as RewardBench's leaderboard names it


def published_rows(bench: str) -> pd.DataFrame:
    """Give the published rows of a bench: model, source, and scores in percent.

    Args:
        bench: "RewardBench 2", "RM-Bench" or "JudgeBench". The column "mean of four" of JudgeBench
            is what one paper prints as its overall score, which the authors of the bench take over
            all pairs.

    >>> rows = published_rows("JudgeBench").set_index("model")
    >>> o1_mini = rows.loc["o1-mini-2024-09-12"]
    >>> o1_mini["source"], float(o1_mini["overall"])
    ("authors' outputs, recomputed", 65.71)
    """
    table = pd.read_csv(PUBLISHED / FILES[bench])
    return table.assign(model=table["model"].replace(NAMES))


def published_ranges(bench: str, score: str = "overall") -> pd.DataFrame:
    """Give for each model the lowest and the highest published score, and by whom.

    Args:
        score: a section, or "overall".

    Returns:
        A row a model: low, high, points (high minus low), sources (how many) and by (their names,
        with their scores); those that differ most come first.

    >>> ranges = published_ranges("RM-Bench")
    >>> ranges.loc["Skywork-Reward-Llama-3.1-8B-v0.2", ["low", "high", "sources"]].tolist()
    [64.7, 72.6, 3.0]
    """
    rows = published_rows(bench).dropna(subset=[score])
    rows["by"] = rows["source"] + ": " + rows[score].astype(str)
    by_model = rows.groupby("model", sort=False)
    table = by_model.agg(
        low=(score, "min"), high=(score, "max"), sources=("source", "nunique"), by=("by", "; ".join)
    )
    table.insert(2, "points", (table["high"] - table["low"]).round(2))
    return table.sort_values("points", ascending=False, kind="stable")


def write_range(low: float, high: float) -> str:
    """Write a published score, or the range of several.

    >>> write_range(70.1, 70.1), write_range(67.3, 70.5)
    ('70.1', '67.3 to 70.5')
    """
    return f"{low:.1f}" if low == high else f"{low:.1f} to {high:.1f}"


def beside_published(
    bench: str, measured: Mapping[str, Mapping[str, Interval]], scores: list[str]
) -> pd.DataFrame:
    """Set measured scores with their intervals beside the published ones, as text.

    Args:
        measured: `Bench.intervals` by model.
        scores: columns, in order.

    Returns:
        Rows by model and source: "measured here", or who published it, "–" where there is no score.
        Published rows are of the models measured.
    """
    published = published_rows(bench)
    rows = []
    for name, intervals in measured.items():
        row = {"model": name, "source": "measured here"}
        for score in scores:
            if score in intervals:
                one = intervals[score]
                row[score] = f"{one.estimate:.1f} [{one.low:.1f}, {one.high:.1f}]"
        rows.append(row)
        for one in published[published["model"] == name].to_dict("records"):
            row = {"model": name, "source": one["source"]}
            known = [score for score in scores if pd.notna(one.get(score))]
            rows.append(row | {score: f"{one[score]:.1f}" for score in known})
    table = pd.DataFrame(rows, columns=["model", "source", *scores])
    return table.fillna("–").set_index(["model", "source"])

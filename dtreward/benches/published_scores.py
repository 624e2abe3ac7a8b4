"""The published scores of RewardBench: how sure they are, and which ranks are ties.

Nobody published which pairs a model got right, but for eight models it is known how many of each
subset. Intervals rest on these counts. All models read the same pairs; as it is unknown which of
them two models share, a difference is taken as if they had read different ones. Its interval is
therefore rather too wide than too narrow.
"""

from itertools import combinations

import numpy as np
import pandas as pd
from jaxtyping import Float
from statsmodels.stats.proportion import proportion_confint

from dtreward.benches.rewardbench import SECTION_OF, SECTIONS, WEIGHTS, section_weights
from dtreward.published import PUBLISHED
from dtreward.stats import Interval

COLUMNS = [*SECTIONS, "overall"]
SCORE_WEIGHTS = section_weights(
    WEIGHTS.index.to_series()
)  # (subsets, sections and overall), in percent


def published_scores() -> pd.DataFrame:
    """Give the published scores in percent, a row a model, columns the sections and "overall".

    >>> published_scores().loc["Decision-Tree-Reward-Gemma-2-27B", "overall"]
    np.float64(95.4)
    """
    table = pd.read_csv(PUBLISHED / "leaderboard.csv", index_col="model")
    names = {section.lower().replace(" ", "_"): section for section in SECTIONS}
    return table.rename(columns=names)[COLUMNS]


def published_counts() -> pd.Series:
    """Give the number of pairs in each subset of RewardBench."""
    counts = pd.read_csv(PUBLISHED / "subset_counts.csv")
    return pd.Series(counts.groupby("subset")["total"].first())


def complete_sections(subsets: pd.Series) -> pd.Series:
    """Say of each section whether a bench has all of its published pairs.

    Args:
        subsets: of each pair of the bench.

    >>> complete_sections(pd.Series(["math-prm"] * 447)).any()
    np.False_
    """
    wanted = published_counts()
    is_complete = subsets.value_counts().reindex(wanted.index) == wanted
    return is_complete.groupby(SECTION_OF[wanted.index]).all()


def weighted_share_interval(
    correct: Float[np.ndarray, " subsets"],
    total: Float[np.ndarray, " subsets"],
    weights: Float[np.ndarray, " subsets"],
    *,
    level: float = 0.95,
) -> Interval:
    """Give the weighted sum of independent shares, correct / total, with its interval.

    The Wilson intervals of the shares are combined. Where all of a subset is right, its interval
    still has a width, which a parametric bootstrap would not give it.

    Args:
        weights: of any sign; those of a difference are w and -w.

    With the counts of RewardBench, 93.5 to 95.7 % of simulated 95 % intervals hold the truth.

    Source: Zou, Huang and Zhang (2009), A note on confidence interval estimation for a linear
    function of binomial proportions, Computational Statistics & Data Analysis 53, 1080-1085.

    >>> print(weighted_share_interval(np.array([10.0]), np.array([10.0]), np.array([1.0])))
    1.000 [0.722, 1.000]
    """
    low, high = proportion_confint(correct, total, alpha=1 - level, method="wilson")
    terms = weights * correct / total
    ends = np.stack([weights * low, weights * high])
    below = np.sqrt(((terms - ends.min(axis=0)) ** 2).sum())
    above = np.sqrt(((ends.max(axis=0) - terms) ** 2).sum())
    estimate = float(terms.sum())
    return Interval(estimate, float(estimate - below), float(estimate + above))


def published_intervals() -> dict[str, dict[str, Interval]]:
    """Give the scores that follow from the counts, in percent, with 95 % intervals.

    {model: {section or "overall": interval}}, the models in the order of the leaderboard; those
    whose counts nobody published are not there. The six subsets of code hold the same 164 problems
    and count as 164 trials.

    >>> print(published_intervals()["INF-QRM-Llama3.1-70B"]["overall"])
    95.105 [93.757, 95.770]
    """
    return {name: _intervals([counts], [1.0]) for name, counts in _counts_by_model().items()}


def published_differences() -> pd.DataFrame:
    """Subtract the scores of each two models with counts, section by section, in points.

    Returns:
        Columns row, minus (the lower rank), score (a section or "overall"), points, low and high
        (95 %, of this difference alone), and firm: the interval lies on one side of 0 also where it
        is widened so that all of its column hold together (Bonferroni's correction).
    """
    counts = _counts_by_model()
    pairs_of_models = list(combinations(counts, 2))
    together = 1 - 0.05 / len(pairs_of_models)
    rows = []
    for name, other in pairs_of_models:
        both = [counts[name], counts[other]]
        alone = _intervals(both, [1.0, -1.0])
        widened = _intervals(both, [1.0, -1.0], level=together)
        for score, interval in alone.items():
            firm = widened[score].low > 0 or widened[score].high < 0
            rows.append((name, other, score, *interval.as_dict().values(), firm))
    return pd.DataFrame(rows, columns=["row", "minus", "score", "points", "low", "high", "firm"])


def published_ranks(differences: pd.DataFrame, score: str = "overall") -> pd.DataFrame:
    """Say of each published model which ranks among the eight with counts its score allows.

    A model's best rank comes after all models that are better by more than chance, and its worst
    rank before all that are worse. Ranks "alone" take each comparison for itself, ranks "together"
    correct for their number. Where two ranges overlap, nothing tells the ranks apart.

    Args:
        differences: `published_differences`.
        score: a section or "overall".

    Returns:
        A row a model in the leaderboard's order: model, score (as printed), low, high, alone and
        together (such as "1 to 4"); nan and "" where there are no counts.
    """
    intervals = published_intervals()
    of_score = differences[differences["score"] == score]
    beyond_chance = (of_score["low"] > 0) | (of_score["high"] < 0)
    rows = []
    for name, printed in published_scores()[score].items():
        row = {"model": name, "score": printed, "alone": "", "together": ""}
        if name in intervals:
            row |= {"low": intervals[name][score].low, "high": intervals[name][score].high}
            row["alone"] = _ranks(of_score[beyond_chance], name, len(intervals))
            row["together"] = _ranks(of_score[of_score["firm"]], name, len(intervals))
        rows.append(row)
    return pd.DataFrame(rows, columns=["model", "score", "low", "high", "alone", "together"])


def _ranks(differences: pd.DataFrame, name: str, models: int) -> str:
    """Give the range of ranks that some differences between models leave one of them."""
    row_is_better = differences["points"] > 0
    better = differences["row"].where(row_is_better, differences["minus"])
    worse = differences["minus"].where(row_is_better, differences["row"])
    best_rank = 1 + int((worse == name).sum())
    worst_rank = models - int((better == name).sum())
    return f"{best_rank} to {worst_rank}"


def _counts_by_model() -> dict[str, pd.DataFrame]:
    """Give correct and total of each subset, of code problem by problem, by model."""
    table = pd.read_csv(PUBLISHED / "subset_counts.csv", index_col="subset")
    by_model = {}
    for name in published_scores().index:
        counts = table.loc[table["model"] == name, ["correct", "total"]]
        if len(counts):
            by_model[name] = counts.groupby(_trials_of).mean()
    return by_model


def _intervals(
    counts: list[pd.DataFrame], signs: list[float], *, level: float = 0.95
) -> dict[str, Interval]:
    """Give the signed sum of some models' scores, with intervals, by section and overall."""
    stacked = pd.concat(counts)
    weights = SCORE_WEIGHTS.groupby(_trials_of).sum()
    intervals = {}
    for score in COLUMNS:
        of_models = [
            sign * weights[score][one.index] for sign, one in zip(signs, counts, strict=True)
        ]
        intervals[score] = weighted_share_interval(
            stacked["correct"].to_numpy(float),
            stacked["total"].to_numpy(float),
            pd.concat(of_models).to_numpy(),
            level=level,
        )
    return intervals


def _trials_of(subset: str) -> str:
    return "code" if subset.startswith("hep-") else subset

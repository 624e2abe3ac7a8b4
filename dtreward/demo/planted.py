"""Compare what a study of the demo world found with what was planted there."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int, Shaped
from statsmodels.stats.proportion import proportion_confint

from dtreward.demo.votes import planted_attributes
from dtreward.tree.tree import PreferenceTree

Question = tuple[str, float]  # attribute and threshold of a split


def top_questions(
    tree: PreferenceTree, recurs: Bool[np.ndarray, " nodes"] | None = None
) -> list[Question]:
    """Give attribute and threshold of the root and of the splits right below it.

    Args:
        recurs: marks the splits that recur on resamples; others are left out. None: none is.

    Example:
        >>> top_questions(PreferenceTree.single_split("helpfulness", 0.5))
        [('helpfulness', 0.5)]
    """
    if tree.feature[0] < 0:
        return []
    questions = []
    for node in (0, tree.left[0], tree.right[0]):
        if tree.feature[node] >= 0 and (recurs is None or recurs[node]):
            attribute = tree.attributes[tree.feature[node]]
            questions.append((attribute, round(float(tree.threshold[node]), 6)))
    return questions


def planted_questions(planted: PreferenceTree) -> list[Question]:
    """Give the questions that the root and the level below ask about the root's attribute.

    A fitted tree should ask them all; which one stands at its root is chance.

    Example:
        >>> planted_questions(PreferenceTree.published("Human"))
        [('helpfulness', -0.5), ('helpfulness', 0.5)]
    """
    questions = top_questions(planted)
    attribute = questions[0][0]
    return sorted(question for question in questions if question[0] == attribute)


def compare_leaves(
    leaf: Int[np.ndarray, " pairs"],
    planted: Float[np.ndarray, " pairs"],
    preference: Shaped[np.ndarray, " pairs"],
    *,
    smallest: float = 0.05,
    error: float = 0.01,
) -> pd.DataFrame:
    """Set what was planted in each large leaf beside the share that was found there.

    Args:
        leaf: number of the leaf that each pair reaches.
        planted: probability of response 2 from which its preference was drawn.
        preference: 0 or 1.
        smallest: share of the pairs that a leaf must hold to be compared.
        error: how often one or more of the intervals may miss the truth, all taken together.

    Returns:
        A row a leaf: pairs, planted, found, and the Wilson interval low and high of found.
    """
    rows = pd.DataFrame({"leaf": leaf, "pairs": 1, "planted": planted, "found": preference})
    table = rows.groupby("leaf").agg({"pairs": "sum", "planted": "mean", "found": "mean"})
    table = table[table["pairs"] >= smallest * len(rows)].copy()
    table["low"], table["high"] = proportion_confint(
        table["found"] * table["pairs"],
        table["pairs"],
        alpha=error / len(table),
        method="wilson",
    )
    return table


def compare_refusals(
    counts: pd.DataFrame, planted: Mapping[str, tuple[str, float]], *, error: float = 0.01
) -> pd.DataFrame:
    """Set how often judges refuse or ramble beside how often they were made to.

    Args:
        counts: a row a judge: number of pairs by outcome.
        planted: by judge, the outcome and its share; judges that are not named always answer.
        error: how often one or more of the intervals may miss the truth, all taken together.

    Returns:
        A row a judge: kind, planted, pairs, found (share of the pairs that came to an answer),
        agrees.
    """
    expected = {judge: planted.get(judge, ("refused", 0.0)) for judge in counts.index}
    table = pd.DataFrame(expected, index=["kind", "planted"]).T
    table["pairs"] = [counts.loc[judge, kind] for judge, (kind, _) in expected.items()]
    answered = counts.sum(axis=1) - counts[["error", "missing"]].sum(axis=1)
    table["found"] = table["pairs"] / answered
    low, high = proportion_confint(
        table["pairs"].astype(float),
        answered,
        alpha=error / max(1, (table["planted"] > 0).sum()),
        method="wilson",
    )
    inside = (low <= table["planted"]) & (table["planted"] <= high)
    table["agrees"] = inside | (table["found"] == table["planted"])
    return table


def false_splits(
    splits: pd.DataFrame, tastes: Mapping[str, str | Mapping[str, float]]
) -> list[str]:
    """Name the recurring splits that ask about an attribute which the judge's taste does not use.

    Args:
        splits: a row a split (`judges.trees.split_table`).
        tastes: of the judges, as in `votes.SimulatedJudge`; other judges are left out.

    Example:
        >>> row = {"judge": "J", "attribute": "helpfulness", "threshold": 0.5, "recurs": True}
        >>> false_splits(pd.DataFrame([row]), {"J": {"verbosity": 3.0}})
        ['J: helpfulness > 0.5']
    """
    names = []
    for split in splits[splits["recurs"]].to_dict("records"):
        taste = tastes.get(split["judge"])
        if taste is not None and split["attribute"] not in planted_attributes(taste):
            names.append(f"{split['judge']}: {split['attribute']} > {split['threshold']:.3g}")
    return names

"""Compare what a study of the demo world found with what was planted there."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int, Shaped
from scipy.stats import binom
from statsmodels.stats.proportion import proportion_confint

from dtreward.demo.votes import JUDGES, planted_attributes
from dtreward.record import Claim, counted
from dtreward.stats import Interval
from dtreward.tree.tree import PreferenceTree

CLOSE = 0.8  # correlation of two attributes' differences from which one stands for the other
RAREST_ROOT = 0.025  # share of resampled trees that a planted root needs
BY_POSITION = 0.9  # share of first positions from which a judge was made to answer by position

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


def claim_roots(
    tastes: Mapping[str, str | Mapping[str, float]],
    sown: Mapping[str, str],
    root: Mapping[str, str],
    seen: Mapping[str, float],
    correlation: pd.DataFrame,
) -> list[Claim]:
    """State whether judges that vote by a published tree have its root, or one close to it.

    Args:
        tastes: of the judges; a published tree is known by its name.
        sown: the attribute at the root of each taste.
        root: the attribute at the root of each judge's tree.
        seen: share of a judge's resampled trees that have the root that was sown.
        correlation: of the differences of the attributes.

    Returns:
        One claim, or none where no judge votes by a published tree.
    """
    copied = [
        judge for judge in sown if isinstance(tastes[judge], str) and sown[judge] in correlation
    ]
    if not copied:
        return []
    is_found = []
    for judge in copied:
        stands_for_it = correlation[sown[judge]].get(root[judge], 0) >= CLOSE
        is_found.append(stands_for_it and seen[judge] >= RAREST_ROOT)
    shares = ", ".join(f"{judge} {seen[judge]:.0%}" for judge in copied)
    wanted = "Expected judges that vote by a published tree to have its root, or one close to it"
    return [Claim(f"{wanted}; shares of the bootstraps that have it: {shares}.", all(is_found))]


def claim_verbosity(
    tastes: Mapping[str, str | Mapping[str, float]],
    sown: Mapping[str, str],
    root: Mapping[str, str],
    attributes: Sequence[str],
) -> list[Claim]:
    """State whether judges that love or hate verbosity have it at their root (or give no claim)."""
    lovers = [j for j in sown if not isinstance(tastes[j], str) and sown[j] == "verbosity"]
    if not lovers or "verbosity" not in attributes:
        return []
    found = [judge for judge in lovers if root[judge] == "verbosity"]
    wanted = f"Expected verbosity at the root of {', '.join(lovers)}"
    sentence = f"{wanted}; it is at the root of {counted(found, len(lovers))}."
    return [Claim(sentence, found == lovers)]


def claim_splits(
    splits: pd.DataFrame, tastes: Mapping[str, str | Mapping[str, float]]
) -> list[Claim]:
    """State whether few recurring splits ask about what a judge does not use (`false_splits`)."""
    claimed = int(splits.loc[splits["judge"].isin(list(tastes)), "recurs"].sum())
    if not claimed:
        return []
    wrong = false_splits(splits, tastes)
    most = int(binom.ppf(0.999, claimed, 0.05))
    wanted = f"Expected at most {most} recurring splits on attributes that the judge does not use"
    sentence = f"{wanted} (5 %, and what luck adds in 99.9 %); they are {counted(wrong, claimed)}."
    return [Claim(sentence, len(wrong) <= most)]


def claim_families(
    tastes: Mapping[str, str | Mapping[str, float]],
    sown: Mapping[str, str],
    family: pd.Series,
    gap: pd.DataFrame,
    attributes: Sequence[str],
) -> list[Claim]:
    """State of each family whether its trees are nearer to each other than to other tastes.

    Args:
        family: of each judge.
        gap: distances between the judges' trees.
    """
    claims = []
    for name, members in family.groupby(family):
        same = [judge for judge in members.index if sown.get(judge) in attributes]
        others = [judge for judge in sown if same and tastes[judge] != tastes[same[0]]]
        if len(same) > 1 and others:
            within = gap.loc[same, same].max(axis=None)
            beyond = gap.loc[same, others].min(axis=None)
            wanted = f"Expected the trees of the family {name} nearer to each other than to others"
            sentence = f"{wanted}; the gaps are {within:.3f}, and {beyond:.3f} or more."
            claims.append(Claim(sentence, bool(within < beyond)))
    return claims


def claim_positions(table: pd.DataFrame) -> list[Claim]:
    """State of judges that were made to name the first position whether they are found to do so.

    Args:
        table: a row a judge, with consistency, and first with its interval.
    """
    claims = []
    by_position = [name for name, simulated in JUDGES.items() if simulated.first > BY_POSITION]
    for judge in table.index.intersection(by_position):
        lean = Interval(*table.loc[judge, ["first", "first_low", "first_high"]].astype(float))
        least = table["consistency"].idxmin()
        wanted = f"Expected {judge} to be least consistent and to lean to the first position"
        sentence = f"{wanted}; least consistent is {least}, and {judge} names the first in {lean}."
        claims.append(Claim(sentence, bool(least == judge and lean.low > 0.5)))
    return claims

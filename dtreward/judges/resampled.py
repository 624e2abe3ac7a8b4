"""What of the judges' trees comes back when all of them are fitted anew to resampled prompts?

All judges get trees on the same resamples, so that they can be compared in each of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from dtreward.judges.attribution import Background, shap_values
from dtreward.stats import FEWEST_PROMPTS, Prompts, resampled_rows
from dtreward.tree.tree import Differences, PreferenceTree

SURE = 0.95  # share of the resamples in which something must be so before it is claimed


@dataclass(frozen=True)
class Resample:
    """Trees of all judges, fitted to one resample of prompts.

    Args:
        trees: one a judge, in their order.
        times: how often each pair was drawn.
    """

    trees: list[PreferenceTree]
    times: Int[np.ndarray, " pairs"]


@dataclass(frozen=True)
class Findings:
    """What the trees of resamples say; the first axis of each array is the resamples.

    Args:
        sizes: mean absolute SHAP value.
        pushes: mean product of SHAP value and difference; below 0, less of the attribute is
            preferred.
        credit_gaps: how far the SHAP values of a pair lie from those of the first judge, summed
            over attributes, on average (`attribution.value_gaps`).
        probability_gaps: mean gap to the probabilities of the first judge's tree.
        first_splits: column of the attribute of the first split; -1 for a lone leaf.
        on_one_path: whether a tree asks about both of two attributes on the way to one leaf.
    """

    sizes: Float[np.ndarray, "resamples judges attributes"]
    pushes: Float[np.ndarray, "resamples judges attributes"]
    credit_gaps: Float[np.ndarray, "resamples judges"]
    probability_gaps: Float[np.ndarray, "resamples judges"]
    first_splits: Int[np.ndarray, "resamples judges"]
    on_one_path: Bool[np.ndarray, "resamples judges attributes attributes"]

    @classmethod
    def stack(cls, findings: Sequence[Findings]) -> Findings:
        """Put the findings of several resamples, `describe_resample`, into one."""
        names = [field.name for field in fields(cls)]
        return cls(
            **{name: np.concatenate([getattr(one, name) for one in findings]) for name in names}
        )

    @property
    def moved_most(self) -> Int[np.ndarray, "resamples judges"]:
        """Column of the attribute that moves a judge most; -1 where none does."""
        return np.where(self.sizes.any(axis=2), self.sizes.argmax(axis=2), -1)


def resample_trees(
    differences: Differences,
    verdicts: pd.DataFrame,
    prompts: Prompts,
    *,
    resamples: int,
    seed: int = 0,
    **options,  # of `PreferenceTree.fit`
) -> Iterator[Resample]:
    """Fit a tree of each judge to each resample of prompts, with the responses in random order.

    The resamples and orders are the same for all judges. A judge that decided none of the pairs
    drawn, or has only one preference among them, gets a tree without a split.

    Args:
        differences: response 2 minus response 1, of all pairs.
        verdicts: 0 (response 1), 1 (response 2) or nan (undecided), a row a pair and a column a
            judge.
        prompts: of each pair.

    Example:
        >>> d = np.array([[-1.0], [1.0], [2.0]] * 9)
        >>> verdicts = pd.DataFrame({"Human": [0, 1, np.nan] * 9})
        >>> options = {"resamples": 2, "attributes": ["h"]}
        >>> draws = list(resample_trees(d, verdicts, range(27), **options))
        >>> len(draws), draws[0].trees[0].n_leaves, draws[0].times.sum().item()
        (2, 2, 27)
    """
    given = verdicts.to_numpy(float)
    orders = np.random.default_rng(seed)
    for rows in resampled_rows(prompts, resamples, seed=seed):
        sign = 1 - 2 * (orders.permutation(len(rows)) % 2)
        drawn = differences[rows] * sign[:, None]
        trees = []
        for votes in given[rows].T:
            preferred = np.where(sign > 0, votes, 1 - votes)
            trees.append(_fit_decided(drawn, preferred, **options))
        yield Resample(trees, np.bincount(rows, minlength=len(given)))


def _fit_decided(
    differences: Differences, preference: Float[np.ndarray, " pairs"], **options
) -> PreferenceTree:
    decided = ~np.isnan(preference)
    if len(set(preference[decided])) == 2:
        return PreferenceTree.fit(differences[decided], preference[decided].astype(int), **options)
    second = preference[decided].mean() if decided.any() else 0.5
    return PreferenceTree(
        attributes=tuple(options["attributes"]),
        feature=np.array([-1]),
        threshold=np.array([np.nan]),
        left=np.array([-1]),
        right=np.array([-1]),
        value=np.array([[1 - second, second]]),
        share=np.array([1.0]),
    )


def describe_resample(
    resample: Resample, differences: Differences, background: Background
) -> Findings:
    """Measure what the trees of one resample say of the pairs that it drew.

    Args:
        differences: response 2 minus response 1, of all pairs.
        background: of the SHAP values.

    Example:
        >>> trees = [PreferenceTree.single_split("h", limit) for limit in (0.5, -0.5)]
        >>> pairs = np.array([[-1.0], [0.0], [1.0], [2.0]])
        >>> findings = describe_resample(Resample(trees, np.ones(4, int)), pairs, pairs)
        >>> findings.probability_gaps.tolist(), findings.first_splits.tolist()
        ([[0.0, 0.25]], [[0, 0]])
    """
    trees = resample.trees
    share = resample.times / resample.times.sum()
    values = np.stack([shap_values(tree, differences, background) for tree in trees])
    probability = np.stack([tree.probability(differences) for tree in trees])
    return Findings(
        sizes=np.einsum("p,jpa->ja", share, np.abs(values))[None],
        pushes=np.einsum("p,jpa,pa->ja", share, values, differences)[None],
        credit_gaps=np.einsum("p,jpa->j", share, np.abs(values - values[0]))[None],
        probability_gaps=(np.abs(probability - probability[0]) @ share)[None],
        first_splits=np.array([[tree.feature[0] for tree in trees]]).clip(-1),
        on_one_path=np.stack([asked_on_one_path(tree) for tree in trees])[None],
    )


def asked_on_one_path(tree: PreferenceTree) -> Bool[np.ndarray, "attributes attributes"]:
    """Say of each two attributes whether the tree asks about both on the way to one leaf.

    Only such attributes can interact. The diagonal is False.

    Example:
        >>> asked_on_one_path(PreferenceTree.published("Human"))[0].tolist()
        [False, True, True, False, False]
    """
    together = np.zeros((len(tree.attributes),) * 2, bool)
    to_visit = [(0, frozenset())]
    while to_visit:
        node, above = to_visit.pop()
        if not tree.is_split[node]:
            continue
        attribute = int(tree.feature[node])
        for other in above - {attribute}:
            together[[attribute, other], [other, attribute]] = True
        below = above | {attribute}
        to_visit.extend([(tree.left[node], below), (tree.right[node], below)])
    return together


def outcome_of(share: float, prompts: int) -> bool | None:
    """Say what a share of resamples tells: True from 95 % on, False up to 5 %, else None.

    Args:
        prompts: number of different prompts; fewer than 20 tell nothing.

    Example:
        >>> outcome_of(0.97, 100), outcome_of(0.03, 100), outcome_of(0.6, 100), outcome_of(1.0, 12)
        (True, False, None, None)
    """
    if prompts < FEWEST_PROMPTS or 1 - SURE < share < SURE:
        return None
    return bool(share >= SURE)


def rank_by_gap(
    gaps: Mapping[str, float], resampled: Float[np.ndarray, "resamples judges"]
) -> pd.DataFrame:
    """Sort judges by their gap to people, and say how sure it is that the first is the nearest.

    Args:
        gaps: of each judge's tree.
        resampled: gaps of trees fitted to resamples, the judges in the order of `gaps`.

    Returns:
        A row a judge, the nearest first: gap; nearest_in, the share of resamples in which it is the
        nearest; behind, its gap minus that of the first judge; low and high, the range of 95 % of
        the resamples of that.

    Example:
        >>> draws = np.array([[0.1, 0.3], [0.2, 0.3], [0.3, 0.2], [0.1, 0.2]])
        >>> table = rank_by_gap({"A": 0.1, "B": 0.2}, draws)
        >>> table["nearest_in"].to_dict(), table.loc["B", "low"].round(3).item()
        ({'A': 0.75, 'B': 0.25}, -0.085)
    """
    names = list(gaps)
    draws = pd.DataFrame(resampled, columns=names)
    table = pd.DataFrame({"gap": pd.Series(gaps, dtype=float)}).sort_values("gap", kind="stable")
    table["nearest_in"] = draws.idxmin(axis=1).value_counts(normalize=True).reindex(table.index)
    first = table.index[0]
    behind = draws.sub(draws[first], axis=0)
    table["behind"] = table["gap"] - table.loc[first, "gap"]
    table["low"] = behind.quantile((1 - SURE) / 2)
    table["high"] = behind.quantile((1 + SURE) / 2)
    return table.fillna({"nearest_in": 0.0})


def possible_nearest(ranked: pd.DataFrame, prompts: int) -> list[str]:
    """Name the judges of `rank_by_gap` that may be the nearest: the first, and all not told from it.

    A judge is told from the first if the whole range of `behind` lies above 0. Fewer than 20 prompts
    tell none.

    Example:
        >>> draws = np.array([[0.1, 0.2, 0.5], [0.2, 0.1, 0.6], [0.1, 0.3, 0.5]])
        >>> ranked = rank_by_gap({"A": 0.1, "B": 0.2, "C": 0.5}, draws)
        >>> possible_nearest(ranked, prompts=100), possible_nearest(ranked, prompts=12)
        (['A', 'B'], ['A', 'B', 'C'])
    """
    if prompts < FEWEST_PROMPTS:
        return list(ranked.index)
    told = ranked["low"] > 0
    return list(ranked.index[~told])

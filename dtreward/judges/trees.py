"""The tree of each judge: how accurate it is, and how steady on resampled prompts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int, Shaped

from dtreward.stats import (
    Interval,
    Prompts,
    Rows,
    accuracy_interval,
    floor,
    resampled_rows,
)
from dtreward.tree.tree import Differences, PreferenceTree

Fit = Callable[[Differences, Int[np.ndarray, " pairs"]], PreferenceTree]
NOTHING = "nothing"  # what a tree of a single leaf asks about first


@dataclass(frozen=True)
class DecidedPairs:
    """The pairs that one judge decided.

    Args:
        differences: response 2 minus response 1.
        preference: 0 (response 1) or 1 (response 2).
        prompts: of each pair.
        is_test: pairs that a tree must not be fitted on if its accuracy there is to count.

    Example:
        >>> votes = pd.Series([0.0, np.nan, 1.0])
        >>> d = np.array([[-1.0], [0.0], [2.0]])
        >>> is_test = np.array([False, False, True])
        >>> pairs = DecidedPairs.of(votes, d, ["p", "q", "r"], is_test)
        >>> pairs.preference, pairs.test_prompts
        (array([0, 1]), 1)
    """

    differences: Differences
    preference: Int[np.ndarray, " pairs"]
    prompts: Shaped[np.ndarray, " pairs"]
    is_test: Bool[np.ndarray, " pairs"]

    @classmethod
    def of(
        cls,
        votes: pd.Series,
        differences: Differences,
        prompts: Prompts,
        is_test: Bool[np.ndarray, " pairs"],
    ) -> DecidedPairs:
        """Take the pairs that a judge decided from all pairs that judges were asked about.

        Args:
            votes: 0, 1 or nan (undecided) of each pair.
        """
        rows = np.flatnonzero(votes.notna())
        return cls(
            differences=differences[rows],
            preference=votes.to_numpy()[rows].astype(int),
            prompts=np.asarray(prompts)[rows],
            is_test=is_test[rows],
        )

    def __len__(self) -> int:
        return len(self.preference)

    @property
    def test_prompts(self) -> int:
        """Number of different prompts among the test pairs."""
        return len(np.unique(self.prompts[self.is_test]))

    @property
    def can_be_tested(self) -> bool:
        """Whether two test prompts are there, and two other pairs with either preference."""
        counts = np.bincount(self.preference[~self.is_test], minlength=2)
        return self.test_prompts > 1 and bool(counts.min() > 1)

    def shuffled(self, generator: np.random.Generator) -> DecidedPairs:
        """Shuffle the preferences among the pairs, so that there is nothing to be learned."""
        return replace(self, preference=generator.permutation(self.preference))


@dataclass(frozen=True)
class HeldOutAccuracy:
    """Accuracy of a judge's tree on test pairs, beside the floor and the number of pairs."""

    accuracy: Interval
    floor: float
    pairs: int
    prompts: int

    @property
    def beats_floor(self) -> bool:
        """Whether the whole interval lies above the floor."""
        return self.accuracy.low > self.floor


def held_out_accuracy(pairs: DecidedPairs, fit: Fit, **options: int) -> HeldOutAccuracy:
    """Fit a tree to the pairs that are not for testing, and measure it on those that are.

    Args:
        pairs: of one judge.
        fit: makes a tree of differences and preferences.
        options: `resamples` and `seed` of the interval.

    Raises:
        ValueError: if `pairs.can_be_tested` is false.

    Example:
        >>> d = np.array([[-1.0], [1.0]] * 9)
        >>> is_test = np.arange(18) > 9
        >>> pairs = DecidedPairs(d, np.array([0, 1] * 9), np.arange(18), is_test)
        >>> result = held_out_accuracy(pairs, lambda *two: PreferenceTree.fit(*two, attributes=["h"]))
        >>> print(result.accuracy, result.floor)
        1.000 [0.631, 1.000] 0.5
    """
    if not pairs.can_be_tested:
        raise ValueError(
            f"expected two prompts among {pairs.is_test.sum()} test pairs, and both preferences "
            f"twice among {(~pairs.is_test).sum()} others: ask the judge about more pairs"
        )
    is_test = pairs.is_test
    fitted_on = pairs.preference[~is_test]
    tested_on = pairs.preference[is_test]
    tree = fit(pairs.differences[~is_test], fitted_on)
    is_right = tree.predict(pairs.differences[is_test]) == tested_on
    return HeldOutAccuracy(
        accuracy=accuracy_interval(is_right, pairs.prompts[is_test], **options),
        floor=floor(fitted_on, tested_on),
        pairs=len(tested_on),
        prompts=pairs.test_prompts,
    )


def bootstrap_trees(
    differences: Differences,
    preference: Rows,
    prompts: Prompts,
    *,
    resamples: int = 100,
    seed: int = 0,
    **options,  # of `PreferenceTree.fit`
) -> list[PreferenceTree]:
    """Fit a tree to each resample of prompts, with the two responses in random order.

    A random half of the drawn pairs is swapped: differences change sign, preferences flip. So what
    the trees say does not depend on which response stood first.

    >>> d, preference = np.array([[-1.0, 0.0], [1.0, 0.0]] * 9), np.array([0, 1] * 9)
    >>> [tree] = bootstrap_trees(d, preference, range(18), resamples=1, attributes=["h", "v"])
    >>> tree.importances.tolist()
    [1.0, 0.0]
    """
    preference = np.asarray(preference, int)
    generator = np.random.default_rng(seed)
    trees = []
    for rows in resampled_rows(prompts, resamples, seed=seed):
        is_swapped = generator.permutation(len(rows)) % 2
        sign = 1 - 2 * is_swapped
        drawn = differences[rows] * sign[:, None]
        trees.append(PreferenceTree.fit(drawn, preference[rows] ^ is_swapped, **options))
    return trees


def root_attribute(tree: PreferenceTree) -> str:
    """Name the attribute that a tree asks about first; "nothing" for a single leaf.

    >>> root_attribute(PreferenceTree.single_split("v", 0.0, attributes=["h", "v"]))
    'v'
    """
    return tree.attributes[tree.feature[0]] if tree.feature[0] >= 0 else NOTHING


def root_share(trees: Sequence[PreferenceTree], attribute: str) -> float:
    """Give the share of trees that ask about an attribute first.

    >>> trees = [PreferenceTree.single_split(name, 0.0) for name in ("h", "v", "h", "h")]
    >>> root_share(trees, "h")
    0.75
    """
    return float(np.mean([root_attribute(tree) == attribute for tree in trees]))


def importance_spread(tree: PreferenceTree, resampled: Sequence[PreferenceTree]) -> pd.DataFrame:
    """Describe how much each attribute matters to a judge, and how far that spreads.

    Args:
        tree: fitted to all pairs.
        resampled: trees fitted to resamples of them.

    Returns:
        A row an attribute: importance (mean over the resampled trees), low and high (the range of
        95 % of them), tree (importance in the tree of all pairs); a tree's importances sum to 1.

    Example:
        >>> trees = [PreferenceTree.single_split(n, 0.0, attributes=["h", "v"]) for n in "hhhv"]
        >>> importance_spread(trees[0], trees)["importance"].to_dict()
        {'h': 0.75, 'v': 0.25}
    """
    draws = np.array([one.importances for one in resampled])
    low, high = np.quantile(draws, [0.025, 0.975], axis=0)
    columns = {
        "importance": draws.mean(axis=0),
        "low": low,
        "high": high,
        "tree": tree.importances,
    }
    return pd.DataFrame(columns, index=pd.Index(tree.attributes, name="attribute"))


def importance_spreads(
    trees: Mapping[str, PreferenceTree], resampled: Mapping[str, Sequence[PreferenceTree]]
) -> pd.DataFrame:
    """Describe how much each attribute matters to each judge (`importance_spread`).

    Args:
        trees: by judge, fitted to all pairs; empty where pairs have no attributes.
        resampled: by judge, trees fitted to resamples.

    Returns:
        A row for each judge and attribute, with the columns of `importance_spread`.

    Example:
        >>> importance_spreads({}, {}).reset_index().columns.tolist()
        ['judge', 'attribute', 'importance', 'low', 'high', 'tree']
    """
    if trees:
        spreads = {
            judge: importance_spread(tree, resampled[judge]) for judge, tree in trees.items()
        }
        return pd.concat(spreads, names=["judge"])
    index = pd.MultiIndex.from_arrays([[], []], names=["judge", "attribute"])
    return pd.DataFrame(columns=["importance", "low", "high", "tree"], index=index, dtype=float)

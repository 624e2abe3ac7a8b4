"""The tree of each judge: how accurate it is, and how steady on resampled prompts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int, Shaped

from dtreward.pairs.split import Evaluation, plan_evaluations
from dtreward.stats import (
    Interval,
    Prompts,
    Rows,
    accuracy_interval,
    lies_above,
    resampled_rows,
)
from dtreward.tree.stability import RECURS
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
        >>> pairs.preference, pairs.is_test
        (array([0, 1]), array([False,  True]))
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
        is_decided = votes.notna().to_numpy()
        decided = votes.to_numpy()[is_decided].astype(int)
        return cls(
            differences=differences[is_decided],
            preference=decided,
            prompts=np.asarray(prompts)[is_decided],
            is_test=is_test[is_decided],
        )

    def __len__(self) -> int:
        return len(self.preference)

    @property
    def least_preferred(self) -> int:
        """Number of pairs with the preference that is rarer, 0 where one does not occur."""
        return int(np.bincount(self.preference, minlength=2).min())

    def take(self, chosen: Bool[np.ndarray, " pairs"]) -> DecidedPairs:
        """Take some of the pairs."""
        return DecidedPairs(
            self.differences[chosen],
            self.preference[chosen],
            self.prompts[chosen],
            self.is_test[chosen],
        )

    def evaluations(self, *, folds: int, seed: int = 0) -> list[Evaluation]:
        """Plan on which rows a tree is fitted, and on which it is measured: `plan_evaluations`.

        Validation pairs are fitted on, because nothing is chosen on them here.
        """
        split = pd.Series(np.where(self.is_test, "test", "train"))
        return plan_evaluations(split, pd.Series(self.prompts), folds=folds, seed=seed)

    def can_be_tested(self, *, folds: int, seed: int = 0) -> bool:
        """Whether two prompts can be measured, each part by a tree that saw both preferences twice."""
        measured = 0
        for part in self.evaluations(folds=folds, seed=seed):
            counts = np.bincount(self.preference[part.train], minlength=2)
            if counts.min() < 2:
                return False
            measured += len(np.unique(self.prompts[part.test]))
        return measured > 1

    def shuffled(self, generator: np.random.Generator) -> DecidedPairs:
        """Shuffle the preferences among the pairs, so that there is nothing to be learned."""
        return replace(self, preference=generator.permutation(self.preference))


@dataclass(frozen=True)
class HeldOutAccuracy:
    """Accuracy of a judge's trees on pairs that they were not fitted to, beside the floor.

    Attributes:
        floor: accuracy of the better constant answer, at least 0.5.
        pairs: number of pairs that it was measured on.
        prompts: number of their prompts.
        trees: 1, or how many trees cross-validation fitted.
    """

    accuracy: Interval
    floor: float
    pairs: int
    prompts: int
    trees: int = 1

    @property
    def beats_floor(self) -> bool | None:
        """Whether it lies above the floor; None where that cannot be told (`stats.lies_above`)."""
        return lies_above(self.accuracy, self.floor, self.prompts)


@dataclass(frozen=True)
class HeldOutAnswers:
    """What trees say of pairs that they were not fitted to.

    Attributes:
        rows: the pairs that were measured.
        is_right: of each, whether the tree names the preference.
        constant_is_right: whether the commoner preference of the pairs fitted on does.
        trees: 1, or how many trees cross-validation fitted.
    """

    rows: Int[np.ndarray, " measured"]
    is_right: Bool[np.ndarray, " measured"]
    constant_is_right: Bool[np.ndarray, " measured"]
    trees: int

    @property
    def floor(self) -> float:
        """Accuracy of the better constant answer, at least 0.5."""
        return max(0.5, float(self.constant_is_right.mean()))


def held_out_answers(
    pairs: DecidedPairs, fit: Fit, *, folds: int = 5, seed: int = 0
) -> HeldOutAnswers:
    """Fit trees as `held_out_accuracy` does, and say of each measured pair whether they are right.

    Raises:
        ValueError: if `pairs.can_be_tested` is false.
    """
    if not pairs.can_be_tested(folds=folds, seed=seed):
        raise ValueError(
            f"expected two prompts among {pairs.is_test.sum()} test pairs, and both preferences "
            f"twice among {(~pairs.is_test).sum()} others: ask the judge about more pairs"
        )
    parts = pairs.evaluations(folds=folds, seed=seed)
    is_right = []
    constant_is_right = []
    for part in parts:
        fitted_on = pairs.preference[part.train]
        tested_on = pairs.preference[part.test]
        tree = fit(pairs.differences[part.train], fitted_on)
        is_right.append(tree.predict(pairs.differences[part.test]) == tested_on)
        constant_is_right.append(tested_on == (fitted_on.mean() > 0.5))
    return HeldOutAnswers(
        rows=np.concatenate([part.test for part in parts]),
        is_right=np.concatenate(is_right),
        constant_is_right=np.concatenate(constant_is_right),
        trees=len(parts),
    )


def held_out_accuracy(
    pairs: DecidedPairs, fit: Fit, *, folds: int = 5, seed: int = 0, **options: int
) -> HeldOutAccuracy:
    """Fit a tree to the pairs that are not for testing, and measure it on those that are.

    Where the test pairs have fewer than 20 prompts, it is cross-validation by prompt: each part of
    all pairs is measured by a tree that is fitted to the others.

    Args:
        pairs: of one judge.
        fit: makes a tree of differences and preferences.
        folds: parts of cross-validation; 0 or 1: never cross-validate.
        seed: decides which prompts are in one part, and the resamples of the interval.
        options: `resamples` of the interval.

    Raises:
        ValueError: if `pairs.can_be_tested` is false.

    Example:
        >>> d = np.array([[-1.0], [1.0]] * 9)
        >>> is_test = np.arange(18) > 9
        >>> pairs = DecidedPairs(d, np.array([0, 1] * 9), np.arange(18), is_test)
        >>> fit = lambda *two: PreferenceTree.fit(*two, attributes=["h"])
        >>> result = held_out_accuracy(pairs, fit, folds=3)
        >>> print(result.accuracy, result.floor, result.pairs, result.trees)
        1.000 [0.815, 1.000] 0.5 18 3
    """
    answers = held_out_answers(pairs, fit, folds=folds, seed=seed)
    prompts = pairs.prompts[answers.rows]
    return HeldOutAccuracy(
        accuracy=accuracy_interval(answers.is_right, prompts, seed=seed, **options),
        floor=answers.floor,
        pairs=len(answers.rows),
        prompts=len(np.unique(prompts)),
        trees=answers.trees,
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


def split_table(
    trees: Mapping[str, PreferenceTree], recurrence: Mapping[str, Float[np.ndarray, " nodes"]]
) -> pd.DataFrame:
    """List the splits of each judge's tree, and in what share of the resampled trees they recur.

    Args:
        recurrence: by judge, as `tree.stability.split_recurrence` gives it.

    Returns:
        A row a split: judge, node, level (1 is the root), attribute, threshold, reached (share of
        the judge's pairs that it asks), recurrence, recurs (in `RECURS` of the trees or more: a
        finding).

    Example:
        >>> tree = PreferenceTree.single_split("h", 0.5)
        >>> table = split_table({"J": tree}, {"J": np.array([0.75, np.nan, np.nan])})
        >>> table[["judge", "attribute", "threshold", "recurrence", "recurs"]].values.tolist()
        [['J', 'h', 0.5, 0.75, False]]
    """
    rows = []
    for judge, tree in trees.items():
        for node in tree.splits:
            row = {
                "judge": judge,
                "node": node,
                "level": tree.level[node] + 1,
                "attribute": tree.attributes[tree.feature[node]],
                "threshold": tree.threshold[node],
                "reached": tree.share[node],
                "recurrence": recurrence[judge][node],
                "recurs": recurrence[judge][node] >= RECURS,
            }
            rows.append(row)
    names = ["judge", "node", "level", "attribute", "threshold", "reached", "recurrence", "recurs"]
    return pd.DataFrame(rows, columns=names).astype({"recurs": bool})

"""What of a tree comes back when it is grown again on resamples of its pairs?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from dtreward.names import isolate
from dtreward.tree.ablation import Sample, Settings, Size, describe_trees, grow_trees
from dtreward.tree.tree import Differences, PreferenceTree

RECURS = 0.8  # share of the resampled trees that must have a split before it is called a finding
RARE = 0.05  # what happens in fewer resamples is taken not to happen
SMALLEST_STEP = 1e-9  # thresholds so near are equal but for rounding


def regrow_trees(
    sample: Sample,
    rows: Int[np.ndarray, " rows"],
    sizes: Sequence[Size],
    settings: Settings,
    *,
    seed: int = 0,
) -> list[PreferenceTree]:
    """Grow a tree of each size on a resample of some pairs.

    Args:
        rows: the numbers of the drawn pairs, as `dtreward.stats.resampled_rows` yields them.
        seed: decides between splits that are equally good.

    Example:
        >>> differences = np.array([[-2.0], [-1.0], [1.0], [2.0]])
        >>> sample = Sample(("h",), differences, np.array([0, 0, 0, 1]), np.arange(4))
        >>> (tree,) = regrow_trees(sample, np.array([0, 0, 3]), [Size.depth(1)], Settings())
        >>> tree.threshold[0].item()
        0.0
    """
    return grow_trees(sample.take(rows), sizes, settings, seed=seed)


def compare_neighbours(trees: Sequence[PreferenceTree], differences: Differences) -> pd.DataFrame:
    """Compare each tree with the one before it (the first with the last), on the same pairs.

    Returns:
        A row a tree: gap, the mean distance of the probabilities of response 2, and
        decided_otherwise, the share of pairs with another preference.

    Example:
        >>> trees = [PreferenceTree.single_split("h", limit) for limit in (0.5, -0.5)]
        >>> pairs = np.array([[-1.0], [0.0], [1.0], [2.0]])
        >>> compare_neighbours(trees, pairs).iloc[1].to_dict()
        {'gap': 0.25, 'decided_otherwise': 0.25}
    """
    probability = np.array([tree.probability(differences) for tree in trees])
    before = np.roll(probability, 1, axis=0)
    return pd.DataFrame(
        {
            "gap": np.abs(probability - before).mean(axis=1),
            "decided_otherwise": ((probability > 0.5) != (before > 0.5)).mean(axis=1),
        }
    )


def describe_regrown(
    trees: Mapping[int, Sequence[PreferenceTree]], differences: Differences
) -> pd.DataFrame:
    """Describe trees of several depths, each depth grown on the same resamples.

    Args:
        trees: for each depth its trees, one a resample.
        differences: the pairs on which trees are compared.

    Returns:
        A row a tree: depth, `describe_trees`, and `compare_neighbours` within the depth.

    Example:
        >>> trees = [PreferenceTree.single_split("h", limit) for limit in (0.5, -0.5)]
        >>> table = describe_regrown({1: trees}, np.array([[-1.0], [0.0], [1.0], [2.0]]))
        >>> table[["depth", "splits", "gap"]].to_dict("records")
        [{'depth': 1, 'splits': 1, 'gap': 0.25}, {'depth': 1, 'splits': 1, 'gap': 0.25}]
    """
    tables = []
    for depth, grown in trees.items():
        described = describe_trees(grown, differences)
        compared = compare_neighbours(grown, differences)
        table = pd.concat([described, compared], axis=1)
        table.insert(0, "depth", depth)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def rating_step(differences: Differences) -> Float[np.ndarray, " attributes"]:
    """Give for each attribute how far apart two thresholds may be and still count as one.

    It is the smallest gap between two differences, but at least half a standard deviation, so that
    ratings on a fine scale have a step too.

    Example:
        >>> rating_step(np.array([[-1.0, 0.0], [0.0, 0.1], [1.0, 8.0]])).round(2).tolist()
        [1.0, 1.87]
    """
    steps = []
    for column in differences.T:
        values = np.unique(column)
        gap = np.diff(values).min() if len(values) > 1 else 0.0
        steps.append(max(gap, column.std() / 2))
    return np.array(steps)


def split_recurrence(
    tree: PreferenceTree,
    resampled: Sequence[PreferenceTree],
    tolerance: Float[np.ndarray, " attributes"],
) -> Float[np.ndarray, " nodes"]:
    """Give for each split the share of resampled trees that have it too; nan at a leaf.

    A tree has it if it splits the same attribute, anywhere, at a threshold within the tolerance.

    Args:
        resampled: trees fitted to resamples of the pairs of `tree`.
        tolerance: largest distance of two thresholds that count as one, see `rating_step`.

    Example:
        >>> trees = [PreferenceTree.single_split("h", limit) for limit in (0.5, 1.5, 1.5, 2.5)]
        >>> split_recurrence(trees[0], trees, np.array([1.0])).tolist()
        [0.75, nan, nan]
    """
    share = np.full(len(tree.feature), np.nan)
    for node in tree.splits:
        attribute = tree.feature[node]
        limit = tolerance[attribute] + SMALLEST_STEP
        found = 0
        for other in resampled:
            thresholds = other.threshold[other.feature == attribute]
            found += bool((np.abs(thresholds - tree.threshold[node]) <= limit).any())
        share[node] = found / len(resampled)
    return share


def list_splits(tree: PreferenceTree) -> pd.DataFrame:
    """List the splits of a tree, a row a split: attribute and threshold.

    Example:
        >>> list_splits(PreferenceTree.single_split("h", 0.5)).to_dict("records")
        [{'attribute': 'h', 'threshold': 0.5}]
    """
    names = np.array(tree.attributes, dtype=object)
    nodes = tree.splits
    return pd.DataFrame(
        {"attribute": names[tree.feature[nodes]], "threshold": tree.threshold[nodes]}
    )


def recurring_splits(
    tree: PreferenceTree,
    resampled: Sequence[PreferenceTree],
    tolerance: Float[np.ndarray, " attributes"],
) -> pd.DataFrame:
    """List each different split of a tree with its `split_recurrence`: attribute, threshold, share.

    Example:
        >>> trees = [PreferenceTree.single_split("h", limit) for limit in (0.5, 1.5, 1.5, 2.5)]
        >>> recurring_splits(trees[0], trees, np.array([1.0])).to_dict("records")
        [{'attribute': 'h', 'threshold': 0.5, 'share': 0.75}]
    """
    share = split_recurrence(tree, resampled, tolerance)[tree.splits]
    return list_splits(tree).assign(share=share).drop_duplicates(ignore_index=True)


def qualified_sentences(
    rule: PreferenceTree, share: Float[np.ndarray, " nodes"]
) -> tuple[str, ...]:
    """Say a rule in words, and say of each sentence that rests on a doubtful split that it does.

    Args:
        rule: a tree, for example an effective rule.
        share: of its splits, from `split_recurrence`; a split under 80 % is doubtful.

    Example:
        >>> rule = PreferenceTree.single_split("h", 0.5)
        >>> qualified_sentences(rule, np.array([0.9, np.nan, np.nan]))
        ('response 2 iff h difference > 0.5',)
        >>> qualified_sentences(rule, np.array([0.7, np.nan, np.nan]))
        ('response 2 iff h difference > 0.5 (no finding: h at 0.5 recurs in 70 % of resamples)',)
    """
    doubts: list[list[str]] = [[] for _ in rule.feature]
    for node in rule.splits:
        above = list(doubts[node])
        if share[node] < RECURS:
            name = isolate(rule.attributes[rule.feature[node]])
            above.append(
                f"{name} at {rule.threshold[node]:.4g} recurs in {100 * share[node]:.0f} %"
            )
        for child in rule.children(node):
            doubts[child] = above
    leaves = np.flatnonzero(~rule.is_split)
    sentences = rule.rule_sentences()
    qualified = []
    for leaf, sentence in zip(leaves, sentences, strict=False):  # a single split has one sentence
        reason = ", ".join(doubts[leaf])
        qualified.append(f"{sentence} (no finding: {reason} of resamples)" if reason else sentence)
    return tuple(qualified)


@dataclass(frozen=True)
class NeededSplits:
    """How many splits of a tree decide, and how far that number wavers.

    Attributes:
        drawn: splits of the tree.
        needed: splits of its effective rule.
        distribution: share of trees, grown on resamples, by the number of splits they need.
        idle_share: share of these trees in which some splits decide nothing.
    """

    drawn: int
    needed: int
    distribution: dict[int, float]
    idle_share: float

    @classmethod
    def of(cls, tree: PreferenceTree, resampled: Sequence[PreferenceTree]) -> NeededSplits:
        """Count for a tree, and for trees that were grown on resamples of its pairs.

        Example:
            >>> tree = PreferenceTree.single_split("h", 0.5)
            >>> print(NeededSplits.of(tree, [tree, tree]))
            1 of 1 needed; over resamples 1: 100 %
        """
        needed = [other.effective_rule().n_leaves - 1 for other in resampled]
        are_idle = [n < other.n_leaves - 1 for n, other in zip(needed, resampled, strict=True)]
        numbers, times = np.unique(needed, return_counts=True)
        shares = (times / len(needed)).tolist()
        return cls(
            drawn=tree.n_leaves - 1,
            needed=tree.effective_rule().n_leaves - 1,
            distribution=dict(zip(numbers.tolist(), shares, strict=True)),
            idle_share=float(np.mean(are_idle)),
        )

    @property
    def some_are_idle(self) -> bool | None:
        """Whether some splits decide nothing, in 95 % of the resamples or more.

        False if some do in 5 % or fewer, and None in between.
        """
        if RARE < self.idle_share < 1 - RARE:
            return None
        return self.idle_share > 0.5

    def __str__(self) -> str:
        shares = ", ".join(f"{n}: {100 * share:.0f} %" for n, share in self.distribution.items())
        return f"{self.needed} of {self.drawn} needed; over resamples {shares}"


def asked_by_level(trees: Sequence[PreferenceTree], levels: int) -> pd.DataFrame:
    """Give the share of training pairs that are asked about an attribute at each level.

    It is the mean over the trees. A row is an attribute; level 1 is the root.

    Example:
        >>> tree = PreferenceTree.single_split("h", 0.0, attributes=["h", "c"])
        >>> asked_by_level([tree], 2).to_numpy().tolist()
        [[1.0, 0.0], [0.0, 0.0]]
    """
    names = trees[0].attributes
    share = np.zeros((len(names), levels))
    for tree in trees:
        nodes = tree.splits
        np.add.at(share, (tree.feature[nodes], tree.level[nodes]), tree.share[nodes])
    return pd.DataFrame(share / len(trees), list(names), range(1, levels + 1))


def splits_together(
    trees: Sequence[PreferenceTree], attribute: str, thresholds: Sequence[float]
) -> Bool[np.ndarray, " trees"]:
    """Say of each tree whether it splits an attribute at all of some thresholds.

    Thresholds are compared after rounding to six decimals.

    Example:
        >>> trees = [PreferenceTree.single_split("h", limit) for limit in (0.5, -0.5)]
        >>> splits_together(trees, "h", [0.5])
        array([ True, False])
    """
    wanted = set(thresholds)
    found = []
    for tree in trees:
        own = tree.threshold[tree.feature == tree.attributes.index(attribute)]
        found.append(wanted <= set(own.round(6).tolist()))
    return np.array(found)

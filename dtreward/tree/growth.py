"""A table of nodes from scikit-learn: fitted, or read from the arrays of a fitted tree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dtreward.stats import MANY, count_rows
from dtreward.tree.nodes import NodeTable, in_preorder

ORDERS = ("as_given", "both")


@dataclass(frozen=True)
class Growth:
    """How a tree is grown.

    Attributes:
        max_depth: most splits from the root to a leaf; None means any number.
        max_leaves: most leaves, grown best-first; None means all splits down to `max_depth`.
        min_leaf: fewest pairs in a leaf.
        criterion: "log_loss" or "gini".
        pruning: cost-complexity pruning, scikit-learn's `ccp_alpha`.
        orders: "as_given", or "both": each pair once more with its responses swapped.
        seed: decides between splits that are equally good.
        directions: for each attribute 1, -1 or 0: whether a larger difference may only make
            response 2 likelier, only less likely, or either. None means 0 for all.
    """

    max_depth: int | None = 3
    max_leaves: int | None = None
    min_leaf: int = 1
    criterion: str = "log_loss"
    pruning: float = 0.0
    orders: str = "as_given"
    seed: int = 0
    directions: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.orders not in ORDERS:
            raise ValueError(f'orders must be "as_given" or "both", not {self.orders!r}')


def grow(
    differences: np.ndarray, preference: np.ndarray, attributes: Sequence[str], growth: Growth
) -> NodeTable:
    """Fit a tree to preferences with scikit-learn.

    Args:
        differences: response 2 minus response 1, shape (pairs, attributes), float64.
        preference: 0 or 1 of each pair, both of them among them.
    """
    from sklearn.tree import DecisionTreeClassifier  # takes half a second

    rows = np.column_stack([differences, preference.astype(int)])
    if growth.orders == "both":
        swapped = np.column_stack([-differences, 1 - rows[:, -1]])
        rows = np.concatenate([rows, swapped])
    model = DecisionTreeClassifier(
        criterion=growth.criterion,
        max_depth=growth.max_depth,
        max_leaf_nodes=growth.max_leaves,
        min_samples_leaf=growth.min_leaf,
        ccp_alpha=growth.pruning,
        random_state=growth.seed,
        monotonic_cst=growth.directions,
    )
    counts = None
    if 2 * growth.min_leaf < len(rows) > MANY:
        # Few rows differ: fitted with counts they give the same tree in a tenth of the time.
        rows, counts = count_rows(rows)
        # A quarter of a pair less, or rounding would decide whether a leaf is large enough.
        least = (growth.min_leaf - 0.25) / counts.sum()
        model.set_params(min_samples_leaf=1, min_weight_fraction_leaf=least)
    fitted = model.fit(rows[:, :-1], rows[:, -1], counts).tree_.__getstate__()
    return from_scikit_learn(attributes, fitted["nodes"], fitted["values"])


def from_scikit_learn(
    attributes: Sequence[str], nodes: np.ndarray, values: np.ndarray
) -> NodeTable:
    """Make a table of the node arrays of a fitted scikit-learn tree.

    scikit-learn compares in float32. A threshold that float32 rounds up is lowered by one step, so
    that a difference equal to it goes right here as it does there.
    """
    threshold = nodes["threshold"]
    value = values[:, 0]
    weight = nodes["weighted_n_node_samples"]
    with np.errstate(all="ignore"):  # what a zero or an overflow makes breaks a law of NodeTable
        is_rounded_up = threshold.astype(np.float32) > threshold
        threshold = np.where(is_rounded_up, np.nextafter(threshold, -np.inf), threshold)
        total = value.sum(axis=1, keepdims=True)  # 1, or a count before scikit-learn 1.3
        value = np.where(np.abs(total - 1) <= 1e-9, value, value / total)
        share = weight / weight[0]
    return in_preorder(
        attributes,
        nodes["feature"],
        threshold,
        nodes["left_child"],
        nodes["right_child"],
        value,
        share,
    )

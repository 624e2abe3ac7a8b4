"""The plain table of nodes of a tree on differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

ATTRIBUTES = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")


class Step(NamedTuple):
    """One split that a pair passes on its way through a tree; `sentence` says it in words."""

    node: int
    attribute: str
    difference: float
    threshold: float
    goes_left: bool
    sentence: str


@dataclass(frozen=True, eq=False)
class NodeTable:
    """The nodes of a binary tree in preorder: a node stands before both of its sides.

    Attributes:
        attributes: names of the columns of differences.
        feature: number of the attribute that a node splits on; -1 at a leaf.
        threshold: a difference at or below it goes left; nan at a leaf.
        left: number of the left child; -1 at a leaf.
        right: number of the right child; -1 at a leaf.
        value: fractions of the pairs that prefer response 1 and response 2.
        share: fraction of the fitted pairs that reach the node; 1 at the root.

    Raises:
        ValueError: if the arrays are not such a tree; the message names the law that is broken.
    """

    attributes: tuple[str, ...]
    feature: Int[np.ndarray, " nodes"]
    threshold: Float[np.ndarray, " nodes"]
    left: Int[np.ndarray, " nodes"]
    right: Int[np.ndarray, " nodes"]
    value: Float[np.ndarray, "nodes 2"]
    share: Float[np.ndarray, " nodes"]

    def __post_init__(self) -> None:
        for law, holds in self._laws().items():
            if not np.all(holds):
                raise ValueError(f"not a preference tree; expected that {law}")

    @property
    def is_split(self) -> Bool[np.ndarray, " nodes"]:
        """Whether a node is a split, and no leaf."""
        return self.feature >= 0

    @property
    def splits(self) -> list[int]:
        """Numbers of the nodes that are splits, from the root on."""
        return np.flatnonzero(self.is_split).tolist()

    @property
    def depth(self) -> int:
        """Number of splits on the longest way from the root to a leaf."""
        return int(self.level.max())

    @property
    def level(self) -> Int[np.ndarray, " nodes"]:
        """Number of splits above each node."""
        level = np.zeros(len(self.feature), dtype=int)
        for node in self.splits:
            level[self.children(node)] = level[node] + 1
        return level

    @property
    def n_leaves(self) -> int:
        """Number of leaves."""
        return int((~self.is_split).sum())

    def children(self, node: int) -> list[int]:
        """Give the numbers of the left and the right child of a split."""
        return [int(self.left[node]), int(self.right[node])]

    def _laws(self) -> dict[str, np.ndarray | bool]:
        names = self.attributes
        is_leaf = self.feature == -1
        is_bare = (self.left == -1) & (self.right == -1) & np.isnan(self.threshold)
        sums = self.value.sum(axis=1, keepdims=True)
        is_share = (self.share >= 0) & (self.share <= 1) & (self.share[0] == 1)
        in_order = preorder(self.left, self.right) == list(range(len(is_leaf)))
        return {
            "attributes are distinct, non-empty names": 0 < len(set(names) - {""}) == len(names),
            "nodes are in preorder": in_order,
            "features are attribute numbers, or -1": (
                (self.feature >= -1) & (self.feature < len(names))
            ),
            "leaves alone have no feature, threshold and children": is_leaf == is_bare,
            "thresholds are finite": is_leaf | np.isfinite(self.threshold),
            "values are fractions that sum to 1": (self.value >= 0) & (np.abs(sums - 1) <= 1e-9),
            "shares are fractions, the root's 1": is_share,
        }


def preorder(left: np.ndarray, right: np.ndarray) -> list[int]:
    """List the nodes that the root reaches, each before both of its sides.

    Raises:
        ValueError: if a child is not a node, or is reached twice.
    """
    order: list[int] = []
    waiting = [0]
    sides = list(zip(left.tolist(), right.tolist(), strict=True))
    while waiting:
        node = waiting.pop()
        order.append(node)
        if not 0 <= node < len(sides) or len(order) > len(sides):
            raise ValueError("not a preference tree; expected that children are nodes, each once")
        if sides[node] != (-1, -1):
            waiting += sides[node][::-1]
    return order


def in_preorder(
    attributes: Sequence[str],
    feature: np.ndarray,
    threshold: np.ndarray,
    left: np.ndarray,
    right: np.ndarray,
    value: np.ndarray,
    share: np.ndarray,
) -> NodeTable:
    """Make a table of nodes in any order; nodes that the root does not reach are left out."""
    order = preorder(left, right)
    place = {-1: -1}
    for number, node in enumerate(order):
        place[node] = number
    new_left = np.array([place[node] for node in left[order].tolist()])
    new_right = np.array([place[node] for node in right[order].tolist()])
    is_leaf = new_left < 0
    return NodeTable(
        attributes=tuple(attributes),
        feature=np.where(is_leaf, -1, feature[order].astype(np.int64)),  # not long long
        threshold=np.where(is_leaf, np.nan, threshold[order]),
        left=new_left,
        right=new_right,
        value=value[order],
        share=share[order],
    )

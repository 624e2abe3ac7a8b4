"""A small decision tree on differences: which of two responses does a judge prefer, and why?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int, Real, Shaped

from dtreward.files import write_json
from dtreward.published import PUBLISHED
from dtreward.tree import document, rules
from dtreward.tree.growth import Growth, from_scikit_learn, grow
from dtreward.tree.nodes import NodeTable, Step
from dtreward.tree.pickle import MAX_BYTES, read_nodes

TREES = PUBLISHED / "published_trees.json"
# Response 2 minus response 1, finite; a table names its columns as the attributes, in their order.
Differences = Real[np.ndarray, "pairs attributes"] | pd.DataFrame
Pairs = Float[np.ndarray, " pairs"]
PairNumbers = Int[np.ndarray, " pairs"]


@dataclass(frozen=True, eq=False)
class PreferenceTree(NodeTable):
    """A binary tree on differences (response 2 minus response 1) that gives a preference.

    A difference at or below a threshold goes left, compared in float64. scikit-learn compares in
    float32: its trees decide here as there for every difference that float32 holds, and for all
    pairs they were fitted on. The fields are those of `NodeTable`.

    Raises:
        ValueError: from each method that takes differences, if their columns are not the tree's
            attributes, or if they hold nan or infinity.

    Example:
        >>> tree = PreferenceTree.published("Decision-Tree-Reward-Gemma-2-27B")
        >>> tree.path(np.array([-3.978, -4.03, -2.1, -0.9, -1.2]))[0].sentence
        'helpfulness: difference -3.98 <= 0.03, so response 1 is more likely (85.0 %)'
        >>> tree.effective_rule().rule_sentences()
        ('response 2 iff helpfulness difference > 0.03',)
        >>> simple = PreferenceTree.single_split("helpfulness", 0.5)
        >>> simple.predict(np.array([[0.5], [0.7]]))
        array([0, 1])
        >>> simple.probability(np.array([[0.2]]), averaged=True)
        array([0.5])
    """

    @classmethod
    def fit(  # noqa: PLR0913
        cls,
        differences: Differences,
        preference: Shaped[np.ndarray, " pairs"],
        *,
        attributes: Sequence[str],
        max_depth: int | None = 3,
        max_leaves: int | None = None,
        min_leaf: int = 1,
        criterion: Literal["log_loss", "gini"] = "log_loss",
        pruning: float = 0.0,
        orders: str = "as_given",
        seed: int = 0,
        directions: Sequence[int] | None = None,
    ) -> PreferenceTree:
        """Fit a tree to preferences with scikit-learn.

        Args:
            differences: response 2 minus response 1, shape (pairs, attributes). A pair with
                several votes stands in one row a vote.
            preference: 0 (response 1) or 1 (response 2) of each row; both must be there.
            attributes: names of the columns.
            max_depth: most splits from the root to a leaf; None means any number.
            max_leaves: most leaves, grown best-first; None means all splits down to `max_depth`.
            min_leaf: fewest rows in a leaf.
            criterion: what a split lowers.
            pruning: cost-complexity pruning, scikit-learn's `ccp_alpha`.
            orders: "as_given", or "both": each pair once more with its responses swapped.
            seed: decides between splits that are equally good.
            directions: for each attribute 1 (a larger difference may only make response 2
                likelier), -1 (only less likely) or 0 (either); None means 0 for all.

        Raises:
            ValueError: for preferences that are not 0 and 1, one a row, or for a table whose
                columns are not the attributes in their order.

        Example:
            >>> differences = np.array([[-1.0], [0.0], [1.0]])
            >>> tree = PreferenceTree.fit(differences, np.array([0, 0, 1]), attributes=["h"])
            >>> tree.rule_sentences()
            ('response 2 iff h difference > 0.5',)
        """
        differences = _checked(differences, attributes)
        preference = np.asarray(preference)
        values = set(preference.tolist())
        if preference.shape != differences.shape[:1] or values != {0, 1}:
            raise ValueError(
                f"expected one preference for each of {len(differences)} pairs, 0 and 1 among "
                f"them; found {preference.shape} with {sorted(values, key=str)[:5]}; drop ties first"
            )
        monotone = None if directions is None else tuple(directions)
        growth = Growth(max_depth, max_leaves, min_leaf, criterion, pruning, orders, seed, monotone)
        return cls.from_table(grow(differences, preference, attributes, growth))

    @classmethod
    def from_table(cls, nodes: NodeTable) -> PreferenceTree:
        """Make a tree of a table of nodes."""
        return cls(**{name: getattr(nodes, name) for name in NodeTable.__dataclass_fields__})

    @classmethod
    def single_split(
        cls, attribute: str, threshold: float, *, attributes: Sequence[str] | None = None
    ) -> PreferenceTree:
        """Prefer response 2 iff one difference is above a threshold; the shares are made up."""
        names = tuple(attributes or [attribute])
        if attribute not in names:
            raise ValueError(f"attribute {attribute!r} is not one of {', '.join(names)}")
        return cls(
            attributes=names,
            feature=np.array([names.index(attribute), -1, -1]),
            threshold=np.array([float(threshold), np.nan, np.nan]),
            left=np.array([1, -1, -1]),
            right=np.array([2, -1, -1]),
            value=np.array([[0.5, 0.5], [1.0, 0.0], [0.0, 1.0]]),
            share=np.array([1.0, 0.5, 0.5]),
        )

    @classmethod
    def published(cls, name: str) -> PreferenceTree:
        """Read one of the five published trees, with the rounded numbers of its picture.

        Raises:
            ValueError: for another name; the message lists those that there are.
        """
        trees = json.loads(TREES.read_text(encoding="utf-8"))
        trees.pop("source", None)
        if name not in trees:
            nearest = get_close_matches(name, trees, n=1)
            hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
            raise ValueError(f"expected one of {', '.join(trees)}; found {name!r}{hint}")
        return cls.from_table(document.from_published(trees[name]))

    @property
    def importances(self) -> Float[np.ndarray, " attributes"]:
        """Share of the fall in log loss that each attribute's splits bring; zeros for a lone leaf.

        Measured on the fitted pairs, as scikit-learn's `feature_importances_` of a log-loss tree.
        """
        from scipy.special import entr  # takes as long to import as numpy

        loss = self.share * entr(self.value / self.value.sum(axis=1, keepdims=True)).sum(axis=1)
        splits = np.flatnonzero(self.is_split)
        gain = loss[splits] - loss[self.left[splits]] - loss[self.right[splits]]
        gains = np.zeros(len(self.attributes))
        np.add.at(gains, self.feature[splits], gain)
        return gains / (gains.sum() or 1.0)

    @property
    def expected_path_length(self) -> float:
        """Number of splits that a fitted pair passes, on average."""
        return float(self.share[self.is_split].sum())

    def distance(self, other: PreferenceTree, differences: Differences) -> float:
        """Give the mean gap between two trees' probabilities of response 2 on the same pairs.

        Example:
            >>> high = PreferenceTree.single_split("h", 0.5)
            >>> low = PreferenceTree.single_split("h", -0.5)
            >>> high.distance(low, np.array([[-1.0], [0.0], [1.0], [2.0]]))
            0.25
        """
        gap = self.probability(differences) - other.probability(differences)
        return float(np.abs(gap).mean())

    def apply(self, differences: Differences) -> PairNumbers:
        """Give the number of the leaf that each pair reaches."""
        differences = _checked(differences, self.attributes)
        node = np.zeros(len(differences), dtype=int)
        rows = np.flatnonzero(self.is_split[node])
        while len(rows):
            split = node[rows]
            goes_left = differences[rows, self.feature[split]] <= self.threshold[split]
            node[rows] = np.where(goes_left, self.left[split], self.right[split])
            rows = np.flatnonzero(self.is_split[node])
        return node

    def probability(self, differences: Differences, *, averaged: bool = False) -> Pairs:
        """Give the probability of response 2.

        Args:
            averaged: over both orders, (p(d) + 1 - p(-d)) / 2: exactly 0.5 where both orders say
                the same.
        """
        as_given = self.value[self.apply(differences), 1]
        if not averaged:
            return as_given
        swapped = self.probability(-np.asarray(differences, dtype=np.float64))
        return 0.5 + (as_given - swapped) / 2

    def predict(self, differences: Differences, *, averaged: bool = False) -> PairNumbers:
        """Give the preference: 1 where the probability of response 2 is above 0.5, else 0."""
        return (self.probability(differences, averaged=averaged) > 0.5).astype(int)

    def swap_consistency(self, differences: Differences) -> float:
        """Give the share of pairs whose preference flips when the two responses are swapped.

        1.0 is ideal. A tree does not promise it: a split at 0.03 treats -0.02 and 0.02 alike.
        """
        if not len(differences):
            raise ValueError("expected at least one pair, found none")
        swapped = self.predict(-np.asarray(differences, dtype=np.float64))
        return float((self.predict(differences) != swapped).mean())

    def path(self, difference: Real[np.ndarray, " attributes"]) -> tuple[Step, ...]:
        """List the splits that one pair passes, from the root on."""
        row = _checked(difference[None], self.attributes)[0]
        return rules.steps(self, row)

    def idle_splits(self) -> Bool[np.ndarray, " nodes"]:
        """Mark the splits that decide nothing: all leaves below prefer the same response."""
        return rules.idle_splits(self)

    def effective_rule(self) -> PreferenceTree:
        """Remove every split whose two sides lead to the same preference.

        The result predicts the same everywhere, unless probabilities are averaged over orders.
        """
        return self.from_table(rules.collapsed(self))

    def rule_sentences(self) -> tuple[str, ...]:
        """Say the tree in words: one sentence for each leaf, or one for a single split."""
        return rules.rule_sentences(self)

    def conditions(self) -> tuple[str, ...]:
        """Say for each node which differences lead to it; "" at the root."""
        return rules.conditions(self)

    def to_dict(self) -> dict[str, Any]:
        """Give the tree as plain values; `from_dict` restores every bit."""
        return document.to_document(self)

    @classmethod
    def from_dict(cls, data: Any) -> PreferenceTree:
        """Read what `to_dict` gave; a ValueError says what is missing, or is not a tree."""
        return cls.from_table(document.from_document(data))

    def save(self, path: str | Path) -> Path:
        """Write the tree as JSON; a file that is there is replaced at once or not at all."""
        return write_json(path, self.to_dict())

    @classmethod
    def load(cls, path: str | Path) -> PreferenceTree:
        """Read what `save` wrote; raises ValueError for anything else."""
        try:
            return cls.from_dict(json.loads(Path(path).read_text(encoding="utf-8")))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}: {error}") from error

    @classmethod
    def from_pickle(cls, path: str | Path, *, attributes: Sequence[str]) -> PreferenceTree:
        """Read a pickled scikit-learn DecisionTreeClassifier (1.0 or later), executing nothing.

        The lower of its two classes (0 and 1, False and True, -1 and 1) is response 1.

        Args:
            attributes: names of the columns that it was fitted on, in that order.

        Raises:
            ValueError: for anything else.
        """
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
        try:
            nodes, values = read_nodes(data, len(attributes))
            return cls.from_table(from_scikit_learn(attributes, nodes, values))
        except Exception as error:  # damage shows anywhere; a caller sees one kind of error
            raise ValueError(
                f"{path}: expected the plain pickle of a scikit-learn DecisionTreeClassifier; "
                f"{type(error).__name__}: {error}"
            ) from error

    def _repr_html_(self) -> str:
        from dtreward.tree.page import tree_html  # brings matplotlib

        return tree_html(self)


def _checked(
    differences: Differences, attributes: Sequence[str]
) -> Float[np.ndarray, "pairs attributes"]:
    """Give differences as finite float64 numbers with one column an attribute."""
    columns = getattr(differences, "columns", None)
    has_names = columns is not None and columns.inferred_type == "string"
    if has_names and list(columns) != list(attributes):
        raise ValueError(
            f"the columns of differences are named {list(columns)}, the tree's attributes "
            f"{list(attributes)}; select them in the tree's order"
        )
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] != len(attributes):
        columns = values.shape[1] if values.ndim == 2 else f"the shape {values.shape}"
        raise ValueError(
            f"tree expects {len(attributes)} attributes ({', '.join(attributes)}), differences "
            f"have {columns}; select these columns"
        )
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(bad):
        raise ValueError(f"differences of pair {bad[0]} hold nan or infinity; drop such pairs")
    return values

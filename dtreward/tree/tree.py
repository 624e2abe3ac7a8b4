"""A small decision tree on differences: which of two responses does a judge prefer, and why?"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Real, Shaped
from scipy.stats import entropy

from dtreward.files import write_json
from dtreward.published import PUBLISHED
from dtreward.stats import MANY, count_rows
from dtreward.tree.pickle import MAX_BYTES, read_nodes

ATTRIBUTES = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")
TREES = PUBLISHED / "published_trees.json"
HEAD = {"format": "dtreward-preference-tree", "version": 1}
KEYS = ("attribute", "threshold", "left", "right", "value", "share")  # of a node in JSON
LEAF = dict.fromkeys(KEYS[:4])
Differences = Real[np.ndarray, "pairs attributes"]  # response 2 minus response 1, finite
Pairs = Float[np.ndarray, " pairs"]
PairNumbers = Int[np.ndarray, " pairs"]


class Step(NamedTuple):
    """One split on the way of a pair through a tree; `sentence` says it in words."""

    node: int
    attribute: str
    difference: float
    threshold: float
    goes_left: bool
    sentence: str


@dataclass(frozen=True, eq=False)
class PreferenceTree:
    """A binary tree on differences (response 2 minus response 1) that gives a preference.

    A difference <= threshold goes left, in float64. scikit-learn compares in float32: its trees
    decide here as there for every difference that float32 holds and for all they were fitted on.
    Differences with other columns than the tree's attributes, nan or infinity are a ValueError.

    >>> tree = PreferenceTree.published("Decision-Tree-Reward-Gemma-2-27B")
    >>> tree.path(np.array([-3.978, -4.03, -2.1, -0.9, -1.2]))[0].sentence
    'helpfulness: difference -3.98 <= 0.03, so response 1 is more likely (85.0 %)'
    >>> tree.effective_rule().rule_sentences()
    ('response 2 iff helpfulness difference > 0.03',)
    >>> simple = PreferenceTree.single_split("helpfulness", 0.5)
    >>> simple.predict(np.array([[0.5], [0.7]])), simple.probability(np.array([[0.2]]), averaged=True)
    (array([0, 1]), array([0.5]))
    """

    attributes: tuple[str, ...]  # names of the columns of differences
    feature: Int[np.ndarray, " nodes"]  # number of the attribute, -1 at a leaf
    threshold: Float[np.ndarray, " nodes"]  # nan at a leaf
    left: Int[np.ndarray, " nodes"]  # number of the child, -1 at a leaf; nodes are in preorder
    right: Int[np.ndarray, " nodes"]
    value: Float[np.ndarray, "nodes 2"]  # fractions that prefer response 1 and response 2
    share: Float[np.ndarray, " nodes"]  # of the fitted pairs that reach the node; the root's is 1

    def __post_init__(self) -> None:
        names, feature, leaf = self.attributes, self.feature, self.feature == -1
        bare = (self.left == -1) & (self.right == -1) & np.isnan(self.threshold)
        sums, share = self.value.sum(axis=1, keepdims=True), self.share
        laws = {
            "attributes are distinct, non-empty names": 0 < len(set(names) - {""}) == len(names),
            "nodes are in preorder": _preorder(self.left, self.right) == list(range(len(leaf))),
            "features are attribute numbers, or -1": (feature >= -1) & (feature < len(names)),
            "leaves alone have no feature, threshold and children": leaf == bare,
            "thresholds are finite": leaf | np.isfinite(self.threshold),
            "values are fractions that sum to 1": (self.value >= 0) & (np.abs(sums - 1) <= 1e-9),
            "shares are fractions, the root's 1": (share >= 0) & (share <= 1) & (share[0] == 1),
        }
        if broken := [law for law, holds in laws.items() if not np.all(holds)]:
            raise ValueError(f"not a preference tree; expected that {broken[0]}")

    @classmethod
    def fit(
        cls,
        differences: Differences,
        preference: Shaped[np.ndarray, " pairs"],
        *,
        attributes: Sequence[str],
        max_depth: int | None = 3,
        max_leaves: int | None = None,  # grown best-first; None: all splits down to max_depth
        min_leaf: int = 1,  # fewest pairs in a leaf
        criterion: Literal["log_loss", "gini"] = "log_loss",
        pruning: float = 0.0,  # cost-complexity pruning, scikit-learn's ccp_alpha
        orders: str = "as_given",  # or "both": each pair once more, swapped
        seed: int = 0,
    ) -> PreferenceTree:
        """Fit a tree to preferences, 0 (response 1) or 1 (response 2), with scikit-learn.

        >>> differences, preference = np.array([[-1.0], [0.0], [1.0]]), np.array([0, 0, 1])
        >>> PreferenceTree.fit(differences, preference, attributes=["h"]).rule_sentences()
        ('response 2 iff h difference > 0.5',)
        """
        from sklearn.tree import DecisionTreeClassifier

        differences, preference = _matrix(differences, attributes), np.asarray(preference)
        found = set(preference.tolist())
        if preference.shape != differences.shape[:1] or found != {0, 1}:
            wanted = f"one preference for each of {len(differences)} pairs, 0 and 1 among them"
            came = f"{preference.shape} with {sorted(found, key=str)[:5]}"
            raise ValueError(f"expected {wanted}; found {came}; drop ties first")
        if orders not in ("as_given", "both"):
            raise ValueError(f'orders must be "as_given" or "both", came {orders!r}')
        model = DecisionTreeClassifier(criterion=criterion, max_depth=max_depth, random_state=seed)
        model.set_params(max_leaf_nodes=max_leaves, min_samples_leaf=min_leaf, ccp_alpha=pruning)
        rows, counts = np.column_stack([differences, preference.astype(int)]), None
        if orders == "both":
            rows = np.concatenate([rows, np.column_stack([-differences, 1 - rows[:, -1]])])
        if 2 * min_leaf < len(rows) > MANY:  # few differ: the same tree, in a tenth of the time
            rows, counts = count_rows(rows)
            least = (min_leaf - 0.25) / counts.sum()  # a quarter less, or rounding would decide
            model.set_params(min_samples_leaf=1, min_weight_fraction_leaf=least)
        fitted = model.fit(rows[:, :-1], rows[:, -1], counts).tree_.__getstate__()
        return cls._from_nodes(attributes, fitted["nodes"], fitted["values"])

    @classmethod
    def single_split(
        cls, attribute: str, threshold: float, *, attributes: Sequence[str] | None = None
    ) -> PreferenceTree:
        """Prefer response 2 iff one difference is above a threshold; the shares are made up."""
        root = dict(zip(KEYS, (attribute, float(threshold), 1, 2, [0.5, 0.5], 1.0), strict=True))
        leaves = [LEAF | {"value": value, "share": 0.5} for value in ([1.0, 0.0], [0.0, 1.0])]
        names = list(attributes or [attribute])
        return cls.from_dict(HEAD | {"attributes": names, "nodes": [root, *leaves]})

    @classmethod
    def published(cls, name: str) -> PreferenceTree:
        """Read one of the five published trees, with the rounded numbers of its picture."""
        if not TREES.is_file():
            hint = "install the package from a checkout with `pip install -e .`"
            raise FileNotFoundError(f"expected the published trees in {TREES}; {hint}")
        trees = json.loads(TREES.read_text(encoding="utf-8"))
        trees.pop("source", None)
        if name not in trees:
            raise ValueError(f"expected one of {', '.join(trees)}; found {name!r}")
        rows, nodes = [], [trees[name]]
        for node in nodes:  # a split puts its two sides behind all others
            split, end = (-1, math.nan, -1, -1), len(nodes)
            if "left" in node:
                nodes += [node["left"], node["right"]]
                split = ATTRIBUTES.index(node["attribute"]), node["threshold"], end, end + 1
            rows.append((*split, node["value"], node["share_pct"] / 100))
        return cls._in_preorder(ATTRIBUTES, *map(np.array, zip(*rows, strict=True)))

    @property
    def depth(self) -> int:
        """Number of splits on the longest way from the root to a leaf."""
        level = np.zeros(len(self.feature), dtype=int)
        for node in np.flatnonzero(self.feature >= 0):
            level[[self.left[node], self.right[node]]] = level[node] + 1
        return int(level.max())

    @property
    def n_leaves(self) -> int:
        """Number of leaves."""
        return int((self.feature < 0).sum())

    @property
    def importances(self) -> Float[np.ndarray, " attributes"]:
        """Share of the fall in log loss that each attribute's splits bring; zeros for a lone leaf.

        On the fitted pairs, as scikit-learn's `feature_importances_` of a log-loss tree.
        """
        loss, gains = self.share * entropy(self.value, axis=1), np.zeros(len(self.attributes))
        splits = np.flatnonzero(self.feature >= 0)
        gain = loss[splits] - loss[self.left[splits]] - loss[self.right[splits]]
        np.add.at(gains, self.feature[splits], gain)
        return gains / (gains.sum() or 1.0)

    @property
    def expected_path_length(self) -> float:
        """Number of splits that a fitted pair passes, on average."""
        return float(self.share[self.feature >= 0].sum())

    def distance(self, other: PreferenceTree, differences: Differences) -> float:
        """Give the mean gap between two trees' probabilities of response 2 on the same pairs.

        >>> high, low = (PreferenceTree.single_split("h", limit) for limit in (0.5, -0.5))
        >>> high.distance(low, np.array([[-1.0], [0.0], [1.0], [2.0]]))
        0.25
        """
        return float(np.abs(self.probability(differences) - other.probability(differences)).mean())

    def apply(self, differences: Differences) -> PairNumbers:
        """Give the number of the leaf that each pair reaches."""
        differences = _matrix(differences, self.attributes)
        node = np.zeros(len(differences), dtype=int)
        while len(rows := np.flatnonzero(self.feature[node] >= 0)):
            at = node[rows]
            goes_left = differences[rows, self.feature[at]] <= self.threshold[at]
            node[rows] = np.where(goes_left, self.left[at], self.right[at])
        return node

    def probability(self, differences: Differences, *, averaged: bool = False) -> Pairs:
        """Give the probability of response 2; averaged: over both orders, (p(d) + 1 - p(-d)) / 2."""
        given = self.value[self.apply(differences), 1]
        if not averaged:
            return given
        swapped = self.probability(-np.asarray(differences, dtype=np.float64))
        return 0.5 + (given - swapped) / 2  # exactly 0.5 where both orders say the same

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
        row, steps, node = _matrix(difference[None], self.attributes)[0].tolist(), [], 0
        while (column := self.feature[node]) >= 0:
            name, value, limit = self.attributes[column], row[column], self.threshold[node].item()
            goes_left, shown, bound = value <= limit, f"{value:.3g}", f"{limit:.4g}"
            if (float(shown) <= float(bound)) != goes_left:
                shown, bound = repr(value), repr(limit)  # rounding hides what tells them apart
            child = int((self.left if goes_left else self.right)[node])
            likely = "as likely" if self.value[child, 1] == 0.5 else "more likely"
            words = f"{name}: difference {shown} {'<=' if goes_left else '>'} {bound}"
            words += f", so {self._verdict(child, f' is {likely}')}"
            steps.append(Step(node, name, value, limit, goes_left, words))
            node = child
        return tuple(steps)

    def idle_splits(self) -> Bool[np.ndarray, " nodes"]:
        """Mark the splits that decide nothing: all leaves below prefer the same response."""
        decided = (self.value[:, 1] > 0.5).astype(int)
        for node in np.flatnonzero(self.feature >= 0)[::-1]:
            one, other = decided[[self.left[node], self.right[node]]]
            decided[node] = one if one == other else -1
        return (self.feature >= 0) & (decided >= 0)

    def effective_rule(self) -> PreferenceTree:
        """Collapse, again and again, each split whose two sides are leaves that decide alike.

        The rule predicts the same everywhere (not averaged). A collapsed split keeps its
        fractions, the mean of its leaves' weighted by share, but for what printing rounded.
        """
        idle, value = self.idle_splits(), self.value.copy()
        for node in np.flatnonzero(idle)[::-1]:  # rounding must not take it past 0.5
            sides = value[[self.left[node], self.right[node]]]
            value[node] = value[node].clip(sides.min(axis=0), sides.max(axis=0))
        left, right = (np.where(idle, -1, side) for side in (self.left, self.right))
        columns = self.feature, self.threshold, left, right, value, self.share
        return self._in_preorder(self.attributes, *columns)

    def rule_sentences(self) -> tuple[str, ...]:
        """Say the tree in words: one sentence a leaf, or one in all for a split that decides."""
        decides, column, limit = self.value[:, 1] > 0.5, self.feature[0], self.threshold[0]
        if len(decides) == 3 and decides[1] != decides[2]:
            sign = ">" if decides[2] else "<="
            return (f"response 2 iff {self.attributes[column]} difference {sign} {limit:.4g}",)
        words, leaves = self.conditions(), np.flatnonzero(self.feature < 0).tolist()
        so = [f"if {each}" if each else "always" for each in words]
        return tuple(f"{self._verdict(leaf)} {so[leaf]}" for leaf in leaves)

    def conditions(self) -> tuple[str, ...]:
        """Say for each node which differences lead to it, "" at the root."""
        rules: list[dict[str, float]] = [{} for _ in self.feature]
        for node in np.flatnonzero(self.feature >= 0):
            rule, limit = rules[node], self.threshold[node]
            for child, sign, tighter in ((self.left, "<=", min), (self.right, ">", max)):
                asked = f"{self.attributes[self.feature[node]]} difference {sign}"
                rules[child[node]] = rule | {asked: tighter(limit, rule.get(asked, limit))}
        return tuple(" and ".join(f"{key} {rule[key]:.4g}" for key in rule) for rule in rules)

    def to_dict(self) -> dict[str, Any]:
        """Give the tree as plain values; `from_dict` restores every bit."""
        columns = (self.feature, self.threshold, self.left, self.right, self.value, self.share)
        nodes = []
        for feature, *rest in zip(*(column.tolist() for column in columns), strict=True):
            node = dict(zip(KEYS, [self.attributes[feature], *rest], strict=True))
            nodes.append(node | LEAF if feature < 0 else node)
        return HEAD | {"attributes": list(self.attributes), "nodes": nodes}

    @classmethod
    def from_dict(cls, data: Any) -> PreferenceTree:
        """Read what `to_dict` gave; a ValueError says what is missing, or is not a tree."""
        if not isinstance(data, dict) or not HEAD.items() <= data.items():
            raise ValueError(f"expected a JSON object with {HEAD}; was it written by save()?")
        names, nodes = data.get("attributes"), data.get("nodes")
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError(f"expected a list of names as attributes, found {names!r:.200}")
        if not isinstance(nodes, list) or not nodes:
            raise ValueError(f"expected a list of nodes, found {nodes!r:.200}")
        rows = [_row(number, node, names, len(nodes)) for number, node in enumerate(nodes)]
        return cls(tuple(names), *map(np.array, zip(*rows, strict=True)))

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

        `attributes` name the columns that it was fitted on, in that order. The lower of its two
        classes (0 and 1, False and True, -1 and 1) is response 1. Anything else is a ValueError.
        """
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
        try:
            return cls._from_nodes(attributes, *read_nodes(data, len(attributes)))
        except Exception as error:  # damage may show anywhere; a caller sees one kind of error
            wanted = "expected the plain pickle of a scikit-learn DecisionTreeClassifier"
            raise ValueError(f"{path}: {wanted}; {type(error).__name__}: {error}") from error

    @classmethod
    def _from_nodes(cls, names, nodes: np.ndarray, values: np.ndarray) -> PreferenceTree:
        limit, value, weight = nodes["threshold"], values[:, 0], nodes["weighted_n_node_samples"]
        with np.errstate(all="ignore"):  # what comes of a zero or an overflow breaks a law later
            # a difference equal to a threshold that float32 rounds up went right in scikit-learn
            limit = np.where(limit.astype(np.float32) > limit, np.nextafter(limit, -np.inf), limit)
            total = value.sum(axis=1, keepdims=True)  # 1, or a count before scikit-learn 1.3
            value = np.where(np.abs(total - 1) <= 1e-9, value, value / total)
            share = weight / weight[0]
        feature, *sides = (nodes[key] for key in ("feature", "left_child", "right_child"))
        return cls._in_preorder(names, feature, limit, *sides, value, share)

    @classmethod
    def _in_preorder(cls, names, feature, threshold, left, right, value, share) -> PreferenceTree:
        order = _preorder(left, right)
        place = {-1: -1} | {node: number for number, node in enumerate(order)}
        left, right = (np.array([place[n] for n in side[order].tolist()]) for side in (left, right))
        feature = np.where(left < 0, -1, feature[order].astype(np.int64))  # not long long
        threshold = np.where(left < 0, np.nan, threshold[order])
        return cls(tuple(names), feature, threshold, left, right, value[order], share[order])

    def _verdict(self, node: int, words: str = "") -> str:
        response = 2 if self.value[node, 1] > 0.5 else 1
        return f"response {response}{words} ({100 * self.value[node, response - 1]:.1f} %)"

    def _repr_html_(self) -> str:
        return import_module("dtreward.tree.page").tree_html(self)  # which imports this module


def _matrix(differences: np.ndarray, attributes: Sequence[str]) -> Float[np.ndarray, "pairs k"]:
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] != len(attributes):
        came = values.shape[1] if values.ndim == 2 else f"the shape {values.shape}"
        wanted = f"{len(attributes)} attributes ({', '.join(attributes)})"
        raise ValueError(f"tree expects {wanted}, differences have {came}; select these columns")
    if len(bad := np.flatnonzero(~np.isfinite(values).all(axis=1))):
        raise ValueError(f"differences of pair {bad[0]} hold nan or infinity; drop such pairs")
    return values


def _preorder(left: np.ndarray, right: np.ndarray) -> list[int]:
    order, waiting, sides = [], [0], list(zip(left.tolist(), right.tolist(), strict=True))
    while waiting:
        order.append(node := waiting.pop())
        if not 0 <= node < len(sides) or len(order) > len(sides):
            raise ValueError("not a preference tree; expected that children are nodes, each once")
        if sides[node] != (-1, -1):
            waiting += sides[node][::-1]
    return order


def _row(number: int, node: Any, names: list[str], count: int) -> tuple:
    match [node[key] for key in KEYS] if isinstance(node, dict) and set(node) == set(KEYS) else []:
        case [None, None, None, None, [_, _] as value, share] if _numbers(*value, share):
            return -1, math.nan, -1, -1, [*map(float, value)], float(share)
        case [name, limit, int(left), int(right), [_, _] as value, share]:
            sides = 0 < left < count and 0 < right < count
            if name in names and sides and _numbers(limit, left, right, *value, share):
                split = names.index(name), float(limit), left, right
                return *split, [*map(float, value)], float(share)
    wanted = f"{', '.join(KEYS)}: the first four are null at a leaf, else one of {names}, a number"
    raise ValueError(f"node {number} is not {wanted} and two node numbers; found {node!r:.200}")


def _numbers(*values: Any) -> bool:  # neither true, nan nor infinity
    return all(type(value) in (int, float) and abs(value) <= 1e300 for value in values)

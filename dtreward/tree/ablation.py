"""Trees of many sizes and settings: how large should a tree be, and do its other settings matter?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, Real, Shaped

from dtreward.pairs.split import plan_evaluations
from dtreward.stats import FEWEST_PROMPTS, accuracy_interval, log_loss_terms, mean_intervals
from dtreward.tree.tree import Differences, PreferenceTree

SMALLEST_SHARE = 1e-12  # added to shares, so that the mean of sides without a pair is defined
NORMAL = 3.92  # standard errors in a 95 % interval, from end to end


@dataclass(frozen=True, eq=False)
class Sample:
    """Pairs that trees are grown or measured on.

    Attributes:
        attributes: names of the columns of differences.
        differences: response 2 minus response 1, shape (pairs, attributes).
        preference: 0 (response 1) or 1 (response 2) of each pair.
        prompts: the prompt of each pair; intervals resample prompts.
        longer: words that response 2 has more than response 1, where a model asks for them.
    """

    attributes: tuple[str, ...]
    differences: Differences
    preference: Shaped[np.ndarray, " pairs"]
    prompts: Shaped[np.ndarray, " pairs"]
    longer: Real[np.ndarray, " pairs"] | None = None

    def __len__(self) -> int:
        return len(self.preference)

    def known_lengths(self) -> Real[np.ndarray, " pairs"]:
        """Give `longer`, for a model that asks for lengths.

        Raises:
            ValueError: if the sample has none.
        """
        if self.longer is None:
            raise ValueError("this model compares lengths: give the sample `longer`")
        return self.longer

    def take(self, rows: Int[np.ndarray, " rows"]) -> Sample:
        """Give the pairs of some rows; a row may be taken more than once."""
        return replace(
            self,
            differences=self.differences[rows],
            preference=self.preference[rows],
            prompts=self.prompts[rows],
            longer=None if self.longer is None else self.longer[rows],
        )


@dataclass(frozen=True, eq=False)
class Softened:
    """A tree none of whose leaves is certain (`soften`), and how it came to be.

    Attributes:
        tree: the softened tree.
        as_grown: the tree before; it decides alike.
        added: pairs that were added to each side of a leaf.
        losses: mean log loss (nats) of each candidate on the pairs on which the choice was made.
    """

    tree: PreferenceTree
    as_grown: PreferenceTree
    added: float
    losses: dict[float, float]


@dataclass(frozen=True)
class Size:
    """How large a tree may grow, by one of three dials.

    Attributes:
        dial: "depth", "leaves" or "pruning".
        size: where the dial stands: a depth, a number of leaves or a penalty a leaf.
        max_depth: most splits from the root to a leaf; None means any number.
        max_leaves: most leaves, grown best-first; None means any number.
        pruning: cost-complexity penalty a leaf.
    """

    dial: str
    size: int | float
    max_depth: int | None = None
    max_leaves: int | None = None
    pruning: float = 0.0

    @classmethod
    def depth(cls, depth: int) -> Size:
        """Give the size of trees of at most this depth."""
        return cls("depth", depth, max_depth=depth)


@dataclass(frozen=True)
class Settings:
    """What else may be chosen otherwise when a tree is grown.

    Attributes:
        criterion: what a split lowers, "log_loss" or "gini".
        orders: "as_given", or "both": each pair is learned from in both orders.
        min_leaf: fewest rows in a leaf.
    """

    criterion: Literal["log_loss", "gini"] = "log_loss"
    orders: str = "as_given"
    min_leaf: int = 1


def list_sizes(
    depths: Sequence[int], leaves: Sequence[int] = (), prunings: Sequence[float] = ()
) -> list[Size]:
    """List the sizes on three dials; the deepest tree of `depths` is the one that is pruned.

    Example:
        >>> [(size.dial, size.size) for size in list_sizes([1, 2], [4], [0.01])]
        [('depth', 1), ('depth', 2), ('leaves', 4), ('pruning', 0.01)]
    """
    deepest = max(depths)
    sizes = [Size.depth(depth) for depth in depths]
    sizes += [Size("leaves", most, max_leaves=most) for most in leaves]
    sizes += [Size("pruning", each, max_depth=deepest, pruning=each) for each in prunings]
    return sizes


def list_settings(
    criteria: Sequence[Literal["log_loss", "gini"]],
    orders: Sequence[str],
    leaf_sizes: Sequence[int],
) -> list[Settings]:
    """List every combination of settings.

    Example:
        >>> len(list_settings(["log_loss", "gini"], ["as_given", "both"], [1, 10, 100]))
        12
    """
    return [Settings(*choice) for choice in product(criteria, orders, leaf_sizes)]


def grow_trees(
    sample: Sample, sizes: Sequence[Size], settings: Settings, *, seed: int = 0
) -> list[PreferenceTree]:
    """Grow a tree of each size on the same pairs.

    Args:
        seed: decides between splits that are equally good.

    Example:
        >>> differences = np.array([[-2.0], [-1.0], [1.0], [2.0]])
        >>> sample = Sample(("h",), differences, np.array([0, 1, 0, 1]), np.arange(4))
        >>> trees = grow_trees(sample, list_sizes([1, 2, 3]), Settings())
        >>> [tree.n_leaves for tree in trees]
        [2, 3, 4]
    """
    return [
        PreferenceTree.fit(
            sample.differences,
            sample.preference,
            attributes=sample.attributes,
            max_depth=size.max_depth,
            max_leaves=size.max_leaves,
            pruning=size.pruning,
            seed=seed,
            **asdict(settings),
        )
        for size in sizes
    ]


def soften(
    tree: PreferenceTree, pairs: int, *, added: float, orders: str = "as_given"
) -> PreferenceTree:
    """Give the same tree with some pairs added to each side of every leaf, so that none is certain.

    A leaf in which all pairs agree costs an infinite log loss as soon as one pair contradicts it.
    One pair added to each side is Laplace's rule of succession. Decisions stay as they are. The
    fractions of a split are the mean of its leaves', as before.

    Args:
        pairs: how many pairs the tree was grown on.
        added: pairs added to each side; 0 changes nothing.
        orders: "both" if each pair was learned from in both orders; each added pair is then too.

    Example:
        >>> tree = PreferenceTree.single_split("h", 0.0)  # a half of the pairs in each leaf
        >>> soften(tree, 4, added=1.0).value[1:].tolist()
        [[0.75, 0.25], [0.25, 0.75]]
    """
    copies = 2 if orders == "both" else 1
    rows = tree.share[:, None] * (copies * pairs)
    more = added * copies
    value = (rows * tree.value + more) / (rows + 2 * more)
    for node in tree.splits[::-1]:
        sides = tree.children(node)
        weight = tree.share[sides] + SMALLEST_SHARE
        value[node] = np.average(value[sides], axis=0, weights=weight)
    return replace(tree, value=value)


def soften_by_choice(
    train: Sample,
    validation: Sample,
    grow: Callable[[Sample], PreferenceTree],
    candidates: Sequence[float],
    *,
    orders: str = "as_given",
    folds: int = 5,
    seed: int = 0,
) -> Softened:
    """Grow a tree, and soften it by the amount that gives other pairs the lowest log loss.

    The other pairs are those of `validation`. Where these have fewer than 20 prompts, the amount is
    chosen by cross-validation in `train`. Of equally good amounts the first one is taken; and the
    last one if there is nothing to choose on, because train has a single prompt.

    Args:
        grow: grows a tree on pairs.
        candidates: amounts for `soften`.
        orders: in which `grow` learns, as `soften` wants it.
        folds: parts of a cross-validation.
        seed: decides which prompts are in one part.

    Example:
        >>> differences = np.array([[-1.0], [1.0]] * 30)
        >>> pairs = Sample(("h",), differences, np.array([0, 1] * 30), np.arange(60))
        >>> found = soften_by_choice(
        ...     pairs.take(np.arange(30)),
        ...     pairs.take(np.arange(30, 60)),
        ...     lambda sample: grow_trees(sample, [Size.depth(1)], Settings())[0],
        ...     [0.5, 2.0],
        ... )
        >>> found.added, found.tree.value[1:].round(2).tolist()
        (0.5, [[0.97, 0.03], [0.03, 0.97]])
    """
    parts = [(train, validation)]
    if len(set(validation.prompts.tolist())) < FEWEST_PROMPTS:
        parts = _cut_into_parts(train, folds, seed)
    losses = []
    for grown_on, measured_on in parts:
        tree = grow(grown_on)
        pairs = len(grown_on)
        softer = [soften(tree, pairs, added=added, orders=orders) for added in candidates]
        losses.append(pair_losses(softer, measured_on))
    mean = np.concatenate(losses).mean(axis=0) if losses else -np.arange(len(candidates))
    added = float(candidates[int(mean.argmin())])
    as_grown = grow(train)
    return Softened(
        tree=soften(as_grown, len(train), added=added, orders=orders),
        as_grown=as_grown,
        added=added,
        losses=dict(zip(map(float, candidates), mean.tolist(), strict=True)) if losses else {},
    )


def _cut_into_parts(sample: Sample, folds: int, seed: int) -> list[tuple[Sample, Sample]]:
    """Give the pairs to grow on and those to measure on; parts that cannot be grown on are left out."""
    split = pd.Series("train", index=range(len(sample)))
    parts = []
    for part in plan_evaluations(split, pd.Series(sample.prompts), folds=folds, seed=seed):
        grown_on = sample.take(part.train)
        if len(part.test) and len(set(grown_on.preference.tolist())) > 1:
            parts.append((grown_on, sample.take(part.test)))
    return parts


def describe_trees(trees: Sequence[PreferenceTree], differences: Differences) -> pd.DataFrame:
    """Describe the structure of trees, a row a tree.

    The columns are: n_leaves; splits; splits_needed, of the effective rule, which decides the same
    everywhere; deepest, the splits above the deepest leaf; path_length, the splits that a training
    pair passes on average; root, the first attribute asked for ("" for a lone leaf);
    swap_consistency on `differences`.

    Example:
        >>> tree = PreferenceTree.single_split("h", 0.0)
        >>> table = describe_trees([tree], np.array([[1.0], [-1.0]]))
        >>> table[["n_leaves", "splits_needed", "root"]].to_dict("records")
        [{'n_leaves': 2, 'splits_needed': 1, 'root': 'h'}]
    """
    return pd.DataFrame([_describe(tree, differences) for tree in trees])


def _describe(tree: PreferenceTree, differences: Differences) -> dict[str, Any]:
    return {
        "n_leaves": tree.n_leaves,
        "splits": tree.n_leaves - 1,
        "splits_needed": tree.effective_rule().n_leaves - 1,
        "deepest": tree.depth,
        "path_length": tree.expected_path_length,
        "root": tree.attributes[tree.feature[0]] if tree.depth else "",
        "swap_consistency": tree.swap_consistency(differences),
    }


def is_right(model: Any, sample: Sample) -> Float[np.ndarray, " pairs"]:
    """Mark the pairs whose preference a model predicts: 1.0 where it is right, 0.0 where not.

    Args:
        model: a tree, or anything else whose `predict` gives the preference of differences.

    Example:
        >>> sample = Sample(("h",), np.array([[-1.0], [1.0]]), np.array([0, 0]), np.arange(2))
        >>> is_right(PreferenceTree.single_split("h", 0.0), sample)
        array([1., 0.])
    """
    predicted = np.ravel(model.predict(sample.differences))
    return (predicted == sample.preference).astype(float)


def pair_losses(
    trees: Sequence[PreferenceTree], sample: Sample
) -> Float[np.ndarray, "pairs trees"]:
    """Give the log loss (nats) of each tree on each pair.

    Example:
        >>> sample = Sample(("h",), np.array([[-1.0], [1.0]]), np.array([0, 0]), np.arange(2))
        >>> tree = soften(PreferenceTree.single_split("h", 0.0), 4, added=1.0)
        >>> pair_losses([tree], sample).round(3).tolist()
        [[0.288], [1.386]]
    """
    terms = [
        log_loss_terms(tree.probability(sample.differences), sample.preference) for tree in trees
    ]
    return np.stack(terms, axis=1)


def constant_floors(train: float, validation: float) -> dict[str, float]:
    """Give accuracy and log loss (nats) on validation pairs of the best constant answer.

    Args:
        train: share of the training pairs that prefer response 2.
        validation: the same of the validation pairs.

    Example:
        >>> constant_floors(0.5, 0.5)["accuracy"]
        0.5
    """
    right = validation if train > 0.5 else 1 - validation
    loss = -validation * np.log(train) - (1 - validation) * np.log(1 - train)
    return {"accuracy": max(0.5, right), "log_loss": loss}


def measure_trees(
    trees: Sequence[PreferenceTree], sample: Sample, *, resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Measure accuracy and log loss (nats) of trees on some pairs, a row a tree.

    The ends of a 95 % interval over prompts are in the columns ending in `_low` and `_high`.

    Example:
        >>> differences = np.array([[-1.0], [1.0], [1.0], [-1.0]])
        >>> sample = Sample(("h",), differences, np.array([0, 1, 1, 1]), np.arange(4))
        >>> tree = soften(PreferenceTree.single_split("h", 0.0), 4, added=1.0)
        >>> table = measure_trees([tree], sample)
        >>> table[["accuracy", "log_loss"]].round(3).iloc[0].tolist()
        [0.75, 0.562]
    """
    probabilities = [tree.probability(sample.differences) for tree in trees]
    right = [(p > 0.5) == sample.preference for p in probabilities]
    loss = [log_loss_terms(p, sample.preference) for p in probabilities]
    columns = np.stack(right + loss, axis=1).astype(float)
    intervals = mean_intervals(columns, sample.prompts, resamples=resamples, seed=seed)
    for number, hits in enumerate(right):
        if len(set(hits.tolist())) == 1:  # resampling rows that are all alike gives no width
            intervals[number] = accuracy_interval(hits, sample.prompts)
    table = {}
    measured = {"accuracy": intervals[: len(trees)], "log_loss": intervals[len(trees) :]}
    for name, found in measured.items():
        table[name] = [interval.estimate for interval in found]
        table[f"{name}_low"] = [interval.low for interval in found]
        table[f"{name}_high"] = [interval.high for interval in found]
    return pd.DataFrame(table)


def measure_sizes(
    train: Sample,
    validation: Sample,
    sizes: Sequence[Size],
    settings: Settings,
    *,
    added: float = 1.0,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[list[PreferenceTree], pd.DataFrame]:
    """Grow trees of all sizes at one choice of settings, and describe and measure each.

    Measures are of the softened trees (`soften`). The trees that are returned are not softened.

    Args:
        added: pairs added to each side of a leaf before its log loss is taken.

    Returns:
        The trees in the order of sizes, and a row a tree: dial, size, `describe_trees`, and
        `measure_trees` with the prefixes "train_" and "validation_".
    """
    trees = grow_trees(train, sizes, settings, seed=seed)
    softer = [soften(tree, len(train), added=added, orders=settings.orders) for tree in trees]
    on_train = measure_trees(softer, train, resamples=resamples, seed=seed)
    on_validation = measure_trees(softer, validation, resamples=resamples, seed=seed)
    labels = pd.DataFrame([(size.dial, size.size) for size in sizes], columns=["dial", "size"])
    tables = [
        labels,
        describe_trees(trees, validation.differences),
        on_train.add_prefix("train_"),
        on_validation.add_prefix("validation_"),
    ]
    return trees, pd.concat(tables, axis=1)


def standard_error(table: pd.DataFrame) -> pd.Series:
    """Give the standard error of the validation log loss, from the width of its 95 % interval.

    Example:
        >>> row = {"validation_log_loss_low": [0.402], "validation_log_loss_high": [0.598]}
        >>> standard_error(pd.DataFrame(row)).round(3).tolist()
        [0.05]
    """
    return (table["validation_log_loss_high"] - table["validation_log_loss_low"]) / NORMAL


def join_tables(
    tables: Mapping[tuple[str, Settings], pd.DataFrame], studied: Settings
) -> pd.DataFrame:
    """Put the tables of all inputs and settings one below the other.

    Args:
        tables: a table of `measure_sizes` for each input and settings.
        studied: the study's own settings.

    Returns:
        The columns input, criterion, orders and min_leaf; then those of the tables; then own,
        whether the settings are the study's, and standard_error, of the validation log loss.

    Example:
        >>> row = {"validation_log_loss_low": [0.4], "validation_log_loss_high": [0.6]}
        >>> gini = Settings("gini")
        >>> tables = {("ratings", one): pd.DataFrame(row) for one in (Settings(), gini)}
        >>> join_tables(tables, gini)[["input", "criterion", "own"]]
             input criterion    own
        0  ratings  log_loss  False
        1  ratings      gini   True
    """
    parts = []
    for (name, settings), table in tables.items():
        part = table.assign(own=settings == studied)
        labels = {"input": name, **asdict(settings)}
        for place, (column, value) in enumerate(labels.items()):
            part.insert(place, column, value)
        parts.append(part)
    grid = pd.concat(parts, ignore_index=True)
    grid["standard_error"] = standard_error(grid)
    return grid


def choose_size(table: pd.DataFrame) -> pd.Series:
    """Choose a row by the one-standard-error rule.

    Of the trees whose validation log loss is within one standard error of the lowest, it takes
    the one with the fewest leaves; of equally many leaves, the one of the lowest loss.

    Args:
        table: a row a tree, with n_leaves, validation_log_loss and its standard_error.

    Source: Breiman et al. (1984), Classification and Regression Trees, section 3.4.3.

    Example:
        >>> table = pd.DataFrame(
        ...     {
        ...         "n_leaves": [2, 4, 8],
        ...         "validation_log_loss": [0.60, 0.52, 0.50],
        ...         "standard_error": [0.03, 0.03, 0.03],
        ...     }
        ... )
        >>> int(choose_size(table)["n_leaves"])
        4
    """
    rows = table.sort_values(["n_leaves", "validation_log_loss"])
    lowest = rows.loc[rows["validation_log_loss"].idxmin()]
    most = lowest["validation_log_loss"] + lowest["standard_error"]
    return rows[rows["validation_log_loss"] <= most].iloc[0]


def choose_depth(
    train: Sample,
    validation: Sample,
    depths: Sequence[int],
    settings: Settings,
    *,
    added: float = 1.0,
    resamples: int = 2000,
    seed: int = 0,
) -> int:
    """Give the depth that the one-standard-error rule chooses; see `choose_size`."""
    trees = grow_trees(train, list_sizes(depths), settings, seed=seed)
    softer = [soften(tree, len(train), added=added, orders=settings.orders) for tree in trees]
    table = measure_trees(softer, validation, resamples=resamples, seed=seed)
    table = table.add_prefix("validation_")
    table["size"] = list(depths)
    table["n_leaves"] = [tree.n_leaves for tree in trees]
    table["standard_error"] = standard_error(table)
    return int(choose_size(table)["size"])


def choose_depth_by_folds(
    sample: Sample,
    depths: Sequence[int],
    settings: Settings,
    *,
    folds: int = 5,
    added: float = 1.0,
    resamples: int = 2000,
    seed: int = 0,
) -> int:
    """Give the depth that the rule chooses where the losses come from cross-validation by prompt.

    The log loss of each pair is that of trees grown on the other parts. The number of leaves is
    that of trees grown on all pairs.

    Args:
        sample: pairs of at least two prompts.
        folds: parts, as `dtreward.pairs.split.plan_evaluations` makes them; at least 2.

    Example:
        >>> differences = np.tile([[-1.0], [1.0]], (10, 1))
        >>> sample = Sample(("h",), differences, np.tile([0, 1], 10), np.arange(20))
        >>> choose_depth_by_folds(sample, [1, 2], Settings())
        1
    """
    sizes = list_sizes(depths)
    split = pd.Series("train", range(len(sample)))
    losses = np.zeros((len(sample), len(depths)))
    for part in plan_evaluations(split, pd.Series(sample.prompts), folds=folds, seed=seed):
        trees = grow_trees(sample.take(part.train), sizes, settings, seed=seed)
        pairs = len(part.train)
        softer = [soften(tree, pairs, added=added, orders=settings.orders) for tree in trees]
        losses[part.test] = pair_losses(softer, sample.take(part.test))
    intervals = mean_intervals(losses, sample.prompts, resamples=resamples, seed=seed)
    table = pd.DataFrame([interval.as_dict() for interval in intervals])
    table = table.rename(columns={"estimate": "validation_log_loss"})
    table["standard_error"] = (table["high"] - table["low"]) / NORMAL
    table["n_leaves"] = [tree.n_leaves for tree in grow_trees(sample, sizes, settings, seed=seed)]
    table["size"] = list(depths)
    return int(choose_size(table)["size"])


def measure_choice(
    train: Sample,
    test: Sample,
    depth: int,
    settings: Settings,
    *,
    added: float = 1.0,
    seed: int = 0,
) -> pd.DataFrame:
    """Grow a tree of the chosen depth, and measure it on each test pair.

    Returns:
        A row a pair of `test`: prompt; right (1.0 or 0.0); log_loss (nats) of the softened tree;
        constant, whether the constant answer that is best on `train` is right (1.0 or 0.0).

    Example:
        >>> train = Sample(("h",), np.array([[-1.0], [1.0], [2.0]]), np.array([0, 1, 1]), np.arange(3))
        >>> measure_choice(train, train, 1, Settings())["constant"].tolist()
        [0.0, 1.0, 1.0]
    """
    (tree,) = grow_trees(train, [Size.depth(depth)], settings, seed=seed)
    softer = soften(tree, len(train), added=added, orders=settings.orders)
    constant = float(train.preference.mean() > 0.5)
    return pd.DataFrame(
        {
            "prompt": test.prompts,
            "right": is_right(softer, test),
            "log_loss": pair_losses([softer], test)[:, 0],
            "constant": (test.preference == constant).astype(float),
        }
    )

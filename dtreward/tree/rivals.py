"""Simpler answers and other models to set beside a tree, all fitted and called in the same way.

A *predictor* takes the differences of pairs, and how many words response 2 has more than
response 1. It gives the probability of response 2.

A model is as large as the number of numbers that it holds, those that must be known to use it:

- constant and longest response: 1, a probability
- logistic regression: a weight an attribute, and one more; on one attribute 3, because the
  attribute is chosen, too
- a tree: 2 a split (attribute and threshold) and 1 a leaf, so 3 * leaves - 2
- boosted trees: those of all trees, and the value from which they start
- an additive model: for each attribute the steps of its curve, with the thresholds between them,
  and one more
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float, Real, Shaped
from scipy.stats import rankdata
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression

from dtreward.stats import log_loss_terms
from dtreward.tree.ablation import Sample, Settings, soften_by_choice
from dtreward.tree.tree import PreferenceTree

Predictor = Callable[
    [Float[np.ndarray, "pairs attributes"], Real[np.ndarray, " pairs"]],
    Float[np.ndarray, " pairs"],
]
LEAST = 0.501  # the longest response is preferred even where the training pairs prefer short ones


@dataclass(frozen=True)
class Fitted:
    """A model that was fitted to some pairs.

    Attributes:
        predict: its predictor.
        numbers: how many numbers it holds.
        detail: what was chosen when it was fitted, such as the one attribute; "" if nothing was.
    """

    predict: Predictor
    numbers: int
    detail: str = ""


@dataclass(frozen=True)
class Rival:
    """A model to set beside a tree.

    Attributes:
        name: as parameters, tables and figures name it.
        fit: fits it to training pairs; it may choose settings on the validation pairs, which are
            the second argument.
    """

    name: str
    fit: Callable[[Sample, Sample], Fitted]


def choose_rivals(offered: Sequence[Rival], names: Collection[str]) -> list[Rival]:
    """Choose rivals by name, in the order in which they are offered; no name means all.

    Raises:
        ValueError: for a name that is not offered; the message lists those that are.

    Example:
        >>> offered = [Rival("constant", fit_constant), Rival("longest response", fit_longest)]
        >>> [rival.name for rival in choose_rivals(offered, ["constant"])]
        ['constant']
    """
    legal = [rival.name for rival in offered]
    for name in names:
        if name not in legal:
            near = get_close_matches(str(name), legal, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"expected rivals among {', '.join(legal)}; came {name!r}{hint}")
    return [rival for rival in offered if rival.name in names or not names]


def affordable_thresholds(attributes: int, most: int = 20) -> int:
    """Give how many thresholds of each attribute an optimal tree may choose from.

    Its search takes seconds with a hundred thresholds of all attributes together, and minutes with
    four hundred.

    Example:
        >>> affordable_thresholds(5), affordable_thresholds(20)
        (20, 5)
    """
    return max(2, min(most, 100 // attributes))


def directions_of(train: Sample) -> list[int]:
    """Say for each attribute whether pairs with a larger difference prefer response 2 more often.

    1 is more often, -1 less often, by the correlation of ranks; 0 if the differences are all alike
    or do not correlate.

    Example:
        >>> differences = np.array([[-1.0, 2.0, 0.0], [1.0, -1.0, 0.0], [2.0, -3.0, 0.0]])
        >>> directions_of(Sample(("h", "v", "c"), differences, np.array([0, 1, 1]), np.arange(3)))
        [1, -1, 0]
    """
    preference = train.preference - train.preference.mean()
    ranks = rankdata(train.differences, axis=0)
    centred = ranks - ranks.mean(axis=0)
    return np.sign((preference @ centred).round(9)).astype(int).tolist()


def constant_answer(preference: Shaped[np.ndarray, " train"]) -> Predictor:
    """Predict the share of the training pairs that prefer response 2, whatever the pair.

    Args:
        preference: of the training pairs, 0 or 1.

    Example:
        >>> constant = constant_answer(np.array([0, 1, 1, 1]))
        >>> constant(np.zeros((2, 1)), np.zeros(2)).tolist()
        [0.75, 0.75]
    """
    share = preference.mean()
    return lambda differences, longer: np.full(len(differences), share)


def longest_response(
    longer: Real[np.ndarray, " train"], preference: Shaped[np.ndarray, " train"]
) -> Predictor:
    """Predict that the longer response is preferred; of equally long ones, response 1.

    The probability is the share of training pairs in which this is right, at least 0.501.

    Args:
        longer: words that response 2 has more than response 1, of the training pairs.
        preference: of the training pairs, 0 or 1.

    Example:
        >>> longest = longest_response(np.array([5, -2, 3, 1]), np.array([1, 0, 1, 0]))
        >>> longest(np.zeros((2, 1)), np.array([9, -9])).tolist()
        [0.75, 0.25]
    """
    right = max(LEAST, np.mean((longer > 0) == preference))
    return lambda differences, longer: np.where(longer > 0, right, 1 - right)


def by_classifier(fitted: Any) -> Predictor:
    """Predict with a fitted classifier of scikit-learn's interface, whose class 1 is response 2."""
    return lambda differences, longer: fitted.predict_proba(differences)[:, 1]


def by_tree(tree: PreferenceTree, *, averaged: bool = False) -> Predictor:
    """Predict with a tree.

    Args:
        averaged: over both orders of the responses, see `PreferenceTree.probability`.

    Example:
        >>> tree = PreferenceTree.single_split("h", 0.5)
        >>> by_tree(tree)(np.array([[0.2], [0.7]]), np.zeros(2)).tolist()
        [0.0, 1.0]
    """
    return lambda differences, longer: tree.probability(differences, averaged=averaged)


def fit_constant(train: Sample, validation: Sample) -> Fitted:
    """Fit the constant answer."""
    return Fitted(constant_answer(train.preference), numbers=1)


def fit_longest(train: Sample, validation: Sample) -> Fitted:
    """Fit the longest response."""
    return Fitted(longest_response(train.known_lengths(), train.preference), numbers=1)


def fit_tree(  # noqa: PLR0913
    train: Sample,
    validation: Sample,
    *,
    max_depth: int,
    settings: Settings,
    candidates: Sequence[float],
    monotone: bool = False,
    averaged: bool = False,
    seed: int = 0,
) -> Fitted:
    """Grow a preference tree, and soften it as the validation pairs say (`soften_by_choice`).

    Args:
        candidates: amounts from which the softening is chosen.
        monotone: let each attribute count in one direction only, that of `directions_of`.
        averaged: over both orders of the responses.
    """
    grow = partial(_grow, max_depth=max_depth, settings=settings, monotone=monotone, seed=seed)
    softened = soften_by_choice(
        train, validation, grow, candidates, orders=settings.orders, seed=seed
    )
    numbers = 3 * softened.tree.n_leaves - 2
    return Fitted(by_tree(softened.tree, averaged=averaged), numbers)


def _grow(
    sample: Sample, *, max_depth: int, settings: Settings, monotone: bool, seed: int
) -> PreferenceTree:
    return PreferenceTree.fit(
        sample.differences,
        sample.preference,
        attributes=sample.attributes,
        max_depth=max_depth,
        min_leaf=settings.min_leaf,
        criterion=settings.criterion,
        orders=settings.orders,
        directions=directions_of(sample) if monotone else None,
        seed=seed,
    )


def fit_one_attribute(train: Sample, validation: Sample) -> Fitted:
    """Fit a logistic regression to the one attribute that gives it the lowest training log loss."""
    models = []
    losses = []
    for column in range(len(train.attributes)):
        model = LogisticRegression().fit(train.differences[:, [column]], train.preference)
        probability = model.predict_proba(train.differences[:, [column]])[:, 1]
        models.append(model)
        losses.append(log_loss_terms(probability, train.preference).mean())
    chosen = int(np.argmin(losses))
    model = models[chosen]

    def predict(differences, longer):
        return model.predict_proba(differences[:, [chosen]])[:, 1]

    return Fitted(predict, numbers=3, detail=train.attributes[chosen])


def fit_classifier(
    train: Sample,
    validation: Sample,
    *,
    classifier: Any,
    monotone: bool = False,
    averaged: bool = False,
) -> Fitted:
    """Fit a copy of a classifier of scikit-learn's interface.

    Args:
        classifier: one whose numbers can be counted (`count_numbers`).
        monotone: let each attribute count in one direction only, that of `directions_of`.
        averaged: over both orders of the responses, so that swapping them flips the answer.
    """
    model = clone(classifier)
    if monotone:
        model.set_params(monotonic_cst=directions_of(train))
    model.fit(train.differences, train.preference)
    predict = by_classifier(model)
    if averaged:
        predict = _average_orders(predict)
    return Fitted(predict, count_numbers(model))


def _average_orders(predict: Predictor) -> Predictor:
    """Average a predictor over both orders of the responses."""
    return lambda differences, longer: (
        0.5 + (predict(differences, longer) - predict(-differences, -longer)) / 2
    )


def count_numbers(model: Any) -> int:
    """Count the numbers that a fitted classifier holds, as the first lines of this module say.

    Raises:
        TypeError: for a classifier of another kind.

    Example:
        >>> d = np.array([[-1.0, 0.0], [1.0, 0.0]])
        >>> count_numbers(LogisticRegression().fit(d, [0, 1]))
        3
    """
    if hasattr(model, "coef_"):
        return model.coef_.size + model.intercept_.size
    if hasattr(model, "term_scores_"):  # of an explainable boosting machine
        return 1 + sum(_numbers_of_curve(scores) for scores in model.term_scores_)
    if hasattr(model, "get_n_leaves"):
        return 3 * int(model.get_n_leaves()) - 2
    if hasattr(
        model, "_predictors"
    ):  # scikit-learn's histogram boosting tells its trees nowhere else
        trees = [tree for (tree,) in model._predictors]
        return 1 + sum(3 * int(tree.get_n_leaf_nodes()) - 2 for tree in trees)
    raise TypeError(
        f"expected a linear model, a tree, histogram boosting or an explainable boosting machine, "
        f"came {type(model).__name__}; count its numbers in dtreward.tree.rivals"
    )


def _numbers_of_curve(scores: Float[np.ndarray, " bins"]) -> int:
    """Count the steps of an attribute's curve and the thresholds between them.

    The first and the last bin are those of missing and of unknown values; neighbours with one score
    are one step.
    """
    thresholds = int(np.count_nonzero(np.diff(scores[1:-1])))
    return 2 * thresholds + 1

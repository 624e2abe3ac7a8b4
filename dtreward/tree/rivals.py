"""Simpler answers and other models to set beside a tree, all called in the same way.

A *predictor* takes the differences of pairs, and how many words response 2 has more than
response 1. It gives the probability of response 2.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float, Real, Shaped

from dtreward.tree.tree import PreferenceTree

Predictor = Callable[
    [Float[np.ndarray, "pairs attributes"], Real[np.ndarray, " pairs"]],
    Float[np.ndarray, " pairs"],
]
LEAST = 0.501  # the longest response is preferred even where the training pairs prefer short ones


def affordable_thresholds(attributes: int, most: int = 20) -> int:
    """Give how many thresholds of each attribute an optimal tree may choose from.

    Its search takes seconds with a hundred thresholds of all attributes together, and minutes with
    four hundred.

    Example:
        >>> affordable_thresholds(5), affordable_thresholds(20)
        (20, 5)
    """
    return max(2, min(most, 100 // attributes))


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

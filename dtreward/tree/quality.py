"""How good are predictions of preferences: accuracy in one and in both orders, and calibration."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Real, Shaped

from dtreward.stats import (
    accuracy_interval,
    brier_terms,
    expected_calibration_error,
    log_loss_terms,
    mean_interval,
)
from dtreward.tree.rivals import Predictor

CERTAIN = 1 - 1e-9  # a probability so close to 1 calls the other answer impossible


@dataclass(frozen=True)
class Predictions:
    """What a model predicts for pairs, as they are given and with the responses swapped.

    Attributes:
        given: probability of response 2, shape (pairs,).
        swapped: probability of what then stands second, response 1, shape (pairs,).
        preference: 0 or 1, shape (pairs,).
    """

    given: Float[np.ndarray, " pairs"]
    swapped: Float[np.ndarray, " pairs"]
    preference: Shaped[np.ndarray, " pairs"]

    @property
    def correct(self) -> Bool[np.ndarray, " pairs"]:
        """Mark the pairs whose preference is predicted, in the order given."""
        return (self.given > 0.5) == self.preference

    @property
    def correct_in_both_orders(self) -> Float[np.ndarray, " pairs"]:
        """Give the share of the two orders, 0, 0.5 or 1, in which the preference is predicted."""
        correct_swapped = (self.swapped > 0.5) == 1 - self.preference
        return np.mean([self.correct, correct_swapped], axis=0)

    @property
    def follows_the_swap(self) -> Bool[np.ndarray, " pairs"]:
        """Mark the pairs whose predicted preference flips with the responses, as it should."""
        return (self.given > 0.5) != (self.swapped > 0.5)


def predict_both_orders(
    predictor: Predictor,
    differences: Real[np.ndarray, "pairs attributes"],
    longer: Real[np.ndarray, " pairs"],
    preference: Shaped[np.ndarray, " pairs"],
) -> Predictions:
    """Ask a predictor for pairs in the order given and swapped.

    Args:
        predictor: for example one of `dtreward.tree.rivals`.
        differences: response 2 minus response 1.
        longer: words that response 2 has more than response 1.
        preference: 0 or 1.

    Example:
        >>> from dtreward.tree.rivals import by_tree
        >>> from dtreward.tree.tree import PreferenceTree
        >>> predictor = by_tree(PreferenceTree.single_split("h", 0.5))
        >>> differences = np.array([[0.2], [0.7]])
        >>> made = predict_both_orders(predictor, differences, np.zeros(2), np.array([0, 1]))
        >>> made.correct.tolist(), made.correct_in_both_orders.tolist()
        ([True, True], [0.5, 1.0])
        >>> made.follows_the_swap.tolist()
        [False, True]
    """
    return Predictions(
        given=predictor(differences, longer),
        swapped=predictor(-differences, -longer),
        preference=preference,
    )


def measure_quality(
    predictions: Predictions, prompts: Shaped[np.ndarray, " pairs"], **options: int
) -> dict[str, Any]:
    """Measure predictions; all but the last two measures have an interval over prompts.

    Args:
        prompts: each pair's prompt; pairs of one prompt are resampled together.
        options: of the bootstrap: `resamples`, `seed`.

    Returns:
        - "accuracy" in the order given, and its mean over "both orders"
        - "log loss" in nats, and "Brier score"
        - "swap consistency": share of pairs whose predicted preference flips with the responses
        - "calibration error": `stats.expected_calibration_error`
        - "impossible": number of pairs with a preference that was given no probability

    Example:
        >>> certain = Predictions(np.ones(4), np.zeros(4), np.array([1, 1, 1, 0]))
        >>> quality = measure_quality(certain, np.arange(4), resamples=100)
        >>> quality["accuracy"].estimate, quality["impossible"]
        (0.75, 1)
    """
    probability = predictions.given
    preference = predictions.preference
    log_loss = log_loss_terms(probability, preference)
    brier = brier_terms(probability, preference)
    return {
        "accuracy": accuracy_interval(predictions.correct, prompts, **options),
        "both orders": accuracy_interval(predictions.correct_in_both_orders, prompts, **options),
        "log loss": mean_interval(log_loss, prompts, **options),
        "Brier score": mean_interval(brier, prompts, **options),
        "swap consistency": accuracy_interval(predictions.follows_the_swap, prompts, **options),
        "calibration error": expected_calibration_error(probability, preference),
        "impossible": int((np.abs(probability - preference) > CERTAIN).sum()),
    }

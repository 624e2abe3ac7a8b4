"""How good are predictions of preferences, and are two models equally good?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int, Real, Shaped

from dtreward.pairs.split import Evaluation
from dtreward.stats import (
    FEWEST_PROMPTS,
    DifferenceTest,
    Interval,
    Prompts,
    accuracy_interval,
    bootstrap,
    brier_terms,
    difference_test,
    expected_calibration_error,
    holm,
    log_loss_terms,
    mean_interval,
)
from dtreward.tree.ablation import Sample
from dtreward.tree.rivals import Predictor, Rival

SIGNIFICANT = 0.05  # p-values up to it are findings
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
    def log_loss(self) -> Float[np.ndarray, " pairs"]:
        """Give the log loss (nats) of each pair, in the order given."""
        return log_loss_terms(self.given, self.preference)

    @property
    def follows_the_swap(self) -> Bool[np.ndarray, " pairs"]:
        """Mark the pairs whose predicted preference flips with the responses, as it should."""
        return (self.given > 0.5) != (self.swapped > 0.5)

    def decided_otherwise(self, other: "Predictions") -> int:
        """Count the pairs, in the order given, for which another model prefers the other response."""
        return int(((self.given > 0.5) != (other.given > 0.5)).sum())


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


@dataclass(frozen=True)
class Measured:
    """A model that was fitted and asked for other pairs.

    Attributes:
        predictions: in the order of the pairs that it was measured on.
        numbers: how many numbers the model holds; the mean over the parts of a cross-validation.
        details: what was chosen in each part (`rivals.Fitted`).
    """

    predictions: Predictions
    numbers: float
    details: tuple[str, ...]


def measure_rival(
    rival: Rival,
    sample: Sample,
    parts: Sequence[Evaluation],
    validation: Int[np.ndarray, " validation"],
) -> Measured:
    """Fit a model to the training pairs of each part, and ask it for the test pairs.

    Args:
        sample: all pairs; it knows their lengths (`longer`).
        parts: from `dtreward.pairs.split.plan_evaluations`.
        validation: rows on which the model may choose its settings; none where they are among the
            rows of a cross-validation.

    Example:
        >>> from dtreward.tree.rivals import fit_constant
        >>> none = np.zeros(2)
        >>> pairs = Sample(("h",), np.zeros((2, 1)), np.array([0, 1]), np.arange(2), none)
        >>> part = Evaluation(train=np.array([0]), test=np.array([1]))
        >>> found = measure_rival(Rival("constant", fit_constant), pairs, [part], np.array([], int))
        >>> found.predictions.given.tolist(), found.numbers
        ([0.0], 1.0)
    """
    made = []
    models = []
    for part in parts:
        model = rival.fit(sample.take(part.train), sample.take(validation))
        tested = sample.take(part.test)
        differences = np.asarray(tested.differences)
        lengths = tested.known_lengths()
        made.append(predict_both_orders(model.predict, differences, lengths, tested.preference))
        models.append(model)
    predictions = Predictions(
        given=np.concatenate([one.given for one in made]),
        swapped=np.concatenate([one.swapped for one in made]),
        preference=np.concatenate([one.preference for one in made]),
    )
    numbers = float(np.mean([model.numbers for model in models]))
    return Measured(predictions, numbers, tuple(model.detail for model in models))


def compare_predictions(
    ours: Predictions,
    theirs: Predictions,
    prompts: Prompts,
    *,
    margin: float,
    loss_margin: float,
    **options: int,
) -> dict[str, DifferenceTest]:
    """Test whether two models differ in accuracy and in log loss, and whether they are equal.

    Args:
        margin: largest difference in accuracy that counts as equal.
        loss_margin: largest difference in mean log loss that counts as equal, in nats.
        options: of the bootstrap: `resamples`, `seed`.

    Returns:
        The tests of "accuracy" and "log loss", ours minus theirs.

    Example:
        >>> sure = Predictions(np.full(400, 0.9), np.full(400, 0.1), np.ones(400))
        >>> tests = compare_predictions(sure, sure, range(400), margin=0.02, loss_margin=0.02)
        >>> tests["accuracy"].p_equal < 0.001
        True
    """
    right = (ours.correct.astype(float), theirs.correct.astype(float))
    loss = (ours.log_loss, theirs.log_loss)
    return {
        "accuracy": difference_test(*right, prompts, margin=margin, **options),
        "log loss": difference_test(*loss, prompts, margin=loss_margin, **options),
    }


def judge_differences(
    tests: Mapping[tuple[str, ...], DifferenceTest], prompts: int
) -> pd.DataFrame:
    """Say of each test whether ours is better, worse or equal, or whether nobody can tell.

    All tests of a difference are corrected together by Holm's method, and so are those of equality.
    Fewer than 20 prompts can tell nothing.

    Args:
        tests: by keys that end in the measure, as `compare_predictions` names it: for "accuracy"
            larger is better, for "log loss" smaller.
        prompts: number of different prompts that the tests rest on.

    Returns:
        A row a test: difference, low, high, p_different, p_equal, and outcome: "better", "worse",
        "equal" (no difference was found, and one as large as the margin is excluded) or "cannot
        tell".

    Example:
        >>> worse = np.repeat([0.0, 1.0], [30, 270])
        >>> test = difference_test(worse, np.ones(300), range(300), margin=0.02)
        >>> judge_differences({("tree", "accuracy"): test}, 300)["outcome"].item()
        'worse'
    """
    columns = ["difference", "low", "high", "p_different", "p_equal", "outcome"]
    if not tests:
        return pd.DataFrame(columns=columns)
    rows = []
    for test in tests.values():
        interval = test.difference
        rows.append([interval.estimate, interval.low, interval.high])
    index = pd.MultiIndex.from_tuples(tests)
    table = pd.DataFrame(rows, index=index, columns=columns[:3])
    table["p_different"] = holm([test.p_different for test in tests.values()])
    table["p_equal"] = holm([test.p_equal for test in tests.values()])
    is_loss = index.get_level_values(-1) == "log loss"
    is_better = (table["difference"] < 0) == is_loss
    table["outcome"] = "cannot tell"
    if prompts >= FEWEST_PROMPTS:
        is_different = table["p_different"] <= SIGNIFICANT
        table.loc[table["p_equal"] <= SIGNIFICANT, "outcome"] = "equal"
        table.loc[is_different & is_better, "outcome"] = "better"
        table.loc[is_different & ~is_better, "outcome"] = "worse"
    return table


def nobody_beats(outcomes: pd.Series) -> bool | None:
    """Say whether no rival beats ours: yes, no, or None where the data cannot tell.

    Args:
        outcomes: from `judge_differences`, of all rivals and measures.

    Example:
        >>> nobody_beats(pd.Series(["better", "equal"])), nobody_beats(pd.Series(["worse", "equal"]))
        (True, False)
        >>> nobody_beats(pd.Series(["better", "cannot tell"])) is None
        True
    """
    if (outcomes == "worse").any():
        return False
    return True if outcomes.isin(["better", "equal"]).all() else None


def is_better(outcomes: pd.Series) -> bool | None:
    """Say whether ours is better than one rival: yes, no, or None where the data cannot tell.

    It is better in some measure and worse in none, or the reverse. Measures that contradict each
    other cannot tell. Models that are equal in all measures are a no.

    Args:
        outcomes: from `judge_differences`, of one rival in all measures.

    Example:
        >>> is_better(pd.Series(["better", "cannot tell"])), is_better(pd.Series(["equal", "worse"]))
        (True, False)
        >>> is_better(pd.Series(["better", "worse"])) is None
        True
    """
    found = set(outcomes)
    if found == {"equal"} or ("worse" in found and "better" not in found):
        return False
    return True if "better" in found and "worse" not in found else None


@dataclass(frozen=True)
class WhatIsLeft:
    """What a model keeps of its accuracy when predicted ratings take the place of ratings.

    Attributes:
        on_ratings: its accuracy there.
        on_rewards: its accuracy on the same pairs.
        lost: the first minus the second, with the test whether nothing is lost.
        gain_left: the share of its gain over the floor that remains; None where it is not shown to
            have any on ratings.
    """

    on_ratings: Interval
    on_rewards: Interval
    lost: DifferenceTest
    gain_left: Interval | None


def what_is_left(
    on_ratings: Predictions,
    on_rewards: Predictions,
    prompts: Prompts,
    *,
    floor: float,
    margin: float,
    **options: int,
) -> WhatIsLeft:
    """Compare a model on ratings with the same model on predicted ratings, pair by pair.

    Args:
        floor: the accuracy of the constant answer, of which a gain is counted.
        margin: as in `stats.difference_test`.
        options: of the bootstrap: `resamples`, `seed`.

    Example:
        >>> right = Predictions(np.full(40, 0.9), np.full(40, 0.1), np.ones(40))
        >>> half = Predictions(np.tile([0.9, 0.1], 20), np.full(40, 0.1), np.ones(40))
        >>> left = what_is_left(right, half, range(40), floor=0.5, margin=0.02)
        >>> left.lost.difference.estimate, left.gain_left.estimate
        (0.5, 0.0)
    """
    before = on_ratings.correct.astype(float)
    after = on_rewards.correct.astype(float)
    accuracy = accuracy_interval(before, prompts, **options)
    gain_left = None
    if accuracy.low > floor:
        moments = np.stack([after, before], axis=1) - floor
        gain_left = bootstrap(moments, prompts, lambda m: m[..., 0] / m[..., 1], **options)
    return WhatIsLeft(
        on_ratings=accuracy,
        on_rewards=accuracy_interval(after, prompts, **options),
        lost=difference_test(before, after, prompts, margin=margin, **options),
        gain_left=gain_left,
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
    brier = brier_terms(probability, preference)
    return {
        "accuracy": accuracy_interval(predictions.correct, prompts, **options),
        "both orders": accuracy_interval(predictions.correct_in_both_orders, prompts, **options),
        "log loss": mean_interval(predictions.log_loss, prompts, **options),
        "Brier score": mean_interval(brier, prompts, **options),
        "swap consistency": accuracy_interval(predictions.follows_the_swap, prompts, **options),
        "calibration error": expected_calibration_error(probability, preference),
        "impossible": int((np.abs(probability - preference) > CERTAIN).sum()),
    }

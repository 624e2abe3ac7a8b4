"""What predictions are worth, and the simple answers that stand beside a tree."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from dtreward.stats import Interval, calibration_table, floor, rates_by_group
from dtreward.tree.quality import (
    Predictions,
    compare_predictions,
    is_better,
    judge_differences,
    measure_quality,
    predict_both_orders,
    what_is_left,
)
from dtreward.tree.quality_figure import draw_calibration, draw_groups, draw_rivals
from dtreward.tree.rivals import by_classifier, by_tree, constant_answer, longest_response
from dtreward.tree.tree import PreferenceTree

RANDOM = np.random.default_rng(0)
DIFFERENCES = RANDOM.normal(size=(60, 2))
LONGER = RANDOM.integers(-5, 6, size=60).astype(float)
PREFERENCE = (DIFFERENCES[:, 0] + RANDOM.normal(size=60) > 0).astype(int)
PROMPTS = np.repeat(np.arange(30), 2)


def predictions(predictor):
    return predict_both_orders(predictor, DIFFERENCES, LONGER, PREFERENCE)


@pytest.fixture
def tree():
    return PreferenceTree.fit(DIFFERENCES, PREFERENCE, attributes=["a", "b"], min_leaf=5)


def test_the_constant_answer_reaches_the_floor_and_never_follows_a_swap():
    constant = predictions(constant_answer(PREFERENCE))
    assert constant.correct.mean() == floor(PREFERENCE, PREFERENCE)
    assert not constant.follows_the_swap.any()
    assert (constant.correct_in_both_orders == 0.5).all()


def test_the_longest_response_wins_even_where_short_ones_were_preferred():
    short_wins = (LONGER <= 0).astype(int)
    longest = longest_response(LONGER, short_wins)
    assert (longest(DIFFERENCES, LONGER) > 0.5).tolist() == (LONGER > 0).tolist()


def test_equal_lengths_are_a_vote_for_response_1_in_both_orders():
    longest = longest_response(LONGER, PREFERENCE)
    made = predict_both_orders(longest, DIFFERENCES[:1], np.zeros(1), np.array([1]))
    assert not made.correct[0] and not made.follows_the_swap[0]
    assert made.correct_in_both_orders[0] == 0.5


def test_a_model_without_a_preferred_order_is_as_good_in_both_orders():
    classifier = LogisticRegression(fit_intercept=False).fit(DIFFERENCES, PREFERENCE)
    made = predictions(by_classifier(classifier))
    assert made.follows_the_swap.all()
    assert (made.correct == made.correct_in_both_orders).all()


def test_a_tree_averaged_over_orders_gives_probabilities_that_add_up_to_one(tree):
    made = predictions(by_tree(tree, averaged=True))
    np.testing.assert_allclose(made.given + made.swapped, 1, atol=1e-15)


def test_quality_of_a_tree_is_what_the_tree_says_of_itself(tree):
    quality = measure_quality(predictions(by_tree(tree)), PROMPTS, resamples=50)
    assert quality["accuracy"].estimate == (tree.predict(DIFFERENCES) == PREFERENCE).mean()
    assert quality["swap consistency"].estimate == tree.swap_consistency(DIFFERENCES)


def test_only_preferences_that_were_called_impossible_are_counted():
    probability = np.array([0.0, 0.0, 1.0, 0.5])
    made = Predictions(probability, 1 - probability, np.array([0, 1, 1, 1]))
    assert measure_quality(made, np.arange(4), resamples=10)["impossible"] == 1


def test_each_model_has_a_line_and_stands_by_the_logarithm_of_its_size():
    interval = Interval(0.7, 0.6, 0.8)
    numbers = {"boosting": 1000, "constant": 1, "longest": 1, "tree": 22}
    rows = {name: {"numbers": n, "accuracy": interval} for name, n in numbers.items()}
    figure = draw_rivals({"ratings": pd.DataFrame(rows).T}, {"accuracy": 0.5})
    (axis,) = figure.axes
    places = dict(zip(numbers, axis.get_yticks(), strict=True))
    assert sorted(places, key=places.get) == ["constant", "longest", "tree", "boosting"]
    gaps = np.diff(sorted(places.values()))
    assert gaps.min() >= 1 and gaps[-1] > 3  # labels never overlap; a large gap is a large step
    assert axis.get_yticklabels()[0].get_text() == "boosting (1,000)"
    points = [line for line in axis.lines if line.get_marker() == "o"]
    assert [point.get_color() for point in points] == ["grey", "grey", "grey", "C0"]
    plt.close(figure)


def test_groups_are_drawn_beneath_each_other_with_their_size():
    table = rates_by_group(np.arange(80) % 2 * 1.0, np.repeat(["x", "y"], 40), range(80))
    figure = draw_groups({"tree": table, "constant": table}, 0.5)
    (axis,) = figure.axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["x (40)", "y (40)"]
    assert axis.yaxis_inverted() and axis.get_xlim()[0] < 0.5
    plt.close(figure)


def certain(right, probability=0.9):
    """Predictions of pairs that all prefer response 2, where `right` marks those that are right."""
    given = np.where(right, probability, 1 - probability)
    return Predictions(given, 1 - given, np.ones(len(given), int))


def outcomes_of(ours, theirs, pairs):
    margins = {"margin": 0.02, "loss_margin": 0.02}
    tests = compare_predictions(ours, theirs, range(pairs), **margins)
    found = judge_differences({("a", name): test for name, test in tests.items()}, pairs)
    return dict(zip(["accuracy", "log loss"], found["outcome"], strict=True))


def test_a_difference_and_equality_are_found_and_in_between_nobody_can_tell():
    pairs = 600
    right = np.arange(pairs) % 10 > 0
    worse = np.arange(pairs) % 10 > 2
    assert outcomes_of(certain(right), certain(worse), pairs) == {
        "accuracy": "better",
        "log loss": "better",
    }
    assert set(outcomes_of(certain(worse), certain(right), pairs).values()) == {"worse"}
    assert set(outcomes_of(certain(right), certain(right), pairs).values()) == {"equal"}
    nearly = right.copy()
    nearly[np.flatnonzero(right)[:25]] = False
    nearly[np.flatnonzero(~right)[:15]] = True  # 10 pairs of 600 less, and 40 otherwise
    assert outcomes_of(certain(right), certain(nearly), pairs)["accuracy"] == "cannot tell"


def test_probabilities_can_be_better_where_no_decision_is():
    right = np.arange(600) % 10 > 0
    found = outcomes_of(certain(right), certain(right, probability=0.6), 600)
    assert found == {"accuracy": "equal", "log loss": "better"}


def test_models_that_agree_on_few_prompts_are_not_called_equal():
    right = np.arange(60) % 10 > 0
    assert set(outcomes_of(certain(right), certain(right), 60).values()) == {"cannot tell"}
    clear = outcomes_of(certain(np.ones(19)), certain(np.zeros(19)), 19)
    assert set(clear.values()) == {"cannot tell"}


def test_rounding_is_no_difference():
    right = np.arange(600) % 10 > 0
    ours = certain(right)
    theirs = Predictions(ours.given * (1 + 1e-15), ours.swapped, ours.preference)
    assert not np.array_equal(ours.log_loss, theirs.log_loss)
    assert set(outcomes_of(ours, theirs, 600).values()) == {"equal"}


def test_all_tests_are_corrected_together():
    right = np.arange(300) % 10 > 0
    worse = right & (np.arange(300) != 1)
    worse[2:7] = False
    tests = compare_predictions(
        certain(right), certain(worse), range(300), margin=0.02, loss_margin=0.02
    )
    one = judge_differences({("a", "accuracy"): tests["accuracy"]}, 300)
    many = {(str(n), "accuracy"): tests["accuracy"] for n in range(5)}
    assert one["outcome"].item() == "better"
    assert set(judge_differences(many, 300)["outcome"]) == {"cannot tell"}


def test_one_rival_is_beaten_in_some_measure_and_wins_none_or_nobody_can_tell():
    every = ("better", "worse", "equal", "cannot tell")
    for one in every:
        for other in every:
            outcome = is_better(pd.Series([one, other]))
            assert outcome is is_better(pd.Series([other, one]))
            swap = {"better": "worse", "worse": "better"}
            reverse = is_better(pd.Series([swap.get(one, one), swap.get(other, other)]))
            assert not (outcome and reverse)
            assert (outcome is None) == (reverse is None)


def test_rewards_that_are_the_ratings_lose_nothing_and_those_of_chance_lose_the_gain():
    right = np.arange(400) % 10 > 0  # nine of ten
    options = {"floor": 0.5, "margin": 0.02}
    same = what_is_left(certain(right), certain(right), range(400), **options)
    assert same.gain_left.estimate == same.gain_left.low == same.gain_left.high == 1
    assert same.lost.p_different == 1
    coin = RANDOM.random(400) < 0.5
    nothing = what_is_left(certain(right), certain(coin), range(400), **options)
    assert nothing.gain_left.low < 0 < nothing.gain_left.high < 1
    assert nothing.lost.difference.low > 0.2
    none_to_lose = what_is_left(certain(coin), certain(right), range(400), **options)
    assert none_to_lose.gain_left is None


def test_calibration_has_a_panel_an_input_and_a_legend_only_for_several_models(tree):
    table = calibration_table(tree.probability(DIFFERENCES), PREFERENCE, PROMPTS)
    one = draw_calibration({"ratings": {"tree": table}}, {"ratings": 0.1})
    assert one.axes[0].get_legend() is None
    assert "0.100" in one.axes[0].get_title()
    two = draw_calibration(
        {"x": {"tree": table}, "y": {"logistic regression": table, "tree": table}},
        {"x": 0.1, "y": 0.2},
    )
    assert len(two.axes) == 2 and two.axes[0].get_legend() is not None
    plt.close("all")

"""What predictions are worth, and the simple answers that stand beside a tree."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from dtreward.stats import Interval, calibration_table, floor
from dtreward.tree.quality import Predictions, measure_quality, predict_both_orders
from dtreward.tree.quality_figure import draw_accuracies, draw_calibration
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


def test_the_order_of_models_is_drawn_from_top_to_bottom_and_the_tree_stands_out():
    interval = Interval(0.7, 0.6, 0.8)
    figure = draw_accuracies({"ratings": {"constant": interval, "tree": interval}}, 0.5)
    (axis,) = figure.axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["constant", "tree"]
    assert axis.yaxis_inverted()
    points = [line for line in axis.lines if line.get_marker() == "o"]
    assert [point.get_color() for point in points] == ["grey", "C0"]
    plt.close(figure)


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

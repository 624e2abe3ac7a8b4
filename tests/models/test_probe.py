"""Linear probes: fitted as the formula says, and never shown what they are asked for."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, Ridge

from dtreward.models.probe import (
    best_strengths,
    fit_probe,
    held_out_rewards,
    intervals_by_attribute,
    predict_unseen,
    relative_errors,
)
from dtreward.models.probe_figure import (
    draw_correlations_of_readers,
    draw_layers,
    draw_movements,
    draw_rewards_by_rating,
    draw_strengths,
    pool_ratings,
)
from dtreward.pairs.split import plan_evaluations
from dtreward.stats import Interval, pearson_interval, r2_interval

RANDOM = np.random.default_rng(0)
FEATURES = RANDOM.normal(size=(60, 4))
RATINGS = FEATURES @ RANDOM.normal(size=(4, 2)) + RANDOM.normal(size=(60, 2))
PROMPTS = np.repeat(np.arange(30), 2)
STRENGTHS = np.array([0.0, 0.1, 10.0])


def test_each_attribute_is_scikit_learns_ridge_regression_with_its_own_strength():
    probe = fit_probe(FEATURES, RATINGS, np.array([0.1, 10.0]))
    centred = FEATURES - FEATURES.mean(axis=0)
    mean_variance = np.linalg.eigvalsh(centred.T @ centred).mean()
    for column, strength in enumerate((0.1, 10.0)):
        ridge = Ridge(alpha=strength * mean_variance).fit(FEATURES, RATINGS[:, column])
        np.testing.assert_allclose(probe.weight[column], ridge.coef_, atol=1e-10)
        np.testing.assert_allclose(probe.bias[column], ridge.intercept_, atol=1e-10)


def test_without_a_penalty_it_is_least_squares_even_with_a_feature_twice():
    twice = np.hstack([FEATURES, FEATURES[:, :1]])
    predicted = fit_probe(twice, RATINGS, np.zeros(2)).predict(twice)
    expected = LinearRegression().fit(FEATURES, RATINGS).predict(FEATURES)
    np.testing.assert_allclose(predicted, expected, atol=1e-6)


def test_a_held_out_reward_does_not_depend_on_the_ratings_of_its_prompt():
    before = held_out_rewards(FEATURES, RATINGS, PROMPTS, STRENGTHS)
    changed = RATINGS.copy()
    changed[:2] += 100  # both responses to the first prompt
    after = held_out_rewards(FEATURES, changed, PROMPTS, STRENGTHS)
    assert (after[:, :2] == before[:, :2]).all()
    assert not np.isclose(after[:, 2:], before[:, 2:]).all()


def test_an_attribute_is_fitted_and_judged_on_its_rated_responses_alone():
    ratings = RATINGS.copy()
    ratings[::3, 1] = np.nan
    rated = ~np.isnan(ratings[:, 1])
    strengths = np.array([0.1, 10.0])
    probe = fit_probe(FEATURES, ratings, strengths)
    whole = fit_probe(FEATURES, RATINGS, strengths)
    alone = fit_probe(FEATURES[rated], RATINGS[rated], strengths)
    np.testing.assert_allclose(probe.weight, [whole.weight[0], alone.weight[1]], atol=1e-12)
    np.testing.assert_allclose(probe.bias, [whole.bias[0], alone.bias[1]], atol=1e-12)
    held_out = held_out_rewards(FEATURES, ratings, PROMPTS, STRENGTHS)
    assert np.isfinite(held_out).all()
    errors = relative_errors(held_out, ratings)
    expected = relative_errors(held_out[:, rated], ratings[rated])
    np.testing.assert_allclose(errors[:, 1], expected[:, 1], atol=1e-12)


def test_an_attribute_that_nobody_rated_has_rewards_of_zero():
    ratings = np.where([False, True], np.nan, RATINGS)
    held_out = held_out_rewards(FEATURES, ratings, PROMPTS, STRENGTHS)
    assert (held_out[:, :, 1] == 0).all()
    assert np.isnan(relative_errors(held_out, ratings)[:, 1]).all()
    assert best_strengths(held_out, ratings)[1] == 0
    assert (fit_probe(FEATURES, ratings, np.ones(2)).predict(FEATURES)[:, 1] == 0).all()


def test_the_best_strength_has_the_smallest_error_of_each_attribute():
    held_out = held_out_rewards(FEATURES, RATINGS, PROMPTS, STRENGTHS)
    errors = relative_errors(held_out, RATINGS)
    chosen = best_strengths(held_out, RATINGS)
    assert (errors[chosen, [0, 1]] == errors.min(axis=0)).all()
    assert (chosen < 2).all(), "ratings that follow the features need no strong penalty"


def test_unseen_responses_are_predicted_by_probes_that_saw_none_of_their_prompts():
    split = pd.Series(np.where(PROMPTS < 24, "train", "test"))
    (once,) = plan_evaluations(split, pd.Series(PROMPTS), folds=0)
    predicted = predict_unseen(FEATURES, RATINGS, PROMPTS, [once], STRENGTHS)
    train = once.train
    held_out = held_out_rewards(FEATURES[train], RATINGS[train], PROMPTS[train], STRENGTHS)
    strengths = STRENGTHS[best_strengths(held_out, RATINGS[train])]
    probe = fit_probe(FEATURES[train], RATINGS[train], strengths)
    np.testing.assert_array_equal(predicted[once.test], probe.predict(FEATURES[once.test]))
    assert np.isnan(predicted[train]).all()

    parts = plan_evaluations(split, pd.Series(PROMPTS), folds=5)  # 6 test prompts are too few
    before = predict_unseen(FEATURES, RATINGS, PROMPTS, parts, STRENGTHS)
    assert np.isfinite(before).all()
    changed = RATINGS.copy()
    changed[:2] += 100  # both responses to the first prompt
    after = predict_unseen(FEATURES, changed, PROMPTS, parts, STRENGTHS)
    together = next(part.test for part in parts if 0 in part.test)
    assert (after[together] == before[together]).all()
    others = np.setdiff1d(np.arange(60), together)
    assert not np.isclose(after[others], before[others]).all(axis=1).any()


def test_attributes_are_measured_where_they_have_a_rating_and_a_prediction():
    ratings = RATINGS.copy()
    ratings[:20, 0] = np.nan
    predicted = RATINGS + 1.0
    predicted[40:, 0] = np.nan
    predicted[:, 1] = 2.0
    measured = intervals_by_attribute(pearson_interval, ratings, predicted, PROMPTS, resamples=20)
    assert [one.estimate for one in measured] == [pytest.approx(1.0), 0.0]
    explained = intervals_by_attribute(r2_interval, ratings, predicted, PROMPTS, resamples=20)
    rows = slice(20, 40)
    expected = 1 - 1 / ratings[rows, 0].var()
    assert explained[0].estimate == pytest.approx(expected), "on the twenty that have both"
    assert explained[1].estimate < 0, "a constant that is not the mean is worse than it"
    ratings[:, 1] = 3.0
    flat = intervals_by_attribute(pearson_interval, ratings, predicted, PROMPTS)
    assert np.isnan(flat[1].estimate)


def test_a_constant_answer_has_the_relative_error_one():
    constant = np.broadcast_to(RATINGS.mean(axis=0), (1, *RATINGS.shape))
    np.testing.assert_allclose(relative_errors(constant, RATINGS), 1)


def test_an_attribute_that_does_not_vary_has_no_error_and_takes_the_first_strength():
    ratings = RATINGS.copy()
    ratings[:, 1] = 3.0
    held_out = held_out_rewards(FEATURES, ratings, PROMPTS, STRENGTHS)
    assert np.isnan(relative_errors(held_out, ratings)[:, 1]).all()
    assert best_strengths(held_out, ratings)[1] == 0
    assert best_strengths(held_out, ratings)[0] == best_strengths(held_out[..., :1], RATINGS[:, :1])


@pytest.mark.parametrize(
    ("ratings", "expected"),
    [([0, 1, 2, 3, 4], {0, 1, 2, 3, 4}), ([0.5, 1.0], {0.5, 1.0}), (range(100), {0, 1, 2, 3, 4})],
)
def test_ratings_with_many_values_are_pooled_in_fifths(ratings, expected):
    assert set(pool_ratings(np.array(ratings, float)).tolist()) == expected


def test_figures_of_probes_have_a_mark_for_each_attribute_and_reader():
    names = ["a", "b"]
    explained = pd.DataFrame(np.zeros((3, 2)), index=[0.01, 0.1, 10.0], columns=names)
    curves = draw_strengths(explained, [0, 2]).axes[0]
    dots = [line for line in curves.lines if line.get_marker() == "o"]
    assert [dot.get_xdata()[0] for dot in dots] == [0.01, 10.0]
    low = Interval(0.1, -0.8, 0.2)
    bars = draw_correlations_of_readers({"probe": [low, low], "words": [low, low]}, names).axes[0]
    assert len(bars.patches) == 4
    assert bars.get_ylim()[0] < -0.8, "no whisker is cut"
    panels = draw_rewards_by_rating(RATINGS, RATINGS.round(), names).axes
    assert [panel.get_title() for panel in panels] == names
    by_layer = {-1: Interval(0.9, 0.8, 1.0), 2: Interval(0.5, 0.4, 0.6)}
    curves = draw_layers({"a": by_layer, "b": by_layer}, last=6).axes[0]
    assert [list(line.get_xdata()) for line in curves.lines[:2]] == [[2, 6], [2, 6]]
    assert list(curves.lines[0].get_ydata()) == [0.5, 0.9], "-1 stands last"
    cells = draw_movements({"a": [low, by_layer[2]], "b": [low, low]}, names).axes[0]
    assert [text.get_text() for text in cells.texts][:2] == [
        "0.10\n[-0.80, 0.20]",
        "0.50\n[0.40, 0.60]",
    ]
    plt.close("all")

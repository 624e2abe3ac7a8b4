"""Each judge's tree: measured on pairs that it was not fitted to, and steady or not on resamples."""

from functools import partial

import numpy as np
import pandas as pd
import pytest

from dtreward.judges.trees import (
    DecidedPairs,
    bootstrap_trees,
    held_out_accuracy,
    importance_spread,
    root_attribute,
    root_share,
)
from dtreward.tree.tree import PreferenceTree

FIT = partial(PreferenceTree.fit, attributes=["h", "v"], min_leaf=5)
PAIRS = 400


@pytest.fixture
def follower():
    """A judge that follows h; half of the pairs are for testing."""
    generator = np.random.default_rng(0)
    differences = generator.normal(size=(PAIRS, 2))
    preference = (differences[:, 0] > 0).astype(int)
    return DecidedPairs(differences, preference, np.arange(PAIRS), np.arange(PAIRS) % 2 == 0)


def test_only_the_decided_pairs_are_taken_each_with_its_own_prompt_and_difference():
    votes = pd.Series([np.nan, 1.0, 0.0, np.nan, 1.0])
    differences = np.arange(10.0).reshape(5, 2)
    is_test = np.array([True, False, True, False, True])
    pairs = DecidedPairs.of(votes, differences, list("abcde"), is_test)
    assert len(pairs) == 3
    assert pairs.preference.tolist() == [1, 0, 1]
    assert pairs.prompts.tolist() == ["b", "c", "e"]
    assert pairs.differences[:, 0].tolist() == [2, 4, 8]
    assert pairs.is_test.tolist() == [False, True, True]


def test_a_tree_is_measured_on_test_pairs_that_it_was_not_fitted_to(follower):
    fitted = []

    def fit(differences, preference):
        fitted.append(differences)
        return FIT(differences, preference)

    result = held_out_accuracy(follower, fit, resamples=200, seed=0)
    assert np.array_equal(fitted[0], follower.differences[1::2])
    assert (result.pairs, result.prompts) == (PAIRS / 2, PAIRS / 2)
    assert result.accuracy.estimate > 0.97 and result.beats_floor


def test_a_tree_of_shuffled_preferences_does_not_beat_its_floor(follower):
    shuffled = follower.shuffled(np.random.default_rng(1))
    assert sorted(shuffled.preference) == sorted(follower.preference)
    assert not np.array_equal(shuffled.preference, follower.preference)
    assert not held_out_accuracy(shuffled, FIT, resamples=200, seed=0).beats_floor


def test_the_floor_is_the_constant_answer_that_is_best_on_the_fitted_pairs(follower):
    mostly_first = np.where(np.arange(PAIRS) % 10 < 2, 1, 0)
    pairs = DecidedPairs(follower.differences, mostly_first, follower.prompts, follower.is_test)
    test_share = (mostly_first[::2] == 0).mean()
    assert held_out_accuracy(pairs, FIT, resamples=50, seed=0).floor == test_share == 0.8


@pytest.mark.parametrize(
    ("preference", "prompts", "is_test"),
    [
        ([0, 1, 0, 1, 0, 1], "aabbcc", [False] * 6),
        ([0, 1, 0, 1, 0, 1], "aabbcc", [False] * 4 + [True] * 2),
        ([0, 0, 0, 1, 0, 1], "abcdef", [False] * 4 + [True] * 2),
    ],
    ids=["no test pair", "one test prompt", "one preference for response 2 among the others"],
)
def test_too_few_pairs_are_not_tested(preference, prompts, is_test):
    values = np.arange(12.0).reshape(6, 2)
    pairs = DecidedPairs(values, np.array(preference), np.array(list(prompts)), np.array(is_test))
    assert not pairs.can_be_tested
    with pytest.raises(ValueError, match="ask the judge about more pairs"):
        held_out_accuracy(pairs, FIT)


def test_importances_of_resamples_have_their_mean_and_range(follower):
    tree = FIT(follower.differences, follower.preference)
    resampled = bootstrap_trees(
        follower.differences,
        follower.preference,
        follower.prompts,
        resamples=30,
        attributes=["h", "v"],
    )
    table = importance_spread(tree, resampled)
    assert table.index.to_list() == ["h", "v"] and table.index.name == "attribute"
    assert table["importance"].sum() == pytest.approx(1)
    assert (table["low"] <= table["importance"]).all()
    assert (table["importance"] <= table["high"]).all()
    assert table["tree"].to_list() == tree.importances.tolist()
    assert root_share(resampled, "h") == 1 and root_share(resampled, "v") == 0


def test_a_tree_of_one_leaf_asks_about_nothing():
    generator = np.random.default_rng(0)
    differences = generator.normal(size=(20, 2))
    leaf = PreferenceTree.fit(differences, np.arange(20) % 2, attributes=["h", "v"], min_leaf=20)
    assert root_attribute(leaf) == "nothing"
    assert root_share([leaf, leaf], "h") == 0

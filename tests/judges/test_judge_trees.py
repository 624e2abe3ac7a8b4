"""Each judge's tree: measured on pairs that it was not fitted to, and steady or not on resamples."""

from dataclasses import replace
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
    split_table,
)
from dtreward.tree.stability import rating_step, split_recurrence
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
    assert held_out_accuracy(shuffled, FIT, resamples=200, seed=0).beats_floor is not True


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
    assert not pairs.can_be_tested(folds=0)
    with pytest.raises(ValueError, match="ask the judge about more pairs"):
        held_out_accuracy(pairs, FIT, folds=0)


def test_few_test_prompts_are_replaced_by_cross_validation_on_all_prompts(follower):
    is_test = np.arange(PAIRS) < 19  # one prompt too few
    pairs = replace(follower, is_test=is_test)
    fitted = []

    def fit(differences, preference):
        fitted.append(differences)
        return FIT(differences, preference)

    result = held_out_accuracy(pairs, fit, folds=4, resamples=200, seed=0)
    assert (result.pairs, result.prompts, result.trees) == (PAIRS, PAIRS, 4)
    assert [len(differences) for differences in fitted] == [PAIRS * 3 // 4] * 4
    assert result.beats_floor is True
    assert held_out_accuracy(pairs, FIT, folds=0, seed=0).beats_floor is None  # 19 prompts


def test_no_part_of_cross_validation_shares_a_prompt_with_the_pairs_it_is_measured_by(follower):
    pairs = replace(follower, prompts=np.arange(PAIRS) // 4, is_test=np.zeros(PAIRS, dtype=bool))
    for part in pairs.evaluations(folds=5):
        assert not set(pairs.prompts[part.train]) & set(pairs.prompts[part.test])


def test_splits_that_recur_are_marked_and_listed_from_the_root_on(follower):
    tree = PreferenceTree.fit(
        follower.differences, follower.preference, attributes=["h", "v"], max_depth=2
    )
    share = np.where(tree.feature == 0, 0.9, 0.1)
    table = split_table({"J": tree}, {"J": share})
    assert table["node"].tolist() == tree.splits and table["level"].iloc[0] == 1
    assert table["recurs"].tolist() == (table["attribute"] == "h").tolist()
    assert split_table({}, {}).empty and split_table({}, {}).columns.equals(table.columns)


def test_splits_by_luck_do_not_recur_where_the_planted_ones_do():
    generator = np.random.default_rng(0)
    differences = generator.integers(-3, 4, (300, 6)).astype(float)
    preference = (differences[:, 0] + generator.logistic(size=300) > 0).astype(int)
    settings = {"attributes": list("hbcdef"), "max_depth": 3, "min_leaf": 10}
    tree = PreferenceTree.fit(differences, preference, **settings)
    grown = bootstrap_trees(differences, preference, range(300), resamples=40, **settings)
    share = split_recurrence(tree, grown, rating_step(differences))
    table = split_table({"J": tree}, {"J": share})
    by_luck = table["attribute"] != "h"
    assert by_luck.sum() == 3 and not table.loc[by_luck, "recurs"].any()
    assert table.loc[~by_luck, "recurs"].all()


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

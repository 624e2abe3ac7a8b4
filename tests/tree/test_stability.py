"""What of a tree comes back when it is grown again on resamples."""

import numpy as np
import pytest
from tree_examples import PLANTED_NAMES, planted_sample

from dtreward.stats import resampled_rows
from dtreward.tree.ablation import Sample, Settings, describe_trees, grow_trees, list_sizes
from dtreward.tree.stability import (
    RECURS,
    NeededSplits,
    asked_by_level,
    compare_neighbours,
    describe_regrown,
    list_splits,
    qualified_sentences,
    rating_step,
    recurring_splits,
    regrow_trees,
    split_recurrence,
    splits_together,
)
from dtreward.tree.tree import PreferenceTree


def test_a_resample_of_all_pairs_in_order_grows_the_same_trees():
    sample = planted_sample(150, seed=9)
    sizes = list_sizes([1, 3])
    settings = Settings(min_leaf=5)
    again = regrow_trees(sample, np.arange(len(sample)), sizes, settings)
    for tree, other in zip(grow_trees(sample, sizes, settings), again, strict=True):
        assert tree.to_dict() == other.to_dict()


def test_regrown_trees_are_described_and_compared_within_their_depth():
    sample = planted_sample(150, seed=9)
    trees = {}
    for depth in (1, 2):
        trees[depth] = []
        for rows in resampled_rows(sample.prompts, 3, seed=0):
            trees[depth] += regrow_trees(sample, rows, list_sizes([depth]), Settings(min_leaf=5))
    found = describe_regrown(trees, sample.differences)
    assert found["depth"].tolist() == [1, 1, 1, 2, 2, 2]
    both = describe_trees([*trees[1], *trees[2]], sample.differences)
    assert found["path_length"].tolist() == both["path_length"].tolist()
    first = trees[2][0].distance(trees[2][-1], sample.differences)
    assert found["gap"][3] == pytest.approx(first)


def test_neighbours_are_compared_by_the_distance_of_trees():
    sample = planted_sample(150, seed=9)
    trees = []
    for rows in resampled_rows(sample.prompts, 4, seed=0):
        trees += grow_trees(sample.take(rows), list_sizes([2]), Settings())
    found = compare_neighbours(trees, sample.differences)
    for number, tree in enumerate(trees):
        before = trees[number - 1]
        assert found["gap"][number] == pytest.approx(tree.distance(before, sample.differences))
        other = tree.predict(sample.differences) != before.predict(sample.differences)
        assert found["decided_otherwise"][number] == other.mean()


def test_a_planted_split_recurs_and_chance_does_not():
    sample = planted_sample(600, seed=10)
    (reference,) = grow_trees(sample, list_sizes([1]), Settings(min_leaf=10))
    trees = []
    for rows in resampled_rows(sample.prompts, 20, seed=0):
        trees += grow_trees(sample.take(rows), list_sizes([1]), Settings(min_leaf=10))
    step = rating_step(sample.differences)
    found = recurring_splits(reference, trees, step)
    assert found["attribute"].tolist() == ["a"] and found["share"].item() >= RECURS

    generator = np.random.default_rng(0)
    trees = []
    for _ in range(20):
        votes = generator.permutation(sample.preference)
        shuffled = Sample(PLANTED_NAMES, sample.differences, votes, sample.prompts)
        trees += grow_trees(shuffled, list_sizes([1]), Settings(min_leaf=10))
    assert recurring_splits(trees[0], trees, step)["share"].max() < 0.5


def test_a_split_that_a_tree_has_twice_counts_once():
    corner = Sample(
        PLANTED_NAMES,
        np.array([[-1.0, -1], [-1, 1], [1, -1], [1, 1]]).repeat(5, axis=0),
        np.array([0, 1, 1, 0]).repeat(5),
        np.arange(20),
    )
    (tree,) = grow_trees(corner, list_sizes([2]), Settings())
    assert len(list_splits(tree)) == 3  # one attribute at the root, the other twice
    assert recurring_splits(tree, [tree], np.zeros(2))["share"].tolist() == [1.0, 1.0]


def test_shares_by_level_add_up_to_the_length_of_paths():
    sample = planted_sample(300, seed=11)
    trees = grow_trees(sample, list_sizes([2, 4]), Settings())
    asked = asked_by_level(trees, 4)
    assert asked[1].sum() == pytest.approx(1.0)
    mean_path = np.mean([tree.expected_path_length for tree in trees])
    assert asked.to_numpy().sum() == pytest.approx(mean_path)


def test_thresholds_must_all_be_there():
    tree = PreferenceTree.single_split("a", 0.5, attributes=PLANTED_NAMES)
    assert splits_together([tree], "a", [0.5]).all()
    assert not splits_together([tree], "a", [0.5, -0.5]).any()
    assert not splits_together([tree], "b", [0.5]).any()


def test_a_split_recurs_where_a_tree_has_its_attribute_within_the_tolerance():
    reference = PreferenceTree.single_split("h", 0.5, attributes=["h", "v"])
    grown = [
        PreferenceTree.single_split("h", 1.5, attributes=["h", "v"]),
        PreferenceTree.single_split("h", 1.51, attributes=["h", "v"]),
        PreferenceTree.single_split("v", 0.5, attributes=["h", "v"]),
        PreferenceTree.single_split("h", -0.5, attributes=["h", "v"]),
    ]
    share = split_recurrence(reference, grown, np.array([1.0, 9.0]))
    assert share[0] == 0.5 and np.isnan(share[1:]).all()


def test_needed_splits_are_those_of_each_effective_rule():
    sample = planted_sample(300, seed=12)
    (tree,) = grow_trees(sample, list_sizes([3]), Settings())
    grown = []
    for rows in resampled_rows(sample.prompts, 10, seed=0):
        grown += grow_trees(sample.take(rows), list_sizes([3]), Settings())
    needed = NeededSplits.of(tree, grown)
    described = describe_trees([tree, *grown], sample.differences)
    assert needed.drawn == described["splits"][0]
    assert needed.needed == described["splits_needed"][0]
    shares = described["splits_needed"][1:].value_counts(normalize=True)
    assert needed.distribution == shares.to_dict() and len(shares) > 1


def test_a_sentence_says_that_it_rests_on_a_split_that_does_not_recur():
    corner = Sample(
        PLANTED_NAMES,
        np.array([[-1.0, -1], [-1, 1], [1, -1], [1, 1]]).repeat(5, axis=0),
        np.array([0, 0, 0, 1]).repeat(5),
        np.arange(20),
    )
    (tree,) = grow_trees(corner, list_sizes([2]), Settings())
    left, right = tree.children(0)
    below = right if tree.is_split[right] else left
    share = np.full(len(tree.feature), np.nan)
    share[0] = 1.0
    share[below] = 0.5
    said = qualified_sentences(tree, share)
    assert [" (no finding" in sentence for sentence in said] == [False, True, True]
    assert all(sentence.endswith("recurs in 50 % of resamples)") for sentence in said[1:])
    share[[0, below]] = 0.8
    assert qualified_sentences(tree, share) == tree.rule_sentences()


def test_that_some_splits_are_idle_is_said_of_nearly_all_resamples_or_of_nearly_none():
    said = [NeededSplits(7, 3, {}, share).some_are_idle for share in (0.0, 0.05, 0.5, 0.95, 1.0)]
    assert said == [False, False, None, True, True]

"""SHAP values against Shapley's definition, written out here over all coalitions without shap."""

from itertools import combinations
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from test_tree import NAMES, rows, trees

from dtreward.judges.attribution import interaction_values, shap_values
from dtreward.tree.document import HEAD, LEAF
from dtreward.tree.nodes import ATTRIBUTES
from dtreward.tree.tree import PreferenceTree

# beartype, where it checks, looks at one random element of a list
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module")
# shap holds a leaf's value times a weight in float32 (relative 6e-8) and adds one a leaf; 1e-6 is
# far below the effects, which are multiples of 1/8 or published to three digits.
CLOSE = {"rtol": 0, "atol": 1e-6}


def shapley(probability, differences, background):
    """Average over coalitions what an attribute adds to the mean over the background."""
    count = differences.shape[1]

    def worth(known, pair):
        mixed = background.copy()
        mixed[:, list(known)] = pair[list(known)]
        return probability(mixed).mean()

    values = np.zeros(differences.shape)
    for row, pair in enumerate(differences):
        for k in range(count):
            others = [other for other in range(count) if other != k]
            for size in range(count):
                for known in combinations(others, size):
                    gain = worth((*known, k), pair) - worth(known, pair)
                    values[row, k] += gain / (count * comb(count - 1, size))
    return values


def integers(pairs, *, seed, width=5):
    return np.random.default_rng(seed).integers(-4, 5, (pairs, width)).astype(float)


def closed(background):
    return np.concatenate([background, -background])


@pytest.mark.parametrize("name", ["Human", "GPT-4o", "Llama-3.1-8B"])
def test_values_are_shapleys_over_all_32_coalitions_and_the_whole_background(name):
    tree = PreferenceTree.published(name)
    explained, background = integers(6, seed=0), integers(130, seed=1)  # 260 rows: shap keeps 100
    expected = shapley(lambda d: tree.probability(d, averaged=True), explained, closed(background))
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(shap_values(tree, explained, background), expected, **CLOSE)


@settings(max_examples=60, deadline=None)
@given(trees(), rows(), rows())
def test_values_are_shapleys_for_any_tree_with_differences_at_its_thresholds(
    tree, explained, background
):
    expected = shapley(lambda d: tree.probability(d, averaged=True), explained, closed(background))
    np.testing.assert_allclose(shap_values(tree, explained, background), expected, **CLOSE)


@pytest.mark.parametrize("limit", [0.1, -0.1, 0.3, 1e-12])
def test_a_difference_at_a_threshold_that_float32_rounds_goes_as_in_the_tree(limit):
    tree = PreferenceTree.single_split("a", limit, attributes=NAMES)
    just_above = np.nextafter(limit, 1)
    explained = np.array([[limit, 0, 0], [just_above, 0, 0], [-limit, 0, 0], [-just_above, 0, 0]])
    total = shap_values(tree, explained, explained).sum(axis=1)
    assert len(set(tree.probability(explained, averaged=True).round(6))) > 1
    np.testing.assert_allclose(0.5 + total, tree.probability(explained, averaged=True), **CLOSE)


@settings(max_examples=60, deadline=None)
@given(trees(), rows(), rows())
def test_values_add_up_to_the_averaged_probability(tree, explained, background):
    total = 0.5 + shap_values(tree, explained, background).sum(axis=1)
    np.testing.assert_allclose(total, tree.probability(explained, averaged=True), **CLOSE)


@settings(max_examples=60, deadline=None)
@given(trees(), rows(), rows())
def test_swapping_the_responses_negates_the_values_bit_for_bit(tree, explained, background):
    values = shap_values(tree, explained, background)
    np.testing.assert_array_equal(shap_values(tree, -explained, background), -values)
    np.testing.assert_array_equal(shap_values(tree, explained, -background), values)


def test_without_both_orders_swapping_would_not_negate_the_values():
    tree = PreferenceTree.published("Llama-3.1-8B")
    explained, background = integers(5, seed=2), integers(40, seed=3)

    def sum_after_swapping(probability, rows):
        both = (shapley(probability, sign * explained, rows) for sign in (1, -1))
        return np.abs(np.add(*both)).max()

    def averaged(d):
        return tree.probability(d, averaged=True)

    assert sum_after_swapping(averaged, closed(background)) < 1e-12
    assert sum_after_swapping(averaged, background) > 0.01
    assert sum_after_swapping(tree.probability, closed(background)) > 0.01


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_a_planted_rule_of_one_attribute_gives_nothing_to_the_others(attribute):
    differences = integers(400, seed=4)
    at = ATTRIBUTES.index(attribute)
    planted = (differences[:, at] > 0).astype(int)
    tree = PreferenceTree.fit(differences, planted, attributes=ATTRIBUTES)
    values = shap_values(tree, differences, differences[:100])
    assert not np.delete(values, at, axis=1).any()
    # 0, not 0.5, only where the difference is: the two orders of a tie say 0 and 1
    np.testing.assert_allclose(values[:, at], np.sign(differences[:, at]) / 2, **CLOSE)


def test_a_shuffled_rule_gives_far_less_than_the_planted_one():
    differences, generator = integers(400, seed=5), np.random.default_rng(5)
    planted = (differences[:, 0] > 0).astype(int)
    size = {}
    for name, verdicts in {"planted": planted, "shuffled": generator.permutation(planted)}.items():
        tree = PreferenceTree.fit(differences, verdicts, attributes=ATTRIBUTES, min_leaf=10)
        size[name] = np.abs(shap_values(tree, differences, differences[:100])).sum(axis=1).mean()
    # a leaf of n pairs is off by 0.5 / sqrt(n): 0.16 at 10 pairs, 0.07 at 50, the mean of 8 leaves
    assert 0 < size["shuffled"] < 0.16
    assert size["planted"] > 0.4


def test_a_pair_has_the_same_values_alone_and_in_company():
    tree = PreferenceTree.published("Human")
    explained, background = integers(20, seed=6), integers(30, seed=7)
    together = shap_values(tree, explained, background)
    alone = [shap_values(tree, explained[[row]], background)[0] for row in range(len(explained))]
    np.testing.assert_array_equal(together, alone)


def test_explaining_leaves_the_tree_as_it_was():
    tree = PreferenceTree.published("Human")
    before = tree.to_dict()
    shap_values(tree, integers(3, seed=8), integers(3, seed=9))
    interaction_values(tree, integers(3, seed=8))
    assert tree.to_dict() == before


def test_a_lone_leaf_gives_no_attribute_anything():
    node = LEAF | {"value": [0.3, 0.7], "share": 1.0}
    tree = PreferenceTree.from_dict(HEAD | {"attributes": ["a", "b"], "nodes": [node]})
    pairs = integers(4, seed=10, width=2)
    assert not shap_values(tree, pairs, pairs).any()
    assert not interaction_values(tree, pairs).any()


def test_interactions_are_symmetric_and_add_up_and_swapping_negates_them():
    differences = integers(500, seed=11)
    votes = (differences[:, 0] + differences[:, 1] * (differences[:, 2] > 0) > 0).astype(int)
    tree = PreferenceTree.fit(differences, votes, attributes=ATTRIBUTES)
    values = interaction_values(tree, differences)
    np.testing.assert_allclose(values, values.transpose(0, 2, 1), rtol=0, atol=1e-12)
    total = 0.5 + values.sum(axis=(1, 2))
    np.testing.assert_allclose(
        total, tree.probability(differences, averaged=True), rtol=0, atol=1e-12
    )
    np.testing.assert_array_equal(interaction_values(tree, -differences), -values)


def test_a_rule_that_needs_both_attributes_interacts_and_a_single_split_does_not():
    differences = integers(500, seed=12)
    both = ((differences[:, 0] > 0) & (differences[:, 1] > 0)).astype(int)
    single = PreferenceTree.single_split("helpfulness", 0.5, attributes=ATTRIBUTES)
    found = {}
    for name, tree in {
        "both": PreferenceTree.fit(differences, both, attributes=ATTRIBUTES),
        "single": single,
    }.items():
        found[name] = np.abs(interaction_values(tree, differences)).mean(axis=0)
    assert found["both"][0, 1] > 0.01
    assert np.count_nonzero(found["both"][2:]) == 0
    assert np.count_nonzero(found["single"]) == 1 and found["single"][0, 0] > 0.1


def test_other_columns_nan_and_an_empty_background_are_errors_that_say_what_to_do():
    tree, pairs = PreferenceTree.published("Human"), integers(3, seed=13)
    with pytest.raises(ValueError, match=r"tree expects 5 attributes.*differences have 4"):
        shap_values(tree, pairs[:, :4], pairs[:, :4])
    with pytest.raises(ValueError, match=r"tree expects 5 attributes.*differences have 4"):
        interaction_values(tree, pairs[:, :4])
    with pytest.raises(ValueError, match="hold nan or infinity"):
        shap_values(tree, pairs, np.where(pairs == pairs[0, 0], np.nan, pairs))
    with pytest.raises(ValueError, match="background of at least one pair, found none"):
        shap_values(tree, pairs, pairs[:0])

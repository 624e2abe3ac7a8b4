"""SHAP values against Shapley's definition, written out here over all coalitions without shap.

Below them their statistics, with positive and shuffled controls, and their figures.
"""

from itertools import combinations
from math import comb

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from tree_examples import NAMES, rows, trees

from dtreward.judges.attribution import (
    background_error,
    by_couple,
    correlation_distances,
    family_test,
    farthest_first,
    interaction_values,
    joint_shares,
    mean_abs_shap,
    mean_by_difference,
    permutation_rise,
    rank_agreement,
    shap_values,
    shuffled_totals,
    value_gaps,
)
from dtreward.judges.attribution_figures import (
    draw_dendrogram,
    draw_interactions,
    draw_mean_shap,
    draw_measures,
    draw_one_pair,
    draw_shap_by_difference,
    draw_swarms,
)
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


def judged(judges=3, pairs=200, *, seed=20):
    """Values of judges with different tastes, and the differences that they are of."""
    differences = integers(pairs, seed=seed)
    trees = [
        PreferenceTree.single_split(ATTRIBUTES[place], 0.5, attributes=ATTRIBUTES)
        for place in range(judges)
    ]
    values = np.stack([shap_values(tree, differences, differences[:50]) for tree in trees])
    return values, differences


def test_the_mean_size_has_a_row_for_each_judge_and_attribute_and_covers_the_mean():
    values, _ = judged()
    table = mean_abs_shap(values, ["A", "B", "C"], ATTRIBUTES, np.arange(200), resamples=200)
    assert list(table) == ["judge", "attribute", "mean_abs_shap", "low", "high"]
    square = table.pivot(index="judge", columns="attribute", values="mean_abs_shap")
    np.testing.assert_array_equal(square[list(ATTRIBUTES)], np.abs(values).mean(axis=1))
    assert (table["low"] <= table["mean_abs_shap"]).all()
    assert (table["mean_abs_shap"] <= table["high"]).all()


def test_the_error_of_the_background_falls_with_the_root_of_its_size():
    tree = PreferenceTree.published("Human")
    differences = integers(2000, seed=21)
    error = {}
    for size in (10, 250):
        parts = differences[: 40 * size].reshape(-1, size, 5)[:4]
        values = [shap_values(tree, differences[:300], part)[None] for part in parts]
        draws = [background_error(values[0], values[1]), background_error(values[2], values[3])]
        error[size] = np.mean([draw["of a pair's value"] for draw in draws])
    # 25 times the pairs make it 5 times smaller; two draws tell that within a factor of 2
    assert 2 < error[10] / error[250] < 12
    same = background_error(values[0], values[0])
    assert set(same.values()) == {0.0}


def test_gaps_are_a_metric_and_people_have_none_to_themselves():
    values, _ = judged()
    gaps = value_gaps(values)
    np.testing.assert_array_equal(gaps, gaps.T)
    assert not np.diag(gaps).any() and (gaps[0, 1:] > 0.1).all()
    assert (gaps[0, 2] <= gaps[0, 1] + gaps[1, 2] + 1e-12).all()


def test_each_next_judge_is_the_farthest_and_equal_judges_are_chosen_once():
    places = np.array([0.0, 1.0, 9.0, 5.0])
    distances = np.abs(places[:, None] - places)
    assert farthest_first(distances, 3) == [0, 2, 3]
    assert farthest_first(distances, 9) == [0, 2, 3, 1]
    assert farthest_first(np.zeros((3, 3)), 3) == [0, 1, 2]


def test_fine_scales_are_pooled_and_coarse_ones_are_not():
    coarse = np.repeat([-1.0, 0.0, 2.0], 4)
    means = mean_by_difference(coarse[None] / 4, coarse, ["A"])
    assert means["A"].to_dict() == {-1.0: -0.25, 0.0: 0.0, 2.0: 0.5}
    fine = np.arange(80) / 10
    means = mean_by_difference(np.stack([fine, -fine]), fine, ["A", "B"])
    assert len(means) == 8 and means.index.is_monotonic_increasing
    np.testing.assert_allclose(means["A"], means.index, rtol=1e-12)
    np.testing.assert_array_equal(means["A"], -means["B"])


def test_a_single_split_has_no_joint_share_and_a_rule_of_two_attributes_has_one():
    differences = integers(500, seed=12)
    both = ((differences[:, 0] > 0) & (differences[:, 1] > 0)).astype(int)
    trees = [
        PreferenceTree.single_split("helpfulness", 0.5, attributes=ATTRIBUTES),
        PreferenceTree.fit(differences, both, attributes=ATTRIBUTES),
    ]
    sizes = [np.abs(interaction_values(tree, differences)).mean(axis=0) for tree in trees]
    shares = joint_shares(np.stack([*sizes, np.zeros((5, 5))]))
    assert shares[0] == 0 and shares[2] == 0
    assert 0.05 < shares[1] < 1


def test_weaker_values_are_no_distance_and_other_tastes_are():
    values, _ = judged()
    distances = correlation_distances(np.stack([*values, 0.3 * values[0]]))
    assert distances[0, 3] < 1e-12  # rounding of a correlation
    assert distances[0, 1] > 0.5
    assert correlation_distances(values[:0]).shape == (0, 0)


@pytest.mark.parametrize("planted", [True, False])
def test_a_family_is_found_where_it_is_planted_and_not_where_names_are_shuffled(planted):
    names = np.repeat(["A", "B", "C", "D"], 3)
    places = np.unique(names, return_inverse=True)[1] + np.linspace(0, 0.1, 12)
    if not planted:
        names = np.tile(["A", "B", "C", "D"], 3)
    test = family_test(np.abs(places[:, None] - places), names, resamples=400)
    assert (test.p_value <= 0.05) == planted
    assert (test.one_family < test.two_families) == planted


def test_without_two_of_a_family_there_is_no_test_and_with_one_family_no_second_mean():
    distances = 1 - np.eye(3)
    assert family_test(distances, np.array(["A", "B", "C"])) is None
    test = family_test(distances, np.array(["A", "A", "A"]), resamples=10)
    assert np.isnan(test.two_families) and test.p_value == 1.0


def test_shuffling_an_attribute_that_the_tree_asks_for_makes_it_fit_worse():
    differences = integers(300, seed=22)
    planted = (differences[:, 1] > 0).astype(int)
    tree = PreferenceTree.single_split("correctness", 0.5, attributes=ATTRIBUTES)
    generator = np.random.default_rng(0)
    rise = permutation_rise(tree, differences, planted, repeats=3, generator=generator)
    assert rise[1] > 0.3 and not np.delete(rise, 1).any()
    before = differences.copy()
    permutation_rise(tree, differences, planted, repeats=1, generator=generator)
    np.testing.assert_array_equal(differences, before)


def test_ranks_agree_where_amounts_do_not_and_a_missing_judge_does_not_count():
    shares = pd.DataFrame([[0.6, 0.3, 0.1], [0.1, 0.2, 0.7]], ["A", "B"], ["h", "c", "v"])
    published = pd.DataFrame([[0.1, 0.3, 0.6]], ["A"], ["h", "c", "v"])
    agreement = rank_agreement({"one": shares, "squares": shares**2, "published": published})
    assert agreement.loc["one", "squares"] == pytest.approx(1.0)
    assert agreement.loc["one", "published"] == pytest.approx(-1.0)
    constant = shares * 0 + 0.5
    assert np.isnan(rank_agreement({"one": shares, "constant": constant}).loc["one", "constant"])


def test_the_control_is_far_below_a_planted_judge_and_leaves_undecided_pairs_out():
    differences = integers(400, seed=23)
    preference = (differences[:, 0] > 0).astype(float)
    preference[::4] = np.nan
    options = {"attributes": ATTRIBUTES, "max_depth": 3, "min_leaf": 10}
    generator = np.random.default_rng(0)
    background = differences[:100]
    totals = shuffled_totals(
        differences, preference, background, shuffles=3, generator=generator, **options
    )
    decided = ~np.isnan(preference)
    tree = PreferenceTree.fit(differences[decided], preference[decided], **options)
    own = np.abs(shap_values(tree, differences, background)).sum(axis=1).mean()
    # as in the shuffled rule above: a leaf of 10 pairs is off by 0.16
    assert 0 < totals.max() < 0.16 and own > 0.4


def test_each_figure_is_drawn_from_its_tables_and_shap_leaves_numpys_seed_alone():
    values, differences = judged()
    judges = ["A", "B", "C"]
    means = mean_abs_shap(values, judges, ATTRIBUTES, np.arange(200), resamples=50)
    curves = {
        name: mean_by_difference(values[:, :, column], differences[:, column], judges)
        for column, name in enumerate(ATTRIBUTES)
    }
    np.random.seed(3)
    expected = np.random.random()
    np.random.seed(3)
    first = dict(zip(judges, values[:, :50], strict=True))
    couples = by_couple(np.random.default_rng(0).random((3, 5, 5)), judges, ATTRIBUTES)
    steps = pd.DataFrame(values[:, 0], judges, ATTRIBUTES)
    shares = {"impurity": steps, "mean |SHAP|": steps}
    panels = [
        (draw_mean_shap(means, ATTRIBUTES), 5),
        (draw_shap_by_difference(curves, ["A"]), 5),
        (draw_swarms(first, differences[:50], ATTRIBUTES), 4),  # three, and the scale of colours
        (draw_interactions(couples, couples > 0.1), 1),
        (draw_one_pair(steps, pd.Series(differences[0], ATTRIBUTES)), 3),
        (draw_dendrogram(correlation_distances(values), judges, "distance"), 1),
        (draw_measures(shares, "impurity", {"mean |SHAP|": 0.0}), 1),
    ]
    assert np.random.random() == expected
    for figure, count in panels:
        assert len(figure.axes) == count
        assert all(axis.has_data() for axis in figure.axes)
        plt.close(figure)


def test_interactions_that_do_not_recur_are_grey_and_those_of_nobody_are_left_out():
    squares = np.zeros((2, 3, 3))
    squares[0, 0, 1] = 0.4
    squares[1, 1, 2] = 0.2
    sizes = by_couple(squares, ["Human", "A"], ["h", "c", "v"])
    assert list(sizes.index) == ["h × c", "c × v", "h × v"]
    sizes = sizes[sizes.max(axis=1) > 0]
    recurs = pd.DataFrame([[True, False], [False, False]], sizes.index, sizes.columns)
    figure = draw_interactions(sizes, recurs)
    (axis,) = figure.axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["h × c", "c × v"]
    blue, grey = axis.collections
    assert blue.cmap.name == "Blues" and grey.cmap.name == "Greys"
    assert blue.get_array().compressed().tolist() == [0.4]
    assert grey.get_array().compressed().tolist() == [0.2]
    assert [text.get_text() for text in axis.texts] == ["0.400", "0.200"]
    plt.close(figure)


def test_the_bars_of_a_pair_end_at_its_probability():
    tree = PreferenceTree.published("Human")
    differences = integers(40, seed=24)
    steps = pd.DataFrame(shap_values(tree, differences, differences)[:1], ["Human"], ATTRIBUTES)
    probability = tree.probability(differences[:1], averaged=True)[0]
    figure = draw_one_pair(steps, pd.Series(differences[0], ATTRIBUTES))
    last = figure.axes[0].containers[0].patches[-1]
    assert last.get_x() + last.get_width() == pytest.approx(probability, abs=1e-6)
    assert figure.axes[0].get_title().endswith(f"{probability:.2f}")
    plt.close(figure)

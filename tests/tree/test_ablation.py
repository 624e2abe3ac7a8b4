"""The ablation of a tree: its grid, its measures, and the one-standard-error rule."""

import numpy as np
import pandas as pd
import pytest
from tree_examples import PLANTED_NAMES, planted_sample

from dtreward.stats import accuracy_interval, log_loss_terms, mean_interval
from dtreward.tree.ablation import (
    Sample,
    Settings,
    choose_depth,
    choose_depth_by_folds,
    choose_size,
    constant_floors,
    describe_trees,
    grow_trees,
    is_right,
    join_tables,
    list_settings,
    list_sizes,
    measure_choice,
    measure_sizes,
    measure_trees,
    pair_losses,
    soften,
    soften_by_choice,
)
from dtreward.tree.tree import PreferenceTree


def table(leaves, losses, error=0.02):
    return pd.DataFrame(
        {"n_leaves": leaves, "validation_log_loss": losses, "standard_error": error}
    )


def test_the_rule_takes_the_smallest_tree_within_one_standard_error_of_the_lowest():
    assert choose_size(table([2, 4, 8], [0.60, 0.52, 0.51]))["n_leaves"] == 4
    assert choose_size(table([2, 4, 8], [0.60, 0.54, 0.51]))["n_leaves"] == 8
    assert choose_size(table([8, 4, 2], [0.51, 0.52, 0.52]))["n_leaves"] == 2


def test_the_rule_uses_the_standard_error_of_the_lowest_row_and_no_other():
    rows = table([2, 4], [0.60, 0.50], error=[1.0, 0.01])
    assert choose_size(rows)["n_leaves"] == 4
    rows = table([2, 4], [0.60, 0.50], error=[0.01, 1.0])
    assert choose_size(rows)["n_leaves"] == 2


def test_of_equally_many_leaves_the_rule_takes_the_lower_loss():
    assert choose_size(table([4, 4], [0.52, 0.51]))["validation_log_loss"] == 0.51


def test_the_rule_finds_one_planted_split_and_more_depth_where_it_takes_two():
    train = planted_sample(2000, seed=0)
    validation = planted_sample(1000, seed=1)
    options = {"resamples": 200, "seed": 0}
    assert choose_depth(train, validation, [1, 2, 3, 4], Settings(min_leaf=10), **options) == 1

    def corner(sample):
        votes = (sample.differences > 0).all(axis=1).astype(int)
        return Sample(PLANTED_NAMES, sample.differences, votes, sample.prompts)

    deeper = choose_depth(
        corner(train), corner(validation), [1, 2, 3], Settings(min_leaf=10), **options
    )
    assert deeper == 2


def test_a_softened_tree_decides_as_before_and_is_never_certain():
    sample = planted_sample(200, seed=2, noise=0.0)
    (tree,) = grow_trees(sample, list_sizes([3]), Settings())
    softer = soften(tree, len(sample), added=1.0)
    assert tree.value.min() == 0 and softer.value.min() > 0
    np.testing.assert_array_equal(
        softer.predict(sample.differences), tree.predict(sample.differences)
    )
    np.testing.assert_allclose(soften(tree, len(sample), added=0.0).value, tree.value)


def test_softening_adds_pairs_by_laplaces_rule():
    sample = planted_sample(300, seed=3)
    (tree,) = grow_trees(sample, list_sizes([2]), Settings())
    leaf_of = tree.apply(sample.differences)
    softer = soften(tree, len(sample), added=1.0)
    for leaf in np.unique(leaf_of):
        votes = sample.preference[leaf_of == leaf]
        expected = (votes.sum() + 1) / (len(votes) + 2)
        assert softer.value[leaf, 1] == pytest.approx(expected, abs=1e-12)


def test_both_orders_add_each_pair_in_both_too():
    sample = planted_sample(300, seed=4)
    (tree,) = grow_trees(sample, list_sizes([2]), Settings(orders="both"))
    both = soften(tree, len(sample), added=1.0, orders="both")
    twice = soften(tree, 2 * len(sample), added=2.0)
    np.testing.assert_allclose(both.value, twice.value, rtol=0, atol=1e-15)


def test_measures_are_those_of_each_tree_alone():
    sample = planted_sample(120, seed=5)
    trees = grow_trees(sample, list_sizes([1, 3]), Settings(min_leaf=5))
    trees = [soften(tree, len(sample), added=1.0) for tree in trees]
    found = measure_trees(trees, sample, resamples=300, seed=1)
    for row, tree in zip(found.to_dict("records"), trees, strict=True):
        probability = tree.probability(sample.differences)
        right = ((probability > 0.5) == sample.preference).astype(float)
        loss = log_loss_terms(probability, sample.preference)
        for name, terms in {"accuracy": right, "log_loss": loss}.items():
            alone = mean_interval(terms, sample.prompts, resamples=300, seed=1)
            measured = [row[name], row[f"{name}_low"], row[f"{name}_high"]]
            assert measured == pytest.approx([alone.estimate, alone.low, alone.high], abs=1e-12)


def test_a_tree_that_is_always_right_still_has_an_interval_with_a_width():
    sample = planted_sample(40, seed=6, noise=0.0)
    trees = grow_trees(sample, list_sizes([1]), Settings())
    row = measure_trees(trees, sample).iloc[0]
    expected = accuracy_interval(np.ones(40), sample.prompts)
    assert row["accuracy"] == 1.0
    assert row["accuracy_low"] == expected.low < 1.0


def test_a_block_has_a_row_a_size_and_returns_trees_that_are_not_softened():
    train = planted_sample(200, seed=7, noise=0.0)
    sizes = list_sizes([1, 2], leaves=[2, 4], prunings=[0.5])
    trees, found = measure_sizes(
        train, planted_sample(60, seed=8), sizes, Settings(), resamples=100
    )
    assert found["dial"].tolist() == ["depth", "depth", "leaves", "leaves", "pruning"]
    assert found["size"].tolist() == [1, 2, 2, 4, 0.5]
    assert found["n_leaves"].tolist() == [tree.n_leaves for tree in trees]
    assert trees[0].value.min() == 0
    assert {"train_accuracy", "validation_log_loss_high"} <= set(found)


def test_a_grid_has_every_combination_once():
    grid = list_settings(["log_loss", "gini"], ["as_given", "both"], [1, 10])
    assert len(grid) == len(set(grid)) == 8


def test_structure_says_what_decides_and_what_is_asked_first():
    tree = PreferenceTree.published("Human")
    row = describe_trees([tree], np.zeros((1, 5))).iloc[0]
    assert row["splits"] == row["n_leaves"] - 1
    assert row["splits_needed"] == tree.effective_rule().n_leaves - 1
    assert row["root"] == "helpfulness"


def test_losses_and_hits_of_pairs_average_to_the_measures_of_the_tree():
    sample = planted_sample(120, seed=5)
    trees = grow_trees(sample, list_sizes([1, 3]), Settings(min_leaf=5))
    found = measure_trees(trees, sample, resamples=50)
    assert is_right(trees[1], sample).mean() == found["accuracy"][1]
    np.testing.assert_array_equal(pair_losses(trees, sample).mean(axis=0), found["log_loss"])


def test_joined_tables_name_their_settings_and_mark_the_studys_own():
    train = planted_sample(100, seed=7)
    validation = planted_sample(60, seed=8)
    own = Settings(min_leaf=10)
    tables = {}
    for name in ("ratings", "rewards"):
        for settings in (own, Settings("gini", min_leaf=10)):
            _, table = measure_sizes(train, validation, list_sizes([1, 2]), settings, resamples=50)
            tables[name, settings] = table
    grid = join_tables(tables, own)
    labels = ["input", "criterion", "orders", "min_leaf"]
    assert list(grid) == [*labels, *table, "own", "standard_error"]
    assert grid["own"].tolist() == (grid["criterion"] == "log_loss").tolist()
    assert grid["input"].tolist() == ["ratings"] * 4 + ["rewards"] * 4
    width = grid["validation_log_loss_high"] - grid["validation_log_loss_low"]
    np.testing.assert_allclose(grid["standard_error"], width / 3.92)


@pytest.mark.parametrize(("train", "validation"), [(0.6, 0.55), (0.6, 0.4), (0.3, 0.2)])
def test_the_floors_are_those_of_the_constant_answer_of_the_training_pairs(train, validation):
    answers = np.repeat([1.0, 0.0], [round(100 * validation), round(100 - 100 * validation)])
    losses = -np.log(np.where(answers == 1, train, 1 - train))
    floors = constant_floors(train, validation)
    assert floors["log_loss"] == pytest.approx(losses.mean(), abs=1e-12)
    right = float(((train > 0.5) == answers).mean())
    assert floors["accuracy"] == pytest.approx(max(0.5, right), abs=1e-12)


def test_a_depth_that_is_chosen_by_folds_is_that_of_the_planted_tree():
    sample = planted_sample(400, seed=3)
    settings = Settings(min_leaf=5)
    assert choose_depth_by_folds(sample, [1, 2, 3, 4], settings) == 1
    both = (sample.differences > 0).all(axis=1).astype(int)
    takes_two = Sample(PLANTED_NAMES, sample.differences, both, sample.prompts)
    assert choose_depth_by_folds(takes_two, [1, 2, 3, 4], settings) == 2


def test_a_choice_is_measured_on_pairs_that_its_tree_has_not_seen():
    sample = planted_sample(300, seed=4)
    train, test = sample.take(np.arange(200)), sample.take(np.arange(200, 300))
    settings = Settings(min_leaf=5)
    found = measure_choice(train, test, 2, settings, added=1.0)
    (tree,) = grow_trees(train, list_sizes([2]), settings)
    softer = soften(tree, len(train), added=1.0)
    assert found["right"].tolist() == is_right(tree, test).tolist()
    assert found["log_loss"].tolist() == pair_losses([softer], test)[:, 0].tolist()
    assert found["prompt"].tolist() == test.prompts.tolist()
    likelier = float(train.preference.mean() > 0.5)
    assert found["constant"].mean() == (test.preference == likelier).mean()


def test_a_split_of_a_softened_tree_is_the_mean_of_its_leaves_so_that_every_split_gains():
    sample = planted_sample(200, seed=6, noise=0.3)
    (tree,) = grow_trees(sample, list_sizes([4]), Settings())
    softer = soften(tree, len(sample), added=8.0)
    for node in softer.splits:
        sides = softer.children(node)
        mean = softer.share[sides] @ softer.value[sides] / softer.share[node]
        assert softer.value[node] == pytest.approx(mean, abs=1e-9)
    assert softer.importances.min() >= 0
    np.testing.assert_allclose(soften(tree, len(sample), added=0.0).value, tree.value, atol=1e-9)


def grow_deep(sample):
    return grow_trees(sample, list_sizes([4]), Settings())[0]


def test_the_amount_of_softening_is_the_best_on_validation_and_changes_no_decision():
    train = planted_sample(200, seed=7, noise=0.2)
    validation = planted_sample(200, seed=8, noise=0.2)
    found = soften_by_choice(train, validation, grow_deep, [0.0, 1.0, 500.0])
    assert found.added == 1.0 == min(found.losses, key=found.losses.get)
    tree = soften(grow_deep(train), 200, added=1.0)
    loss = log_loss_terms(tree.probability(validation.differences), validation.preference)
    assert found.losses[1.0] == pytest.approx(loss.mean())
    np.testing.assert_array_equal(found.tree.value, tree.value)
    for sample in (train, validation):
        decided = found.as_grown.predict(sample.differences)
        np.testing.assert_array_equal(found.tree.predict(sample.differences), decided)


def test_few_validation_prompts_leave_the_choice_to_the_training_pairs():
    train = planted_sample(200, seed=7, noise=0.2)
    misleading = planted_sample(30, seed=8, noise=1.0)  # 15 prompts
    chosen = soften_by_choice(train, misleading, grow_deep, [0.0, 1.0, 500.0])
    alone = soften_by_choice(train, train.take(np.array([], int)), grow_deep, [0.0, 1.0, 500.0])
    assert chosen.added == alone.added == 1.0 and chosen.losses == alone.losses
    one_prompt = Sample(train.attributes, train.differences, train.preference, np.zeros(200, int))
    nothing = soften_by_choice(one_prompt, misleading, grow_deep, [1.0, 2.0])
    assert nothing.added == 2.0 and nothing.losses == {}

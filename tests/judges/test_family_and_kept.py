"""Judges of one family, contradicted pairs, and length alone: planted differences are found."""

from functools import partial

import numpy as np
import pandas as pd

from dtreward.judges.family import compare_in_families
from dtreward.judges.kept import (
    OTHERS_RIGHT,
    PREFER_LONGER,
    UNEQUAL,
    compare_kept,
    unequal_lengths,
)
from dtreward.judges.length_rule import compare_with_length
from dtreward.judges.trees import DecidedPairs, held_out_accuracy
from dtreward.tree.tree import PreferenceTree

PAIRS = 200


def answers_table(by_judge, **columns):
    """Write rows of `biases.list_answers` from what each judge is on each pair."""
    tables = []
    for judge, (right, consistent) in by_judge.items():
        row = {"judge": judge, "family": judge.split("/")[0], "pair": range(PAIRS)}
        row |= {"prompt_id": range(PAIRS), "right": right, "consistent": consistent}
        tables.append(pd.DataFrame(row | columns))
    return pd.concat(tables, ignore_index=True)


def test_a_prompt_that_makes_a_model_worse_is_found_and_one_that_changes_nothing_is_not():
    generator = np.random.default_rng(0)
    right = (generator.random(PAIRS) < 0.8).astype(float)
    worse = np.where(generator.random(PAIRS) < 0.3, 0.5, right)
    steady = np.ones(PAIRS)
    torn = np.where(worse == 0.5, 0.0, 1.0)
    judges = {"F/a": (right, steady), "F/b": (worse, torn), "F/c": (right, steady)}
    table = compare_in_families(answers_table(judges | {"G/a": (right, steady)}), resamples=200)
    assert set(table["family"]) == {"F"}
    table = table.set_index(["measure", "judge", "other"])
    for measure in ("right", "consistent"):
        assert table.loc[(measure, "F/a", "F/b"), "difference"] < 0
        assert table.loc[(measure, "F/a", "F/b"), "p"] < 0.05
        assert table.loc[(measure, "F/a", "F/c"), "p"] == 1
        assert table.loc[(measure, "F/a", "F/c"), "difference_low"] < 0
    truth = (worse - right).mean()
    assert table.loc[("right", "F/a", "F/b"), "difference"] == truth


def test_pairs_that_one_of_two_judges_did_not_answer_are_left_out():
    right = np.ones(PAIRS)
    table = answers_table({"F/a": (right, right), "F/b": (right, right)})
    table = table[(table["judge"] == "F/a") | (table["pair"] < 15)]
    compared = compare_in_families(table, resamples=50)
    assert compared["pairs"].tolist() == [15, 15]
    assert compared["p"].isna().all()  # fewer than 20 prompts tell nothing


def test_a_judge_that_wavers_on_pairs_of_equal_length_is_found_and_luck_is_not():
    generator = np.random.default_rng(1)
    unequal = generator.random(PAIRS)
    wavers = np.where(generator.random(PAIRS) < unequal, 1.0, 0.0)
    by_luck = generator.permutation(wavers)
    right = generator.integers(0, 2, PAIRS).astype(float)
    judges = {"J": (right, wavers), "K": (right, by_luck)}
    answers = answers_table(judges, is_longer=generator.integers(0, 2, PAIRS).astype(float))
    table = compare_kept(answers, pd.Series(unequal), resamples=200)
    table = table.set_index(["measure", "judge"])
    assert table.loc[(UNEQUAL, "J"), "p"] < 0.05
    assert table.loc[(UNEQUAL, "J"), "difference_low"] > 0
    assert table.loc[(UNEQUAL, "K"), "p"] > 0.05
    assert table.loc[(PREFER_LONGER, "J"), "p"] > 0.05
    kept = table.loc[(OTHERS_RIGHT, "J"), "kept"]
    assert kept == right[wavers == 1].mean()  # the other judge is right as often as this one


def test_a_judge_that_never_contradicts_itself_has_no_dropped_pairs():
    steady = np.ones(PAIRS)
    answers = answers_table({"J": (steady, steady)}, is_longer=1.0)
    table = compare_kept(answers, pd.Series(np.full(PAIRS, 0.5)), resamples=20)
    assert table["dropped"].isna().all() and table["p"].isna().all()


def test_equal_and_empty_responses_have_equal_lengths():
    unequal = unequal_lengths(np.array([0, 3, 0]), np.array([0, 3, 9]))
    assert unequal.tolist() == [0, 0, 1]


def test_a_tree_is_better_than_length_only_where_the_judge_looks_at_something_else():
    generator = np.random.default_rng(2)
    differences = generator.normal(size=(PAIRS, 2))  # of another attribute, and of words
    by_other = (differences[:, 0] > 0).astype(int)
    by_length = (differences[:, 1] > 0).astype(int)
    decided = {}
    for judge, preference in {"other": by_other, "length": by_length}.items():
        prompts = np.arange(PAIRS)
        decided[judge] = DecidedPairs(differences, preference, prompts, prompts % 2 == 0)
    fit = partial(PreferenceTree.fit, attributes=["h", "words"], max_depth=2, min_leaf=5)
    longer = dict.fromkeys(decided, differences[:, 1])
    table = compare_with_length(decided, longer, fit, resamples=200).set_index("judge")
    assert table.loc["other", "p"] < 0.001 and table.loc["other", "gain_low"] > 0.3
    assert table.loc["length", "p"] > 0.05
    alone = held_out_accuracy(decided["other"], fit, resamples=200)
    assert table.loc["other", "tree"] == alone.accuracy.estimate
    assert table.loc["other", "floor"] == alone.floor

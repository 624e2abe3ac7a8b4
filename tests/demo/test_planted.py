"""A fitted tree beside the one that made the preferences."""

import numpy as np
import pandas as pd

from dtreward.demo.planted import (
    compare_leaves,
    compare_refusals,
    false_splits,
    planted_questions,
    top_questions,
)
from dtreward.tree.tree import PreferenceTree

HUMAN = PreferenceTree.published("Human")


def test_the_questions_of_the_published_human_tree_are_its_two_helpfulness_splits():
    assert planted_questions(HUMAN) == [("helpfulness", -0.5), ("helpfulness", 0.5)]
    assert top_questions(HUMAN)[0] == ("helpfulness", 0.5)


def test_questions_that_do_not_recur_are_left_out():
    recurs = np.ones(len(HUMAN.feature), bool)
    recurs[0] = False
    assert top_questions(HUMAN, recurs) == top_questions(HUMAN)[1:]


def test_a_lone_leaf_asks_nothing():
    alike = np.zeros((20, 1))
    tree = PreferenceTree.fit(alike, np.arange(20) % 2, attributes=["a"])
    assert tree.n_leaves == 1 and top_questions(tree) == []


def test_leaves_hold_what_was_planted_and_not_what_was_not():
    random = np.random.default_rng(0)
    leaf = random.integers(0, 3, size=3000)
    planted = np.array([0.1, 0.5, 0.9])[leaf]
    drawn = (random.random(3000) < planted).astype(int)
    table = compare_leaves(leaf, planted, drawn)
    assert table["planted"].between(table["low"], table["high"]).all()
    other = compare_leaves(leaf, 1 - planted, drawn)
    inside = other["planted"].between(other["low"], other["high"])
    assert inside.tolist() == [False, True, False]


def test_small_leaves_are_not_compared():
    leaf = np.array([1] * 97 + [2] * 3)
    table = compare_leaves(leaf, np.full(100, 0.5), np.arange(100) % 2)
    assert table.index.tolist() == [1]


def test_refusals_agree_with_what_was_planted_and_not_with_other_shares():
    counts = pd.DataFrame(
        {
            "decided": [960, 999, 900],
            "refused": [40, 1, 0],
            "unparsed": [0, 0, 100],
            "error": 0,
            "missing": 0,
        },
        index=["planted", "not planted", "too often"],
    )
    planted = {"planted": ("refused", 0.04), "too often": ("unparsed", 0.05)}
    table = compare_refusals(counts, planted)
    assert table["agrees"].to_dict() == {"planted": True, "not planted": False, "too often": False}
    assert table["found"].tolist() == [0.04, 0.001, 0.1]


def test_pairs_that_were_never_answered_do_not_count_as_no_refusal():
    counts = pd.DataFrame(
        {"decided": [48], "refused": [2], "unparsed": [0], "error": [40], "missing": [10]},
        index=["J"],
    )
    assert compare_refusals(counts, {"J": ("refused", 0.04)})["found"].tolist() == [0.04]


def test_a_recurring_split_is_false_where_the_taste_does_not_use_its_attribute():
    splits = pd.DataFrame(
        {
            "judge": ["GPT-4o", "GPT-4o", "Plain-1", "Plain-1", "Plain-1", "stranger"],
            "attribute": ["helpfulness", "wit", "coherence", "complexity", "complexity", "wit"],
            "threshold": 0.5,
            "recurs": [True, True, True, True, False, True],
        }
    )
    tastes = {"GPT-4o": "GPT-4o", "Plain-1": {"verbosity": -2.0, "coherence": 1.0}}
    assert false_splits(splits, tastes) == ["GPT-4o: wit > 0.5", "Plain-1: complexity > 0.5"]

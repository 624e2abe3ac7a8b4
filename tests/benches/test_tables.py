"""Tables on what several models say of the same pairs, with positive and shuffled controls."""

import numpy as np
import pandas as pd

from dtreward.benches.candidates import length_parts
from dtreward.benches.leaderboard import Measured, as_text, leaderboard, sort_rows
from dtreward.benches.tables import TESTS, coin_control, compare_rows, overview, tree_decisions
from dtreward.stats import Interval

PAIRS = 60


def results(right, **columns):
    """Results with a problem a pair, `right` (1 or 0) both in one order and in both."""
    right = np.asarray(right, float)
    pairs = np.arange(len(right))
    frame = pd.DataFrame({"id": pairs, "subset": "math-prm", "problem": pairs, "unread": ""})
    frame = frame.assign(preference=right, correct=right, probability=right, swap_flips=1.0)
    return frame.assign(**columns)


def test_a_difference_is_firm_only_where_there_is_one():
    good = np.ones(PAIRS)
    coin = np.tile([0, 1], PAIRS // 2)
    rows = {"good": results(good), "coin": results(coin), "other coin": results(1 - coin)}
    table = compare_rows(rows, list(rows), resamples=200, seed=0).set_index(["row", "minus"])
    assert table["firm"].to_dict() == {
        ("good", "coin"): True,
        ("good", "other coin"): True,
        ("coin", "other coin"): False,
    }
    assert table.loc[("good", "coin"), "points"] == 50.0
    assert (table[TESTS] <= 1).all(axis=None)


def test_rows_without_two_problems_in_common_are_not_compared():
    one = results(np.ones(4), unread=["", "blank", "blank", "blank"])
    two = results(np.ones(4), unread=["blank", "", "", ""])
    assert compare_rows({"one": one, "two": two}, ["one", "two"], resamples=10, seed=0).empty


def test_decisions_that_differ_are_counted_in_both_orders():
    differences = [[1.0, 0.0], [-1.0, 0.0], [1.0, 0.0]]
    tree = results(
        [1, 1, 1],
        probability=[0.9, 0.9, 0.9],
        swapped=[0.1, 0.1, 0.9],
        attributes=[["helpfulness", "verbosity"]] * 3,
        differences=differences,
    )
    base = results([1, 1, 1], swapped=[0.1, 0.1, 0.1], unread=["", "", "blank"])
    (alone,) = tree_decisions({"tree": tree}, "tree")
    assert alone.counts() == {
        "tree": "tree",
        "beside": "helpfulness",
        "decisions": 6,
        "differ": 3,
        "tree right": 2,
        "other right": 1,
    }
    first, beside = tree_decisions({"tree": tree, "base": base}, "tree", "base")
    assert first.counts()["decisions"] == 4  # the pairs that both have read
    assert (beside.beside, beside.counts()["differ"]) == ("base", 0)


def test_a_coin_makes_the_best_model_no_better_than_itself():
    read = {"good": results(np.ones(PAIRS))}
    luck = coin_control(read, PAIRS, coins=20, resamples=100, seed=0)
    assert luck.loc["good", "above half"] <= 4
    assert abs(luck.loc["good", "mean share right"] - 0.5) < 5 * 0.5 / np.sqrt(20 * PAIRS)


def test_the_overview_has_a_row_for_each_model_that_failed_too():
    table = overview({"good": results([1, 0])}, {"good": "score"}, {"good": None}, {"bad": "no"})
    assert table.loc["good"].tolist() == ["score", "0.500", "0.500", "1.000", "0", "–", "0"]
    assert table.loc["bad"].tolist() == ["failed: no"] + ["–"] * 6


def test_parts_by_length_hold_every_pair_once_in_order():
    words = np.random.default_rng(0).permutation(50) + 1
    chosen = [" ".join(["word"] * count) for count in words]
    bench = pd.DataFrame({"chosen": chosen, "rejected": "word", "problem": range(50)})
    parts = length_parts(bench, [])
    assert sorted(np.concatenate(parts)) == list(range(50)) and len(parts) == 5
    means = [words[rows].mean() for rows in parts]
    assert means == sorted(means)
    lost = bench[~bench.index.isin(parts[2])]
    assert len(length_parts(bench, [lost])) == 4  # one model has read nothing of the third


def test_a_stand_in_gets_no_difference_and_text_has_intervals_where_measured():
    scores = {"Reasoning": Interval(90.0, 80.0, 95.0)}
    published = pd.Series({"Chat": 1.0, "Chat Hard": 1.0, "Safety": 1.0, "Reasoning": 91.0})
    given = {"results": results([1, 0]), "scores": scores, "published": published}
    measured = Measured(name="TextEval-Llama3.1-70B", kind="verdict", **given)
    assert measured.stands_in and measured.comparable() == []
    assert "not comparable" in measured.note()
    table = sort_rows(leaderboard([measured], {}, {}), "model")
    assert table["model"].is_monotonic_increasing
    text = as_text(table).set_index(["model", "row"])
    assert text.loc[(measured.name, "measured"), "Reasoning"] == "90.0 [80.0, 95.0]"
    assert text.loc[(measured.name, "published"), "Reasoning"] == "91.0"

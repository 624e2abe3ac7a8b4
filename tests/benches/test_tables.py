"""Tables on what several models say of the same pairs, with positive and shuffled controls."""

import numpy as np
import pandas as pd

from dtreward.benches.candidates import length_parts
from dtreward.benches.leaderboard import Measured, as_text, leaderboard, sort_rows
from dtreward.benches.published_scores import published_scores
from dtreward.benches.tables import (
    EQUAL,
    TESTS,
    coin_control,
    compare_rows,
    compared_with,
    overview,
    subset_rates,
    tree_decisions,
)
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
    table = compare_rows(rows, list(rows), margin=5.0, resamples=200, seed=0)
    assert compared_with(table, "coin", "good") == "worse"
    assert compared_with(table, "coin", "other coin") == "cannot tell"
    table = table.set_index(["row", "minus"])
    assert table["firm"].to_dict() == {
        ("good", "coin"): True,
        ("good", "other coin"): True,
        ("coin", "other coin"): False,
    }
    assert table.loc[("good", "coin"), "points"] == 50.0
    assert (table[[*TESTS, EQUAL]] <= 1).all(axis=None)


def test_rows_are_equal_only_where_a_test_finds_them_within_the_margin():
    right = np.tile([1, 1, 0], 100)
    nearly = right.copy()
    nearly[0] = 0
    for rows, margin, outcome in (
        (300, 3.0, "equal"),
        (300, 0.3, "cannot tell"),
        (15, 50.0, "cannot tell"),
    ):
        both = {"a": results(right[:rows]), "b": results(nearly[:rows])}
        table = compare_rows(both, ["a", "b"], margin=margin, resamples=500, seed=0)
        assert table["outcome"].tolist() == [outcome]
        assert not table["firm"].any()


def test_each_share_of_a_subset_has_an_interval_and_a_test_that_finds_the_hard_one():
    subsets = ["math-prm"] * 30 + ["alpacaeval-easy"] * 29 + ["hep-go"]
    right = np.repeat([0.0, 1.0], 30)
    rates = subset_rates({"good": results(right, subset=subsets)}, resamples=200, seed=0)
    rates = rates.set_index("subset")
    assert list(rates.index) == ["alpacaeval-easy", "math-prm", "hep-go"]
    assert rates["share"].tolist() == [1, 0, 1] and rates["n"].tolist() == [29, 30, 1]
    assert rates.loc["alpacaeval-easy", "low"] < 1 and rates.loc["math-prm", "high"] > 0
    assert rates.loc["math-prm", "p"] < 0.05
    assert rates.loc["hep-go", ["low", "high", "p"]].isna().all()  # one problem tells nothing


def test_rows_without_two_problems_in_common_are_not_compared():
    one = results(np.ones(4), unread=["", "blank", "blank", "blank"])
    two = results(np.ones(4), unread=["blank", "", "", ""])
    both = {"one": one, "two": two}
    assert compare_rows(both, list(both), margin=1.0, resamples=10, seed=0).empty


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
    assert table.loc["good"].tolist() == ["score", "0.500", "0.500", "1.000", "0", "–", "–", "0"]
    assert table.loc["bad"].tolist() == ["failed: no"] + ["–"] * 7


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


def test_a_stand_in_gets_no_difference_and_text_has_the_intervals_that_are_known():
    scores = {"Reasoning": Interval(90.0, 80.0, 95.0)}
    published = published_scores().loc["TextEval-Llama3.1-70B"]
    given = {"results": results([1, 0]), "scores": scores, "published": published}
    measured = Measured(name="TextEval-Llama3.1-70B", kind="verdict", **given)
    assert measured.stands_in and measured.comparable() == []
    assert "not comparable" in measured.note()
    table = sort_rows(leaderboard([measured], {}, {}), "model")
    assert table["model"].is_monotonic_increasing
    text = as_text(table).set_index(["model", "row"])
    assert text.loc[(measured.name, "measured"), "Reasoning"] == "90.0 [80.0, 95.0]"
    assert text.loc[(measured.name, "published"), "Reasoning"] == "96.4 [93.9, 97.9]"

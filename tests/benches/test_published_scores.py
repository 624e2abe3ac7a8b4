"""Intervals of the published scores, and which ranks they leave open."""

import numpy as np
import pandas as pd
import pytest

from dtreward.benches.leaderboard import as_text, leaderboard
from dtreward.benches.published_scores import (
    COLUMNS,
    published_differences,
    published_intervals,
    published_ranks,
    published_scores,
    weighted_share_interval,
)


def test_scores_from_counts_are_those_that_were_printed():
    printed = published_scores()
    for name, scores in published_intervals().items():
        for column, interval in scores.items():
            assert interval.low < interval.estimate < interval.high <= 100
            assert interval.estimate == pytest.approx(printed.loc[name, column], abs=0.0501)


def test_an_interval_holds_the_truth_as_often_as_it_says():
    random = np.random.default_rng(0)
    total = np.array([100.0, 28.0, 154.0, 447.0])
    truth = np.array([0.97, 0.9, 0.99, 0.95])
    weights = np.array([40.0, 10.0, 30.0, 20.0])
    holds = 0
    for correct in random.binomial(total.astype(int), truth, size=(1000, 4)).astype(float):
        interval = weighted_share_interval(correct, total, weights)
        holds += interval.low <= weights @ truth <= interval.high
    # 0.95, and five standard errors of 1,000 draws.
    assert holds / 1000 == pytest.approx(0.95, abs=5 * np.sqrt(0.95 * 0.05 / 1000))


def test_a_difference_is_that_of_the_scores_and_changes_its_sign_with_the_models():
    correct = np.array([90.0, 80.0])
    total = np.array([100.0, 100.0])
    one = weighted_share_interval(correct, total, np.array([1.0, -1.0]))
    other = weighted_share_interval(correct, total, np.array([-1.0, 1.0]))
    assert (other.estimate, other.low, other.high) == (-one.estimate, -one.high, -one.low)
    assert one.low == pytest.approx(0.0010, abs=0.001)  # Newcombe (1998), method 10, by hand


def test_models_that_differ_more_than_by_chance_get_ranks_that_do_not_overlap():
    """Of the eight, one difference is made firm by hand: the best is above the worst."""
    differences = published_differences()
    names = list(published_intervals())
    assert len(differences) == 28 * len(COLUMNS)
    assert not differences["firm"].any()  # as the published counts are, nothing tells them apart
    is_widest = (differences["row"] == names[0]) & (differences["minus"] == names[-1])
    ranks = published_ranks(differences.assign(firm=is_widest)).set_index("model")["together"]
    assert ranks[names[0]] == "1 to 7" and ranks[names[-1]] == "2 to 8"
    assert (ranks[names[1:-1]] == "1 to 8").all()
    assert (ranks[ranks.index.difference(names)] == "").all()


def test_only_models_with_counts_have_intervals_on_the_leaderboard():
    table = leaderboard([], {}, {})
    has_interval = table["overall low"].notna()
    assert set(table.loc[has_interval, "model"]) == set(published_intervals())
    text = as_text(table).set_index("model")["overall"]
    assert text["INF-QRM-Llama3.1-70B"] == "95.1 [93.8, 95.8]"
    assert text["Decision-Tree-Reward-Gemma-2-27B"] == "95.4"
    assert isinstance(table, pd.DataFrame) and has_interval.sum() == 8

"""Judges beside each of several people, who are compared with the majority of the others."""

from itertools import product

import numpy as np
import pandas as pd
import pytest

from dtreward.judges.agreement import agreement
from dtreward.judges.people import (
    EVERYBODY,
    claim_as_good,
    compare_with_readers,
    leave_out_own_votes,
    majority_of_others,
    votes_of_readers,
)

PEOPLE = ["Ann", "Bob", "Cem"]
PAIRS = 600
OPTIONS = {"margin": 0.05, "resamples": 400, "seed": 0}


@pytest.fixture
def readers():
    """Three people who follow one truth, and each errs in one vote of five on their own."""
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 2, PAIRS).astype(float)
    votes = {name: np.abs(truth - (generator.random(PAIRS) < 0.2)) for name in PEOPLE}
    return pd.DataFrame(votes).assign(truth=truth)


def pooled(judge, readers):
    table = compare_with_readers(pd.DataFrame({"J": judge}), readers, range(PAIRS), **OPTIONS)
    return table.set_index("reader").loc[EVERYBODY]


def test_the_majority_of_others_is_the_count_without_ones_own_vote():
    every = list(product([0.0, 1.0, np.nan], repeat=3))
    votes = pd.DataFrame(every, columns=PEOPLE)
    found = majority_of_others(votes)
    for row, name in product(votes.index, PEOPLE):
        share = votes.loc[row, [other for other in PEOPLE if other != name]].mean()
        if np.isnan(share) or share == 0.5:
            assert np.isnan(found.loc[row, name])
        else:
            assert found.loc[row, name] == round(share)


def test_a_judge_who_knows_the_truth_is_better_one_who_tosses_coins_worse(readers):
    """A person agrees with two others who agree in about 0.72 of the pairs, the truth in 0.94."""
    people = readers[PEOPLE]
    coin = pd.Series(np.random.default_rng(1).integers(0, 2, PAIRS).astype(float))
    assert pooled(readers["truth"], people)["outcome"] == "better"
    assert pooled(coin, people)["outcome"] == "worse"
    one_of_them = pd.Series(
        np.abs(readers["truth"] - (np.random.default_rng(2).random(PAIRS) < 0.2))
    )
    assert pooled(one_of_them, people)["outcome"] not in ("better", "worse")


def test_a_copy_of_a_reader_is_equal_to_that_reader(readers):
    people = readers[PEOPLE]
    table = compare_with_readers(
        pd.DataFrame({"J": people["Ann"]}), people, range(PAIRS), **OPTIONS
    ).set_index("reader")
    assert table.loc["Ann", "difference"] == 0 and table.loc["Ann", "outcome"] == "equal"
    assert table.loc["Ann", "of_judge"].estimate == table.loc["Ann", "of_reader"].estimate
    assert table["votes"][EVERYBODY] == table["votes"][PEOPLE].sum()


def test_people_among_the_judges_are_not_set_beside_themselves(readers):
    people = readers[PEOPLE]
    table = compare_with_readers(people.assign(J=1.0), people, range(PAIRS), **OPTIONS)
    assert set(table["judge"]) == {"J"}
    nobody = compare_with_readers(people, people, range(PAIRS), **OPTIONS)
    assert nobody.empty and claim_as_good(nobody) == []


def test_what_cannot_be_told_is_claimed_by_nobody(readers):
    few = readers[:15]
    table = compare_with_readers(
        few[["truth"]].rename(columns={"truth": "J"}), few[PEOPLE], range(15), **OPTIONS
    )
    assert [claim.held for claim in claim_as_good(table)] == [None]


def test_ones_own_vote_does_not_count_in_the_agreement_with_people(readers):
    """People who toss coins agree with a majority that holds their own vote, and with no other."""
    coins = pd.DataFrame(np.random.default_rng(3).integers(0, 2, (PAIRS, 3)), columns=PEOPLE)
    coins = coins.astype(float)
    votes = coins.assign(J=0.0)
    votes.loc[::2, "J"] = 1.0
    votes.insert(0, "Human", (coins.mean(axis=1) > 0.5).astype(float))
    table = agreement(votes, range(PAIRS), resamples=200)
    others = majority_of_others(coins)
    left_out = leave_out_own_votes(table, votes, others, range(PAIRS), resamples=200)
    is_of_people = (table["judge"] == "Human") & table["other"].isin(PEOPLE)
    assert (table.loc[is_of_people, "kappa_low"] > 0.3).all()
    assert (left_out.loc[is_of_people, "kappa_low"] < 0).all()
    pd.testing.assert_frame_equal(left_out[~is_of_people], table[~is_of_people])
    without = leave_out_own_votes(table, votes, others[[]], range(PAIRS), resamples=200)
    pd.testing.assert_frame_equal(without, table)


def test_votes_lie_in_rows_of_pairs_and_one_who_votes_for_both_has_none():
    rows = [
        (5, "a", "b", 0.0, "Ann"),
        (5, "b", "a", 0.0, "Bob"),
        (7, "a", "c", 1.0, "Ann"),
        (7, "a", "c", 0.0, "Ann"),
        (7, "c", "a", np.nan, "Bob"),
    ]
    names = ["pair_id", "response_1", "response_2", "preference", "reader"]
    frame = pd.DataFrame(rows, columns=names)
    frame["preference"] = frame["preference"].astype("Int8")  # as load_pairs gives it
    votes = votes_of_readers(frame)
    assert votes.index.tolist() == [0, 2]
    assert votes.loc[0].to_dict() == {"Ann": 0.0, "Bob": 1.0}
    assert votes.loc[2].isna().all()
    nameless = votes_of_readers(frame.drop(columns="reader"))
    assert nameless.shape == (2, 0) and majority_of_others(nameless).shape == (2, 0)
    judge = pd.DataFrame({"J": [0.0, 1.0]}, nameless.index)
    assert compare_with_readers(judge, nameless, [0, 1], **OPTIONS).empty

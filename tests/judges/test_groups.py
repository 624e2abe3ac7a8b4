"""Judges by group of pairs: a planted difference is found, and none where there is none."""

from functools import partial

import numpy as np
import pandas as pd
import pytest

from dtreward.judges.groups import (
    AGREEMENT,
    CONSISTENCY,
    LONGER,
    compare_rates,
    compare_trees,
    judged_values,
)
from dtreward.judges.trees import DecidedPairs
from dtreward.tree.tree import PreferenceTree

FIT = partial(PreferenceTree.fit, attributes=["h", "v"], max_depth=1, min_leaf=5)
PAIRS = 240


@pytest.fixture
def study():
    """A judge that follows people and is consistent, but in group "b" prefers length, and wavers."""
    generator = np.random.default_rng(0)
    group = pd.Series(np.where(np.arange(PAIRS) % 2, "b", "a"), index=range(100, 100 + PAIRS))
    differences = generator.normal(size=(PAIRS, 2))
    people = (differences[:, 0] > 0).astype(float)
    by_length = (differences[:, 1] > 0).astype(float)
    judge = np.where(group == "b", by_length, people)
    torn = (group == "b").to_numpy() & (generator.random(PAIRS) < 0.5)
    votes = pd.DataFrame({"Human": people, "J": np.where(torn, np.nan, judge)}, group.index)
    outcome = np.where(torn, "inconsistent", "decided")
    judges = pd.DataFrame({"judge": "J", "pair": group.index, "outcome": outcome})
    return judges, votes, differences, group


def test_rates_of_a_group_that_differs_are_told_apart(study):
    judges, votes, differences, group = study
    values = judged_values(judges, votes, differences[:, 1])
    prompt = pd.Series(range(PAIRS), index=group.index)
    table = compare_rates(values, group, prompt, resamples=200).set_index(
        ["measure", "judge", "group"]
    )
    assert table.loc[(CONSISTENCY, "J", "a"), "estimate"] == 1
    assert table.loc[(CONSISTENCY, "J", "b"), "estimate"] == pytest.approx(0.5, abs=0.15)
    assert table.loc[(AGREEMENT, "J", "a"), "estimate"] == 1
    assert table.loc[(AGREEMENT, "J", "b"), "estimate"] == pytest.approx(0.5, abs=0.15)
    assert table.loc[(LONGER, "J", "b"), "estimate"] == 1
    judged = table.xs("J", level="judge")
    assert judged["p"].max() < 0.05
    assert table.loc[(LONGER, "Human", "a"), "p"] > 0.05
    assert (AGREEMENT, "Human", "a") not in table.index


def test_pairs_without_a_group_or_with_equal_lengths_say_nothing(study):
    judges, votes, differences, group = study
    longer = differences[:, 1].copy()
    longer[:100] = 0
    values = judged_values(judges, votes, longer)
    of_people = values[(values["measure"] == LONGER) & (values["judge"] == "Human")]
    assert of_people["pair"].tolist() == list(range(200, 100 + PAIRS))
    group[150:] = None
    prompt = pd.Series(range(PAIRS), index=group.index)
    table = compare_rates(values, group, prompt, resamples=50)
    counts = table[table["measure"] == CONSISTENCY].set_index("group")["n"]
    assert counts.sum() == 150


def test_few_prompts_have_rates_but_no_test(study):
    judges, votes, differences, group = study
    values = judged_values(judges, votes, differences[:, 1])
    prompt = pd.Series(np.arange(PAIRS) // 12 // 2, index=group.index)  # ten prompts
    table = compare_rates(values, group, prompt, resamples=50)
    assert table["p"].isna().all() and table["estimate"].notna().all()


def test_a_group_of_another_taste_needs_its_own_tree_and_one_of_the_same_taste_does_not(study):
    _, votes, differences, group = study
    nobody = np.zeros(PAIRS, dtype=bool)
    decided = {
        name: DecidedPairs.of(votes[name], differences, range(PAIRS), nobody) for name in votes
    }
    groups = {name: group[votes[name].notna()].to_numpy() for name in votes}
    table = compare_trees(decided, groups, FIT, resamples=200).set_index(["judge", "group"])
    judged = table.loc["J"]
    assert (judged["gain_low"] > 0.2).all() and (judged["p"] < 0.05).all()
    people = table.loc["Human"]
    assert (people["p"] > 0.5).all() and (people["own"] > 0.9).all()


def test_a_group_is_never_measured_by_a_tree_that_saw_its_prompts(study):
    _, votes, differences, group = study
    prompts = np.arange(PAIRS) // 4  # every prompt is in both groups
    pairs = DecidedPairs.of(votes["Human"], differences, prompts, np.zeros(PAIRS, dtype=bool))
    table = compare_trees({"Human": pairs}, {"Human": group.to_numpy()}, FIT, resamples=50)
    assert table.empty


def test_pairs_that_are_in_no_group_cannot_be_compared(study):
    judges, votes, differences, group = study
    values = judged_values(judges, votes, differences[:, 1])
    nothing = pd.Series(np.nan, index=group.index)
    with pytest.raises(ValueError, match="no judged pair has a group"):
        compare_rates(values, nothing, nothing)

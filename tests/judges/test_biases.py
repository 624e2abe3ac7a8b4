"""What sways a judge: planted biases are found, and none where lengths or people are shuffled."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from dtreward.judges.biases import (
    EFFECTS,
    MEASURES,
    REFERENCES,
    biases_by_subset,
    common_subsets,
    favoured_position,
    list_answers,
    measure_biases,
)
from dtreward.stats import FEWEST_PROMPTS

PAIRS = 300
WHAT = ("people", "longer", "first", "second", "coin")


def answers_of(generator, shares, people, longer):
    """Let a judge answer both orders, each time by people, length, a position or a coin."""
    drawn = generator.choice(WHAT, size=(2, len(people)), p=shares)
    by_length = (longer > 0).astype(float)
    named = []
    for order, words in enumerate(drawn):
        coin = generator.integers(0, 2, len(people)).astype(float)
        first = np.full(len(people), float(order))  # the response that stands first in this order
        choices = [people, by_length, first, 1 - first, coin]
        named.append(np.select([words == what for what in WHAT], choices))
    positions = np.where(named[0] == 0, "A", "B"), np.where(named[1] == 1, "A", "B")
    is_decided = named[0] == named[1]
    return {
        "given": positions[0],
        "swapped": positions[1],
        "outcome": np.where(is_decided, "decided", "inconsistent"),
        "preference": np.where(is_decided, named[0], np.nan),
    }


@pytest.fixture
def world():
    """People who follow something else than length, and five judges of known tastes."""
    generator = np.random.default_rng(3)
    people = generator.integers(0, 2, PAIRS).astype(float)
    longer = generator.choice([-20, 20], PAIRS)
    tastes = {
        "fair": (1, 0, 0, 0, 0),
        "coin": (0, 0, 0, 0, 1),
        "wordy": (0.3, 0.5, 0, 0, 0.2),
        "first": (0.4, 0, 0.5, 0, 0.1),
        "second": (0.4, 0, 0, 0.5, 0.1),
    }
    tables = []
    for judge, shares in tastes.items():
        table = pd.DataFrame(answers_of(generator, shares, people, longer))
        pairs = range(PAIRS)
        tables.append(table.assign(judge=judge, family=judge, pair=pairs, prompt_id=pairs))
    judges = pd.concat(tables, ignore_index=True)
    return judges, pd.Series(people), longer


def measured(world, **options):
    return measure_biases(list_answers(*world), resamples=200, **options)


def test_planted_biases_are_found_and_no_others(world):
    table = measured(world)
    assert (table.loc["wordy", "length_effect_low"]) > 0
    others = table.drop("wordy")
    assert (others["length_effect_low"] <= 0).all() and (others["length_effect_high"] >= 0).all()
    favours = favoured_position(table, FEWEST_PROMPTS)
    assert favours.to_dict() == {
        "fair": "",
        "coin": "",
        "wordy": "",
        "first": "first",
        "second": "second",
    }
    beyond = table["beyond_length_low"] > 0
    assert list(table.index[beyond]) == ["fair", "wordy", "first", "second"]


def test_each_measure_has_its_planted_value(world):
    table = measured(world)
    # wordy: an answer follows length in one half of the cases, people in 0.3, a coin in 0.2.
    planted = {"length_effect": 0.5, "beyond_length": 0.3, "takes_longer": 0.5 + 0.5 * 0.5}
    for name, value in planted.items():
        assert table.loc["wordy", f"{name}_low"] < value < table.loc["wordy", f"{name}_high"]
    assert table.loc["coin", "consistency_low"] < 0.5 < table.loc["coin", "consistency_high"]


def test_a_judge_that_is_always_right_has_an_interval_with_a_width(world):
    fair = measured(world).loc["fair"]
    assert fair["consistency"] == 1 and fair["consistency_low"] < 1
    assert fair["beyond_length"] == 1 and 0.8 < fair["beyond_length_low"] < 1
    assert fair["length_effect_low"] < 0 < fair["length_effect_high"]
    assert np.isnan(fair["first"])


def test_the_references_are_what_such_judges_measure():
    generator = np.random.default_rng(0)
    people = np.tile([0.0, 0.0, 1.0, 1.0], 10)  # as often the longer as the shorter response
    longer = np.tile([-1, 1], 20)
    shares = {"always the first": (0, 0, 1, 0, 0), "always the longer": (0, 1, 0, 0, 0)}
    shares["people"] = (1, 0, 0, 0, 0)
    for name, one in shares.items():
        table = pd.DataFrame(answers_of(generator, one, people, longer))
        table = table.assign(judge=name, family="F", pair=range(40), prompt_id=range(40))
        row = measured((table, pd.Series(people), longer)).loc[name, list(MEASURES)].astype(float)
        known = REFERENCES.loc[name].dropna()
        assert row[known.index].tolist() == known.tolist()


def test_shuffled_lengths_sway_nobody(world):
    """Each interval misses 0 with a chance of 0.05 / judges at most, so luck is binomial."""
    judges, people, longer = world
    generator = np.random.default_rng(1)
    seeds = 6
    missed = 0
    for seed in range(seeds):
        shuffled = (judges, people, generator.permutation(longer))
        table = measured(shuffled, seed=seed)
        missed += int((table["length_effect_low"] > 0).sum())
        missed += int((table["length_effect_high"] < 0).sum())
    tests = seeds * judges["judge"].nunique()
    # twice the nominal rate: percentile intervals of 300 pairs are a little too narrow
    assert missed <= binom.ppf(0.999, tests, 2 * 0.05 / judges["judge"].nunique())


def test_sets_of_pairs_are_measured_apart(world):
    judges, _, _ = world
    subset = pd.Series(np.where(np.arange(PAIRS) < 200, "x", "y"))
    answers = list_answers(*world)
    table = biases_by_subset(answers, subset, resamples=200)
    alone = measure_biases(answers[answers["pair"] < 200], resamples=200)
    of_x = table[table["subset"] == "x"].set_index("judge")[list(EFFECTS)]
    pd.testing.assert_frame_equal(of_x, alone[list(EFFECTS)])
    few = judges[(judges["judge"] != "coin") | (judges["pair"] < 250)]
    assert common_subsets(few, subset) == ["x"]


def test_pairs_that_were_not_answered_or_are_equally_long_say_nothing(world):
    judges, people, longer = world
    judges = judges.assign(outcome=judges["outcome"].where(judges["pair"] > 0, "unparsed"))
    longer = np.where(np.arange(PAIRS) == 1, 0, longer)
    answers = list_answers(judges, people.where(people.index != 2), longer)
    assert 0 not in set(answers["pair"])
    assert answers.loc[answers["pair"] == 1, "is_longer"].isna().all()
    assert answers.loc[answers["pair"] == 1, "right"].notna().all()
    assert answers.loc[answers["pair"] == 2, "right"].isna().all()
    assert answers.loc[answers["pair"] == 2, "takes_longer"].notna().all()

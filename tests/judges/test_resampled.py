"""Trees of all judges on the same resamples: what is planted comes back, what is luck does not."""

import numpy as np
import pandas as pd
import pytest
from tree_examples import NAMES

from dtreward.judges.attribution import compare_credits, interaction_values, shap_values
from dtreward.judges.resampled import (
    Findings,
    Resample,
    asked_on_one_path,
    describe_resample,
    possible_nearest,
    rank_by_gap,
    resample_trees,
)
from dtreward.tree.tree import PreferenceTree

# beartype, where it checks, looks at one random element of a list
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module")
H, TWIN, OTHER = range(3)
PAIRS = 400


@pytest.fixture(scope="module")
def differences():
    """Differences of three attributes; the second is all but the first, the third is neither."""
    generator = np.random.default_rng(0)
    first = generator.integers(-4, 5, PAIRS).astype(float)
    twin = np.where(generator.random(PAIRS) < 0.95, first, -first)
    other = generator.integers(-4, 5, PAIRS).astype(float)
    return np.stack([first, twin, other], axis=1)


def findings_of(verdicts, differences, *, prompts=PAIRS, resamples=20):
    options = {"resamples": resamples, "attributes": NAMES, "max_depth": 2, "min_leaf": 10}
    prompt_of_pair = np.arange(len(differences)) % prompts
    draws = resample_trees(differences, verdicts, prompt_of_pair, **options)
    return Findings.stack([describe_resample(draw, differences, differences) for draw in draws])


@pytest.fixture(scope="module")
def verdicts(differences):
    """Human and one judge look at the first attribute, one at its twin, one at the third."""
    looks_at = {"Human": H, "Same": H, "Twin": TWIN, "Other": OTHER}
    votes = {}
    for seed, (judge, column) in enumerate(looks_at.items()):
        by_coin = np.random.default_rng([1, seed]).random(PAIRS)
        certain = (differences[:, column] > 0).astype(float)
        votes[judge] = np.where(by_coin < 0.1, 1 - certain, certain)
    return pd.DataFrame(votes)


@pytest.fixture(scope="module")
def findings(verdicts, differences):
    return findings_of(verdicts, differences)


def test_pairs_of_a_prompt_are_drawn_together_and_for_all_judges(differences, verdicts):
    prompts = np.arange(PAIRS) // 2
    options = {"resamples": 2, "attributes": NAMES, "max_depth": 1}
    first, second = resample_trees(differences, verdicts, prompts, **options)
    assert (first.times[::2] == first.times[1::2]).all() and first.times.sum() == PAIRS
    assert (first.times != second.times).any()
    same, _ = resample_trees(differences, verdicts[["Same", "Other"]], prompts, **options)
    assert (same.times == first.times).all()
    assert same.trees[0].to_dict() == first.trees[1].to_dict()


def test_a_judge_that_decided_none_of_the_pairs_drawn_gets_a_tree_without_a_split(differences):
    votes = pd.DataFrame({"Human": differences[:, H] > 0}).astype(float)
    votes["one pair"] = np.nan
    votes["none"] = np.nan
    options = {"resamples": 1, "attributes": NAMES, "min_leaf": 10}
    (draw,) = resample_trees(differences, votes, range(PAIRS), **options)
    votes.loc[draw.times.argmax(), "one pair"] = 1.0
    (draw,) = resample_trees(differences, votes, range(PAIRS), **options)
    assert [tree.n_leaves for tree in draw.trees][1:] == [1, 1]
    assert draw.trees[2].probability(differences[:1]) == 0.5
    described = describe_resample(draw, differences, differences)
    assert described.moved_most.tolist() == [[H, -1, -1]]
    assert described.first_splits.tolist() == [[H, -1, -1]]


def test_what_a_resample_says_is_the_mean_over_its_pairs(differences, verdicts):
    options = {"resamples": 1, "attributes": NAMES, "max_depth": 2, "min_leaf": 10}
    (draw,) = resample_trees(differences, verdicts, range(PAIRS), **options)
    described = describe_resample(draw, differences, differences)
    drawn = np.repeat(differences, draw.times, axis=0)
    values = np.stack([shap_values(tree, drawn, differences) for tree in draw.trees])
    close = {"rtol": 0, "atol": 1e-9}  # sums of 400 numbers below 1
    np.testing.assert_allclose(described.sizes[0], np.abs(values).mean(axis=1), **close)
    np.testing.assert_allclose(described.pushes[0], (values * drawn).mean(axis=1), **close)
    gaps = np.abs(values - values[0]).sum(axis=2).mean(axis=1)
    np.testing.assert_allclose(described.credit_gaps[0], gaps, **close)
    distances = [tree.distance(draw.trees[0], drawn) for tree in draw.trees]
    np.testing.assert_allclose(described.probability_gaps[0], distances, **close)


def test_what_is_planted_comes_back_in_every_resample(findings):
    assert (findings.moved_most == [H, H, TWIN, OTHER]).all()
    assert (findings.first_splits == [H, H, TWIN, OTHER]).all()
    assert (findings.pushes[:, 3, OTHER] > 0).all()


def test_the_nearest_is_told_by_credit_and_twins_are_not_told_by_probability(findings):
    others = {"Same": 0.0, "Twin": 0.1, "Other": 0.5}
    by_credit = rank_by_gap(others, findings.credit_gaps[:, 1:])
    assert possible_nearest(by_credit, PAIRS) == ["Same"]
    assert by_credit["nearest_in"].to_dict() == {"Same": 1.0, "Twin": 0.0, "Other": 0.0}
    assert possible_nearest(by_credit, prompts=19) == list(others)
    gaps = pd.DataFrame(findings.probability_gaps[:, 1:], columns=list(others)).mean()
    assert gaps["Twin"] < 0.3 * gaps["Other"]
    credit = pd.DataFrame(findings.credit_gaps[:, 1:], columns=list(others)).mean()
    assert credit["Twin"] > 0.7 * credit["Other"]


def test_two_judges_of_one_taste_cannot_be_told_apart():
    draws = np.random.default_rng(0).normal([0.1, 0.1, 0.5], 0.02, (100, 3))
    ranked = rank_by_gap({"A": 0.11, "B": 0.09, "C": 0.5}, draws)
    assert list(ranked.index) == ["B", "A", "C"]
    assert possible_nearest(ranked, prompts=100) == ["B", "A"]


def test_credit_of_twins_cancels_out_and_credit_of_other_attributes_does_so_by_chance(differences):
    def values(column):
        tree = PreferenceTree.single_split(NAMES[column], 0.5, attributes=NAMES)
        return shap_values(tree, differences, differences)

    twins = compare_credits(values(TWIN), values(H), NAMES)
    assert (twins.more, twins.less) == (NAMES[TWIN], NAMES[H])
    # they disagree on 5 % of the pairs
    assert 0.9 < twins.cancelled < 0.97
    strangers = compare_credits(values(OTHER), values(H), NAMES)
    # two independent signs are equal half of the time
    assert strangers.cancelled == pytest.approx(0.5, abs=0.1)
    assert compare_credits(values(H), values(H), NAMES).cancelled == 0.0


@pytest.mark.parametrize("seed", range(5))
def test_attributes_that_interact_are_asked_about_on_one_path(differences, seed):
    preference = np.random.default_rng(seed).integers(0, 2, PAIRS)
    tree = PreferenceTree.fit(differences, preference, attributes=NAMES, max_depth=2, seed=seed)
    together = asked_on_one_path(tree)
    np.testing.assert_array_equal(together, together.T)
    assert not together.diagonal().any()
    interacts = (np.abs(interaction_values(tree, differences)) > 1e-9).any(axis=0)
    np.fill_diagonal(interacts, False)
    np.testing.assert_array_equal(interacts, together)


def test_a_resample_of_one_judge_has_no_gap_to_itself(differences):
    tree = PreferenceTree.single_split(NAMES[H], 0.5, attributes=NAMES)
    draw = Resample([tree, tree], np.ones(PAIRS, int))
    described = describe_resample(draw, differences, differences)
    assert not described.credit_gaps.any() and not described.probability_gaps.any()

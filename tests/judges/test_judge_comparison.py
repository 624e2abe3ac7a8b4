"""Consistency, agreement and bootstrapped trees of judges: laws, planted judges, real verdicts."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom
from sklearn.metrics import cohen_kappa_score

from dtreward.demo import world as demo
from dtreward.judges.agreement import (
    agreement,
    as_square,
    consistency,
    nearest_to_people,
    reasons_to_drop,
)
from dtreward.judges.trees import bootstrap_trees
from dtreward.judges.verdict import OUTCOMES
from dtreward.pairs.frame import differences
from dtreward.tree.nodes import ATTRIBUTES
from dtreward.tree.tree import PreferenceTree


def rows_of(judge, given, swapped, prompts=None):
    """Rows of judges.parquet from the positions answered in both orders; "" is no answer."""
    rows = pd.DataFrame(
        {"judge": judge, "family": judge.split("-")[0].split("/")[0]}, range(len(given))
    )
    rows["pair"], rows["prompt_id"] = (
        range(len(given)),
        range(len(given)) if prompts is None else prompts,
    )
    rows["given"], rows["swapped"] = (
        pd.Series(list(side)).replace("", None) for side in (given, swapped)
    )
    known = rows["given"].notna() & rows["swapped"].notna()
    decided = known & (rows["given"] != rows["swapped"])
    rows["outcome"] = np.select([decided, known], ["decided", "inconsistent"], "unparsed")
    preference = (rows["given"] == "B").astype("Int8")
    return rows.assign(preference=preference.where(decided))


def demo_rows(pairs, judge):
    """A judge of the demo world on pairs, in the form of judges.parquet."""
    positions = (demo.answers(pairs, judge, order=order) for order in ("original", "swapped"))
    return rows_of(judge, *(np.array(["A", "B"])[position] for position in positions))


@pytest.fixture(scope="module")
def pairs():
    return demo.make_pairs(600)


@pytest.fixture(scope="module")
def verdicts(shared_data):
    """Real verdicts of 18 judges on the 419 pairs of LLMBar, as rows of judges.parquet."""
    table = pd.read_csv(shared_data / "llmbar_llm_preferences.csv")
    prompts = pd.read_parquet(shared_data / "llmbar_pairs.parquet")["prompt"]
    code = pd.Series(pd.factorize(prompts)[0])
    rows = []
    for judge, own in table.groupby("model"):
        columns = own[["preference_orig_order", "preference_swapped_order"]].replace(
            "FORMAT-ERROR", ""
        )
        one = rows_of(judge, *columns.to_numpy().T, code[own["index"]].to_numpy())
        assert (
            one["preference"].map({0: -1, 1: 1}).fillna(0).to_numpy() == own["preference"]
        ).all()
        rows.append(one.assign(pair=own["index"].to_numpy()))
    return pd.concat(rows, ignore_index=True)


def test_ties_errors_and_positions_are_counted_apart():
    found = consistency(rows_of("J-1", ["A", "A", "A", "B", ""], ["B", "A", "A", "B", "A"])).loc[
        "J-1"
    ]
    assert found[["pairs", *OUTCOMES]].to_list() == [5, 1, 3, 0, 1, 0, 0, 0, 0]
    assert found["consistency"] == 1 / 4  # of the answered, not of all
    assert found["first"] == 2 / 3 and found["first_low"] < 0.5 < found["first_high"]


def test_a_consistent_judge_leans_nowhere_and_one_by_position_is_never_consistent():
    one = consistency(rows_of("J", ["A"] * 50, ["B"] * 50)).loc["J"]
    assert one["consistency"] == 1 and one["consistency_low"] < 1 and np.isnan(one["first"])
    first, second = (consistency(rows_of("J", [at] * 50, [at] * 50)).loc["J"] for at in "AB")
    assert first["consistency"] == second["consistency"] == 0
    assert first["first_low"] > 0.5 > second["first_high"]


def test_a_source_that_publishes_only_preferences_has_a_consistency_but_no_leaning():
    rows = rows_of("J", ["A", "B", "A"], ["B", "A", "A"])
    bare = consistency(rows.assign(given=None, swapped=None)).loc["J"]
    assert bare["consistency"] == 2 / 3 and np.isnan(bare["first"])


def test_a_judge_that_answers_nothing_has_no_consistency_and_unknown_outcomes_are_refused():
    rows = rows_of("J", ["", ""], ["A", "B"])
    assert np.isnan(consistency(rows).loc["J", "consistency"])
    with pytest.raises(ValueError, match=r"outcome must be one of decided, .*found \{'sulked'\}"):
        consistency(rows.assign(outcome="sulked"))


def test_planted_position_bias_is_recovered(pairs):
    found = consistency(
        pd.concat([demo_rows(pairs, judge) for judge in ("First-comer", "Strict-1")])
    )
    for judge, one in found.iterrows():  # four binomial standard deviations
        made = demo.JUDGES[judge]
        spread = 4 * np.sqrt(made.by_position * (1 - made.by_position) / len(pairs))
        assert abs(one["consistency"] - (1 - made.by_position)) < spread
        ties = made.by_position * len(pairs)
        assert abs(one["first"] - made.first) < 4 * np.sqrt(made.first * (1 - made.first) / ties)


def test_agreement_and_kappa_are_those_of_sklearn_on_the_pairs_that_both_decided():
    random = np.random.default_rng(0)
    votes = pd.DataFrame(random.integers(0, 2, (80, 4)), columns=list("wxyz")).astype(float)
    votes = votes.mask(random.random(votes.shape) < 0.3)
    table = agreement(votes, range(80), resamples=50)
    assert len(table) == 6
    for row in table.itertuples():
        both = votes[[row.judge, row.other]].dropna()
        assert row.pairs == len(both)
        assert row.agreement == pytest.approx(
            (both[row.judge] == both[row.other]).mean(), abs=1e-12
        )
        assert row.kappa == pytest.approx(cohen_kappa_score(*both.to_numpy().T), abs=1e-12)
        assert row.agreement_low <= row.agreement <= row.agreement_high


def test_the_same_votes_agree_wholly_and_opposite_ones_not_at_all():
    vote = np.array([0.0, 1.0] * 20)
    table = agreement(pd.DataFrame({"a": vote, "b": vote, "c": 1 - vote}), range(40), resamples=100)
    assert table["kappa"].to_list() == table["kappa_low"].to_list() == [1, -1, -1]
    assert table["agreement_high"].to_list() == [1, 0, 0]


def test_judges_without_a_common_pair_or_with_one_answer_only_are_not_compared():
    votes = pd.DataFrame({"a": [0, 0, np.nan, np.nan], "b": [np.nan, np.nan, 1, 0], "c": [0.0] * 4})
    table = agreement(votes, range(4), resamples=20).set_index(["judge", "other"])
    assert table.loc[("a", "b"), "pairs"] == 0 and np.isnan(table.loc[("a", "b"), "agreement_low"])
    assert table.loc[("a", "c"), "agreement"] == 1 and np.isnan(table.loc[("a", "c"), "kappa"])
    with pytest.raises(ValueError, match="votes must be 0"):
        agreement(votes + 1, range(4))


def test_copies_of_a_pair_under_its_prompt_add_no_certainty():
    random = np.random.default_rng(1)
    votes = pd.DataFrame(random.integers(0, 2, (60, 2)).astype(float), columns=["a", "b"])
    once = agreement(votes, list(range(60)), resamples=200)
    thrice = agreement(pd.concat([votes] * 3), [*range(60)] * 3, resamples=200)
    pd.testing.assert_frame_equal(once.drop(columns="pairs"), thrice.drop(columns="pairs"))


def test_shuffled_votes_have_kappas_about_zero_at_the_rate_of_their_intervals_and_planted_ones_not():
    random, outside = np.random.default_rng(2), 0
    votes = pd.DataFrame(random.integers(0, 2, (400, 12)).astype(float))
    table = agreement(votes, range(400), resamples=400)
    outside = ((table["kappa_low"] > 0) | (table["kappa_high"] < 0)).sum()
    # 66 intervals; a percentile interval of 400 pairs misses in at most 6 %.
    assert outside <= binom.ppf(0.9999, len(table), 0.06)
    alike = votes[0].where(random.random(400) < 0.7, 1 - votes[0])
    assert agreement(pd.DataFrame({"a": votes[0], "b": alike}), range(400))["kappa_low"][0] > 0


def test_bootstrapped_trees_find_the_planted_attribute_and_nothing_in_shuffled_preferences(pairs):
    rows = demo_rows(pairs, "Wordy-1").query("outcome == 'decided'")
    d, chosen = differences(pairs.iloc[rows["pair"]], ATTRIBUTES), rows["preference"].to_numpy(int)
    options = {"resamples": 20, "attributes": ATTRIBUTES, "min_leaf": 10}
    trees = bootstrap_trees(d, chosen, rows["prompt_id"], **options)
    assert all(ATTRIBUTES[tree.feature[0]] == "verbosity" for tree in trees)
    assert np.mean([tree.importances[-1] for tree in trees]) > 0.8
    mixed = np.random.default_rng(0).permutation(chosen)
    control = bootstrap_trees(d, mixed, rows["prompt_id"], **options)
    assert {ATTRIBUTES[tree.feature[0]] for tree in control} != {"verbosity"}


def test_trees_in_random_order_do_not_know_which_response_stood_first(pairs):
    d = differences(pairs, ATTRIBUTES)
    always_first = np.zeros(len(d), int)
    always_first[:30] = 1  # a judge by position: 95 % for response 1 whatever the ratings say
    options = {"attributes": ATTRIBUTES, "max_depth": 1, "min_leaf": 50}
    [tree] = bootstrap_trees(d, always_first, range(len(d)), resamples=1, **options)
    # Swapped for a random half, the votes are even: 0.5 within four standard deviations.
    assert abs(tree.value[0, 1] - 0.5) < 4 * 0.5 / np.sqrt(len(d))
    assert PreferenceTree.fit(d, always_first, **options).value[0, 1] == pytest.approx(0.05)


def test_bootstraps_repeat_with_their_seed_and_differ_without(pairs):
    d, chosen = differences(pairs, ATTRIBUTES), demo.latent_verdicts(pairs, "Noisy")
    one, same, other = (
        bootstrap_trees(d, chosen, range(len(d)), resamples=2, seed=seed, attributes=ATTRIBUTES)
        for seed in (0, 0, 1)
    )
    assert [tree.to_dict() for tree in one] == [tree.to_dict() for tree in same]
    assert one[0].to_dict() != one[1].to_dict() and one[0].to_dict() != other[0].to_dict()


def test_trees_set_families_apart_where_verdicts_do_not(pairs):
    """Two that waver differ more from each other than from a resolute third of another taste."""
    d, votes, trees = differences(pairs, ATTRIBUTES), {}, {}
    for judge in ("Human", "Strict-1", "Strict-2"):
        votes[judge] = demo.latent_verdicts(pairs, judge).astype(float)
        options = {"attributes": ATTRIBUTES, "min_leaf": 10}
        trees[judge] = PreferenceTree.fit(d, votes[judge].astype(int), **options)
    near = trees["Strict-1"].distance(trees["Strict-2"], d)
    assert near < min(trees["Human"].distance(trees[f"Strict-{n}"], d) for n in (1, 2))
    table = agreement(pd.DataFrame(votes), range(len(d)), resamples=10)
    raw = table.set_index(["judge", "other"])["agreement"]
    assert raw["Human", "Strict-1"] > raw["Strict-1", "Strict-2"]


def test_real_verdicts_give_the_published_consistencies(verdicts):
    found = consistency(verdicts)
    assert len(found) == 18 and (found["pairs"] <= 419).all()
    decided = (100 * found["decided"] / found["pairs"]).round(1)  # of all that were asked
    assert decided["GPT-4/Vanilla"] == 92.8 and decided["Falcon/CoT"] == 12.6
    answered = (100 * found["consistency"]).round(1)  # without the three that could not be read
    assert answered["GPT-4/Vanilla"] == 92.8 and answered["Falcon/CoT"] == 12.7
    dropped = found.index[found["consistency"] < 0.2]
    assert list(dropped) == ["Falcon/CoT"]
    assert found["unparsed"].sum() == 19 and found.loc["Falcon/CoT", "first_low"] > 0.5


def test_real_judges_agree_with_people_or_want_the_opposite(verdicts, shared_data):
    people = pd.read_parquet(shared_data / "llmbar_pairs.parquet")
    decided = verdicts[verdicts["outcome"] == "decided"]
    votes = decided.pivot(index="pair", columns="judge", values="preference")
    votes = votes.astype("Float64").astype(float).reindex(range(len(people)))
    votes.insert(0, "Human", people["preference"].astype(float))
    table = agreement(votes, pd.factorize(people["prompt"])[0])
    assert len(table) == 19 * 18 / 2
    with_people = table[table["judge"] == "Human"].set_index("other").sort_values("agreement")
    assert (
        with_people.index[-1] == "GPT-4/Metrics_Reference"
        and with_people["kappa_low"].iloc[-1] > 0.7
    )
    assert with_people[["pairs", "agreement"]].iloc[-1].round(3).to_list() == [384, 0.906]
    # LLMBar is made to mislead: judges that fall for it want the opposite of people.
    assert with_people.index[0] == "GPT-3.5/CoT" and with_people["kappa_high"].iloc[0] < 0


def test_a_judge_is_dropped_for_the_first_reason_that_holds():
    steady = rows_of("Steady", ["A", "B"] * 10, ["B", "A"] * 10)
    one_sided = rows_of("One-sided", ["A"] * 20, ["B"] * 20)
    torn = rows_of("Torn", ["A", "B"] * 10, ["A", "B"] * 10)
    silent = rows_of("Silent", [""] * 4, [""] * 4)
    short = rows_of("Short", ["A", "B"] * 5, ["B", "A"] * 5)
    judges = pd.concat([steady, one_sided, torn, silent, short])
    reasons = reasons_to_drop(judges, min_consistency=0.2, least_pairs=20, least_each=5)
    assert reasons.to_dict() == {
        "Steady": "",
        "One-sided": "too few pairs for a tree",
        "Torn": "consistency < 0.2",
        "Silent": "consistency < 0.2",
        "Short": "too few pairs for a tree",
    }


def test_a_square_is_symmetric_and_nobody_is_compared_with_itself():
    random = np.random.default_rng(3)
    votes = pd.DataFrame(random.integers(0, 2, (40, 3)).astype(float), columns=list("xyz"))
    table = agreement(votes, range(40), resamples=10)
    square = as_square(table, "agreement", ["z", "x", "y"])
    assert list(square) == list(square.index) == ["z", "x", "y"]
    assert square.equals(square.T) and np.isnan(np.diag(square)).all()
    assert square.loc["y", "z"] == table.set_index(["judge", "other"])["agreement"]["y", "z"]


def test_the_judge_that_agrees_most_with_people_comes_first():
    rows = {
        "judge": ["Human", "Human", "A"],
        "other": ["A", "B", "B"],
        "agreement": [0.6, 0.8, 0.9],
    }
    assert nearest_to_people(pd.DataFrame(rows))["other"].to_list() == ["B", "A"]

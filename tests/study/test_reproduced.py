"""Published numbers beside reproduced ones: found where they are the same, and not where they are not."""

import numpy as np
import pandas as pd
import pytest

from dtreward.benches.published_scores import COLUMNS as SCORES
from dtreward.published import PUBLISHED
from dtreward.stats import accuracy_interval, pearson_interval
from dtreward.study.reproduced import (
    Votes,
    as_text,
    compare_judges,
    compare_ratings,
    compare_scores,
    compare_tree,
    half_unit,
    summarise,
    votes_of_judges,
)
from dtreward.tree.tree import PreferenceTree

QUICK = {"resamples": 200, "seed": 0}
SHARES = pd.read_csv(PUBLISHED / "rating_distribution.csv", index_col="attribute")
ATTRIBUTES = list(SHARES.index)


def votes_by_published_tree(name, pairs=20_000):
    """Pairs whose shares and preferences at each leaf are those that the tree's picture prints."""
    random = np.random.default_rng(0)
    tree = PreferenceTree.published(name)
    many = random.integers(-4, 5, (40 * pairs, len(tree.attributes))).astype(float)
    leaf_of = tree.apply(many)
    leaves = np.flatnonzero(~tree.is_split)
    shares = tree.share[leaves] / tree.share[leaves].sum()
    drawn = []
    for leaf, count in zip(leaves, random.multinomial(pairs, shares), strict=True):
        drawn.append(random.choice(np.flatnonzero(leaf_of == leaf), count))
    rows = random.permutation(np.concatenate(drawn))
    preference = (random.random(pairs) < tree.probability(many[rows])).astype(int)
    return Votes(many[rows], preference, np.arange(pairs))


def pairs_with_published_shares(pairs=3_000):
    """Pairs whose ratings are drawn from the published shares, each rating for itself."""
    random = np.random.default_rng(1)
    columns = {"prompt_id": np.arange(pairs), "prompt": "", "split": "train"}
    for side in (1, 2):
        columns[f"response_{side}"] = [f"{number} {side}" for number in range(pairs)]
        for name in ATTRIBUTES:
            chances = SHARES.loc[name] / SHARES.loc[name].sum()
            columns[f"{name}_{side}"] = random.choice(5, pairs, p=chances).astype(float)
    columns["preference"] = random.integers(0, 2, pairs)
    return pd.DataFrame(columns).assign(pair_id=np.arange(pairs))


@pytest.mark.parametrize("name", ["Human", "Llama-3.1-8B"])
def test_votes_that_follow_a_published_tree_reproduce_its_shares_and_preferences(name):
    votes = votes_by_published_tree(name)
    table = compare_tree(name, votes, bootstraps=2, **QUICK)
    measured = table[~table["kind"].str.endswith("threshold")]
    # 29 intervals of 95 %, and printed shares that do not sum to 1: more than 6 outside are no luck.
    assert len(measured) == 29
    assert (~measured["inside"]).sum() <= 6
    assert table["inside"].notna().all()


def test_shuffled_votes_reproduce_no_preference_of_the_tree():
    votes = votes_by_published_tree("Human")
    shuffled = np.random.default_rng(0).permutation(votes.preference)
    table = compare_tree(
        "Human", Votes(votes.differences, shuffled, votes.prompts), bootstraps=2, **QUICK
    )
    prefers = table[table["kind"] == "tree of Human, prefers response 2"]
    inside = prefers.loc[prefers["inside"], "number"]
    # Where people are torn anyway, one half is what was published.
    assert set(inside) <= {
        "all pairs",
        "helpfulness difference <= 0.5 and helpfulness difference > -0.5",
    }
    shares = table[table["kind"] == "tree of Human, % of pairs"]
    assert shares["inside"].sum() >= 11  # they do not depend on the votes; of 14


def test_a_threshold_counts_as_reproduced_only_where_our_tree_asks_for_the_same_attribute():
    values = np.arange(-4.0, 5)
    rows = np.tile(values, 40)
    differences = np.zeros((len(rows), 5))
    differences[:, ATTRIBUTES.index("helpfulness")] = rows
    votes = Votes(differences, (rows > 0).astype(int), np.arange(len(rows)))
    table = compare_tree("Human", votes, bootstraps=3, **QUICK).set_index("number")
    root = table.loc["all pairs: helpfulness"]
    assert root["reproduced"] == 0.5 and root["inside"]
    assert root["note"] == "3 of 3 resampled trees ask for helpfulness here"
    below = table.loc["helpfulness difference <= 0.5: helpfulness"]
    assert np.isnan(below["reproduced"]) and not below["inside"]
    assert below["note"].startswith("ours asks for nothing; 0 of 3")


def test_ratings_with_the_published_shares_reproduce_them_and_not_the_correlations():
    frame = pairs_with_published_shares()
    table = compare_ratings(frame, **QUICK).set_index("number")
    kinds = summarise(table.reset_index())
    assert kinds.loc["share of a rating", "numbers"] == 25
    assert kinds.loc["share of a rating", "inside"] >= 20  # more than 5 of 25 outside are no luck
    assert not table.loc["helpfulness and correctness", "inside"]
    assert table.loc["helpfulness and correctness", "difference"] < -0.8


def test_intervals_are_those_of_the_package():
    frame = pairs_with_published_shares(200)
    table = compare_ratings(frame, **QUICK).set_index("number")
    long = pd.concat(
        [
            frame[["prompt_id", f"helpfulness_{side}", f"verbosity_{side}"]].set_axis(
                ["prompt", "helpfulness", "verbosity"], axis=1
            )
            for side in (1, 2)
        ]
    ).sort_values("prompt", kind="stable")
    wanted = pearson_interval(long["helpfulness"], long["verbosity"], long["prompt"], **QUICK)
    row = table.loc["helpfulness and verbosity", ["reproduced", "low", "high"]]
    np.testing.assert_allclose(
        row.astype(float), [wanted.estimate, wanted.low, wanted.high], atol=1e-9
    )
    share = accuracy_interval(long["verbosity"] == 2, long["prompt"], **QUICK)
    row = table.loc["verbosity 2", ["reproduced", "low", "high"]]
    np.testing.assert_allclose(
        row.astype(float), [share.estimate, share.low, share.high], atol=1e-9
    )


def test_a_printed_number_counts_as_inside_up_to_its_rounding():
    near = pd.DataFrame({"judge": ["GPT-4o", "Nobody"], "consistency": 0.0})
    published = pd.read_csv(PUBLISHED / "consistency.csv", index_col="judge")
    value = published.loc["GPT-4o", "consistency_pct"] / 100
    half = half_unit("71.8") / 100
    no_importances = pd.DataFrame(columns=["judge", "attribute", "importance", "low", "high"])
    for shift, is_inside in ((0.9 * half, True), (1.1 * half, False)):
        ends = {f"consistency{end}": value + shift for end in ("", "_low", "_high")}
        table = compare_judges(near.assign(**ends), no_importances)
        assert table["number"].tolist() == ["GPT-4o"]  # nobody published the other one
        assert table["inside"].tolist() == [is_inside]


def test_importances_are_compared_for_the_judges_and_attributes_that_were_published():
    rows = [("Human", "helpfulness", 0.97, 0.95, 0.99), ("Human", "charm", 0.0, 0.0, 0.0)]
    rows.append(("GPT-4o", "verbosity", 0.4, 0.3, 0.5))
    weight = pd.DataFrame(rows, columns=["judge", "attribute", "importance", "low", "high"])
    table = compare_judges(pd.DataFrame(columns=["judge"]), weight).set_index("number")
    assert table["inside"].to_dict() == {"Human, helpfulness": True, "GPT-4o, verbosity": False}


def test_judges_are_compared_on_what_they_decided_and_people_on_what_judges_were_asked():
    frame = pairs_with_published_shares(6)
    judges = pd.DataFrame({"pair": [0, 1, 2, 4], "judge": "J", "preference": [0, 1, None, 1]})
    votes = votes_of_judges(frame, judges.astype({"preference": "Int8"}), ATTRIBUTES)
    assert votes["J"].preference.tolist() == [0, 1, 1]
    assert votes["J"].prompts.tolist() == [0, 1, 4]
    assert votes["Human"].preference.tolist() == frame["preference"][[0, 1, 2, 4]].tolist()
    one = frame.loc[4, [f"{name}_{side}" for side in (1, 2) for name in ATTRIBUTES]].to_numpy(float)
    assert votes["J"].differences[2].tolist() == (one[5:] - one[:5]).tolist()


def test_scores_are_compared_only_where_notebook_09_found_them_comparable():
    model = "Skywork-Reward-Llama-3.1-8B-v0.2"
    known = pd.read_csv(PUBLISHED / "leaderboard.csv", index_col="model").loc[model]
    measured = {"model": model, "row": "measured"}
    difference = {"model": model, "row": "difference", "Chat": 0.5}
    for section in SCORES:
        value = known[section.lower().replace(" ", "_")] + 0.5
        measured |= {section: value, f"{section} low": value - 1, f"{section} high": value + 1}
    other = measured | {"model": "QRM-Gemma-2-27B"}
    table = compare_scores(pd.DataFrame([measured, difference, other]))
    assert table["number"].tolist() == [f"{model}, Chat"]
    assert table["inside"].all() and table["difference"].tolist() == pytest.approx([0.5])


def test_the_table_for_people_leaves_no_number_out_and_shows_a_missing_one_as_a_dash():
    votes = votes_by_published_tree("Human", pairs=300)
    table = compare_tree("Human", votes, bootstraps=2, **QUICK)
    text = as_text(table)
    assert len(text) == len(table) == 36
    missing = table["reproduced"].isna()
    assert (text.loc[missing, "reproduced"] == "–").all()
    assert not text.map(lambda cell: "nan" in str(cell)).any(axis=None)

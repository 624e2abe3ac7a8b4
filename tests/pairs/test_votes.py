"""Laws of votes: each counts once, pairs are told apart, and agreement is what it is known to be."""

import numpy as np
import pandas as pd
import pytest

from dtreward.pairs.frame import differences, load_pairs, response_index, responses
from dtreward.pairs.votes import (
    majority_share,
    merge_votes,
    vote_agreement,
    votes_on_pair,
)
from dtreward.stats import alpha_interval, ratio_interval


def ballots(pairs, votes, **columns):
    """Make a table with some votes on each pair, pair by pair."""
    number = np.repeat(np.arange(pairs), len(votes))
    table = pd.DataFrame(
        {
            "prompt": [f"question {pair}" for pair in number],
            "response_1": [f"one {pair}" for pair in number],
            "response_2": [f"two {pair}" for pair in number],
            "clarity_1": number % 5.0,
            "clarity_2": number % 3.0,
            "preference": np.tile(votes, pairs),
        }
    )
    return table.assign(**columns)


@pytest.mark.parametrize("columns", [{}, {"note": "x"}, {"annotator": np.tile([7, 8, 9], 10)}])
def test_three_votes_on_a_pair_are_three_votes(columns):
    pairs = load_pairs(ballots(10, [1, 1, 0], **columns))
    assert pairs.frame["preference"].astype(float).mean() == pytest.approx(2 / 3)
    counts = pairs.counts
    assert (counts["pairs"], counts["votes"], counts["pairs with several votes"]) == (10, 30, 10)
    assert counts["duplicates"] == 0


@pytest.mark.parametrize("column", ["annotator_id", "who asked"])
def test_a_readers_same_vote_counts_once_whatever_else_its_row_says(column):
    table = ballots(4, [1, 1, 0], row=range(12), **{column: ["ann", "ann", "bob"] * 4})
    pairs = load_pairs(table, reader="" if column == "annotator_id" else column)
    assert (pairs.counts["votes"], pairs.counts["duplicates"]) == (8, 4)
    assert pairs.frame["reader"].tolist() == ["ann", "bob"] * 4
    with pytest.raises(ValueError, match=r"reader='anotator_id' is not one of .*") as error:
        load_pairs(table, reader="anotator_id")
    if column == "annotator_id":
        assert "did you mean 'annotator_id'?" in str(error.value)


def test_a_row_without_a_preference_is_a_duplicate_only_of_its_like():
    table = ballots(3, [None, None, None])
    table.loc[[2, 5, 8], "clarity_1"] = 4.5  # rated otherwise: this says something new
    pairs = load_pairs(table)
    assert (pairs.counts["duplicates"], len(pairs.frame), pairs.counts["votes"]) == (3, 6, 0)


def test_a_pair_is_the_same_in_either_order_and_with_other_line_ends():
    table = ballots(2, [1, 1, 0], annotator=["a", "a", "b"] * 2)
    table["response_1"] = "first\nsecond " + table["prompt"]
    odd = [1, 4]
    turned = table.loc[odd, ["response_2", "response_1", "clarity_2", "clarity_1"]]
    table.loc[odd, ["response_1", "response_2", "clarity_1", "clarity_2"]] = turned.to_numpy()
    table.loc[odd, "preference"] = 0
    table.loc[odd, "response_2"] = table.loc[odd, "response_2"].str.replace("\n", "\r\n")
    table.loc[odd, "prompt"] += "\r\n"
    pairs = load_pairs(table, test_share=0.0, validation_share=0.0)
    assert pairs.frame["pair_id"].tolist() == [0, 0, 1, 1]
    assert pairs.frame["prompt_id"].tolist() == [0, 0, 1, 1]
    assert pairs.counts["duplicates"] == 2  # a's vote, given once more with the sides turned


def test_votes_of_a_pair_are_merged_to_their_majority_and_mean_ratings():
    table = pd.concat([ballots(2, [1, 1, 0]), ballots(1, [1, 0])], ignore_index=True)
    table.loc[6:, "prompt"] = "an even vote"
    table["clarity_1"] = [1.0, 2.0, 3.0, 1.0, np.nan, 2.0, 0.0, 0.0]
    table = table.assign(depth_1=1.0, depth_2=1.0)
    turned = table.loc[[1], ["response_2", "response_1", "clarity_2", "clarity_1"]]
    table.loc[[1], ["response_1", "response_2", "clarity_1", "clarity_2"]] = turned.to_numpy()
    table.loc[1, "preference"] = 0
    frame = load_pairs(table).frame
    merged = merge_votes(frame, ["clarity"])
    assert merged.index.tolist() == [0, 3, 6]
    assert merged["preference"].tolist()[:2] == [1, 1] and pd.isna(merged["preference"].iloc[2])
    assert merged["clarity_1"].tolist() == [2.0, 1.5, 0.0]
    assert merge_votes(merged, ["clarity"]) is merged
    assert votes_on_pair(frame).tolist() == [3] * 6 + [2] * 2
    assert majority_share(frame).round(3).tolist() == [0.667] * 6 + [0.5] * 2


def test_alpha_is_that_of_the_published_example():
    """Krippendorff (2011), section A: two observers, ten articles, alpha = 0.095."""
    meg = np.array([0, 1, 0, 0, 0, 0, 0, 0, 1, 0])
    owen = np.array([1, 1, 1, 0, 0, 1, 0, 0, 0, 0])
    ones = meg + owen
    alpha = alpha_interval(2 - ones, ones, range(10))
    assert alpha.estimate == pytest.approx(0.095, abs=0.0005)
    assert alpha.low < 0 < alpha.high
    # Two articles more, which one observer read: they say nothing of agreement.
    unread = alpha_interval(np.append(2 - ones, [1, 0]), np.append(ones, [0, 1]), range(12))
    assert unread == alpha


def test_agreement_is_found_where_it_was_planted_and_is_none_of_coins():
    rng = np.random.default_rng(0)
    truth = np.repeat(rng.integers(0, 2, 300), 3)
    votes = np.where(rng.random(900) < 0.9, truth, 1 - truth)
    alike = vote_agreement(load_pairs(ballots(300, [0, 0, 0], preference=votes)).frame)
    assert (alike.pairs, alike.votes) == (300, 900)
    # Two readers who are each right with 0.9 agree with 0.9² + 0.1² = 0.82; alpha is 2·0.82 - 1.
    assert alike.share.low < 0.82 < alike.share.high
    assert alike.alpha.low < 0.64 < alike.alpha.high
    coins = rng.integers(0, 2, 900)
    nothing = vote_agreement(load_pairs(ballots(300, [0, 0, 0], preference=coins)).frame)
    assert nothing.alpha.low < 0 < nothing.alpha.high
    assert vote_agreement(load_pairs(ballots(9, [1])).frame) is None


def test_perfect_agreement_keeps_an_interval_with_a_width():
    zeros = np.array([2, 0, 2, 0])
    share = ratio_interval(np.ones(4), np.ones(4), range(4))
    alpha = alpha_interval(zeros, 2 - zeros, range(4))
    assert (share.estimate, alpha.estimate) == (1.0, 1.0)
    assert share.low < 0.6
    assert alpha.low < 0.3
    one_sided = alpha_interval(zeros * 0, zeros * 0 + 2, range(4))
    assert np.isnan([one_sided.estimate, one_sided.low]).all()


# Several readers of one response


def readings(prompts=20):
    """Two responses to each prompt, each rated by two readers who disagree about the first."""
    rows = []
    for prompt in range(prompts):
        for response, by_reader in (("good", (4.0, 1.0)), ("bad", (2.0, 2.0))):
            for reader, rating in zip(("ann", "bob"), by_reader, strict=True):
                rows.append((f"q{prompt}", f"{response} {prompt}", reader, rating))
    table = pd.DataFrame(rows, columns=["prompt", "response", "annotator", "overall"])
    return table.assign(wit=table["overall"])


def test_pairs_of_responses_are_formed_within_a_reader():
    pairs = load_pairs(readings(), order_by="overall")
    assert (pairs.counts["pairs"], pairs.counts["votes"]) == (20, 40)
    frame = pairs.frame
    assert (frame["response_1"] != frame["response_2"]).all()
    names_good = frame["response_1"].str.startswith("good") == (frame["preference"] == 0)
    assert names_good.groupby(frame["reader"]).mean().to_dict() == {"ann": 1.0, "bob": 0.0}


@pytest.mark.parametrize("table", [readings(), readings().drop(columns="annotator")])
def test_pairs_of_responses_are_formed_from_means(table):
    pairs = load_pairs(table, order_by="overall", readers="mean")
    assert (pairs.counts["pairs"], pairs.counts["votes"]) == (20, 20)
    assert pairs.counts["repeated responses"] == 40
    once = responses(pairs.frame, ["wit"]).set_index("response")["wit"]
    assert (once.filter(like="good") == 2.5).all() and (once.filter(like="bad") == 2.0).all()
    if "annotator" not in table:
        again = load_pairs(table, order_by="overall")
        pd.testing.assert_frame_equal(again.frame, pairs.frame)


def test_how_readers_are_treated_must_be_known_and_is_for_responses():
    with pytest.raises(ValueError, match='readers=\'means\'; expected "within" or "mean"'):
        load_pairs(readings(), order_by="overall", readers="means")
    with pytest.raises(ValueError, match="readers='mean' is for one response a row"):
        load_pairs(ballots(3, [1]), readers="mean")


# The prompt_id of a source


def test_prompts_of_one_prompt_id_are_never_in_two_splits():
    table = ballots(60, [1], prompt_id=[f"topic {pair % 20}" for pair in range(60)])
    pairs = load_pairs(table, test_share=0.4)
    topic = pairs.frame["prompt"].map(dict(zip(table["prompt"], table["prompt_id"], strict=True)))
    assert pairs.frame.groupby(topic)["split"].nunique().eq(1).all()
    assert pairs.counts["prompts"] == 20
    assert pairs.counts["pairs"] == 60


def test_prompts_that_are_read_alike_join_their_prompt_ids():
    table = ballots(4, [1], prompt=["p", "p\r\n", "q", "r"], prompt_id=["a", "b", "b", None])
    frame = load_pairs(table).frame
    assert frame["prompt_id"].tolist() == [0, 0, 0, 1]


def test_responses_to_different_prompts_of_one_prompt_id_stay_apart():
    table = ballots(4, [1], prompt_id=[5, 5, 6, 6], response_1="yes", response_2="no")
    frame = load_pairs(table, test_share=0.0, validation_share=0.0).frame
    assert frame["pair_id"].tolist() == [0, 1, 2, 3]
    rated = responses(frame, ["clarity"])
    assert len(rated) == 8
    rows = response_index(frame, rated)
    assert (rated["prompt"].to_numpy()[rows[:, 0]] == frame["prompt"]).all()
    expected = differences(frame, ["clarity"])[:, 0]
    assert (rated["clarity"].to_numpy()[rows] @ [-1, 1] == expected).all()


def test_responses_keep_the_prompt_id_of_their_source():
    table = readings(4).assign(prompt_id=np.repeat([3, 3, 4, 4], 4))
    frame = load_pairs(table, order_by="overall").frame
    assert frame.groupby("prompt")["prompt_id"].first().tolist() == [0, 0, 1, 1]
    assert "prompt_id_1" not in frame


# Missing ratings


def test_a_missing_rating_costs_nothing_but_itself():
    table = ballots(6, [1], depth_1=np.arange(6.0), depth_2=1.0)
    table.loc[[0, 1], "clarity_2"] = [np.nan, np.inf]
    table.loc[2, "depth_1"] = np.nan
    pairs = load_pairs(table)
    assert (pairs.counts["pairs"], pairs.counts["no attribute rated on both"]) == (6, 0)
    difference = differences(pairs.frame, pairs.attributes)
    assert np.isnan(difference).sum(axis=0).tolist() == [2, 1]
    for_trees = differences(pairs.frame, pairs.attributes, missing=0.0)
    assert (for_trees[np.isnan(difference)] == 0).all()
    assert (for_trees == difference)[~np.isnan(difference)].all()


def test_twelve_skills_that_are_mostly_not_rated_are_read(tmp_path):
    """Three of twelve skills are rated on each pair; the others say N/A, as public files do."""
    table = ballots(36, [1]).drop(columns=["clarity_1", "clarity_2"])
    for skill in range(12):
        is_rated = (table.index % 12 - skill) % 12 < 3
        for side in (1, 2):
            ratings = (table.index + side) % 5
            table[f"skill {skill}_{side}"] = ratings.astype(object).where(is_rated, "N/A")
    table.to_json(tmp_path / "skills.jsonl", orient="records", lines=True)
    pairs = load_pairs(tmp_path / "skills.jsonl")
    assert pairs.attributes == tuple(f"skill {skill}" for skill in range(12))
    assert (pairs.counts["pairs"], pairs.counts["no attribute rated on both"]) == (36, 0)
    assert np.isfinite(differences(pairs.frame, pairs.attributes)).sum(axis=0).tolist() == [9] * 12

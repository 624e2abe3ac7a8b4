"""Laws of the pairs frame: nothing is lost unseen, and no prompt is on two sides of a split."""

import itertools
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hub_replicas import ATTRIBUTES, helpsteer2_replica
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dtreward.demo.world import make_pairs
from dtreward.pairs import formats
from dtreward.pairs.columns import TEXTS
from dtreward.pairs.frame import (
    attributes_of,
    differences,
    inputs_name,
    load_pairs,
    response_index,
    responses,
)
from dtreward.pairs.split import draw_prompts
from dtreward.pairs.text_attributes import TEXT_ATTRIBUTES

SHARED = Path(__file__).parents[3] / "shared" / "data"
DROPPED = [
    "unreadable",
    "no attribute rated on both",
    "duplicates",
    "prompt in a later split",
    "over limit",
]


def shared(name):
    if not (SHARED / name).exists():
        pytest.skip(f"{name} is absent")
    return SHARED / name


def table(rows, **columns):
    frame = pd.DataFrame(
        {
            "prompt": [f"question {row}" for row in range(rows)],
            "response_1": [f"one {row}" for row in range(rows)],
            "response_2": [f"two {row}" for row in range(rows)],
            "clarity_1": np.arange(rows) % 5.0,
            "clarity_2": np.arange(rows) % 3.0,
            "preference": np.arange(rows) % 2,
        }
    )
    return frame.assign(**columns)


def load(frame, folder, **options):
    frame.to_parquet(folder / "own.parquet")
    return load_pairs(folder / "own.parquet", **options)


def test_the_frame_has_its_columns_in_order_and_keeps_the_rest(tmp_path):
    pairs = load(table(20, note="x", helpfulness_1=1, helpfulness_2=2), tmp_path)
    assert pairs.attributes == ("clarity", "helpfulness")
    assert list(pairs.frame) == [
        *("prompt_id", "pair_id", "prompt", "response_1", "response_2"),
        *("clarity_1", "clarity_2", "helpfulness_1", "helpfulness_2", "preference", "split"),
        "note",
    ]
    assert pairs.frame["helpfulness_1"].dtype == np.float64
    assert str(pairs.frame["preference"].dtype) == "Int8"
    assert pairs.frame["prompt_id"].tolist() == list(range(20))
    assert pairs.frame["prompt_id"].dtype == np.int64
    chosen = load(table(20, helpfulness_1=1, helpfulness_2=2), tmp_path, attributes=["helpfulness"])
    assert chosen.attributes == ("helpfulness",)
    assert list(chosen.frame.columns[-2:]) == ["clarity_1", "clarity_2"]


def test_a_frame_is_a_source():
    table = make_pairs(60, seed=7)
    pairs = load_pairs(table, limit=50, seed=7)
    assert pairs.attributes == ATTRIBUTES
    assert (pairs.counts["pairs"], pairs.counts["over limit"]) == (50, 10)
    assert pairs.frame["split"].value_counts().to_dict() == {
        "train": 35,
        "test": 10,
        "validation": 5,
    }
    assert pairs.frame.equals(load_pairs(table, limit=50, seed=7).frame)


def test_a_frame_is_not_changed_and_reads_as_its_file_does(tmp_path):
    given = table(9, preference=[0, 1, None] * 3).set_index(np.arange(9) + 5)
    before = given.copy()
    given.to_parquet(path := tmp_path / "own.parquet", index=False)
    pd.testing.assert_frame_equal(load_pairs(given).frame, load_pairs(path).frame)
    pd.testing.assert_frame_equal(given, before)


def test_the_demo_world_is_handed_over_as_a_frame():
    with pytest.raises(ValueError, match=r"load_pairs\(make_pairs\(seed=0\)\)"):
        load_pairs("demo")


# Preference


@pytest.mark.parametrize(
    "given",
    [
        pd.array([0, 1, None], dtype="Int8"),
        np.array([0.0, 1.0, np.nan]),
        ["0", "1", ""],
        pd.array([False, True, None], dtype="boolean"),
        np.array([False, True, None], dtype=object),
    ],
)
def test_preference_is_0_1_or_missing_in_any_dtype(given, tmp_path):
    pairs = load(table(3, preference=given), tmp_path)
    assert pairs.frame["preference"].tolist()[:2] == [0, 1]
    assert pairs.frame["preference"].isna().tolist() == [False, False, True]
    assert pairs.counts["no preference"] == 1


@pytest.mark.parametrize("wrong", [-1, 0.5, "later", [0]])
def test_any_other_preference_is_an_error_that_names_the_first(wrong, tmp_path):
    message = f"column preference holds {wrong!r} in row 2 (the first is 0); expected 0 "
    with pytest.raises(ValueError, match=f"{re.escape(message)}.*a tie.$"):
        load_pairs(table(3, preference=pd.Series([0, "1", wrong], dtype=object)))


@pytest.mark.parametrize("word", [2, "A", "tie", "Model_B"])
def test_a_word_for_the_winner_among_preferences_is_told_its_column(word):
    with pytest.raises(ValueError, match="call the column winner"):
        load_pairs(table(3, preference=pd.Series([0, 1, word], dtype=object)))


def test_a_table_without_preference_has_none(tmp_path):
    pairs = load(table(3).drop(columns="preference"), tmp_path)
    assert pairs.frame["preference"].isna().all()
    assert pairs.counts["no preference"] == 3


# What is dropped


def test_each_unusable_pair_is_dropped_for_its_reason(tmp_path):
    frame = pd.concat([table(10), table(10).iloc[[4, 5]]], ignore_index=True).assign(reader="a")
    frame.loc[0, "clarity_1"] = None
    frame.loc[1, "clarity_2"] = np.inf
    frame.loc[2, "response_2"] = " \n"
    frame.loc[3, "prompt"] = None
    frame.loc[6, "prompt"] = "a\n<extra_id_1>Narrator\nb"
    pairs = load(frame, tmp_path)
    assert pairs.frame["response_1"].tolist() == ["one 4", "one 5", "one 7", "one 8", "one 9"]
    counted = {name: pairs.counts[name] for name in ["rows read", *DROPPED, "pairs"]}
    assert list(counted.values()) == [12, 3, 2, 2, 0, 0, 5]


def test_a_source_with_no_usable_pair_is_an_error_that_says_why(tmp_path):
    with pytest.raises(ValueError, match=r"dropped are .*no attribute rated on both: 3"):
        load(table(3, clarity_1=np.nan), tmp_path)
    with pytest.raises(ValueError, match="has no rows; expected rows with prompt"):
        load(table(0), tmp_path)


texts = st.sampled_from(["", "a", "b", "c\n", "a\n<extra_id_1>Assistant\nb", "🍎"])
rows = st.fixed_dictionaries(
    {
        "prompt": texts,
        "response_1": texts,
        "response_2": texts,
        "wit_1": st.sampled_from([None, 0.0, 1.5]),
        "wit_2": st.sampled_from([None, 4.0]),
        "preference": st.sampled_from([None, 0, 1]),
        "split": st.sampled_from(["train", "validation", "test"]),
    }
)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(rows, min_size=1, max_size=12), st.integers(0, 5), st.booleans())
def test_every_row_is_kept_or_counted(tmp_path, rows, limit, own_split):
    frame = pd.DataFrame(rows).astype({"wit_1": float, "wit_2": float, "preference": float})
    usable = frame[
        frame["prompt"].isin(["a", "b", "c\n", "🍎"])
        & frame["response_1"].ne("")
        & frame["response_2"].ne("")
        & frame["wit_1"].notna()
        & frame["wit_2"].notna()
    ]
    frame = frame if own_split else frame.drop(columns="split")
    if usable.empty:
        with pytest.raises(ValueError, match="no pair"):
            load(frame, tmp_path, limit=limit)
        return
    pairs = load(frame, tmp_path, limit=limit)
    counts = pairs.counts
    assert counts["rows read"] == len(frame)
    assert len(pairs.frame) == len(frame) - sum(counts[reason] for reason in DROPPED)
    assert counts["no preference"] == pairs.frame["preference"].isna().sum()
    assert counts["votes"] == pairs.frame["preference"].notna().sum()
    assert counts["pairs"] == pairs.frame["pair_id"].nunique() == pairs.frame["pair_id"].max() + 1
    assert pairs.frame.groupby("prompt")["split"].nunique().eq(1).all()
    assert pairs.frame.groupby("prompt")["prompt_id"].nunique().eq(1).all()
    assert set(pairs.frame["prompt"]) <= set(usable["prompt"])


# Splits and limit


def test_splits_go_by_prompt_in_the_shares_asked_for(tmp_path):
    frame = pd.concat([table(100, vote=1), table(100, vote=2)], ignore_index=True)
    pairs = load(frame, tmp_path, validation_share=0.15, test_share=0.25)
    prompts = pairs.frame.drop_duplicates("prompt")["split"].value_counts()
    assert prompts.to_dict() == {"train": 60, "test": 25, "validation": 15}
    assert pairs.frame.groupby("prompt")["split"].nunique().eq(1).all()
    again = load(frame, tmp_path, validation_share=0.15, test_share=0.25)
    other = load(frame, tmp_path, validation_share=0.15, test_share=0.25, seed=1)
    assert pairs.frame.equals(again.frame)
    assert not pairs.frame["split"].equals(other.frame["split"])


def test_splits_of_the_source_stay(tmp_path):
    own = np.array(["train", "validation", "test", "train"] * 5)
    assert load(table(20, split=own), tmp_path).frame["split"].tolist() == own.tolist()
    own[own == "validation"] = "train"
    pairs = load(table(20, split=pd.Categorical(own)), tmp_path, validation_share=0.2)
    found = pairs.frame["split"].to_numpy()
    assert (found[own == "test"] == "test").all()
    assert ((found == "validation") & (own == "train")).sum() == 3  # a fifth of 15
    with pytest.raises(ValueError, match=r"column split holds 'val' in row 1 .*; expected train"):
        load(table(2, split=["train", "val"]), tmp_path)


def test_a_prompt_in_two_splits_stays_in_the_later_one_alone(tmp_path):
    frame = table(4, prompt=["p", "q", "p", "p"], split=["train", "train", "validation", "test"])
    pairs = load(frame, tmp_path)
    assert pairs.frame["response_1"].tolist() == ["one 1", "one 3"]
    assert pairs.counts["prompt in a later split"] == 2


def test_prompts_that_differ_only_in_newlines_at_their_end_are_one(tmp_path):
    """A model reads them alike, so one of them in train would give away the other in test."""
    frame = table(4, prompt=["p", "p\n", "q", "p\n\n"], split=["train", "test", "train", "test"])
    pairs = load(frame, tmp_path)
    assert pairs.frame["prompt"].tolist() == ["p", "q", "p"]
    assert pairs.frame["prompt_id"].tolist() == [0, 1, 0]
    assert pairs.counts["prompt in a later split"] == 1
    rated = responses(pairs.frame, pairs.attributes)
    found = rated["response"].to_numpy()[response_index(pairs.frame, rated)]
    assert (found == pairs.frame[["response_1", "response_2"]]).all(axis=None)
    turns = ["{}<extra_id_1>Assistant\nYes.{}<extra_id_1>User\nWhy?{}".format("p", *ends)
             for ends in (("", ""), ("\n", ""), ("", "\n"), ("\n\n", "\n"))]  # fmt: skip
    frame = table(4, prompt=turns, split="train", response_1="one", response_2="two")
    pairs = load(frame, tmp_path)
    assert pairs.frame["prompt_id"].tolist() == [0] * 4
    assert responses(pairs.frame, pairs.attributes)["response"].tolist() == ["one", "two"]


def test_a_limit_takes_the_fewest_whole_prompts(tmp_path):
    frame = pd.concat([table(30, vote=vote) for vote in range(4)], ignore_index=True)
    for limit in (1, 4, 29, 30, 999):
        pairs = load(frame, tmp_path, limit=limit)
        expected = min(30, limit)
        assert (pairs.counts["pairs"], pairs.counts["votes"]) == (expected, 4 * expected)
        assert pairs.counts["over limit"] == 120 - 4 * expected
        assert pairs.frame["prompt"].value_counts().eq(4).all()
        assert pairs.frame["prompt_id"].tolist() == pd.factorize(pairs.frame["prompt"])[0].tolist()
    drawn = {load(frame, tmp_path, limit=1, seed=seed).frame["prompt"][0] for seed in range(8)}
    assert len(drawn) > 1


@pytest.mark.parametrize(
    "options", [{"limit": -1}, {"test_share": -0.1}, {"test_share": 0.5, "validation_share": 0.5}]
)
def test_impossible_numbers_are_errors(options):
    with pytest.raises(ValueError, match=r"whose sum is below 1|expected limit as"):
        load_pairs(table(3), **options)


# One row a response


def response_table(prompts, each, seed=0):
    rng = np.random.default_rng(seed)
    rows = itertools.product(range(prompts), range(each))
    frame = pd.DataFrame([(f"q{p}", f"r{p} {r}") for p, r in rows], columns=["prompt", "response"])
    return frame.assign(wit=rng.random(len(frame)), overall=rng.integers(0, 4, len(frame)))


def test_all_pairs_of_a_prompt_follow_the_order(tmp_path):
    frame = response_table(50, 4)
    overall = frame.set_index("response")["overall"]
    pairs = load(frame, tmp_path, order_by="overall")
    assert pairs.attributes == ("wit",)
    assert pairs.counts["pairs"] == 50 * 6
    met = {frozenset(pair) for pair in pairs.frame[["response_1", "response_2"]].to_numpy()}
    assert len(met) == 50 * 6
    more = np.sign([overall[b] - overall[a] for a, b in pairs.frame[TEXTS[1:]].to_numpy()])
    expected = {-1: 0, 1: 1}
    assert [expected.get(sign) for sign in more] == [
        None if pd.isna(value) else value for value in pairs.frame["preference"]
    ]
    assert pairs.counts["ties"] == pairs.counts["no preference"] == (more == 0).sum() > 0


def test_where_a_response_stands_says_nothing_of_its_preference(tmp_path):
    frame = response_table(400, 4).sort_values("overall")  # rows ordered by what is preferred
    pairs = load(frame, tmp_path, order_by="overall").frame
    votes = pairs["preference"].dropna().to_numpy(int)
    # Binomial with p = 1/2: four standard errors, which a sorted table (all 1) exceeds by far.
    assert abs(votes.mean() - 0.5) < 4 * 0.5 / np.sqrt(len(votes))
    other = load(frame, tmp_path, order_by="overall", seed=1).frame
    assert not pairs["response_1"].equals(other["response_1"])


def test_odd_rows_of_a_response_table_are_counted(tmp_path):
    frame = response_table(3, 2)
    frame["overall"] = [1.0, 2, None, 2, 1, 2]
    more = [("alone", "x", 1.0, 1.0), (None, "x", 1.0, 1.0), (None, "y", 1.0, 1.0)]
    frame = pd.concat([frame, pd.DataFrame(more, columns=list(frame)), frame.iloc[[0]]])
    pairs = load(frame, tmp_path, order_by="overall")
    assert (pairs.counts["repeated responses"], pairs.counts["unpaired responses"]) == (1, 3)
    assert (pairs.counts["pairs"], pairs.counts["ties"], pairs.counts["no preference"]) == (3, 0, 1)


def test_responses_are_paired_within_their_own_split(tmp_path):
    frame = response_table(2, 4).assign(split=["train"] * 4 + ["train"] * 2 + ["test"] * 2)
    pairs = load(frame, tmp_path, order_by="overall", validation_share=0.0)
    assert pairs.frame.groupby("prompt")["split"].agg(list).to_dict() == {
        "q0": ["train"] * 6,
        "q1": ["test"],
    }
    assert pairs.counts["prompt in a later split"] == 1


# Files


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "jsonl", "jsonl.gz", "parquet"])
def test_each_file_format_gives_the_same_frame(suffix, tmp_path):
    frame = table(12, preference=pd.array([0, 1, None] * 4, dtype="Int8"))
    frame.loc[1, "response_1"], frame.loc[2, "response_2"] = 'tab\t"quote",\n数学 🍎', "None"
    path = tmp_path / f"own.{suffix}"
    if "csv" in suffix:
        frame.to_csv(path, index=False)
    elif "jsonl" in suffix:
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_parquet(path)
    pd.testing.assert_frame_equal(load_pairs(path).frame, load(frame, tmp_path).frame)
    assert load_pairs(str(path)).counts["pairs"] == 12


def test_texts_in_csv_are_read_as_they_stand(tmp_path):
    frame = table(3, response_1=["NA", "4", ""], response_2=["null", "5.0", "x"])
    frame.to_csv(tmp_path / "own.csv", index=False)
    pairs = load_pairs(tmp_path / "own.csv")
    assert pairs.frame["response_1"].tolist() == ["NA", "4"]
    assert pairs.frame["response_2"].tolist() == ["null", "5.0"]
    assert pairs.counts["unreadable"] == 1


def test_a_text_that_cannot_be_stored_costs_its_own_row_only(tmp_path):
    path = tmp_path / "own.jsonl"
    rows = table(4).to_dict("records")
    rows[1]["response_1"] = "half a pair: \ud83c"
    rows[2]["response_1"] = "a whole one: 🍎"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    pairs = load_pairs(path)
    assert pairs.counts["unreadable"] == 1
    assert pairs.frame["response_1"].tolist() == ["one 0", "a whole one: 🍎", "one 3"]


def test_a_broken_line_is_named(tmp_path):
    path = tmp_path / "own.jsonl"
    for broken in ('{"prompt": "a', "17", "[1]", '"a"'):
        path.write_text(json.dumps({"prompt": "a"}) + "\n" + broken + "\n")
        with pytest.raises(ValueError, match=r"own.jsonl is not .*line 2 is not a JSON object"):
            load_pairs(path)


def test_errors_name_what_was_found_and_what_was_expected(tmp_path):
    for source in ("nowhere.parquet", tmp_path / "own.xlsx"):
        with pytest.raises(
            ValueError, match=r"there is no .*(nowhere.parquet|own.xlsx); expected a .parquet"
        ):
            load_pairs(source)
    (tmp_path / "own.txt").write_text("q")
    with pytest.raises(ValueError, match=r"own.txt is not a table \(.txt\)"):
        load_pairs(tmp_path / "own.txt")
    with pytest.raises(ValueError, match="missing: response_2; found: prompt, "):
        load(table(3).drop(columns="response_2"), tmp_path)
    with pytest.raises(ValueError, match=r"'wit' has no two columns wit_1 and .*has clarity"):
        load(table(3), tmp_path, attributes=("wit",))
    with pytest.raises(ValueError, match=r"needs order_by.* wit, overall; order_by is"):
        load(response_table(3, 2), tmp_path)
    with pytest.raises(ValueError, match="missing: prompt; found: response, "):
        load(response_table(3, 2).drop(columns="prompt"), tmp_path, order_by="overall")
    helpsteer2_replica(folder := tmp_path / "helpsteer2")
    (folder / "train.jsonl.gz").unlink()
    with pytest.raises(ValueError, match=r"there is no .*train\.jsonl\.gz"):
        load_pairs(folder)


# HelpSteer2


def test_helpsteer2_pairs_ratings_and_preferences_by_text(tmp_path):
    plain = helpsteer2_replica(tmp_path)
    pairs = load_pairs(tmp_path)
    assert pairs.attributes == ATTRIBUTES
    assert inputs_name(pairs.frame) == "ratings by people"  # the form tells; of other tables nobody
    found = pairs.frame.set_index("prompt")
    for prompt, one, two, strength, split in plain:
        row = found.loc[prompt]
        assert (row["response_1"], row["response_2"]) == (one, two)
        assert (row["split"] == "test") == (split == "test")
        if strength in (0, None):
            assert pd.isna(row["preference"])
        else:
            assert row["preference"] == (strength > 0)


def test_helpsteer2_ratings_stay_with_their_responses(tmp_path):
    helpsteer2_replica(tmp_path)
    pairs = load_pairs(tmp_path)
    rated = pd.concat(
        pd.read_json(tmp_path / f"{half}.jsonl.gz", lines=True) for half in ("train", "validation")
    ).drop_duplicates(["prompt", "response"])
    rated = rated.set_index(["prompt", "response"])[list(ATTRIBUTES)]
    frame = pairs.frame[pairs.frame["response_1"] != pairs.frame["response_2"]]
    for side in (1, 2):
        expected = rated.loc[list(zip(frame["prompt"], frame[f"response_{side}"], strict=True))]
        own = [f"{name}_{side}" for name in ATTRIBUTES]
        np.testing.assert_array_equal(frame[own].to_numpy(), expected.to_numpy(float))


def test_helpsteer2_oddities_are_counted(tmp_path):
    plain = helpsteer2_replica(tmp_path, train=60, validation=12)
    pairs = load_pairs(tmp_path)
    ties = sum(strength == 0 for *_, strength, _ in plain)
    unasked = sum(strength is None for *_, strength, _ in plain)
    assert pairs.counts == {
        "unpaired responses": 2,
        "preferences without ratings": 1,
        "ties": ties + 2,  # a contradiction, and two responses that are the same
        "repeated pairs": 1,
        "rows read": 72 + 9,
        "unreadable": 2,
        "no attribute rated on both": 0,
        "duplicates": 0,
        "prompt in a later split": 1,
        "over limit": 0,
        "pairs": 72 + 6,
        "votes": 72 + 6 - ties - unasked - 3,
        "pairs with several votes": 0,
        "prompts": 72 + 6,
        "no preference": ties + unasked + 3,
        "identical responses": 1,
    }
    frame = pairs.frame.set_index("prompt")
    assert frame.loc["said twice", "preference"] == 1
    assert frame.loc["in both files", ["response_1", "split"]].tolist() == ["c", "test"]
    trained = frame["split"].value_counts()
    assert (trained["test"], trained["validation"]) == (13, round(0.1 * (72 + 6 - 13)))


def test_the_hub_is_asked_for_one_pinned_revision(tmp_path, monkeypatch):
    helpsteer2_replica(tmp_path)
    asked = []

    def download(name, **options):
        asked.append((name, options))
        return str(tmp_path)

    monkeypatch.setattr(formats, "snapshot_download", download)
    pinned, other = load_pairs("nvidia/HelpSteer2"), load_pairs("nvidia/HelpSteer2", revision="ab")
    assert pinned.frame.equals(other.frame)
    assert [name for name, _ in asked] == ["nvidia/HelpSteer2"] * 2
    assert [len(options["revision"]) for _, options in asked] == [40, 2]
    assert asked[0][1]["repo_type"] == "dataset"
    assert "preference/preference.jsonl.gz" in asked[0][1]["allow_patterns"]


def test_as_many_rows_as_helpsteer2_has_are_read(tmp_path):
    helpsteer2_replica(tmp_path, train=10_000, validation=500)
    assert load_pairs(tmp_path).counts["pairs"] == 10_506


# Helpers


def test_helpers_lead_from_pairs_to_responses_and_back(tmp_path):
    pairs = load(response_table(30, 3), tmp_path, order_by="overall")
    once = responses(pairs.frame, pairs.attributes)
    rows = response_index(pairs.frame, once)
    assert len(once) == 90
    assert not once.duplicated(["prompt_id", "response"]).any()
    for side in (1, 2):
        seen = once.iloc[rows[:, side - 1]].reset_index(drop=True)
        for name in ("prompt_id", "prompt", "split"):
            assert seen[name].equals(pairs.frame[name])
        assert seen["response"].equals(pairs.frame[f"response_{side}"])
    # Means of equal numbers: at most an ulp or two of values below 1.
    expected = once["wit"].to_numpy()[rows[:, 1]] - once["wit"].to_numpy()[rows[:, 0]]
    np.testing.assert_allclose(
        differences(pairs.frame, pairs.attributes)[:, 0], expected, rtol=0, atol=1e-15
    )
    with pytest.raises(ValueError, match="are not among"):
        response_index(pairs.frame, once.iloc[1:])


def test_a_response_rated_twice_has_its_mean(tmp_path):
    frame = table(2, prompt="p", response_1="same", clarity_1=[1.0, 4.0])
    once = responses(load(frame, tmp_path, test_share=0.0, validation_share=0.0).frame, ["clarity"])
    assert once.set_index("response")["clarity"].to_dict() == {"same": 2.5, "two 0": 0, "two 1": 1}


def test_attributes_survive_saving(tmp_path):
    frame = table(9, zest_1=1, zest_2=2, other_1=3, other_2=3)
    pairs = load(frame, tmp_path, attributes=("zest", "clarity"))
    pairs.frame.to_parquet(tmp_path / "pairs.parquet")
    saved = pd.read_parquet(tmp_path / "pairs.parquet")
    assert attributes_of(saved) == ("zest", "clarity")
    again = load_pairs(tmp_path / "pairs.parquet", attributes=("zest", "clarity"))
    pd.testing.assert_frame_equal(again.frame, pairs.frame)
    assert differences(saved, ("zest", "clarity"))[:, 0].tolist() == [1.0] * 9
    with pytest.raises(ValueError, match="missing"):
        attributes_of(frame.drop(columns="preference"))


# Real ratings


def test_topical_chat_is_read_by_its_law():
    source = shared("topical_chat_ratings.parquet")
    names = ("understandability", "naturalness", "coherence", "engagingness", "groundedness")
    pairs = load_pairs(source, order_by="overall")
    raw = pd.read_parquet(source)
    assert pairs.attributes == names
    by_text = raw.groupby(["prompt", "response"])[[*names, "overall"]].mean()
    texts = by_text.groupby("prompt").size()  # two systems gave one text, which is rated twice
    assert pairs.counts["repeated responses"] == len(raw) - len(by_text) == 1
    assert pairs.counts["pairs"] == (texts * (texts - 1) // 2).sum()
    assert pairs.counts["prompts"] == 60
    equal = 0
    for row in pairs.frame.to_dict("records"):
        one, two = (by_text.loc[(row["prompt"], row[f"response_{side}"])] for side in (1, 2))
        assert [row[f"{name}_2"] for name in names] == [two[name] for name in names]
        if one["overall"] == two["overall"]:
            equal += 1
            assert pd.isna(row["preference"])
        else:
            assert row["preference"] == (two["overall"] > one["overall"])
    assert pairs.counts["ties"] == equal > 0
    assert pairs.frame.drop_duplicates("prompt")["split"].value_counts().to_dict() == {
        "train": 42,
        "test": 12,
        "validation": 6,
    }


def test_llmbar_is_read_without_ratings():
    source = shared("llmbar_pairs.parquet")
    pairs, raw = load_pairs(source), pd.read_parquet(source)
    assert pairs.attributes == tuple(TEXT_ATTRIBUTES)
    assert pairs.attributes_are == "measured from the text"
    assert (pairs.counts["pairs"], pairs.counts["prompts"]) == (419, 418)
    for name in ("prompt", "response_1", "response_2", "preference", "subset"):
        assert pairs.frame[name].tolist() == raw[name].tolist()
    assert differences(pairs.frame, ()).shape == (419, 0)
    assert len(responses(pairs.frame, ())) == 838


def test_a_rating_that_is_mostly_numbers_is_named_instead_of_left_out(tmp_path):
    rows = [
        {"prompt": f"p{k}", "response_1": "a", "response_2": "b", "depth_1": 1, "depth_2": 2}
        for k in range(9)
    ]
    table = pd.DataFrame(rows).assign(clarity_1=["3"] * 8 + ["n/a?"], clarity_2=2, preference=0)
    table.to_csv(tmp_path / "table.csv", index=False)
    with pytest.raises(ValueError, match=r"clarity_1 holds 'n/a\?' in row 8.*mostly numbers"):
        load_pairs(tmp_path / "table.csv")


def test_an_empty_file_says_so(tmp_path):
    (tmp_path / "table.csv").touch()
    with pytest.raises(ValueError, match=r"table\.csv is empty"):
        load_pairs(tmp_path / "table.csv")


def test_an_attribute_of_one_response_only_is_named(tmp_path):
    table = pd.DataFrame(
        {"prompt": [f"p{n}" for n in range(9)], "response_1": "a", "response_2": "b"}
    )
    table = table.assign(clarity_1=1.0, clarity_2=2.0, fun_1=3.0)
    table.to_parquet(path := tmp_path / "table.parquet")
    pairs = load_pairs(path)
    assert pairs.attributes == ("clarity",)
    assert pairs.left_out == {"fun_1": "has no column for the other response; add fun_2"}
    with pytest.raises(ValueError, match=r"'fun' cannot be used: column fun_1 has no .*add fun_2"):
        load_pairs(path, attributes=["fun"])
    table.drop(columns=["clarity_1", "clarity_2"]).to_parquet(path)
    with pytest.raises(ValueError, match=r"no column can be taken as ratings.*add fun_2"):
        load_pairs(path)


def test_order_by_is_refused_where_rows_are_pairs(tmp_path):
    table = pd.DataFrame(
        {"prompt": [f"p{n}" for n in range(9)], "response_1": "a", "response_2": "b"}
    )
    table.assign(clarity_1=1.0, clarity_2=2.0).to_parquet(path := tmp_path / "table.parquet")
    with pytest.raises(ValueError, match="order_by='clarity' is for one response a row"):
        load_pairs(path, order_by="clarity")


def test_whole_prompts_are_drawn_and_no_more_than_needed():
    prompt_id = pd.Series(np.repeat(np.arange(50), 3))
    drawn = draw_prompts(prompt_id, 10, np.random.default_rng(0))
    assert drawn.sum() == 12
    assert (pd.Series(drawn).groupby(prompt_id).nunique() == 1).all()
    assert draw_prompts(prompt_id, 0, np.random.default_rng(0)).all()
    other = draw_prompts(prompt_id, 10, np.random.default_rng(1))
    assert (other != drawn).any()

"""Laws of the columns: what is a rating, what is none, and what is said of both."""

import inspect
import warnings
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from dtreward.pairs.attributes import choose_attributes
from dtreward.pairs.columns import group_of_pairs
from dtreward.pairs.frame import load_pairs

ROWS = 12


def pair_table(**columns):
    table = pd.DataFrame(
        {
            "prompt": [f"question {row}" for row in range(ROWS)],
            "response_1": "yes",
            "response_2": "no",
            "clarity_1": np.arange(ROWS) % 5,
            "clarity_2": np.arange(ROWS) % 3,
            "preference": np.arange(ROWS) % 2,
        }
    )
    return table.assign(**columns)


def both(name, values):
    return {f"{name}_1": values, f"{name}_2": values}


def response_table(**columns):
    table = pd.DataFrame(
        {
            "prompt": np.repeat([f"question {row}" for row in range(ROWS)], 2),
            "response": [f"answer {row}" for row in range(2 * ROWS)],
            "clarity": np.arange(2 * ROWS) % 5,
            "overall": np.arange(2 * ROWS) % 7,
        }
    )
    return table.assign(**columns)


COUNTERS = {
    "Unnamed: 0": np.arange(2 * ROWS) % 7,
    "sample_id": np.arange(2 * ROWS) % 7,
    "responseId": np.arange(2 * ROWS) % 7,
    "idx": np.arange(2 * ROWS) % 7,
    "row_index": np.arange(2 * ROWS) % 7,
    "place": np.arange(2 * ROWS),
    "shuffled": np.random.default_rng(0).permutation(2 * ROWS) + 1000,
    "question_number": np.repeat(np.arange(ROWS), 2),
    "created_at": np.arange(2 * ROWS) % 7,
    "when": np.arange(2 * ROWS) % 7 + 1_700_000_000,
    "day": pd.Timestamp("2025-01-01"),
}


@pytest.mark.parametrize("name", COUNTERS)
def test_row_numbers_ids_and_times_are_no_attributes(name):
    pairs = load_pairs(response_table(**{name: COUNTERS[name]}), order_by="overall")
    assert pairs.attributes == ("clarity",)
    assert set(pairs.left_out) == {name, "overall"}
    assert pairs.left_out["overall"] == "orders the responses (order_by)"


@pytest.mark.parametrize("name", ["valid", "fluid", "indexing", "rate"])
def test_words_that_only_look_like_an_id_are_attributes(name):
    pairs = load_pairs(pair_table(**both(name, np.arange(ROWS) % 4)))
    assert pairs.attributes == ("clarity", name)


def test_numbers_of_pairs_and_of_responses_are_no_attributes():
    first = np.arange(ROWS)
    pairs = load_pairs(pair_table(**both("row", first), line_1=2 * first, line_2=2 * first + 1))
    assert pairs.attributes == ("clarity",)
    assert set(pairs.left_out) == {"row", "line"}
    assert load_pairs(pair_table(**both("fine", first / 3))).attributes == ("clarity", "fine")


def test_an_id_that_is_asked_for_is_taken():
    table = pair_table(**both("id", np.arange(ROWS)))
    pairs = load_pairs(table, attributes=["id"])
    assert pairs.attributes == ("id",)
    assert pairs.left_out == {"clarity": "is not among the attributes asked for"}


UNUSABLE = {
    "4/5": (["4/5"] * ROWS, "holds '4/5' in row 0 (the first is 0); expected a number; write 4"),
    "3,5": (
        ["3,5"] * ROWS,
        "in row 0 (the first is 0); expected a number; write 3.5, with a point",
    ),
    "good": (["good"] * ROWS, "holds no numbers, but such as 'good'"),
    "text": (["4"] * ROWS, "holds numbers as text; name it in `attributes`"),
    "Decimal": ([Decimal("4.5")] * ROWS, "holds numbers as text; name it in `attributes`"),
    "true": ([True, False] * 6, "holds true and false; name it in `attributes`"),
    "true or missing": ([True, None] * 6, "holds true and false; name it in `attributes`"),
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_a_rating_that_cannot_be_used_is_named_with_its_cure(case):
    values, reason = UNUSABLE[case]
    pairs = load_pairs(pair_table(**both("depth", values)))
    assert pairs.attributes == ("clarity",)
    assert reason in pairs.left_out["depth"]


@pytest.mark.parametrize("case", ["4/5", "3,5", "text", "Decimal"])
def test_ratings_that_all_need_a_change_are_no_table_without_ratings(case):
    table = pair_table(**both("depth", UNUSABLE[case][0]))
    with pytest.raises(ValueError, match=r"no column can be taken as ratings as it is.*depth"):
        load_pairs(table.drop(columns=["clarity_1", "clarity_2"]))


def test_asking_for_a_column_converts_it():
    table = pair_table(
        **both("safe", pd.array([True, False, None] * 4, dtype="boolean")),
        **both("depth", ["4", "3.5", " "] * 4),
        **both("wit", [Decimal("4.5")] * ROWS),
        **both("kind", ["true", "False", "NA"] * 4),
    )
    names = ("wit", "safe", "depth", "kind")
    choice = choose_attributes(table, names)
    assert choice.names == names
    first = choice.table[[f"{name}_1" for name in names]]
    assert first.iloc[:2].to_numpy().tolist() == [[4.5, 1.0, 4.0, 1.0], [4.5, 0.0, 3.5, 0.0]]
    assert first.iloc[2].isna().tolist() == [False, True, True, True]


REFUSED = {
    "4/5": (["4"] * 5 + ["4/5"] * 7, "column depth_1 holds '4/5' in row 5.*: write 4$"),
    "4 of 5": (["4 of 5"] * ROWS, "'4 of 5' in row 0.*: write 4$"),
    "3,5": (["3,5"] * ROWS, "holds '3,5' in row 0.*: write 3.5, with a point$"),
    "good": (["good"] * ROWS, "holds 'good' in row 0.*: write a number for each such text"),
    "lists": ([[4, 5]] * ROWS, r"holds \[4, 5\] in row 0.*: write one number"),
    "times": (pd.Timestamp("2025-01-01"), "holds Timestamp.* in row 0.*: write one number"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_column_that_is_asked_for_and_has_no_numbers_is_refused_with_the_cure(case):
    values, message = REFUSED[case]
    table = pair_table()
    table["depth_1"] = table["depth_2"] = values
    with pytest.raises(ValueError, match=message):
        load_pairs(table, attributes=["depth"])


def test_the_row_of_a_table_of_responses_is_that_of_the_table():
    values = ["4"] * 20 + ["4/5"] * 4
    with pytest.raises(ValueError, match="column depth holds '4/5' in row 20"):
        load_pairs(response_table(depth=values), order_by="overall", attributes=["depth"])


def test_ratings_with_the_side_inside_their_name_are_named_with_the_cure():
    table = pair_table(
        is_response_1_safe=True,
        is_response_2_safe=False,
        response_1_score=3.0,
        response_1_model="m",
    )
    left_out = load_pairs(table).left_out
    assert left_out["is_response_1_safe"].endswith("rename it to is_safe_1")
    assert left_out["is_response_2_safe"].endswith("rename it to is_safe_2")
    assert left_out["response_1_score"].endswith("rename it to score_1")
    assert left_out["response_1_model"] == "does not end in _1 or _2"
    with pytest.raises(ValueError, match=r"'score' cannot be used: .*rename it to score_1"):
        load_pairs(table, attributes=["score"])


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        (["clarty"], "did you mean 'clarity'"),
        (["clarity", "clarity"], "clarity cannot be named twice"),
        (["overall"], "orders the responses .* cannot be an attribute too"),
        (["response"], "cannot be named response"),
        ("clarity", r"expected a list of names, came 'clarity'; write attributes=\['clarity'\]"),
    ],
)
def test_names_that_are_no_attributes_are_refused(attributes, message):
    with pytest.raises(ValueError, match=message):
        load_pairs(response_table(), order_by="overall", attributes=attributes)


# Ranks


def test_a_minus_prefers_the_smaller_rank():
    table = response_table(rank=np.tile([1, 2], ROWS))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pairs = load_pairs(table, order_by="-rank")
    best = pairs.frame.set_index("preference")
    assert (best.loc[0, "rank_1"] == 1).all() and (best.loc[1, "rank_2"] == 1).all()
    assert "rank" not in pairs.attributes
    assert pairs.left_out["rank"] == "orders the responses (order_by)"


def test_a_rank_without_a_minus_is_warned_of():
    table = response_table(rank=np.tile([1, 2], ROWS))
    with pytest.warns(UserWarning, match="if 1 is the best, write order_by='-rank'"):
        pairs = load_pairs(table, order_by="rank")
    assert (pairs.frame.set_index("preference").loc[0, "rank_1"] == 2).all()


def test_an_order_is_read_as_numbers_or_refused_with_the_nearest_name():
    table = response_table()
    as_text = table.assign(overall=table["overall"].astype(str))
    numbers = load_pairs(table, order_by="overall").frame["preference"]
    assert load_pairs(as_text, order_by="overall").frame["preference"].equals(numbers)
    with pytest.raises(
        ValueError, match=r"with - before it .* none of them; did you mean overall\?"
    ):
        load_pairs(table, order_by="-overal")
    with pytest.raises(ValueError, match="column grade holds 'A' in row 0"):
        load_pairs(table.assign(grade="A"), order_by="grade")


# Other arguments


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"limit": -1}, "expected limit as a whole number of pairs, 0 or more, came -1"),
        ({"limit": 2.5}, "expected limit as a whole number of pairs, 0 or more, came 2.5"),
        ({"seed": "a"}, "expected seed as a whole number, 0 or more, came 'a'"),
        ({"revision": "abc"}, "revision='abc' is a commit of nvidia/HelpSteer2, expected none"),
    ],
)
def test_arguments_of_another_kind_are_refused(options, message):
    without_types = inspect.unwrap(load_pairs)  # the tests' own check of types comes before it
    with pytest.raises(ValueError, match=message):
        without_types(pair_table(), **options)


def test_a_group_is_a_column_of_the_source_however_its_rows_are():
    table = pair_table(rating_1=np.arange(12) % 5, rating_2=2, subset=["x", "y", None] * 4)
    groups = group_of_pairs(load_pairs(table).frame, "subset")
    assert groups.value_counts().to_dict() == {"x": 4, "y": 4} and groups.isna().sum() == 4
    one_a_row = pd.DataFrame({"prompt": np.repeat(["p", "q"], 2), "response": list("abcd")})
    one_a_row["rating"] = [1, 2, 3, 4]
    one_a_row["depth"] = [1, 2, 3, 4]
    one_a_row["system"] = ["m", "n", "m", "m"]
    frame = load_pairs(one_a_row, order_by="rating").frame
    assert sorted(group_of_pairs(frame, "system")) == ["m", "m and n"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("subst", "came 'subst'; did you mean 'subset'"),
        ("number", "at most 50 different values, 'number' has 60"),
    ],
)
def test_a_group_that_is_not_there_or_names_rows_is_refused(name, message):
    frame = pd.DataFrame({"subset": ["x"] * 60, "number": range(60)})
    with pytest.raises(ValueError, match=message):
        group_of_pairs(frame, name)

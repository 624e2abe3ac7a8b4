"""Pairs from several sets: one set is studied, and how it came about is said."""

import pandas as pd
import pytest

from dtreward.pairs.subsets import (
    ORDINARY,
    choose_subset,
    describe_subsets,
    has_subsets,
    label_subset,
    name_subsets,
    take_subset,
)


@pytest.fixture
def frame():
    subsets = ["Manual"] * 4 + ["Natural"] * 2 + ["Small"]
    selection = ["selected to mislead"] * 4 + [ORDINARY] * 3
    return pd.DataFrame({"subset": subsets, "selection": selection})


def test_the_largest_ordinary_set_is_studied_though_a_selected_one_is_larger(frame):
    assert choose_subset(frame) == "Natural"
    assert choose_subset(frame, "Manual") == "Manual"
    assert take_subset(frame, "Natural").index.tolist() == [4, 5]


def test_a_set_that_was_selected_is_named_so_in_each_label(frame):
    assert label_subset(frame, "Manual", "study") == "study, Manual (selected to mislead)"
    assert label_subset(frame, "Natural", "study") == "study, Natural"
    assert set(name_subsets(frame)) == {"Manual (selected to mislead)", "Natural", "Small"}


def test_pairs_of_one_set_stay_together_under_their_old_label(frame):
    for one in (frame.head(4), frame.drop(columns="selection"), pd.DataFrame({"pair_id": [0]})):
        assert not has_subsets(one)
        assert choose_subset(one) == ""
        assert len(take_subset(one, "")) == len(one)
        assert label_subset(one, "", "demo world") == "demo world"


def test_an_unknown_set_is_refused_and_the_nearest_is_named(frame):
    with pytest.raises(ValueError, match=r"'Naturl'; .* did you mean 'Natural'\?"):
        choose_subset(frame, "Naturl")
    with pytest.raises(ValueError, match="there are: none"):
        choose_subset(pd.DataFrame({"pair_id": [0]}), "Natural")


def test_preferences_are_described_set_by_set(frame):
    short, long = "word", "two words"
    frame = frame.assign(response_1=short, response_2=long, prompt_id=range(7))
    frame["preference"] = pd.array([0, 0, 0, 0, 1, 1, None], "Int8")
    table = describe_subsets(frame)
    manual = table.loc["Manual (selected to mislead)"]
    assert manual["prefer the longer"].estimate == manual["prefer response 2"].estimate == 0
    assert table.loc["Natural", "prefer the longer"].estimate == 1
    assert table.loc["Small", "prefer the longer"] is None
    assert table["pairs"].tolist() == [4, 2, 1]

"""Sentences about biases say what the table says, and name how the pairs came about."""

import numpy as np
import pandas as pd
import pytest

from dtreward.judges.bias_figures import draw_biases, draw_biases_by_subset
from dtreward.judges.biases import MEASURES
from dtreward.judges.family import MEASURES as CHANGES
from dtreward.judges.findings import (
    beyond_sentence,
    family_sentence,
    finding_for_readme,
    kept_sentence,
    length_sentence,
    position_sentence,
    summarise_subsets,
)
from dtreward.judges.kept import MEASURES as OF_PAIRS


def biases(**by_judge):
    """Write a table of biases: {judge: (estimate, low, high, prompts) of each measure named}."""
    rows = {}
    for judge, measures in by_judge.items():
        row = {"family": judge, "pairs": 90}
        for name in MEASURES:
            ends = measures.get(name, (0.5, 0.4, 0.6, 90))
            columns = (name, f"{name}_low", f"{name}_high", f"{name}_prompts")
            row |= dict(zip(columns, ends, strict=True))
        rows[judge] = row
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("judge")


@pytest.fixture
def table():
    return biases(
        I={"first": (0.9, 0.8, 1.0, 30), "length_effect": (0.3, 0.1, 0.5, 40)},
        J={"first": (0.2, 0.1, 0.4, 30), "length_effect": (0.0, -0.1, 0.1, 40)},
        K={"first": (1.0, 0.7, 1.0, 19), "length_effect": (0.4, 0.2, 0.6, 19)},
    )


def test_each_judge_is_told_by_its_interval_and_only_from_twenty_prompts_on(table):
    sentence = position_sentence(table)
    assert "1 of 3 judges (I) name the response shown first" in sentence
    assert sentence.endswith("1 of 3 judges (J) do the opposite; 1 of 3 cannot be told.")
    assert position_sentence(table.loc[["I", "J"]]).endswith("(J) do the opposite.")
    sentence = length_sentence(table)
    assert "1 of 3 judges (I) name what people prefer more often" in sentence
    assert "largest for I, 0.300 [0.100, 0.500]" in sentence
    assert "3 of 3 judges" in beyond_sentence(table)


def test_nothing_is_claimed_where_nothing_can_be_told():
    nothing = biases(I=dict.fromkeys(MEASURES, (0.5, -0.1, 0.9, 9)))
    assert "cannot be told" in position_sentence(nothing)
    assert "none is told" in length_sentence(nothing)
    unknown = biases(I={"beyond_length": (np.nan, np.nan, np.nan, 0)})
    assert "cannot be measured" in beyond_sentence(unknown)


def test_a_finding_names_its_set_and_how_that_was_selected(table):
    about = {"pairs": 90, "subset": "Manual", "selection": "selected to mislead"}
    finding = finding_for_readme(table, **about)
    assert finding["sentence"].startswith("On the 90 pairs of Manual (selected to mislead): ")
    assert finding["numbers"]["favour_first"] == finding["numbers"]["favour_second"] == 1
    assert finding["numbers"]["longer_better"] == 1
    assert finding["numbers"]["largest_length_effect"]["judge"] == "I"


def test_sets_are_counted_apart(table):
    stacked = pd.concat({"x": table, "y (constructed)": table.head(1)}, names=["subset"])
    counted = summarise_subsets(stacked.reset_index())
    assert counted["judges"].to_dict() == {"x": 3, "y (constructed)": 1}
    assert counted["name the second"].to_dict() == {"x": 1, "y (constructed)": 0}


def test_the_largest_difference_in_a_family_is_the_one_that_is_named():
    row = {"judge": "F/a", "other": "F/b", "difference_low": -0.4, "difference_high": -0.1}
    rows = [row | {"measure": CHANGES[0], "difference": -0.3, "p": 0.01}]
    rows += [row | {"measure": CHANGES[1], "difference": 0.0, "p": 0.9}]
    sentence = family_sentence(pd.DataFrame(rows))
    assert "1 of 1 by how often they name what people prefer" in sentence
    assert "0 of 1 by their consistency" in sentence
    assert "F/b to F/a: -0.300 [-0.400, -0.100] in accuracy" in sentence


def test_judges_with_too_few_contradictions_are_counted():
    rows = [{"measure": OF_PAIRS[0], "judge": "I", "difference": 0.3, "p": 0.01}]
    rows += [{"measure": OF_PAIRS[0], "judge": "J", "difference": 0.3, "p": np.nan}]
    sentence = kept_sentence(pd.DataFrame(rows))
    assert f"for 1 of 1 judges by *{OF_PAIRS[0]}* (higher on the kept pairs for 1)" in sentence
    assert "1 of 2 judges have fewer than 20 prompts" in sentence


def test_pictures_have_a_row_a_judge_and_a_column_a_set(table):
    figure = draw_biases(table.reset_index(), world="w, Manual (constructed)")
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["I", "J", "K"]
    assert "Manual (constructed)" in figure.get_suptitle()
    stacked = pd.concat({"x": table, "y": table.head(1)}, names=["subset"]).reset_index()
    figure = draw_biases_by_subset(stacked, world="w")
    first = figure.axes[1]  # names the first
    bold = [text.get_text() for text in first.texts if text.get_fontweight() == "bold"]
    assert sorted(bold) == ["20", "90", "90"]  # K rests on 19 prompts

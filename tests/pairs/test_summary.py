"""Tables and figures of ratings and preferences show every attribute, also odd ones."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from dtreward.pairs.figure import (
    draw_correlations,
    draw_preference_by_difference,
    draw_rating_shares,
)
from dtreward.pairs.summary import closest_attributes, preference_by_difference, rating_shares


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def test_shares_add_up_to_one_and_fine_scales_are_pooled():
    ratings = pd.DataFrame({"coherence": [0, 1, 1, 4] * 25, "words": np.arange(100.0)})
    shares = rating_shares(ratings)
    assert shares["coherence"].to_dict() == {0.0: 0.25, 1.0: 0.5, 4.0: 0.25}
    assert len(shares["words"]) == 10
    assert shares["words"].sum() == pytest.approx(1)
    assert shares["words"].index.is_monotonic_increasing


def test_the_closest_attributes_may_be_opposed_and_a_constant_is_none_of_them():
    values = pd.DataFrame({"a": [1, 2, 3, 4], "b": [2, 1, 3, 3], "c": [4, 3, 2, 1], "d": [1] * 4})
    assert closest_attributes(values.corr()) == ("a", "c")
    assert closest_attributes(values[["a", "d"]].corr()) is None


def test_few_pairs_of_one_difference_are_left_out():
    difference = np.array([0.0] * 30 + [1.0] * 10 + [2.0] * 9)
    preference = np.array([0, 1] * 15 + [1] * 19)
    curve = preference_by_difference(difference, preference, range(49))
    assert curve["difference"].tolist() == [0.0, 1.0]
    assert curve["share"].tolist() == [0.5, 1.0]
    assert curve["pairs"].tolist() == [30, 10]
    inside = curve["share"].between(curve["low"], curve["high"])
    assert inside.all()


def test_many_different_differences_are_pooled_in_eighths():
    generator = np.random.default_rng(0)
    difference = generator.normal(size=400)
    preference = (difference + generator.normal(size=400) > 0).astype(int)
    curve = preference_by_difference(difference, preference, range(400))
    assert len(curve) == 8
    assert curve["pairs"].sum() == 400
    assert curve["pairs"].between(45, 55).all()  # equal but for ties after rounding
    assert curve["share"].iloc[-1] > curve["share"].iloc[0] + 0.5  # the effect that was put in


def test_each_attribute_has_a_panel_with_its_name():
    names = ["coherence", "a_very_long_name_of_an_attribute of many words"]
    ratings = pd.DataFrame({name: [0.0, 1.0, 2.0] for name in names})
    figures = [draw_rating_shares(rating_shares(ratings))]
    curve = preference_by_difference(np.zeros(12), np.tile([0, 1], 6), range(12))
    figures.append(draw_preference_by_difference(dict.fromkeys(names, curve)))
    for figure in figures:
        titles = [axis.get_title(loc="left") or axis.get_title() for axis in figure.axes]
        assert [title.replace("\n", " ") for title in titles] == names


def test_published_shares_are_marked_and_no_correlation_is_minus_zero():
    ratings = pd.DataFrame({"coherence": [0.0, 4.0]})
    published = pd.DataFrame([[0.1, 0.2, 0.3, 0.2, 0.2]], ["coherence"])
    axis = draw_rating_shares(rating_shares(ratings), published).axes[0]
    assert axis.lines[0].get_ydata().tolist() == [0.1, 0.2, 0.3, 0.2, 0.2]
    names = ["coherence", "verbosity"]
    table = pd.DataFrame([[1, -0.001], [-0.001, 1]], names, names)
    figure = draw_correlations({"demo world": table, "published": table})
    texts = [text.get_text() for axis in figure.axes for text in axis.texts]
    assert texts == ["1.00", "0.00", "0.00", "1.00"] * 2


def test_an_attribute_with_too_few_pairs_has_an_empty_panel():
    curve = preference_by_difference(np.zeros(5), np.array([0, 1, 0, 1, 1]), range(5))
    assert curve.empty
    figure = draw_preference_by_difference({"coherence": curve})
    assert len(figure.axes) == 1

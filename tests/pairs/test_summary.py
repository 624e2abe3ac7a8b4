"""Tables and figures of ratings and preferences show every attribute, also odd ones."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb

from dtreward.figures import ATTRIBUTE_COLOURS, attribute_colours
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


# Figures


def test_twenty_attributes_stand_in_rows_with_colours_that_differ():
    names = [f"attribute number {number}" for number in range(20)]
    shares = {name: pd.Series([0.25, 0.75], [0.0, 1.0]) for name in names}
    figure = draw_rating_shares(shares)
    assert [axis.get_title().replace("\n", " ") for axis in figure.axes] == names
    places = [axis.get_subplotspec() for axis in figure.axes]
    assert max(place.colspan.stop for place in places) == 5
    labelled = [place.is_first_col() for place in places]
    assert [bool(axis.get_ylabel()) for axis in figure.axes] == labelled
    colours = [to_rgb(axis.patches[0].get_facecolor()) for axis in figure.axes]
    figure.draw_without_rendering()
    boxes = [axis.title.get_window_extent() for axis in figure.axes]
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    apart = [np.abs(np.subtract(*two)).max() for two in itertools.combinations(colours, 2)]
    assert min(apart) > 0.15


def test_a_colour_is_that_of_the_name_wherever_the_others_leave_it_free():
    names = [*ATTRIBUTE_COLOURS, *(f"name {number}" for number in range(20))]
    colours = attribute_colours(names)
    assert len(set(colours.values())) == 25
    assert {name: colours[name] for name in ATTRIBUTE_COLOURS} == ATTRIBUTE_COLOURS
    alone = {name: attribute_colours([name])[name] for name in names[5:12]}
    assert sum(alone[name] == colours[name] for name in alone) > 3
    assert len(attribute_colours([f"name {number}" for number in range(50)])) == 50


def test_figures_of_a_constant_attribute_and_of_few_pairs_say_so():
    figure = draw_rating_shares({"wit": pd.Series([1.0], [3.0])})
    assert figure.axes[0].get_xlim() == (1, 5)  # else the one bar would fill the panel
    correlation = pd.DataFrame({"wit": [np.nan, np.nan], "depth": [np.nan, 1.0]}, ["wit", "depth"])
    figure = draw_correlations({"all": correlation})
    assert figure.axes[0].get_facecolor()[:3] == pytest.approx((0.92,) * 3)
    none = pd.DataFrame(columns=["difference", "share", "low", "high", "pairs"])
    figure = draw_preference_by_difference({"wit": none})
    assert [text.get_text() for text in figure.axes[0].texts] == [
        "too few pairs\nof one difference"
    ]

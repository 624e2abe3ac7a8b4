"""The figures of an ablation show what their tables hold, for one input and for two."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from dtreward.stats import Interval
from dtreward.tree.ablation_figure import (
    draw_depths,
    draw_levels,
    draw_loss_by_leaves,
    draw_recurring_splits,
    draw_setting_effects,
    draw_stability,
)

ONE = ["ratings"]
TWO = ["ratings", "predicted rewards"]


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def grid(inputs):
    """A row a tree: three depths and two numbers of leaves for each input."""
    tables = []
    for place, name in enumerate(inputs):
        loss = np.array([0.6, 0.5, 0.55, 0.6, 0.5]) + 0.01 * place
        rows = {
            "input": name,
            "dial": ["depth"] * 3 + ["leaves"] * 2,
            "size": [1, 2, 3, 2, 4],
            "n_leaves": [2, 4, 8, 2, 4],
            "standard_error": 0.02,
        }
        for part in ("train", "validation"):
            for measure, values in {"log_loss": loss, "accuracy": 1 - loss}.items():
                rows[f"{part}_{measure}"] = values
                rows[f"{part}_{measure}_low"] = values - 0.05
                rows[f"{part}_{measure}_high"] = values + 0.05
        tables.append(pd.DataFrame(rows))
    return pd.concat(tables, ignore_index=True)


@pytest.mark.parametrize("inputs", [ONE, TWO])
def test_curves_by_depth_are_the_rows_of_the_table(inputs):
    rows = grid(inputs)
    rows = rows[rows["dial"] == "depth"]
    floors = {"accuracy": 0.5, "log_loss": 0.693}
    figure = draw_depths(rows, dict.fromkeys(inputs, 2), floors)
    assert len(figure.axes) == 2 * len(inputs)
    assert [axis.get_title() for axis in figure.axes[: len(inputs)]] == [f"on {n}" for n in inputs]
    validation = figure.axes[-1].lines[1]
    expected = rows.loc[rows["input"] == inputs[-1], "validation_log_loss"]
    np.testing.assert_array_equal(validation.get_ydata(), expected)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["training pairs", "validation pairs", "constant answer", "chosen depth"]


@pytest.mark.parametrize("inputs", [ONE, TWO])
def test_rings_mark_the_chosen_sizes_and_a_dial_without_sizes_has_no_curve(inputs):
    rows = grid(inputs)
    chosen = {}
    for name in inputs:
        for dial, place in {"depth": 1, "leaves": 4}.items():
            chosen[name, dial] = rows[rows["input"] == name].iloc[place]
    figure = draw_loss_by_leaves(rows, chosen)
    lines = figure.axes[0].lines
    assert [len(line.get_xdata()) for line in lines] == [3, 1, 2, 1]
    assert lines[1].get_xdata()[0] == 4 and lines[1].get_ydata()[0] == 0.5


def test_effects_stand_at_their_depth_with_their_interval():
    effects = {(name, "Gini"): [Interval(0.1, 0.0, 0.3)] * 2 for name in TWO}
    figure = draw_setting_effects(effects, [1, 5])
    assert len(figure.axes) == 2
    (whiskers,) = [bars.lines[2][0] for bars in figure.axes[0].containers]
    np.testing.assert_allclose(whiskers.get_segments()[1], [[1, 0.0], [1, 0.3]])
    ticks = [text.get_text() for text in figure.axes[0].get_xticklabels()]
    assert ticks == ["1", "5"]


def test_levels_are_in_percent():
    table = pd.DataFrame({1: [1.0, 0.0], 2: [0.25, 0.5]}, ["helpfulness", "number of words"])
    figure = draw_levels({"ratings": table})
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["100", "25", "0", "50"]


@pytest.mark.parametrize(("spread", "place"), [(None, 3.0), ({"words": 6.0, "depth": 1.0}, 0.5)])
def test_only_splits_that_come_back_have_a_number(spread, place):
    splits = pd.DataFrame(
        {
            "attribute": ["words", "depth"],
            "threshold": [3.0, 1.0],
            "share": [0.8, 0.79],
        }
    )
    again = splits.drop(columns="share").iloc[[0, 0]].assign(threshold=[3.0, 6.0])
    tables = ({"ratings": splits}, {"ratings": again})
    (axis,) = draw_recurring_splits(*tables, ["depth", "words"], spread).axes
    assert [text.get_text() for text in axis.texts] == ["80"]
    *_, lines, depth, words = axis.collections
    assert [segment[0][0] for segment in lines.get_segments()] == [place, 2 * place]
    assert words.get_offsets().tolist() == [[place, 1.0]]
    assert depth.get_alpha() < words.get_alpha()  # 79 % is faint
    assert ("standard deviations" in axis.get_xlabel()) == (spread is not None)


def test_stability_is_drawn_as_means_over_resamples():
    table = pd.DataFrame(
        {
            "depth": [1, 1, 2, 2],
            "gap": [0.1, 0.3, 0.2, 0.2],
            "decided_otherwise": 0.1,
            "splits": [1, 1, 3, 3],
            "splits_needed": [1, 1, 1, 2],
            "path_length": [1.0, 1.0, 1.9, 2.0],
        }
    )
    figure = draw_stability({"ratings": table, "predicted rewards": table})
    np.testing.assert_allclose(figure.axes[0].lines[0].get_ydata(), [0.2, 0.2])
    assert [line.get_linestyle() for line in figure.axes[2].lines] == ["-", "--", "-", "--"]

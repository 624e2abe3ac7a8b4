"""Figures of how good trees and their rivals are: by size, by group, and calibration."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

WIDTH = 6.75  # inches, of a page
LINE = 0.16  # inches, of a label of 8 points
MARGIN = 0.6  # inches above and below the points of a panel
LINES_A_DECADE = 4  # how far apart models stand of which one is ten times as large
COLOURS = {"tree": "C0", "logistic regression": "C1"}


def draw_rivals(tables: Mapping[str, pd.DataFrame], floors: Mapping[str, float]) -> Figure:
    """Draw how good models are against how large they are, the largest at the bottom.

    A row of panels an input; in it a panel a measure. Models stand where the logarithm of their
    size puts them, but never closer than a line of text. The tree stands out.

    Args:
        tables: by input, a row a model: numbers (that the model holds), and the `Interval` of each
            measure in a column.
        floors: of each measure; a dotted line.
    """
    places = {name: _places(table["numbers"].to_numpy(float)) for name, table in tables.items()}
    heights = [LINE * (place.max() + 1) + MARGIN for place in places.values()]
    figure, axes = plt.subplots(
        len(tables),
        len(floors),
        figsize=(WIDTH, sum(heights)),
        height_ratios=heights,
        sharex="col",
        sharey="row",
        squeeze=False,
        layout="constrained",
    )
    for row, (name, table) in zip(axes, tables.items(), strict=True):
        sizes = [f"{model} ({numbers:,.0f})" for model, numbers in table["numbers"].items()]
        row[0].set_yticks(places[name], sizes)
        row[0].set_ylabel("model (numbers that it holds)")
        row[0].set_ylim(places[name].max() + 0.7, -0.7)
        for axis, (measure, least) in zip(row, floors.items(), strict=True):
            _draw_intervals(axis, places[name], table[measure])
            axis.axvline(least, color="black", lw=0.8, ls=":")
            axis.set_title(f"on {name}")
    for axis, measure in zip(axes[-1], floors, strict=True):
        unit = " (nats)" if measure == "log loss" else ""
        axis.set_xlabel(f"{measure}{unit} on test pairs (dotted: floor)")
    return figure


def _places(numbers: Float[np.ndarray, " models"]) -> Float[np.ndarray, " models"]:
    """Give the line on which each model stands: by the logarithm of its size, a line apart or more."""
    scaled = np.log10(numbers) * LINES_A_DECADE
    place = np.zeros(len(numbers))
    free = 0.0
    for model in np.argsort(numbers, kind="stable"):
        place[model] = max(free, scaled[model])
        free = place[model] + 1
    return place


def _draw_intervals(axis: Axes, places: Float[np.ndarray, " models"], intervals: pd.Series) -> None:
    """Draw a point with its interval for each model."""
    for place, (model, interval) in zip(places, intervals.items(), strict=True):
        colour = COLOURS["tree"] if model == "tree" else "grey"
        axis.plot([interval.low, interval.high], [place, place], color=colour, lw=1)
        axis.plot(interval.estimate, place, "o", color=colour, ms=4.2)


def draw_groups(tables: Mapping[str, pd.DataFrame], floor: float) -> Figure:
    """Draw the accuracy of models in each group of pairs, beneath each other.

    Args:
        tables: by model, `stats.rates_by_group`, all of the same groups.
        floor: accuracy of the constant answer on all pairs.
    """
    names = next(iter(tables.values()))["group"]
    height = LINE * 1.6 * len(names) + MARGIN
    figure, axis = plt.subplots(figsize=(WIDTH, height), layout="constrained")
    for number, (model, table) in enumerate(tables.items()):
        place = np.arange(len(names)) + 0.3 * (number - (len(tables) - 1) / 2)
        colour = COLOURS["tree"] if model == "tree" else "grey"
        axis.hlines(place, table["low"], table["high"], color=colour, lw=1)
        axis.plot(table["estimate"], place, "o", color=colour, ms=4.2, label=model)
    axis.axvline(floor, color="black", lw=0.8, ls=":")
    sizes = zip(names, next(iter(tables.values()))["n"], strict=True)
    axis.set_yticks(range(len(names)), [f"{name} ({n:,})" for name, n in sizes])
    axis.set(xlabel="accuracy on test pairs (dotted: floor of all)", ylim=(len(names) - 0.4, -0.6))
    axis.set_xlim(left=axis.get_xlim()[0] - 0.03)
    axis.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def draw_calibration(
    tables: Mapping[str, Mapping[str, pd.DataFrame]], errors: Mapping[str, float]
) -> Figure:
    """Draw the share that prefers response 2 against the predicted probability.

    Args:
        tables: `stats.calibration_table` by input (a panel each) and model.
        errors: the tree's expected calibration error by input.
    """
    figure, axes = plt.subplots(
        1,
        len(tables),
        figsize=(WIDTH / 2 * len(tables), 2.6),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for axis, (name, table_of_model) in zip(axes[0], tables.items(), strict=True):
        axis.plot([0, 1], [0, 1], color="grey", lw=0.6)
        for model, bins in table_of_model.items():
            spread = np.abs(bins[["share_low", "share_high"]].T - bins["share"])
            style = {"fmt": "o", "ms": 3, "lw": 0.8, "color": COLOURS.get(model), "label": model}
            axis.errorbar(bins["probability"], bins["share"], spread, **style)
        axis.set_title(f"on {name}, error of the tree {errors[name]:.3f}")
        axis.set_xlabel("predicted probability of response 2")
    axes[0, 0].set(ylabel="share preferring response 2", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    if any(len(table_of_model) > 1 for table_of_model in tables.values()):
        axes[0, 0].legend(frameon=False)
    return figure

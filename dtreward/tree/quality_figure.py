"""Figures of how good trees and their rivals are: accuracies, and calibration."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dtreward.stats import Interval

WIDTH = 6.75  # inches, of a page
COLOURS = {"tree": "C0", "logistic regression": "C1"}


def draw_accuracies(accuracies: Mapping[str, Mapping[str, Interval]], floor: float) -> Figure:
    """Draw the accuracy of models on the same pairs, a panel an input; the tree stands out.

    Args:
        accuracies: by input and model, in the order from top to bottom.
        floor: accuracy of the constant answer.
    """
    figure, axes = plt.subplots(
        1,
        len(accuracies),
        figsize=(WIDTH, 2.4),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for axis, (name, intervals) in zip(axes[0], accuracies.items(), strict=True):
        _draw_intervals(axis, intervals)
        axis.axvline(floor, color="black", lw=0.8, ls=":")
        axis.set(title=f"on {name}", xlabel="accuracy on test pairs (dotted: floor)")
    axes[0, 0].invert_yaxis()
    return figure


def _draw_intervals(axis: Axes, intervals: Mapping[str, Interval]) -> None:
    """Draw a point with its interval for each model."""
    for model, interval in intervals.items():
        colour = COLOURS["tree"] if model == "tree" else "grey"
        axis.plot([interval.low, interval.high], [model, model], color="grey", lw=1)
        axis.plot(interval.estimate, model, "o", color=colour, ms=4.2)


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

"""Figures of ratings and preferences, one panel an attribute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dtreward.figures import attribute_colours, label_rows, panels, short_titles

MANY = 10  # attributes from which correlations have small numbers
LINE = 0.12  # inches that each further line of a panel's title takes


def draw_rating_shares(
    shares: Mapping[str, pd.Series],
    published: pd.DataFrame | None = None,
    *,
    value: str = "rating",
) -> Figure:
    """Draw the share of each rating, one panel an attribute.

    Args:
        shares: share by rating, for each attribute.
        published: shares to mark in black: attributes as rows, ratings 0 to 4 as columns.
        value: what the values are called on the axis.
    """
    figure, axes = _titled_panels(list(shares), height=1.9)
    colours = attribute_colours(list(shares))
    for axis, (attribute, share) in zip(axes, shares.items(), strict=True):
        narrowest = np.diff(share.index).min() if len(share) > 1 else 1
        axis.bar(share.index, share, 0.8 * narrowest, color=colours[attribute])
        if len(share) == 1:  # else its bar is as wide as the panel
            axis.set_xlim(share.index[0] - 2, share.index[0] + 2)
        if published is not None:
            marks = published.loc[attribute]
            axis.plot(range(len(marks)), marks, "_", color="black", ms=9, label="published")
        axis.set_xlabel(value)
    label_rows(axes, "share of responses")
    if published is not None:
        axes[0].legend(loc="upper left", frameon=False)
    return figure


def draw_correlations(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw tables of correlations side by side.

    Args:
        tables: correlations from -1 to 1 by title, with the same attributes in rows and columns.
    """
    count = len(next(iter(tables.values())))
    cell = 0.25 if count > MANY else 0.36
    points = 5 if count > MANY else None
    side = max(3.375, 1.9 + cell * count)
    size = (side * len(tables), side - 0.5)
    figure, axes = plt.subplots(1, len(tables), figsize=size, squeeze=False, layout="constrained")
    for axis, (title, table) in zip(axes[0], tables.items(), strict=True):
        labels = [fill(name, 18) for name in table]
        rounded = table.round(2) + 0.0  # no "-0.00"
        sns.heatmap(
            rounded.set_axis(labels, axis=0).set_axis(labels, axis=1),
            annot=True,
            fmt=".2f",
            annot_kws={"size": points} if points else None,
            cmap="vlag",
            vmin=-1,
            vmax=1,
            square=True,
            cbar=False,
            ax=axis,
        )
        axis.set(title=title, xlabel="", ylabel="", facecolor="0.92")  # grey: no correlation
        axis.tick_params(length=0)
        axis.tick_params(axis="x", rotation=90)
        axis.tick_params(axis="y", rotation=0)
    return figure


def draw_preference_by_difference(curves: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw the share that prefers response 2 by difference, one panel an attribute.

    Args:
        curves: a table of `dtreward.pairs.summary.preference_by_difference` for each attribute.
    """
    figure, axes = _titled_panels(list(curves), height=2.1)
    colours = attribute_colours(list(curves))
    for axis, (attribute, curve) in zip(axes, curves.items(), strict=True):
        if curve.empty:
            place = axis.transAxes
            words = "too few pairs\nof one difference"
            axis.text(0.5, 0.5, words, transform=place, ha="center", color="0.4")
        below = (curve["share"] - curve["low"]).abs()
        above = (curve["high"] - curve["share"]).abs()
        axis.errorbar(
            curve["difference"],
            curve["share"],
            np.array([below, above], float),
            fmt="o-",
            ms=3,
            elinewidth=0.8,
            color=colours[attribute],
        )
        axis.set(xlabel="difference", ylim=(-0.03, 1.03))
    label_rows(axes, "share preferring response 2")
    return figure


def _titled_panels(attributes: Sequence[str], height: float) -> tuple[Figure, list[Axes]]:
    """Make a figure with one titled panel an attribute; long names take more than one line."""
    titles = list(short_titles(attributes).values())
    most_breaks = max(title.count("\n") for title in titles)
    figure, axes = panels(len(titles), height + LINE * most_breaks, sharex=False)
    for axis, title in zip(axes, titles, strict=True):
        axis.set_title(title)
        axis.locator_params(axis="x", integer=True)
    return figure, axes

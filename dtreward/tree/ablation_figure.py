"""Figures of an ablation: a column of panels, or a colour, for each input of the trees.

An input is what the differences are of, such as "ratings". Titles are left to the notebooks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dtreward.figures import WIDTH, attribute_colours
from dtreward.stats import Interval
from dtreward.tree.stability import RECURS

PARTS = {"train": ("training pairs", "0.55"), "validation": ("validation pairs", "C0")}
MEASURES = {"accuracy": "accuracy", "log_loss": "log loss (nats)"}
DIALS = {"depth": "limit on depth", "leaves": "limit on leaves", "pruning": "pruned"}
LABEL = 18  # characters in a line of an attribute's name beside a panel


def draw_depths(
    rows: pd.DataFrame, chosen: Mapping[str, int | float], floors: Mapping[str, float]
) -> Figure:
    """Draw accuracy and log loss by depth, on training and validation pairs, with intervals.

    Args:
        rows: a row a tree that was limited by depth: input, size, and both measures of both parts
            with their ends, as `dtreward.tree.ablation.measure_sizes` names them.
        chosen: the chosen depth of each input.
        floors: accuracy and log_loss of a constant answer on the validation pairs.
    """
    figure, axes = plt.subplots(
        len(MEASURES),
        len(chosen),
        figsize=(WIDTH, 4.0),
        sharex=True,
        sharey="row",
        squeeze=False,
        layout="constrained",
    )
    for panels, (measure, label) in zip(axes, MEASURES.items(), strict=True):
        panels[0].set_ylabel(label)
        for axis, (name, depth) in zip(panels, chosen.items(), strict=True):
            _draw_curves(axis, rows[rows["input"] == name], measure)
            axis.axhline(floors[measure], color="black", lw=0.8, ls=":", label="constant answer")
            axis.axvline(depth, color="C1", lw=1, ls="--", label="chosen depth")
    for axis, name in zip(axes[0], chosen, strict=True):
        axis.set_title(f"on {name}")
    for axis in axes[-1]:
        axis.set_xlabel("depth")
    _draw_legend_below(figure, axes[-1, -1])
    return figure


def _draw_curves(axis: Axes, rows: pd.DataFrame, measure: str) -> None:
    for part, (label, hue) in PARTS.items():
        name = f"{part}_{measure}"
        low = rows[f"{name}_low"]
        high = rows[f"{name}_high"]
        axis.fill_between(rows["size"], low, high, color=hue, alpha=0.2, lw=0)
        axis.plot(rows["size"], rows[name], "o-", color=hue, ms=3, label=label)
    axis.set_xticks(rows["size"].astype(int))


def draw_loss_by_leaves(rows: pd.DataFrame, chosen: Mapping[tuple[str, str], pd.Series]) -> Figure:
    """Draw validation log loss by number of leaves, a curve a dial; bands are one standard error.

    Args:
        rows: a row a tree: input, dial, n_leaves, validation_log_loss, standard_error.
        chosen: the chosen row of each input and dial, which gets a ring.
    """
    inputs = list(rows["input"].unique())
    figure, axes = _input_panels(inputs, height=2.5)
    for axis, name in zip(axes, inputs, strict=True):
        for number, (dial, label) in enumerate(DIALS.items()):
            is_drawn = (rows["input"] == name) & (rows["dial"] == dial)
            if is_drawn.any():
                ring = chosen[name, dial]
                _draw_losses(axis, rows[is_drawn], ring, hue=f"C{number}", label=label)
        axis.set_xscale("log", base=2)
        axis.xaxis.set_major_formatter("{x:.0f}")
        axis.set_xlabel("leaves of the tree (rings: chosen)")
    axes[0].set_ylabel("validation log loss (nats)")
    axes[-1].legend()
    return figure


def _draw_losses(axis: Axes, rows: pd.DataFrame, ring: pd.Series, *, hue: str, label: str) -> None:
    rows = rows.sort_values("n_leaves")
    leaves = rows["n_leaves"]
    loss = rows["validation_log_loss"]
    error = rows["standard_error"]
    axis.fill_between(leaves, loss - error, loss + error, color=hue, alpha=0.13, lw=0)
    axis.plot(leaves, loss, "o-", ms=3, color=hue, label=label)
    axis.plot(ring["n_leaves"], ring["validation_log_loss"], "o", ms=8, mfc="none", color=hue)


def draw_setting_effects(
    effects: Mapping[tuple[str, str], Sequence[Interval]], depths: Sequence[int]
) -> Figure:
    """Draw what another setting changes in the validation log loss, depth by depth.

    Args:
        effects: for each input and label of a setting, an interval a depth: the log loss with
            that setting minus the log loss with the study's own.
    """
    inputs = list(dict.fromkeys(name for name, _ in effects))
    labels = list(dict.fromkeys(label for _, label in effects))
    figure, axes = _input_panels(inputs, height=2.8)
    places = np.arange(len(depths))
    for (axis, name), (number, label) in product(zip(axes, inputs, strict=True), enumerate(labels)):
        ends = [(one.estimate, one.low, one.high) for one in effects[name, label]]
        middle, low, high = np.array(ends).T
        axis.errorbar(
            places + 0.16 * (number - (len(labels) - 1) / 2),
            middle,
            [middle - low, high - middle],
            fmt="o",
            ms=3,
            lw=0.8,
            capsize=0,
            color=f"C{number}",
            label=label,
        )
    for axis in axes:
        axis.axhline(0, color="black", lw=0.6)
        axis.set(xlabel="depth", xticks=places, xticklabels=depths)
    axes[0].set_ylabel("validation log loss minus that\nof the study's own setting (nats)")
    _draw_legend_below(figure, axes[0])
    return figure


def draw_levels(shares: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw in % which attribute pairs are asked about at which level, a panel an input.

    Args:
        shares: a table of `dtreward.tree.stability.asked_by_level` for each input.
    """
    attributes = len(next(iter(shares.values())))
    figure, axes = _input_panels(list(shares), height=0.9 + 0.24 * attributes)
    for axis, table in zip(axes, shares.values(), strict=True):
        sns.heatmap(
            100 * table,
            ax=axis,
            yticklabels=[fill(name, LABEL) for name in table.index],
            cmap="Blues",
            vmin=0,
            vmax=100,
            cbar=False,
            annot=True,
            fmt=".0f",
            annot_kws={"size": 6},
        )
        axis.tick_params(length=0)
        axis.set_xlabel("level (1: the root)")
    return figure


def draw_recurring_splits(
    splits: Mapping[str, pd.DataFrame],
    resampled: Mapping[str, pd.DataFrame],
    attributes: Sequence[str],
    spread: Mapping[str, float] | None = None,
) -> Figure:
    """Draw each split of a tree at its threshold; the area is the share of resamples that have it.

    Below each attribute's splits, a fine line marks each split of the resampled trees. Splits that
    less than 80 % of the resamples have are drawn faint and without a number.

    Args:
        splits: for each input, a row a split: attribute, threshold, share (0 to 1).
        resampled: for each input, a row a split of the trees on resamples: attribute, threshold.
        attributes: the rows of each panel, from the top.
        spread: a standard deviation of each attribute, where thresholds are drawn in units of it.
    """
    figure, axes = _input_panels(list(splits), height=1.1 + 0.36 * len(attributes))
    unit = "" if spread is None else " (standard deviations)"
    deviations = dict.fromkeys(attributes, 1.0) if spread is None else spread
    for axis, name in zip(axes, splits, strict=True):
        for row, attribute in enumerate(attributes):
            is_asked = resampled[name]["attribute"] == attribute
            again = resampled[name].loc[is_asked, "threshold"] / deviations[attribute]
            hue = attribute_colours(attributes)[attribute]
            axis.vlines(again, row + 0.24, row + 0.42, color=hue, lw=0.6, alpha=0.15)
        axis.axvline(0, color="0.8", lw=0.6, zorder=0)
        axis.set_ylim(len(attributes) - 0.4, -0.9)
        axis.set_xlabel(f"threshold of the split{unit}")
    for axis, table in zip(axes, splits.values(), strict=True):
        _draw_splits(axis, table, attributes, deviations)
    labels = [fill(name, LABEL) for name in attributes]
    axes[0].set_yticks(range(len(attributes)), labels)
    return figure


def _draw_splits(
    axis: Axes, splits: pd.DataFrame, attributes: Sequence[str], deviations: Mapping[str, float]
) -> None:
    """Draw a dot a split, and the share of those that recur; numbers of near dots are staggered."""
    near = 0.07 * np.ptp(axis.get_xlim())
    for row, attribute in enumerate(attributes):
        hue = attribute_colours(attributes)[attribute]
        before = -np.inf
        height = 0.24
        table = splits[splits["attribute"] == attribute].sort_values("threshold")
        for threshold, share in zip(table["threshold"], table["share"], strict=True):
            x = threshold / deviations[attribute]
            alpha = 1.0 if share >= RECURS else 0.35
            axis.scatter(x, row, s=90 * share, c=hue, edgecolors="white", lw=0.6, alpha=alpha)
            if share < RECURS:
                continue
            height = 0.44 if x - before < near and height == 0.24 else 0.24
            before = x
            axis.annotate(f"{100 * share:.0f}", (x, row - height), ha="center", size=6)


def draw_stability(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw how far trees on resamples differ and how many splits they have, depth by depth.

    Lines are means over the resamples, bands hold 95 % of them.

    Args:
        tables: a table of `dtreward.tree.stability.describe_regrown` for each input.
    """
    panels = {
        "gap": "mean gap of probabilities",
        "decided_otherwise": "share decided otherwise",
        "splits": "splits (dashed: that decide)",
        "path_length": "splits on a pair's path",
    }
    figure, axes = plt.subplots(2, 2, figsize=(WIDTH, 4.2), sharex=True, layout="constrained")
    for axis, (column, label) in zip(axes.flat, panels.items(), strict=True):
        for number, (name, table) in enumerate(tables.items()):
            _draw_spread(axis, table, column, color=f"C{number}", label=f"on {name}")
            if column == "splits":
                _draw_spread(axis, table, "splits_needed", color=f"C{number}", ls="--")
            axis.set_xticks(table["depth"].unique())
        axis.set_ylabel(label)
        axis.set_ylim(bottom=0)
    axes[1, 1].legend(loc="lower right")
    for axis in axes[1]:
        axis.set_xlabel("depth")
    return figure


def _draw_spread(axis: Axes, table: pd.DataFrame, column: str, **style) -> None:
    by_depth = table.groupby("depth")[column]
    mean = by_depth.mean()
    low = by_depth.quantile(0.025)
    high = by_depth.quantile(0.975)
    axis.fill_between(mean.index, low, high, color=style["color"], alpha=0.2, lw=0)
    axis.plot(mean.index, mean, marker="o", ms=3, **style)


def _input_panels(inputs: Sequence[str], height: float) -> tuple[Figure, list[Axes]]:
    """Make a figure with one titled panel an input; panels share both axes."""
    figure, axes = plt.subplots(
        1,
        len(inputs),
        figsize=(WIDTH, height),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for axis, name in zip(axes[0], inputs, strict=True):
        axis.set_title(f"on {name}")
    return figure, list(axes[0])


def _draw_legend_below(figure: Figure, axis: Axes) -> None:
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))

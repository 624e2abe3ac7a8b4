"""Figures of SHAP values by judge; each function returns a new figure without a title."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from scipy.cluster.hierarchy import dendrogram, linkage
from scipy.spatial.distance import squareform

from dtreward.figures import WIDTH, attribute_colours, colour, label_rows, panels, short_titles
from dtreward.judges.attribution import Distances, import_shap
from dtreward.names import isolate
from dtreward.tree.tree import Differences

NARROW = 3.25  # inches, one column of a page
TITLE = 18  # characters in a line above a panel with one judge
LABEL = 18  # characters in a line of an attribute's name beside a panel
MANY_JUDGES = 15  # judges from which a matrix has no numbers in its cells
LEAST_LABEL = 0.005  # a smaller step has no number beside its bar


def draw_mean_shap(means: pd.DataFrame, attributes: Sequence[str]) -> Figure:
    """Draw the mean absolute SHAP value of each attribute for each judge, a panel an attribute.

    The dotted line is at the first judge's mean.

    Args:
        means: the table of `attribution.mean_abs_shap`: a row for each judge and attribute with
            mean_abs_shap, low and high, in probability of response 2.
        attributes: the panels, in order.
    """
    judges = list(dict.fromkeys(means["judge"]))
    titles = short_titles(attributes)
    limits = np.array([-0.04, 1.06]) * means["high"].max()
    colours = attribute_colours(attributes)
    figure, axes = panels(len(attributes), 0.9 + 0.16 * len(judges))
    for axis, name in zip(axes, attributes, strict=True):
        rows = means[means["attribute"] == name]
        mean = rows["mean_abs_shap"]
        spread = np.abs(rows[["low", "high"]].T - mean)
        style = {"fmt": "o", "ms": 3, "lw": 0.8, "color": colours[name]}
        axis.errorbar(mean, rows["judge"], xerr=spread, **style)
        axis.axvline(mean.iloc[0], color=colour("Human"), lw=0.7, ls=":")
        axis.set(title=titles[name], xlim=limits)
    axes[0].set_ylim(len(judges) - 0.5, -0.5)
    figure.supxlabel("mean |SHAP|, in probability of response 2", fontsize=8)
    return figure


def draw_shap_by_difference(curves: Mapping[str, pd.DataFrame], shown: Sequence[str]) -> Figure:
    """Draw the mean SHAP value of each attribute by its difference, a panel an attribute.

    Args:
        curves: `attribution.mean_by_difference` by attribute.
        shown: the judges with a colour and a name; the others are grey.
    """
    titles = short_titles(list(curves))
    figure, axes = panels(len(curves), 2.3, sharex=False)
    for axis, (name, means) in zip(axes, curves.items(), strict=True):
        axis.plot(means.drop(columns=shown), color="0.8", lw=0.7)
        for judge in shown:
            axis.plot(means[judge], "o-", ms=2, color=colour(judge), label=judge)
        axis.set(title=titles[name], xlabel="difference")
        axis.locator_params(axis="x", nbins=4, steps=[1, 2, 5, 10])
    label_rows(axes, "mean SHAP value")
    handles = axes[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=len(shown))
    return figure


def draw_swarms(
    values: Mapping[str, Float[np.ndarray, "pairs attributes"]],
    differences: Differences,
    attributes: Sequence[str],
    *,
    seed: int = 0,
) -> Figure:
    """Draw each pair's SHAP values as dots, a panel a judge and a row an attribute.

    The colour of a dot is the difference, from its 5th to its 95th percentile over the pairs.

    Args:
        values: by judge, of the same pairs.
        differences: of these pairs, response 2 minus response 1.
        seed: decides where dots with one value lie in their row.
    """
    shap = import_shap()
    height = 1 + 0.3 * len(attributes)
    figure, axes = panels(len(values), height, sharey=False)
    order = np.arange(len(attributes))
    labels = [fill(name, LABEL) for name in reversed(attributes)]
    style = {"max_display": None, "plot_size": None, "color_bar": False, "s": 3, "show": False}
    for axis, (judge, its_values) in zip(axes, values.items(), strict=True):
        explanation = shap.Explanation(its_values, data=differences, feature_names=list(attributes))
        with _numpy_seed(seed):
            shap.plots.beeswarm(explanation, ax=axis, order=order, **style)
        axis.set(title=fill(judge, TITLE), xlabel="")
        starts_row = axis.get_subplotspec().is_first_col()
        axis.set_yticks(order, labels if starts_row else [""] * len(order))
        axis.locator_params(axis="x", nbins=3)
        axis.tick_params(labelsize=7, length=0)
    scale = ScalarMappable(cmap=shap.plots.colors.red_blue)
    bar = figure.colorbar(scale, ax=axes, aspect=30, pad=0.01, ticks=[0, 1])
    bar.ax.set_yticklabels(["response 1\nhas more", "response 2\nhas more"])
    bar.outline.set_visible(False)
    figure.supxlabel("SHAP value, in probability of response 2", fontsize=8)
    return figure


@contextmanager
def _numpy_seed(seed: int) -> Iterator[None]:
    """Seed numpy's global generator, which shap places dots with, and set it back afterwards."""
    state = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(state)


def draw_interactions(sizes: pd.DataFrame, recurs: pd.DataFrame) -> Figure:
    """Draw what each two attributes do together as a matrix: a row a couple, a column a judge.

    Interactions that do not recur are grey; cells without one are empty.

    Args:
        sizes: mean absolute size by couple and judge (`attribution.by_couple`); not empty.
        recurs: whether trees of other prompts have the interaction too.
    """
    labels = [fill(couple, 2 * LABEL) for couple in sizes.index]
    lines = sum(label.count("\n") + 1 for label in labels)
    names = 0.065 * max(map(len, map(str, sizes.columns)))  # inches that the judges' names take
    height = 0.6 + 0.2 * lines + names
    figure, axis = plt.subplots(figsize=(WIDTH, height), layout="constrained")
    style = {"vmin": 0, "cbar": False, "linewidths": 0.5, "ax": axis, "xticklabels": True}
    style |= {"annot": len(sizes.columns) <= MANY_JUDGES, "fmt": ".3f", "annot_kws": {"size": 5.5}}
    strongest = sizes.max(axis=None)
    layers = (sizes.where(recurs), "Blues", 1.3), (sizes.where(~recurs), "Greys", 4)
    for cells, hues, paleness in layers:
        is_empty = cells.isna() | (cells == 0)
        if not is_empty.all(axis=None):
            paint = {"cmap": hues, "vmax": paleness * strongest, "mask": is_empty}
            sns.heatmap(cells, yticklabels=labels, **paint, **style)
    axis.set(xlabel="", ylabel="")
    axis.tick_params(length=0, labelsize=7)
    axis.tick_params(axis="x", rotation=90 if len(sizes.columns) > MANY_JUDGES else 45)
    axis.tick_params(axis="y", rotation=0)
    plt.setp(axis.get_xticklabels(), ha="right", rotation_mode="anchor", va="center")
    return figure


def draw_one_pair(values: pd.DataFrame, difference: pd.Series) -> Figure:
    """Draw how the SHAP values of one pair add up to its probability, a panel a judge.

    Bars start at 0.5; each starts where the one above it ends. The last one ends at the probability
    of response 2, which stands in the title.

    Args:
        values: a row a judge, a column an attribute.
        difference: of the pair, by attribute, response 2 minus response 1.
    """
    rows = [
        fill(f"{isolate(name)} ({value:+.3g})", LABEL + 8) for name, value in difference.items()
    ]
    lines = max(row.count("\n") + 1 for row in rows)
    figure, axes = panels(len(values), 1.0 + (0.1 + 0.12 * lines) * len(rows))
    colours = attribute_colours(list(difference.index))
    for axis, (judge, steps) in zip(axes, values.iterrows(), strict=True):
        _draw_steps(axis, rows, steps, hues=[colours[name] for name in steps.index])
        probability = round(0.5 + steps.sum(), 2) + 0.0  # turns -0 into 0
        title = fill(f"{judge}: {probability:.2f}", TITLE)
        axis.set(title=title, xlim=(-0.35, 1.35), xticks=[0, 0.5, 1])
    axes[0].invert_yaxis()
    figure.supxlabel("probability of response 2, from 0.5 on", fontsize=8)
    return figure


def _draw_steps(axis: Axes, rows: Sequence[str], steps: pd.Series, *, hues: Sequence[str]) -> None:
    ends = 0.5 + steps.cumsum()
    starts = ends - steps
    bars = axis.barh(rows, steps, left=starts, color=hues, height=0.7)
    labels = [f"{step:+.2f}" if abs(step) >= LEAST_LABEL else "" for step in steps]
    axis.bar_label(bars, labels, size=6, padding=1)
    edges = np.arange(len(rows) + 1)
    style = {"color": "0.5", "lw": 0.5, "zorder": 0}
    axis.vlines([*starts, ends.iloc[-1]], edges - 1, edges, **style)


def draw_dendrogram(distances: Distances, judges: Sequence[str], label: str) -> Figure:
    """Draw which judges are close, by clustering with average linkage.

    Args:
        distances: of each two judges, of which there are at least two.
        judges: their names.
        label: what the distance is.
    """
    links = linkage(squareform(distances, checks=False), "average")
    size = (NARROW, 0.9 + 0.16 * len(judges))
    figure, axis = plt.subplots(figsize=size, layout="constrained")
    style = {"orientation": "left", "color_threshold": 0, "above_threshold_color": "0.4"}
    dendrogram(links, labels=list(judges), ax=axis, **style)
    for text in axis.get_yticklabels():
        text.set(color=colour(text.get_text()), size=7)
    axis.set_xlabel(label)
    axis.spines["left"].set_visible(False)
    return figure


def draw_measures(
    shares: Mapping[str, pd.DataFrame], reference: str, apart: Mapping[str, float]
) -> Figure:
    """Draw shares by several measures against those by one, a dot for each judge and attribute.

    Args:
        shares: by measure, a row a judge and a column an attribute.
        reference: the measure on the horizontal axis.
        apart: the other measures, a panel each, with their distance to it, which is the title.
    """
    attributes = list(shares[reference])
    colours = attribute_colours(attributes)
    columns = min(5, len(attributes))
    names = {name: fill(isolate(name), LABEL) for name in attributes}
    lines = max(name.count("\n") + 1 for name in names.values())
    legend = 0.14 * lines * -(-len(attributes) // columns)
    figure, axes = panels(len(apart), 2.35 + legend)
    for axis, (measure, distance) in zip(axes, apart.items(), strict=True):
        axis.plot([0, 1], [0, 1], color="0.6", lw=0.6)
        for name in attributes:
            style = {"s": 10, "alpha": 0.8, "color": colours[name], "label": names[name]}
            axis.scatter(shares[reference][name], shares[measure][name], **style)
        axis.set(title=f"{distance:.3f} apart")
        axis.set(xlabel=f"share by {reference}", ylabel=f"share by {measure}")
    handles = axes[0].get_legend_handles_labels()
    style = {"ncols": columns, "columnspacing": 1, "fontsize": 8 if lines == 1 else 6}
    figure.legend(*handles, loc="outside lower center", **style)
    return figure

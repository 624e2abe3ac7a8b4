"""Figures of linear probes: how well they read, which strength serves, and where they err."""

from collections.abc import Mapping, Sequence
from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from jaxtyping import Int, Real
from matplotlib.figure import Figure

from dtreward.figures import WIDTH, attribute_colours, label_rows, panels, short_titles
from dtreward.stats import Interval

LINE = 0.12  # inches that each further line of a name takes
# Of the probe and the readers beside it; attributes have the other colours.
READER_COLOURS = ("#222222", "#777777", "#A5A5A5", "#C8C8C8", "#E6E6E6")
LOWEST = -0.5  # of R² in the figure of strengths; curves below it are cut
MOST_LEVEL = 7  # names below a figure that are level; more stand upright
POOLED = 7  # ratings with more values than this are pooled in fifths


def draw_strengths(explained: pd.DataFrame, chosen: Sequence[int] | np.ndarray) -> Figure:
    """Draw R² in cross-validation against the strength of the penalty, a line an attribute.

    Args:
        explained: R²; the index holds the strengths, the columns are attributes.
        chosen: number of the chosen strength of each attribute, marked by a dot.
    """
    labels = {name: fill(name, 18) for name in explained}
    lines = sum(label.count("\n") + 1 for label in labels.values())
    height = max(2.3, 0.6 + LINE * lines)
    figure, axis = plt.subplots(figsize=(WIDTH, height), layout="constrained")
    colours = attribute_colours(list(explained))
    for attribute, place in zip(explained.columns, chosen, strict=True):
        curve = explained[attribute]
        hue = colours[attribute]
        axis.plot(curve.index, curve, color=hue, label=labels[attribute])
        axis.plot(curve.index[place], curve.iloc[place], "o", color=hue)
    axis.axhline(0, color="black", lw=0.8, ls=":")
    axis.set(
        xscale="log",
        xlabel="strength of the penalty, in mean variances of the features",
        ylabel="R² in cross-validation",
        ylim=(max(LOWEST, np.nanmin(explained.to_numpy()) - 0.05), 1),
    )
    axis.xaxis.set_major_formatter("{x:g}")
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return figure


def draw_correlations_of_readers(
    correlations: Mapping[str, Sequence[Interval]], attributes: Sequence[str]
) -> Figure:
    """Draw the correlation with the rating as bars, one group an attribute and one bar a reader.

    Args:
        correlations: by reader, one interval an attribute.
        attributes: names of the groups.
    """
    many = len(attributes) > MOST_LEVEL
    labels = [fill(name, 18) for name in attributes]
    if not many:
        labels = list(short_titles(attributes).values())
    taller = 0.8 if many else LINE * max(label.count("\n") for label in labels)
    figure, axis = plt.subplots(figsize=(WIDTH, 2.4 + taller), layout="constrained")
    places = np.arange(len(attributes))
    width = 0.72 / len(correlations)
    lowest = -0.2
    for number, (reader, intervals) in enumerate(correlations.items()):
        estimates = np.array([interval.estimate for interval in intervals])
        ends = np.array([[interval.low, interval.high] for interval in intervals])
        axis.bar(
            places + width * (number - (len(correlations) - 1) / 2),
            estimates,
            0.94 * width,
            yerr=np.abs(ends - estimates[:, None]).T,
            color=READER_COLOURS[number % len(READER_COLOURS)],
            label=reader,
            error_kw={"lw": 0.8, "ecolor": "#D55E00"},
        )
        lowest = np.nanmin([lowest, 1.1 * np.nanmin(ends)]) if np.isfinite(ends).any() else lowest
    axis.axhline(0, color="black", lw=0.6)
    axis.set(xticks=places, xticklabels=labels, ylim=(lowest, 1))
    axis.tick_params(axis="x", rotation=90 if many else 0)
    axis.set_ylabel("Pearson correlation with the rating")
    axis.legend(frameon=False, ncols=5, loc="upper center", bbox_to_anchor=(0.5, 1.16))
    return figure


def draw_layers(correlations: Mapping[str, Mapping[int, Interval]], last: int) -> Figure:
    """Draw the correlation with the rating against the layer that is read, a line an attribute.

    Args:
        correlations: by attribute and number of the layer; -1 is the last, after the final norm.
        last: number at which -1 is drawn: the model's number of layers.
    """
    figure, axis = plt.subplots(figsize=(WIDTH, 2.6), layout="constrained")
    colours = attribute_colours(list(correlations))
    for attribute, by_layer in correlations.items():
        places = {last if layer == -1 else layer: layer for layer in by_layer}
        layers = sorted(places)
        intervals = [by_layer[places[layer]] for layer in layers]
        hue = colours[attribute]
        estimates = [interval.estimate for interval in intervals]
        axis.plot(layers, estimates, "o-", ms=3, color=hue, label=fill(attribute, 18))
        lows = [interval.low for interval in intervals]
        axis.fill_between(layers, lows, [one.high for one in intervals], color=hue, alpha=0.2, lw=0)
    axis.axhline(0, color="black", lw=0.8, ls=":")
    ticks = {layer: str(layer) for layer in layers}
    ticks[last] = f"{last},\nafter the norm"
    axis.set(xticks=list(ticks), xticklabels=list(ticks.values()), ylim=(None, 1))
    axis.set(xlabel="layer that is read", ylabel="Pearson correlation with the rating")
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return figure


def draw_movements(
    movements: Mapping[str, Sequence[Interval]], attributes: Sequence[str]
) -> Figure:
    """Draw how far each reward (columns) moves with each rating that was edited (rows).

    Args:
        movements: by edited attribute, the movement of each reward in reward points a rating point.
        attributes: of the rewards; the edited ones, in the same order, are the rows.
    """
    estimates = [[one.estimate for one in movements[edited]] for edited in attributes]
    table = pd.DataFrame(estimates, attributes, attributes)
    written = [
        [f"{one.estimate:.2f}\n[{one.low:.2f}, {one.high:.2f}]" for one in movements[edited]]
        for edited in attributes
    ]
    height = 1.0 + 0.4 * len(attributes)
    figure, axis = plt.subplots(figsize=(WIDTH, height), layout="constrained")
    sns.heatmap(
        table,
        annot=np.array(written),
        fmt="",
        cmap="RdBu_r",
        vmin=-1,
        vmax=1,
        ax=axis,
        annot_kws={"size": 7},
        cbar_kws={"label": "reward points a rating point"},
    )
    axis.tick_params(axis="both", length=0)
    axis.tick_params(axis="y", rotation=0)
    axis.set(xlabel="reward that moves", ylabel="rating that is edited")
    return figure


def pool_ratings(ratings: Real[np.ndarray, " responses"]) -> np.ndarray:
    """Give ratings with one decimal, or in fifths 0 to 4 if they take more than 7 values.

    Example:
        >>> pool_ratings(np.array([0.0, 4.0, 2.0])).tolist()
        [0, 4, 2]
        >>> pool_ratings(np.arange(10) / 2).tolist()
        [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    """
    rounded = ratings.round(1)
    if len(np.unique(rounded)) > POOLED:
        return fifths(rounded)
    if (rounded % 1 == 0).all():
        return rounded.astype(int)
    return rounded


def fifths(values: Real[np.ndarray, " responses"]) -> Int[np.ndarray, " responses"]:
    """Number the fifths of the values from 0; fewer where many values are equal."""
    return pd.qcut(values, 5, duplicates="drop").codes.astype(int)


def draw_rewards_by_rating(
    rewards: Real[np.ndarray, "responses attributes"],
    ratings: Real[np.ndarray, "responses attributes"],
    attributes: Sequence[str],
) -> Figure:
    """Draw the distribution of predicted rewards at each rating, a panel an attribute.

    A missing rating (nan) is left out.
    """
    titles = short_titles(attributes)
    taller = LINE * max(title.count("\n") for title in titles.values())
    figure, axes = panels(len(attributes), 2.1 + taller, sharex=False)
    colours = attribute_colours(attributes)
    for column, (axis, name) in enumerate(zip(axes, attributes, strict=True)):
        is_rated = ~np.isnan(ratings[:, column])
        bins = pool_ratings(ratings[is_rated, column])
        style = {"color": colours[name], "fliersize": 1, "linewidth": 0.7}
        if is_rated.any():
            sns.boxplot(x=bins, y=rewards[is_rated, column], ax=axis, **style)
        axis.set(title=titles[name], xlabel="rating", ylabel="")
    label_rows(axes, "reward")
    return figure

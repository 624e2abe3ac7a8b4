"""Pictures of judges, for a notebook and for the paper.

Every function returns a new figure. `world` is the label of the data in titles ("demo world").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill, wrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.cluster.hierarchy import dendrogram, fcluster, linkage
from scipy.spatial.distance import squareform
from sklearn.isotonic import isotonic_regression

from dtreward.figures import attribute_colours, colour, panels, panels_in_a_row, text_width
from dtreward.judges.agreement import as_square, nearest_to_people
from dtreward.judges.verdict import OUTCOMES
from dtreward.tree.stability import RECURS

WIDE = 6.75  # inches, two columns of a page
LETTERS_BESIDE_MAPS = 36  # in a line of the names beside maps, over all maps in a row
LINE_OF_NAMES = 0.11  # inches
SAME_POINT = 0.045  # inches; points nearer than this would hide each other
MOST_ON_A_SIDE = 0.75  # of all names: those of one point stay together
LEAST_MAP = 1.4  # inches, height of a map
BESIDE_MAP = 0.06  # of its width, between a map and its names
AROUND_MAP = 0.95  # inches above and below it
MANY_ATTRIBUTES = 10  # attributes from which importances stand without their intervals
MOST_GROUPS = 8  # of pairs, drawn side by side
MANY = 15  # judges from which a matrix has no numbers in its cells
OUTCOME_COLOURS = dict(
    zip(
        OUTCOMES,
        ("#0072B2", "#E69F00", "#56B4E9", "#CC79A7", "#D55E00", "#8C510A", "#222222", "#DDDDDD"),
        strict=True,
    )
)
CHANCE = {"agreement": 0.5, "kappa": 0.0}  # what two judges reach who toss coins


def draw_position_bias(
    judges: pd.DataFrame, published: pd.Series, *, min_consistency: float, world: str
) -> Figure:
    """Draw each judge's consistency and its lean to the first position, beside published ones.

    Args:
        judges: a row a judge: judge, consistency, first, each with _low and _high; dropped (drawn
            hollow unless ""), published (consistency, drawn as a black bar).
        published: consistency (0 to 1) of published judges by name.
        min_consistency: judges below it are dropped; drawn as a dotted line.
    """
    height = 1.0 + 0.125 * max(len(published), 1.3 * len(judges))
    size = {"figsize": (WIDE, height), "sharex": True, "width_ratios": [1.1, 1.1, 1]}
    figure, axes = plt.subplots(1, 3, **size)
    rows = range(len(judges))
    _draw_shares(axes[0], judges, "consistency")
    _draw_shares(axes[1], judges, "first")
    axes[0].set(yticks=rows, yticklabels=judges["judge"])
    axes[0].plot(judges["published"], rows, "|", color="black", ms=9)
    axes[0].set(title=f"consistency, {world}", xlabel="share of pairs answered")
    axes[1].set(yticks=rows, yticklabels=[])
    axes[1].set(title=f"names the first, {world}", xlabel="share of inconsistent pairs")
    colours = [colour(judge) for judge in published.index]
    axes[2].scatter(published, range(len(published)), c=colours, s=10)
    axes[2].set(yticks=range(len(published)), title="consistency, published")
    axes[2].set_xlabel("share of pairs answered")
    axes[2].set_yticklabels(published.index, size=6)
    for axis, line in zip(axes, (min_consistency, 0.5, min_consistency), strict=True):
        axis.axvline(line, color="black", lw=0.8, ls=":")
        axis.set_xlim(-0.03, 1.03)
        axis.invert_yaxis()
    figure.suptitle(f"Position bias of the judges · {world}")
    return figure


def _draw_shares(axis: Axes, judges: pd.DataFrame, column: str) -> None:
    for row, judge in enumerate(judges.to_dict("records")):
        hue = colour(judge["judge"])
        face = "white" if judge["dropped"] else None
        axis.plot([judge[f"{column}_low"], judge[f"{column}_high"]], [row, row], color=hue)
        axis.plot(judge[column], row, "o", color=hue, mfc=face)


def draw_outcomes(judges: pd.DataFrame, *, world: str) -> Figure:
    """Draw what became of the pairs that each judge was asked about, as bars of shares.

    Args:
        judges: a row a judge, named by the index: pairs, and the number of each of `OUTCOMES`.
            An outcome that no judge has is left out.
    """
    outcomes = [name for name in OUTCOMES if judges[name].any()]
    shares = judges[outcomes].div(judges["pairs"], axis=0)
    figure, axis = plt.subplots(figsize=(WIDE, 0.9 + 0.17 * len(judges)))
    colours = [OUTCOME_COLOURS[name] for name in outcomes]
    shares.plot.barh(stacked=True, ax=axis, width=0.8, color=colours, legend=False)
    axis.set(xlabel="share of the pairs asked", ylabel="", xlim=(0, 1))
    axis.invert_yaxis()
    handles = axis.get_legend_handles_labels()
    figure.legend(*handles, loc="outside right upper")
    figure.suptitle(f"Outcomes of the questions · {world}")
    return figure


def draw_agreement_with_people(people: pd.DataFrame, *, world: str) -> Figure:
    """Draw agreement and Cohen's kappa of each judge with people; dotted: what chance gives.

    Args:
        people: a row a judge (`nearest_to_people`): other (its name), agreement, kappa, each with
            _low and _high.
    """
    rows = range(len(people))
    size = {"figsize": (WIDE, 0.9 + 0.17 * len(people)), "sharey": True}
    figure, axes = plt.subplots(1, 2, **size)
    for axis, (name, chance) in zip(axes, CHANCE.items(), strict=True):
        for row, judge in enumerate(people.to_dict("records")):
            hue = colour(judge["other"])
            axis.plot([judge[f"{name}_low"], judge[f"{name}_high"]], [row, row], color=hue)
            axis.plot(judge[name], row, "o", color=hue)
        axis.axvline(chance, color="black", lw=0.8, ls=":")
        axis.set(xlabel=f"{name} with people", yticks=rows, yticklabels=people["other"])
    axes[0].set_ylim(len(people) - 0.5, -0.5)
    figure.suptitle(f"Who agrees with people? · {world}")
    return figure


def draw_agreement(agreement: pd.DataFrame, *, world: str) -> Figure:
    """Draw agreement and Cohen's kappa of each two judges as matrices, in percent.

    Args:
        agreement: a row for each two judges: judge, other, agreement, kappa; "Human" is one judge.
    """
    order = ["Human", *nearest_to_people(agreement)["other"]]
    many = len(order) - 1 > MANY
    height = max(2.6, 1.2 + (0.09 if many else 0.18) * len(order))  # room for names below few cells
    figure, axes = plt.subplots(1, 2, figsize=(WIDE, height), sharey=True)
    style = {"annot": not many, "fmt": ".0f", "annot_kws": {"size": 5.5}, "cmap": "RdBu"}
    labels = {"xticklabels": True, "yticklabels": True}
    for axis, (name, chance) in zip(axes, CHANCE.items(), strict=True):
        percent = (100 * as_square(agreement, name, order)).round() + 0.0  # turns -0 into 0
        ends = {"vmin": 200 * chance - 100, "vmax": 100, "center": 100 * chance}
        sns.heatmap(percent, ax=axis, **style, **labels, **ends)
        axis.set(title=f"{name}, in %", xlabel="", ylabel="", facecolor="0.9")
        axis.tick_params(axis="y", rotation=0, labelsize=5 if many else 7)
        axis.tick_params(axis="x", rotation=90, labelsize=5 if many else 7)
    figure.suptitle(f"Agreement on the pairs that both decided · {world}")
    return figure


def draw_importances(importances: pd.DataFrame, published: pd.DataFrame, *, world: str) -> Figure:
    """Draw the importance of each attribute to each judge's tree, beside published ones.

    Args:
        importances: a row a judge and attribute: importance, low, high; drawn in this order.
        published: importances with a row a judge and a column an attribute, nan where unknown; not
            drawn unless each attribute is known of a judge.
    """
    order = list(dict.fromkeys(importances["judge"]))
    wide = importances.pivot(index="judge", columns="attribute")
    text = wide.map("{:.2f}".format)
    notes = text["importance"] + "\n" + text["low"] + "–" + text["high"]
    title = f"{world}: mean of bootstraps, 95 % of them"
    many = len(list(published)) > MANY_ATTRIBUTES
    if many:
        notes = text["importance"]
        title = f"{world}: mean of bootstraps"
    panels = {title: (wide["importance"], notes)}
    if published.notna().any(axis=0).all():
        panels["published, where judges coincide"] = (published, published.map("{:.2f}".format))
    height = (1.9 if many else 1.1) + 0.27 * len(order)
    size = {"figsize": (WIDE, height), "sharey": True, "squeeze": False}
    figure, axes = plt.subplots(1, len(panels), **size)
    style = {"fmt": "", "vmin": 0, "vmax": 1, "cmap": "Blues", "cbar": False}
    for axis, (title, (shares, words)) in zip(axes[0], panels.items(), strict=True):
        cells = shares.loc[order, list(published)]
        labels = [fill(name, 18) for name in cells]
        annotations = words.loc[order, list(published)]
        sns.heatmap(
            cells, annot=annotations, annot_kws={"size": 5.5}, xticklabels=labels, ax=axis, **style
        )
        axis.set(title=title, facecolor="0.92", xlabel="", ylabel="")
        axis.tick_params(length=0)
        axis.tick_params(axis="y", rotation=0)
        turn = 90 if many else 30
        plt.setp(axis.get_xticklabels(), rotation=turn, ha="right", rotation_mode="anchor")
    figure.suptitle(f"What each judge's tree looks at · {world}")
    return figure


def draw_recurrence(splits: pd.DataFrame, *, world: str) -> Figure:
    """Draw in what share of resampled trees each split of each judge's tree recurs.

    A split is a dot in its attribute's colour, filled where it recurs often enough to be a finding
    (dotted line); the root is the upper one of a judge.

    Args:
        splits: a row a split (`trees.split_table`): judge, attribute, recurrence, recurs.
    """
    judges = list(dict.fromkeys(splits["judge"]))
    colours = attribute_colours(list(dict.fromkeys(splits["attribute"])))
    most = splits["judge"].value_counts().max()
    height = 1.0 + len(judges) * min(0.5, 0.12 + 0.045 * most)
    figure, axis = plt.subplots(figsize=(WIDE, height))
    for row, judge in enumerate(judges):
        own = splits[splits["judge"] == judge].reset_index(drop=True)
        for number, split in own.iterrows():
            y = row + 0.8 * (number + 0.5) / len(own) - 0.4  # so that no dot hides another
            hue = colours[split["attribute"]]
            face = hue if split["recurs"] else "white"
            axis.plot(split["recurrence"], y, "o", ms=4, color=hue, mfc=face, clip_on=False)
        axis.axhline(row + 0.5, color="0.9", lw=0.6)
    axis.axvline(RECURS, color="black", lw=0.8, ls=":")
    axis.set(yticks=range(len(judges)), yticklabels=judges, ylim=(len(judges) - 0.5, -0.5))
    axis.set(xlim=(0, 1), xlabel="share of resampled trees that have the split")
    _explain_colours(figure, colours)
    figure.suptitle(f"Which splits of the judges' trees recur? · {world}")
    return figure


def draw_strengths(table: pd.DataFrame, *, world: str) -> Figure:
    """Draw each attribute's strength alone beside its importance in the tree, a panel a judge.

    Args:
        table: a row a judge and attribute: judge, attribute, strength (-1 to 1) and importance
            (0 to 1), each with _low and _high.
    """
    judges = list(dict.fromkeys(table["judge"]))
    attributes = list(dict.fromkeys(table["attribute"]))
    figure, axes = panels(len(judges), 0.65 + 0.19 * len(attributes))
    places = {"strength": ("o", -0.14, "#0072B2"), "importance": ("s", 0.14, "#E69F00")}
    rows = range(len(attributes))
    for axis, judge in zip(axes, judges, strict=True):
        own = table[table["judge"] == judge].set_index("attribute").loc[attributes]
        for name, (marker, shift, hue) in places.items():
            low = own[f"{name}_low"].to_numpy()
            high = own[f"{name}_high"].to_numpy()
            y = np.arange(len(attributes)) + shift
            axis.hlines(y, low, high, color=hue, lw=1)
            axis.plot(own[name], y, marker, color=hue, ms=3, label=name)
        axis.axvline(0, color="0.6", lw=0.6)
        axis.set_title(fill(judge, 22), size=7)
        axis.set(yticks=rows, ylim=(len(attributes) - 0.5, -0.5))
        axis.set_yticklabels([fill(name, 18) for name in attributes])
        axis.set(xlim=(-1.05, 1.05), xticks=[-1, 0, 1])
    handles = axes[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=2)
    figure.suptitle(f"What goes with a judge's preferences, and what its tree asks · {world}")
    return figure


def draw_rates_by_group(rates: pd.DataFrame, *, world: str) -> Figure:
    """Draw the rates of each judge by group of pairs, a panel a measure, with their intervals.

    Args:
        rates: a row for each measure, judge and group (`groups.compare_rates`): measure, judge,
            group, n, estimate, low, high, p; a dot is filled where p is below 0.05. Of many groups
            the eight with most rows are drawn.
    """
    largest = rates.groupby("group")["n"].sum().nlargest(MOST_GROUPS).index
    names = sorted(largest)
    shown = rates[rates["group"].isin(names)]
    judges = list(dict.fromkeys(["Human", *shown["judge"]]))
    measures = list(dict.fromkeys(shown["measure"]))
    hues = attribute_colours([str(name) for name in names])
    height = 1.2 + len(judges) * (0.12 + 0.07 * len(names))
    figure, axes = panels(len(measures), height, most=3)
    for axis, measure in zip(axes, measures, strict=True):
        for rate in shown[shown["measure"] == measure].to_dict("records"):
            place = 0.8 * (names.index(rate["group"]) + 0.5) / len(names) - 0.4
            y = judges.index(rate["judge"]) + place
            hue = hues[str(rate["group"])]
            face = hue if rate["p"] < 0.05 else "white"
            axis.plot([rate["low"], rate["high"]], [y, y], color=hue, lw=1)
            axis.plot(rate["estimate"], y, "o", ms=3, color=hue, mfc=face)
        axis.axvline(0.5, color="black", lw=0.8, ls=":")
        axis.set(title=fill(measure, 28), xlim=(-0.03, 1.03), xlabel="share of pairs")
        axis.set(yticks=range(len(judges)), yticklabels=judges, ylim=(len(judges) - 0.5, -0.5))
    _explain_colours(figure, hues)
    figure.suptitle(f"Rates by group of pairs · {world}")
    return figure


def _explain_colours(figure: Figure, hues: Mapping[str, str]) -> None:
    """Write below a figure what the colours of its dots mean."""
    dots = [plt.Line2D([], [], marker="o", ls="", color=hue) for hue in hues.values()]
    words = [fill(name, 30) for name in hues]
    figure.legend(dots, words, loc="outside lower center", ncols=min(5, len(words)))


def draw_clusters(distances: Mapping[str, pd.DataFrame], *, world: str) -> Figure:
    """Draw average-linkage clusterings of judges side by side; a judge's dot has its colour.

    Args:
        distances: {what is measured: square of judges}, without nan off its diagonal.
    """
    count = len(next(iter(distances.values())))
    size = {"figsize": (WIDE, 0.9 + 0.18 * count), "squeeze": False}
    figure, axes = plt.subplots(1, len(distances), **size)
    style = {"color_threshold": 0, "above_threshold_color": "0.5", "leaf_font_size": 7}
    for axis, (name, square) in zip(axes[0], distances.items(), strict=True):
        links = linkage(squareform(square, checks=False), "average")
        dendrogram(links, ax=axis, labels=list(square), orientation="left", **style)
        for tick, judge in zip(axis.get_yticks(), axis.get_yticklabels(), strict=True):
            axis.plot(0, tick, "o", color=colour(judge.get_text()), clip_on=False)
        axis.set_xlabel(name)
    figure.suptitle(f"Average-linkage clustering of the judges · {world}")
    return figure


def draw_maps(places: pd.DataFrame, *, world: str) -> Figure:
    """Draw judges as points, a panel a map; beside it, each point's names at the end of a line.

    Judges whose points would hide each other share one, which is grey if their colours differ.

    Args:
        places: a row a judge and map: map, judge, family, x, y, note (`maps.map_table`).
    """
    names = list(dict.fromkeys(places["map"]))
    judges = places["judge"].unique()
    beside = panels_in_a_row(len(names), 1 if len(judges) > MANY else 3)
    letters = LETTERS_BESIDE_MAPS // beside
    lines = [line for judge in judges for line in wrap(judge, letters)]
    room = max(LEAST_MAP, LINE_OF_NAMES * MOST_ON_A_SIDE * len(lines))
    height = room + AROUND_MAP
    figure, axes = panels(len(names), height, sharex=False, sharey=False, most=beside)
    # names are smaller than the text measured, and stand at some distance
    width = (WIDE / beside - 1.5 * text_width(lines)) / (1 + 2 * BESIDE_MAP)
    for axis, name in zip(axes, names, strict=True):
        on_map = places[places["map"] == name]
        scale = _fit_map(axis, on_map, (width, room))
        points = _joined_points(on_map, nearest=SAME_POINT * scale)
        points["text"] = [
            "\n".join(fill(name, letters) for name in one) for one in points["judges"]
        ]
        points["hue"] = points["judges"].map(_hue_of)
        for x, y, hue in points[["x", "y", "hue"]].itertuples(index=False):
            axis.plot(x, y, "o", color=hue, ms=4, mec="white", mew=0.5)
        axis.set(title=name, xticks=[], yticks=[], xlabel=on_map["note"].iloc[0])
        _name_points(axis, points, room=room)
    figure.suptitle(f"Judges by the probabilities of their trees · {world}")
    return figure


def _fit_map(axis: Axes, places: pd.DataFrame, inches: tuple[float, float]) -> float:
    """Give both directions one scale, in which all places fit; return the units in an inch."""
    low = places[["x", "y"]].min().to_numpy()
    high = places[["x", "y"]].max().to_numpy()
    extent = np.array(inches)
    scale = float(((high - low) / (0.85 * extent)).max()) or 1.0
    left, bottom = (low + high - scale * extent) / 2
    right, top = (low + high + scale * extent) / 2
    axis.set(xlim=(left, right), ylim=(bottom, top))
    axis.set_box_aspect(extent[1] / extent[0])
    return scale


def _joined_points(places: pd.DataFrame, *, nearest: float) -> pd.DataFrame:
    """Join judges that are nearer to each other: judges, x, y (their mean place) of each point."""
    point = np.zeros(len(places), int)
    if len(places) > 1:
        point = fcluster(linkage(places[["x", "y"]], "single"), nearest, "distance")
    groups = places.groupby(point)
    return groups.agg(judges=("judge", list), x=("x", "mean"), y=("y", "mean"))


def _hue_of(judges: Sequence[str]) -> str:
    hues = {colour(judge) for judge in judges}
    return hues.pop() if len(hues) == 1 else "0.4"


def _name_points(axis: Axes, points: pd.DataFrame, *, room: float) -> None:
    """Write names left and right of a map, in the order of their points' heights.

    Args:
        points: x, y, hue and text of each.
        room: height of the map in inches.
    """
    size = (points["text"].str.count("\n") + 1) * LINE_OF_NAMES
    low, high = axis.get_ylim()
    inches = room / (high - low)  # of a unit of y
    height = inches * (points["y"] - low)
    labels = points.assign(size=size, height=height).sort_values("x")
    is_left = labels["size"].cumsum() - labels["size"] / 2 <= labels["size"].sum() / 2
    for side, at, alignment, near_edge in (
        (labels[is_left], -BESIDE_MAP, "right", 1),
        (labels[~is_left], 1 + BESIDE_MAP, "left", 0),
    ):
        from_below = side.sort_values("height")
        middles = _spread_out(from_below["height"].to_numpy(), from_below["size"].to_numpy(), room)
        for middle, point in zip(middles, from_below.itertuples(), strict=True):
            axis.annotate(
                point.text,
                (point.x, point.y),
                (at, low + middle / inches),
                textcoords=("axes fraction", "data"),
                ha=alignment,
                va="center",
                size=6,
                parse_math=False,
                arrowprops={
                    "arrowstyle": "-",
                    "lw": 0.5,
                    "color": point.hue,
                    "shrinkA": 1,
                    "shrinkB": 0,
                    "zorder": 1,
                    "relpos": (near_edge, 0.5),
                },
            )


def _spread_out(
    wanted: Float[np.ndarray, " labels"], sizes: Float[np.ndarray, " labels"], room: float
) -> Float[np.ndarray, " labels"]:
    """Move labels, sorted from below, apart; they stay between 0 and the room unless it is full."""
    middles = sizes.cumsum() - sizes / 2  # of labels without gaps, from 0 on
    beyond = max(0.0, sizes.sum() - room) / 2
    limits = {"y_min": -beyond, "y_max": room + beyond - sizes.sum()}
    return middles + isotonic_regression(wanted - middles, **limits)

"""The figures of the paper, each drawn from the table that its notebook wrote.

Every function returns a new figure. `world` is the label of the data in titles ("demo world").
"""

from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

try:
    import seaborn as sns
except ImportError as error:
    raise ImportError('the paper\'s figures need seaborn: pip install "dtreward[study]"') from error

from dtreward.figures import colour
from dtreward.tree.figure import draw_tree

WIDE = 6.75  # inches, two columns of a page
MARKERS = "osD^vP"  # of the judges of one family
MANY = 15  # judges from which a matrix has no numbers in its cells


def short_titles(attributes):
    """Break attributes' names into lines that fit panels side by side: {name: title}.

    Example:
        >>> short_titles(["helpfulness", "number of words"] * 5)["number of words"]
        'number\\nof\\nwords'
    """
    width = max(4, 75 // len(attributes))
    return {name: fill(name, width) for name in attributes}


def draw_rating_distribution(shares, published, *, world):
    """Draw how often each rating is given, a panel an attribute.

    Args:
        shares: share of responses, a row a rating, a column an attribute.
        published: shares with a row an attribute and a column a rating, drawn as black marks; None
            where nothing published is comparable.
    """
    titles = short_titles(list(shares))
    taller = 0.12 * max(title.count("\n") for title in titles.values())
    size = {"figsize": (WIDE, 1.9 + taller), "sharey": True, "squeeze": False}
    figure, axes = plt.subplots(1, len(titles), **size)
    for axis, name in zip(axes[0], titles, strict=True):
        share = shares[name].dropna()
        step = np.min(np.diff(share.index)) if len(share) > 1 else 1
        axis.bar(share.index, share, 0.8 * step, color=colour(name))
        if published is not None:
            marks = published.loc[name]
            axis.plot(published.columns, marks, "_", color="black", ms=9, label="published")
        axis.set(title=titles[name], xlabel="rating")
        axis.locator_params(axis="x", integer=True)
    axes[0, 0].set_ylabel("share of responses")
    if published is not None:
        axes[0, 0].legend(loc="upper left")
    figure.suptitle(f"Ratings of the responses · {world}")
    return figure


def draw_rating_correlation(matrices, *, world):
    """Draw matrices of Pearson correlations side by side: {title: square frame of attributes}."""
    count = len(next(iter(matrices.values())))
    side = max(3.375, 1.9 + 0.36 * count)
    size = {"figsize": (side * len(matrices), side - 0.5), "sharey": True, "squeeze": False}
    figure, axes = plt.subplots(1, len(matrices), **size)
    style = {"annot": True, "fmt": ".2f", "cmap": "vlag", "vmin": -1, "vmax": 1}
    for axis, (title, matrix) in zip(axes[0], matrices.items(), strict=True):
        values = matrix.round(2) + 0.0  # turns -0 into 0
        values = values.rename(index=_broken, columns=_broken)
        sns.heatmap(values, square=True, cbar=False, ax=axis, **style)
        axis.set(title=title, xlabel="", ylabel="")
        axis.tick_params(length=0)
        axis.tick_params(axis="x", rotation=90)
        axis.tick_params(axis="y", rotation=0)
    figure.suptitle(f"Pearson correlations of the ratings · {world}")
    return figure


def _broken(name):
    return fill(name, 18)


def draw_position_bias(judges, published, *, world):
    """Draw each judge's consistency and its lean to the first response, beside published ones.

    Args:
        judges: a row a judge: judge, consistency, first, each with _low and _high, dropped, published.
        published: consistency (0 to 1) of published judges by name.
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
    axes[1].axvline(0.5, color="black", lw=0.8, ls=":")
    colours = [colour(judge) for judge in published.index]
    axes[2].scatter(published, range(len(published)), c=colours, s=10)
    axes[2].set(yticks=range(len(published)), title="consistency, published")
    axes[2].set_xlabel("share of pairs answered")
    axes[2].set_yticklabels(published.index, size=6)
    for axis in axes:
        axis.set_xlim(-0.03, 1.03)
        axis.invert_yaxis()
    figure.suptitle(f"Position bias of the judges · {world}")
    return figure


def _draw_shares(axis, judges, column):
    for row, judge in enumerate(judges.to_dict("records")):
        hue = colour(judge["judge"])
        face = "white" if judge["dropped"] else None
        axis.plot([judge[f"{column}_low"], judge[f"{column}_high"]], [row, row], color=hue)
        axis.plot(judge[column], row, "o", color=hue, mfc=face)


def nearest_to_people(agreement):
    """Give the rows of people and each judge, the judge that agrees most first."""
    people = agreement[agreement["judge"] == "Human"]
    return people.sort_values("agreement", ascending=False, kind="stable")


def draw_agreement(agreement, *, world):
    """Draw agreement and Cohen's kappa of every two judges as matrices, in percent.

    Args:
        agreement: a row each two judges: judge, other, agreement, kappa; "Human" is one of them.
    """
    order = ["Human", *nearest_to_people(agreement)["other"]]
    many = len(order) - 1 > MANY
    turned = agreement.rename(columns={"judge": "other", "other": "judge"})
    square = pd.concat([agreement, turned]).pivot(index="judge", columns="other").reindex(order)
    height = 1.2 + (0.09 if many else 0.18) * len(order)
    figure, axes = plt.subplots(1, 2, figsize=(WIDE, height), sharey=True)
    style = {"annot": not many, "fmt": ".0f", "annot_kws": {"size": 5.5}, "cmap": "RdBu"}
    labels = {"xticklabels": True, "yticklabels": True}
    for axis, name, luck in zip(axes, ("agreement", "kappa"), (50, 0), strict=True):
        percent = (100 * square[name][order]).round() + 0.0  # turns -0 into 0
        ends = {"vmin": 2 * luck - 100, "vmax": 100, "center": luck}
        sns.heatmap(percent, ax=axis, **style, **labels, **ends)
        axis.set(title=f"{name}, in %", xlabel="", ylabel="", facecolor="0.9")
        axis.tick_params(axis="y", rotation=0, labelsize=5 if many else 7)
        axis.tick_params(axis="x", rotation=90, labelsize=5 if many else 7)
    figure.suptitle(f"Agreement on the pairs that both decided · {world}")
    return figure


def draw_maps(places, *, world):
    """Draw judges as points, a panel a map: judge, family, map, x, y."""
    judges = places["judge"].nunique()
    rows = -(-judges // 4)  # of the legend
    figure, axes = plt.subplots(1, 3, figsize=(WIDE, 2.2 + 0.14 * rows))
    for axis, (name, points) in zip(axes, places.groupby("map", sort=False), strict=True):
        place = points.groupby("family").cumcount()
        columns = (points["judge"], points["x"], points["y"], place)
        for judge, x, y, number in zip(*columns, strict=True):
            marker = MARKERS[number % len(MARKERS)]
            axis.plot(x, y, marker, color=colour(judge), ms=5, label=judge)
        axis.set(title=name, xticks=[], yticks=[])
        axis.set_aspect("equal", "datalim")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    figure.suptitle(f"Judges by the probabilities of their trees · {world}")
    return figure


def draw_importances(importances, published, *, world):
    """Draw the importance of each attribute to each judge's tree, beside published ones.

    Args:
        importances: a row a judge and attribute: importance, low, high (texts of the interval).
        published: importances with a row a judge and a column an attribute, NaN where unknown.
    """
    order = list(dict.fromkeys(importances["judge"]))
    wide = importances.pivot(index="judge", columns="attribute")
    text = wide.map("{:.2f}".format)
    notes = text["importance"] + "\n" + text["low"] + "–" + text["high"]
    panels = {f"{world}: mean of bootstraps, 95 % of them": (wide["importance"], notes)}
    if published.notna().any(axis=None):
        panels["published, where judges coincide"] = (published, published.map("{:.2f}".format))
    size = {"figsize": (WIDE, 1.1 + 0.27 * len(order)), "sharey": True, "squeeze": False}
    figure, axes = plt.subplots(1, len(panels), **size)
    style = {"fmt": "", "vmin": 0, "vmax": 1, "cmap": "Blues", "cbar": False}
    for axis, (title, (shares, words)) in zip(axes[0], panels.items(), strict=True):
        cells = shares.loc[order, list(published)]
        annotations = words.loc[order, list(published)]
        sns.heatmap(cells, annot=annotations, annot_kws={"size": 5.5}, ax=axis, **style)
        axis.set(title=title, facecolor="0.92", xlabel="", ylabel="")
        axis.tick_params(length=0)
        plt.setp(axis.get_xticklabels(), rotation=30, ha="right", rotation_mode="anchor")
    figure.suptitle(f"What each judge's tree looks at · {world}")
    return figure


def draw_trees(trees):
    """Draw trees one above the other, each at the size that it needs alone: {title: tree}."""
    alone = [draw_tree(tree, effective=True, title=title).figure for title, tree in trees.items()]
    widths, heights = np.transpose([figure.get_size_inches() for figure in alone])
    for figure in alone:
        plt.close(figure)
    size = {"figsize": (max(WIDE, *widths), sum(heights)), "height_ratios": heights}
    figure, axes = plt.subplots(len(trees), 1, layout="none", squeeze=False, **size)
    figure.subplots_adjust(0, 0, 1, 1, 0, 0)
    for axis, (title, tree) in zip(axes[:, 0], trees.items(), strict=True):
        draw_tree(tree, ax=axis, effective=True, title=title)
    return figure


def scored_columns(board):
    """Name the columns of a leaderboard that have scores with intervals."""
    names = [name.removesuffix(" low") for name in board if name.endswith(" low")]
    return [name for name in names if board[name].notna().any()]


def draw_leaderboard(board, *, bench, world):
    """Draw measured scores with intervals, filled, and published ones, hollow; a panel a section.

    Args:
        board: notebook 09's table: model, row, scores in %, and their " low" and " high".
        bench: "RewardBench", or the name of another bench, whose scores are not comparable.
    """
    columns = scored_columns(board)
    order = list(dict.fromkeys(board["model"]))
    size = {"figsize": (WIDE, 0.9 + 0.16 * len(order)), "sharey": True, "squeeze": False}
    figure, axes = plt.subplots(1, len(columns), **size)
    lowest = board.filter(regex=" low$").min(axis=None) - 3
    low = np.nanmin([45, board[columns].min(axis=None) - 3, lowest])
    drawn = board[board["row"].isin(["measured", "published", "published only"])]
    for axis, name in zip(axes[0], columns, strict=True):
        for score in drawn.to_dict("records"):
            place = order.index(score["model"])
            measured = score["row"] == "measured"
            hue = "C0" if measured else "0.4"
            axis.plot(score[name], place, "o", color=hue, mfc=hue if measured else "white", ms=3.5)
            ends = [score.get(f"{name} low"), score.get(f"{name} high")]
            axis.plot(ends, [place, place], color=hue)
        axis.axvline(50, color="black", lw=0.8, ls=":")
        axis.set(title=name, xlabel="score in %", xlim=(low, 106))
    axes[0, 0].set(yticks=range(len(order)), ylim=(len(order) - 0.5, -0.5))
    elsewhere = set()
    if bench != "RewardBench":
        elsewhere = set(board.loc[board["row"].str.startswith("published"), "model"])
    labels = [f"{name}, RewardBench" if name in elsewhere else name for name in order]
    axes[0, 0].set_yticklabels(labels, size=6)
    note = ", published on RewardBench: two benches, not to be compared" if elsewhere else ""
    figure.suptitle(f"Measured on {bench}{note} · {world}")
    return figure


def draw_mean_shap(means, attributes, *, world):
    """Draw the mean absolute SHAP value of each attribute for each judge, a panel an attribute.

    Args:
        means: a row a judge and attribute: mean_abs_shap, low, high, in probability of response 2.
            The dotted line is the first judge's.
        attributes: the panels, in order.
    """
    titles = short_titles(attributes)
    order = list(dict.fromkeys(means["judge"]))
    size = {"figsize": (WIDE, 0.9 + 0.16 * len(order)), "sharex": True, "sharey": True}
    figure, axes = plt.subplots(1, len(attributes), squeeze=False, **size)
    limits = np.array([-0.04, 1.06]) * means["high"].max()
    style = {"fmt": "o", "ms": 3, "lw": 0.8}
    for axis, name in zip(axes[0], attributes, strict=True):
        part = means[means["attribute"] == name]
        mean = part["mean_abs_shap"]
        spread = np.abs(part[["low", "high"]].T - mean)
        axis.errorbar(mean, part["judge"], xerr=spread, color=colour(name), **style)
        axis.axvline(mean.iloc[0], color=colour("Human"), lw=0.7, ls=":")
        axis.set(title=titles[name], xlim=limits)
    axes[0, 0].set_ylim(len(order) - 0.5, -0.5)
    figure.supxlabel("mean |SHAP|, in probability of response 2", fontsize=8)
    figure.suptitle(f"What moves each judge? · {world}")
    return figure

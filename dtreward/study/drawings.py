"""The figures that only the paper has, each drawn from the table that its notebook wrote.

Every function returns a new figure. `world` is the label of the data in titles ("demo world").
"""

from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np

try:
    import seaborn as sns
except ImportError as error:
    raise ImportError('the paper\'s figures need seaborn: pip install "dtreward[study]"') from error

from dtreward.figures import colour, short_titles

WIDE = 6.75  # inches, two columns of a page


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

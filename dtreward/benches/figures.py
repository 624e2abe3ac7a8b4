"""Pictures of what models say on a bench; each gives a figure without a title."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from dtreward.benches.tables import both_orders
from dtreward.figures import WIDTH, colour
from dtreward.stats import Interval, calibration_table, expected_calibration_error

BASELINE = "0.55"  # the grey of rows that need no model
COIN = 50  # what a coin scores, in percent
SCORE_STYLES = {  # label: colour, and colour of the point's face
    "measured here": ("C0", "C0"),
    "published, with its counts": ("0.4", "0.4"),
    "published, no counts": ("0.4", "white"),
}
MANY = 6  # rows of a matrix, above which it has numbers instead of names below


def draw_section_scores(
    scores: Mapping[str, Mapping[str, Interval]],
    names: Sequence[str],
    *,
    covered: Mapping[str, float],
    baselines: Sequence[str] = (),
) -> Figure:
    """Draw a panel a section with the scores in percent, a row a model, from below.

    Args:
        scores: `section_intervals` by name.
        names: the rows, from below.
        covered: share of each section's weight that the bench has, written where it is below 1.
        baselines: rows that need no model, drawn grey.
    """
    columns = [*covered, "overall"]
    shown = [column for column in columns if any(column in scores[name] for name in names)]
    figure, axes = plt.subplots(
        1,
        len(shown),
        sharex=True,
        sharey=True,
        squeeze=False,
        figsize=(6.75, 0.9 + 0.17 * len(names)),
        subplot_kw={"ylim": (-0.6, len(names) - 0.4)},
    )
    lows = [interval.low for name in names for interval in scores[name].values()]
    left = min(45, min(lows, default=50) - 3)
    for axis, column in zip(axes[0], shown, strict=True):
        for place, name in enumerate(names):
            if column in scores[name]:
                middle, spread = _whiskers([scores[name][column]])
                hue = BASELINE if name in baselines else colour(name)
                axis.errorbar(middle, [place], xerr=spread, fmt="o", ms=3, lw=0.9, color=hue)
        axis.axvline(50, color="black", lw=0.8, ls=":")
        share = covered.get(column, 1)
        title = column if share == 1 else f"{column}\n{share:.0%} of weight"
        axis.set(title=title, xlabel="score in %", xlim=(left, 105))
        axis.set(yticks=range(len(names)), yticklabels=names)
    return figure


def draw_matrix(compared: pd.DataFrame, names: Sequence[str]) -> Figure:
    """Draw row minus column in percentage points for each two rows.

    A star marks rows that differ, "≈" rows that are equal within the margin; the others nothing
    tells apart.

    Args:
        compared: the table of `tables.compare_rows`.
        names: of rows and columns, in order.
    """
    swapped = compared.rename(columns={"row": "minus", "minus": "row"})
    swapped = swapped.assign(points=-compared["points"])
    cells = pd.concat([compared, swapped])
    many = len(names) > MANY
    style = "{:+.0f}" if many else "{:+.1f}"
    cells["mark"] = cells["points"].add(0.0).map(style.format).str.replace("-", "−")
    cells["mark"] += cells["outcome"].map({"better": "*", "worse": "*", "equal": " ≈"}).fillna("")
    square = cells.pivot(index="row", columns="minus").reindex(names)
    points = square["points"].reindex(columns=names)
    marks = square["mark"].reindex(columns=names).fillna("")
    size = (2.4 + 0.7 * len(names), 1.2 + 0.45 * len(names))
    if many:
        size = (6.75, 0.6 + 0.27 * len(names))
    figure, axis = plt.subplots(figsize=size, layout="constrained")
    limit = 1.6 * max(1.0, compared["points"].abs().max())
    sns.heatmap(
        points,
        annot=marks,
        fmt="",
        annot_kws={"size": 6 if many else 8},
        cmap="RdBu",
        vmin=-limit,
        vmax=limit,
        cbar=False,
        linewidths=0.5,
        ax=axis,
    )
    _label_matrix(axis, names, numbered=many)
    return figure


def _label_matrix(axis: plt.Axes, names: Sequence[str], *, numbered: bool) -> None:
    axis.set(xlabel="minus row" if numbered else "", ylabel="")
    rows = list(names)
    columns = list(names)
    if numbered:
        rows = [f"{name}  {place}" for place, name in enumerate(names, start=1)]
        columns = list(range(1, len(names) + 1))
    axis.set_yticklabels(rows, rotation=0)
    axis.set_xticklabels(columns, rotation=0)
    axis.tick_params(length=0)


def draw_accuracy_by_length(
    accuracies: Mapping[str, Sequence[Interval]],
    words: Sequence[float],
    *,
    baselines: Sequence[str] = (),
) -> Figure:
    """Draw a panel a model with its accuracy over the difference in words.

    Args:
        accuracies: by model, one for each part of the pairs.
        words: mean over each part of the words of the chosen response minus the rejected one.
        baselines: rows that need no model, drawn grey.
    """
    wide = min(3, len(accuracies))
    high = math.ceil(len(accuracies) / wide)
    figure, axes = plt.subplots(
        high, wide, figsize=(6.75, 0.9 + 1.35 * high), sharex=True, sharey=True, squeeze=False
    )
    for axis, (name, intervals) in zip(axes.flat, accuracies.items(), strict=False):
        hue = BASELINE if name in baselines else colour(name)
        middle, spread = _whiskers(intervals)
        axis.errorbar(words, 100 * middle, 100 * spread, fmt="o-", ms=3, lw=0.9, color=hue)
        axis.axhline(50, color="black", lw=0.8, ls=":")
        axis.set(ylim=(-3, 103))
        axis.set_title(name, size=7)
    for axis in axes.flat[len(accuracies) :]:
        axis.set_axis_off()
    figure.supxlabel("words of the chosen response minus words of the rejected one", fontsize=8)
    figure.supylabel("right, in %", fontsize=8)
    return figure


def draw_calibration(read: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw a panel a model with the share that is right over the probability, in both orders.

    Args:
        read: results of the pairs that each model has read, by name.
    """
    wide = min(3, len(read))
    high = math.ceil(len(read) / 3)
    figure, axes = plt.subplots(
        high,
        wide,
        figsize=(2.25 * wide + 0.6, 2.1 * high + 0.4),
        layout="constrained",
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    for axis, (name, results) in zip(axes.flat, read.items(), strict=False):
        probability, second, problems = both_orders(results)
        bins = calibration_table(probability, second, problems)
        spread = np.abs(bins[["share_low", "share_high"]].T - bins["share"])
        axis.plot([0, 1], [0, 1], color="grey", lw=0.6)
        axis.errorbar(
            bins["probability"], bins["share"], spread, fmt="o", ms=3, lw=0.8, color=colour(name)
        )
        error = expected_calibration_error(probability, second)
        axis.set_title(f"{name}\nerror {error:.3f}", size=7)
        axis.set(xlim=(0, 1), ylim=(-0.02, 1.02))
    for axis in axes.flat[len(read) :]:
        axis.set_axis_off()
    figure.supxlabel("probability of response 2", fontsize=8)
    figure.supylabel("share with response 2 chosen", fontsize=8)
    return figure


def scored_columns(board: pd.DataFrame) -> list[str]:
    """Name the columns of a leaderboard that have scores with intervals.

    Example:
        >>> scored_columns(pd.DataFrame({"Chat": [90.0], "Chat low": [88.0], "Math": [80.0]}))
        ['Chat']
    """
    names = [name.removesuffix(" low") for name in board if name.endswith(" low")]
    return [name for name in names if board[name].notna().any()]


def leaderboard_blocks(board: pd.DataFrame, *, bench: str) -> dict[str, pd.DataFrame]:
    """Split the scores of a leaderboard into blocks: the scores of one can be compared.

    Published scores are of RewardBench, and stand with measured ones only if these are too. Then
    the baselines, which are far below them, stand apart.

    Args:
        board: notebook 09's table.
        bench: "RewardBench", or the name of another bench.

    Returns:
        {title: rows}, without a block that has no rows.

    Example:
        >>> board = pd.DataFrame({"row": ["measured", "baseline", "published only"]})
        >>> blocks = leaderboard_blocks(board, bench="a bench")
        >>> [rows["row"].tolist() for rows in blocks.values()]
        [['measured', 'baseline'], ['published only']]
    """
    is_published = board["row"].isin(["published", "published only"])
    is_measured = board["row"] == "measured"
    is_baseline = board["row"] == "baseline"
    if bench == "RewardBench":
        blocks = {
            "Measured here and published, on RewardBench": board[is_measured | is_published],
            "Baselines by length, on RewardBench": board[is_baseline],
        }
    else:
        blocks = {
            f"Measured, on {bench}": board[is_measured | is_baseline],
            "Published, on RewardBench: another bench": board[is_published],
        }
    return {title: rows for title, rows in blocks.items() if len(rows)}


def draw_leaderboard(board: pd.DataFrame, *, bench: str, world: str) -> Figure:
    """Draw scores in percent with their intervals, a panel a section, a block of rows a bench.

    Each block of `leaderboard_blocks` has a range of its own, so that its differences can be seen.

    Args:
        board: notebook 09's table: model, row, scores in percent, and their " low" and " high".
        bench: "RewardBench", or the name of another bench, whose scores are not comparable.
        world: label of the data in the title.
    """
    columns = scored_columns(board)
    blocks = leaderboard_blocks(board, bench=bench)
    heights = [0.75 + 0.15 * rows["model"].nunique() for rows in blocks.values()]
    figure, axes = plt.subplots(
        len(blocks),
        len(columns),
        figsize=(WIDTH, 0.5 + sum(heights)),
        sharex="row",
        sharey="row",
        squeeze=False,
        height_ratios=heights,
        layout="constrained",
    )
    for row_of_axes, (title, rows) in zip(axes, blocks.items(), strict=True):
        names = rows["model"].str.removesuffix(f" ({world})")
        _draw_block(list(row_of_axes), rows.assign(model=names), columns)
        place = {"xycoords": "axes fraction", "textcoords": "offset points"}
        row_of_axes[0].annotate(title, (0, 1), (0, 17), **place).set_in_layout(False)
    handles = [
        Line2D([], [], marker="o", mfc=face, color=hue, label=label, ms=3.5)
        for label, (hue, face) in SCORE_STYLES.items()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    figure.suptitle(f"Scores of reward models · {world}")
    return figure


def _draw_block(axes: Sequence[plt.Axes], rows: pd.DataFrame, columns: Sequence[str]) -> None:
    """Draw a panel for each column, on a range that the scores of these rows fill."""
    models = list(dict.fromkeys(rows["model"]))
    lows = [rows[column].min() for column in columns]
    lows += [rows[f"{column} low"].min() for column in columns]
    left = float(np.nanmin(lows))
    margin = 0.06 * (100 - left)
    for axis, column in zip(axes, columns, strict=True):
        for score in rows.to_dict("records"):
            place = float(models.index(score["model"]))
            if rows["model"].eq(score["model"]).sum() > 1:  # measured above, published below
                place += -0.17 if score["row"] == "measured" else 0.17
            _draw_score(axis, score, column, place)
        if left < COIN:
            axis.axvline(COIN, color="black", lw=0.8, ls=":")
        axis.set(title=f"\n{column}", xlabel="score in %", xlim=(left - margin, 100 + margin))
        axis.xaxis.set_major_locator(MaxNLocator(3, integer=True))
    axes[0].set(yticks=range(len(models)), ylim=(len(models) - 0.4, -0.6))
    axes[0].set_yticklabels(models, size=6)


def _draw_score(axis: plt.Axes, score: Mapping[str, Any], column: str, place: float) -> None:
    """Draw one score with its interval; hollow if nobody knows one."""
    ends = [score[f"{column} low"], score[f"{column} high"]]
    style = "measured here"
    if score["row"].startswith("published"):
        style = "published, no counts" if pd.isna(ends[0]) else "published, with its counts"
    hue, face = SCORE_STYLES[style]
    axis.plot(ends, [place, place], color=hue)
    axis.plot(score[column], place, "o", color=hue, mfc=face, ms=3.5)


def _whiskers(
    intervals: Sequence[Interval],
) -> tuple[Float[np.ndarray, " intervals"], Float[np.ndarray, "2 intervals"]]:
    """Give estimates, and how far their intervals reach below and above them."""
    middle = np.array([interval.estimate for interval in intervals])
    ends = np.array([[interval.low, interval.high] for interval in intervals]).T
    return middle, np.abs(ends - middle)

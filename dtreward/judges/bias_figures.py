"""Pictures of what sways judges. `world` is the label of the data in titles."""

from __future__ import annotations

from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from dtreward.figures import colour
from dtreward.judges.biases import REFERENCES
from dtreward.stats import FEWEST_PROMPTS

WIDE = 6.75  # inches, two columns of a page
PANELS = {  # measure: title, ends of the axis, what colours are centred on
    "consistency": ("consistency", (0, 1), 0.5),
    "first": ("names the first, of its contradictions", (0, 1), 0.5),
    "length_effect": ("better where the longer is right", (-1, 1), 0.0),
    "beyond_length": ("agreement beyond length", (-1, 1), 0.0),
}


def draw_biases(table: pd.DataFrame, *, world: str) -> Figure:
    """Draw what sways each judge, a panel a measure; dotted: a coin, dashed: people.

    Args:
        table: a row a judge, named by the column judge: the measures in `PANELS`
            (`biases.measure_biases`), each with _low and _high.
    """
    rows = range(len(table))
    size = {"figsize": (WIDE, 1.1 + 0.15 * len(table)), "sharey": True}
    figure, axes = plt.subplots(1, len(PANELS), **size)
    for axis, (name, (title, ends, _)) in zip(axes, PANELS.items(), strict=True):
        for row, judge in enumerate(table.to_dict("records")):
            hue = colour(judge["judge"])
            axis.plot([judge[f"{name}_low"], judge[f"{name}_high"]], [row, row], color=hue)
            axis.plot(judge[name], row, "o", ms=3, color=hue)
        axis.axvline(REFERENCES.loc["a coin", name], color="black", lw=0.8, ls=":")
        people = REFERENCES.loc["people", name]
        if not np.isnan(people) and people != REFERENCES.loc["a coin", name]:
            axis.axvline(people, color="black", lw=0.8, ls="--")
        margin = 0.03 * (ends[1] - ends[0])
        axis.set(xlim=(ends[0] - margin, ends[1] + margin), ylim=(len(table) - 0.5, -0.5))
        axis.set(yticks=rows, yticklabels=table["judge"])
        axis.set_title(fill(title, 22), size=7)
    figure.suptitle(f"What sways each judge? · {world}")
    return figure


def draw_biases_by_subset(table: pd.DataFrame, *, world: str) -> Figure:
    """Draw what sways each judge in each set of pairs, in hundredths; grey: not asked, or unknown.

    A number is bold where its interval leaves out what a coin would give, and rests on 20 prompts.

    Args:
        table: a row a set and judge (`biases.biases_by_subset`): subset, judge, and the measures.
    """
    judges = list(dict.fromkeys(table["judge"]))
    subsets = list(dict.fromkeys(table["subset"]))
    height = 2.4 + 0.22 * len(judges)
    figure, axes = plt.subplots(2, 2, figsize=(WIDE, height), sharex=True, sharey=True)
    for axis, (name, (title, ends, centre)) in zip(axes.flat, PANELS.items(), strict=True):
        wide = table.pivot(index="judge", columns="subset", values=name).loc[judges, subsets]
        percent = (100 * wide).round() + 0.0  # turns -0 into 0
        style = {"cmap": "RdBu", "cbar": False, "linewidths": 0.3, "annot": True, "fmt": ".0f"}
        limits = {"vmin": 100 * ends[0], "vmax": 100 * ends[1], "center": 100 * centre}
        sns.heatmap(percent, ax=axis, annot_kws={"size": 4}, **style, **limits)
        _embolden(axis, table, name, centre)
        axis.set(title=title, xlabel="", ylabel="", facecolor="0.9")
        axis.set_yticks(np.arange(len(judges)) + 0.5, judges, size=5)
        axis.set_xticks(np.arange(len(subsets)) + 0.5, [fill(one, 24) for one in subsets])
        axis.tick_params(axis="x", rotation=90, labelsize=5, length=0)
        axis.tick_params(axis="y", rotation=0, length=0)
    figure.suptitle(f"What sways each judge, by set of pairs (in hundredths) · {world}")
    return figure


def _embolden(axis: plt.Axes, table: pd.DataFrame, name: str, centre: float) -> None:
    """Make bold the numbers whose interval leaves out the centre."""
    judges = list(dict.fromkeys(table["judge"]))
    subsets = list(dict.fromkeys(table["subset"]))
    is_told = (table[f"{name}_low"] > centre) | (table[f"{name}_high"] < centre)
    is_told &= table[f"{name}_prompts"] >= FEWEST_PROMPTS
    told = set(zip(table.loc[is_told, "judge"], table.loc[is_told, "subset"], strict=True))
    for text in axis.texts:
        column, row = text.get_position()
        if (judges[int(row)], subsets[int(column)]) in told:
            text.set_fontweight("bold")

"""The look that all figures share: colours, files, and pictures that several notebooks draw."""

import re
import textwrap
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from jaxtyping import Real
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import FancyBboxPatch
from matplotlib.textpath import text_to_path

from dtreward.files import digest, write_atomically

ATTRIBUTE_COLOURS = {"helpfulness": "#0072B2", "correctness": "#009E73", "coherence": "#E69F00"}
ATTRIBUTE_COLOURS |= {"complexity": "#CC79A7", "verbosity": "#D55E00"}
FAMILY_COLOURS = {"Human": "#222222", "GPT": "#117733", "Claude": "#CC6677", "Llama": "#AA4499"}
FAMILY_COLOURS |= {"Gemini": "#4477AA", "Gemma": "#66CCEE", "Qwen": "#997700", "SOLAR": "#777777"}
FAMILY_COLOURS |= {"Mistral": "#882255", "Mixtral": "#DD4433", "DeepSeek": "#332288"}
DEMO_COLOURS = {"Wordy": "#EE7733", "Strict": "#0077BB", "Plain": "#BBAA22", "Scholar": "#332288"}
FAMILY_COLOURS |= DEMO_COLOURS | {"Orderly": "#44AA99", "First": "#CC3311", "Noisy": "#999999"}
OTHER_COLOURS = ("#332288", "#88CCEE", "#44AA99", "#999933", "#CC6677", "#882255", "#AA4499")
RESPONSE_COLOURS = ("#e58139", "#399de5")
FILL = LinearSegmentedColormap.from_list("", [RESPONSE_COLOURS[0], "white", RESPONSE_COLOURS[1]])
POINTS = 8.0  # of all text at full size; below in inches at full size
LINE, PAD, GAP, DROP = 0.15, 0.06, 0.09, 0.28  # of text, in a box, beside a box, below a split


def colour(name: str) -> str:
    """Give the one colour of an attribute or judge; a judge's is a shade of its family's.

    >>> colour("helpfulness"), colour("Human")
    ('#0072B2', '#222222')
    """
    if fixed := (ATTRIBUTE_COLOURS | FAMILY_COLOURS).get(name):
        return fixed
    family, shade = re.split("[-/ ]", name)[0], int(digest(name)[:8], 16) / 2**32
    other = OTHER_COLOURS[int(digest(family)[:8], 16) % len(OTHER_COLOURS)]
    base = np.array(to_rgb(FAMILY_COLOURS.get(family, other)))
    return to_hex(base + (0.9 - base) * 0.6 * shade)


def save_figure(figure: Figure, stem: str | Path) -> list[Path]:
    """Write `stem`.pdf and `stem`.png, each whole or absent, the same bytes each time."""
    undated = {"pdf": {"CreationDate": None}, "png": {"Software": None}}
    writers = {kind: partial(figure.savefig, dpi=200, metadata=undated[kind]) for kind in undated}
    with mpl.rc_context({"pdf.fonttype": 42}):
        return [write_atomically(f"{stem}.{kind}", write) for kind, write in writers.items()]


def draw_architecture(ax: Axes, *, backbone: str, attributes: Sequence[str]) -> None:
    """Draw how a decision-tree reward model comes from two responses to a preference."""
    columns = [[["prompt,", "response 1"], ["prompt,", "response 2"]]]
    columns += [[["frozen", "backbone", "", *textwrap.wrap(backbone, 13)]]]
    columns += [[["last hidden", "state 1"], ["last hidden", "state 2"]], [["linear", "head"]]]
    columns += [[["rewards 1"], ["rewards 2"]], [["difference", "(2 minus 1)", "", *attributes]]]
    columns += [[["preference", "tree"]], [["preference", "0: response 1", "1: response 2"]]]
    height = LINE * (2 + max(len(lanes[0]) for lanes in columns))
    widths = [max(map(_width, lanes)) for lanes in columns]
    size = POINTS * _canvas(ax, sum(widths) + DROP * (len(columns) - 1), height, margin=GAP)
    arrow = {"arrowstyle": "-|>", "shrinkA": 0, "shrinkB": 0, "mutation_scale": size}
    arrow |= {"color": "0.3", "lw": size / 10}
    x, before = 0.0, 0  # how many lanes the column before has
    for lanes, width in zip(columns, widths, strict=True):
        step, ways = (height + GAP) / len(lanes), max(len(lanes), before) if before else 0
        for way in range(ways):
            y = height - (way + 0.5) * (height + GAP) / ways + GAP / 2
            ax.annotate("", (x, y), (x - DROP, y), arrowprops=arrow)
        for lane, lines in enumerate(lanes):
            fill = FILL(0.3 + 0.4 * lane) if len(lanes) == 2 else "0.93"
            style = {"size": size, "facecolor": fill, "edgecolor": "0.5", "lw": size / 12}
            _box(ax, (x + width / 2, height - lane * step), (width, step - GAP), lines, **style)
        x, before = x + width + DROP, len(lanes)


def draw_reward_bars(
    ax: Axes, rewards: Real[np.ndarray, "2 attributes"], attributes: Sequence[str]
) -> None:
    """Draw the rewards of response 1 (upper bars) and response 2 by attribute."""
    frame = pd.DataFrame(np.transpose(rewards), attributes, ["response 1", "response 2"])
    frame.plot.barh(ax=ax, color=RESPONSE_COLOURS, width=0.8, xlabel="reward (predicted rating)")
    for bars in ax.containers:
        ax.bar_label(bars, fmt=" %.2f ", size=POINTS - 1)
    ax.set_yticklabels(attributes, parse_math=False)
    ax.axvline(0, color="0.3", linewidth=0.6)
    ax.invert_yaxis()
    ax.margins(x=0.15)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False)


def _width(lines):
    measure = partial(text_to_path.get_text_width_height_descent, ismath=False)
    return max(measure(line, FontProperties(size=POINTS))[0] for line in lines) / 72 + 2 * PAD


def _canvas(ax, width, height, margin=0.0):
    """Make a unit of ax one inch of the picture, centred; give the scale at which it fits."""
    if isinstance(ax.figure, Figure) and ax.figure.axes == [ax] and ax.get_subplotspec():
        ax.figure.set_layout_engine("none")
        ax.set_position((0, 0, 1, 1))  # alone, it needs no margins for ticks and labels
    room, extent = np.array(ax.bbox.size) / ax.figure.dpi, np.array([width, height])
    scale = min(1.0, *(room / (extent + 2 * margin)))
    xlim, ylim = zip(*((extent - room / scale) / 2, (extent + room / scale) / 2), strict=True)
    ax.set(xlim=xlim, ylim=ylim)
    ax.set_axis_off()
    return scale


def _box(ax, at, extent, lines, *, size, **style):
    corner, shape = (at[0] - extent[0] / 2, at[1] - extent[1]), "round,pad=0,rounding_size=0.05"
    ax.add_patch(FancyBboxPatch(corner, *extent, boxstyle=shape, clip_on=False, **style))
    for row, line in enumerate(lines):
        y = at[1] - (extent[1] - LINE * len(lines)) / 2 - LINE * (row + 0.76)
        ax.text(at[0], y, line, size=size, ha="center", parse_math=False)

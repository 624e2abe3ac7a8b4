"""The look that all figures share: colours, files, and pictures that several notebooks draw."""

import re
import textwrap
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from jaxtyping import Real
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_hex, to_rgb
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import FancyBboxPatch
from matplotlib.textpath import text_to_path

from dtreward.files import digest, write_atomically
from dtreward.fonts import families_of, use_fonts

ATTRIBUTE_COLOURS = {
    "helpfulness": "#0072B2",
    "correctness": "#009E73",
    "coherence": "#E69F00",
    "complexity": "#CC79A7",
    "verbosity": "#D55E00",
}
FAMILY_COLOURS = {
    "Human": "#222222",
    "GPT": "#117733",
    "Claude": "#CC6677",
    "Llama": "#AA4499",
    "Gemini": "#4477AA",
    "Gemma": "#66CCEE",
    "Qwen": "#997700",
    "SOLAR": "#777777",
    "Mistral": "#882255",
    "Mixtral": "#DD4433",
    "DeepSeek": "#332288",
    # judges of the demo world
    "Wordy": "#EE7733",
    "Strict": "#0077BB",
    "Plain": "#BBAA22",
    "Scholar": "#332288",
    "Orderly": "#44AA99",
    "First": "#CC3311",
    "Noisy": "#999999",
}
# Of other attributes and judges; every two of these and of the fixed ones are 30 or more apart in CIELAB.
FURTHER_COLOURS = (
    "#47330A",
    "#470A7A",
    "#7AA30A",
    "#CCB88F",
    "#C2003D",
    "#AD85FF",
    "#472947",
    "#00CCEB",
    "#0A5252",
    "#004700",
    "#FF8F7A",
    "#AD0A85",
    "#ADB8E0",
    "#85700A",
    "#7A1F00",
    "#3DCC66",
    "#7A003D",
    "#8F7070",
    "#0052C2",
    "#FF5299",
)
RESPONSE_COLOURS = ("#e58139", "#399de5")
FILL = LinearSegmentedColormap.from_list("", [RESPONSE_COLOURS[0], "white", RESPONSE_COLOURS[1]])
WIDTH = 6.75  # inches: both columns of a page
MOST_BESIDE = 5  # panels in a row
POINTS = 8.0  # size of all text at full size
# Inches at full size: a line of text, around the text in a box, beside a box, below a split.
LINE = 0.15
PAD = 0.06
GAP = 0.09
DROP = 0.28


def colour(name: str) -> str:
    """Give the one colour of an attribute or judge; a judge's is a shade of its family's.

    Example:
        >>> colour("helpfulness"), colour("Human")
        ('#0072B2', '#222222')
    """
    fixed = (ATTRIBUTE_COLOURS | FAMILY_COLOURS).get(name)
    if fixed:
        return fixed
    family = re.split("[-/ ]", name)[0]
    shade = int(digest(name)[:8], 16) / 2**32
    other = FURTHER_COLOURS[int(digest(family)[:8], 16) % len(FURTHER_COLOURS)]
    base = np.array(to_rgb(FAMILY_COLOURS.get(family, other)))
    return to_hex(base + (0.9 - base) * 0.6 * shade)


def attribute_colours(attributes: Sequence[str]) -> dict[str, str]:
    """Give each attribute a colour; up to twenty others than the study's five differ clearly.

    Hand over all attributes, also where a figure shows some of them: a name's colour may depend
    on the names before it.

    Example:
        >>> attribute_colours(["helpfulness", "wit"])
        {'helpfulness': '#0072B2', 'wit': '#7AA30A'}
    """
    colours = {}
    taken: set[int] = set()
    for name in attributes:
        if name in ATTRIBUTE_COLOURS:
            colours[name] = ATTRIBUTE_COLOURS[name]
            continue
        if len(taken) == len(FURTHER_COLOURS):
            taken = set()
        place = int(digest(name)[:8], 16) % len(FURTHER_COLOURS)
        while place in taken:
            place = (place + 1) % len(FURTHER_COLOURS)
        taken.add(place)
        colours[name] = FURTHER_COLOURS[place]
    return colours


def panels(
    count: int,
    height: float,
    *,
    sharex: bool = True,
    sharey: bool = True,
    most: int = MOST_BESIDE,
) -> tuple[Figure, list[Axes]]:
    """Make panels as wide as a page together, in rows of at most five.

    Args:
        height: of a row, in inches.
        most: panels in a row, where it is less than five.

    Example:
        >>> figure, axes = panels(20, 1.0)
        >>> len(axes), len({axis.get_subplotspec().rowspan.start for axis in axes})
        (20, 4)
    """
    columns = panels_in_a_row(count, most)
    rows = -(-count // columns)
    figure, grid = plt.subplots(
        rows,
        columns,
        figsize=(WIDTH, height * rows),
        sharex=sharex,
        sharey=sharey,
        squeeze=False,
        layout="constrained",
    )
    axes = list(grid.flat)
    for axis in axes[count:]:
        axis.remove()
    for axis in axes[count - columns : count]:  # below the last of them there may be no panel
        axis.tick_params(labelbottom=True)
    return figure, axes[:count]


def panels_in_a_row(count: int, most: int = MOST_BESIDE) -> int:
    """Give how many of some panels stand side by side.

    Example:
        >>> panels_in_a_row(5), panels_in_a_row(8), panels_in_a_row(20)
        (5, 4, 5)
    """
    rows = -(-count // most)
    return -(-count // rows)


def label_rows(axes: Sequence[Axes], label: str) -> None:
    """Write what the vertical axis is beside the first panel of each row."""
    for axis in axes:
        place = axis.get_subplotspec()
        if place and place.is_first_col():
            axis.set_ylabel(label)


def save_figure(figure: Figure, stem: str | Path) -> list[Path]:
    """Write `stem`.pdf and `stem`.png, each whole or absent, the same bytes each time.

    The figure keeps the layout that it has now: what is added later moves nothing.
    """
    undated = {"pdf": {"CreationDate": None}, "png": {"Software": None}}
    paths = []
    use_fonts(figure)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # laid out once, not for each file and the notebook again
    with mpl.rc_context({"pdf.fonttype": 42}):
        for suffix, metadata in undated.items():
            write = partial(figure.savefig, dpi=200, metadata=metadata)
            paths.append(write_atomically(f"{stem}.{suffix}", write))
    return paths


def short_titles(attributes: Sequence[str]) -> dict[str, str]:
    """Break attributes' names into lines that fit panels side by side: {name: title}.

    A word that is a few letters longer than a line should be stays whole, such as
    "understandability" over one of five panels.

    Example:
        >>> short_titles(["helpfulness", "number of further words"] * 5)["number of further words"]
        'number of\\nfurther words'
    """
    width = max(4, 75 // panels_in_a_row(len(attributes)))
    longest = max((len(word) for name in attributes for word in name.split()), default=0)
    return {name: textwrap.fill(name, max(width, min(longest, width + 3))) for name in attributes}


def draw_architecture(ax: Axes, *, backbone: str, attributes: Sequence[str]) -> None:
    """Draw how a decision-tree reward model comes from two responses to a preference.

    Args:
        backbone: name of the frozen model.
        attributes: names of the rewards.
    """
    columns = [
        [["prompt,", "response 1"], ["prompt,", "response 2"]],
        [["frozen", "backbone", "", *textwrap.wrap(backbone, 13)]],
        [["last hidden", "state 1"], ["last hidden", "state 2"]],
        [["linear", "head"]],
        [["rewards 1"], ["rewards 2"]],
        [["difference", "(2 minus 1)", "", *attributes]],
        [["preference", "tree"]],
        [["preference", "0: response 1", "1: response 2"]],
    ]
    height = LINE * (2 + max(len(lanes[0]) for lanes in columns))
    widths = [max(map(text_width, lanes)) for lanes in columns]
    total = sum(widths) + DROP * (len(columns) - 1)
    size = POINTS * fit_canvas(ax, total, height, margin=GAP)
    left = 0.0
    lanes_before = 0
    for lanes, width in zip(columns, widths, strict=True):
        if lanes_before:
            _draw_arrows(ax, left, height, max(len(lanes), lanes_before), size)
        step = (height + GAP) / len(lanes)
        for lane, lines in enumerate(lanes):
            draw_box(
                ax,
                (left + width / 2, height - lane * step),
                (width, step - GAP),
                lines,
                size=size,
                facecolor=FILL(0.3 + 0.4 * lane) if len(lanes) == 2 else "0.93",
                edgecolor="0.5",
                lw=size / 12,
            )
        left += width + DROP
        lanes_before = len(lanes)


def _draw_arrows(ax: Axes, right: float, height: float, count: int, size: float) -> None:
    """Draw arrows that end at `right`, one a lane."""
    style = {"arrowstyle": "-|>", "shrinkA": 0, "shrinkB": 0, "mutation_scale": size}
    style |= {"color": "0.3", "lw": size / 10}
    for lane in range(count):
        y = height - (lane + 0.5) * (height + GAP) / count + GAP / 2
        ax.annotate("", (right, y), (right - DROP, y), arrowprops=style)


def draw_reward_bars(
    ax: Axes, rewards: Real[np.ndarray, "2 attributes"], attributes: Sequence[str]
) -> None:
    """Draw the rewards of response 1 (upper bars) and response 2 by attribute."""
    frame = pd.DataFrame(np.transpose(rewards), list(attributes), ["response 1", "response 2"])
    frame.plot.barh(ax=ax, color=RESPONSE_COLOURS, width=0.8, xlabel="reward (predicted rating)")
    for bars in ax.containers:
        if isinstance(bars, BarContainer):
            ax.bar_label(bars, fmt=" %.2f ", size=POINTS - 1)
    ax.set_yticklabels(attributes, parse_math=False)
    ax.axvline(0, color="0.3", linewidth=0.6)
    ax.invert_yaxis()
    ax.margins(x=0.15)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False)
    if isinstance(ax.figure, Figure):
        use_fonts(ax.figure)


def text_width(lines: Sequence[str]) -> float:
    """Give the width in inches of a box around lines of text at full size."""
    measure = partial(text_to_path.get_text_width_height_descent, ismath=False)
    font = FontProperties(family=families_of(lines), size=POINTS)
    widest = max(measure(line, font)[0] for line in lines)
    return widest / 72 + 2 * PAD


def fit_canvas(ax: Axes, width: float, height: float, margin: float = 0.0) -> float:
    """Make one unit of `ax` one inch of a picture, centred; give the scale at which it fits."""
    stands_alone = isinstance(ax.figure, Figure) and ax.figure.axes == [ax]
    if stands_alone and ax.get_subplotspec():
        ax.figure.set_layout_engine("none")
        ax.set_position((0, 0, 1, 1))  # alone, it needs no margins for ticks and labels
    room = np.array(ax.bbox.size) / ax.figure.dpi
    extent = np.array([width, height])
    scale = min(1.0, *(room / (extent + 2 * margin)))
    low = (extent - room / scale) / 2
    high = (extent + room / scale) / 2
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    ax.set_axis_off()
    return scale


def draw_box(
    ax: Axes,
    top: Sequence[float] | np.ndarray,
    extent: Sequence[float] | np.ndarray,
    lines: Sequence[str],
    *,
    size: float,
    alpha: float = 1.0,
    **style,
) -> None:
    """Draw a box with lines of text.

    Args:
        top: middle of its upper side.
        extent: width and height.
        size: of the text, in points.
        alpha: opacity of box and text.
        style: of the box's patch.
    """
    width, height = extent
    corner = (top[0] - width / 2, top[1] - height)
    shape = "round,pad=0,rounding_size=0.05"
    ax.add_patch(
        FancyBboxPatch(corner, width, height, boxstyle=shape, clip_on=False, alpha=alpha, **style)
    )
    for row, line in enumerate(lines):
        y = top[1] - (height - LINE * len(lines)) / 2 - LINE * (row + 0.76)
        text: dict[str, Any] = {"size": size, "ha": "center", "parse_math": False, "alpha": alpha}
        ax.text(top[0], y, line, family=families_of(line), **text)

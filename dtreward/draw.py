"""Figures that more than one notebook draws: trees, rewards and the model, all in one look."""

import io
import re
import textwrap
from collections.abc import Sequence
from functools import partial
from html import escape
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from jaxtyping import Real
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import FancyBboxPatch
from matplotlib.textpath import text_to_path

from dtreward.record import digest, write_atomically
from dtreward.tree import PreferenceTree, Step

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
SPLIT = 3 * LINE + 2 * PAD  # height of a split's box


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


def draw_tree(
    tree: PreferenceTree,
    *,
    ax: Axes | None = None,  # shrunk to fit; if left out, a new figure as large as 8 pt text needs
    path: Sequence[Step] | None = None,  # `tree.path(...)` of one pair, drawn bold
    title: str = "",
    effective: bool = False,  # dash the splits that the effective rule drops
) -> Axes:
    """Draw a tree like the published figures; a pair for which a split's words hold goes left."""
    lines, x, top, widths, (width, height) = _plan(tree)
    height += 1.4 * LINE if title else 0
    ax = ax or plt.figure(figsize=(width, height)).add_subplot()
    size = POINTS * _canvas(ax, width, height)
    write = partial(ax.text, parse_math=False, size=size, color="0.25")
    bold = {int((tree.left if step.goes_left else tree.right)[step.node]) for step in path or ()}
    bold |= {0} if path else set()
    pens = [("black", size / 5) if n in bold else ("0.5", size / 12) for n in range(len(lines))]
    dashed = tree.idle_splits() & effective
    for node, text in enumerate(lines):
        sides = (tree.left[node], "yes ", "right"), (tree.right[node], " no", "left")
        for side, answer, ha in sides if tree.feature[node] >= 0 else ():
            ends = np.array([[x[node], x[side]], [top[node] - SPLIT, top[side]]])
            ax.plot(*ends, color=pens[side][0], lw=pens[side][1], clip_on=False, zorder=0)
            if node == 0:
                write(*ends.mean(axis=1), answer, ha=ha, va="bottom")
        style = {"edgecolor": pens[node][0], "lw": pens[node][1], "size": size}
        style |= {"linestyle": (0, (3, 2)), "ink": "0.25"} if dashed[node] else {}
        extent, fill = (widths[node], LINE * len(text) + 2 * PAD), FILL(tree.value[node, 1])
        _box(ax, (x[node], top[node]), extent, text, facecolor=fill, **style)
    notes = ["dashed: same preference on both sides"] if dashed.any() else []
    notes += ["share of pairs; % for response 1 / 2"]
    for row, note in enumerate(notes):
        write(width / 2, (row + 0.35) * LINE, note, ha="center")
    low, left, steps = (len(notes) + 0.5) * LINE, width / 2 + 0.18, np.arange(11) / 10
    write(left, low + 0.01, "probability of response 2:  0 ", ha="right")
    write(left + 1.1, low + 0.01, " 1")  # the colour bar is 1.1 in wide
    bar = {"height": 0.11, "align": "edge", "clip_on": False}
    ax.barh(low, 0.1, left=left + steps, color=FILL(steps), **bar)
    ax.barh(low, 1.1, left=left, fill=False, edgecolor="0.6", lw=0.5, **bar)
    write(width / 2, height - LINE, title, ha="center", weight="bold")
    return ax


def tree_svg(tree: PreferenceTree, path: Sequence[Step] | None = None) -> str:
    """Give `draw_tree`'s picture, effective rule dashed, as one <svg> for a notebook or a page."""
    fonts = {"font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans", "Verdana"]}
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "dtreward", **fonts}):
        width, height = _plan(tree)[-1]
        figure, file = Figure(figsize=(width, height)), io.StringIO()
        draw_tree(tree, ax=figure.add_subplot(), path=path, effective=True)
        undated = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(file, format="svg", metadata=undated)
    svg = re.sub(r' id="[a-z0-9]+_\d+"|<style.*?</style>', "", file.getvalue(), flags=re.DOTALL)
    fit = f"width:100%;min-width:{60 * width:.0f}px;max-width:{110 * width:.0f}px"
    label = escape("; ".join(tree.effective_rule().rule_sentences()))
    return f'<svg role="img" aria-label="{label}" style="{fit}"' + svg[svg.index(" viewBox") :]


def draw_architecture(ax: Axes, *, backbone: str, attributes: Sequence[str]) -> None:
    """Draw how a decision-tree reward model comes from two responses to a preference."""
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
    ax.axvline(0, color="0.3", linewidth=0.6)
    ax.invert_yaxis()
    ax.margins(x=0.15)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False)


def _plan(tree):
    """Give each node's lines, centre, top and width, and the picture's size, in inches.

    Leaves stand a slot apart, a split midway between its sides. So in one row a split is at least
    1.5 slots from a leaf and 2 from a split: from that, the smallest slot without overlaps.
    """
    numbers = zip(100 * tree.share, 100 * tree.value, strict=True)
    lines = [[f"{share:.1f} %", f"{one:.1f} / {two:.1f}"] for share, (one, two) in numbers]
    splits, leaves = np.flatnonzero(tree.feature >= 0), np.flatnonzero(tree.feature < 0)
    for node in splits:
        name, threshold = tree.attributes[tree.feature[node]], f"{tree.threshold[node]:.4g}"
        lines[node].insert(0, f"{name} ≤ {threshold.replace('-', '−')}")
    widths, x, row = np.array([_width(text) for text in lines]), *np.zeros((2, len(lines)))
    wide, leaf = widths[splits].max(initial=0), widths[leaves].max()
    slot = max(leaf + GAP, ((wide + leaf) / 2 + GAP) / 1.5, (wide + GAP) / 2)
    x[leaves] = slot * np.arange(len(leaves))  # preorder: from left to right
    for node in splits[::-1]:
        x[node] = (x[tree.left[node]] + x[tree.right[node]]) / 2
    for node in splits:
        row[[tree.left[node], tree.right[node]]] = row[node] + 1
    widths = np.where(tree.feature >= 0, wide, leaf)
    left, right = (x - widths / 2).min(), (x + widths / 2).max()
    foot = (2.6 if tree.idle_splits().any() else 1.6) * LINE  # room for the notes
    width, height = max(3.3, right - left + 2 * GAP), (row.max() + 1) * (SPLIT + DROP) + foot
    top = height - GAP - row * (SPLIT + DROP)
    return lines, x + (width - left - right) / 2, top, widths, (width, height)


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


def _box(ax, at, extent, lines, *, size, ink="black", **style):
    corner, shape = (at[0] - extent[0] / 2, at[1] - extent[1]), "round,pad=0,rounding_size=0.05"
    ax.add_patch(FancyBboxPatch(corner, *extent, boxstyle=shape, clip_on=False, **style))
    for row, line in enumerate(lines):
        y = at[1] - (extent[1] - LINE * len(lines)) / 2 - LINE * (row + 0.76)
        ax.text(at[0], y, line, size=size, color=ink, ha="center", parse_math=False)

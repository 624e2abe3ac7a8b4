"""Figures that more than one notebook draws: trees, rewards and the model, all in one look."""

import re
import textwrap
from base64 import b64encode
from collections.abc import Sequence
from functools import partial
from html import escape
from itertools import pairwise
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
DEEP = 4  # levels of a tree that is drawn downwards; a deeper one grows to the right
POINT = "Point at a node, or click it."
SCREEN = Path(__file__).with_name("tree.css")


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
    effective: bool = False,  # dash the splits that the effective rule drops, stress the others
) -> Axes:
    """Draw a tree for paper; a pair for which a split's words hold goes left, or up.

    Like the published figures to four levels; a deeper tree grows to the right, a line a leaf.
    """
    lines, at, extent, edge, (width, height), answers = _plan(tree)
    height += 1.4 * LINE if title else 0
    ax = ax or plt.figure(figsize=(width, height)).add_subplot()
    size = POINTS * _canvas(ax, width, height)
    write = partial(ax.text, parse_math=False, size=size, color="0.25")
    bold, dashed = _passed(tree, path), tree.idle_splits() & effective
    stressed = (tree.feature >= 0) & ~dashed & ~bold & effective
    for node, text in enumerate(lines):
        pen, fill = ("black", size / 5) if bold[node] else ("0.5", size / 12), tree.value[node, 1]
        if node:
            ax.plot(*edge[node].T, color=pen[0], lw=pen[1], clip_on=False, zorder=0)
        pen = ("0.1", size / 7) if stressed[node] else pen
        style = {"size": size, "facecolor": FILL(fill), "ls": "--" if dashed[node] else "solid"}
        _box(ax, at[node], extent[node], text, edgecolor=pen[0], lw=pen[1], **style)
    for node, answer, ha in answers:
        write(*edge[node].mean(axis=0), answer, ha=ha, va="bottom")
    notes = ["dashed: same preference on both sides"] if dashed.any() else []
    notes += ["share of pairs; % for response 1 / 2" + "; upwards: yes" * (tree.depth > DEEP)]
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
    """Draw a tree for the screen, as one <svg> that needs nothing else, in a page or as a file.

    A node under the mouse, or clicked, shows its way from the root in black, and below the tree
    which differences lead to it, its share and probability. Splits that decide nothing are dashed.
    """
    lines, *inches, size, answers = _plan(tree)
    (width, height), line = 72 * size, 72 * LINE
    at, extent, edge = (72 * part for part in inches)
    bold, idle, split = _passed(tree, path), tree.idle_splits(), tree.feature >= 0
    kinds = np.select([idle, split], ["idle", "decides"], "")
    rule, many = tree.effective_rule().rule_sentences(), f"{split.sum()} splits decide"
    brief = rule[0] if len(rule) == 1 else f"{(split & ~idle).sum()} of {many}"
    told = [f"In effect: {brief}. Dashed: the same on both sides."]
    for words, share, (_, two) in zip(tree.conditions(), tree.share, tree.value, strict=True):
        told.append(f"{words or 'all'}: {share:.1%} of the pairs, {two:.1%} for response 2")
    foot = [textwrap.wrap(each, max(40, int(width / 5))) for each in told]
    foot[0] += [POINT]  # a line of its own, which a still picture leaves out

    def write(lines, x, y, kind):
        rows = enumerate(map(escape, lines))
        texts = (f'<text x="{x:.1f}" y="{y + line * n:.1f}">{row}</text>' for n, row in rows)
        return f'<g class="{kind}">{"".join(texts)}</g>'

    def draw(node):  # a node holds its sides: the mouse on one is on all above it
        (x, y), (wide, tall), text = at[node], extent[node], lines[node]
        box = f'<rect x="{x - wide / 2:.1f}" y="{height - y:.1f}" width="{wide:.1f}" rx="4"'
        box += f' height="{tall:.1f}" fill="{to_hex(FILL(tree.value[node, 1]))}"/>'
        box += write(text, x, height - y + (tall - line * len(text)) / 2 + 0.76 * line, "words")
        box = f'<g class="box" tabindex="0"><title>{escape(told[node + 1])}</title>{box}</g>'
        box += write(foot[node + 1], 4, height - 12, "says")
        kind = kinds[node] + " on" * int(bold[node])
        path = "M{:.1f} {:.1f}L{:.1f} {:.1f}".format(*np.abs(edge[node] - [0, height]).flat)
        sides = map(draw, (tree.left[node], tree.right[node]) if split[node] else ())
        return f'<g class="{kind}"><path d="{path}"/>{box}{"".join(sides)}</g>'

    parts = [draw(0), write(foot[0], 4, height - 12, "rule")]
    parts += [write([w], *abs(edge[n].mean(axis=0) - [0, height]), ha) for n, w, ha in answers]
    height += line * max(map(len, foot)) - 18
    fit = f"width:100%;height:auto;min-width:{1.2 * width:.0f}px;max-width:{1.6 * width:.0f}px"
    size = f'viewBox="0 0 {width:.1f} {height:.1f}" style="{fit};aspect-ratio:{width / height:.4f}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} class="preference-tree" role="group"'
    head += f' aria-label="{escape("; ".join(rule))}"><style>{SCREEN.read_text("utf-8")}</style>'
    # XML has no control characters, which a name may hold.
    return re.sub("[\0-\x1f]", " ", f"{head}{''.join(parts)}</svg>")


def tree_html(tree: PreferenceTree, path: Sequence[Step] | None = None) -> str:
    """Embed `tree_svg` in a page: where a page may not be trusted, only its picture is left."""
    svg, kind = tree_svg(tree, path), "data:image/svg+xml;base64,"
    style = re.search('style="[^"]*"', svg)[0]
    both = (b64encode(each.encode()).decode() for each in (svg, svg.replace(POINT, "")))
    live, still = (f'"{kind}{each}" {style}' for each in both)
    return f'<object type="image/svg+xml" data={live}><img alt="tree" src={still}/></object>'


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


def _passed(tree, path):
    sides = [(tree.left if step.goes_left else tree.right)[step.node] for step in path or ()]
    return np.isin(np.arange(len(tree.feature)), [0, *sides] if path else [])


def _plan(tree):
    """Give each node's lines, box (middle of its top, extent) and edge, and the size, in inches.

    Leaves stand a slot apart, a split midway between its sides; the slot is the smallest without
    overlaps in a row.
    """
    split, numbers = tree.feature >= 0, zip(100 * tree.share, 100 * tree.value, strict=True)
    lines = [[f"{share:.1f} %", f"{one:.1f} / {two:.1f}"] for share, (one, two) in numbers]
    across, parent, level = tree.depth > DEEP, *np.zeros((2, len(lines)), dtype=int)
    turn, lines = (-1, [["   ".join(each)] for each in lines]) if across else (1, lines)
    for node in np.flatnonzero(split):
        sides = [tree.left[node], tree.right[node]]
        parent[sides], level[sides] = node, level[node] + 1
        words = f"{tree.attributes[tree.feature[node]]} ≤ {tree.threshold[node]:.4g}"
        lines[node] = _wrapped(words.replace("≤ -", "≤ −"), 20 if across else 28) + lines[node]
    extent = np.array([(_width(text), LINE * len(text) + 2 * PAD) for text in lines])
    for kind in filter(np.any, (split, ~split)):
        extent[kind, 0] = extent[kind, 0].max()
    side, ahead = extent.T[::turn]  # along a row, and from the root on
    place, rows = np.zeros(len(lines)), [np.flatnonzero(level == n) for n in range(tree.depth + 1)]
    place[~split] = np.arange((~split).sum())  # preorder: from left to right
    for node in np.flatnonzero(split)[::-1]:
        place[node] = (place[tree.left[node]] + place[tree.right[node]]) / 2
    pairs = np.array([pair for row in rows for pair in pairwise(row)] or [(0, 0)]).T
    place *= ((side[pairs].mean(axis=0) + GAP) / np.maximum(np.diff(place[pairs], axis=0), 1)).max()
    place += GAP - (place - side / 2).min()
    begin = np.cumsum([GAP, *(ahead[row].max() + DROP for row in rows)])
    taken = np.array([(place + side / 2).max() + GAP, begin[-1] - DROP + GAP][::turn])
    size = np.maximum(taken, [3.3, 0]) + np.array([0, LINE * (2.3 + tree.idle_splits().any())])
    along = np.stack([place - across * side / 2, place, place])  # top, exit and entry of a box
    begin = begin[level] + np.stack([across * ahead / 2, ahead, 0 * ahead])
    away = np.stack([along, begin][::turn], axis=-1)
    at, out, into = [(size - taken)[0] / 2, size[1]] + away * [1, -1]
    answers = (tree.left[0], "yes ", "right"), (tree.right[0], " no", "left")
    answers = answers[: 2 * (split[0] and not across)]  # else a note says where yes is
    return lines, at, extent, np.stack([out[parent], into], axis=1), size, answers


def _wrapped(words, width):
    """Break a long name behind a space, a dash or one of _ / ., and keep a threshold whole."""
    words = re.sub("[\0-\x1f\u2028]", " ", words)  # a name is one line
    marked = re.sub(r"(?<=[_/.])(?=[^\W\d_])", "\v", words).replace(" ≤ ", " ≤\xa0")
    lines = textwrap.wrap(marked, width, replace_whitespace=False)
    return [line.replace("\v", "").replace("≤\xa0", "≤ ") for line in lines]


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

"""Draw a preference tree for paper."""

import re
import textwrap
from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from dtreward.figures import DROP, FILL, GAP, LINE, PAD, POINTS, _box, _canvas, _width
from dtreward.tree.tree import PreferenceTree, Step

DEEP = 4  # levels of a tree that is drawn downwards; a deeper one grows to the right


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

"""Draw a preference tree for paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Bool
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dtreward.figures import FILL, LINE, POINTS, draw_box, fit_canvas
from dtreward.tree.layout import Layout, lay_out, passed_nodes
from dtreward.tree.nodes import NodeTable, Step
from dtreward.tree.rules import idle_splits

TITLE = 1.4  # lines that a title takes
BAR_LENGTH = 1.1  # inches, of the colour bar
BAR_HEIGHT = 0.11
FAINT = 0.35  # opacity of what is not a finding
PAGE_WIDTH = 6.75  # inches, two columns of a page


def draw_tree(
    nodes: NodeTable,
    *,
    ax: Axes | None = None,
    path: Sequence[Step] | None = None,
    title: str = "",
    effective: bool = False,
    is_doubtful: Bool[np.ndarray, " nodes"] | None = None,
) -> Axes:
    """Draw a tree for paper; a pair for which a split's words hold goes left, or up.

    To four levels it looks like the published figures; a deeper tree grows to the right, with one
    line for each leaf.

    Args:
        nodes: the tree, or its table of nodes.
        ax: where to draw, shrunk to fit; without it, a new figure as large as 8-point text needs.
        path: the steps of one pair (`tree.path(...)`), drawn bold.
        title: a bold line above the tree.
        effective: dash the splits that the effective rule drops, and stress the others.
        is_doubtful: splits to draw faint, because they do not recur when the tree is grown again;
            and with them all that is below.
    """
    layout = lay_out(nodes)
    width, height = layout.size
    if title:
        height += TITLE * LINE
    if ax is None:
        ax = plt.figure(figsize=(width, height)).add_subplot()
    size = POINTS * fit_canvas(ax, width, height)
    marks = _mark_nodes(nodes, passed_nodes(nodes, path), effective, is_doubtful)
    _draw_nodes(ax, nodes, layout, marks, size)
    style: dict[str, Any] = {"parse_math": False, "size": size, "color": "0.25"}
    write = partial(ax.text, **style)
    for answer in layout.answers:
        place = layout.edge[answer.node].mean(axis=0)
        write(*place, answer.word, ha=answer.side, va="bottom")
    meanings = ["dashed: same preference on both sides"] if marks.dashed.any() else []
    if marks.faint.any():
        meanings.append("faint: did not recur on resamples")
    notes = ["; ".join(meanings)] if meanings else []
    note = "share of pairs; % for response 1 / 2"
    notes.append(f"{note}; upwards: yes" if layout.grows_right else note)
    for row, words in enumerate(notes):
        write(width / 2, (row + 0.35) * LINE, words, ha="center")
    _draw_colour_bar(ax, width / 2 + 0.18, (len(notes) + 0.5) * LINE, write)
    write(width / 2, height - LINE, title, ha="center", weight="bold")
    return ax


def draw_trees(
    trees: Mapping[str, NodeTable], is_doubtful: Mapping[str, np.ndarray] | None = None
) -> Figure:
    """Draw trees one above the other in a new figure, each at the size that it needs alone.

    Args:
        trees: by their titles. Splits that the effective rule drops are dashed.
        is_doubtful: by title, as in `draw_tree`.
    """
    doubtful = is_doubtful or {}
    sizes = []
    for title, tree in trees.items():
        alone = draw_tree(tree, effective=True, title=title).get_figure()
        if isinstance(alone, Figure):
            sizes.append(alone.get_size_inches())
            plt.close(alone)
    widths, heights = np.transpose(sizes)
    size: dict[str, Any] = {
        "figsize": (max(PAGE_WIDTH, *widths), sum(heights)),
        "height_ratios": heights,
    }
    figure, axes = plt.subplots(len(trees), 1, layout="none", squeeze=False, **size)
    figure.subplots_adjust(0, 0, 1, 1, 0, 0)
    for axis, (title, tree) in zip(axes[:, 0], trees.items(), strict=True):
        draw_tree(tree, ax=axis, effective=True, title=title, is_doubtful=doubtful.get(title))
    return figure


@dataclass(frozen=True)
class _Marks:
    """Which nodes are drawn bold, dashed, stressed or faint; arrays of shape (nodes,)."""

    passed: np.ndarray
    dashed: np.ndarray
    stressed: np.ndarray
    faint: np.ndarray


def _mark_nodes(
    nodes: NodeTable, passed: np.ndarray, effective: bool, is_doubtful: np.ndarray | None
) -> _Marks:
    dashed = idle_splits(nodes) & effective
    faint = np.zeros(len(nodes.feature), dtype=bool)
    if is_doubtful is not None:
        faint |= is_doubtful & nodes.is_split
    for node in nodes.splits:  # a node stands before both of its sides
        faint[nodes.children(node)] |= faint[node]
    stressed = nodes.is_split & ~dashed & ~passed & effective
    return _Marks(passed, dashed, stressed, faint)


def _draw_nodes(ax: Axes, nodes: NodeTable, layout: Layout, marks: _Marks, size: float) -> None:
    for node, lines in enumerate(layout.lines):
        colour = "black" if marks.passed[node] else "0.5"
        alpha = FAINT if marks.faint[node] else 1.0
        line_width = size / 5 if marks.passed[node] else size / 12
        if node:
            edge = layout.edge[node].T
            shade: dict[str, Any] = {"color": colour, "alpha": alpha}
            ax.plot(*edge, **shade, lw=line_width, clip_on=False, zorder=0)
        if marks.stressed[node]:
            colour = "0.1"
            line_width = size / 7
        draw_box(
            ax,
            layout.top[node],
            layout.extent[node],
            lines,
            size=size,
            facecolor=FILL(nodes.value[node, 1]),
            ls="--" if marks.dashed[node] else "solid",
            edgecolor=colour,
            lw=line_width,
            alpha=alpha,
        )


def _draw_colour_bar(ax: Axes, left: float, low: float, write: partial) -> None:
    write(left, low + 0.01, "probability of response 2:  0 ", ha="right")
    write(left + BAR_LENGTH, low + 0.01, " 1")
    steps = np.arange(11) / 10
    shape: dict[str, Any] = {"height": BAR_HEIGHT, "align": "edge", "clip_on": False}
    ax.barh(low, 0.1, left=left + steps, color=FILL(steps), **shape)
    ax.barh(low, BAR_LENGTH, left=left, fill=False, edgecolor="0.6", lw=0.5, **shape)

"""Where the boxes of a drawn tree stand, in inches."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float

from dtreward.figures import DROP, GAP, LINE, PAD, text_width
from dtreward.names import isolate
from dtreward.tree.nodes import NodeTable, Step
from dtreward.tree.rules import idle_splits

DEEP = 4  # levels of a tree that is drawn downwards; a deeper one grows to the right
NARROWEST = 3.3  # inches: room for the note and the colour bar below
NOTES = 2.3  # lines below a tree; one more where splits are dashed


@dataclass(frozen=True)
class Answer:
    """A word beside an edge: at which node's edge, and on which side of it."""

    node: int
    word: str
    side: str


@dataclass(frozen=True, eq=False)
class Layout:
    """A tree's boxes and edges.

    Attributes:
        lines: what each node's box says.
        top: middle of each box's upper side, (nodes, 2).
        extent: width and height of each box.
        edge: end points of the line from each node's parent, (nodes, 2, 2).
        size: width and height of the whole picture.
        answers: words beside edges.
        grows_right: whether the root is at the left, and not on top.
    """

    lines: list[list[str]]
    top: Float[np.ndarray, "nodes 2"]
    extent: Float[np.ndarray, "nodes 2"]
    edge: Float[np.ndarray, "nodes 2 2"]
    size: Float[np.ndarray, " 2"]
    answers: list[Answer]
    grows_right: bool


def passed_nodes(nodes: NodeTable, path: Sequence[Step] | None) -> Bool[np.ndarray, " nodes"]:
    """Mark the nodes that a pair's path visits; none without a path."""
    if not path:
        return np.zeros(len(nodes.feature), dtype=bool)
    visited = [0]
    for step in path:
        visited.append(nodes.children(step.node)[0 if step.goes_left else 1])
    return np.isin(np.arange(len(nodes.feature)), visited)


def lay_out(nodes: NodeTable) -> Layout:
    """Place a tree: downwards to four levels, a deeper one to the right.

    Leaves stand one slot apart and a split midway between its sides. The slot is the smallest one
    without overlaps in a row.
    """
    grows_right = nodes.depth > DEEP
    lines = _box_lines(nodes, grows_right)
    extent = _extents(nodes, lines)
    width, height = extent.T
    along = height if grows_right else width
    ahead = width if grows_right else height
    place = _places(nodes, along)
    rows = _rows(nodes)
    begin = np.cumsum([GAP, *(ahead[row].max() + DROP for row in rows)])
    taken = np.array([(place + along / 2).max() + GAP, begin[-1] - DROP + GAP])
    if grows_right:
        taken = taken[::-1]
    notes = NOTES + (1 if idle_splits(nodes).any() else 0)
    size = np.maximum(taken, [NARROWEST, 0]) + np.array([0, LINE * notes])
    start = begin[nodes.level]
    upper = place - along / 2 if grows_right else place
    middle = start + ahead / 2 if grows_right else start
    away = np.stack(
        [
            _points(upper, middle, grows_right),
            _points(place, start + ahead, grows_right),
            _points(place, start, grows_right),
        ]
    )
    top, exit_point, entry_point = [(size - taken)[0] / 2, size[1]] + away * [1, -1]
    edge = np.stack([exit_point[_parents(nodes)], entry_point], axis=1)
    return Layout(lines, top, extent, edge, size, _answers(nodes, grows_right), grows_right)


def _points(along: np.ndarray, ahead: np.ndarray, grows_right: bool) -> np.ndarray:
    """Turn places along a row and ahead from the root into x and downward y."""
    return np.stack([ahead, along] if grows_right else [along, ahead], axis=-1)


def _box_lines(nodes: NodeTable, grows_right: bool) -> list[list[str]]:
    lines = []
    for share, (one, two) in zip(100 * nodes.share, 100 * nodes.value, strict=True):
        numbers = [f"{share:.1f} %", f"{one:.1f} / {two:.1f}"]
        lines.append(["   ".join(numbers)] if grows_right else numbers)
    for node in nodes.splits:
        name = nodes.attributes[nodes.feature[node]]
        words = f"{name} ≤ {nodes.threshold[node]:.4g}".replace("≤ -", "≤ −")
        lines[node] = wrap_name(words, 20 if grows_right else 28) + lines[node]
    return lines


def _extents(nodes: NodeTable, lines: list[list[str]]) -> np.ndarray:
    """Give each box its width and height; all splits are as wide as the widest, all leaves too."""
    extent = np.array([(text_width(text), LINE * len(text) + 2 * PAD) for text in lines])
    for group in (nodes.is_split, ~nodes.is_split):
        if group.any():
            extent[group, 0] = extent[group, 0].max()
    return extent


def _rows(nodes: NodeTable) -> list[np.ndarray]:
    return [np.flatnonzero(nodes.level == number) for number in range(nodes.depth + 1)]


def _places(nodes: NodeTable, along: np.ndarray) -> np.ndarray:
    """Give the middle of each box along its row."""
    place = np.zeros(len(nodes.feature))
    place[~nodes.is_split] = np.arange(nodes.n_leaves)  # preorder: from left to right
    for node in nodes.splits[::-1]:
        left, right = nodes.children(node)
        place[node] = (place[left] + place[right]) / 2
    neighbours = [pair for row in _rows(nodes) for pair in pairwise(row)]
    pairs = np.array(neighbours or [(0, 0)]).T
    apart = np.maximum(np.diff(place[pairs], axis=0), 1)
    place *= ((along[pairs].mean(axis=0) + GAP) / apart).max()
    return place + (GAP - (place - along / 2).min())


def _parents(nodes: NodeTable) -> np.ndarray:
    parent = np.zeros(len(nodes.feature), dtype=int)
    for node in nodes.splits:
        parent[nodes.children(node)] = node
    return parent


def _answers(nodes: NodeTable, grows_right: bool) -> list[Answer]:
    """Say yes and no below the root; a tree that grows to the right says it in a note."""
    if grows_right or not nodes.is_split[0]:
        return []
    left, right = nodes.children(0)
    return [Answer(left, "yes ", "right"), Answer(right, " no", "left")]


def wrap_name(words: str, width: int) -> list[str]:
    """Break a long name behind a space, a dash or one of _ / ., and keep a threshold whole.

    Example:
        >>> wrap_name("a_long_name_of_an_attribute ≤ 0.5", 16)
        ['a_long_name_', 'of_an_', 'attribute ≤ 0.5']
    """
    words = re.sub("[\0-\x1f\u2028]", " ", words)  # a name is one line
    marked = re.sub(r"(?<=[_/.])(?=[^\W\d_])", "\v", words).replace(" ≤ ", " ≤\xa0")
    lines = textwrap.wrap(marked, width, replace_whitespace=False)
    return [_in_order(line.replace("\v", "").replace("≤\xa0", "≤ ")) for line in lines]


def _in_order(line: str) -> str:
    """Keep the threshold behind a name that reads from right to left."""
    name, sign, threshold = line.rpartition(" ≤ ")
    return isolate(name) + sign + threshold if sign else isolate(line)

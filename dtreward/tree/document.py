"""A table of nodes as plain JSON values, and back."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from dtreward.tree.nodes import ATTRIBUTES, NodeTable, in_preorder

HEAD = {"format": "dtreward-preference-tree", "version": 1}
KEYS = ("attribute", "threshold", "left", "right", "value", "share")  # of a node in JSON
LEAF = dict.fromkeys(KEYS[:4])
LARGEST = 1e300


def to_document(nodes: NodeTable) -> dict[str, Any]:
    """Give a table as plain values; `from_document` restores every bit."""
    columns = (nodes.feature, nodes.threshold, nodes.left, nodes.right, nodes.value, nodes.share)
    written = []
    for feature, *rest in zip(*(column.tolist() for column in columns), strict=True):
        node = dict(zip(KEYS, [nodes.attributes[feature], *rest], strict=True))
        written.append(node if feature >= 0 else node | LEAF)
    return HEAD | {"attributes": list(nodes.attributes), "nodes": written}


def from_document(data: Any) -> NodeTable:
    """Read what `to_document` gave.

    Raises:
        ValueError: says what is missing, or which node is wrong.
    """
    if not isinstance(data, dict) or not HEAD.items() <= data.items():
        raise ValueError(f"expected a JSON object with {HEAD}; was it written by save()?")
    names = data.get("attributes")
    nodes = data.get("nodes")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"expected a list of names as attributes, found {names!r:.200}")
    if not isinstance(nodes, list) or not nodes:
        raise ValueError(f"expected a list of nodes, found {nodes!r:.200}")
    rows = [_row(number, node, names, len(nodes)) for number, node in enumerate(nodes)]
    return NodeTable(tuple(names), *map(np.array, zip(*rows, strict=True)))


def from_published(root: dict[str, Any]) -> NodeTable:
    """Read a tree as the published figures print it: nested nodes, shares in percent."""
    nodes = [root]
    rows = []
    for node in nodes:  # grows in the loop: a split puts its two sides behind all others
        row = (-1, math.nan, -1, -1)
        if "left" in node:
            end = len(nodes)
            nodes += [node["left"], node["right"]]
            row = (ATTRIBUTES.index(node["attribute"]), node["threshold"], end, end + 1)
        rows.append((*row, node["value"], node["share_pct"] / 100))
    return in_preorder(ATTRIBUTES, *map(np.array, zip(*rows, strict=True)))


def _row(number: int, node: Any, names: list[str], count: int) -> tuple:
    """Check one node of a document, and give it as a row of the table."""
    values = []
    if isinstance(node, dict) and set(node) == set(KEYS):
        values = [node[key] for key in KEYS]
    match values:
        case [None, None, None, None, [_, _] as value, share] if _are_numbers(*value, share):
            return -1, math.nan, -1, -1, [float(one) for one in value], float(share)
        case [name, limit, int(left), int(right), [_, _] as value, share]:
            are_nodes = 0 < left < count and 0 < right < count
            if name in names and are_nodes and _are_numbers(limit, left, right, *value, share):
                split = (names.index(name), float(limit), left, right)
                return *split, [float(one) for one in value], float(share)
    raise ValueError(
        f"node {number} is not {', '.join(KEYS)}: the first four are null at a leaf, else one of "
        f"{names}, a number and two node numbers; found {node!r:.200}"
    )


def _are_numbers(*values: Any) -> bool:
    """Whether all are numbers, and none is true, nan or infinity."""
    return all(type(value) in (int, float) and abs(value) <= LARGEST for value in values)

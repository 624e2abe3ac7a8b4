"""What a table of nodes says in words, and which of its splits decide nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Real

from dtreward.names import isolate
from dtreward.tree.nodes import NodeTable, Step, in_preorder


def idle_splits(nodes: NodeTable) -> Bool[np.ndarray, " nodes"]:
    """Mark the splits that decide nothing: all leaves below prefer the same response."""
    undecided = -1
    decision = (nodes.value[:, 1] > 0.5).astype(int)
    for node in nodes.splits[::-1]:
        left, right = decision[nodes.children(node)]
        decision[node] = left if left == right else undecided
    return nodes.is_split & (decision != undecided)


def collapsed(nodes: NodeTable) -> NodeTable:
    """Replace each split that decides nothing, with all below it, by a leaf.

    The result predicts the same preferences. A replaced split keeps its fractions, which are the
    mean of its leaves' fractions weighted by share, but for what printing rounded.
    """
    idle = idle_splits(nodes)
    value = nodes.value.copy()
    for node in np.flatnonzero(idle)[::-1].tolist():
        # Fractions that printing rounded must not take the new leaf past 0.5.
        sides = value[nodes.children(node)]
        value[node] = value[node].clip(sides.min(axis=0), sides.max(axis=0))
    return in_preorder(
        nodes.attributes,
        nodes.feature,
        nodes.threshold,
        np.where(idle, -1, nodes.left),
        np.where(idle, -1, nodes.right),
        value,
        nodes.share,
    )


def conditions(nodes: NodeTable, names: Sequence[str] | None = None) -> tuple[str, ...]:
    """Say for each node which differences lead to it; "" at the root.

    Args:
        names: of the attributes, as they are to be shown; by default as they are, those that read
            from right to left isolated from the text around them.
    """
    shown = names or [isolate(name) for name in nodes.attributes]
    bounds: list[dict[tuple[int, str], float]] = [{} for _ in nodes.feature]
    for node in nodes.splits:
        at_most = (int(nodes.feature[node]), "<=")
        above = (int(nodes.feature[node]), ">")
        limit = nodes.threshold[node]
        left, right = nodes.children(node)
        bounds[left] = bounds[node] | {at_most: min(limit, bounds[node].get(at_most, limit))}
        bounds[right] = bounds[node] | {above: max(limit, bounds[node].get(above, limit))}
    sentences = []
    for bound in bounds:
        parts = [
            f"{shown[number]} difference {sign} {x:.4g}" for (number, sign), x in bound.items()
        ]
        sentences.append(" and ".join(parts))
    return tuple(sentences)


def rule_sentences(nodes: NodeTable, names: Sequence[str] | None = None) -> tuple[str, ...]:
    """Say the tree in words: one sentence for each leaf, or one for a single split that decides.

    Args:
        names: of the attributes, as in `conditions`.
    """
    prefers_second = nodes.value[:, 1] > 0.5
    words = conditions(nodes, names)
    if len(prefers_second) == 3 and prefers_second[1] != prefers_second[2]:
        side = 2 if prefers_second[2] else 1
        return (f"response 2 iff {words[side]}",)
    sentences = []
    for leaf in np.flatnonzero(~nodes.is_split).tolist():
        reason = f"if {words[leaf]}" if words[leaf] else "always"
        sentences.append(f"{verdict(nodes, leaf)} {reason}")
    return tuple(sentences)


def verdict(nodes: NodeTable, node: int, words: str = "") -> str:
    """Name the response that most pairs of a node prefer, with its percentage."""
    response = 2 if nodes.value[node, 1] > 0.5 else 1
    percent = 100 * nodes.value[node, response - 1]
    return f"response {response}{words} ({percent:.1f} %)"


def steps(nodes: NodeTable, difference: Real[np.ndarray, " attributes"]) -> tuple[Step, ...]:
    """List the splits that one pair passes, from the root on."""
    row = difference.tolist()
    passed = []
    node = 0
    while nodes.feature[node] >= 0:
        column = nodes.feature[node]
        step = _step(nodes, node, row[column])
        passed.append(step)
        node = nodes.children(node)[0 if step.goes_left else 1]
    return tuple(passed)


def _step(nodes: NodeTable, node: int, difference: float) -> Step:
    name = nodes.attributes[nodes.feature[node]]
    limit = nodes.threshold[node].item()
    goes_left = difference <= limit
    shown = f"{difference:.3g}"
    bound = f"{limit:.4g}"
    if (float(shown) <= float(bound)) != goes_left:  # rounding hides which one is larger
        shown = repr(difference)
        bound = repr(limit)
    child = nodes.children(node)[0 if goes_left else 1]
    likely = "as likely" if nodes.value[child, 1] == 0.5 else "more likely"
    sign = "<=" if goes_left else ">"
    conclusion = verdict(nodes, child, f" is {likely}")
    sentence = f"{isolate(name)}: difference {shown} {sign} {bound}, so {conclusion}"
    return Step(node, name, difference, limit, goes_left, sentence)

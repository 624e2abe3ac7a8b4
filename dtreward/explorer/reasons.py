"""Sentences that say why a response is preferred, all with one number format."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Real

from dtreward.models.comparison import Comparison
from dtreward.names import isolate
from dtreward.tree.nodes import NodeTable, Step
from dtreward.tree.rules import collapsed, verdict
from dtreward.tree.tree import PreferenceTree

DECIMALS = 2
MOST_DECIMALS = 6
AT_MOST = "at most"
ABOVE = "more than"


class Flip(NamedTuple):
    """A change of one attribute's difference that flips a preference.

    Attributes:
        attribute: whose difference changes; the others stay as they are.
        change: what is added to the difference.
        to: the difference afterwards: on a threshold, or the next number above one.
    """

    attribute: str
    change: float
    to: float


def smallest_flip(tree: PreferenceTree, difference: Real[np.ndarray, " attributes"]) -> Flip | None:
    """Find the smallest change of one attribute's difference that flips the tree's preference.

    Of several changes of the same size it is the first in the tree's preorder.

    Args:
        difference: response 2 minus response 1, shape (attributes,).

    Returns:
        the change, or None if no change of a single attribute flips the preference.

    Example:
        >>> smallest_flip(PreferenceTree.single_split("helpfulness", 0.5), np.array([2.0]))
        Flip(attribute='helpfulness', change=-1.5, to=0.5)
    """
    preference = tree.predict(difference[None])[0]
    flips = []
    for node in np.flatnonzero(tree.feature >= 0):  # between thresholds nothing changes
        column = tree.feature[node]
        threshold = tree.threshold[node]
        for value in (threshold.item(), np.nextafter(threshold, np.inf).item()):
            moved = np.array(difference, dtype=float)
            moved[column] = value
            if tree.predict(moved[None])[0] != preference:
                change = value - float(difference[column])
                flips.append(Flip(tree.attributes[column], change, value))
    return min(flips, key=lambda flip: abs(flip.change), default=None)


def in_decimals(*values: float) -> list[str]:
    """Write numbers with two decimals, or with as many more as different ones need to differ.

    Example:
        >>> in_decimals(1.38, -0.042)
        ['1.38', '-0.04']
        >>> in_decimals(-0.0431, -0.0424)
        ['-0.043', '-0.042']
        >>> in_decimals(-0.001)
        ['0.00']
    """
    for decimals in range(DECIMALS, MOST_DECIMALS + 1):
        shown = [f"{value:z.{decimals}f}" for value in values]
        if len(set(shown)) == len(set(values)):
            return shown
    return [repr(float(value)) for value in values]


def reasons_of(comparison: Comparison) -> list[str]:
    """Say in sentences what decides a comparison, and what would flip it.

    Example:
        >>> tree = PreferenceTree.single_split("helpfulness", -0.04)
        >>> rewards = np.array([[1.0], [2.38]])
        >>> reasons_of(Comparison.of(rewards, attributes=tree.attributes, tree=tree))[0]
        'helpfulness is 1.38 higher for response 2; the rule asks for more than -0.04, so response 2 is more likely (100.0 %).'
    """
    _, _, sentences = comparison.words()
    others = sentences[len(comparison.path) :]  # first of them: the effective rule
    if comparison.tree is not None:
        reasons = [_step_sentence(comparison.tree, step) for step in comparison.path]
        reasons += [f"In effect: {rule}" for rule in rule_sentences(comparison.tree)]
        flip = smallest_flip(comparison.tree, np.array(comparison.differences))
        return [*reasons, *others[1:], _flip_sentence(flip, comparison.preference)]
    if comparison.scores is not None:
        first, second = comparison.scores
        asked = f"{_higher('the score', second - first, 0.0)}; the rule asks for more than 0.00."
        return [asked[0].upper() + asked[1:], *others[1:]]
    return others


def rule_sentences(tree: NodeTable) -> list[str]:
    """Say the splits that decide: one sentence, or one for each leaf where there are several.

    Example:
        >>> rule_sentences(PreferenceTree.single_split("helpfulness", -0.0424))
        ['response 2 if the helpfulness difference is more than -0.04, else response 1.']
    """
    nodes = collapsed(tree)
    words = _conditions(nodes)
    leaves = np.flatnonzero(~nodes.is_split).tolist()
    prefers_second = nodes.value[:, 1] > 0.5
    if len(leaves) == 2:
        right = nodes.children(0)[1]
        inside = 2 if prefers_second[right] else 1
        return [f"response {inside} if {words[right]}, else response {3 - inside}."]
    sentences = []
    for leaf in leaves:
        condition = f"if {words[leaf]}" if words[leaf] else "always"
        sentences.append(f"{verdict(nodes, leaf)} {condition}.")
    return sentences


def _conditions(nodes: NodeTable) -> list[str]:
    """Say for each node which differences lead to it; "" at the root."""
    bounds: list[dict[tuple[int, str], float]] = [{} for _ in nodes.feature]
    for node in nodes.splits:
        column = int(nodes.feature[node])
        limit = nodes.threshold[node].item()
        left, right = nodes.children(node)
        lowest = min(limit, bounds[node].get((column, AT_MOST), limit))
        highest = max(limit, bounds[node].get((column, ABOVE), limit))
        bounds[left] = bounds[node] | {(column, AT_MOST): lowest}
        bounds[right] = bounds[node] | {(column, ABOVE): highest}
    sentences = []
    for bound in bounds:
        parts = []
        for (column, word), limit in bound.items():
            name = isolate(nodes.attributes[column])
            parts.append(f"the {name} difference is {word} {in_decimals(limit)[0]}")
        sentences.append(" and ".join(parts))
    return sentences


def _step_sentence(nodes: NodeTable, step: Step) -> str:
    """Say what one split asked, what the pair had, and what that makes likely."""
    child = nodes.children(step.node)[0 if step.goes_left else 1]
    likely = "as likely" if nodes.value[child, 1] == 0.5 else "more likely"
    asked = in_decimals(step.threshold, step.difference, 0.0)[0]
    had = _higher(isolate(step.attribute), step.difference, step.threshold)
    conclusion = verdict(nodes, child, f" is {likely}")
    return f"{had}; the rule asks for more than {asked}, so {conclusion}."


def _higher(name: str, difference: float, beside: float) -> str:
    """Say how much higher or lower response 2 is, in numbers that differ from one beside them."""
    if difference == 0:
        return f"{name} is the same for both responses"
    amount = in_decimals(difference, beside, 0.0)[0].removeprefix("-")
    way = "higher" if difference > 0 else "lower"
    return f"{name} is {amount} {way} for response 2"


def _flip_sentence(flip: Flip | None, preference: int) -> str:
    if flip is None:
        return "No change of a single attribute flips the preference."
    changed = _higher(isolate(flip.attribute), flip.change, 0.0).replace(" is ", " were ", 1)
    return (
        f"If {changed} than it is, response {2 - preference} would be preferred; no smaller change "
        "of one attribute flips the preference."
    )


def percent(share: float) -> str:
    """Write a share as a percentage, as in all sentences.

    Example:
        >>> percent(0.948)
        '94.8 %'
    """
    return f"{100 * share:.1f} %"


def list_words(words: Sequence[str]) -> str:
    """List words in a sentence.

    Example:
        >>> list_words(["Prompt", "Response 1", "Response 2"])
        'Prompt, Response 1 and Response 2'
    """
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last

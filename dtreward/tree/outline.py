"""Write a preference tree as nested lists, which a narrow screen shows without scrolling sideways."""

from __future__ import annotations

import re
from html import escape
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from dtreward.names import isolate
from dtreward.tree.nodes import NodeTable
from dtreward.tree.rules import collapsed, conditions, idle_splits, rule_sentences

STYLE = Path(__file__).with_name("outline.css")  # a page with an outline needs this file once
CONTROLS = r"\x00-\x1f\x7f-\x9f"
NO_CHARACTERS = r"\ud800-\udfff\ufffe\uffff"  # UTF-8 or HTML cannot hold them
DIRECTIONS = r"\u202a-\u202e\u2066-\u2069"  # reverse the text that follows
UNPRINTABLE = re.compile(f"[{CONTROLS}{NO_CHARACTERS}{DIRECTIONS}]")


def tree_outline(nodes: NodeTable, *, name: str = "") -> str:
    """Write a tree as one <div> of nested lists for a page that loads `STYLE`.

    Each node is a <details>: a split shows its question and contains its two sides, first "yes"
    (the difference is at or below the threshold), then "no". A leaf says which response is
    preferred; opened, it gives all its conditions. A split that decides nothing says so, and is
    closed: the splits that can be seen at first are those of the effective rule. The HTML has no
    script, no id and no blank line, so that it may stand in Markdown, and several times in a page.

    Args:
        nodes: the tree, or its table of nodes.
        name: whose preferences the tree predicts, for screen readers; "" leaves it out.

    Example:
        >>> from dtreward.tree import PreferenceTree
        >>> page = tree_outline(PreferenceTree.single_split("helpfulness", 0.5), name="Human")
        >>> page.splitlines()[0]
        '<div class="tree-outline" role="group" aria-label="Decision tree of Human">'
        >>> "Is the <bdi>helpfulness</bdi> difference" in page
        True
    """
    parts = _Parts(nodes)
    items = [""] * len(nodes.feature)
    for node in range(len(items))[::-1]:  # preorder: both sides are written before their split
        below = "\n".join(items[child] for child in nodes.children(node) if child >= 0)
        items[node] = parts.item(node, below)
    label = f"Decision tree of {name}" if name else "Decision tree"
    return (
        f'<div class="tree-outline" role="group" aria-label="{_text(label)}">\n'
        f'{_key(nodes)}\n<ul role="list">\n{items[0]}\n</ul>\n</div>'
    )


class _Parts:
    """Writes the list item of each node."""

    def __init__(self, nodes: NodeTable) -> None:
        self.nodes = nodes
        self.answers = _answers(nodes)
        self.conditions = conditions(nodes, _shown_names(nodes))
        self.is_idle = idle_splits(nodes)
        self.is_open = _open_splits(nodes)
        self.preferred = _preferred_below(nodes)

    def item(self, node: int, below: str) -> str:
        """Write one node as a list item, with the items of its two sides inside."""
        if self.nodes.is_split[node]:
            style = "idle split" if self.is_idle[node] else "split"
            says = f'<span class="says">{self._question(node)}</span>'
            inside = f'<ul role="list">\n{below}\n</ul>'
        else:
            style = f"leaf prefers-{self.preferred[node]}"
            says = f'<span class="says">{self._preference(node)}</span>'
            inside = f'<p class="conditions">{self._all_conditions(node)}</p>'
        opened = ' open=""' if self.is_open[node] else ""
        return (
            f'<li class="{style}"><details{opened}><summary>'
            f'<span class="words"><span class="answer">{self.answers[node]}</span> {says}</span> '
            f"{self._numbers(node)}</summary>\n{inside}\n</details></li>"
        )

    def _question(self, node: int) -> str:
        question = f"Is the {_condition(self.nodes, node, '<=')}?"
        if not self.is_idle[node]:
            return question
        remark = f"Decides nothing: both sides prefer response {self.preferred[node]}."
        return f'{question} <span class="remark">{remark}</span>'

    def _preference(self, leaf: int) -> str:
        if self.nodes.value[leaf, 1] == 0.5:
            return "Both responses are equally likely; this counts as response 1."
        return f"Response {self.preferred[leaf]} is preferred."

    def _all_conditions(self, leaf: int) -> str:
        words = self.conditions[leaf]
        return f"If {escape(words)}." if words else "Always."

    def _numbers(self, node: int) -> str:
        first, second = 100 * self.nodes.value[node]
        return (
            '<span class="numbers">'
            f'<span class="share">{100 * self.nodes.share[node]:.1f} % of the pairs:</span> '
            f'<span class="bar" style="--first: {first:.1f}%" aria-hidden="true"></span>'
            f'<span class="first">response 1 {first:.1f} %</span>, '
            f'<span class="second">response 2 {second:.1f} %</span>.</span>'
        )


def _answers(nodes: NodeTable) -> list[str]:
    """Say of each node which answer to the question above leads to it."""
    answers = ["All pairs."] * len(nodes.feature)
    for node in nodes.splits:
        left, right = nodes.children(node)
        answers[left] = f"<b>Yes</b>, {_condition(nodes, node, '<=')}."
        answers[right] = f"<b>No</b>, {_condition(nodes, node, '>')}."
    return answers


def _condition(nodes: NodeTable, node: int, sign: str) -> str:
    """Say the condition of one side of a split in the words of `rules.conditions`."""
    name = _text(nodes.attributes[nodes.feature[node]])
    bound = f"{escape(sign)} {nodes.threshold[node]:.4g}"
    return f'<bdi>{name}</bdi> difference <span class="bound">{bound}</span>'


def _open_splits(nodes: NodeTable) -> Bool[np.ndarray, " nodes"]:
    """Mark the splits that decide, and those that one click on an idle split above shows."""
    is_idle = idle_splits(nodes)
    is_open = nodes.is_split & ~is_idle
    for node in np.flatnonzero(is_idle).tolist():
        children = nodes.children(node)
        is_open[children] = nodes.is_split[children]
    return is_open


def _preferred_below(nodes: NodeTable) -> list[int]:
    """Give the response that the first leaf at or below each node prefers."""
    preferred = np.where(nodes.value[:, 1] > 0.5, 2, 1).tolist()
    for node in nodes.splits[::-1]:
        preferred[node] = preferred[nodes.left[node]]
    return preferred


def _key(nodes: NodeTable) -> str:
    """Say what the tree does in effect, what a difference is, and which colour is whose."""
    rule = rule_sentences(collapsed(nodes), _shown_names(nodes))
    idle = int(idle_splits(nodes).sum())
    total = len(nodes.splits)
    effect = f"{total - idle} of {total} splits decide"
    if len(rule) == 1:
        effect = escape(rule[0])
    hint = ""
    if idle:
        hint = '<span class="hint">Open a split that decides nothing to see both its sides.</span> '
    return (
        f'<p class="key">In effect: {effect}. {hint}A difference is response 2 minus response 1. '
        'Bars: <span class="first">response 1</span>, <span class="second">response 2</span>.</p>'
    )


def _shown_names(nodes: NodeTable) -> list[str]:
    """Give the attributes' names as sentences show them: cleaned first, isolated then."""
    return [isolate(_printable(name)) for name in nodes.attributes]


def _printable(words: str) -> str:
    """Put a space in the place of each character that no page can hold, or that reverses others."""
    return UNPRINTABLE.sub(" ", words)


def _text(words: str) -> str:
    """Escape words that can be printed."""
    return escape(_printable(words))

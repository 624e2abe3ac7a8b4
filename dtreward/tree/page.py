"""Draw a preference tree for the screen, as an SVG that needs no script."""

from __future__ import annotations

import re
import textwrap
from base64 import b64encode
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np
from matplotlib.colors import to_hex

from dtreward.figures import FILL, LINE
from dtreward.tree.layout import Layout, lay_out, passed_nodes
from dtreward.tree.nodes import NodeTable, Step
from dtreward.tree.rules import collapsed, conditions, idle_splits, rule_sentences

HINT = "Point at a node, or click it."
STYLE = Path(__file__).with_name("tree.css")
PIXELS = 72  # an inch
LINE_HEIGHT = PIXELS * LINE


def tree_svg(nodes: NodeTable, path: Sequence[Step] | None = None) -> str:
    """Draw a tree as one <svg> that needs nothing else, in a page or as a file.

    A node under the mouse, or clicked, shows its way from the root in black. Below the tree stand
    the differences that lead to it, its share and its probability. Splits that decide nothing are
    dashed.

    Args:
        nodes: the tree, or its table of nodes.
        path: the steps of one pair (`tree.path(...)`), drawn bold.
    """
    layout = lay_out(nodes)
    width, height = PIXELS * layout.size
    rule = rule_sentences(collapsed(nodes))
    remarks = _remarks(nodes)
    notes = [
        textwrap.wrap(remark, max(40, int(width / 5))) for remark in [_summary(nodes), *remarks]
    ]
    notes[0].append(HINT)  # a line of its own, which a still picture leaves out
    drawing = _Drawing(nodes, layout, path, remarks, notes[1:])
    parts = [drawing.node(0), _text(notes[0], 4.0, height - 12, "rule")]
    for answer in layout.answers:
        middle = PIXELS * layout.edge[answer.node]
        x, y = abs(middle.mean(axis=0) - [0, height])
        parts.append(_text([answer.word], x, y, answer.side))
    height += LINE_HEIGHT * max(map(len, notes)) - 18
    svg = f"{_opening(width, height, rule)}{''.join(parts)}</svg>"
    return re.sub("[\0-\x1f]", " ", svg)  # XML has no control characters, which a name may hold


def tree_html(nodes: NodeTable, path: Sequence[Step] | None = None) -> str:
    """Embed `tree_svg` in a page; where the page is not trusted, a still picture is left."""
    svg = tree_svg(nodes, path)
    (style,) = re.findall('style="[^"]*"', svg)[:1]
    words = escape(f"Decision tree: {'; '.join(rule_sentences(collapsed(nodes)))}.")
    live = f'"{_data_address(svg)}" {style}'
    still = f'"{_data_address(svg.replace(HINT, ""))}" {style}'
    return f'<object type="image/svg+xml" data={live}><img alt="{words}" src={still}/></object>'


class _Drawing:
    """Draws nodes, each around its two sides: the mouse on one is on all above it."""

    def __init__(
        self,
        nodes: NodeTable,
        layout: Layout,
        path: Sequence[Step] | None,
        remarks: Sequence[str],
        notes: Sequence[Sequence[str]],
    ) -> None:
        self.nodes = nodes
        self.layout = layout
        self.remarks = remarks
        self.notes = notes
        self.height = PIXELS * layout.size[1]
        self.is_passed = passed_nodes(nodes, path)
        self.style = np.select([idle_splits(nodes), nodes.is_split], ["idle", "decides"], "")

    def node(self, number: int) -> str:
        """Draw a node, the line that leads to it, and all below it."""
        ends = np.abs(PIXELS * self.layout.edge[number] - [0, self.height])
        line = "M{:.1f} {:.1f}L{:.1f} {:.1f}".format(*ends.flat)
        note = _text(self.notes[number], 4.0, self.height - 12, "says")
        below = ""
        if self.nodes.is_split[number]:
            below = "".join(map(self.node, self.nodes.children(number)))
        style = self.style[number] + (" on" if self.is_passed[number] else "")
        return f'<g class="{style}"><path d="{line}"/>{self._box(number)}{note}{below}</g>'

    def _box(self, number: int) -> str:
        x, y = PIXELS * self.layout.top[number]
        width, height = PIXELS * self.layout.extent[number]
        lines = self.layout.lines[number]
        fill = to_hex(FILL(self.nodes.value[number, 1]))
        box = (
            f'<rect x="{x - width / 2:.1f}" y="{self.height - y:.1f}" width="{width:.1f}" rx="4"'
            f' height="{height:.1f}" fill="{fill}"/>'
        )
        first = self.height - y + (height - LINE_HEIGHT * len(lines)) / 2 + 0.76 * LINE_HEIGHT
        words = _text(lines, x, first, "words")
        title = f"<title>{escape(self.remarks[number])}</title>"
        return f'<g class="box" tabindex="0">{title}{box}{words}</g>'


def _summary(nodes: NodeTable) -> str:
    """Say the effective rule, or how many splits decide."""
    rule = rule_sentences(collapsed(nodes))
    decide = (nodes.is_split & ~idle_splits(nodes)).sum()
    brief = rule[0] if len(rule) == 1 else f"{decide} of {nodes.is_split.sum()} splits decide"
    return f"In effect: {brief}. Dashed: the same on both sides."


def _remarks(nodes: NodeTable) -> list[str]:
    """Say of each node which pairs reach it, how many, and what they prefer."""
    return [
        f"{words or 'all'}: {share:.1%} of the pairs, {value[1]:.1%} for response 2"
        for words, share, value in zip(conditions(nodes), nodes.share, nodes.value, strict=True)
    ]


def _opening(width: float, height: float, rule: Sequence[str]) -> str:
    fit = f"width:100%;height:auto;min-width:{1.2 * width:.0f}px;max-width:{1.6 * width:.0f}px"
    size = f'viewBox="0 0 {width:.1f} {height:.1f}" style="{fit};aspect-ratio:{width / height:.4f}"'
    label = escape("; ".join(rule))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} class="preference-tree" role="group"'
        f' aria-label="{label}"><style>{STYLE.read_text("utf-8")}</style>'
    )


def _text(lines: Sequence[str], x: float, y: float, style: str) -> str:
    rows = []
    for number, line in enumerate(lines):
        rows.append(f'<text x="{x:.1f}" y="{y + LINE_HEIGHT * number:.1f}">{escape(line)}</text>')
    return f'<g class="{style}">{"".join(rows)}</g>'


def _data_address(svg: str) -> str:
    return "data:image/svg+xml;base64," + b64encode(svg.encode()).decode()

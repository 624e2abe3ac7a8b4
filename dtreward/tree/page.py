"""Draw a preference tree for the screen."""

import re
import textwrap
from base64 import b64encode
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np
from matplotlib.colors import to_hex

from dtreward.figures import FILL, LINE
from dtreward.tree.figure import _passed, _plan
from dtreward.tree.tree import PreferenceTree, Step

POINT = "Point at a node, or click it."
SCREEN = Path(__file__).with_name("tree.css")


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

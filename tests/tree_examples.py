"""Any small tree with rows of differences, drawn by hypothesis; pairs with a planted preference."""

import numpy as np
from hypothesis import strategies as st

from dtreward.tree.ablation import Sample
from dtreward.tree.document import HEAD
from dtreward.tree.tree import PreferenceTree

NAMES = ("a", "b", "c")
grid = st.integers(-8, 8).map(lambda step: step / 2)


@st.composite
def trees(draw, thresholds=grid):
    """Any tree of up to 12 leaves, its shares made up, even chances and zero shares among them."""
    leaf = st.integers(0, 8).map(lambda eighths: eighths / 8)
    nodes = []

    def split(sides):
        return st.tuples(st.sampled_from(NAMES), thresholds, sides, sides)

    def add(node, share):
        nodes.append(dict.fromkeys(("attribute", "threshold", "left", "right")))
        number, chance = len(nodes) - 1, node if isinstance(node, float) else draw(leaf)
        nodes[number] |= {"value": [1 - chance, chance], "share": share}
        if isinstance(node, tuple):
            nodes[number] |= {"attribute": node[0], "threshold": node[1]}
            for side, child in zip(("left", "right"), node[2:], strict=True):
                nodes[number][side] = add(child, draw(st.sampled_from((0.0, 0.1, 0.7))))
        return number

    add(draw(st.recursive(leaf, split, max_leaves=12)), 1.0)
    return PreferenceTree.from_dict(HEAD | {"attributes": list(NAMES), "nodes": nodes})


def rows():
    row = st.lists(grid, min_size=len(NAMES), max_size=len(NAMES))
    return st.lists(row, min_size=1, max_size=8).map(lambda table: np.array(table, dtype=float))


PLANTED_NAMES = ("a", "b")


def planted_sample(pairs, *, seed, noise=0.1):
    """Give pairs whose preference is whether the difference of `a` is above 0, but for some noise."""
    generator = np.random.default_rng(seed)
    differences = generator.normal(size=(pairs, len(PLANTED_NAMES)))
    votes = (differences[:, 0] > 0) ^ (generator.random(pairs) < noise)
    prompts = np.arange(pairs) // 2
    return Sample(PLANTED_NAMES, differences, votes.astype(int), prompts)

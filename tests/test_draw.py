"""Pictures: nothing overlaps or is cut, the same bytes each time, and they say what the tree says."""

import os
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb
from matplotlib.patches import FancyBboxPatch

from dtreward import draw
from dtreward.tree import PreferenceTree

STYLE = Path(__file__).parents[1] / "notebooks" / "paper.mplstyle"
NAMES = ("understandability", "naturalness", "maintains_context", "x")
PUBLISHED = ("Human", "GPT-4o", "Llama-3.1-8B", "Decision-Tree-Reward-Gemma-2-27B")


@pytest.fixture(autouse=True)
def closed_figures():
    matplotlib.use("Agg")
    yield
    plt.close("all")


def random_tree(seed, depth=5, leaves=None, pairs=300):
    generator = np.random.default_rng(seed)
    differences = generator.normal(size=(pairs, len(NAMES)))
    noisy = differences @ generator.normal(size=len(NAMES)) + generator.normal(size=pairs) > 0
    options = {"attributes": NAMES, "max_depth": depth, "max_leaves": leaves}
    return PreferenceTree.fit(differences, noisy.astype(int), **options)


def boxes(ax):
    renderer = ax.figure.canvas.get_renderer()
    patches = [patch for patch in ax.patches if isinstance(patch, FancyBboxPatch)]
    return {patch: patch.get_window_extent(renderer) for patch in patches}


def overlap(one, other):
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    return width > 0 and height > 0


def assert_nothing_overlaps_or_is_cut(ax):
    renderer, extents = ax.figure.canvas.get_renderer(), list(boxes(ax).values())
    assert not any(overlap(*pair) for pair in combinations(extents, 2))
    texts = [text.get_window_extent(renderer) for text in ax.texts if text.get_text()]
    assert not any(overlap(*pair) for pair in combinations([t.padded(-1) for t in texts], 2))
    for text in texts:  # wholly in one box, or in none
        over = [box for box in extents if overlap(text, box)]
        assert all(box.x0 <= text.x0 and text.x1 <= box.x1 for box in over) and len(over) <= 1
    whole = ax.figure.bbox
    for extent in texts + extents:
        assert whole.x0 <= extent.x0 and extent.x1 <= whole.x1
        assert whole.y0 <= extent.y0 and extent.y1 <= whole.y1


def font_sizes(ax):
    return {round(text.get_fontsize(), 9) for text in ax.texts}  # the canvas' scale is a quotient


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6), depth=st.integers(1, 5), leaves=st.integers(2, 20))
def test_no_box_or_text_of_a_tree_overlaps_or_is_cut(seed, depth, leaves):
    ax = draw.draw_tree(random_tree(seed, depth, leaves), effective=True, title="A tree")
    assert_nothing_overlaps_or_is_cut(ax)
    plt.close(ax.figure)


def test_a_full_tree_of_depth_5_with_long_names_is_legible():
    tree = random_tree(0, pairs=3000)
    ax = draw.draw_tree(tree)
    assert tree.n_leaves > 24
    assert_nothing_overlaps_or_is_cut(ax)
    assert font_sizes(ax) == {8.0}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_trees_fit_a_page_at_8_points(name):
    ax = draw.draw_tree(PreferenceTree.published(name), title=name)
    assert ax.figure.get_size_inches()[0] <= 6.75
    assert font_sizes(ax) == {8.0}
    assert_nothing_overlaps_or_is_cut(ax)


@pytest.mark.parametrize("style", ["default", STYLE])
def test_a_tree_shrinks_into_the_axes_that_it_is_given(style):
    with plt.style.context(style):
        ax = plt.subplots(figsize=(3.25, 2))[1]
        assert draw.draw_tree(PreferenceTree.published("Human"), ax=ax) is ax
        assert_nothing_overlaps_or_is_cut(ax)
        assert 2 < ax.texts[0].get_fontsize() < 8


def test_boxes_say_what_the_nodes_hold():
    ax = draw.draw_tree(PreferenceTree.published("Human"))
    words = [text.get_text() for text in ax.texts]
    assert {"helpfulness ≤ 0.5", "helpfulness ≤ −0.5", "57.2 %", "85.1 / 14.9"} <= set(words)
    left, right = (words.index(word) for word in ("yes ", " no"))
    root_x = ax.texts[words.index("100.0 %")].get_position()[0]
    assert ax.texts[left].get_position()[0] < root_x < ax.texts[right].get_position()[0]


def test_fill_is_white_at_one_half_and_response_2_is_blue():
    assert draw.FILL(0.5)[:3] == pytest.approx((1, 1, 1), abs=0.01)  # 256 colours, none at 0.5
    red, _, blue = draw.FILL(1.0)[:3]
    assert blue > red
    red, _, blue = draw.FILL(0.0)[:3]
    assert red > blue


def test_the_path_of_a_pair_is_drawn_bold():
    tree = PreferenceTree.published("Human")
    path = tree.path(np.array([0.0, 0.0, 1.0, 0.0, 0.0]))
    ax = draw.draw_tree(tree, path=path)
    bold = [patch for patch in boxes(ax) if patch.get_edgecolor()[:3] == (0, 0, 0)]
    edges = [line for line in ax.lines if to_rgb(line.get_color()) == (0, 0, 0)]
    assert (len(bold), len(edges)) == (len(path) + 1, len(path)) == (4, 3)
    leaf_fill = draw.FILL(tree.probability(np.array([[0.0, 0.0, 1.0, 0.0, 0.0]]))[0])
    assert leaf_fill in [patch.get_facecolor() for patch in bold]


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6), leaves=st.integers(2, 12))
def test_dashed_splits_are_those_that_the_effective_rule_drops(seed, leaves):
    tree = random_tree(seed, 4, leaves)
    ax = draw.draw_tree(tree, effective=True)
    dashed = [patch for patch in boxes(ax) if patch.get_linestyle() != "solid"]
    plt.close(ax.figure)
    assert len(dashed) == tree.n_leaves - tree.effective_rule().n_leaves


def test_a_split_that_decides_is_not_dashed():
    ax = draw.draw_tree(PreferenceTree.single_split("helpfulness", 0.0), effective=True)
    assert all(patch.get_linestyle() == "solid" for patch in boxes(ax))
    assert not any("dashed" in text.get_text() for text in ax.texts)


def test_a_single_leaf_can_be_drawn():
    whole = PreferenceTree.single_split("helpfulness", 0.0).to_dict()
    whole["nodes"][1]["value"] = [0.3, 0.7]
    ax = draw.draw_tree(PreferenceTree.from_dict(whole).effective_rule())
    assert len(boxes(ax)) == 1
    assert_nothing_overlaps_or_is_cut(ax)


def test_svg_is_one_deterministic_element_without_global_marks():
    tree = PreferenceTree.published("Human")
    path = tree.path(np.zeros(5))
    svg = draw.tree_svg(tree, path)
    root = ElementTree.fromstring(svg)
    assert root.tag.endswith("svg") and "width:100%" in root.get("style")
    assert svg == draw.tree_svg(tree, path) != draw.tree_svg(tree)
    assert plt.get_fignums() == []
    for mark in ("<style", " id=", "<?xml", "date", "matplotlib", str(Path.home())):
        assert mark not in svg
    with plt.style.context(STYLE):
        assert draw.tree_svg(tree, path) == svg


def test_svg_escapes_names():
    tree = PreferenceTree.single_split('<b>&"$x$', 0.5)
    texts = [element.text for element in ElementTree.fromstring(draw.tree_svg(tree)).iter()]
    assert '<b>&"$x$ ≤ 0.5' in texts


def test_architecture_names_the_backbone_and_every_attribute():
    ax = plt.subplots(figsize=(6.75, 1.9))[1]
    draw.draw_architecture(ax, backbone="Skywork-Reward-Gemma-2-27B-v0.2", attributes=NAMES)
    words = [text.get_text() for text in ax.texts]
    assert set(NAMES) <= set(words)
    assert "Skywork-Reward-Gemma-2-27B-v0.2" in "".join(words)
    assert_nothing_overlaps_or_is_cut(ax)


def test_reward_bars_are_as_long_as_the_rewards():
    ax, rewards = plt.subplots()[1], np.array([[3.5, -1.0], [2.0, 0.5]])
    draw.draw_reward_bars(ax, rewards, ["helpfulness", "verbosity"])
    lengths = [[bar.get_width() for bar in bars] for bars in ax.containers]
    assert lengths == rewards.tolist()
    first, second = (bars[0].get_window_extent().y0 for bars in ax.containers)
    assert first > second
    assert [label.get_text() for label in ax.get_yticklabels()] == ["helpfulness", "verbosity"]


def test_every_attribute_and_published_judge_has_a_colour_of_its_own():
    judges = pd.read_csv(STYLE.parents[1] / "data" / "published" / "consistency.csv")["judge"]
    names = [*draw.ATTRIBUTE_COLOURS, "Human", *judges]
    assert len({draw.colour(name) for name in names}) == len(names)
    assert draw.colour("naturalness") == draw.colour("naturalness") != draw.colour("engagingness")


SCRIPT = """
import sys
from matplotlib import pyplot as plt
from dtreward import draw
from dtreward.tree import PreferenceTree
ax = draw.draw_tree(PreferenceTree.published("Human"))
for path in draw.save_figure(ax.figure, sys.argv[1]):
    print(path.name)
assert plt.fignum_exists(ax.figure.number)
"""


def test_saved_figures_have_the_same_bytes_in_every_process(tmp_path):
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, tmp_path / hash_seed / "tree-v0.2"],
            env=os.environ | {"PYTHONHASHSEED": hash_seed, "MPLBACKEND": "Agg"},
            stdout=subprocess.PIPE,
            text=True,
        )
        for hash_seed in ("1", "2")
    ]
    for run in runs:
        assert run.communicate()[0].split() == ["tree-v0.2.pdf", "tree-v0.2.png"]
        assert run.returncode == 0
    for name in ("tree-v0.2.pdf", "tree-v0.2.png"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()
    assert b"CreationDate" not in (tmp_path / "1" / "tree-v0.2.pdf").read_bytes()


def test_saving_twice_changes_nothing_and_leaves_the_figure_open(tmp_path):
    figure, ax = plt.subplots()
    ax.plot([0, 1], label="a")
    first = [path.read_bytes() for path in draw.save_figure(figure, tmp_path / "a")]
    assert [path.read_bytes() for path in draw.save_figure(figure, tmp_path / "a")] == first
    assert plt.fignum_exists(figure.number)


def test_the_style_file_is_for_print():
    style = matplotlib.rc_params_from_file(STYLE, use_default_template=False)
    assert (style["pdf.fonttype"], style["font.size"], style["savefig.dpi"]) == (42, 8, 200)
    assert style["figure.figsize"][0] == 3.25
    assert not style["axes.spines.top"] and not style["axes.spines.right"]
    colours = style["axes.prop_cycle"].by_key()["color"]
    assert len(set(colours)) == len(colours) >= 6

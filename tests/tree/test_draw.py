"""Pictures: nothing overlaps or is cut, the same bytes each time, and they say what the tree says."""

import os
import re
import subprocess
import sys
from base64 import b64decode
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import browser
import matplotlib
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb
from matplotlib.patches import FancyBboxPatch

from dtreward.figures import (
    ATTRIBUTE_COLOURS,
    FILL,
    colour,
    draw_architecture,
    draw_reward_bars,
    save_figure,
)
from dtreward.tree.figure import draw_tree
from dtreward.tree.page import HINT, tree_html, tree_svg
from dtreward.tree.rules import collapsed, rule_sentences
from dtreward.tree.tree import PreferenceTree

STYLE = Path(__file__).parents[2] / "notebooks" / "paper.mplstyle"
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
    ax = draw_tree(random_tree(seed, depth, leaves), effective=True, title="A tree")
    assert_nothing_overlaps_or_is_cut(ax)
    plt.close(ax.figure)


def test_a_full_tree_of_depth_5_with_long_names_is_legible():
    tree = random_tree(0, pairs=3000)
    ax = draw_tree(tree)
    assert tree.n_leaves > 24
    assert_nothing_overlaps_or_is_cut(ax)
    assert font_sizes(ax) == {8.0}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_trees_fit_a_page_at_8_points(name):
    ax = draw_tree(PreferenceTree.published(name), title=name)
    assert ax.figure.get_size_inches()[0] <= 6.75
    assert font_sizes(ax) == {8.0}
    assert_nothing_overlaps_or_is_cut(ax)


@pytest.mark.parametrize("style", ["default", STYLE])
def test_a_tree_shrinks_into_the_axes_that_it_is_given(style):
    with plt.style.context(style):
        ax = plt.subplots(figsize=(3.25, 2))[1]
        assert draw_tree(PreferenceTree.published("Human"), ax=ax) is ax
        assert_nothing_overlaps_or_is_cut(ax)
        assert 2 < ax.texts[0].get_fontsize() < 8


def test_boxes_say_what_the_nodes_hold():
    ax = draw_tree(PreferenceTree.published("Human"))
    words = [text.get_text() for text in ax.texts]
    assert {"helpfulness ≤ 0.5", "helpfulness ≤ −0.5", "57.2 %", "85.1 / 14.9"} <= set(words)
    left, right = (words.index(word) for word in ("yes ", " no"))
    root_x = ax.texts[words.index("100.0 %")].get_position()[0]
    assert ax.texts[left].get_position()[0] < root_x < ax.texts[right].get_position()[0]


def test_fill_is_white_at_one_half_and_response_2_is_blue():
    assert FILL(0.5)[:3] == pytest.approx((1, 1, 1), abs=0.01)  # 256 colours, none at 0.5
    red, _, blue = FILL(1.0)[:3]
    assert blue > red
    red, _, blue = FILL(0.0)[:3]
    assert red > blue


def test_the_path_of_a_pair_is_drawn_bold():
    tree = PreferenceTree.published("Human")
    path = tree.path(np.array([0.0, 0.0, 1.0, 0.0, 0.0]))
    ax = draw_tree(tree, path=path)
    bold = [patch for patch in boxes(ax) if patch.get_edgecolor()[:3] == (0, 0, 0)]
    edges = [line for line in ax.lines if to_rgb(line.get_color()) == (0, 0, 0)]
    assert (len(bold), len(edges)) == (len(path) + 1, len(path)) == (4, 3)
    leaf_fill = FILL(tree.probability(np.array([[0.0, 0.0, 1.0, 0.0, 0.0]]))[0])
    assert leaf_fill in [patch.get_facecolor() for patch in bold]


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6), leaves=st.integers(2, 12))
def test_dashed_splits_are_those_that_the_effective_rule_drops(seed, leaves):
    tree = random_tree(seed, 4, leaves)
    ax = draw_tree(tree, effective=True)
    dashed = [patch for patch in boxes(ax) if patch.get_linestyle() != "solid"]
    plt.close(ax.figure)
    assert len(dashed) == tree.n_leaves - tree.effective_rule().n_leaves


def test_a_split_that_decides_is_not_dashed():
    ax = draw_tree(PreferenceTree.single_split("helpfulness", 0.0), effective=True)
    assert all(patch.get_linestyle() == "solid" for patch in boxes(ax))
    assert not any("dashed" in text.get_text() for text in ax.texts)


def test_a_single_leaf_can_be_drawn():
    whole = PreferenceTree.single_split("helpfulness", 0.0).to_dict()
    whole["nodes"][1]["value"] = [0.3, 0.7]
    ax = draw_tree(PreferenceTree.from_dict(whole).effective_rule())
    assert len(boxes(ax)) == 1
    assert_nothing_overlaps_or_is_cut(ax)


def test_svg_is_one_deterministic_element_without_global_marks():
    tree = PreferenceTree.published("Human")
    path = tree.path(np.zeros(5))
    svg = tree_svg(tree, path)
    root = ElementTree.fromstring(svg)
    assert root.tag.endswith("svg") and "width:100%" in root.get("style")
    assert svg == tree_svg(tree, path) != tree_svg(tree)
    assert plt.get_fignums() == []
    for mark in (
        "http-equiv",
        "url(",
        "@import",
        " id=",
        "<?xml",
        "date",
        "matplotlib",
        str(Path.home()),
    ):
        assert mark not in svg
    style = re.sub(r"/\*.*?\*/", "", re.search(r"<style>(.*?)</style>", svg, re.DOTALL)[1])
    selectors = re.sub(r"{.*?}", ",", style).split(",\n")
    assert all(each.startswith(".preference-tree") for each in map(str.strip, selectors) if each)
    with plt.style.context(STYLE):
        assert tree_svg(tree, path) == svg


LONG = ("factual_correctness_of_the_claims", "helpfulness to the person who asked", "x")
LONG += ("instruction-following", "an_attribute_whose_name_has_no_end_and_" + 30 * "z")


def deep_tree(depth, leaves=40):
    """A grown tree of long names, as deep as asked: its noise has many small steps to learn."""
    generator = np.random.default_rng(depth)
    differences = generator.normal(size=(2000, len(LONG)))
    pull = differences @ np.array([1, 1, 0.6, 0.4, 0.2]) + np.sin(3 * differences[:, 0])
    votes = (pull + generator.normal(size=len(pull)) > 0).astype(int)
    options = {"max_depth": depth, "max_leaves": leaves, "min_leaf": 5}
    return PreferenceTree.fit(differences, votes, attributes=LONG, **options)


@pytest.mark.parametrize("depth", [5, 6, 7, 8])
def test_deep_trees_of_long_names_are_legible_and_fit_a_page(depth):
    tree = deep_tree(depth)
    ax = draw_tree(tree, effective=True, title="deep")
    assert tree.depth == depth and tree.n_leaves > 24
    assert_nothing_overlaps_or_is_cut(ax)
    page = plt.figure(figsize=(6.75, 9)).add_subplot()
    draw_tree(deep_tree(depth, leaves=24), ax=page, effective=True)
    assert min(font_sizes(page)) > 3.8 and max(font_sizes(ax)) == 8.0
    assert_nothing_overlaps_or_is_cut(page)


def test_a_broken_name_is_whole_when_its_lines_are_joined():
    tree = deep_tree(6)
    ax = draw_tree(tree)
    words = "".join(text.get_text() for text in ax.texts).replace(" ", "")
    for name in {tree.attributes[each] for each in tree.feature if each >= 0}:
        assert name.replace(" ", "") in words


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), depth=st.integers(1, 6))
def test_a_node_of_the_svg_stands_inside_all_nodes_on_its_way_from_the_root(seed, depth):
    """So that the browser marks its whole way when the mouse is on it."""
    tree = random_tree(seed, depth)
    root = ElementTree.fromstring(tree_svg(tree))
    space = {"s": "http://www.w3.org/2000/svg"}
    words, conditions = [], tree.conditions()
    above = {child: parent for parent in root.iter() for child in parent}
    for box in root.iterfind(".//s:g[@class='box']", space):
        words.append(box.find("s:title", space).text)
        group, level = above[above[box]], 0
        while group is not root:
            group, level = above[group], level + 1
        node = len(words) - 1
        assert level == sum(node in range(n, _end(tree, n)) for n in range(node))
        assert words[-1].startswith(f"{conditions[node] or 'all'}: {tree.share[node]:.1%} of the")
        assert words[-1].endswith(f", {tree.value[node, 1]:.1%} for response 2")
    assert len(words) == len(tree.feature)


def _end(tree, node):
    """One more than the last node below, in preorder."""
    while tree.feature[node] >= 0:
        node = tree.right[node]
    return node + 1


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), depth=st.integers(1, 5))
def test_the_conditions_of_a_node_hold_for_the_pairs_that_come_to_it_and_no_others(seed, depth):
    tree, rows = random_tree(seed, depth), np.random.default_rng(seed).normal(size=(200, 4))
    for leaf in np.flatnonzero(tree.feature < 0):
        holds = np.ones(len(rows), dtype=bool)
        for each in tree.conditions()[leaf].split(" and "):
            name, _, sign, limit = each.split(" ")
            near = float(limit) + 1e-3 * abs(float(limit)) * np.array([-1, 1])  # four digits shown
            values = rows[:, NAMES.index(name)]
            sure = (values < near[0]) | (values > near[1])
            holds &= (values <= float(limit)) == (sign == "<=")
            rows, holds = rows[sure], holds[sure]
        assert (holds == (tree.apply(rows) == leaf)).all()


@pytest.mark.skipif(not browser.chromium(), reason="no Chromium on this machine")
def test_the_mouse_and_a_click_show_a_nodes_rule_share_probability_and_way(tmp_path):
    tree = PreferenceTree.published("Human")
    (tmp_path / "tree.svg").write_text(tree_svg(tree))  # the file alone, opened in a browser
    seen = "[...document.querySelectorAll('.says, .rule')]"
    seen += ".filter(e => getComputedStyle(e).visibility == 'visible').map(e => e.textContent)"
    bold = "[...document.querySelectorAll('.box rect')]"
    bold += ".flatMap((e, n) => getComputedStyle(e).strokeWidth == '1.6px' ? [n] : [])"
    way = [step.node for step in tree.path(np.array([-1.0, -1.0, 0.0, 0.0, 0.0]))]
    (leaf,) = tree.apply(np.array([[-1.0, -1.0, 0.0, 0.0, 0.0]]))
    with browser.page(tmp_path) as page:
        page.send("Page.navigate", url=(tmp_path / "tree.svg").as_uri())
        page.wait("the tree", "document.querySelectorAll('.box').length == 15")
        assert len(page.evaluate(seen)) == 1 and "In effect" in page.evaluate(seen)[0]
        assert page.evaluate(bold) == []
        page.click(f"document.querySelectorAll('.box')[{leaf}]")
        assert page.evaluate(bold) == [*way, leaf]
        (told,) = page.evaluate(seen)
        assert tree.conditions()[leaf] in told.replace("responsehelp", "response help")
        assert f"{tree.share[leaf]:.1%}" in told and f"{tree.value[leaf, 1]:.1%}" in told
        page.send("Input.dispatchMouseEvent", type="mouseMoved", x=1, y=1)
        assert page.evaluate(bold) == [*way, leaf]  # a click stays
        middle = f"(r => [r.x + 9, r.y + 9])(document.querySelectorAll('.box')[{way[1]}]"
        x, y = page.evaluate(f"{middle}.getBoundingClientRect())")
        page.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        (told,) = page.evaluate(seen)  # the mouse is heard first
        assert tree.conditions()[way[1]] in told


def test_what_a_page_embeds_is_the_svg_and_no_words_are_left_without_it():
    tree = PreferenceTree.published("Human")
    page = ElementTree.fromstring(tree_html(tree, tree.path(np.zeros(5))))
    (picture,) = page
    assert picture.get("alt") == f"Decision tree: {'; '.join(rule_sentences(collapsed(tree)))}."
    shown = []
    for data in (page.get("data"), picture.get("src")):
        kind, coded = data.split(",")
        assert kind == "data:image/svg+xml;base64"
        shown.append(b64decode(coded).decode())
    assert shown[0] == tree_svg(tree, tree.path(np.zeros(5)))
    assert "click it" in shown[0] and shown[1] == shown[0].replace(HINT, "")
    assert "".join(page.itertext()) == ""


def test_a_name_with_control_characters_is_drawn_in_lines_of_its_own():
    tree = PreferenceTree.single_split("a\nb\x01c", 0.5)
    texts = [each.get_text() for each in draw_tree(tree).texts]
    assert "a b c ≤ 0.5" in texts and not any("\n" in each for each in texts)
    assert "a b c" in "".join(ElementTree.fromstring(tree_svg(tree)).itertext())


def test_svg_is_a_light_card_where_the_page_is_dark():
    svg = tree_svg(PreferenceTree.published("Human"))
    assert re.search(r"\.preference-tree {[^}]*background: #fff", svg)


def test_svg_escapes_names():
    tree = PreferenceTree.single_split('<b>&"$x$', 0.5)
    texts = [element.text for element in ElementTree.fromstring(tree_svg(tree)).iter()]
    assert '<b>&"$x$ ≤ 0.5' in texts


def test_architecture_names_the_backbone_and_every_attribute():
    ax = plt.subplots(figsize=(6.75, 1.9))[1]
    draw_architecture(ax, backbone="Skywork-Reward-Gemma-2-27B-v0.2", attributes=NAMES)
    words = [text.get_text() for text in ax.texts]
    assert set(NAMES) <= set(words)
    assert "Skywork-Reward-Gemma-2-27B-v0.2" in "".join(words)
    assert_nothing_overlaps_or_is_cut(ax)


def test_reward_bars_are_as_long_as_the_rewards():
    ax, rewards = plt.subplots()[1], np.array([[3.5, -1.0], [2.0, 0.5]])
    draw_reward_bars(ax, rewards, ["helpfulness", "verbosity"])
    lengths = [[bar.get_width() for bar in bars] for bars in ax.containers]
    assert lengths == rewards.tolist()
    first, second = (bars[0].get_window_extent().y0 for bars in ax.containers)
    assert first > second
    assert [label.get_text() for label in ax.get_yticklabels()] == ["helpfulness", "verbosity"]


def test_every_attribute_and_published_judge_has_a_colour_of_its_own():
    judges = pd.read_csv(STYLE.parents[1] / "dtreward" / "published" / "consistency.csv")["judge"]
    names = [*ATTRIBUTE_COLOURS, "Human", *judges]
    assert len({colour(name) for name in names}) == len(names)
    assert colour("naturalness") == colour("naturalness") != colour("engagingness")


SCRIPT = """
import sys
from matplotlib import pyplot as plt
from dtreward.figures import ATTRIBUTE_COLOURS, draw_reward_bars, draw_architecture, FILL, colour, save_figure
from dtreward.tree.page import tree_html, tree_svg, HINT
from dtreward.tree.figure import draw_tree
from dtreward.tree.tree import PreferenceTree
ax = draw_tree(PreferenceTree.published("Human"))
for path in save_figure(ax.figure, sys.argv[1]):
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
    first = [path.read_bytes() for path in save_figure(figure, tmp_path / "a")]
    assert [path.read_bytes() for path in save_figure(figure, tmp_path / "a")] == first
    assert plt.fignum_exists(figure.number)


def test_the_style_file_is_for_print():
    style = matplotlib.rc_params_from_file(STYLE, use_default_template=False)
    assert (style["pdf.fonttype"], style["font.size"], style["savefig.dpi"]) == (42, 8, 200)
    assert style["figure.figsize"][0] == 3.25
    assert not style["axes.spines.top"] and not style["axes.spines.right"]
    colours = style["axes.prop_cycle"].by_key()["color"]
    assert len(set(colours)) == len(colours) >= 6


def test_a_split_that_does_not_recur_is_faint_with_all_below_it_and_the_figure_says_so():
    tree = PreferenceTree.published("Human")
    is_doubtful = np.zeros(len(tree.feature), dtype=bool)
    doubtful = tree.splits[-1]
    is_doubtful[doubtful] = True
    ax = draw_tree(tree, is_doubtful=is_doubtful)
    faint = {doubtful, *tree.children(doubtful)}
    boxes = [patch for patch in ax.patches if isinstance(patch, FancyBboxPatch)]
    assert {number for number, box in enumerate(boxes) if box.get_alpha() < 1} == faint
    assert "faint: did not recur on resamples" in [text.get_text() for text in ax.texts]
    plt.close(ax.figure)

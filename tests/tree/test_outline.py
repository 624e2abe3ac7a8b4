"""Outlines: every node of the tree once, in the words of its rules, as text that fits a phone."""

import re
from itertools import pairwise
from xml.etree import ElementTree

import browser
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tree_examples import trees

from dtreward.figures import RESPONSE_COLOURS
from dtreward.names import isolate
from dtreward.tree.document import HEAD
from dtreward.tree.outline import STYLE, tree_outline
from dtreward.tree.tree import PreferenceTree

# beartype, which checks arguments while trees are drawn, looks at a random item of each list.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module")
PUBLISHED = ("Human", "GPT-4o", "Llama-3.1-8B", "Decision-Tree-Reward-Gemma-2-27B")
PHONE = 390  # pixels
READABLE = 4.5  # contrast of text that WCAG 2.2 (1.4.3) asks for


def items(tree):
    """Give the list items of a tree's outline, in the order of the page."""
    return list(parse(tree_outline(tree)).iter("li"))


def parse(page):
    """Read an outline, which is well-formed XML too."""
    return ElementTree.fromstring(page)


def summary(item):
    """Give the part of a list item that is always seen."""
    return item.find("details/summary")


def words(item, name):
    """Give the text of the part of a node that has a class; None where it has none."""
    part = summary(item).find(f".//*[@class='{name}']")
    return None if part is None else "".join(part.itertext())


def parents(tree):
    """Give the parent of each node but the root."""
    return {child: node for node in tree.splits for child in tree.children(node)}


def way(tree, node):
    """Give the nodes from the root to one, without the root."""
    above = parents(tree)
    passed = []
    while node in above:
        passed.append(node)
        node = above[node]
    return passed[::-1]


def leaves(tree):
    """Give the numbers of the leaves."""
    return np.flatnonzero(~tree.is_split).tolist()


@given(trees())
def test_every_node_of_the_tree_appears_once_inside_its_parent(tree):
    nodes = items(tree)
    assert len(nodes) == len(tree.feature)
    for node, item in enumerate(nodes):
        assert ("split" in item.get("class").split()) == tree.is_split[node]
        assert ("leaf" in item.get("class").split()) == (not tree.is_split[node])
        inside = item.findall("details/ul/li")
        below = [child for child in tree.children(node) if child >= 0]
        assert inside == [nodes[child] for child in below]


@given(trees())
def test_a_leaf_opened_says_the_conditions_of_the_rules(tree):
    nodes = items(tree)
    for leaf in leaves(tree):
        said = nodes[leaf].findtext("details/p")
        condition = tree.conditions()[leaf]
        assert said == (f"If {condition}." if condition else "Always.")


@given(trees())
def test_the_answers_on_the_way_to_a_node_are_its_conditions(tree):
    nodes = items(tree)
    assert words(nodes[0], "answer") == "All pairs."
    for node in range(1, len(nodes)):
        tightest = {}
        for passed in way(tree, node):
            said = words(nodes[passed], "answer")
            answer, name, sign, limit = re.fullmatch(
                r"(Yes|No), (.*) difference (<=|>) (\S+)\.", said
            ).groups()
            assert answer == ("Yes" if sign == "<=" else "No")
            tighter = min if sign == "<=" else max
            before = tightest.get((name, sign), limit)
            tightest[name, sign] = tighter(before, limit, key=float)
        clauses = [f"{name} difference {sign} {limit}" for (name, sign), limit in tightest.items()]
        assert tree.conditions()[node] == " and ".join(clauses)


@given(trees())
def test_the_answer_yes_is_the_question_of_the_split_above(tree):
    nodes = items(tree)
    for node in tree.splits:
        question = re.match(r"Is the (.*)\?", words(nodes[node], "says"))[1]
        name = tree.attributes[tree.feature[node]]
        assert question == f"{name} difference <= {tree.threshold[node]:.4g}"
        yes, no = tree.children(node)
        assert words(nodes[yes], "answer") == f"Yes, {question}."
        assert words(nodes[no], "answer") == f"No, {question.replace('<=', '>')}."


@given(trees())
def test_a_leaf_says_the_response_that_the_tree_predicts(tree):
    nodes = items(tree)
    for leaf in leaves(tree):
        chance = tree.value[leaf, 1]
        response = 2 if chance > 0.5 else 1
        said = words(nodes[leaf], "says")
        assert f"prefers-{response}" in nodes[leaf].get("class")
        if chance == 0.5:
            assert said == "Both responses are equally likely; this counts as response 1."
        else:
            assert said == f"Response {response} is preferred."


@given(trees())
def test_splits_that_decide_nothing_and_only_they_say_so(tree):
    nodes = items(tree)
    for node, is_idle in enumerate(tree.idle_splits().tolist()):
        remark = words(nodes[node], "remark")
        assert ("idle" in nodes[node].get("class").split()) == is_idle == (remark is not None)
        if is_idle:
            below = {item.get("class") for item in nodes[node].iter("li")}
            (leaf,) = [each for each in below if each.startswith("leaf")]
            assert remark == f"Decides nothing: both sides prefer response {leaf[-1]}."


@given(trees())
def test_the_nodes_that_are_seen_at_first_are_those_of_the_effective_rule(tree):
    nodes = items(tree)
    is_open = [item.find("details").get("open") is not None for item in nodes]
    seen = [
        node
        for node in range(len(nodes))
        if all(is_open[above] for above, _ in pairwise([0, *way(tree, node)]))
    ]
    assert [tree.conditions()[node] for node in seen] == list(tree.effective_rule().conditions())


@given(trees())
def test_one_click_on_a_closed_split_opens_all_below_it(tree):
    for item in items(tree):
        if "split" in item.get("class") and item.find("details").get("open") is None:
            below = [each for each in item.iter("li") if each is not item]
            splits = [each for each in below if "split" in each.get("class")]
            assert all(each.find("details").get("open") is not None for each in splits)


@given(trees())
def test_numbers_are_the_trees_in_percent(tree):
    for node, item in enumerate(items(tree)):
        first, second = 100 * tree.value[node]
        assert words(item, "share") == f"{100 * tree.share[node]:.1f} % of the pairs:"
        assert words(item, "first") == f"response 1 {first:.1f} %"
        assert words(item, "second") == f"response 2 {second:.1f} %"
        bar = summary(item).find(".//*[@class='bar']")
        assert bar.get("style") == f"--first: {first:.1f}%"
        assert bar.get("aria-hidden") == "true" and not bar.text


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_key_says_what_the_tree_does_in_effect(name):
    tree = PreferenceTree.published(name)
    key = "".join(parse(tree_outline(tree)).find("p").itertext())
    rule = tree.effective_rule()
    effect = f"{len(rule.splits)} of {len(tree.splits)} splits decide"
    if rule.n_leaves == 2:
        effect = rule.rule_sentences()[0]
    assert key.startswith(f"In effect: {effect}. ")
    assert "A difference is response 2 minus response 1." in key


def shape(page):
    """Give the tags and attributes of a page, without its words."""
    return [(part.tag, part.attrib) for part in parse(page).iter()]


HOSTILE = st.text(min_size=1) | st.sampled_from(
    [
        "<script>alert(1)</script>",
        "\"' onload=alert(1) x='",
        "</details></div><!--",
        "a\n\n    code\n\n# title",
        "\ud800",
        "\u202eabc",
        "\u07c0",
        "&lt;b&gt;",
    ]
)


@given(HOSTILE)
def test_hostile_names_stay_text(name):
    tree = PreferenceTree.single_split(name, 0.5)
    page = tree_outline(tree, name=name)
    page.encode("utf-8")
    plain = tree_outline(PreferenceTree.single_split("h", 0.5), name="h")
    assert shape(page)[1:] == shape(plain)[1:]
    root = parse(page)
    bad = r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff\u202a-\u202e\u2066-\u2069]"
    shown = re.sub(bad, " ", name)
    assert root.get("aria-label") == f"Decision tree of {shown}"
    assert set(root.attrib) == {"class", "role", "aria-label"}
    rule = f"In effect: response 2 iff {isolate(shown)} difference > 0.5."
    assert rule in "".join(root.itertext())
    assert [each.text for each in root.iter("bdi")] == [shown] * 3


@given(trees())
def test_a_page_has_no_script_no_id_and_nothing_that_ends_html_in_markdown(tree):
    page = tree_outline(tree)
    tags = {part.tag for part in parse(page).iter()}
    assert tags <= {"div", "p", "ul", "li", "details", "summary", "span", "b", "bdi"}
    names = {name for part in parse(page).iter() for name in part.attrib}
    assert names <= {"class", "role", "aria-label", "aria-hidden", "style", "open"}
    assert all(line and not line.startswith(" ") for line in page.split("\n"))
    assert page == tree_outline(tree)


def test_a_tree_of_a_thousand_levels_is_written():
    nodes = []
    for level in range(1000):
        split = {"attribute": "h", "threshold": float(level), "value": [0.5, 0.5], "share": 1.0}
        nodes.append(split | {"left": 2 * level + 1, "right": 2 * level + 2})
        leaf = {"value": [1.0, 0.0], "share": 0.0}
        nodes.append(leaf | dict.fromkeys(("attribute", "threshold", "left", "right")))
    nodes.append(nodes[1] | {"value": [0.0, 1.0]})
    tree = PreferenceTree.from_dict(HEAD | {"attributes": ["h"], "nodes": nodes})
    assert tree_outline(tree).count("<li ") == 2001


def test_the_style_file_has_the_colours_of_the_responses_and_touches_only_outlines():
    style = re.sub(r"/\*.*?\*/", "", STYLE.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert re.findall(r"--outline-(?:first|second): (.*);", style) == list(RESPONSE_COLOURS)
    assert "url(" not in style and "@import" not in style
    for rule in re.findall(r"[^{}]+(?={)", style):
        selector = rule.split(";")[-1].strip()
        for line in [] if selector.startswith("@") else selector.split(",\n"):
            assert ".tree-outline" in line


def long_named_tree():
    """A tree of six levels, long names and unround numbers, in which most splits decide."""
    generator = np.random.default_rng(0)
    names = (
        "an_attribute_whose_name_has_no_end_" + 40 * "z",
        "helpfulness to the person who asked",
    )
    differences = generator.normal(size=(5000, 2))
    votes = (np.sin(6 * differences).prod(axis=1) > 0).astype(int)
    return PreferenceTree.fit(differences, votes, attributes=names, max_depth=6, min_leaf=20)


def luminance(colour):
    """Give the relative luminance (WCAG 2.2) of rgb(r, g, b)."""
    share = np.array(re.findall(r"\d+", colour)[:3], dtype=float) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def contrast(one, other):
    """Give the contrast (WCAG 2.2) of two colours."""
    dark, light = sorted([luminance(one), luminance(other)])
    return (light + 0.05) / (dark + 0.05)


COLOURS = """[...document.querySelectorAll('.tree-outline :is(.answer, .says, .numbers, .key)')].map(
  part => [getComputedStyle(part).color, getComputedStyle(
    part.closest('summary') || part.closest('.tree-outline')).backgroundColor])"""
CUT = """[...document.querySelectorAll('.tree-outline, .tree-outline *')].filter(
  part => part.getBoundingClientRect().right > innerWidth).length"""


@pytest.mark.skipif(not browser.chromium(), reason="no Chromium on this machine")
def test_a_deep_tree_of_long_names_fits_a_phone_and_is_legible_light_and_dark(tmp_path):
    tree = long_named_tree()
    assert tree.depth == 6 and tree.n_leaves > 20
    outline = tree_outline(tree).replace("<details>", '<details open="">')
    style = STYLE.read_text(encoding="utf-8")
    phone = {"width": PHONE, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    seen = set()
    with browser.page(tmp_path) as page:
        page.send("Emulation.setDeviceMetricsOverride", **phone)
        for theme in ("light", "dark"):
            html = f'<!doctype html><html data-theme="{theme}"><meta charset="utf-8">'
            html += '<meta name="viewport" content="width=device-width, initial-scale=1">'
            html += f"<style>{style}</style>{outline}</html>"
            (tmp_path / f"{theme}.html").write_text(html, encoding="utf-8")
            page.send("Page.navigate", url=(tmp_path / f"{theme}.html").as_uri())
            ready = "document.readyState == 'complete' && document.documentElement.dataset.theme"
            page.wait("the page", f"({ready}) == '{theme}'")
            assert page.evaluate("innerWidth") == PHONE
            assert page.evaluate("document.documentElement.scrollWidth") == PHONE
            assert page.evaluate(CUT) == 0
            for text, ground in map(tuple, page.evaluate(COLOURS)):
                assert contrast(text, ground) >= READABLE
                seen.add(ground)
    assert len(seen) == 4  # the card and the page, light and dark

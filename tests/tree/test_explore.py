"""Exploring a pair: the smallest flip by its laws, the widget by its callbacks, what it shows without."""

import re

import nbformat
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dtreward
from dtreward.explorer import explore, smallest_flip, verdicts
from dtreward.models.comparison import Comparison, RewardModel
from dtreward.study.run import WIDGET, clean
from dtreward.tree.nodes import ATTRIBUTES
from dtreward.tree.tree import PreferenceTree

NAMES = ("a", "b", "c")
JUDGES = ("Human", "GPT-4o", "Llama-3.1-8B")
REACH = np.array([-1e6, -1.0, 0.0, 1.0, 1e6])
PAIRS = [("Which?", "good good", "bad"), ("Who <b>&</b>\nwhy?", "<script>", "good & <i>good</i>")]


def random_tree(seed, depth):
    generator = np.random.default_rng(seed)
    differences = generator.normal(size=(120, len(NAMES)))
    noisy = differences @ generator.normal(size=len(NAMES)) + generator.normal(size=120) > 0
    return PreferenceTree.fit(differences, noisy.astype(int), attributes=NAMES, max_depth=depth)


TREES = [random_tree(seed, depth=1 + seed % 4) for seed in range(40)]


@st.composite
def trees_and_differences(draw):
    """A tree, and differences some of which are exactly on one of its thresholds."""
    tree = draw(st.sampled_from(TREES))
    limits = tree.threshold[tree.feature >= 0].tolist()
    number = st.floats(-4, 4, allow_subnormal=False) | st.sampled_from(limits)
    return tree, np.array(draw(st.tuples(*[number] * len(NAMES))))


def flips(tree, difference, column, values):
    """Which of the values of one column flip the preference."""
    moved = np.repeat(difference[None], len(values), axis=0)
    moved[:, column] = values
    return tree.predict(moved) != tree.predict(difference[None])


def just_beside(tree):
    """Every number at which a tree can change its mind, the one next to it, and some afar."""
    limits = tree.threshold[tree.feature >= 0]
    return np.concatenate([limits, np.nextafter(limits, np.inf), REACH])


@given(trees_and_differences())
@settings(max_examples=150, deadline=None)
def test_the_flip_flips_and_no_smaller_change_of_one_attribute_does(case):
    tree, difference = case
    flip = smallest_flip(tree, difference)
    for column, name in enumerate(NAMES):
        values = just_beside(tree)
        if flip is None:
            assert not flips(tree, difference, column, values).any()
            continue
        if name == flip.attribute:
            assert flips(tree, difference, column, [flip.to]).all()
            assert flip.change == flip.to - difference[column]
        nearer = difference[column] + abs(flip.change) * np.linspace(-1, 1, 201)[1:-1]
        nearer = np.concatenate([nearer, values])
        nearer = nearer[np.abs(nearer - difference[column]) < abs(flip.change)]
        assert not flips(tree, difference, column, nearer).any()


@given(trees_and_differences())
@settings(max_examples=60, deadline=None)
def test_flipping_back_costs_no_more_than_the_flip(case):
    tree, difference = case
    if flip := smallest_flip(tree, difference):
        moved = np.where(np.array(NAMES) == flip.attribute, flip.to, difference)
        assert abs(smallest_flip(tree, moved).change) <= abs(flip.change)


def test_a_pair_on_a_threshold_flips_by_the_smallest_step_there_is():
    tree = PreferenceTree.single_split("a", 0.25)
    assert smallest_flip(tree, np.array([0.25])) == ("a", np.spacing(0.25), np.nextafter(0.25, 1))
    above = np.nextafter(0.25, 1)
    assert smallest_flip(tree, np.array([above])) == ("a", -np.spacing(0.25), 0.25)


def test_no_flip_where_two_attributes_have_to_change():
    corners = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])
    both = PreferenceTree.fit(corners, np.array([0, 0, 0, 1]), attributes=["a", "b"])
    assert smallest_flip(both, np.array([-1.0, -2.0])) is None
    assert smallest_flip(both, np.array([1.0, -2.0])).attribute == "b"  # positive control


class Words(RewardModel):
    """Counts good words, in helpfulness or the score alone: the other attributes stay at 0."""

    kind = "counts"

    def __init__(self, attributes=ATTRIBUTES, decides=True):
        self.attributes = attributes
        self.tree = PreferenceTree.single_split(attributes[0], 0.5, attributes=attributes)
        self.tree = self.tree if decides else None

    def compare_many(self, prompts, responses1, responses2):
        return [self._compare(*both) for both in zip(responses1, responses2, strict=True)]

    def _compare(self, *both):
        if "odd" in both:
            raise ValueError("a response is <odd>")
        counts = np.array([text.count("good") for text in both], float)
        counted = [name in ("helpfulness", "score") for name in self.attributes]
        rewards = np.outer(counts, counted)
        shared = {"attributes": self.attributes, "tree": self.tree}
        return Comparison.of(rewards, scores=None if self.tree else counts, **shared)


@pytest.fixture
def explorer():
    return explore(Words(), PAIRS)


def test_it_opens_with_the_first_pair_compared(explorer):
    assert tuple(box.value for box in explorer.texts) == PAIRS[0]
    for words in ("Response 1 is preferred", "helpfulness difference +2.5, across 0.5", "<img"):
        assert words in explorer.shown.value


def test_picking_another_pair_fills_the_boxes_and_compares_them(explorer):
    before = explorer.shown.value
    explorer.pick.value = PAIRS[1]
    assert tuple(box.value for box in explorer.texts) == PAIRS[1]
    assert "Response 2 is preferred" in explorer.shown.value != before
    explorer.texts[1].value = "typed"
    explorer.pick.value = PAIRS[1]
    assert tuple(box.value for box in explorer.texts) == PAIRS[1]  # the same can be picked again


def test_one_click_swaps_the_responses_and_a_second_brings_everything_back(explorer):
    before, texts = explorer.shown.value, [box.value for box in explorer.texts]
    explorer.swap.click()
    assert [box.value for box in explorer.texts] == [texts[0], texts[2], texts[1]]
    assert "Response 2 is preferred" in explorer.shown.value
    explorer.swap.click()
    assert explorer.shown.value == before  # the picture too, byte for byte


def test_typed_texts_are_compared_at_a_click(explorer):
    before = explorer.shown.value
    explorer.texts[2].value = "good good good"
    faded = explorer.shown.value
    assert before in faded != before and "opacity" in faded  # it is not of these texts
    explorer.texts[2].value += " good"
    assert explorer.shown.value == faded
    explorer.compare.click()
    assert (
        "Response 2 is preferred" in explorer.shown.value and "opacity" not in explorer.shown.value
    )


def test_two_responses_of_one_text_are_called_the_same(explorer):
    assert "the same text" not in explorer.shown.value
    explorer.texts[2].value = explorer.texts[1].value
    explorer.compare.click()
    assert "Both responses are the same text" in explorer.shown.value


def test_what_the_model_refuses_is_said_and_the_next_pair_is_compared(explorer):
    explorer.texts[1].value = "odd"
    explorer.compare.click()
    assert "No comparison:" in explorer.shown.value and "is &lt;odd&gt;" in explorer.shown.value
    explorer.texts[0].value, explorer.texts[1].value = " ", ""
    explorer.compare.click()
    assert "No comparison:</b> Prompt and Response 1 without a text" in explorer.shown.value
    explorer.pick.value = PAIRS[1]
    assert "Response 2 is preferred" in explorer.shown.value


@pytest.mark.parametrize("kind", [RuntimeError, ConnectionError])
def test_a_model_without_memory_or_endpoint_is_told_in_place_of_an_old_verdict(explorer, kind):
    def fail(*texts):
        raise kind("HTTP 500 <from> the endpoint")

    explorer.model.compare_many = fail
    explorer.swap.click()
    assert "No comparison:</b> HTTP 500 &lt;from&gt;" in explorer.shown.value
    assert "is preferred" not in explorer.shown.value


def test_the_picture_of_the_rewards_tells_them_to_who_does_not_see_it(explorer):
    told = re.search(r'alt="rewards: ([^"]*)"', explorer.shown.value)[1]
    assert "helpfulness 2.0 0.0 -2.0" in told and "verbosity 0.0 0.0 0.0" in told


def test_where_no_widget_runs_the_same_picture_and_words_show(explorer):
    explorer.pick.value = PAIRS[1]
    bundle = explorer._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "text/html", WIDGET}
    assert explorer.shown.value in bundle["text/html"] and "<img" in bundle["text/html"]
    assert "<script>" not in bundle["text/html"]
    assert "Who &lt;b&gt;&amp;&lt;/b&gt;<br>why?" in bundle["text/html"]


def test_published_judges_decide_the_same_pair_whatever_the_order_of_the_attributes():
    told = verdicts(Words().compare(*PAIRS[0]))
    assert list(told.index) == ["this model", *(f"tree of {name}" for name in JUDGES)]
    human = PreferenceTree.published("Human").probability(np.array([[-2.0, 0, 0, 0, 0]])).item()
    assert list(told.columns) == ["prefers", "probability that this response is better"]
    assert told.loc["tree of Human"].tolist() == ["response 1", f"{1 - human:.1%}"]
    turned = verdicts(Words(ATTRIBUTES[::-1]).compare(*PAIRS[0]))
    assert turned[1:].equals(told[1:])


@pytest.mark.parametrize("decides", [True, False])
def test_a_model_of_other_attributes_or_without_a_tree_has_no_judges_beside_it(decides):
    model = Words(("score",), decides)
    assert list(verdicts(model.compare(*PAIRS[0])).index) == ["this model"]
    shown = explore(model, PAIRS).shown.value
    assert "Response 1 is preferred" in shown and ("Smallest change" in shown) == decides


def test_a_model_that_writes_its_verdict_is_explored_without_a_picture():
    model = Words(("a",), decides=False)
    bare = Comparison.of(np.zeros((2, 0)), attributes=[], scores=np.array([0.0, 1.0]))
    model.compare_many = lambda *texts: [bare]
    shown = explore(model, PAIRS).shown.value
    assert "Response 2 is preferred" in shown and "<img" not in shown


def test_left_out_the_pairs_are_the_published_example_and_another():
    explorer = explore(Words())
    assert explorer.texts[0].value.startswith("Jane has 12 apples")
    explorer.pick.index = 2
    assert explorer.texts[0].value == "How many legs do 3 cats have?"


def test_the_package_offers_explore_also_after_its_module_was_imported():
    assert dtreward.explore is explore and "explore" in dir(dtreward)


def test_an_executed_copy_keeps_the_static_picture_but_no_widget(tmp_path):
    notebook, path = nbformat.v4.new_notebook(metadata={"widgets": {"state": {}}}), tmp_path / "n"
    view = {WIDGET: {"model_id": "4f1c"}, "text/plain": "…"}
    bundles = view | {"text/html": "a picture"}, view, {"text/plain": "a number"}
    outputs = [nbformat.v4.new_output("display_data", data) for data in bundles]
    notebook.cells = [nbformat.v4.new_code_cell("…", outputs=outputs)]
    nbformat.write(notebook, path)
    clean(path)
    cleaned = nbformat.read(path, as_version=4)
    told = [output["data"] for output in cleaned.cells[0].outputs]
    assert told == [{"text/html": "a picture", "text/plain": "…"}, {"text/plain": "a number"}]
    assert "widgets" not in cleaned.metadata

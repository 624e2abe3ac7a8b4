"""Exploring a pair: the smallest flip by its laws, the widget by its callbacks, what it shows without."""

import datetime
import json
import re
import subprocess
import sys

import nbformat
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

import dtreward
from dtreward import load
from dtreward.conversation import messages
from dtreward.explorer import page
from dtreward.explorer.answer import verdicts
from dtreward.explorer.reasons import in_decimals, rule_sentences, smallest_flip
from dtreward.explorer.widget import FADED, explore
from dtreward.models.comparison import Comparison, RewardModel
from dtreward.study.run import WIDGET, clean
from dtreward.tree.nodes import ATTRIBUTES
from dtreward.tree.tree import PreferenceTree

NAMES = ("a", "b", "c")
JUDGES = ("Human", "GPT-4o", "Llama-3.1-8B")
NOW = datetime.datetime(2026, 11, 30, tzinfo=datetime.UTC)
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
    assert explorer.texts == PAIRS[0]
    for words in ("Response 1 is preferred", "helpfulness were 2.50 higher", "<img"):
        assert words in explorer.shown.value


def test_reasons_are_sentences_with_one_number_format(explorer):
    explorer.swap.click()
    reasons = re.findall("<li>(.*?)</li>", explorer.shown.value)
    asked = "helpfulness is 2.00 higher for response 2; the rule asks for more than 0.50"
    assert reasons[0].startswith(asked)
    assert "response 2 if the helpfulness difference is more than 0.50" in reasons[1]
    numbers = re.findall(r"-?\d+\.\d+(?! %)", " ".join(reasons))
    assert len(numbers) > 3 and all(re.fullmatch(r"-?\d+\.\d\d", one) for one in numbers)


@given(st.floats(-9, 9), st.floats(-9, 9))
def test_different_numbers_never_look_alike(one, other):
    shown = in_decimals(one, other)
    assert (shown[0] == shown[1]) == (one == other)


@given(trees_and_differences())
@settings(max_examples=60, deadline=None)
def test_a_rule_in_sentences_is_the_one_that_the_tree_keeps(case):
    tree, _ = case
    leaves = [words for words in rule_sentences(tree) if words]
    kept = tree.effective_rule()
    if kept.n_leaves == 2:
        assert len(leaves) == 1 and leaves[0].startswith("response ")
    else:
        assert len(leaves) == kept.n_leaves


def test_the_list_keeps_its_choice_and_restore_brings_the_pair_back(explorer):
    before = explorer.shown.value
    explorer.pick.value = 1
    assert explorer.texts == PAIRS[1]
    assert "Response 2 is preferred" in explorer.shown.value != before
    explorer.responses[0].value = "typed"
    explorer.swap.click()
    assert explorer.pick.value == 1 and explorer.pick.label.startswith("2 · Who <b>&</b> why?")
    explorer.restore.click()
    assert explorer.texts == PAIRS[1] and explorer.pick.value == 1


def test_pairs_are_stepped_through_to_both_ends(explorer):
    assert explorer.previous.disabled and not explorer.next.disabled
    explorer.next.click()
    assert explorer.texts == PAIRS[1]
    assert explorer.next.disabled and not explorer.previous.disabled
    explorer.next.click()
    assert explorer.pick.value == 1
    explorer.previous.click()
    assert explorer.texts == PAIRS[0]


def test_one_click_swaps_the_responses_and_a_second_brings_everything_back(explorer):
    before, texts = explorer.shown.value, explorer.texts
    explorer.swap.click()
    assert explorer.texts == (texts[0], texts[2], texts[1])
    assert "Response 2 is preferred" in explorer.shown.value
    explorer.swap.click()
    assert explorer.shown.value == before  # the picture too, byte for byte


def test_typed_texts_are_compared_at_a_click(explorer):
    explorer.responses[1].value = "good good good"
    assert FADED in explorer.shown._dom_classes  # it is not of these texts
    assert not explorer.browser.markdown and not explorer.browser.json
    explorer.responses[1].value += " good"
    explorer.compare.click()
    assert "Response 2 is preferred" in explorer.shown.value
    assert FADED not in explorer.shown._dom_classes and explorer.browser.markdown


def test_while_it_works_it_says_so_and_takes_no_click(explorer):
    seen = []

    def look(*texts):
        seen.append((explorer.status.value, {one.disabled for one in explorer._controls}))
        return Words().compare_many(*texts)

    explorer.model.compare_many = look
    explorer.compare.click()
    assert seen == [("Comparing ...", {True})]
    assert not explorer.compare.disabled and "Ctrl+Enter" in explorer.status.value


def test_two_responses_of_one_text_are_called_the_same(explorer):
    assert "the same text" not in explorer.shown.value
    explorer.responses[1].value = explorer.responses[0].value
    explorer.compare.click()
    assert "Both responses are the same text" in explorer.shown.value


def test_what_the_model_refuses_is_said_and_the_next_pair_is_compared(explorer):
    explorer.responses[0].value = "odd"
    explorer.compare.click()
    assert "No comparison:" in explorer.shown.value and "is &lt;odd&gt;" in explorer.shown.value
    assert not explorer.browser.markdown
    explorer.prompt.boxes[0].value, explorer.responses[0].value = " ", ""
    explorer.compare.click()
    assert "No comparison:</b> Prompt and Response 1 without a text" in explorer.shown.value
    explorer.pick.value = 1
    assert "Response 2 is preferred" in explorer.shown.value


@pytest.mark.parametrize("kind", [RuntimeError, ConnectionError, MemoryError])
def test_a_model_without_memory_or_endpoint_is_told_in_place_of_an_old_verdict(explorer, kind):
    def fail(*texts):
        raise kind("HTTP 500 <from> the endpoint")

    explorer.model.compare_many = fail
    explorer.swap.click()
    assert "No comparison:</b> HTTP 500 &lt;from&gt;" in explorer.shown.value
    assert "is preferred" not in explorer.shown.value and not explorer.compare.disabled


def test_a_conversation_of_several_turns_is_written_in_boxes_and_asked_as_messages(explorer):
    asked = []

    def note(prompts, *responses):
        asked.extend(prompts)
        return Words().compare_many(prompts, *responses)

    explorer.model.compare_many = note
    boxes = explorer.prompt
    boxes.add.click()
    boxes.instruct.click()
    assert [box.description for box in boxes.shown] == ["System", "User 1", "Assistant 1", "User 2"]
    for box, text in zip(boxes.shown, ("Be brief.", "2 + 2?", "4", "Sure?"), strict=True):
        box.value = text
    explorer.compare.click()
    assert [turn["role"] for turn in asked[0]] == ["system", "user", "assistant", "user"]
    assert [turn["content"] for turn in asked[0]] == ["Be brief.", "2 + 2?", "4", "Sure?"]
    boxes.remove.click()
    boxes.instruct.click()
    assert boxes.prompt == "2 + 2?" and len(boxes.shown) == 1


@pytest.mark.parametrize(
    "prompt",
    [
        "2 + 2?\n<extra_id_1>Assistant\n4\n<extra_id_1>User\nSure?",
        "\n\nHuman: 2 + 2?\n\nAssistant: 4\n\nHuman: Sure?\n\nAssistant:",
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2 + 2?"}],
        "one turn\n",
    ],
)
def test_a_prompt_of_any_form_fills_the_boxes_and_stays_the_same_conversation(prompt):
    filled = explore(Words(), [(prompt, "good", "bad")])
    assert messages(filled.prompt.prompt) == messages(prompt)
    explorer_again = explore(Words(), [*PAIRS, (prompt, "good", "bad")])
    explorer_again.pick.value = 2
    explorer_again.pick.value = 0
    assert explorer_again.texts == PAIRS[0]  # the turns are gone


def upload(explorer, name, text):
    content = memoryview(text.encode())
    explorer.upload.value = (
        {"name": name, "type": "", "size": len(content), "content": content, "last_modified": NOW},
    )


def test_a_file_of_pairs_of_any_form_is_loaded_and_stepped_through(explorer):
    rows = [
        {"prompt": "2 + 2?", "chosen": "good", "rejected": "bad"},
        {"prompt": "3 + 3?", "chosen": "good good", "rejected": "good"},
    ]
    upload(explorer, "mine.jsonl", "\n".join(map(json.dumps, rows)))
    assert explorer.status.value == "2 pairs of mine.jsonl."
    assert len(explorer.pick.options) == 2 and set(explorer.texts[1:]) == {"good", "bad"}
    explorer.next.click()
    assert explorer.texts[0] == "3 + 3?"


def test_a_file_that_is_no_table_is_refused_by_its_own_name_and_the_list_stays(explorer):
    for name, text in {"<i>.csv": "a,b\n1,2", "notes.txt": "hello", "../../x.csv": ""}.items():
        upload(explorer, name, text)
        said = explorer.status.value
        assert said.startswith("<b>Not loaded:</b>") and "/tmp" not in said, said
        assert "<i>" not in said and explorer.texts == PAIRS[0]
        assert not explorer.compare.disabled


def test_explore_takes_a_table_in_place_of_pairs(tmp_path):
    table = pd.DataFrame(PAIRS, columns=["prompt", "response_1", "response_2"])
    table.to_csv(tmp_path / "pairs.csv", index=False)
    opened = explore(Words(), tmp_path / "pairs.csv")
    assert {pair[1] for pair in opened.pairs} == {"good good", "<script>"}


def test_the_result_is_copied_as_markdown_and_json_with_the_texts_unchanged(explorer):
    fenced = "```\nquit the block\n```"
    explorer.responses[0].value = fenced
    explorer.compare.click()
    markdown = explorer.browser.markdown
    assert f"````text\n{fenced}\n````" in markdown
    assert "| helpfulness | 0.00 | 0.00 | 0.00 |" in markdown
    record = json.loads(explorer.browser.json)
    assert record["response_1"] == fenced and record["prompt"] == PAIRS[0][0]
    assert record["preference"] == 0 and record["path"][0]["threshold"] == 0.5
    assert record["demo_world"] is False and "demo world" not in markdown


def test_a_model_of_the_demo_world_says_so_wherever_its_answer_goes(explorer):
    assert explorer.demo.layout.display == "none"
    model = load(ROOT / "data" / "demo")
    assert model.demo
    shown = explore(model, PAIRS[:1])
    assert "demo world" in shown.demo.value and shown.demo.layout.display is None
    assert "demo world" in shown._repr_mimebundle_()["text/html"]
    assert "demo world" in shown.browser.markdown and json.loads(shown.browser.json)["demo_world"]


def test_the_picture_of_the_rewards_tells_them_to_who_does_not_see_it(explorer):
    told = re.search(r'alt="rewards: ([^"]*)"', explorer.shown.value)[1]
    assert "helpfulness 2.0 0.0 -2.0" in told and "verbosity 0.0 0.0 0.0" in told


def test_where_no_widget_runs_the_same_picture_and_words_show(explorer):
    explorer.pick.value = 1
    bundle = explorer._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "text/html", WIDGET}
    assert explorer.shown.value in bundle["text/html"] and "<img" in bundle["text/html"]
    assert "<script>" not in bundle["text/html"]
    assert "Who &lt;b&gt;&amp;&lt;/b&gt;<br>why?" in bundle["text/html"]


def test_texts_are_never_html(explorer):
    explorer.pick.value = 1
    for html in (explorer.shown, explorer.status, explorer.demo):
        assert "<script>" not in html.value and "<i>good" not in html.value
    for box in (explorer.pick, *explorer.prompt.shown, *explorer.responses):
        assert not box.description_allow_html


def test_the_script_of_the_page_sets_no_html():
    script = (ROOT / "dtreward/explorer/browser.js").read_text()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|eval\(|document\.write", script)


def test_the_page_is_for_this_machine_alone_and_serves_no_file(tmp_path):
    config = page.settings(tmp_path / "explorer.ipynb", page.PORT)
    assert config.Voila.ip == "127.0.0.1" and len(config.Voila.token) >= 32
    assert config.Voila.token != page.settings(tmp_path / "explorer.ipynb", 1).Voila.token
    assert config.VoilaConfiguration.file_allowlist == []
    policy = config.Voila.tornado_settings["headers"]["Content-Security-Policy"]
    assert "default-src 'self'" in policy and "http" not in policy.replace("127.0.0.1", "")


def test_a_wrong_name_is_refused_in_one_line_before_torch_is_imported():
    script = (
        "import sys; from dtreward.cli import main\n"
        "try: main(['explore', 'dmo'])\n"
        "except SystemExit as end: print(end.code); print('torch' in sys.modules)"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    said, imported = done.stdout.splitlines()
    assert said.startswith("no folder dmo") and imported == "False"


def test_a_file_of_pairs_that_is_not_there_is_refused_before_the_page_opens():
    with pytest.raises(FileNotFoundError, match=r"no file absent\.csv"):
        page.serve(str(ROOT / "data/demo"), pairs="absent.csv", options={})


def test_published_judges_decide_the_same_pair_whatever_the_order_of_the_attributes():
    told = verdicts(Words().compare(*PAIRS[0]))
    assert list(told.index) == ["this model", *(f"tree of {name}" for name in JUDGES)]
    human = PreferenceTree.published("Human").probability(np.array([[-2.0, 0, 0, 0, 0]])).item()
    assert list(told.columns) == ["prefers", "probability that this response is better"]
    assert told.loc["tree of Human"].tolist() == ["response 1", f"{100 * (1 - human):.1f} %"]
    turned = verdicts(Words(ATTRIBUTES[::-1]).compare(*PAIRS[0]))
    assert turned[1:].equals(told[1:])


@pytest.mark.parametrize("decides", [True, False])
def test_a_model_of_other_attributes_or_without_a_tree_has_no_judges_beside_it(decides):
    model = Words(("score",), decides)
    assert list(verdicts(model.compare(*PAIRS[0])).index) == ["this model"]
    shown = explore(model, PAIRS).shown.value
    assert "Response 1 is preferred" in shown and ("were 2.50 higher" in shown) == decides


def test_a_model_that_writes_its_verdict_is_explored_without_a_picture():
    model = Words(("a",), decides=False)
    bare = Comparison.of(np.zeros((2, 0)), attributes=[], scores=np.array([0.0, 1.0]))
    model.compare_many = lambda *texts: [bare]
    shown = explore(model, PAIRS).shown.value
    assert "Response 2 is preferred" in shown and "<img" not in shown


def test_left_out_the_pairs_are_the_published_example_and_another():
    explorer = explore(Words())
    assert explorer.texts[0].startswith("Jane has 12 apples")
    explorer.next.click()
    assert explorer.texts[0] == "How many legs do 3 cats have?"


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

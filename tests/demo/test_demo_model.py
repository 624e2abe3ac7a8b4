"""The reward model in data/demo: what it reads, what it says, and that plain transformers runs it."""

import json
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from dtreward import load
from dtreward.demo.probe import missed_goals, probe_report
from dtreward.models.rated_pairs import rate_by_model
from dtreward.pairs.frame import attributes_of, inputs_name, load_pairs
from dtreward.published import PUBLISHED

FOLDER = "data/demo"


@pytest.fixture(scope="module")
def model(root):
    return load(root / FOLDER)


@pytest.fixture(scope="module")
def example():
    return json.loads((PUBLISHED / "usage_example.json").read_text())


def test_its_weights_are_small_and_of_one_to_three_million_parameters(root, model):
    parameters = sum(each.numel() for each in model.backbone.transformer.parameters())
    assert 1e6 <= parameters <= 3e6
    assert (root / FOLDER / "model.safetensors").stat().st_size <= 8_000_000


@pytest.mark.slow  # a minute; the model that it reads is committed
def test_probes_read_families_that_it_never_saw_in_training(root):
    """A seeded third of the full report, which `python -m dtreward.demo_backbone` records."""
    report = probe_report(root / FOLDER, prompts=700, seed=3)
    assert not missed_goals(report)
    words = report["attributes"]["correctness"]["words"]
    assert report["attributes"]["correctness"]["probe"] > words + 0.1  # words can't do sums


@pytest.mark.slow
def test_probes_read_unseen_families_at_full_size(root):
    assert not missed_goals(probe_report(root / FOLDER, prompts=3000, seed=1))


def test_it_prefers_the_right_apples_in_both_orders(model, example):
    texts = example["prompt"], example["response1"], example["response2"]
    output = model.compare(*texts)
    assert output["preference"] == 0 and output.probability < 0.2 and output.swap_flips
    assert model.compare(texts[0], texts[2], texts[1])["preference"] == 1


def test_it_notices_a_wrong_sum_but_not_a_renamed_person(model, example):
    prompt, right = example["prompt"], example["response1"]
    wrong = right.replace("8 + 1 = 9", "8 + 1 = 14")
    renamed = [text.replace("Mark", "Paul") for text in (prompt, right)]
    rewards = [
        model.compare(*texts, right).rewards[0]
        for texts in ((prompt, right), (prompt, wrong), renamed)
    ]
    correctness = np.array(rewards)[:, list(model.attributes).index("correctness")]
    assert correctness[0] - correctness[1] > 0.4
    assert abs(correctness[0] - correctness[2]) < 0.4


SNIPPET = """
import json, sys
sys.modules["dtreward"] = None  # importing it fails
from transformers import AutoModelForSequenceClassification
import torch
from transformers import AutoTokenizer
repo_id = sys.argv[1]
device = "cpu"
model = AutoModelForSequenceClassification.from_pretrained(repo_id, trust_remote_code=True, torch_dtype=torch.float32, attn_implementation="eager", device_map=device)
tokenizer = AutoTokenizer.from_pretrained(repo_id, use_fast=True)
model.load_decision_tree(repo_id, filename="decision_tree.pkl")
example = json.loads(sys.argv[2])
output = model.compare(example["prompt"], example["response1"], example["response2"], tokenizer, device)
print(json.dumps({key: output[key] for key in ("rewards", "attributes", "preference")}, default=lambda x: x.tolist()))
"""


def test_the_original_snippet_runs_on_it_without_this_package(root, model, example, tmp_path):
    command = [sys.executable, "-c", SNIPPET, str(root / FOLDER), json.dumps(example)]
    done = subprocess.run(command, check=False, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    theirs = json.loads(done.stdout.splitlines()[-1])
    ours = model.compare(example["prompt"], example["response1"], example["response2"])
    assert theirs["attributes"] == ours.attributes and theirs["preference"] == ours.preference
    np.testing.assert_allclose(theirs["rewards"], ours.rewards, atol=1e-4)  # float32, two paths


def test_it_reads_chat_messages_and_transcripts_as_turns(model):
    turns = [
        {"role": "user", "content": "Tom has 2 apples."},
        {"role": "assistant", "content": "And?"},
        {"role": "user", "content": "He buys 3. How many?"},
    ]
    as_text = (
        "Tom has 2 apples.\n<extra_id_1>Assistant\nAnd?\n<extra_id_1>User\nHe buys 3. How many?"
    )
    transcript = "\n\nHuman: Tom has 2 apples.\n\nAssistant: And?\n\nHuman: He buys 3. How many?"
    rewards = model.compare(as_text, "5 apples.", "6 apples.").rewards
    for prompt in (turns, transcript, f"{transcript}\n\nAssistant:"):
        assert model.compare(prompt, "5 apples.", "6 apples.").rewards == rewards
    assert model.rewards([(turns, "5 apples.")]).tolist() == [rewards[0]]
    system = [{"role": "system", "content": "Answer in one word."}, *turns]
    assert model.compare(system, "5 apples.", "6 apples.").rewards != rewards


def test_its_card_says_what_it_is(root):
    card = (root / FOLDER / "README.md").read_text()
    assert re.match(r"---\n(.*\n)*?license: apache-2.0\n", card)
    assert "demo world" in card and "architecture.png" in card and "tree.png" in card
    for name in (
        "architecture.png",
        "tree.png",
        "decision_tree.json",
        "modeling_decision_tree_reward_model.py",
    ):
        assert (root / FOLDER / name).exists()
    assert not list((root / FOLDER).glob("*.pkl"))


def test_the_modelling_file_that_it_carries_is_the_package_s(root):
    name = "modeling_decision_tree_reward_model.py"
    assert (root / FOLDER / name).read_bytes() == (
        root / "dtreward" / "models" / "checkpoint_files" / name
    ).read_bytes()


def test_its_rewards_can_be_the_attributes_of_pairs(model, tmp_path):
    rows = [
        {"prompt": f"{k} + 1?", "chosen": f"It is {k + 1}.", "rejected": "No."} for k in range(6)
    ]
    pairs = load_pairs(pd.DataFrame(rows))
    rated = rate_by_model(pairs, model, "demo", ["verbosity", "correctness"])
    assert (rated.attributes, rated.attributes_are) == (
        ("verbosity", "correctness"),
        "read by demo",
    )
    rated.frame.to_parquet(tmp_path / "pairs.parquet")
    saved = pd.read_parquet(tmp_path / "pairs.parquet")
    assert attributes_of(saved) == rated.attributes
    assert inputs_name(saved) == "attributes read by demo"
    row = saved.iloc[3]
    compared = model.compare(row["prompt"], row["response_1"], row["response_2"])
    place = compared.attributes.index("correctness")
    # One forward pass of another pack: the same bits.
    assert [row["correctness_1"], row["correctness_2"]] == [r[place] for r in compared.rewards]
    with pytest.raises(ValueError, match=r"predicts .*, not \['wit'\]"):
        rate_by_model(pairs, model, "demo", ["wit"])


def test_no_pair_needs_a_rating_where_a_model_is_to_rate(model):
    table = pd.DataFrame(
        [
            {"prompt": f"{k} + 1?", "response_1": f"It is {k + 1}.", "response_2": "No."}
            for k in range(6)
        ]
    )
    table = table.assign(helpfulness_1=[4.0, None] * 3, helpfulness_2=1.0, wit_1="4/5", wit_2="1/5")
    table.loc[2, "response_2"] = "No. " * 2000  # more than the model takes
    pairs = load_pairs(table.assign(preference=0), rated=False)
    assert pairs.attributes == () and len(pairs.frame) == 6
    assert pairs.left_out["helpfulness"] == "ratings are not used: a model rates the responses"
    with pytest.warns(UserWarning, match="no score of 1 rows: .* tokens longer than max_length"):
        rated = rate_by_model(pairs, model, "demo")
    assert rated.frame["prompt"].tolist() == [f"{k} + 1?" for k in (0, 1, 3, 4, 5)]
    assert rated.frame["pair_id"].tolist() == list(range(5))
    assert (rated.counts["not read by demo"], rated.counts["votes"]) == (1, 5)
    expected = model.rewards([("0 + 1?", "It is 1.")])[0, 0]
    assert rated.frame["helpfulness_1"][0] == expected

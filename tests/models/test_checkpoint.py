"""An exported checkpoint runs by the original's usage snippet, and appears whole or not at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from replicas import (
    FIVE,
    HIDDEN,
    make_decision_tree_replica,
    make_replica,
    read_tensors,
    write_tensors,
)
from safetensors import safe_open
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from dtreward.demo.train import write_backbone
from dtreward.models import card as card_module
from dtreward.models import export as export_module
from dtreward.models.export import export_checkpoint
from dtreward.models.loader import load
from dtreward.tree.tree import PreferenceTree

ARCHITECTURES = ("llama", "gemma2")
LICENCE = {
    "license": "other",
    "license_name": "some-licence",
    "license_link": "https://example.org/licence",
}
CARD = LICENCE | {
    "name": "Tiny tree",
    "base_model": "owner/backbone",
    "datasets": ["owner/pairs"],
    "demo": True,
    "results": [{"model": "tree", "accuracy": "0.91 [0.90, 0.92]"}],
}
# The published snippet, word for word but for the repository, the device and the attention.
SNIPPET = """
from transformers import AutoModelForSequenceClassification
import torch
from transformers import AutoTokenizer
model_name = "Decision-Tree-Reward-Gemma-2-27B" # Another choice is "Decision-Tree-Reward-Llama-3.1-8B"
repo_id = REPO_ID
device = "cpu"
model = AutoModelForSequenceClassification.from_pretrained(repo_id, trust_remote_code=True, torch_dtype=torch.bfloat16, attn_implementation="eager", device_map=device)
tokenizer = AutoTokenizer.from_pretrained(repo_id, use_fast=True)
# Load the decision tree
model.load_decision_tree(repo_id, filename="decision_tree.pkl")

# Prompt and response pairs
prompt = EXAMPLE["prompt"]
response1 = EXAMPLE["response1"]
response2 = EXAMPLE["response2"]

# Compare the two responses
output = model.compare(prompt, response1, response2, tokenizer, device)
print("Response 1 rewards")
print(dict(zip(output["attributes"], output["rewards"][0])))
print("Response 2 rewards")
print(dict(zip(output["attributes"], output["rewards"][1])))
print("Model preference")
print(output["preference"])
"""
CHILD = """
import json, sys
sys.modules["dtreward"] = None  # importing it fails
try:
    import dtreward
except ImportError:
    pass
else:
    raise SystemExit("dtreward is importable")
EXAMPLE, outputs = json.load(open(sys.argv[1])), {}
for folder in sys.argv[3:]:
    for dtype in ("float32", "bfloat16"):
        snippet = open(sys.argv[2]).read().replace("torch.bfloat16", f"torch.{dtype}")
        scope = {"EXAMPLE": EXAMPLE, "REPO_ID": folder}
        exec(snippet, scope)
        print("RESULT", json.dumps([folder, dtype, scope["output"]]))
assert not [name for name, module in sys.modules.items() if name.startswith("dtreward") and module]
"""


def export(folder: Path, backbone: Path, **changes) -> Path:
    random = np.random.default_rng(0)
    options = {
        "backbone_folder": backbone,
        "weight": random.normal(size=(5, HIDDEN)).astype(np.float32),
        "bias": random.normal(size=5).astype(np.float32),
        "attributes": FIVE,
        "tree": PreferenceTree.published("Decision-Tree-Reward-Llama-3.1-8B"),
        "card": CARD,
    }
    return export_checkpoint(folder, **(options | changes))


@pytest.fixture(scope="session")
def backbones(tmp_path_factory) -> dict[str, Path]:
    """Score models as the study starts from: Llama in one file, Gemma-2 in three bfloat16 shards."""
    folder = tmp_path_factory.mktemp("backbones")
    return {
        "llama": make_replica(folder / "llama", "llama"),
        "gemma2": make_replica(folder / "gemma2", "gemma2", shards=3, dtype=torch.bfloat16),
    }


@pytest.fixture(scope="session")
def exported(backbones, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("exported")
    rules = {"llama": "one", "gemma2": "none"}
    return {name: export(folder / name, backbones[name], bos=rules[name]) for name in ARCHITECTURES}


@pytest.fixture
def no_pictures(monkeypatch) -> None:
    """Drawing is most of an export's time; where pictures do not matter, it is left out."""

    def save(figure, stem):
        Path(f"{stem}.pdf").touch()
        return [Path(f"{stem}.pdf")]

    monkeypatch.setattr(card_module, "save_figure", save)


@pytest.fixture(scope="session")
def example(root) -> dict:
    return json.loads((root / "dtreward/published/usage_example.json").read_text())


@pytest.fixture(scope="session")
def snippet_outputs(exported, root, tmp_path_factory) -> dict:
    """Run the snippet on both, in both dtypes, in one fresh process without dtreward."""
    folder = tmp_path_factory.mktemp("fresh")
    (folder / "snippet.py").write_text(SNIPPET)
    example = root / "dtreward/published/usage_example.json"
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "home")}
    run = subprocess.run(
        [sys.executable, "-c", CHILD, example, "snippet.py", *map(str, exported.values())],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    lines = [line.removeprefix("RESULT ") for line in run.stdout.splitlines() if "RESULT" in line]
    assert run.stdout.count("Model preference") == len(lines) == 4
    return {(Path(folder).name, dtype): output for folder, dtype, output in map(json.loads, lines)}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_original_snippet_gives_the_rewards_of_dtreward(
    exported, example, snippet_outputs, architecture, dtype
):
    model = load(exported[architecture], dtype=dtype)
    texts = [example[name] for name in ("prompt", "response1", "response2")]
    ours, theirs = model.compare(*texts), snippet_outputs[architecture, dtype]
    # The same backbone and dtype, but the snippet's attention sums in another order and, of 16 bit
    # numbers, rounds its scores to 16 bit, which ours does not: it is nearer to float64.
    exact = load(exported[architecture], dtype="float64").compare(*texts)["rewards"]
    own, other = (np.abs(np.subtract(each["rewards"], exact)).max() for each in (ours, theirs))
    tolerance = 1.5 * other if dtype == "bfloat16" else 1e-5 * np.abs(exact).max()
    assert (
        own <= tolerance and other < (0.05 if dtype == "bfloat16" else 1e-5) * np.abs(exact).max()
    )
    tolerance += other
    np.testing.assert_allclose(theirs["rewards"], ours["rewards"], rtol=0, atol=tolerance)
    assert theirs["attributes"] == ours["attributes"] == list(FIVE)
    assert theirs["preference"] == ours["preference"]
    assert theirs["probability"] == ours["probability"]


def test_bfloat16_rewards_are_not_float32_rewards(snippet_outputs):
    """A control: the snippet really ran in two dtypes."""
    one, other = (snippet_outputs["llama", dtype]["rewards"] for dtype in ("float32", "bfloat16"))
    assert 1e-4 < np.abs(np.subtract(one, other)).max()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_load_reads_it_as_a_decision_tree_model(exported, architecture):
    model = load(exported[architecture])
    tree = PreferenceTree.published("Decision-Tree-Reward-Llama-3.1-8B")
    assert (model.kind, model.attributes) == ("decision-tree", FIVE)
    assert model.tree.to_dict() == tree.to_dict()
    assert model.backbone.chat.bos == {"llama": "one", "gemma2": "none"}[architecture]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_backbones_tensors_are_copied_untouched_and_its_head_is_not(
    backbones, exported, architecture
):
    before, after = read_tensors(backbones[architecture]), read_tensors(exported[architecture])
    assert after.keys() == before.keys() | {"score.bias"}
    for name in before.keys() - {"score.weight"}:
        assert after[name].dtype == before[name].dtype and torch.equal(after[name], before[name])
    assert after["score.weight"].shape == (5, HIDDEN)
    assert after["score.weight"].dtype == after["score.bias"].dtype == torch.float32


def test_shards_without_a_change_are_linked_and_the_index_is_complete(backbones, exported):
    index = json.loads((exported["gemma2"] / "model.safetensors.index.json").read_text())
    assert index["weight_map"].keys() == read_tensors(exported["gemma2"]).keys()
    for name, file in index["weight_map"].items():
        with safe_open(exported["gemma2"] / file, "pt") as shard:
            assert name in shard.keys()  # noqa: SIM118
    first = "model-00001-of-00003.safetensors"
    assert (exported["gemma2"] / first).samefile(backbones["gemma2"] / first)


@pytest.mark.usefixtures("no_pictures")
def test_a_backbone_saved_without_its_task_or_with_a_language_head_will_do(
    backbones, tmp_path, exported
):
    bare = make_replica(tmp_path / "bare", rows=0)
    tensors = read_tensors(bare)
    tensors = {name.removeprefix("model."): tensor for name, tensor in tensors.items()}
    write_tensors(bare, tensors | {"lm_head.weight": torch.zeros(3, HIDDEN)})
    out = read_tensors(export(tmp_path / "out", bare))
    expected = read_tensors(exported["llama"])
    assert out.keys() == expected.keys()
    assert all(torch.equal(out[name], expected[name]) for name in out)


def test_the_configuration_names_its_code_its_attributes_and_its_bos_rule(backbones, exported):
    config = json.loads((exported["gemma2"] / "config.json").read_text())
    name = "Gemma2ForDecisionTreeRewardModel"
    assert config["architectures"] == [name]
    module = "modeling_decision_tree_reward_model"
    assert config["auto_map"] == {"AutoModelForSequenceClassification": f"{module}.{name}"}
    assert list(config["id2label"].values()) == list(FIVE) and config["bos_rule"] == "none"
    before = json.loads((backbones["gemma2"] / "config.json").read_text())
    changed = {key for key in config if config[key] != before.get(key)}
    assert changed == {"architectures", "auto_map", "id2label", "label2id", "bos_rule"}


def test_no_pickle_and_no_path_of_this_machine_is_in_it(tmp_path):
    backbone = make_replica(tmp_path / "backbone")
    noted = {"_name_or_path": str(backbone), "name_or_path": str(backbone)}
    for name in ("config.json", "tokenizer_config.json"):
        content = json.loads((backbone / name).read_text())
        (backbone / name).write_text(json.dumps(content | noted))
    folder = export(tmp_path / "out", backbone, card=CARD | {"base_model": str(backbone)})
    for path in folder.iterdir():
        assert path.suffix in {".json", ".safetensors", ".py", ".md", ".png", ".jinja"}
        assert str(tmp_path).encode() not in path.read_bytes(), path.name
    assert card_of(folder)[0]["base_model"] == "backbone"


# The modelling file


def from_pretrained(folder: Path):
    return AutoModelForSequenceClassification.from_pretrained(
        folder, trust_remote_code=True, attn_implementation="eager", torch_dtype=torch.bfloat16
    )


@pytest.fixture
def modelled(exported, monkeypatch, tmp_path):
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path))
    return from_pretrained(exported["gemma2"])


def test_it_tells_where_attention_would_drop_the_soft_cap(modelled, exported):
    tokenizer = load(exported["gemma2"]).backbone.chat.tokenizer
    modelled.load_decision_tree(str(exported["gemma2"]))
    assert modelled.compare("Hi?", "Hello", "No", tokenizer)["preference"] in (0, 1)
    modelled.config._attn_implementation_internal = "sdpa"  # what some versions choose themselves
    with pytest.raises(ValueError, match="drop the soft-cap"):
        modelled.compare("Hi?", "Hello", "No", tokenizer)


def test_its_head_is_float32_beside_a_bfloat16_backbone(modelled, exported):
    assert modelled.dtype == torch.bfloat16 and modelled.score.weight.dtype == torch.float32
    stored = read_tensors(exported["gemma2"])["score.weight"]
    assert torch.equal(modelled.score.weight, stored)
    assert modelled(torch.tensor([[3, 4, 5]])).logits.shape == (1, 5)


def test_it_asks_for_the_tree_and_refuses_another_attributes_tree(modelled, tmp_path):
    with pytest.raises(ValueError, match="load_decision_tree"):
        modelled.compare("Hi?", "Hello", "No", None)
    PreferenceTree.single_split("helpfulness", 0.0).save(tmp_path / "decision_tree.json")
    with pytest.raises(ValueError, match="expected a tree over"):
        modelled.load_decision_tree(str(tmp_path))


@pytest.mark.parametrize(
    "prompt",
    [
        "2 + 2?",
        "2 + 2?\n\n",
        "Hi\n<extra_id_1>Assistant\nHello\n<extra_id_1>User\n2 + 2?\n",
        " é 🙂 ",
        "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: 2 + 2?\n\nAssistant:",
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2 + 2?"}],
    ],
)
def test_it_reads_conversations_as_dtreward_does(modelled, exported, prompt):
    chat = load(exported["gemma2"]).backbone.chat
    for response in ("4", "4\n\n", " 4 "):
        ids = modelled.token_ids(prompt, response, chat.tokenizer)
        assert tuple(ids) == chat.token_ids(prompt, response).ids


@pytest.mark.parametrize(
    ("prompt", "response"), [("a\n<extra_id_1>System\nb", "c"), ("a", " "), (" ", "c")]
)
def test_it_refuses_what_dtreward_refuses(modelled, exported, prompt, response):
    chat = load(exported["gemma2"]).backbone.chat
    for refuse in (chat.token_ids, lambda *texts: modelled.token_ids(*texts, chat.tokenizer)):
        with pytest.raises(ValueError, match=r"expected|must be"):
            refuse(prompt, response)


def test_its_tree_goes_where_dtrewards_goes(modelled):
    tree = PreferenceTree.published("Decision-Tree-Reward-Llama-3.1-8B")
    modelled.nodes = tree.to_dict()["nodes"]
    differences = np.random.default_rng(0).normal(size=(500, 5)).round(1)
    differences[:5] = 0.0
    ours = tree.probability(differences).tolist()
    assert [modelled.probability(row) for row in differences.tolist()] == ours


# The model card


def card_of(folder: Path) -> tuple[dict, str]:
    _, metadata, text = (folder / "README.md").read_text().split("---\n", 2)
    return yaml.safe_load(metadata), text


def test_the_card_names_its_licence_and_its_base_model(exported):
    metadata, text = card_of(exported["llama"])
    for key in (*LICENCE, "base_model", "datasets"):
        assert metadata[key] == CARD[key]
    assert metadata["library_name"] == "transformers"
    assert metadata["pipeline_tag"] == "text-classification"
    assert "[some-licence](https://example.org/licence)" in text


@pytest.mark.usefixtures("no_pictures")
def test_the_licence_is_the_backbones_unless_the_card_gives_another(tmp_path):
    backbone = make_replica(tmp_path / "backbone")
    card = {key: value for key, value in CARD.items() if key not in LICENCE}
    for readme in (None, "# No front matter\n", "---\ntags: [reward]\n---\n"):
        if readme is not None:
            (backbone / "README.md").write_text(readme)
        metadata, _ = card_of(export(tmp_path / "out", backbone, card=card))
        assert metadata["license"] == "unknown" and "license_link" not in metadata
    front = yaml.safe_dump(LICENCE | {"base_model": "owner/older"})
    (backbone / "README.md").write_text(f"---\n{front}---\n\n# A model\n")
    metadata, _ = card_of(export(tmp_path / "out", backbone, card=card))
    assert LICENCE.items() <= metadata.items() and metadata["base_model"] == "owner/backbone"
    metadata, _ = card_of(export(tmp_path / "out", backbone, card=card | {"license": "mit"}))
    assert metadata["license"] == "mit" and "license_name" not in metadata


def test_the_card_shows_the_published_leaderboard_as_the_numbers_of_others(exported, root):
    _, text = card_of(exported["llama"])
    board = pd.read_csv(root / "dtreward/published/leaderboard.csv", dtype=str)
    for row in board.itertuples(index=False):
        assert f"| {' | '.join(row)} |" in text
    assert "Published numbers of other models" in text


def test_the_card_shows_results_usage_and_pictures(exported):
    _, text = card_of(exported["llama"])
    assert "| tree | 0.91 [0.90, 0.92] |" in text
    assert 'load_decision_tree(repo_id, filename="decision_tree.pkl")' in text
    assert "helpfulness difference > 0.019" in text
    for name in ("tree.png", "architecture.png"):
        assert f"]({name})" in text
        assert (exported["llama"] / name).read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("no_pictures")
def test_the_card_says_demo_world_only_where_it_is(backbones, exported, tmp_path):
    assert "\n> **Demo world.** Trained on" in card_of(exported["llama"])[1]
    card = {key: value for key, value in CARD.items() if key != "demo"}
    assert "Demo world" not in card_of(export(tmp_path / "real", backbones["llama"], card=card))[1]


@pytest.mark.parametrize("card", [{"name": "n", "license": "mit"}, CARD | {"licence": "mit"}])
def test_a_card_with_missing_or_unknown_keys_is_refused_before_anything_is_written(
    backbones, tmp_path, card
):
    with pytest.raises(ValueError, match=r"base_model|licence"):
        export(tmp_path / "out", backbones["llama"], card=card)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("no_pictures")
def test_the_demo_backbone_passes_its_licence_on_and_no_path(tmp_path):
    source = make_replica(tmp_path / "source")
    model = AutoModelForSequenceClassification.from_pretrained(source, num_labels=1)
    tokenizer = AutoTokenizer.from_pretrained(source)
    backbone = write_backbone(tmp_path / "backbone", model, tokenizer, {"steps": 0})
    assert "not a result about language models" in (backbone / "README.md").read_text()
    card = {"name": "Tiny tree", "base_model": str(backbone)}
    folder = export(tmp_path / "out", backbone, card=card)
    assert card_of(folder)[0]["license"] == "apache-2.0"
    for path in [*backbone.iterdir(), *folder.iterdir()]:
        assert str(tmp_path).encode() not in path.read_bytes(), path


# Whole or absent


@pytest.mark.parametrize(
    "changes",
    [
        {"weight": np.zeros((4, HIDDEN), np.float32), "bias": np.zeros(4, np.float32)},
        {"weight": np.zeros((5, HIDDEN + 1), np.float32)},
        {"tree": PreferenceTree.single_split("helpfulness", 0.0)},
    ],
)
def test_parts_that_do_not_belong_together_are_refused(backbones, tmp_path, changes):
    with pytest.raises(ValueError, match=r"expected weight \(5, 32\)"):
        export(tmp_path / "out", backbones["llama"], **changes)


def test_the_same_export_gives_the_same_bytes(backbones, exported, tmp_path):
    again = export(tmp_path / "again", backbones["llama"])
    names = {path.name for path in again.iterdir()}
    assert names == {path.name for path in exported["llama"].iterdir()}
    for name in names:
        assert (again / name).read_bytes() == (exported["llama"] / name).read_bytes(), name


def test_only_such_a_checkpoint_is_replaced(backbones, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="choose another folder"):
        export(tmp_path, backbones["llama"])
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.usefixtures("no_pictures")
def test_a_checkpoint_can_be_exported_over_itself(tmp_path):
    folder = make_decision_tree_replica(tmp_path / "out")
    bias = np.arange(5, dtype=np.float32)
    export(folder, folder, bias=bias)
    assert np.array_equal(load(folder).head.score.bias.numpy(), bias)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.usefixtures("no_pictures")
def test_an_export_that_fails_leaves_the_old_checkpoint_and_nothing_else(
    backbones, tmp_path, monkeypatch
):
    folder = export(tmp_path / "out", backbones["llama"])
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    monkeypatch.setattr(export_module.os, "rename", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export(folder, backbones["llama"], bias=np.ones(5, np.float32))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]

"""What is said of a model before it is downloaded: right where it is right, each fault by its name."""

import json
import re
import shutil
import subprocess
import sys
import tempfile

import pytest
import torch
from conftest import ROOT
from hub_cache import PICKLE, commit_of, put_in_cache
from hub_server import serve
from huggingface_hub import constants
from reward_replicas import REPLICAS, make_critic
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaModel

from dtreward.models.check import check_model, leaderboard
from dtreward.models.facts import published_files
from dtreward.models.findings import DIFFERS, HOLDS, REFUSED, UNKNOWN, as_records
from dtreward.tree.tree import PreferenceTree

TREE_MODEL = "RLHFlow/Decision-Tree-Reward-Llama-3.1-8B"
GATED_HEAD = "nicolinho/QRM-Llama3.1-8B-v2"
CARD = "---\nlicense: other\nlicense_name: skywork-community-license\n---\n# A replica\n"
LLAMA_8B = {  # Llama 3.1's sizes
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
}


def make_tree_model(parent):
    """A small replica of the tree model, with the published tree and licence."""
    folder = REPLICAS["Decision-Tree-Reward-Llama-3.1-8B"].make(parent)
    PreferenceTree.published("Decision-Tree-Reward-Llama-3.1-8B").save(
        folder / "decision_tree.json"
    )
    (folder / "README.md").write_text(CARD)
    return folder


def write_sparse(path, shapes):
    """Write a safetensors file of zeros that takes no room on the disk."""
    header, end = {}, 0
    for name, shape in shapes.items():
        start, end = end, end + 2 * torch.Size(shape).numel()
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)


def make_full_size(parent):
    """The tree model with the published sizes, in four files of zeros: 15 GB that take no room."""
    folder = make_tree_model(parent)
    config = json.loads((folder / "config.json").read_text()) | LLAMA_8B
    (folder / "config.json").write_text(json.dumps(config))
    with torch.device("meta"):
        tensors = LlamaModel(LlamaConfig(**LLAMA_8B)).state_dict()
    shapes = {f"model.{name}": tensor.shape for name, tensor in tensors.items()}
    shapes |= {"score.weight": (5, 4096), "score.bias": (5,)}
    for path in folder.glob("*.safetensors*"):
        path.unlink()
    where = {}
    for number in range(4):
        name = f"model-{number + 1:05d}-of-00004.safetensors"
        own = list(shapes)[number::4]
        write_sparse(folder / name, {tensor: shapes[tensor] for tensor in own})
        where |= dict.fromkeys(own, name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    return folder


@pytest.fixture
def hub(monkeypatch):
    """A hub on this machine that this process's client asks."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with serve({}) as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.address)
        template = f"{server.address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield server


def outcomes(check):
    return {fact.name: (fact.outcome, fact.found) for fact in check.facts}


def test_of_a_model_as_published_nothing_differs_and_a_few_hundred_kilobytes_are_read(
    hub, tmp_path
):
    folder = make_full_size(tmp_path)
    hub.folders[TREE_MODEL] = folder
    check = check_model("Decision-Tree-Reward-Llama-3.1-8B")
    assert {fact.outcome for fact in check.facts} == {HOLDS}, str(check)
    assert check.decides == "decision-tree" and check.commit == commit_of(TREE_MODEL)
    weights = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    assert weights > 15e9 and check.received < 500_000
    assert check.requests == len(hub.asked)
    assert f"{check.received:,} bytes in {check.requests} requests" in str(check)


def rewrite_config(**changes):
    def change(folder):
        config = json.loads((folder / "config.json").read_text()) | changes
        (folder / "config.json").write_text(json.dumps(config))

    return change


def rewrite_tokenizer(change_text):
    def change(folder):
        path = folder / "tokenizer_config.json"
        settings = json.loads(path.read_text())
        change_text(settings)
        path.write_text(json.dumps(settings))

    return change


def rewrite_tensors(change_tensors):
    def change(folder):
        for path in sorted(folder.glob("*.safetensors")):
            tensors = load_file(path)
            change_tensors(tensors)
            save_file(tensors, path, metadata={"format": "pt"})

    return change


def rename_head(tensors):
    if "score.weight" in tensors:
        tensors["scorer.weight"] = tensors.pop("score.weight")


def narrow_head(tensors):
    if "score.weight" in tensors:
        tensors["score.weight"] = tensors["score.weight"][:, 1:].contiguous()


def drop_bias(tensors):
    tensors.pop("score.bias", None)


def halve(tensors):
    for name in tensors:
        tensors[name] = tensors[name].half()


def drop_norm(tensors):
    tensors.pop("model.norm.weight", None)


def put_call_into_tree(folder):
    (folder / "decision_tree.json").unlink()
    (folder / "decision_tree.pkl").write_bytes(b"cos\nsystem\n(S'true'\ntR.")


def put_other_tree(folder):
    (folder / "decision_tree.json").unlink()
    shutil.copyfile(PICKLE, folder / "decision_tree.pkl")


def cut_file(folder):
    path = min(folder.glob("*.safetensors"))
    path.write_bytes(path.read_bytes()[:-2])


def leave_pickles(folder):
    for path in folder.glob("*.safetensors*"):
        path.unlink()
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x02")


def other_marker(settings):
    settings["chat_template"] = settings["chat_template"].replace("<|eot_id|>", "<|end|>")


def lose_text(settings):
    settings["chat_template"] = "{{ bos_token }}Hello"


def change_licence(folder):
    (folder / "README.md").write_text(CARD.replace("other", "mit"))


FAULTS = {  # what is changed: the facts that change, and words that must be said
    "the class": (
        rewrite_config(architectures=["LlamaForTokenClassification"]),
        {"class": REFUSED},
        "process reward model",
    ),
    "an architecture that is not known": (
        rewrite_config(model_type="nothing-known"),
        {"class": REFUSED},
        "nothing-known",
    ),
    "the number of layers": (
        rewrite_config(num_hidden_layers=3),
        {"class": DIFFERS, "tensors": REFUSED},
        "layers.2.mlp.up_proj.weight",
    ),
    "a tensor of the backbone": (
        rewrite_tensors(drop_norm),
        {"tensors": REFUSED},
        "norm.weight",
    ),
    "the head's name": (
        rewrite_tensors(rename_head),
        {"head": REFUSED, "tensors": REFUSED, "tree": UNKNOWN},
        "scorer.weight",
    ),
    "the head's shape": (
        rewrite_tensors(narrow_head),
        {"head": REFUSED, "tree": UNKNOWN},
        "score.weight of the head has shape (5, 31)",
    ),
    "the bias": (
        rewrite_tensors(drop_bias),
        {"bias": DIFFERS, "tree": REFUSED},
        "lacks score.bias",
    ),
    "the number format": (rewrite_tensors(halve), {"dtype": DIFFERS}, "F16"),
    "the template's middle": (
        rewrite_tokenizer(other_marker),
        {"template": DIFFERS},
        "<|end|>",
    ),
    "the template's text": (
        rewrite_tokenizer(lose_text),
        {"BOS": REFUSED},
        "leaves out text",
    ),
    "a pickle that calls a function": (
        put_call_into_tree,
        {"tree": REFUSED},
        "os system",
    ),
    "the tree": (put_other_tree, {"tree": DIFFERS}, "decides by decision_tree.pkl"),
    "the licence": (change_licence, {"licence": DIFFERS}, "skywork-community-license"),
    "a file's length": (cut_file, {"size": REFUSED}, "absent or not whole"),
    "the weights' form": (leave_pickles, {"size": REFUSED}, ".bin files are pickles"),
}


@pytest.fixture(scope="module")
def replica(tmp_path_factory):
    """The small tree model, and what a check of its folder says."""
    folder = make_tree_model(tmp_path_factory.mktemp("replica"))
    return folder, outcomes(check_model(str(folder)))


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_is_named_with_what_load_will_do(fault, replica, hub, tmp_path):
    folder, right = replica
    change, expected, words = FAULTS[fault]
    shutil.copytree(folder, tmp_path / "wrong")
    change(tmp_path / "wrong")
    hub.folders[TREE_MODEL] = tmp_path / "wrong"
    check = check_model(TREE_MODEL)
    found = outcomes(check)
    assert {name: found[name][0] for name in expected} == expected, str(check)
    assert words in str(check) and tempfile.gettempdir() not in str(check)
    assert all(found[name] != right[name] for name in expected)
    # Where a file is cut or the class unknown, nothing more can be looked at.
    if not expected.keys() & {"class", "size", "BOS"}:
        others = found.keys() - expected.keys()
        assert {name: found[name][0] for name in others} == {n: right[n][0] for n in others}
    assert check.refused == (REFUSED in expected.values())
    assert ("load refuses it" in str(check)) == check.refused
    assert ("load takes it" in str(check)) != check.refused


def test_a_gate_whose_marker_the_template_does_not_write_is_refused(hub, tmp_path):
    folder = REPLICAS["QRM-Llama3.1-8B-v2"].make(tmp_path)
    hub.folders[GATED_HEAD] = folder
    right = outcomes(check_model(GATED_HEAD))
    assert right["gate marker"][0] == HOLDS
    rewrite_tokenizer(other_marker)(folder)
    check = check_model(GATED_HEAD)
    wrong = outcomes(check)
    assert wrong["gate marker"][0] == REFUSED and "put the template that" in str(check)
    assert {name for name in right if right[name] != wrong[name]} == {"gate marker", "template"}


@pytest.mark.parametrize("name", ["Decision-Tree-Reward-Llama-3.1-8B", "QRM-Gemma-2-27B"])
def test_the_start_of_a_large_tokenizer_says_what_the_whole_one_says(name, hub, tmp_path):
    folder = REPLICAS[name].make(tmp_path)
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    vocabulary = content["model"]["vocab"]
    vocabulary |= {f"word{number}": len(vocabulary) + number for number in range(40_000)}
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False))
    repo = REPLICAS[name].repo
    hub.folders[repo] = folder
    check = check_model(repo)
    read = outcomes(check)
    assert "not read" in read.pop("vocabulary")[1]
    assert read == outcomes(check_model(str(folder)))
    assert check.received < path.stat().st_size / 2


def test_a_critic_in_pickles_is_taken_and_none_of_its_weights_is_read(hub, tmp_path):
    folder = make_critic(tmp_path)
    repo = "Skywork/Skywork-Critic-Llama-3.1-70B"
    hub.folders[repo] = folder
    check = check_model(repo)
    assert not check.refused and check.decides == "verdict"
    assert not hub.sent(".bin") and "in 3 files" in outcomes(check)["size"][1]


def test_only_headers_are_asked_for_also_where_the_server_knows_no_parts(hub, tmp_path):
    folder = make_full_size(tmp_path)
    hub.folders[TREE_MODEL] = folder
    check_model(TREE_MODEL)
    parts = [re.match(r"bytes=(\d+)-(\d+)", part) for part in hub.sent(".safetensors")]
    assert parts and all(int(part[2]) < 100_000 for part in parts)
    hub.folders[TREE_MODEL] = make_tree_model(tmp_path / "small")
    hub.parts = False
    assert not check_model(TREE_MODEL).refused


@pytest.mark.parametrize(
    ("repo", "revision", "words"),
    [
        ("me/gated", None, "it is gated; accept its terms"),
        ("me/nowhere", None, "it has no such model, or a private one"),
        ("me/open", "v9", "it has no revision 'v9'"),
    ],
)
def test_what_the_hub_does_not_give_is_said_in_one_line(repo, revision, words, hub, tmp_path):
    folder = make_tree_model(tmp_path)
    hub.folders |= {"me/gated": folder, "me/open": folder}
    hub.gated.add("me/gated")
    with pytest.raises(FileNotFoundError, match=words) as raised:
        check_model(repo, revision)
    assert "\n" not in str(raised.value)


def test_with_the_hub_switched_off_the_cache_is_checked(hub, tmp_path, monkeypatch):
    put_in_cache(tmp_path, TREE_MODEL, "model", make_tree_model(tmp_path / "made"), "c" * 40)
    for module in (constants, sys.modules["huggingface_hub._snapshot_download"]):
        monkeypatch.setattr(module, "HF_HUB_CACHE", str(tmp_path / "hub"), raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    check = check_model(TREE_MODEL)
    assert check.commit == "c" * 40 and not check.refused and check.requests == 0


def test_checks_are_plain_values_for_other_programs(replica):
    folder, _ = replica
    (record,) = as_records([check_model(str(folder))])
    assert json.loads(json.dumps(record))["facts"][0]["name"] == "class"
    assert record["refused"] is False


def test_the_published_table_has_every_model_of_the_leaderboard_that_is_no_member():
    listed = set(leaderboard())
    members = {name for name in listed if name not in published_files()}
    assert members == {
        "Skywork/Skywork-Reward-Llama-3.1-8B",
        "Ray2333/GRM-Llama3-8B-rewardmodel-ft",
        "Ray2333/GRM-Gemma-2B-rewardmodel-ft",
    }


def test_the_command_checks_models_and_refuses_with_status_1(hub, tmp_path):
    hub.folders["me/right"] = make_tree_model(tmp_path / "right")
    hub.folders["me/wrong"] = make_tree_model(tmp_path / "wrong")
    rewrite_tensors(drop_norm)(hub.folders["me/wrong"])
    command = [sys.executable, "-m", "dtreward.cli", "check", "me/right", "me/wrong", "me/no"]
    environment = {"HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path), "PATH": "/usr/bin"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stdout.count("load takes it: decision-tree") == 1
    assert done.stdout.count("load refuses it (tensors)") == 1
    table = done.stdout.splitlines()[-3:]
    assert [line.split()[0] for line in table] == ["me/right", "me/wrong", "me/no"]
    assert "refuses it" in table[1] and "could not be read" in table[2]
    assert done.stderr.startswith("no folder me/no here") and done.stderr.count("\n") == 1

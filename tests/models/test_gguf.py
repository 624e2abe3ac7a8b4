"""Language models without a reward head, and GGUF files, as backbones."""

import shutil

import numpy as np
import pytest
import torch
from conftest import ROOT
from gguf_files import write_gguf, write_language_model
from huggingface_hub import constants
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from dtreward import load
from dtreward.conversation import PLAIN_TEMPLATE
from dtreward.engine.forward import last_hidden_states
from dtreward.models.checkpoint_folder import read_config
from dtreward.models.export import export_checkpoint
from dtreward.models.gguf import unpack_gguf
from dtreward.models.load_checkpoint import load_language_model
from dtreward.tree.tree import PreferenceTree

DEMO = ROOT / "data" / "demo"
CONVERSATIONS = [("How many apples?", "Three."), ("2 + 2?", "It is 4, because 2 + 2 is 4.")]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "cache"))


@pytest.fixture
def language_model(tmp_path):
    return write_language_model(tmp_path / "plain")


def test_a_gguf_file_becomes_a_folder_with_the_same_weights_and_says_so(language_model, tmp_path):
    folder = unpack_gguf(write_gguf(language_model, tmp_path / "tiny.gguf"))
    unpacked = load_file(folder / "model.safetensors")
    original = load_file(language_model / "model.safetensors")
    for name, values in original.items():
        assert torch.equal(unpacked[name], values.float()), name
    assert read_config(folder)["dequantised_from"]["file"] == "tiny.gguf"
    written = (folder / "model.safetensors").stat().st_mtime_ns
    assert unpack_gguf(tmp_path / "tiny.gguf") == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == written
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_features_of_a_quantised_file_are_those_of_transformers(language_model, tmp_path):
    path = write_gguf(language_model, tmp_path / "tiny.gguf", quantised=True)
    backbone = load_language_model(path)
    assert backbone.identity["dequantised_from"] == "tiny.gguf"
    reference = AutoModelForCausalLM.from_pretrained(
        tmp_path, gguf_file=path.name, dtype=torch.float32, attn_implementation="eager"
    )
    exact = load_language_model(language_model)
    for conversation in CONVERSATIONS:
        ids = backbone.chat.token_ids(*conversation).ids
        with torch.no_grad():
            wanted = reference.model(torch.tensor([ids])).last_hidden_state[0, -1].numpy()
        (features,) = last_hidden_states(backbone, [ids])
        assert np.abs(features - wanted).max() < 1e-5
        (unquantised,) = last_hidden_states(exact, [exact.chat.token_ids(*conversation).ids])
        assert np.abs(unquantised - wanted).max() > 1e-4  # quantising changes more than that


def test_a_file_that_is_no_gguf_is_refused_and_leaves_nothing(tmp_path):
    (tmp_path / "broken.gguf").write_bytes(b"GGUF" + bytes(64))
    with pytest.raises(ValueError, match=r"broken\.gguf cannot be read as a GGUF model"):
        load_language_model(tmp_path / "broken.gguf")
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


def test_a_language_model_without_a_chat_template_takes_the_plain_transcript(language_model):
    chat = load_language_model(language_model).chat
    ids = chat.token_ids("2 + 2?", "It is 4.").ids
    assert chat.tokenizer.decode(ids[1:]) == "User: 2 + 2?\n\nAssistant: It is 4."
    assert ids[0] == chat.tokenizer.bos_token_id
    taught = load_language_model(DEMO).chat
    assert taught.identity["chat_template"] != chat.identity["chat_template"]


def test_the_chat_template_of_a_gguf_file_is_used(language_model, tmp_path):
    template = "{% for message in messages %}<{{ message.role }}>{{ message.content }}{% endfor %}"
    path = write_gguf(language_model, tmp_path / "tiny.gguf", chat_template=template)
    chat = load_language_model(path).chat
    ids = chat.token_ids("2 + 2?", "It is 4.").ids
    assert chat.tokenizer.decode(ids[1:]) == "<user>2 + 2?<assistant>It is 4."


def test_a_checkpoint_on_a_plain_language_model_loads_with_the_template_of_its_features(
    language_model, tmp_path
):
    backbone = load_language_model(language_model)
    head = torch.randn(2, backbone.hidden_size, generator=torch.Generator().manual_seed(0))
    names = ("clarity", "depth")
    folder = export_checkpoint(
        tmp_path / "checkpoint",
        backbone_folder=language_model,
        weight=head.numpy(),
        bias=np.zeros(2, np.float32),
        tree=PreferenceTree.fit(
            np.array([[-1.0, 0], [1, 0]]), np.array([0, 1]), attributes=names, max_depth=1
        ),
        attributes=names,
        card={"name": "a test", "base_model": "plain"},
    )
    assert (folder / "chat_template.jinja").read_text() == PLAIN_TEMPLATE
    model = load(folder)
    ids = backbone.chat.token_ids(*CONVERSATIONS[0]).ids
    (features,) = last_hidden_states(backbone, [ids])
    assert np.abs(model.rewards(CONVERSATIONS[:1])[0] - features @ head.numpy().T).max() < 1e-4


def test_load_still_asks_for_a_head(language_model):
    shutil.copyfile(DEMO / "chat_template.jinja", language_model / "chat_template.jinja")
    with pytest.raises(ValueError, match="expected a head"):
        load(language_model)

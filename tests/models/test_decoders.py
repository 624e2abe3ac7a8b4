"""Decoders of transformers, in small: read in packs as alone, to the bit, or refused with the reason."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from replicas import FIVE, make_tokenizer, read_tensors, write_tensors
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)

from dtreward.engine import attention, law
from dtreward.engine.law import check_architecture
from dtreward.engine.small_copy import draw_weights, layers_needed, shrink
from dtreward.models import card
from dtreward.models.decoders import backbone_class
from dtreward.models.export import export_checkpoint
from dtreward.models.loader import load
from dtreward.tree.tree import PreferenceTree

WINDOW = 24  # tokens; every conversation below is longer
SHAPE = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
}
WIDE = {"head_dim": 16}  # not hidden / heads
WINDOWS = {"sliding_window": WINDOW, "layer_types": ["sliding_attention", "full_attention"] * 2}
FOUR = {"num_hidden_layers": 4}
EXPERTS = {"num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
# By name: model_type, what its configuration has beside `SHAPE`, and whether pruning is exact.
DECODERS = {
    "llama": ("llama", {"attention_bias": True}, True),
    "gemma": ("gemma", WIDE, True),
    "gemma2": ("gemma2", {**WIDE, **FOUR, **WINDOWS, "query_pre_attn_scalar": 9}, True),
    "qwen2": ("qwen2", {"use_sliding_window": False}, True),
    "qwen2 with windows": (
        "qwen2",
        {**FOUR, "use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 2},
        True,
    ),
    "qwen3": ("qwen3", WIDE, True),
    "qwen3_moe": ("qwen3_moe", {**WIDE, **EXPERTS}, True),
    "mistral with windows": ("mistral", {"sliding_window": WINDOW}, True),
    "mixtral": ("mixtral", {"num_local_experts": 6, "num_experts_per_tok": 2}, True),
    "gemma3_text": (
        "gemma3_text",
        {**WIDE, "num_hidden_layers": 7, "sliding_window": WINDOW},
        True,
    ),
    "phi3": ("phi3", {"rope_parameters": {"partial_rotary_factor": 0.5, "rope_theta": 1e4}}, False),
    "olmo2": ("olmo2", {}, False),
    "olmo3": ("olmo3", {**FOUR, "sliding_window": WINDOW}, False),
    "smollm3": ("smollm3", {**FOUR, "no_rope_layer_interval": 4}, False),
    "granite": ("granite", {"residual_multiplier": 0.22, "attention_multiplier": 0.2}, False),
    "glm4": ("glm4", {**WIDE, "rope_parameters": {"partial_rotary_factor": 0.5}}, False),
    "cohere2": ("cohere2", {**FOUR, "sliding_window": WINDOW}, False),
}
CONVERSATIONS = [
    (f"What is {number} and {number}, and why is it so?", answer)
    for number in (1, 22, 333)
    for answer in (f"It is {2 * number}.", "Nobody can say it in so few words as these are. " * 2)
]


def make_config(model_type, entries):
    """Make a configuration with the sizes of `SHAPE` for the tests' tokenizer."""
    tokenizer = make_tokenizer("llama")
    tokens = {
        name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")
    }
    vocabulary = {"vocab_size": len(tokenizer)}
    return AutoConfig.for_model(model_type, **{**vocabulary, **tokens, **SHAPE, **entries})


def make_folder(folder: Path, model_type, entries) -> Path:
    """Write a score model as its trainer would: transformers' own names, and a head of one row."""
    model = AutoModelForCausalLM.from_config(make_config(model_type, entries))
    draw_weights(model, seed=0)
    model.save_pretrained(folder)
    make_tokenizer("llama").save_pretrained(folder)
    tensors = read_tensors(folder)
    tensors.pop("lm_head.weight", None)
    tensors["score.weight"] = torch.randn(1, SHAPE["hidden_size"])
    write_tensors(folder, tensors)
    return folder


@pytest.fixture
def decoder(request, tmp_path):
    """A decoder's folder, and whether its last layer may be pruned."""
    model_type, entries, pruned = DECODERS[request.param]
    return make_folder(tmp_path / "model", model_type, entries), pruned


@torch.inference_mode()
def features_alone(folder, model):
    """Compute each conversation's last state by transformers' own code."""
    plain = AutoModel.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32)
    states = []
    for prompt, response in CONVERSATIONS:
        ids = model.backbone.chat.token_ids(prompt, response).ids
        assert len(ids) > WINDOW
        states.append(plain(torch.tensor([ids]), use_cache=False).last_hidden_state[0, -1])
    return torch.stack(states).numpy()


@pytest.mark.parametrize("decoder", DECODERS, indirect=True)
def test_a_decoder_gives_in_packs_what_it_gives_alone_and_the_same_bits_in_any_company(decoder):
    folder, pruned = decoder
    model = load(folder, device="cpu", pack_tokens=256)
    assert model.backbone.identity.get("last_layer") == (None if pruned else "whole")
    features = model.features(CONVERSATIONS)
    wanted = features_alone(folder, model)
    assert np.linalg.norm(features - wanted) < 1e-5 * np.linalg.norm(wanted)
    assert np.array_equal(model.features(CONVERSATIONS[::-1]), features[::-1])
    for row in (0, 3):  # alone, so that nothing shares its prompt
        assert np.array_equal(model.features(CONVERSATIONS[row : row + 1])[0], features[row])
    assert len(np.unique(features, axis=0)) == len(features)


def save_nothing(figure, stem):
    """Leave a card's pictures out, which take most of an export's time."""
    place = Path(f"{stem}.pdf")
    place.touch()
    return [place]


@pytest.mark.parametrize("decoder", ["qwen3", "granite"], indirect=True)
def test_a_tree_exported_on_a_new_decoder_runs_in_plain_transformers(
    decoder, tmp_path, monkeypatch
):
    """Of Granite transformers has no classifier of its own."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(card, "save_figure", save_nothing)
    folder, _ = decoder
    generator = np.random.default_rng(0)
    exported = export_checkpoint(
        tmp_path / "tree",
        backbone_folder=folder,
        weight=generator.normal(size=(5, SHAPE["hidden_size"])).astype(np.float32),
        bias=generator.normal(size=5).astype(np.float32),
        attributes=FIVE,
        tree=PreferenceTree.published("Human"),
        card={"name": "a/tree", "base_model": "a/model"},
    )
    prompt, response = CONVERSATIONS[1]
    plain = AutoModelForSequenceClassification.from_pretrained(
        exported, trust_remote_code=True, attn_implementation="eager", dtype=torch.float32
    )
    rewards = plain.rewards(prompt, response, AutoTokenizer.from_pretrained(exported))
    model = load(exported, device="cpu")
    assert model.kind == "decision-tree"
    np.testing.assert_allclose(model.rewards([(prompt, response)])[0], rewards, rtol=1e-4)


HYBRID = {"num_hidden_layers": 4, "layer_types": ["linear_attention"] * 3 + ["full_attention"]}
REFUSED = {
    "sinks": ("gpt_oss", {**WIDE, **FOUR}, r"\(TypeError: its attention takes s_aux, which packed"),
    "a delta net": ("qwen3_next", HYBRID, "layers of kind linear_attention, which keep a state"),
    "state spaces": (
        "falcon_h1",
        {"time_step_limit": [0.0, 9.0]},
        "layers of kind hybrid, which keep a state",
    ),
    "other values": ("deepseek_v3", {}, "cannot be computed in a pack"),
    "no keywords": ("nemotron", {"head_dim": 8}, "cannot be computed in a pack"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_decoder_that_breaks_the_law_is_refused_before_its_weights_are_read(name, tmp_path):
    model_type, entries, words = REFUSED[name]
    make_config(model_type, entries).save_pretrained(tmp_path)
    make_tokenizer("llama").save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=words) as refusal:
        load(tmp_path, device="cpu")
    assert str(tmp_path) in str(refusal.value)


def check(name, **changes):
    """Check an architecture of `DECODERS`."""
    model_type, entries, _ = DECODERS[name]
    config = make_config(model_type, {**entries, **changes})
    return check_architecture(backbone_class(model_type), config)


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """An empty cache."""
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path))
    return tmp_path / "dtreward" / "architectures"


def test_the_layer_that_differs_is_named(kept, monkeypatch):
    """Control: a kernel that forgets windows, as pruning once did for Mistral and Qwen2."""
    exact = attention.plain
    monkeypatch.setattr(attention, "plain", lambda *arguments: exact(*arguments[:-1], 0))
    with pytest.raises(
        ValueError, match=r"layer 1 of 3 \(full_attention\) differs by [\d.]+e-0[12]"
    ):
        check("mistral with windows")
    with pytest.raises(ValueError, match=r"layer 3 of 4 \(sliding_attention\) differs by"):
        check("qwen2 with windows")
    assert check("qwen3")


def test_sinks_that_are_swallowed_would_be_found(kept, monkeypatch):
    monkeypatch.setattr(attention, "IGNORED", (*attention.IGNORED, "s_aux"))
    with pytest.raises(ValueError, match=r"layer 1 of 4 \(sliding_attention\) differs by"):
        check_architecture(backbone_class("gpt_oss"), make_config("gpt_oss", {**WIDE, **FOUR}))


def test_the_second_check_of_a_configuration_builds_nothing(kept, monkeypatch):
    assert check("llama", num_hidden_layers=4) and not check("olmo2")
    monkeypatch.setattr(law, "_check_small_copy", lambda *_: pytest.fail("a copy was built"))
    assert check("llama", num_hidden_layers=4) and not check("olmo2")
    assert check("llama", num_hidden_layers=80, vocab_size=999)
    monkeypatch.setattr(law, "_check_small_copy", lambda *_: False)
    assert not check("qwen3"), "another architecture is checked for itself"
    monkeypatch.setattr(law.transformers, "__version__", "another")
    assert not check("llama", num_hidden_layers=4), "another version is checked for itself"


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"pruned": "yes"}', b"\xff"])
def test_a_damaged_answer_is_found_out_again(content, kept, monkeypatch):
    monkeypatch.setattr(law, "_check_small_copy", lambda *_: True)
    assert check("llama")
    (place,) = kept.iterdir()
    whole = place.read_bytes()
    place.write_bytes(content)
    assert check("llama")
    assert place.read_bytes() == whole and json.loads(whole)["pruned"] is True


def test_a_cache_that_cannot_be_written_does_no_harm(kept, monkeypatch):
    monkeypatch.setattr(law, "_check_small_copy", lambda *_: True)
    kept.parent.write_text("a file where the folder would be")
    assert check("llama") and check("llama")


def test_a_check_leaves_random_numbers_as_they_are(kept):
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    check("qwen2")
    assert torch.equal(torch.rand(3), wanted)


def test_on_a_gpu_new_decoders_were_found_to_give_the_same_bits(root):
    """What the page on speed says, in the record of `tests/new_backbones.py`."""
    record = json.loads((root / "data" / "measured" / "new_backbones.json").read_text())
    assert record["machine"]["device"] == "NVIDIA H200"
    assert set(record["architectures"]) == {"qwen3", "qwen3_moe", "mistral", "gemma3_text", "olmo2"}
    for checked in record["architectures"].values():
        assert checked["compiled"] and checked["kernels"][0] != "plain"
        assert not checked["same_bits"].pop("control: two prompts give equal features")
        assert len(checked["same_bits"]) == 4 and all(checked["same_bits"].values())
        # A quarter is left for another order of sums.
        assert checked["error_against_float32"] < 1.25 * checked["error_of_eager_bfloat16"]


def test_a_small_copy_has_every_kind_of_layer_and_ends_as_the_model_does():
    gemma = make_config("gemma3_text", {"num_hidden_layers": 34})
    small = shrink(gemma)
    assert layers_needed(gemma) == small.num_hidden_layers == 7
    assert set(small.layer_types) == set(gemma.layer_types)
    assert small.layer_types[-1] == gemma.layer_types[-1]
    assert gemma.num_hidden_layers == 34 and gemma.hidden_size == SHAPE["hidden_size"]
    windowed = DECODERS["qwen2 with windows"][1] | {
        "num_hidden_layers": 28,
        "max_window_layers": 21,
    }
    assert layers_needed(make_config("qwen2", windowed)) == 22

"""Few short conversations are read in a small pack; each size keeps the bits, and says which it is."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import small_packs
import torch
from extraction import CONVERSATIONS, extract
from replicas import make_replica

from dtreward.engine.forward import last_hidden_states
from dtreward.models.head_model import HeadModel
from dtreward.models.load_backbone import (
    PACK_TOKENS_CPU,
    PACK_TOKENS_GPU,
    SMALL_PACKS_GPU,
    Engine,
    _pack_sizes,
)
from dtreward.models.loader import load

SMALL = (128, 256)  # beside packs of 1,024 tokens


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A score model on a CPU, with the small packs that a GPU would have."""
    model = load(make_replica(tmp_path_factory.mktemp("small") / "score"))
    identity = model.backbone.identity | {"small_packs": "128, 256"}
    backbone = replace(model.backbone, identity=identity, small_packs=SMALL)
    return HeadModel(backbone, model.head)


def ids_of(*lengths):
    """Conversations of so many tokens that share nothing."""
    return [np.full(length, place + 3) for place, length in enumerate(lengths)]


@pytest.mark.parametrize(
    ("lengths", "size"),
    [
        ((60, 68), 128),  # full
        ((60, 69), 256),
        ((129,), 256),
        ((200, 57), 1024),
        ((20,) * 4, 128),
        ((20,) * 5, 256),  # 128 tokens have room for four conversations
        ((20,) * 9, 1024),
        ((257,), 1024),
    ],
)
def test_the_smallest_pack_that_holds_the_whole_call_is_taken(model, lengths, size):
    plans = model.backbone.plans(ids_of(*lengths))
    assert [plan.size for plan in plans] == [size]


def test_a_shared_prompt_counts_once(model):
    pair = [np.r_[np.full(80, 3), np.full(20, end)] for end in (4, 5)]
    assert [plan.size for plan in model.backbone.plans(pair, ["same", "same"])] == [128]
    assert [plan.size for plan in model.backbone.plans(pair)] == [256]


def test_more_than_one_pack_of_a_small_size_is_never_taken(model):
    plans = model.backbone.plans(ids_of(*[100] * 11))
    assert [plan.size for plan in plans] == [1024, 1024]
    assert model.backbone.plans([]) == []
    assert [plan.size for plan in model.backbone.plans(ids_of(1500))] == [2048]


def test_features_of_one_small_size_have_the_same_bits_in_any_company(model):
    backbone = model.backbone
    draw = np.random.default_rng(0)
    ids = [draw.integers(3, 200, length) for length in (30, 50, 41)]
    features = last_hidden_states(backbone, ids)
    assert np.array_equal(last_hidden_states(backbone, ids[::-1])[::-1], features)
    assert np.array_equal(last_hidden_states(backbone, ids[1:2]), features[1:2])
    assert not np.array_equal(features[0], features[1])
    exact = last_hidden_states(backbone.with_one_size(), ids)
    # Sums in another order, in float32.
    np.testing.assert_allclose(features, exact, rtol=0, atol=1e-5 * np.abs(exact).max())


def test_a_comparison_takes_the_small_pack_and_many_the_large(model, monkeypatch):
    sizes = []
    lay_out = "dtreward.engine.forward.lay_out"
    from dtreward.engine.packing import lay_out as exact

    def note(plan, *others):
        sizes.append(plan.size)
        return exact(plan, *others)

    monkeypatch.setattr(lay_out, note)
    pair = ("How many?", "Two.", "Three.")
    model.compare(*pair)
    assert sizes == [128]
    sizes.clear()
    model.compare_many(*([text] * 30 for text in pair))
    assert set(sizes) == {1024}


def test_extraction_has_one_size_and_the_key_that_it_had_before(model, tmp_path):
    few = CONVERSATIONS[:2]  # which would fit into a small pack
    manifest = extract(model.backbone, tmp_path / "some", few)
    one_size = load_as_before(model)
    assert manifest == extract(one_size, tmp_path / "same", few)
    assert manifest["key"]["pack_tokens"] == "1024" and "small_packs" not in manifest["key"]
    assert json.loads((tmp_path / "some" / "manifest.json").read_text())["bit_for_bit"]


def load_as_before(model):
    """The backbone without small packs, and without an entry that names them."""
    identity = dict(model.backbone.identity)
    identity.pop("small_packs")
    return replace(model.backbone, identity=identity, small_packs=())


def test_a_backbone_that_is_loaded_once_more_for_a_worker_has_one_size_too(model):
    again = model.backbone.with_one_size().again(device="cpu")
    assert not again.small_packs and "small_packs" not in again.identity
    plain = load_as_before(model)
    assert plain.with_one_size() is plain


def test_a_gpu_has_small_packs_unless_a_size_is_asked_for():
    gpu, cpu = torch.device("cuda"), torch.device("cpu")
    assert _pack_sizes(None, gpu) == (PACK_TOKENS_GPU, SMALL_PACKS_GPU)
    assert _pack_sizes(4096, gpu) == (4096, ())
    assert _pack_sizes(None, cpu) == (PACK_TOKENS_CPU, ())
    engine = Engine("packed", ("flex", "flex"), PACK_TOKENS_GPU, small_packs=SMALL_PACKS_GPU)
    assert engine.identity["pack_tokens"] == str(PACK_TOKENS_GPU)
    assert engine.identity["small_packs"] == ", ".join(map(str, SMALL_PACKS_GPU))
    assert "small_packs" not in Engine("packed", ("flex", "flex"), 4096).identity


def test_the_measurement_of_small_packs_runs_with_a_tiny_model():
    """Here on a CPU; `python tests/small_packs.py llama-3.1-8b ...` is for a GPU."""
    measured = small_packs.measure("tiny-llama", torch.device("cpu"), (512, 1024), repeats=1)
    for size in measured["sizes"].values():
        bits = size["same_bits"]
        assert bits["in reverse"] and bits["alone"] and size["compare"]["median"] > 0
        assert not bits["control: another conversation"]


def test_a_short_pair_was_measured_within_the_goal(root):
    """Two answers of 100 tokens on an 8B model: 85 ms in packs of 4,096 tokens, 30 ms wanted."""
    found = json.loads((root / "data" / "measured" / "small_packs_llama-3.1-8b.json").read_text())
    assert "H200" in found["machine"]["device"] and found["answer_tokens"] == 100
    assert found["default"]["100"]["median"] < 0.03 < found["sizes"]["4096"]["compare"]["median"]
    assert tuple(found["small_packs"]) == SMALL_PACKS_GPU
    for size in found["sizes"].values():
        assert size["same_bits"]["in reverse"] and size["same_bits"]["alone"]

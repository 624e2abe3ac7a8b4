"""LoRA adapters: loaded, one scores as the model with its matrices merged by hand."""

from __future__ import annotations

import json
import math
import pickle

import numpy as np
import pytest
import torch
from hub_server import serve
from huggingface_hub import constants
from replicas import HIDDEN, make_replica, read_tensors, write_tensors
from safetensors.torch import save_file

from dtreward.models import checkpoint_folder
from dtreward.models.adapter import merge_adapter, read_adapter
from dtreward.models.check import check_model
from dtreward.models.loader import load

TEXTS = [("2 + 2?", "4, because two and two are four."), ("2 + 2?", "Five.")]
RANK, ALPHA = 4, 8
MODULES = ("model.layers.0.self_attn.q_proj", "model.layers.1.mlp.down_proj")
CONFIG = {
    "peft_type": "LORA",
    "task_type": "SEQ_CLS",
    "r": RANK,
    "lora_alpha": ALPHA,
    "lora_dropout": 0.05,
    "bias": "none",
    "fan_in_fan_out": False,
    "inference_mode": True,
    "init_lora_weights": True,
    "modules_to_save": ["score"],
    "target_modules": ["q_proj", "down_proj"],
    "use_dora": False,
    "use_rslora": False,
    "alpha_pattern": {},
    "rank_pattern": {},
    "revision": None,
}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A language model without a head, to which adapters are trained."""
    return make_replica(tmp_path_factory.mktemp("models") / "base", rows=0)


def matrices(base):
    """Draw a pair of matrices for each module that is changed."""
    generator = torch.Generator().manual_seed(0)
    tensors = read_tensors(base)
    pairs = {}
    for module in MODULES:
        outputs, inputs = tensors[f"{module}.weight"].shape
        first = torch.randn(RANK, inputs, generator=generator)
        pairs[module] = (first, torch.randn(outputs, RANK, generator=generator) * 0.3)
    return pairs


def adapter_tensors(base):
    """Give the adapter's tensors under the names that peft writes."""
    tensors = {"base_model.model.score.weight": torch.linspace(-1, 1, HIDDEN)[None].contiguous()}
    for module, (first, second) in matrices(base).items():
        tensors[f"base_model.model.{module}.lora_A.weight"] = first
        tensors[f"base_model.model.{module}.lora_B.weight"] = second
    return tensors


def write_adapter(folder, base, *, drop=(), more=(), **changes):
    """Write an adapter's folder as peft does."""
    folder.mkdir()
    config = CONFIG | {"base_model_name_or_path": str(base)} | changes
    (folder / "adapter_config.json").write_text(json.dumps(config))
    tensors = adapter_tensors(base) | dict(more)
    kept = {name: tensor for name, tensor in tensors.items() if name not in drop}
    save_file(kept, folder / "adapter_model.safetensors")
    return folder


@pytest.mark.parametrize(
    ("changes", "scale"),
    [({}, ALPHA / RANK), ({"use_rslora": True}, ALPHA / math.sqrt(RANK))],
    ids=["plain", "rslora"],
)
def test_an_adapter_scores_as_the_model_with_its_matrices_merged(base, tmp_path, changes, scale):
    adapted = load(write_adapter(tmp_path / "adapter", base, **changes), dtype="float64")
    transformer = load_merged(base, tmp_path / "merged", scale)
    np.testing.assert_allclose(adapted.scores(TEXTS), transformer.scores(TEXTS), rtol=1e-4)
    unchanged = load_merged(base, tmp_path / "unchanged", 0.0)
    difference = np.abs(adapted.scores(TEXTS) - unchanged.scores(TEXTS))
    assert (difference > 0.01 * np.abs(unchanged.scores(TEXTS))).all()  # the positive control


def load_merged(base, folder, scale):
    """Merge by hand, and save a whole classifier; its weights are rounded to float32."""
    make_replica(folder)
    tensors = read_tensors(base)
    for module, (first, second) in matrices(base).items():
        update = scale * second.double() @ first.double()
        merged = tensors[f"{module}.weight"].double() + update
        tensors[f"{module}.weight"] = merged.float()
    tensors["score.weight"] = adapter_tensors(base)["base_model.model.score.weight"]
    write_tensors(folder, tensors)
    return load(folder, dtype="float64")


def test_an_adapters_identity_is_its_own_and_it_is_loaded_again_alike(base, tmp_path):
    folder = write_adapter(tmp_path / "adapter", base)
    model = load(folder)
    again = model.backbone.again(device="cpu")
    assert dict(again.identity) == dict(model.backbone.identity)
    assert model.backbone.identity["model"] == "adapter"
    other = load(write_adapter(tmp_path / "other", base, lora_alpha=4))
    assert other.backbone.identity["weights"] == model.backbone.identity["weights"]
    assert other.backbone.identity["adapter"] != model.backbone.identity["adapter"]
    ids = model.backbone.chat.token_ids(*TEXTS[0]).ids
    states = [
        each.transformer(torch.tensor([ids])).last_hidden_state
        for each in (make_eager(model.backbone), make_eager(again))
    ]
    assert torch.equal(*states)


def make_eager(backbone):
    """Let a transformer compute attention without packs."""
    backbone.transformer.set_attn_implementation("eager")
    return backbone


def test_an_adapter_on_the_hub_fetches_its_base_model_at_its_revision(base, tmp_path, monkeypatch):
    adapter = write_adapter(
        tmp_path / "a1b2", base, base_model_name_or_path="owner/base", revision="v1"
    )
    asked = []

    def fetch(repo, *, revision, **_):
        asked.append((repo, revision))
        return str({"owner/adapter": adapter, "owner/base": base}[repo])

    monkeypatch.setattr(checkpoint_folder, "snapshot_download", fetch)
    model = load("owner/adapter")
    assert model.backbone.identity["model"] == "owner/adapter"
    assert asked == [
        ("owner/adapter", None),
        ("owner/adapter", None),
        ("owner/base", "v1"),
        ("owner/base", base.name),
    ]


def test_llama_factorys_head_beside_an_adapter_is_its_head(base, tmp_path):
    head = "base_model.model.score.weight"
    whole = load(write_adapter(tmp_path / "whole", base)).scores(TEXTS)
    folder = write_adapter(tmp_path / "adapter", base, drop=[head])
    beside = {"v_head.summary.weight": adapter_tensors(base)[head]}
    save_file(beside, folder / "value_head.safetensors")
    assert np.array_equal(load(folder).scores(TEXTS), whole)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"use_dora": True}, "use_dora True, which is not merged here"),
        ({"bias": "all"}, "bias 'all', which"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights 'pissa', which"),
        ({"rank_pattern": {"q_proj": 8}}, "rank_pattern"),
        ({"use_something_new": 1}, "use_something_new 1, which"),
        ({"fan_in_fan_out": True}, "fan_in_fan_out True"),
        ({"peft_type": "IA3"}, "adapter of type 'IA3'"),
        ({"r": 0}, "has r 0"),
        ({"lora_alpha": None}, "lora_alpha None"),
        ({"r": 3}, r"have shapes .*'A': \(4, 32\).* for rank 3"),
        ({"base_model_name_or_path": "no/such/model"}, "an adapter to no/such/model"),
    ],
    ids=lambda value: str(value)[:28],
)
def test_an_adapter_that_cannot_be_merged_is_refused(base, tmp_path, changes, words):
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        load(write_adapter(tmp_path / "adapter", base, **changes))


def test_an_adapter_without_a_head_is_refused(base, tmp_path):
    folder = write_adapter(tmp_path / "adapter", base, drop=["base_model.model.score.weight"])
    with pytest.raises(ValueError, match=r"without a head.*modules_to_save=\[\"score\"\]"):
        load(folder)


@pytest.mark.parametrize(
    ("name", "shape", "words"),
    [
        ("base_model.model.model.embed_tokens.weight", (2, HIDDEN), "neither a head's nor LoRA's"),
        (
            "base_model.model.model.layers.7.mlp.up_proj.lora_A.weight",
            (RANK, HIDDEN),
            "changes lay",
        ),
        (
            "base_model.model.model.layers.0.mlp.up_proj.lora_A.weight",
            (RANK, HIDDEN),
            "have shapes",
        ),
        ("base_model.model.v_head.weight", (1, HIDDEN), "expected one head, found 2"),
    ],
)
def test_a_tensor_that_belongs_nowhere_is_refused(base, tmp_path, name, shape, words):
    folder = write_adapter(tmp_path / "adapter", base, more={name: torch.ones(shape)})
    with pytest.raises(ValueError, match=words):
        load(folder)


def test_a_pickled_or_damaged_adapter_is_refused(base, tmp_path):
    folder = write_adapter(tmp_path / "adapter", base)
    weights = folder / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    with pytest.raises(ValueError, match="absent or not whole"):
        load(folder)
    weights.unlink()
    (folder / "adapter_model.bin").write_bytes(pickle.dumps({}))
    with pytest.raises(ValueError, match=r"adapter_model\.bin, a pickle"):
        load(folder)


def test_merging_rounds_once_to_the_weights_number_format(base, tmp_path):
    adapter = read_adapter(write_adapter(tmp_path / "adapter", base))
    layer = torch.nn.Module()
    first, second = matrices(base)[MODULES[0]]
    layer.layers = torch.nn.ModuleList([torch.nn.Module()])
    layer.layers[0].self_attn = torch.nn.Module()
    outputs, inputs = second.shape[0], first.shape[1]
    linear = torch.nn.Linear(inputs, outputs, bias=False, dtype=torch.bfloat16)
    layer.layers[0].self_attn.q_proj = linear
    before = linear.weight.detach().float()
    with pytest.raises(ValueError, match=r"changes layers\.1\.mlp\.down_proj"):
        merge_adapter(layer, adapter)
    expected = (before + ALPHA / RANK * (second @ first)).to(torch.bfloat16)
    assert torch.equal(linear.weight, expected)


def test_an_adapter_is_checked_with_its_base_model(base, tmp_path):
    folder = write_adapter(tmp_path / "adapter", base)
    check = check_model(str(folder))
    facts = {fact.name: fact for fact in check.facts}
    assert (check.refused, check.decides) == (False, "score")
    assert facts["adapter"].found == f"LoRA of rank {RANK}, scale 2, merged into {base}"
    assert facts["head"].found == f"score.weight 1x{HIDDEN}"


def test_a_check_refuses_the_adapters_that_load_refuses(base, tmp_path):
    headless = write_adapter(
        tmp_path / "headless", base, drop=["base_model.model.score.weight"], modules_to_save=None
    )
    assert "is an adapter without a head" in check_model(str(headless)).reason
    other = write_adapter(tmp_path / "other", base, r=RANK + 1)
    assert f"expected {{'A': ({RANK + 1}" in check_model(str(other)).reason
    lost = write_adapter(tmp_path / "lost", base, base_model_name_or_path=str(tmp_path / "no"))
    with pytest.raises(FileNotFoundError, match="say where in base_model_name_or_path"):
        check_model(str(lost))
    dora = write_adapter(tmp_path / "dora", base, use_dora=True)
    with pytest.raises(ValueError, match="use_dora True, which is not merged here"):
        check_model(str(dora))


def test_an_adapter_on_the_hub_is_checked_without_its_or_its_bases_weights(
    base, tmp_path, monkeypatch
):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    adapter = write_adapter(tmp_path / "adapter", base, base_model_name_or_path="me/base")
    with serve({"me/adapter": adapter, "me/base": base}) as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.address)
        template = f"{hub.address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        check = check_model("me/adapter")
        whole = [part for part in hub.sent("safetensors") if part is None]
    assert (check.refused, check.decides, whole) == (False, "score", [])
    assert check.requests > 0

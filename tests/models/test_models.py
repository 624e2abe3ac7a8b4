"""Loading refuses what it does not know, and compare says what plain arithmetic says."""

from __future__ import annotations

import json
import logging
import math
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from huggingface_hub import errors
from hypothesis import given, settings
from hypothesis import strategies as st
from replicas import (
    FIVE,
    HIDDEN,
    SLIDING_WINDOW,
    make_decision_tree_replica,
    make_replica,
    read_tensors,
    write_tensors,
)
from transformers import Gemma2ForSequenceClassification, LlamaForSequenceClassification

from dtreward import models
from dtreward.models import checkpoint_folder
from dtreward.models import load_backbone as loading
from dtreward.models.catalogue import find_entry
from dtreward.models.comparison import Comparison
from dtreward.models.loader import load
from dtreward.tree.tree import PreferenceTree

PROMPT = "Jane has 12 apples and gives 4 away. How many are left?"
FIRST, SECOND = "12 - 4 = 8, so 8 apples are left.", "There are 16 apples left."
ARCHITECTURES = ("llama", "gemma2")


@pytest.fixture(scope="session")
def replicas(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("replicas")
    for name in ARCHITECTURES:
        make_replica(folder / f"{name}-score", name)
        make_replica(folder / f"{name}-five", name, rows=5)
        make_decision_tree_replica(folder / f"{name}-tree", name)
    return folder


@pytest.fixture
def copy(replicas, tmp_path):
    """A copy of the Llama decision-tree replica, to be spoilt."""
    return Path(shutil.copytree(replicas / "llama-tree", tmp_path / "copy"))


def edit_config(folder: Path, **changes) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


# What is loaded, and how


def test_the_room_exports_load_and_imports_torch_only_when_it_is_used():
    program = """
import sys
import dtreward
import dtreward.models
assert "torch" not in sys.modules
from dtreward.models import Comparison, RewardModel, load
from dtreward.models.loader import load as defined
assert load is defined and load is dtreward.load
assert "torch" in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_room_names_what_it_exports_when_asked_for_another_name():
    with pytest.raises(AttributeError, match="it has Comparison, RewardModel, load"):
        models.loads  # noqa: B018


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(
    ("head", "kind", "attributes"),
    [
        ("score", "score", ("score",)),
        ("five", "multi-attribute", FIVE),
        ("tree", "decision-tree", FIVE),
    ],
)
def test_each_kind_of_checkpoint_is_recognised(replicas, architecture, head, kind, attributes):
    model = load(replicas / f"{architecture}-{head}")
    assert (model.kind, model.attributes) == (kind, attributes)
    assert model.head.score.weight.shape == (len(attributes), HIDDEN)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_scores_are_those_of_plain_transformers_in_float64(replicas, architecture):
    folder = replicas / f"{architecture}-score"
    model = load(folder)
    ids = model.backbone.chat.token_ids(PROMPT, FIRST).ids
    assert len(ids) > 2 * SLIDING_WINDOW
    plain = {"llama": LlamaForSequenceClassification, "gemma2": Gemma2ForSequenceClassification}
    reference = plain[architecture].from_pretrained(
        folder, num_labels=1, dtype=torch.float64, attn_implementation="eager"
    )
    with torch.inference_mode():
        expected = reference(torch.tensor([ids])).logits[0, 0].item()
    # Two layers of float32 rounding (2**-24 = 6e-8 a step) against hidden states of size ~1.
    size = float(
        model.head.score.weight.abs().sum().item() * np.abs(model.features([(PROMPT, FIRST)])).max()
    )
    assert model.rewards([(PROMPT, FIRST)])[0, 0] == pytest.approx(expected, abs=1e-6 * size)


def test_sharded_and_single_file_checkpoints_load_alike(replicas, tmp_path):
    sharded = load(make_decision_tree_replica(tmp_path / "sharded", shards=3))
    single = load(replicas / "llama-tree")
    conversations = [(PROMPT, FIRST), (PROMPT, SECOND)]
    assert np.array_equal(sharded.rewards(conversations), single.rewards(conversations))


def test_the_head_stays_float32_beside_a_bfloat16_backbone(replicas):
    model = load(replicas / "llama-tree", dtype="bfloat16")
    assert model.backbone.identity["dtype"] == "bfloat16"
    stored = read_tensors(replicas / "llama-tree")["score.weight"].numpy()
    weight = model.head.score.weight.numpy()
    assert weight.dtype == np.float32 and np.array_equal(weight, stored)


@pytest.mark.parametrize(("architecture", "attention"), [("llama", "plain"), ("gemma2", "plain")])
def test_the_cpu_default_is_float32_and_the_attention_is_recorded(
    tmp_path, architecture, attention
):
    folder = make_replica(tmp_path / "half", architecture, dtype=torch.bfloat16)
    identity = load(folder, device="cpu").backbone.identity
    assert identity["dtype"] == "float32" and identity["device"] == "cpu"
    assert identity["attention"] == attention


def test_identity_changes_with_any_weight_and_with_the_configuration(copy):
    identities = [load(copy).backbone.identity]
    tensors = read_tensors(copy)
    tensors["model.layers.1.mlp.up_proj.weight"][3, 5] += 1
    write_tensors(copy, tensors)
    identities.append(load(copy).backbone.identity)
    edit_config(copy, rms_norm_eps=1e-4)
    identities.append(load(copy).backbone.identity)
    assert len({identity["weights"] for identity in identities}) == 3


def test_a_hub_id_is_fetched_at_its_revision_without_weights_that_are_pickles(
    copy, monkeypatch, tmp_path
):
    asked = hub_with(copy, tmp_path, monkeypatch)
    identity = load("owner/name", revision="v1").backbone.identity
    assert asked == [("owner/name", "v1"), ("owner/name", "0123abcd")]
    assert (identity["model"], identity["revision"]) == ("owner/name", "0123abcd")
    fetched = {path.name for path in (tmp_path / "snapshots" / "0123abcd").iterdir()}
    assert {"config.json", "model.safetensors", "decision_tree.json"} <= fetched
    assert not any(name.endswith((".bin", ".py")) for name in fetched)


def hub_with(folder, place, monkeypatch):
    """A hub that has one model, with code and a pickle: gives what is asked for, and notes it."""
    (folder / "modeling.py").write_text("raise SystemExit('code ran')")
    (folder / "pytorch_model.bin").write_text("a pickle")
    snapshot = place / "snapshots" / "0123abcd"
    asked = []

    def fetch(repo_id, *, revision, allow_patterns, ignore_patterns):
        assert ignore_patterns == ["*/*"]
        asked.append((repo_id, revision))
        snapshot.mkdir(parents=True, exist_ok=True)
        for path in folder.iterdir():
            if any(path.match(pattern) for pattern in allow_patterns):
                shutil.copy(path, snapshot)
        return str(snapshot)

    monkeypatch.setattr(checkpoint_folder, "snapshot_download", fetch)
    return asked


@pytest.mark.parametrize(
    ("entries", "options", "words"),
    [
        ({"model_type": "bert"}, {}, "model_type must be that of a text decoder"),
        ({"architectures": ["LlamaForTokenClassification"]}, {}, "a process reward model"),
        ({"hidden_act": "squeeze"}, {}, r"transformers makes no model .* \(KeyError: 'squeeze'\)"),
        ({}, {"dtype": "bf16"}, "did you mean 'bfloat16'"),
        ({}, {"attention": "flash"}, "attention must be one of"),
        ({}, {"max_length": 4097}, "above the model's 4096 positions"),
    ],
)
def test_a_model_of_the_hub_is_judged_before_its_weights_are_fetched(
    copy, tmp_path, monkeypatch, entries, options, words
):
    edit_config(copy, **entries)
    asked = hub_with(copy, tmp_path, monkeypatch)
    assert re.search(words, refusal("owner/name", **options))
    assert len(asked) == 1
    assert not list(tmp_path.glob("snapshots/*/*.safetensors"))


def test_loading_reports_nothing_and_leaves_logging_as_it_was(replicas, caplog, capsys):
    shown = transformers.logging.is_progress_bar_enabled()
    logger = logging.getLogger("transformers")
    logger.propagate, propagated = True, logger.propagate
    load(replicas / "llama-tree")
    logger.propagate = propagated
    assert caplog.text == ""
    assert capsys.readouterr().err == ""
    assert transformers.logging.is_progress_bar_enabled() == shown


# What is refused


@pytest.mark.parametrize("change", ["missing", "unexpected", "mismatched"])
def test_a_wrong_tensor_of_the_backbone_is_named(copy, change):
    tensors, name = read_tensors(copy), "model.layers.0.mlp.up_proj.weight"
    if change == "missing":
        del tensors[name]
    elif change == "unexpected":
        name = "model.layers.0.mlp.gate.weight"
        tensors[name] = torch.zeros(3)
    else:
        tensors[name] = tensors[name][:-1].contiguous()
    write_tensors(copy, tensors)
    with pytest.raises(ValueError, match=f"{change}_keys.*{name.removeprefix('model.')}"):
        load(copy)


@pytest.mark.parametrize(
    ("name", "tensor", "words"),
    [
        ("score.weight", None, "expected a head.*found.*score.bias"),
        ("score.weight", torch.zeros(5, HIDDEN - 1), r"shape \(5, 31\), expected \(rows, 32\)"),
        ("score.weight", torch.zeros(HIDDEN), r"shape \(32,\), expected \(rows, 32\)"),
        ("score.weight", torch.zeros(0, HIDDEN), r"shape \(0, 32\), expected \(rows, 32\)"),
        ("score.weight", torch.zeros(4, HIDDEN), "head has 4 rows"),
        ("score.bias", torch.zeros(4), r"\(4,\)"),
        ("score.0.weight", torch.zeros(4), "score.0.weight"),
    ],
)
def test_a_missing_or_wrongly_shaped_head_is_an_error_never_a_random_head(
    copy, name, tensor, words
):
    tensors = read_tensors(copy)
    tensors |= {name: tensor}
    write_tensors(copy, {key: value for key, value in tensors.items() if value is not None})
    with pytest.raises(ValueError, match=words):
        load(copy)


def test_a_head_with_more_rows_than_names_is_an_error(copy):
    tensors = read_tensors(copy)
    tensors |= {"score.weight": torch.zeros(6, HIDDEN), "score.bias": torch.zeros(6)}
    write_tensors(copy, tensors)
    with pytest.raises(ValueError, match="6 rows"):
        load(copy)


def test_a_plain_backbone_is_no_reward_model(tmp_path):
    with pytest.raises(ValueError, match="found none"):
        load(make_replica(tmp_path / "plain", rows=0))


def test_names_must_be_passed_where_the_checkpoint_has_none(tmp_path):
    folder = make_replica(tmp_path / "three", rows=3)
    with pytest.raises(ValueError, match="pass 3 distinct attributes="):
        load(folder)
    assert load(folder, attributes=["a", "b", "c"]).attributes == ("a", "b", "c")
    with pytest.raises(ValueError, match="distinct"):
        load(folder, attributes=["a", "b", "b"])


def test_names_that_contradict_the_checkpoint_are_an_error(replicas):
    with pytest.raises(ValueError, match="leave out"):
        load(replicas / "llama-tree", attributes=FIVE[::-1])


def test_a_name_of_the_catalogue_gives_way_to_the_names_of_the_checkpoint(tmp_path):
    folder = make_replica(tmp_path / "QRM-Gemma-2-27B", rows=5)
    config = json.loads((folder / "config.json").read_text())
    assert load(folder).attributes == tuple(FIVE) == tuple(config["id2label"].values())
    config["id2label"] = dict(enumerate(["a", "b", "c", "d", "e"]))
    (folder / "config.json").write_text(json.dumps(config))
    assert load(folder).attributes == ("a", "b", "c", "d", "e")
    config["id2label"] = {str(n): f"LABEL_{n}" for n in range(5)}
    (folder / "config.json").write_text(json.dumps(config))
    assert load(folder).attributes == find_entry(folder).attributes
    with pytest.raises(ValueError, match="5 distinct"):
        load(folder.rename(tmp_path / "mine"))


def test_a_tree_over_other_attributes_is_an_error(replicas):
    with pytest.raises(ValueError, match="tree is over"):
        load(replicas / "llama-tree", tree=PreferenceTree.single_split("helpfulness", 0.0))


def test_weights_that_are_pickles_are_refused_with_advice_and_not_opened(copy):
    (copy / "model.safetensors").unlink()
    (copy / "pytorch_model.bin").write_bytes(pickle.dumps({}))
    with pytest.raises(ValueError, match=r"pickles.*save_pretrained"):
        load(copy)


def test_shards_without_their_index_are_told_from_pickles(copy):
    (copy / "model.safetensors").rename(copy / "model-00001-of-00002.safetensors")
    said = refusal(copy)
    assert "it has model-00001-of-00002.safetensors: fetch model.safetensors.index.json" in said
    assert "pickles" not in said
    (copy / "model-00001-of-00002.safetensors").unlink()
    assert refusal(copy).endswith(
        "has no model.safetensors nor model.safetensors.index.json; fetch it again"
    )


def test_code_that_comes_with_a_checkpoint_does_not_run(copy):
    (copy / "evil.py").write_text("raise SystemExit('ran')")
    edit_config(
        copy, auto_map=dict.fromkeys(("AutoConfig", "AutoModel", "AutoTokenizer"), "evil.Evil")
    )
    tokenizer = json.loads((copy / "tokenizer_config.json").read_text())
    tokenizer["auto_map"] = {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}
    (copy / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    assert load(copy).kind == "decision-tree"


def test_other_architectures_adapters_and_quantized_weights_are_refused(copy):
    edit_config(copy, model_type="qwen33")
    with pytest.raises(ValueError, match="such as qwen3; came 'qwen33'"):
        load(copy)
    edit_config(copy, model_type="llama", quantization_config={"quant_method": "gptq"})
    with pytest.raises(ValueError, match="quantized"):
        load(copy)
    (copy / "adapter_config.json").write_text("{}")
    with pytest.raises(ValueError, match="adapter"):
        load(copy)


def test_a_configuration_that_leaves_the_dtype_open_or_says_not_quantized_is_read(copy):
    expected = load(copy).rewards([(PROMPT, FIRST)])
    edit_config(copy, torch_dtype="auto", dtype=None, quantization_config=None)
    assert np.array_equal(load(copy).rewards([(PROMPT, FIRST)]), expected)
    edit_config(copy, torch_dtype="float33")
    assert "dtype 'float33'; expected one such as" in refusal(copy)


@pytest.mark.parametrize(
    ("rows", "name"), [(1, "TokenClassification"), (2, "ProcessRewardModel"), (2, "PrmModel")]
)
def test_a_process_reward_model_is_refused_as_what_it_is(tmp_path, rows, name):
    """Its head looks like a sequence classifier's; with one row it would give scores."""
    folder = make_replica(tmp_path / "steps", rows=rows, bias=True)
    edit_config(folder, architectures=[f"LlamaFor{name}"])
    assert f"a process reward model (['LlamaFor{name}']), which rates each step" in refusal(folder)


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"hidden_act": "squeeze"}, "KeyError: 'squeeze'"),
        ({"rms_norm_eps": None}, "'rms_norm_eps': TypeError: .* expected float, got NoneType"),
        ({"num_attention_heads": 3}, "hidden size .* not a multiple of the number of attention"),
        ({"pad_token_id": 99999}, "AssertionError: Padding_idx"),
        (
            {"rope_parameters": {"rope_type": "longrope", "rope_theta": 1.0}},
            "Missing required keys",
        ),
    ],
)
def test_a_wrong_entry_of_the_configuration_gets_one_line(copy, entries, words):
    edit_config(copy, **entries)
    assert re.search(rf"transformers makes no model of config\.json .*{words}", refusal(copy))


@pytest.mark.parametrize(
    "name", ["classification_head.weight", "v_head_2.weight", "classifier.weight"]
)
def test_a_head_of_another_library_is_named(tmp_path, name):
    folder = make_replica(tmp_path / "other", rows=1)
    tensors = read_tensors(folder)
    tensors[name] = tensors.pop("score.weight")
    write_tensors(folder, tensors)
    assert f"no head that load knows, but {name}; if that is one row" in refusal(folder)


def test_a_damaged_file_with_the_head_is_named(tmp_path):
    folder = make_replica(tmp_path / "other", rows=0)
    (folder / "value_head.safetensors").touch()
    with pytest.raises(ValueError, match=r"value_head\.safetensors is absent or not whole"):
        load(folder)


@pytest.mark.parametrize("dtype", [torch.int8, torch.float8_e4m3fn])
def test_a_head_in_numbers_whose_scale_is_unknown_is_refused(copy, dtype):
    tensors = read_tensors(copy)
    tensors["score.weight"] = tensors["score.weight"].to(dtype)
    write_tensors(copy, tensors)
    short = str(dtype).removeprefix("torch.")
    assert f"score.weight of the head is stored as {short}; load the" in refusal(copy)


@pytest.mark.parametrize(
    "where", ["score.bias", "score.weight", "model.layers.1.mlp.up_proj.weight"]
)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_weight_that_is_not_finite_is_refused_by_name(copy, where, value):
    tensors = read_tensors(copy)
    tensors[where].view(-1)[-1] = value
    write_tensors(copy, tensors)
    assert where.removeprefix("model.") in refusal(copy)


def test_weights_that_float16_cannot_hold_are_refused_with_a_dtype_that_can(copy):
    tensors = read_tensors(copy)
    tensors["model.norm.weight"][0] = 1e5
    write_tensors(copy, tensors)
    assert 'infinity in float16: norm.weight; use dtype="bfloat16"' in refusal(
        copy, dtype="float16"
    )
    assert np.isfinite(load(copy, dtype="bfloat16").rewards([(PROMPT, FIRST)])).all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"tokenizer_class": "OwnTokenizer", "auto_map": {"AutoTokenizer": ["own.Own", None]}},
            "needs code",
        ),
        ({"chat_template": None}, r"no chat template; put the one .* into chat_template\.jinja"),
        ({"chat_template": "a\n{{ b"}, "line 2 of the tokenizer's chat template is not written"),
    ],
)
def test_a_tokenizer_that_cannot_serve_says_what_the_reader_can_do(copy, change, words):
    settings = json.loads((copy / "tokenizer_config.json").read_text())
    template = (copy / "chat_template.jinja").read_text()
    (copy / "chat_template.jinja").unlink()
    settings = {"chat_template": template} | settings | change
    settings = {key: value for key, value in settings.items() if value is not None}
    (copy / "tokenizer_config.json").write_text(json.dumps(settings))
    if "auto_map" in change:
        (copy / "tokenizer.json").unlink()
    assert re.search(words, refusal(copy))
    assert str(copy) in refusal(copy)


def test_a_tokenizer_without_bos_begins_with_none_unless_one_is_asked_for(copy):
    path = copy / "tokenizer_config.json"
    settings = json.loads(path.read_text())
    del settings["bos_token"]
    path.write_text(json.dumps(settings))
    assert load(copy).backbone.chat.bos == "none"
    assert 'no BOS token; pass bos="none"' in refusal(copy, bos="one")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("tokenizer.json", "{}", r"tokenizer of .*copy cannot be read .*; fetch its files again"),
        ("tokenizer_config.json", "[]", r"tokenizer of .*copy cannot be read .*; fetch its files"),
        ("tokenizer.json", None, r"copy has no tokenizer\.json; fetch it, too"),
    ],
)
def test_a_damaged_tokenizer_gets_one_line(copy, name, content, words):
    (copy / name).unlink()
    if content is not None:
        (copy / name).write_text(content)
    assert re.search(words, refusal(copy))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"attributes": FIVE[::-1]}, "leave out"),
        ({"tree": PreferenceTree.single_split("helpfulness", 0.0)}, "tree is over"),
        ({"reads": "nexttoken"}, "did you mean 'next token'"),
        ({"reads": "next token"}, "takes a language model with the head lm_head.weight"),
        ({"reads": "verdict"}, "takes a language model with the head lm_head.weight"),
        ({"dtype": "float23"}, "did you mean 'float32'"),
    ],
)
def test_wrong_names_are_refused_before_weights_are_read(replicas, monkeypatch, options, words):
    monkeypatch.setattr(loading, "_read_transformer", lambda *_: pytest.fail("weights were read"))
    assert words in refusal(replicas / "llama-tree", **options)
    with pytest.raises(TypeError, match="attributes must be a list of names"):
        load(replicas / "llama-tree", attributes="helpfulness")


LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "short_factor": [1.0] * 4,
    "long_factor": [4.0] * 4,
    "original_max_position_embeddings": 64,
}
DYNAMIC = {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 4.0}


@pytest.mark.parametrize(("rope", "longest"), [(LONGROPE, 64), (DYNAMIC, 128)])
def test_a_long_neighbour_cannot_change_the_angles_of_a_score(tmp_path, rope, longest):
    folder = make_replica(tmp_path / "score")
    edit_config(folder, rope_parameters=rope, max_position_embeddings=128)
    model = load(folder, pack_tokens=256)
    assert model.backbone.chat.max_length == longest
    short, long = ("Hi?", "Hello."), ("Hi?", "Hello. " * 20)
    with pytest.raises(ValueError, match=f"longer than max_length={longest}"):
        model.scores([short, long])
    plain = LlamaForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
    ids = torch.tensor([model.backbone.chat.token_ids(*short).ids])
    with torch.inference_mode():
        expected = plain(ids).logits.item()
    assert model.scores([short])[0] == pytest.approx(expected, rel=1e-4)
    assert f"above the model's {longest} positions" in refusal(folder, max_length=longest + 1)


def test_the_longer_angles_of_longrope_would_change_that_score(tmp_path):
    """The positive control: the limit is at work where the longer conversation would be."""
    folder = make_replica(tmp_path / "score")
    scores = []
    for original in (64, 8):
        edit_config(
            folder,
            rope_parameters=LONGROPE | {"original_max_position_embeddings": original},
            max_position_embeddings=128,
        )
        plain = LlamaForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
        with torch.inference_mode():
            scores.append(plain(torch.arange(20)[None]).logits.item())
    assert abs(scores[0] - scores[1]) > 0.01 * abs(scores[0])


def test_a_rotary_embedding_that_is_not_known_is_refused(copy):
    edit_config(copy, rope_parameters={"rope_type": "proportional", "rope_theta": 10000.0})
    assert "rope_type 'proportional'; expected one of default" in refusal(copy)


def test_transformers_own_attention_is_refused_and_another_kernel_gives_the_same(replicas):
    for name in ("sdpa", "eager", "flash_attention_2"):  # sdpa drops Gemma's soft-cap
        with pytest.raises(ValueError, match=rf"attention must be one of .*plain.*, came '{name}'"):
            load(replicas / "gemma2-tree", attention=name)
    one, other = (load(replicas / "gemma2-tree", attention=name) for name in ("plain", "flex"))
    # The same sums in another order, in float32: a relative rounding of 2**-24 a step.
    both = [model.features([(PROMPT, FIRST)]) for model in (one, other)]
    np.testing.assert_allclose(*both, rtol=0, atol=1e-5 * np.abs(both[0]).max())


def test_a_kernel_without_its_package_or_device_is_refused_before_weights_are_read(replicas):
    with pytest.raises(ValueError, match="flash_attn: needs a GPU and 16 bit numbers"):
        load(replicas / "gemma2-tree", attention="flash_attn")


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("device", "cudaa", "device 'cudaa' is not here"),
        ("device", "cuda:99", "device 'cuda:99' is not here"),
        ("pack_tokens", 0, "pack_tokens must be a multiple of 32, came 0"),
        ("pack_tokens", 100, "multiple of 32, came 100"),
        ("max_length", 10**6, "above the model's 4096 positions"),
        ("dtype", "float31", "dtype must be one of"),
        ("attention", "fast", "attention must be one of"),
    ],
)
def test_an_option_that_cannot_be_is_refused_before_hours_of_loading(
    replicas, monkeypatch, option, value, words
):
    monkeypatch.setattr(
        loading, "_read_transformer", lambda *given: pytest.fail("weights were read")
    )
    with pytest.raises(ValueError, match=words):
        load(replicas / "llama-tree", **{option: value})


def test_the_soft_cap_is_at_work_in_the_gemma_replica(replicas, tmp_path):
    folder = Path(shutil.copytree(replicas / "gemma2-tree", tmp_path / "uncapped"))
    edit_config(folder, attn_logit_softcapping=1000.0)
    capped, uncapped = (
        load(each).features([(PROMPT, FIRST)]) for each in (replicas / "gemma2-tree", folder)
    )
    assert np.abs(capped - uncapped).max() > 0.01


def test_a_path_that_does_not_exist_is_not_asked_of_the_hub(monkeypatch):
    monkeypatch.setattr(
        checkpoint_folder, "snapshot_download", lambda *_, **__: pytest.fail("asked")
    )
    for name in ("./absent", "/absent/folder", "absent", "a/b/c"):
        with pytest.raises(FileNotFoundError, match="hub id"):
            load(name)


def test_a_folder_has_no_revision(replicas):
    with pytest.raises(ValueError, match="revision"):
        load(replicas / "llama-tree", revision="main")


# Trees


def test_a_tree_that_is_passed_decides_in_place_of_the_checkpoints_own(replicas):
    tree = PreferenceTree.single_split("complexity", 0.0, attributes=FIVE)
    output = load(replicas / "llama-tree", tree=tree).compare(PROMPT, FIRST, SECOND)
    assert output.effective_rule == ("response 2 iff complexity difference > 0",)
    assert output.preference == int(output.differences[3] > 0)


def test_a_pickled_tree_is_read_where_there_is_no_json(copy):
    from sklearn.tree import DecisionTreeClassifier

    differences = np.random.default_rng(0).normal(size=(200, 5))
    fitted = DecisionTreeClassifier(max_depth=2).fit(
        differences, (differences[:, 1] > 0.1).astype(int)
    )
    (copy / "decision_tree.json").unlink()
    (copy / "decision_tree.pkl").write_bytes(pickle.dumps(fitted))
    tree = load(copy).tree
    assert np.array_equal(tree.predict(differences), fitted.predict(differences))


def test_a_multi_attribute_model_asks_for_a_tree(replicas):
    with pytest.raises(ValueError, match="pass tree="):
        load(replicas / "llama-five").compare(PROMPT, FIRST, SECOND)


# What compare says


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_compare_follows_the_tree_on_the_difference_of_the_rewards(replicas, architecture):
    model = load(replicas / f"{architecture}-tree")
    output = model.compare(PROMPT, FIRST, SECOND)
    first, second = model.rewards([(PROMPT, FIRST), (PROMPT, SECOND)]).astype(float)
    assert output["rewards"] == [first.tolist(), second.tolist()]
    assert output["differences"] == (second - first).tolist()
    assert output.probability == model.tree.probability((second - first)[None])[0]
    assert output.preference == int(second[0] - first[0] > 0.03)  # the replica's effective rule
    assert output.effective_rule == ("response 2 iff helpfulness difference > 0.03",)
    assert output.path == model.tree.path(second - first)


def test_the_published_example_gives_its_published_preference(root):
    """The 27B tree on the card's rewards: response 1, with probability 0.988."""
    example = json.loads((root / "dtreward/published/usage_example.json").read_text())
    name = "Decision-Tree-Reward-Gemma-2-27B"
    rewards = [
        np.array(list(each.values())) for each in example["published_output"][name]["rewards"]
    ]
    tree = PreferenceTree.published(name)
    output = Comparison.of(np.array(rewards), attributes=FIVE, tree=tree)
    assert output.preference == example["published_output"][name]["preference"] == 0
    assert 1 - output.probability == pytest.approx(0.988, abs=5e-4)  # printed to three decimals


def test_values_are_plain_python(replicas):
    output = load(replicas / "llama-tree").compare(PROMPT, FIRST, SECOND)
    assert type(output.preference) is int and type(output.probability) is float
    assert {type(value) for row in output.rewards for value in row} == {float}
    assert {type(value) for value in output.differences} == {float}
    assert type(output.swap_flips) is bool and type(output["attributes"]) is list
    assert "np." not in repr(dict(output))


def test_a_comparison_reads_like_the_originals_dictionary(replicas):
    output = load(replicas / "llama-tree").compare(PROMPT, FIRST, SECOND)
    assert {"rewards", "attributes", "preference"} <= set(output.keys())
    assert dict(zip(output["attributes"], output["rewards"][0], strict=True)).keys() == set(FIVE)
    assert len(output) == len(dict(output)) and "tree" not in output
    with pytest.raises(KeyError, match="rewards"):
        output["reward"]


def test_the_words_and_the_picture_tell_the_path(replicas):
    output = load(replicas / "llama-tree").compare(PROMPT, FIRST, SECOND)
    page = output._repr_html_()
    assert "data:image/svg+xml" in page and "<table" in page
    assert all(step.sentence in str(output) for step in output.path)
    assert f"Response {output.preference + 1} is preferred" in str(output)


def test_attribute_names_cannot_write_html():
    output = Comparison(["<b>"], [[0.0], [1.0]], [1.0], 1, 0.7, (), ("<i>",), True)
    assert "<b>&lt;" not in output._repr_html_().replace("<p><b>Response", "")
    assert "&lt;b&gt;" in output._repr_html_() and "&lt;i&gt;" in output._repr_html_()


def test_the_originals_trailing_tokenizer_and_device_are_taken_and_checked(replicas):
    model = load(replicas / "llama-tree", device="cpu")
    tokenizer = model.backbone.chat.tokenizer
    given = model.compare(PROMPT, FIRST, SECOND, tokenizer, "cpu")
    assert dict(given) == dict(model.compare(PROMPT, FIRST, SECOND))
    other = load(replicas / "gemma2-tree").backbone.chat.tokenizer
    with pytest.raises(ValueError, match="tokenizer is not this model's"):
        model.compare(PROMPT, FIRST, SECOND, other, "cpu")
    with pytest.raises(ValueError, match="load"):
        model.compare(PROMPT, FIRST, SECOND, tokenizer, "cuda")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_many_at_once_are_compared_to_the_bit_as_one_by_one(replicas, architecture):
    model = load(replicas / f"{architecture}-tree")
    prompts = [f"{PROMPT} {'And then? ' * n}" for n in range(5)]
    firsts = [FIRST * (n + 1) for n in range(5)]
    seconds = [SECOND] * 5
    alone = [model.compare(*each) for each in zip(prompts, firsts, seconds, strict=True)]
    together = model.compare_many(prompts, firsts, seconds)
    assert [dict(each) for each in together] == [dict(each) for each in alone]
    assert model.compare_many([], [], []) == []
    with pytest.raises(ValueError, match="of one length"):
        model.compare_many(prompts, firsts, seconds[:-1])


def test_swapping_the_responses_swaps_the_rewards(replicas):
    model = load(replicas / "gemma2-tree")
    one, other = model.compare(PROMPT, FIRST, SECOND), model.compare(PROMPT, SECOND, FIRST)
    assert one.rewards == other.rewards[::-1]
    assert one.swap_flips == (one.preference != other.preference) == other.swap_flips


def test_a_difference_within_the_trees_offset_does_not_flip():
    tree = PreferenceTree.single_split("a", 0.03)
    pairs = [np.array([[0.0], [d]]) for d in (0.02, 0.04, 0.0)]
    outputs = [Comparison.of(pair, attributes=("a",), tree=tree) for pair in pairs]
    assert [output.swap_flips for output in outputs] == [False, True, False]
    assert [output.preference for output in outputs] == [0, 1, 0]


@settings(deadline=None)
@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_the_larger_score_wins_by_bradley_terry(first, second):
    output = Comparison.of(
        np.array([[first], [second]]), attributes=("score",), scores=np.array([first, second])
    )
    assert output.preference == int(second > first)
    assert output.swap_flips == (first != second) and output.path == ()
    if abs(second - first) < 700:  # where the textbook form does not overflow
        assert output.probability == pytest.approx(1 / (1 + math.exp(first - second)), rel=1e-12)
    assert 0 <= output.probability <= 1


def test_the_recorded_bos_rule_is_followed_unless_another_is_asked_for(copy):
    edit_config(copy, bos_rule="none")
    bos = load(copy).backbone.chat.tokenizer.bos_token_id
    assert load(copy).backbone.chat.token_ids(PROMPT, FIRST).ids[0] != bos
    assert load(copy, bos="one").backbone.chat.token_ids(PROMPT, FIRST).ids[0] == bos


def test_no_more_tokens_than_the_model_takes(copy):
    edit_config(copy, max_position_embeddings=20)
    with pytest.raises(ValueError, match="max_length=20, the most that the model takes; set too"):
        load(copy).compare(PROMPT, FIRST, SECOND)
    with pytest.raises(ValueError, match="max_length 500 is above the model's 20 positions"):
        load(copy, max_length=500)


def test_too_long_conversations_are_refused_or_cut_as_asked_for(replicas):
    with pytest.raises(ValueError, match="max_length=60"):
        load(replicas / "llama-tree", max_length=60).compare(PROMPT, FIRST, SECOND)
    model = load(replicas / "llama-tree", max_length=60, too_long="cut_prompt_start")
    assert len(model.backbone.chat.token_ids(PROMPT, FIRST).ids) == 60
    assert model.backbone.chat.identity["too_long"] == "cut_prompt_start"


def test_a_tree_whose_head_lost_its_bias_is_an_error(copy):
    tensors = read_tensors(copy)
    del tensors["score.bias"]
    write_tensors(copy, tensors)
    with pytest.raises(ValueError, match=r"its head lacks score\.bias"):
        load(copy)


# What cannot be read


def test_a_pair_that_cannot_be_read_is_named_or_left_out(replicas):
    model = load(replicas / "llama-tree", max_length=160)
    prompts = [PROMPT, "", PROMPT, PROMPT, [{"role": "system", "content": "Be brief."}], PROMPT]
    firsts = [FIRST, FIRST, FIRST, " ", FIRST, FIRST * 9]
    seconds = [SECOND, SECOND, None, "", SECOND, SECOND]
    with pytest.raises(ValueError, match=r"row 1: turn 1 must be User .*\(and 4 more of 6 rows\)"):
        model.compare_many(prompts, firsts, seconds)
    outcomes = model.compare_many(prompts, firsts, seconds, on_error="record")
    assert dict(outcomes[0]) == dict(model.compare(PROMPT, FIRST, SECOND))
    assert [each.row for each in outcomes[1:]] == [1, 2, 3, 4, 5]
    reasons = [each.reason for each in outcomes[1:]]
    assert reasons[0].startswith("turn 1 must be User with text")
    assert reasons[1] == "response 2: the response must be a text that is not blank, came None"
    assert reasons[2].startswith("response 1: ") and "; response 2: " in reasons[2]
    assert "turn 2 must be User" in reasons[3]
    assert re.match(r"response 1: conversation is \d+ tokens longer than max_length", reasons[4])


def test_one_pair_that_cannot_be_read_needs_no_row(replicas):
    model = load(replicas / "llama-tree")
    for texts, words in [
        (
            (PROMPT, "", SECOND),
            "response 1: the response must be a text that is not blank, came ''",
        ),
        ((PROMPT, FIRST, " "), "response 2: the response must be a text that is not blank"),
        (("", FIRST, SECOND), "turn 1 must be User with text"),
    ]:
        with pytest.raises(ValueError, match=f"^{re.escape(words)}") as caught:
            model.compare(*texts)
        assert "on_error" not in str(caught.value)


def test_scores_of_what_cannot_be_read_are_errors_or_missing_numbers_with_a_warning(replicas):
    model = load(replicas / "llama-score")
    texts = [(PROMPT, FIRST), (PROMPT, ""), (PROMPT, SECOND)]
    with pytest.raises(ValueError, match="row 1: the response must be a text"):
        model.scores(texts)
    with pytest.warns(UserWarning, match="no score of 1 rows: row 1: the response must be"):
        scores = model.scores(texts, on_error="record")
    assert scores[[0, 2]].tolist() == model.scores([texts[0], texts[2]]).tolist()
    assert np.isnan(scores[1])


def test_scores_that_are_not_finite_are_refused_with_their_row(replicas):
    model = load(replicas / "llama-score")
    number = model.backbone.chat.token_ids("a", "#").ids[-2]
    model.backbone.transformer.embed_tokens.weight.data[number] = torch.nan
    texts = [(PROMPT, FIRST), (PROMPT, "#")]
    with pytest.raises(
        ValueError, match="row 1: its rewards or score are not finite in float32: w"
    ):
        model.scores(texts)
    with pytest.raises(ValueError, match="row 1: its features are not finite in float32"):
        model.features(texts)
    with pytest.warns(UserWarning, match="no features of 1 rows: row 1: its features are not"):
        features = model.features(texts, on_error="record")
    assert np.isfinite(features[0]).all() and np.isnan(features[1]).all()
    outcomes = model.compare_many([PROMPT] * 2, [FIRST, "#"], [SECOND] * 2, on_error="record")
    assert outcomes[0].preference in (0, 1) and "not finite" in outcomes[1].reason


def test_compare_says_how_much_of_a_prompt_was_cut(replicas):
    whole = load(replicas / "llama-tree")
    model = load(replicas / "llama-tree", max_length=100, too_long="cut_prompt_start")
    prompt = PROMPT * 3
    expected = [len(whole.backbone.chat.token_ids(prompt, r).ids) - 100 for r in (FIRST, SECOND)]
    output = model.compare(prompt, FIRST, SECOND)
    assert output.tokens_cut == expected and min(expected) > 0
    words = f"{expected[0]} tokens of the prompt cut at its start for response 1, {expected[1]} for"
    assert words in str(output) and words in output._repr_html_()
    assert whole.compare(prompt, FIRST, SECOND).tokens_cut == [0, 0]
    assert "cut" not in str(whole.compare(prompt, FIRST, SECOND))


def test_texts_where_lists_are_wanted_are_refused(replicas):
    model = load(replicas / "llama-tree")
    for wrong in [("pq", "ab", "cd"), ([PROMPT], [FIRST], [])]:
        with pytest.raises(ValueError, match="three lists of texts, of one length"):
            model.compare_many(*wrong)


def test_a_folder_that_is_no_checkpoint_says_so(tmp_path):
    assert "is no model: it has no config.json" in refusal(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"no config\.json in JSON"):
        load(tmp_path)


def refusal(name, **options):
    """The message with which `load` refuses: one line, without another error behind it."""
    with pytest.raises((FileNotFoundError, ValueError)) as caught:
        load(name, **options)
    error = caught.value
    assert error.__cause__ is None and (error.__context__ is None or error.__suppress_context__)
    assert "\n" not in str(error)
    return str(error)


@pytest.fixture
def offline(monkeypatch):
    """The hub's own library, told not to use the network."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "name is empty: give a folder"),
        ("  ", "name is empty: give a folder"),
        ("data", r"data is no model: it has no config\.json; give one of .*data/demo"),
        ("data/dem", r"no folder data/dem here \(did you mean data/demo\?\), and the hub did not"),
        ("demo", r"no folder demo \(did you mean data/demo\?\)"),
        ("README.md", "README.md is a file: give the folder"),
        ("no/such", "no folder no/such here, and the hub did not give it: it cannot be reached"),
        (
            "RLHFlow/Decision-Tree-Reward-Llama-3.1-8b",
            r"did you mean RLHFlow/Decision-Tree-Reward-Llama-3\.1-8B\?",
        ),
        ("decision-tree-reward-gemma", r"did you mean Decision-Tree-Reward-Gemma-2-27B\?"),
        ("a b/c", "a b/c here, and the hub did not give it: HFValidationError: Repo id must"),
    ],
)
@pytest.mark.usefixtures("offline")
def test_a_wrong_name_gets_one_line_with_the_nearest_names(name, words, monkeypatch, root):
    monkeypatch.chdir(root)
    assert re.search(words, refusal(name))


@pytest.mark.usefixtures("offline")
def test_a_model_of_the_study_is_suggested_to_a_notebook(monkeypatch, root):
    monkeypatch.chdir(root / "notebooks")
    assert "did you mean ../data/demo?" in refusal("data/demo")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (errors.GatedRepoError, "gated; accept its terms"),
        (errors.RepositoryNotFoundError, "no such model, or a private one"),
        (errors.RevisionNotFoundError, "no revision 'v9'"),
        (errors.LocalEntryNotFoundError, "no earlier download has the whole model"),
    ],
)
def test_what_the_hub_says_is_said_in_one_line(monkeypatch, error, words):
    def refuse(*_, **__):
        raise error.__new__(error, "401 Client Error.\n\nRepository Not Found for url")

    monkeypatch.setattr(checkpoint_folder, "snapshot_download", refuse)
    assert words in refusal("owner/model", revision="v9")


def test_the_printed_probability_is_the_preferred_responses_and_the_field_is_response_2s(replicas):
    model = load(replicas / "llama-tree")
    seen = set()
    for responses in ((FIRST, SECOND), (SECOND, FIRST)):
        output = model.compare(PROMPT, *responses)
        preferred = output.preference + 1
        share = output.probability if preferred == 2 else 1 - output.probability
        words = f"({100 * share:.1f} % probable that response {preferred} is better)"
        assert words in str(output) and words in output._repr_html_()
        assert (output.probability > 0.5) == (preferred == 2)
        seen.add(preferred)
    assert seen == {1, 2}

"""Heads as trainers write them: whatever its layer is called, the same numbers give the same scores."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from replicas import HIDDEN, make_replica, read_tensors, write_tensors
from safetensors.torch import save_file

from dtreward.models.head_names import ACTIVATIONS, HEAD_NAMES
from dtreward.models.load_checkpoint import put_own_head
from dtreward.models.loader import load

TEXTS = [("2 + 2?", "4, because two and two are four."), ("2 + 2?", "Five.")]
INNER = 12  # outputs of the first of two layers


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    """A sequence classifier with the layer `score`."""
    return make_replica(tmp_path_factory.mktemp("models") / "classifier")


@pytest.fixture(scope="module")
def scores(classifier):
    return load(classifier).scores(TEXTS)


def rewritten(source, folder, head, *, config=(), rename=lambda name: name):
    """Copy a checkpoint with another head, and perhaps other entries of its config.json."""
    shutil.copytree(source, folder)
    tensors = {
        rename(name): part for name, part in read_tensors(source).items() if "score" not in name
    }
    write_tensors(folder, tensors | head)
    settings = json.loads((folder / "config.json").read_text()) | dict(config)
    (folder / "config.json").write_text(json.dumps(settings))
    return folder


def score_weight(classifier):
    return read_tensors(classifier)["score.weight"]


LANGUAGE_MODEL = {"architectures": ["LlamaForCausalLM"]}


@pytest.mark.parametrize("name", HEAD_NAMES)
def test_a_head_under_any_known_name_scores_as_the_layer_called_score(
    classifier, scores, tmp_path, name
):
    head = {f"{name}.weight": score_weight(classifier)}
    model = load(rewritten(classifier, tmp_path / "model", head))
    assert np.array_equal(model.scores(TEXTS), scores)


@pytest.mark.parametrize("name", ["score", "v_head.summary", "reward_head"])
def test_a_bias_moves_every_score_alike(classifier, scores, tmp_path, name):
    head = {f"{name}.weight": score_weight(classifier), f"{name}.bias": torch.tensor([0.5])}
    model = load(rewritten(classifier, tmp_path / "model", head), dtype="float64")
    # The scores without bias are float32: rounding of about 200 tokens' attention.
    np.testing.assert_allclose(model.scores(TEXTS) - 0.5, scores, rtol=1e-3)


def test_a_name_that_the_configuration_gives_is_read(classifier, scores, tmp_path):
    head = {"my_head.weight": score_weight(classifier)}
    folder = rewritten(
        classifier, tmp_path / "model", head, config={"value_head_prefix": "my_head"}
    )
    assert np.array_equal(load(folder, pooling="last").scores(TEXTS), scores)
    unnamed = rewritten(classifier, tmp_path / "unnamed", head)
    with pytest.raises(ValueError, match=r"no head that load knows, but my_head\.weight"):
        load(unnamed)


def test_the_head_of_llama_factory_lies_in_a_file_beside_a_language_model(
    classifier, scores, tmp_path
):
    tensors = read_tensors(classifier)
    language_head = {"lm_head.weight": tensors["model.embed_tokens.weight"].clone()}
    folder = rewritten(classifier, tmp_path / "model", language_head, config=LANGUAGE_MODEL)
    with pytest.raises(ValueError, match=r"its head, value_head\.safetensors, is missing"):
        load(folder)
    beside = {
        "v_head.summary.weight": tensors["score.weight"],
        "v_head.summary.bias": torch.zeros(1),
    }
    save_file(beside, folder / "value_head.safetensors")
    model = load(folder)
    assert np.array_equal(model.scores(TEXTS), scores)
    assert put_own_head(model.backbone, folder).identity == model.identity
    other = {
        "v_head.summary.weight": -tensors["score.weight"],
        "v_head.summary.bias": torch.zeros(1),
    }
    save_file(other, folder / "value_head.safetensors")
    assert load(folder).identity["head"] != model.identity["head"]


def test_a_pickled_value_head_is_refused(classifier, tmp_path):
    folder = rewritten(classifier, tmp_path / "model", {}, config=LANGUAGE_MODEL)
    torch.save({}, folder / "value_head.bin")
    with pytest.raises(ValueError, match=r"value_head\.bin, a pickle, which is not read"):
        load(folder)


@pytest.mark.parametrize("before", ["", "pretrained_model."])
def test_the_value_head_model_of_trl_is_read_with_or_without_its_wrapper(
    classifier, scores, tmp_path, before
):
    tensors = read_tensors(classifier)
    head = {
        f"{before}lm_head.weight": tensors["model.embed_tokens.weight"].clone(),
        "v_head.summary.weight": tensors["score.weight"],
        "v_head.summary.bias": torch.zeros(1),
    }
    rename = lambda name: f"{before}{name}"
    folder = rewritten(classifier, tmp_path / "model", head, config=LANGUAGE_MODEL, rename=rename)
    assert np.array_equal(load(folder).scores(TEXTS), scores)


def test_two_heads_are_refused(classifier, tmp_path):
    weight = score_weight(classifier)
    head = {"score.weight": weight, "v_head.weight": weight.clone()}
    with pytest.raises(ValueError, match="expected one head, found 2: score, v_head"):
        load(rewritten(classifier, tmp_path / "model", head))


def test_a_head_that_is_twice_there_is_refused(classifier, tmp_path):
    folder = rewritten(classifier, tmp_path / "model", {"v_head.weight": score_weight(classifier)})
    save_file({"v_head.weight": score_weight(classifier)}, folder / "value_head.safetensors")
    with pytest.raises(ValueError, match=r"has v_head\.weight of its head twice"):
        load(folder)


def test_a_language_models_head_left_over_in_a_classifier_is_refused(classifier, tmp_path):
    tensors = read_tensors(classifier)
    head = {"lm_head.weight": tensors["model.embed_tokens.weight"].clone()}
    head["score.weight"] = tensors["score.weight"]
    with pytest.raises(ValueError, match=r"has lm_head\.weight beside its head \(score\.weight\)"):
        load(rewritten(classifier, tmp_path / "model", head))
    kept = rewritten(classifier, tmp_path / "kept", head, config=LANGUAGE_MODEL)
    assert load(kept).scores(TEXTS).shape == (2,)


def two_layers(name):
    """Draw a head of two layers, of which the first is narrower than a hidden state."""
    generator = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=generator)
    head = {f"{name}.0.weight": draw(INNER, HIDDEN), f"{name}.2.weight": draw(1, INNER)}
    return head | {f"{name}.0.bias": draw(INNER), f"{name}.2.bias": draw(1)}


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("score", {"architectures": ["Qwen2ForRewardModel"]}),
        ("score", {"architectures": ["INFORMForSequenceClassification"]}),
        ("v_head.summary", {"architectures": ["GRewardModel"]}),
        ("v_head.summary", {"vhead_layer_type": "mlp", "vhead_num_neurons": INNER}),
    ],
    ids=lambda value: str(value)[-30:-3],
)
def test_two_layers_of_a_known_class_have_a_relu_between_them(classifier, tmp_path, name, config):
    head = two_layers(name)
    model = load(rewritten(classifier, tmp_path / "model", head, config=config), dtype="float64")
    states = model.features(TEXTS)
    first, second = (head[f"{name}.{place}.weight"].double().numpy() for place in (0, 2))
    offsets = [head[f"{name}.{place}.bias"].double().numpy() for place in (0, 2)]
    inner = states @ first.T + offsets[0]
    assert (inner < 0).any()  # else the ReLU would change nothing
    expected = np.maximum(inner, 0) @ second.T + offsets[1]
    np.testing.assert_allclose(model.scores(TEXTS), expected[:, 0], rtol=1e-12)


def test_two_layers_of_an_unknown_class_are_refused_by_naming_the_known_ones(classifier, tmp_path):
    head = two_layers("score")
    folder = rewritten(classifier, tmp_path / "model", head, config={"architectures": ["MyModel"]})
    with pytest.raises(ValueError, match="came MyModel") as caught:
        load(folder)
    assert all(name in str(caught.value) for name in ACTIVATIONS)


def test_an_unknown_head_is_refused_by_naming_the_known_ones(classifier, tmp_path):
    folder = rewritten(classifier, tmp_path / "model", {"score.mlp.weight": torch.ones(1, HIDDEN)})
    with pytest.raises(ValueError, match=r"found \{'score\.mlp\.weight'") as caught:
        load(folder)
    assert all(name in str(caught.value) for name in HEAD_NAMES)


def test_openrlhfs_normalisation_is_recorded_and_leaves_scores_as_they_were_trained(
    classifier, scores, tmp_path
):
    head = {"score.weight": score_weight(classifier)}
    folders = [
        rewritten(classifier, tmp_path / f"{mean}", head, config=openrlhf(mean))
        for mean in (1.5, 2.5)
    ]
    models = [load(folder, pooling="last") for folder in folders]
    assert all(np.array_equal(model.scores(TEXTS), scores) for model in models)
    assert models[0].normalisation == (1.5, 0.5)
    recorded = [model.identity["normalisation"] for model in models]
    assert recorded == [{"mean": mean, "std": 0.5, "applied": False} for mean in (1.5, 2.5)]


def openrlhf(mean, std=0.5):
    """What OpenRLHF adds to config.json."""
    return {"value_head_prefix": "score", "mean": mean, "std": std}


@pytest.mark.parametrize(("mean", "std"), [("1", 1.0), (0.0, 0.0), (0.0, None)])
def test_a_normalisation_that_is_none_is_refused(classifier, tmp_path, mean, std):
    head = {"score.weight": score_weight(classifier)}
    folder = rewritten(classifier, tmp_path / "model", head, config=openrlhf(mean, std))
    with pytest.raises(ValueError, match="expected a number and one above 0"):
        load(folder, pooling="last")


@pytest.mark.parametrize("files", [["pytorch_model.bin"], ["pytorch_model.bin.index.json"]])
def test_a_model_in_pickles_is_refused_with_the_hubs_conversion_named(classifier, tmp_path, files):
    folder = shutil.copytree(classifier, tmp_path / "model")
    (folder / "model.safetensors").unlink()
    for name in files:
        (folder / name).write_text("{}")
    with pytest.raises(ValueError, match=r'are not read: .*revision="refs/pr/N"'):
        load(folder)

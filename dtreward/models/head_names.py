"""The names under which trainers write a head, and which of its forms are known."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import torch
from torch import nn

# Names of a layer that scores, as trainers call it; "v_head.summary" stands before its own start.
HEAD_NAMES = (
    "score",  # transformers, TRL, OpenRLHF
    "value_head",  # OpenRLHF
    "reward_head",  # OpenRLHF, Beaver
    "v_head.summary",  # TRL's value head, LLaMA-Factory, GRM
    "v_head",  # InternLM2, Starling, Athene
    "regression_head",  # UltraRM, Eurus
    "score_head",
)
# Other parts of a head: QRM's and ArmoRM's, URM's, and a language model's.
OTHER_PREFIXES = (
    "regression_layer.",
    "gating.",
    "reward_transform_matrix",
    "weights.fc.",
    "lm_head.",
)
# A tensor whose name begins like this belongs to a head; all others belong to the backbone.
HEAD_PREFIXES = (*(f"{name}." for name in HEAD_NAMES), *OTHER_PREFIXES)
OPENRLHF_NAME = "value_head_prefix"  # OpenRLHF's entry of config.json with its head's own name
WRAPPER = "pretrained_model."  # stands before a language model's names in TRL's value-head models
GRM_LAYERS = "vhead_layer_type"  # GRM's entry of config.json: "mlp" (with ReLU) or "linear"
# What stands between the two layers of a head is not in its tensors, only in its class's code.
ACTIVATIONS: dict[str, type[nn.Module]] = {
    "INFORMForSequenceClassification": nn.ReLU,
    "Qwen2ForRewardModel": nn.ReLU,
    "GRewardModel": nn.ReLU,
}
# Classes that keep the language model's own head beside the one that scores.
KEEP_LANGUAGE_HEAD = ("ForCausalLM", "GRewardModel", "LlamaRewardModel")

Part = TypeVar("Part", torch.Tensor, Any)


def scoring_names(config: Mapping[str, Any]) -> tuple[str, ...]:
    """List what a layer that scores may be called, with the name that config.json gives."""
    own_name = config.get(OPENRLHF_NAME)
    if not isinstance(own_name, str) or not own_name or own_name in HEAD_NAMES:
        return HEAD_NAMES
    return (*HEAD_NAMES, own_name)


def head_prefixes(config: Mapping[str, Any]) -> tuple[str, ...]:
    """List how the names of a head's tensors may begin.

    Example:
        >>> set(head_prefixes({"value_head_prefix": "my_head"})) - set(HEAD_PREFIXES)
        {'my_head.'}
    """
    return (*(f"{name}." for name in scoring_names(config)), *OTHER_PREFIXES)


def plain_name(name: str) -> str:
    """Give a tensor's name without the wrapper that TRL's value-head models put before it.

    Example:
        >>> plain_name("pretrained_model.model.norm.weight")
        'model.norm.weight'
    """
    return name.removeprefix(WRAPPER)


def name_as_score(tensors: Mapping[str, Part], config: Mapping[str, Any]) -> dict[str, Part]:
    """Rename the layers that score to `score`, whatever their trainer called them.

    Args:
        tensors: of a checkpoint's head, by name.
        config: the checkpoint's config.json.

    Raises:
        ValueError: if there are two such layers, of which only one can be the head.

    Example:
        >>> name_as_score({"v_head.summary.weight": "weight", "v_head.summary.bias": "bias"}, {})
        {'score.weight': 'weight', 'score.bias': 'bias'}
    """
    # The longer name first, so that "v_head.summary.weight" is not read as one of "v_head".
    layers = sorted(scoring_names(config), key=len, reverse=True)
    renamed = {}
    used = set()
    for name, part in tensors.items():
        layer = next((layer for layer in layers if name.startswith(f"{layer}.")), None)
        if layer is None:
            renamed[name] = part
            continue
        used.add(layer)
        renamed[f"score{name.removeprefix(layer)}"] = part
    if len(used) > 1:
        raise ValueError(
            f"expected one head, found {len(used)}: {', '.join(sorted(used))}; leave out of the "
            "checkpoint the tensors of those that do not give the reward"
        )
    return renamed


def activation_of(config: Mapping[str, Any]) -> type[nn.Module]:
    """Say what stands between the two layers of a head, by the checkpoint's class.

    Raises:
        ValueError: if the class is not known, naming those that are.

    Example:
        >>> activation_of({"architectures": ["Qwen2ForRewardModel"]}).__name__
        'ReLU'
    """
    names = class_names(config)
    for name in names:
        if name in ACTIVATIONS:
            return ACTIVATIONS[name]
    if config.get(GRM_LAYERS) == "mlp":
        return ACTIVATIONS["GRewardModel"]
    raise ValueError(
        f"its head has two layers, and what stands between them is not in the tensors; it is known "
        f"for the classes {', '.join(ACTIVATIONS)} (`architectures` of config.json), came "
        f"{', '.join(names) or 'none'}: if the head is computed as one of these, name that class"
    )


def keeps_language_head(config: Mapping[str, Any], tensors: Iterable[str]) -> bool:
    """Say whether a language model's own head is no surprise beside the head that scores.

    Args:
        tensors: names of the head's tensors; a value head (`v_head`) is put on a language model.

    Example:
        >>> keeps_language_head({"architectures": ["LlamaForSequenceClassification"]}, ["score.weight"])
        False
    """
    if any(name.startswith("v_head.") for name in tensors):
        return True
    return any(name.endswith(KEEP_LANGUAGE_HEAD) for name in class_names(config))


def normalisation_of(config: Mapping[str, Any]) -> tuple[float, float] | None:
    """Read mean and standard deviation of the scores in training, which OpenRLHF records.

    Raises:
        ValueError: if they are no numbers by which scores could be normalised.

    Example:
        >>> normalisation_of({"value_head_prefix": "score", "mean": -0.5, "std": 2.0})
        (-0.5, 2.0)
    """
    if OPENRLHF_NAME not in config or ("mean" not in config and "std" not in config):
        return None
    mean = config.get("mean")
    std = config.get("std")
    are_numbers = all(isinstance(value, int | float) for value in (mean, std))
    if not are_numbers or not math.isfinite(mean) or not 0 < std < math.inf:
        raise ValueError(
            f"config.json has mean {mean!r} and std {std!r} of the scores; expected a number and "
            "one above 0: take both out, as the order of responses does not depend on them"
        )
    return float(mean), float(std)


def class_names(config: Mapping[str, Any]) -> list[str]:
    """List the classes that config.json names; none where the entry is damaged."""
    architectures = config.get("architectures") or []
    if not isinstance(architectures, list):
        return []
    return [str(name) for name in architectures]

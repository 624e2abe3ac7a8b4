"""A small copy of a transformer: every kind of layer that it has, few and narrow, at random weights."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import torch
from transformers import PretrainedConfig, PreTrainedModel

WORDS = 128  # rows of the embedding
HIDDEN = 64
WIDTH_BESIDE = 24  # of a head where heads are not hidden / heads wide
WINDOW = 24  # tokens of a sliding window or chunk, so that short conversations go beyond it
FEWEST_LAYERS = 4
# Entries of a configuration with a number that the copy replaces, if the number is larger.
LARGEST = {
    "vocab_size": WORDS,
    "vocab_size_per_layer_input": WORDS,
    "hidden_size_per_layer_input": 16,
    "intermediate_size": 96,
    "moe_intermediate_size": 48,
    "shared_expert_intermediate_size": 48,
    "intermediate_size_mlp": 96,
    "num_local_experts": 4,
    "num_experts": 4,
    "n_routed_experts": 4,
    "moe_num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_k": 2,
    "n_group": 2,
    "topk_group": 1,
    "sliding_window": WINDOW,
    "attention_chunk_size": WINDOW,
    "q_lora_rank": 32,
    "kv_lora_rank": 32,
    "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 8,
    "v_head_dim": 12,
}
TOKENS = ("pad_token_id", "bos_token_id", "eos_token_id")
# Some rotations take other angles for all of a pack where one conversation is longer than the model's
# limit. `load` refuses such conversations, so those of the check have to stay below the copy's limit.
POSITIONS = 4096
ROTARY_FACTORS = ("short_factor", "long_factor")  # one for each pair of rotated numbers
SPREAD = 0.3  # of what is added to norms, biases and sinks


def shrink(config: PretrainedConfig) -> PretrainedConfig:
    """Make the configuration of a small copy: the same kinds of layers, norms, windows and rotations.

    The copy has the first layers: so many that each kind of layer is among them, and that the last
    is of the kind of the last layer.

    Args:
        config: of a decoder; it is not changed.

    Raises:
        AttributeError, TypeError, ValueError: if the configuration is not built as those of
            decoders are.

    Example:
        >>> from transformers import Qwen3Config
        >>> small = shrink(Qwen3Config(num_hidden_layers=64))
        >>> small.num_hidden_layers, small.hidden_size, small.head_dim
        (4, 64, 32)
    """
    small = deepcopy(config)
    layers = layers_needed(config)
    for name, value in vars(config).items():
        if isinstance(value, list) and len(value) == config.num_hidden_layers:
            setattr(small, name, value[:layers])
    small.num_hidden_layers = layers
    for name, largest in LARGEST.items():
        value = getattr(config, name, None)
        if isinstance(value, int) and value > largest:
            setattr(small, name, largest)
    for name in TOKENS:
        setattr(small, name, None)
    _shrink_heads(small, config)
    return small


def layers_needed(config: PretrainedConfig) -> int:
    """Count the first layers among which each kind of layer is, and which end as all layers end.

    Example:
        >>> from transformers import Gemma3TextConfig
        >>> layers_needed(Gemma3TextConfig(num_hidden_layers=34))  # each sixth has no window
        7
    """
    total = config.num_hidden_layers
    by_layer = [
        value for value in vars(config).values() if isinstance(value, list) and len(value) == total
    ]
    kinds = [repr([values[layer] for values in by_layer]) for layer in range(total)]
    dense = getattr(config, "first_k_dense_replace", None) or 0
    count = min(total, max(FEWEST_LAYERS, dense + 1))
    while count < total and (set(kinds[:count]) != set(kinds) or kinds[count - 1] != kinds[-1]):
        count += 1
    return count


def _shrink_heads(small: PretrainedConfig, config: PretrainedConfig) -> None:
    """Give the copy few narrow heads; they share keys, and are their own width, if the model's do."""
    heads = config.num_attention_heads
    key_heads = getattr(config, "num_key_value_heads", None) or heads
    small.hidden_size = HIDDEN
    small.num_attention_heads = 4 if 1 < key_heads < heads else 2
    if getattr(config, "num_key_value_heads", None):
        small.num_key_value_heads = min(2, key_heads)
    width = HIDDEN // small.num_attention_heads
    head_dim = getattr(config, "head_dim", None)
    if head_dim and head_dim * heads != config.hidden_size:
        width = WIDTH_BESIDE
    if head_dim:
        small.head_dim = width
    small.max_position_embeddings = max(getattr(config, "max_position_embeddings", 0), POSITIONS)
    small.rope_parameters = _shrink_rotation(config.rope_parameters, config, width)


def _shrink_rotation(rope: Any, config: PretrainedConfig, width: int) -> Any:
    """Take as many factors of a rotary embedding as the copy's heads need; keep everything else."""
    if not isinstance(rope, Mapping):
        return rope
    share = rope.get("partial_rotary_factor") or getattr(config, "partial_rotary_factor", 1.0)
    small = {}
    for name, value in rope.items():
        if name in ROTARY_FACTORS:
            small[name] = [value[pair % len(value)] for pair in range(int(width * share) // 2)]
        elif name == "original_max_position_embeddings":
            small[name] = max(value, POSITIONS)
        else:
            small[name] = _shrink_rotation(value, config, width)
    return small


def draw_weights(transformer: PreTrainedModel, seed: int) -> None:
    """Draw all weights of a small copy, so that each of them changes what it computes.

    Matrices keep the size of states. Norms, biases and sinks, which transformers starts at zero or
    one, are spread around that.
    """
    generator = torch.Generator().manual_seed(seed)
    for parameter in transformer.parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.ndim > 1:
            parameter.data = noise * parameter.shape[-1] ** -0.5
        else:
            parameter.data = parameter.data + SPREAD * noise

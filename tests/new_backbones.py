"""Check on a GPU that new architectures give the same bits in any company, by its kernels, compiled.

    python tests/new_backbones.py RESULT.json [--device cuda]

Sizes are small, but heads are as wide as in the published models. Weights are random, and norms are
not one. Nothing is timed. A GPU takes two minutes.
"""

import argparse
import traceback
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from transformers import (
    AutoModel,
    Gemma3TextConfig,
    MistralConfig,
    Olmo2Config,
    Qwen3Config,
    Qwen3MoeConfig,
)

from dtreward.benchmark import machine, sample_conversations
from dtreward.engine.attention import choose, prepare
from dtreward.engine.backbone import Backbone
from dtreward.engine.forward import last_hidden_states
from dtreward.engine.law import check_architecture
from dtreward.engine.small_copy import draw_weights
from dtreward.files import write_json

WHAT = (
    "whether features have the same bits in any company, by the kernels of the machine, on small "
    "models of random weights in bfloat16; beside it the error of the last states against float32, "
    "and that of transformers' eager attention in bfloat16"
)
COMMAND = "python tests/new_backbones.py RESULT"
PAIRS = 60
LONGEST = 3000  # tokens, beyond every window
PACK_TOKENS = 4096
COMPARED = 20  # conversations that are also computed by transformers' own attention
SHAPE = {"vocab_size": 4096, "num_hidden_layers": 4, "max_position_embeddings": 8192}
NARROW = {"hidden_size": 1024, "intermediate_size": 2048, "head_dim": 128}
EIGHT_HEADS = {"num_attention_heads": 8, "num_key_value_heads": 2}
CONFIGS = {
    "qwen3": Qwen3Config(
        **SHAPE, **NARROW, num_attention_heads=16, num_key_value_heads=8, use_sliding_window=False
    ),
    "mistral": MistralConfig(**SHAPE, **NARROW, **EIGHT_HEADS, sliding_window=1024),
    "gemma3_text": Gemma3TextConfig(
        **{**SHAPE, "num_hidden_layers": 7},
        hidden_size=1152,
        intermediate_size=2304,
        head_dim=256,
        num_attention_heads=4,
        num_key_value_heads=1,
        sliding_window=512,
    ),
    "olmo2": Olmo2Config(**SHAPE, hidden_size=1024, intermediate_size=2048, **EIGHT_HEADS),
    "qwen3_moe": Qwen3MoeConfig(
        **SHAPE,
        **NARROW,
        **EIGHT_HEADS,
        moe_intermediate_size=512,
        num_experts=16,
        num_experts_per_tok=4,
    ),
}


def make(name, device, dtype, attention):
    """Make a transformer of an architecture; the same weights each time."""
    torch.manual_seed(0)
    config = deepcopy(CONFIGS[name])
    transformer = AutoModel.from_config(
        config, dtype=torch.float32, attn_implementation=attention
    ).eval()
    draw_weights(transformer, 0)
    return transformer.to(device, dtype)


def states_alone(name, device, dtype, conversations):
    """Compute the last states by transformers' own attention, one conversation at a time."""
    transformer = make(name, device, dtype, "eager")
    states = []
    for ids in conversations:
        tokens = torch.from_numpy(ids).long().to(device)[None]
        with torch.inference_mode():
            output = transformer(tokens, use_cache=False)
        states.append(output.last_hidden_state[0, -1].float().cpu().numpy())
    return np.stack(states)


def relative_error(found, exact):
    """Give the relative norm of a difference."""
    return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))


def check_bits(backbone):
    """Say for each kind of company whether features have the same bits as in the whole sample."""
    ids, prompts = sample_conversations(PAIRS, SHAPE["vocab_size"], longest=LONGEST)
    features = last_hidden_states(backbone, ids, prompts)
    order = np.random.default_rng(0).permutation(len(ids))
    mixed = last_hidden_states(
        backbone, [ids[row] for row in order], [prompts[row] for row in order]
    )
    return features, {
        "another order": np.array_equal(mixed, features[order]),
        "prompts not shared": np.array_equal(last_hidden_states(backbone, ids), features),
        "nine alone": np.array_equal(
            last_hidden_states(backbone, ids[:9], prompts[:9]), features[:9]
        ),
        "one alone": np.array_equal(last_hidden_states(backbone, ids[5:6]), features[5:6]),
        "control: two prompts give equal features": np.array_equal(features[0], features[2]),
    }


def check(name, device, compiled):
    """Check one architecture in bfloat16."""
    config = CONFIGS[name]
    transformer = make(name, device, torch.bfloat16, "packed")
    pruned = check_architecture(type(transformer), config)
    kernels = choose(config, device, torch.bfloat16)
    prepare(transformer, compiled=compiled, pruned=pruned)
    backbone = Backbone(transformer, None, {}, PACK_TOKENS, kernels)
    features, same_bits = check_bits(backbone)
    ids, _ = sample_conversations(PAIRS, SHAPE["vocab_size"], longest=LONGEST)
    exact = states_alone(name, device, torch.float32, ids[:COMPARED])
    theirs = states_alone(name, device, torch.bfloat16, ids[:COMPARED])
    return {
        "kernels": list(kernels),
        "compiled": compiled,
        "pruned": pruned,
        "longest": max(map(len, ids)),
        "same_bits": same_bits,
        "error_against_float32": relative_error(features[:COMPARED], exact),
        "error_of_eager_bfloat16": relative_error(theirs, exact),
    }


def check_all(device):
    """Check every architecture, compiled on a GPU; one that fails leaves the others."""
    results = {}
    for name in CONFIGS:
        try:
            results[name] = check(name, device, compiled=device.type == "cuda")
        except Exception:  # noqa: BLE001 (what fails is what is asked)
            results[name] = {"failed": traceback.format_exc()}
        print(name, results[name], flush=True)
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("result", type=Path)
    parser.add_argument("--device", default="cuda")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    results = check_all(torch.zeros(0, device=device).device)
    numbers = {"what": WHAT, "command": COMMAND}
    numbers |= {"architectures": results, "machine": machine(device)}
    write_json(arguments.result, numbers)


if __name__ == "__main__":
    main()

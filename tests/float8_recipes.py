"""Measure ways of computing in float8: what they change in a trained model, and their speed.

    python tests/float8_recipes.py MODEL SOURCE SHAPE RESULT.json

MODEL is read as in `tests/trained_weights.py`, on the conversations of SOURCE. The speed is that of
random weights of a SHAPE of the benchmark, in packs of 16,384 tokens. A GPU of 80 GB takes two minutes.
"""

import argparse
import gc
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import trained_weights
from torch import nn

from dtreward.benchmark import SHAPES, Ladder, machine, sample_conversations
from dtreward.engine.attention import prepare
from dtreward.engine.float8 import MOST, SMALLEST, Fp8Linear
from dtreward.engine.forward import last_hidden_states
from dtreward.files import write_json
from dtreward.models.load_backbone import LoadOptions
from dtreward.models.load_checkpoint import load_language_model
from dtreward.pairs.frame import load_pairs, responses

WHAT = (
    "ways of computing a backbone's linear layers in float8: what each changes against float32 in a "
    "trained model (features, rewards of probes, the order of two responses, a tree's decisions, "
    "with bfloat16 beside them), and how fast it reads the packs of a larger shape of random weights"
)
COMMAND = "python tests/float8_recipes.py MODEL SOURCE SHAPE RESULT"
DOWN = "down_proj"
ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
PAIRS = 100  # of the sample whose packs are timed
RUNS = 3  # of each timing
PACK_TOKENS = 16384


@dataclass(frozen=True)
class Recipe:
    """Which linear layers are in float8, and how they are scaled.

    Attributes:
        kept: names of the linear layers that stay in bfloat16.
        ends: how many of the first, and of the last, decoder layers stay in bfloat16.
        block: numbers that share a scale; 0: a row of the weights, or a token, has one.
        smooth: share of the outliers that is moved from states to weights; 0: none.
    """

    kept: tuple[str, ...] = ()
    ends: int = 0
    block: int = 0
    smooth: float = 0.0


RECIPES = {
    "rows": Recipe(),
    "rows, down_proj kept": Recipe(kept=(DOWN,)),
    "rows, two layers at each end kept": Recipe(ends=2),
    "rows, both kept": Recipe(kept=(DOWN,), ends=2),
    "rows, gate and up alone": Recipe(kept=(DOWN, *ATTENTION)),
    "rows, smoothed": Recipe(smooth=0.5),
    "blocks of 64": Recipe(block=64),
    "blocks of 64, smoothed": Recipe(block=64, smooth=0.5),
    "blocks of 64, smoothed, both kept": Recipe(kept=(DOWN,), ends=2, block=64, smooth=0.5),
}


class Emulated(nn.Module):
    """A linear layer whose weights and states are rounded to float8, multiplied in float32."""

    def __init__(self, linear, block, smoothing):
        super().__init__()
        self.block = block
        self.bias = linear.bias
        self.smoothing = smoothing
        weight = linear.weight.detach().float()
        self.weight = self.rounded(weight * smoothing)

    def rounded(self, values):
        """Round numbers to float8, with a scale for each row or block."""
        blocks = values.unflatten(-1, (-1, self.block or values.shape[-1]))
        scale = blocks.abs().amax(-1, keepdim=True).clamp(min=SMALLEST) / MOST
        short = (blocks / scale).clamp(-MOST, MOST).to(torch.float8_e4m3fn)
        return (short.float() * scale).flatten(-2)

    def forward(self, states):
        output = self.rounded(states.float() / self.smoothing) @ self.weight.T
        if self.bias is not None:
            output = output + self.bias
        return output.to(states.dtype)


def linear_layers(transformer, recipe=None):
    """List the linear layers of the decoder layers that a recipe computes in float8; None: all."""
    recipe = recipe or Recipe()
    count = len(transformer.layers)
    for number, layer in enumerate(transformer.layers):
        if not recipe.ends <= number < count - recipe.ends:
            continue
        for path, module in list(layer.named_modules()):
            name = path.rpartition(".")[2]
            if isinstance(module, nn.Linear) and name not in recipe.kept:
                yield number, path, module


def convert(transformer, recipe, largest=None):
    """Replace linear layers by those of a recipe.

    Args:
        largest: of each layer's inputs, by channel; needed where a recipe smooths.
    """
    for number, path, linear in linear_layers(transformer, recipe):
        if recipe.block or recipe.smooth:
            smoothing = torch.ones(linear.in_features, device=linear.weight.device)
            if recipe.smooth:
                inputs = largest[number, path].clamp(min=SMALLEST) ** recipe.smooth
                weights = linear.weight.detach().float().abs().amax(0).clamp(min=SMALLEST)
                smoothing = inputs / weights ** (1 - recipe.smooth)
            made = Emulated(linear, recipe.block, smoothing)
        else:
            made = Fp8Linear(linear)
        parent, _, name = path.rpartition(".")
        setattr(transformer.layers[number].get_submodule(parent), name, made)


def largest_inputs(backbone, ids):
    """Give the largest input of each linear layer, by channel, over some conversations."""
    largest = {}

    def note(key):
        def keep(_, inputs):
            found = inputs[0].detach().float().abs().flatten(0, -2).amax(0)
            largest[key] = torch.maximum(largest.get(key, found), found)

        return keep

    hooks = []
    for number, path, linear in linear_layers(backbone.transformer):
        hooks.append(linear.register_forward_pre_hook(note((number, path))))
    last_hidden_states(backbone, ids)
    for hook in hooks:
        hook.remove()
    return largest


def load_uncompiled(model, dtype, device):
    """Load a model whose layers can be replaced; compiled code would keep the old ones."""
    backbone = load_language_model(
        model, LoadOptions(device=device, dtype=dtype, too_long="cut_prompt_start")
    )
    for layer in backbone.transformer.layers:
        layer._compiled_call_impl = None
    return backbone


def read_all(model, conversations, device):
    """Give the features of conversations in float32, bfloat16 and by every recipe."""
    backbone = load_uncompiled(model, "float32", device)
    ids = [backbone.chat.token_ids(*conversation).ids for conversation in conversations]
    features = {"float32": np.asarray(last_hidden_states(backbone, ids), np.float64)}
    largest = largest_inputs(backbone, ids)
    for name, recipe in {"bfloat16": None, **RECIPES}.items():
        backbone = load_uncompiled(model, "bfloat16", device)
        if recipe:
            convert(backbone.transformer, recipe, largest)
        features[name] = np.asarray(last_hidden_states(backbone, ids), np.float64)
    return features


def measure_changes(model, source, device):
    """Tabulate what bfloat16 and every recipe change, as `tests/trained_weights.py` does."""
    read = load_pairs(source)
    attributes = list(read.attributes)
    table = responses(read.frame, attributes)
    conversations = list(zip(table["prompt"], table["response"], strict=True))
    features = read_all(model, conversations, device)
    changes = trained_weights.measure(features, read.frame, table, attributes)
    counts = {"responses": len(table), "pairs": len(read.frame), "prompts": read.counts["prompts"]}
    return counts, changes


def measure_speed(shape, device):
    """Time the packs of a sample in bfloat16, and by every recipe that the hardware multiplies."""
    ladder = Ladder(SHAPES[shape](), device, torch.bfloat16, PACK_TOKENS)
    exact = ladder.transformer
    ids, prompts = sample_conversations(PAIRS, ladder.config.vocab_size, longest=ladder.size)
    kernel = next(name for name, reason in ladder.unfit_kernels().items() if reason is None)
    rates = {}
    for name, recipe in {"bfloat16": None, **RECIPES}.items():
        if recipe and (recipe.block or recipe.smooth):
            continue
        ladder.transformer = deepcopy(exact)
        if recipe:
            convert(ladder.transformer, recipe)
        torch._dynamo.reset()
        prepare(ladder.transformer, compiled=ladder.on_gpu)
        for _ in range(RUNS):
            ladder.packed(name, ids, prompts, ladder.backbone(kernel, compiled="layers"))
        rates[name] = float(np.median([rung.tokens_per_second for rung in ladder.rungs[-RUNS:]]))
        gc.collect()
    speed = {}
    for name, rate in rates.items():
        speed[name] = {"tokens_per_second": rate, "times_bfloat16": rate / rates["bfloat16"]}
    return {"peak_tflops": ladder.peak, "pairs": PAIRS, "runs": RUNS, "recipes": speed}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model")
    parser.add_argument("source")
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("result", type=Path)
    parser.add_argument("--device", default="cuda")
    arguments = parser.parse_args()
    counts, changes = measure_changes(arguments.model, arguments.source, arguments.device)
    device = torch.zeros(0, device=arguments.device).device
    numbers = {"what": WHAT, "command": COMMAND}
    numbers |= {"model": Path(arguments.model).name, "source": Path(arguments.source).name}
    numbers |= {**counts, "shape": arguments.shape, "machine": machine(device)}
    numbers["recipes"] = {name: asdict(recipe) for name, recipe in RECIPES.items()}
    numbers["changes"] = changes
    numbers["speed"] = measure_speed(arguments.shape, device)
    write_json(arguments.result, numbers)


if __name__ == "__main__":
    main()

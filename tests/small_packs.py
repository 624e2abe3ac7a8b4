"""Time `compare` of two short answers on a GPU, in packs of several sizes.

    python tests/small_packs.py llama-3.1-8b RESULT.json

Weights are random. A GPU of 24 GB (8B) takes a minute.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from replicas import make_tokenizer
from transformers import AutoModel

from dtreward.benchmark import SHAPES, machine, sample_conversations
from dtreward.conversation import ChatTokenizer
from dtreward.engine.attention import choose, prepare
from dtreward.engine.backbone import Backbone
from dtreward.engine.forward import last_hidden_states
from dtreward.files import write_json
from dtreward.models.head_model import HeadModel
from dtreward.models.heads import LinearHead
from dtreward.models.load_backbone import PACK_TOKENS_GPU, SMALL_PACKS_GPU

WHAT = (
    "seconds of `compare` for one pair whose two answers have so many tokens each, in packs of "
    "one size; whether features of one size have the same bits in any company; and their relative "
    "change against those of the largest size"
)
COMMAND = "python tests/small_packs.py SHAPE RESULT"
SIZES = (512, 1024, 2048, 4096)
ANSWER = 100  # tokens of each answer; the tokenizer's tokens are bytes
PROMPT = "How many apples does each of the three people get?"
LENGTHS = (50, 100, 200, 400, 900, 1500)  # tokens of answers that `load`'s own choice is timed with
REPEATS = 50
SHORT = 16  # conversations whose bits are compared
WORDS = 256  # tokens that the tokenizer knows


def make_model(shape, device):
    """Draw a score model on a device, compiled as `load` compiles it there."""
    config = SHAPES[shape]()
    torch.manual_seed(0)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    with torch.device(device):
        transformer = AutoModel.from_config(config, dtype=dtype, attn_implementation="packed")
    prepare(transformer, compiled=device.type == "cuda")
    chat = ChatTokenizer(make_tokenizer("gemma2" if "gemma" in shape else "llama"))
    kernels = choose(config, device, dtype)
    backbone = Backbone(transformer, chat, {}, PACK_TOKENS_GPU, kernels)
    head = LinearHead(["score"], config.hidden_size, bias=False).requires_grad_(False)
    return HeadModel(backbone, head)


def with_size(model, size, small_packs=()):
    """Give the model with other packs; all share the transformer."""
    backbone = replace(model.backbone, pack_tokens=size, small_packs=small_packs)
    return HeadModel(backbone, model.head)


def time_compare(model, length, repeats):
    """Time `compare` of two answers of so many tokens: the first call, and the median after it."""
    answers = ["".join(f"{n} is {n * n + seed}, " for n in range(length)) for seed in (1, 2)]
    first, second = (answer[:length] for answer in answers)
    seconds = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        model.compare(PROMPT, first, second)
        seconds.append(time.perf_counter() - started)
    return {"first": seconds[0], "median": float(np.median(seconds[1:])), "most": max(seconds[1:])}


def read(model, ids):
    """Give features of conversations as packs of the model's size compute them."""
    return last_hidden_states(model.backbone, ids)


def check_size(model, size, ids, repeats):
    """Time a size, and compare the features of conversations in each other's company and alone."""
    sized = with_size(model, size)
    features = read(sized, ids)
    alone = [read(sized, [ids[row]])[0] for row in (0, len(ids) // 2)]
    return features, {
        "compare": time_compare(sized, ANSWER, repeats),
        "same_bits": {
            "in reverse": np.array_equal(read(sized, ids[::-1])[::-1], features),
            "alone": np.array_equal(alone, features[[0, len(ids) // 2]]),
            "control: another conversation": np.array_equal(features[0], features[1]),
        },
    }


def measure(shape, device, sizes=SIZES, repeats=REPEATS):
    """Check every size, and what `load` chooses by itself for pairs of several lengths."""
    model = make_model(shape, device)
    pairs, _ = sample_conversations(SHORT, WORDS, prompt_mean=20.0, longest=sizes[0])
    features, checked = {}, {}
    for size in sizes:
        features[size], checked[size] = check_size(model, size, pairs[:SHORT], repeats)
        print(size, checked[size], flush=True)
    for size, found in features.items():
        error = np.linalg.norm(found - features[sizes[-1]])
        checked[size]["relative_change"] = float(error / np.linalg.norm(features[sizes[-1]]))
        checked[size]["same_bits_as_largest"] = np.array_equal(found, features[sizes[-1]])
    chosen = with_size(model, PACK_TOKENS_GPU, SMALL_PACKS_GPU)
    default = {length: time_compare(chosen, length, repeats) for length in LENGTHS}
    return {
        "sizes": {str(size): values for size, values in checked.items()},
        "small_packs": list(SMALL_PACKS_GPU),
        "pack_tokens": PACK_TOKENS_GPU,
        "default": {str(length): values for length, values in default.items()},
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("result", type=Path)
    arguments = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    numbers = {"what": WHAT, "command": COMMAND, "shape": arguments.shape, "weights": "random"}
    numbers |= {"answer_tokens": ANSWER, "machine": machine(device)}
    numbers |= measure(arguments.shape, device)
    write_json(arguments.result, numbers)


if __name__ == "__main__":
    main()

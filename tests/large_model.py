"""Write a score model of real size with random weights, load it as anyone would, and score pairs.

    python tests/large_model.py gemma-2-27b FOLDER RESULT.json
    python tests/large_model.py llama-3.1-70b /dev/shm/FOLDER RESULT.json auto   # spread over GPUs

FOLDER must have room for the weights (55 and 139 GB); it is deleted afterwards.
"""

from __future__ import annotations

import itertools
import json
import shutil
import sys
import time
from pathlib import Path

import torch
from replicas import make_tokenizer
from safetensors.torch import save_file
from transformers import AutoModel, LlamaConfig

from dtreward import load
from dtreward.benchmark import LLAMA, SHAPES, machine
from dtreward.files import write_json

SHARD = 4.6e9  # bytes
PACK_TOKENS = 4096  # one size, so that a pair alone has the bits that it has in company
PROMPT = "How many apples are left?"
LARGE = {
    "llama-3.1-70b": lambda: LlamaConfig(
        vocab_size=128256, hidden_size=8192, intermediate_size=28672, num_hidden_layers=80,
        num_attention_heads=64, num_key_value_heads=8, max_position_embeddings=131072,
        rope_parameters=LLAMA, bos_token_id=128000, eos_token_id=128009,
    ),
}  # fmt: skip


def write_checkpoint(shape: str, folder: Path, device: str) -> int:
    """Write config, tokenizer and sharded bfloat16 weights; give the bytes of the weights."""
    config = (LARGE | SHAPES)[shape]()
    with torch.device("meta"):
        names = {
            f"model.{name}": each.shape
            for name, each in AutoModel.from_config(config).state_dict().items()
        }
    names["score.weight"] = torch.Size((1, config.hidden_size))
    torch.manual_seed(0)
    folder.mkdir(parents=True)
    where, shard, total = {}, {}, 0
    for number, (name, size) in enumerate(names.items(), start=1):
        drawn = torch.randn(size, device=device, dtype=torch.bfloat16) * 0.02
        if "norm" in name:  # Gemma-2's scale is one more than its weight
            drawn = torch.full_like(drawn, 0.0 if "gemma" in shape else 1.0)
        shard[name] = drawn.cpu()
        held = sum(each.nbytes for each in shard.values())
        if held > SHARD or number == len(names):
            file = f"model-{len({*where.values()}) + 1:05d}.safetensors"
            save_file(shard, folder / file, metadata={"format": "pt"})
            where |= dict.fromkeys(shard, file)
            total, shard = total + held, {}
    index = {"metadata": {"total_size": total}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    make_tokenizer("gemma2" if "gemma" in shape else "llama").save_pretrained(folder)
    config.num_labels, config.dtype = 1, torch.bfloat16
    config.save_pretrained(folder)
    return total


def measure(shape: str, folder: Path, device: str = "") -> dict:
    """Time writing, loading and comparing eight pairs; check that one alone scores the same bits."""
    there = "cuda" if torch.cuda.is_available() else "cpu"
    device, marks = device or there, [time.perf_counter()]
    size = write_checkpoint(shape, folder, there)
    torch.cuda.empty_cache()
    marks.append(time.perf_counter())
    print(f"{size:,} bytes written in {marks[1] - marks[0]:.0f} s", flush=True)
    model = load(folder, device=device, dtype="bfloat16", pack_tokens=PACK_TOKENS)
    marks.append(time.perf_counter())
    firsts = [f"There are {n} apples left." * (n + 1) for n in range(8)]
    seconds = [f"I count {n}." * (n + 2) for n in range(8)]
    scores = [each.scores for each in model.compare_many([PROMPT] * 8, firsts, seconds)]
    marks.append(time.perf_counter())
    alone = model.compare(PROMPT, firsts[3], seconds[3]).scores
    spent = [after - before for before, after in itertools.pairwise(marks)]
    told = dict(
        zip(("seconds_to_write", "seconds_to_load", "seconds_of_8_pairs"), spent, strict=True)
    )
    told |= {"shape": shape, "weights": "random", "bytes": size, "scores": scores}
    told |= {
        "attention": model.backbone.identity["attention"],
        "alone_same_bits": alone == scores[3],
    }
    used = [torch.cuda.max_memory_allocated(n) / 2**30 for n in range(torch.cuda.device_count())]
    told |= {"memory_gib": sum(used), "memory_gib_of_each_gpu": used}
    return told | {"machine": machine(torch.device(there))}


if __name__ == "__main__":
    place = Path(sys.argv[2])
    try:
        write_json(sys.argv[3], measure(sys.argv[1], place, *sys.argv[4:]))
    finally:
        shutil.rmtree(place, ignore_errors=True)

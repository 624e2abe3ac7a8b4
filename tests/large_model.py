"""Write a score model of real size with random weights, load it as anyone would, and score pairs.

    python tests/large_model.py gemma-2-27b FOLDER RESULT.json

FOLDER must have room for the weights (55 GB for 27B); it is deleted afterwards.
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
from transformers import AutoModel

from dtreward import load
from dtreward.benchmark import SHAPES, machine
from dtreward.record import write_json

SHARD = 4.6e9  # bytes
PROMPT = "How many apples are left?"


def write_checkpoint(shape: str, folder: Path, device: str) -> int:
    """Write config, tokenizer and sharded bfloat16 weights; give the bytes of the weights."""
    config = SHAPES[shape]()
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


def measure(shape: str, folder: Path) -> dict:
    """Time writing, loading and comparing eight pairs; check that one alone scores the same bits."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    marks = [time.perf_counter()]
    size = write_checkpoint(shape, folder, device)
    marks.append(time.perf_counter())
    print(f"{size:,} bytes written in {marks[1] - marks[0]:.0f} s", flush=True)
    model = load(folder, device=device, dtype="bfloat16")
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
    if device == "cuda":
        told["memory_gib"] = torch.cuda.max_memory_allocated() / 2**30
    return told | {"machine": machine(torch.device(device))}


if __name__ == "__main__":
    place = Path(sys.argv[2])
    try:
        write_json(sys.argv[3], measure(sys.argv[1], place))
    finally:
        shutil.rmtree(place, ignore_errors=True)

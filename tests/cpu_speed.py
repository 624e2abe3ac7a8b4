"""How fast this checkout reads conversations on a CPU, beside an earlier checkout of it.

    python tests/cpu_speed.py FOLDER BEFORE RESULT.json [PAIRS]

FOLDER holds the model, BEFORE the earlier checkout. Both read the same conversations on one thread,
in turn, each time in a new process; this one also reads in bfloat16, once. The result's file says whether the
features of both are the same to the bit.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import torch

from dtreward.benchmark import machine
from dtreward.files import write_json

ROOT = Path(__file__).parents[1]
ROUNDS = 3
CHILD = """
import json, sys, time
import torch
from dtreward.benchmark import sample_conversations
from dtreward.engine.forward import last_hidden_states
from dtreward.files import digest
from dtreward.models.load_backbone import LoadOptions
from dtreward.models.load_checkpoint import load_language_model

folder, dtype, pairs = sys.argv[1:]
torch.set_num_threads(1)
backbone = load_language_model(folder, LoadOptions(device="cpu", dtype=dtype))
vocabulary = backbone.transformer.config.vocab_size
ids, prompts = sample_conversations(int(pairs), vocabulary, longest=backbone.pack_tokens)
last_hidden_states(backbone, ids[:1], prompts[:1])
started = time.perf_counter()
features = last_hidden_states(backbone, ids, prompts)
seconds = time.perf_counter() - started
rate = sum(map(len, ids)) / seconds
print(json.dumps({"tokens_per_second": rate, "digest": digest(features.tobytes())}))
"""


def read_once(checkout: Path, folder: Path, dtype: str, pairs: int) -> dict[str, float | str]:
    """Read the sample in a new process, with the package of a checkout."""
    command = [sys.executable, "-c", CHILD, str(folder), dtype, str(pairs)]
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    run = subprocess.run(
        command, check=True, capture_output=True, text=True, env=environment, cwd=checkout
    )
    return json.loads(run.stdout.splitlines()[-1])


def measure(folder: Path, before: Path, pairs: int) -> dict[str, object]:
    """Let the checkouts read in turn, and compare their medians."""
    ways = {
        "before": (before, "float32"),
        "now": (ROOT, "float32"),
        "now_bfloat16": (ROOT, "bfloat16"),
    }
    runs: dict[str, list] = {way: [] for way in ways}
    for number in range(ROUNDS):
        for way, (checkout, dtype) in ways.items():
            if way == "now_bfloat16" and number:
                continue  # many times slower where the processor has no instructions for it
            runs[way].append(read_once(checkout, folder, dtype, pairs))
    rates = {
        way: statistics.median(run["tokens_per_second"] for run in found)
        for way, found in runs.items()
    }
    digests = {run["digest"] for way in ("before", "now") for run in runs[way]}
    return {
        "model": folder.name,
        "pairs": pairs,
        "threads": 1,
        "tokens_per_second": rates,
        "ratio": rates["now"] / rates["before"],
        "bfloat16_ratio": rates["now_bfloat16"] / rates["now"],
        "same_to_the_bit": len(digests) == 1,
        "machine": machine(torch.device("cpu")) | {"cores": f"{os.cpu_count()} cores, no GPU"},
    }


def main(folder: str, before: str, result: str, pairs: str = "40") -> None:
    """Measure, and write the result's file."""
    found = measure(Path(folder).resolve(), Path(before).resolve(), int(pairs))
    write_json(result, found)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main(*sys.argv[1:])

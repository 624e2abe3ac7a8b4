"""A CPU holds the weights once while they are loaded, whatever number format they are stored in."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from replicas import make_replica
from transformers import LlamaConfig, LlamaForSequenceClassification

MOST = 1.15  # times the weights
# The replica that is loaded first pays for imports, and for what is found out once.
CHILD = """
import json, re, sys
from pathlib import Path
from dtreward.models.loader import load

def memory(entry):
    text = Path("/proc/self/status").read_text()
    return int(re.search(rf"{entry}:\\s+(\\d+) kB", text)[1]) * 1024

small, *folders = sys.argv[1:]
load(small, device="cpu")
for folder in folders:
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    before = memory("VmRSS")
    model = load(folder, device="cpu")
    peak = memory("VmHWM") - before
    weights = sum(each.nbytes for each in model.backbone.transformer.parameters())
    print(json.dumps({"peak": peak, "weights": weights}))
    del model
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_peak_of_a_load_is_little_more_than_the_weights(tmp_path):
    """With one mapping of the file, bfloat16 read as float32 took 1.54 times the weights."""
    small = make_replica(tmp_path / "small")
    one_file = make_large(tmp_path / "one_file", small, torch.float32, "1GB")
    sharded = make_large(tmp_path / "sharded", small, torch.bfloat16, "60MB")
    assert len(list(sharded.glob("*.safetensors"))) > 1
    for found in measure(small, one_file, sharded):
        assert found["weights"] > 200e6
        assert found["weights"] * 0.95 < found["peak"] < found["weights"] * MOST, found


def make_large(folder: Path, small: Path, dtype: torch.dtype, size: str) -> Path:
    """Write a reward model with the tokenizer of a small one, in files of at most `size`."""
    shutil.copytree(small, folder)
    (folder / "model.safetensors").unlink()
    config = LlamaConfig.from_pretrained(
        small, hidden_size=1024, intermediate_size=4096, num_hidden_layers=4, num_labels=1
    )
    config.head_dim = 1024 // config.num_attention_heads
    torch.manual_seed(0)
    LlamaForSequenceClassification(config).to(dtype).save_pretrained(folder, max_shard_size=size)
    return folder


def measure(*folders: Path) -> list[dict[str, int]]:
    """Load folders in a new process; give the peak of each, the first excepted, and its weights."""
    command = [sys.executable, "-c", CHILD, *map(str, folders)]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    return [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]

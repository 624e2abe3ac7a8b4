"""Notebooks 01 to 04 at the real size: random weights, one byte a token, lengths as HelpSteer2's.

    python tests/full_size.py llama-3.1-8b FOLDER RESULT.json [PAIRS]

FOLDER must have room for the weights (16 GB for 8B) and the features; it is deleted afterwards. Ratings
and preferences are drawn as the demo world's, so that nothing can be found in the features: what is
measured is seconds and memory, of every notebook as a study runs it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pandas as pd
import torch
from large_model import write_checkpoint
from scale import ROOT, make_table, run_measured

from dtreward.benchmark import machine, sample_conversations
from dtreward.files import write_json

NOTEBOOKS = [
    "01_load_pairs",
    "02_extract_features",
    "03_fit_attribute_probe",
    "04_fit_preference_tree",
]
MEMORY = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits", "--id=0"]


def make_pairs(pairs: int) -> pd.DataFrame:
    """Give ratings and votes of the demo world, with texts of so many bytes as HelpSteer2 has tokens."""
    ids, _ = sample_conversations(pairs, 10 + 26, seed=1)
    texts = ["".join(map(chr, 87 + each)) for each in ids]
    table = make_table(pairs)
    for row, (one, two) in enumerate(zip(texts[::2], texts[1::2], strict=True)):
        shared = next((at for at, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), 0)
        shared = max(shared, 12)
        table.loc[row, ["prompt", "response_1", "response_2"]] = [
            one[:shared],
            one[shared:] or "?",
            two[shared:] or "?",
        ]
    return table


class GpuMemory(threading.Thread):
    """Ask once a second how much of the card's memory is in use, in GiB."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.done, self.peak = threading.Event(), 0.0

    def run(self) -> None:
        while not self.done.wait(1.0):
            told = subprocess.run(MEMORY, check=True, capture_output=True, text=True).stdout
            self.peak = max(self.peak, int(told) / 1024)


def measure(shape: str, folder: Path, pairs: int, result: str) -> None:
    """Run the notebooks one after the other; write what each costs, after each."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    told = {"shape": shape, "weights": "random", "pairs": pairs}
    told["bytes"] = write_checkpoint(shape, folder / "model", device)
    torch.cuda.empty_cache()
    make_pairs(pairs).to_parquet(folder / "pairs.parquet", index=False)
    shared = {
        "study": "full-size",
        "data_dir": str(folder),
        "source": str(folder / "pairs.parquet"),
    }
    shared |= {"model": str(folder / "model"), "too_long": "cut_prompt_start"}
    costs, made = {}, folder / "full-size"
    for name in NOTEBOOKS:
        text = (ROOT / "notebooks" / f"{name}.ipynb").read_text()
        own = {key: value for key, value in shared.items() if f'"{key}: ' in text}
        command = [sys.executable, "-m", "dtreward.cli", "run", f"notebooks/{name}.ipynb"]
        gpu = GpuMemory() if device == "cuda" else None
        if gpu:
            gpu.start()
        costs[name] = run_measured([*command, str(made / f"{name}.ipynb"), json.dumps(own)])
        if gpu:
            gpu.done.set()
            costs[name]["gpu_gib"] = round(gpu.peak, 1)
        print(name, costs[name], flush=True)
        write_json(result, told | {"costs": costs, "machine": machine(torch.device(device))})
    record = json.loads((made / "02_extract_features.json").read_text())["numbers"]
    kept = ("responses", "hidden", "tokens", "tokens_computed", "fill", "bit_for_bit", "seconds")
    told |= {"costs": costs, "extraction": {key: record[key] for key in kept}}
    told["features_gb"] = sum(path.stat().st_size for path in made.glob("features/*/*")) / 1e9
    write_json(result, told | {"machine": machine(torch.device(device))})


def main(shape: str, folder: str, result: str, pairs: str = "1000") -> None:
    """Measure, and delete what was made for it."""
    place = Path(folder).resolve()
    place.mkdir(parents=True)
    try:
        measure(shape, place, int(pairs), result)
    finally:
        shutil.rmtree(place)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""What the study costs on many pairs: python tests/scale.py FOLDER PAIRS [PAIRS ...] [name=value ...]

Makes a table of so many pairs, one a prompt, with ratings as HelpSteer2's, people's and five judges'
votes (no text is worth reading), and runs the notebooks that need no model as snakemake would: one
after the other, each in its own kernel. Prints, and writes to FOLDER/scale.json: seconds, CPU seconds
and the largest memory of all processes together (resident, so that shared pages count more than once).
"""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import yaml

from dtreward.demo.world import draw_ratings
from dtreward.judges.verdict import judged_frame
from dtreward.tree.nodes import ATTRIBUTES
from dtreward.tree.tree import PreferenceTree

ROOT = Path(__file__).parents[1]
NOTEBOOKS = [
    "01_load_pairs",
    "04_fit_preference_tree",
    "05_ablate_depth_and_leaves",
    "07_compare_judges",
    "08_compare_shap",
]
PANEL = {"GPT-4o": 0.7, "Llama-3.1-8B": 0.4, "Claude-3": 0.6, "Qwen-2": 0.5, "Gemma-2": 0.3}


def make_table(pairs: int, seed: int = 0) -> pd.DataFrame:
    """Draw ratings with the published shares, people's votes by their published tree, short texts."""
    rng = np.random.default_rng(seed)
    ratings = draw_ratings(2 * pairs, seed=seed).reshape(pairs, 2, -1)
    numbers = pd.Series(np.arange(pairs)).astype(str).array
    table = pd.DataFrame({"prompt": "Question " + numbers})
    lengths = (
        1 + ratings[:, :, ATTRIBUTES.index("verbosity")] * 10 + rng.integers(20, size=(pairs, 2))
    )
    for side in (1, 2):
        words = pd.Series(["a " * n for n in range(62)])[lengths[:, side - 1]].array
        table[f"response_{side}"] = words + numbers + f" {side}"
        for column, name in enumerate(ATTRIBUTES):
            table[f"{name}_{side}"] = ratings[:, side - 1, column]
    chance = PreferenceTree.published("Human").probability(ratings[:, 1] - ratings[:, 0])
    return table.assign(preference=(rng.random(pairs) < chance).astype(int))


def make_judges(pairs: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Give what five judges say of a study's pairs: as people, or by position where torn."""
    rng, parts = np.random.default_rng(seed), []
    for judge, consistency in PANEL.items():
        vote = pairs["preference"].to_numpy(int) ^ (rng.random(len(pairs)) < 0.2)
        torn = rng.random(len(pairs)) > consistency
        given = np.array(["A", "B"])[vote]
        swapped = np.where(torn, given, np.array(["B", "A"])[vote])
        states = {"judge": judge, "family": "", "pair": np.arange(len(pairs))}
        parts.append(pd.DataFrame(states | {"given": given, "swapped": swapped}))
    return judged_frame(pd.concat(parts, ignore_index=True), pairs)


def run_measured(command: list[str]) -> dict[str, float]:
    """Run a command; give its seconds, CPU seconds and the largest memory of its processes, in GB."""
    started, used, peak = time.perf_counter(), {}, 0.0
    process = subprocess.Popen(command, cwd=ROOT)
    done = threading.Event()

    def watch():
        nonlocal peak
        while not done.wait(0.2):
            total = 0
            for each in [psutil.Process(process.pid), *psutil.Process(process.pid).children(True)]:
                try:
                    total += each.memory_info().rss
                    used[each.pid] = sum(each.cpu_times()[:2])
                except psutil.Error:
                    continue
            peak = max(peak, total / 1e9)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    status = process.wait()
    done.set()
    if status:
        sys.exit(f"{command[2:4]} failed")
    cost = {"seconds": time.perf_counter() - started, "cpu_seconds": sum(used.values())}
    return {name: round(value, 1) for name, value in (cost | {"gb": peak}).items()}


def measure(folder: Path, pairs: int, given: dict) -> dict[str, dict[str, float]]:
    """Run the notebooks on a table of so many pairs; what each costs."""
    source, costs = folder / f"{pairs}.parquet", {}
    shared = {
        "study": f"pairs-{pairs}",
        "data_dir": str(folder),
        "source": str(source),
        "model": "",
    }
    made = folder / shared["study"]
    make_table(pairs).to_parquet(source, index=False)
    for name in NOTEBOOKS:
        if name == "07_compare_judges":
            kept = pd.read_parquet(made / "pairs.parquet", columns=["prompt_id", "preference"])
            make_judges(kept).to_parquet(made / "judges.parquet", index=False)
            del kept
        text = (ROOT / "notebooks" / f"{name}.ipynb").read_text()
        own = {key: value for key, value in (shared | given).items() if f'"{key}: ' in text}
        command = [sys.executable, "-m", "dtreward.cli", "run", f"notebooks/{name}.ipynb"]
        costs[name] = run_measured([*command, str(made / f"{name}.ipynb"), json.dumps(own)])
        print(pairs, name, costs[name], flush=True)
    return costs


def main(words: list[str]) -> None:
    """Measure each number of pairs."""
    folder, given = Path(words[0]).resolve(), [word.split("=", 1) for word in words if "=" in word]
    given = {key: yaml.safe_load(value) for key, value in given}
    folder.mkdir(parents=True, exist_ok=True)
    costs = {n: measure(folder, int(n), given) for n in words[1:] if n.isdigit()}
    (folder / "scale.json").write_text(json.dumps(costs, indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])

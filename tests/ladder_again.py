"""Climb the extraction ladder with two versions of the package, in turns, on one GPU.

    python tests/ladder_again.py SHAPE BEFORE BEFORE_FOLDER AFTER RESULT.json [--pairs 64] [--few 8]

BEFORE_FOLDER holds the package at the commit BEFORE; AFTER names the commit of this checkout. Three
runs of each take five minutes of an H200 (8B).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from dtreward.files import write_json

WHAT = (
    "the extraction ladder of two versions of the package: runs in turns, in one lease of one "
    "machine; the rates are shares of the matrix peak that the same run measured"
)
COMMAND = "python -m dtreward.benchmark {shape} FILE --pairs {pairs} --few {few}, after {warm} s of products"
RUNS = 3
WARM = 6.0  # seconds of matrix products before the peak is measured
# Runs the benchmark with less warming than it has by itself.
CHILD = """
import sys
from dtreward import benchmark
peak = benchmark.matrix_peak
benchmark.matrix_peak = lambda device, dtype, **_: peak(device, dtype, warm={warm})
benchmark.main(sys.argv[1:])
"""


def climb(folder, words):
    """Run the benchmark of the package in a folder; give what it wrote."""
    with tempfile.TemporaryDirectory() as place:
        path = Path(place, "result.json")
        paths = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
        code = CHILD.format(warm=WARM)
        call = [sys.executable, "-c", code, words[0], str(path), *words[1:]]
        subprocess.run(call, check=True, cwd=place, env=os.environ | {"PYTHONPATH": paths})
        return json.loads(path.read_text())


def rates(results, place):
    """Give the effective MFU of one rung in every run."""
    return [result["rungs"][place]["effective_mfu"] for result in results]


def compare_rungs(before, after):
    """Set the rungs of both versions beside each other."""
    rungs = []
    for place, rung in enumerate(after[0]["rungs"]):
        old = before[0]["rungs"][place]
        names = (rung["rung"], rung["attention"])
        assert names == (old["rung"], old["attention"]), f"{names} was {old}"
        earlier, now = rates(before, place), rates(after, place)
        rungs.append(
            {
                "rung": rung["rung"],
                "attention": rung["attention"],
                "effective_mfu_before": earlier,
                "effective_mfu_after": now,
                "hardware_mfu_after": [run["rungs"][place]["hardware_mfu"] for run in after],
                "ratio_of_medians": float(np.median(now) / np.median(earlier)),
            }
        )
    return rungs


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name in ("shape", "before", "before_folder", "after", "result"):
        parser.add_argument(name)
    parser.add_argument("--pairs", type=int, default=64)
    parser.add_argument("--few", type=int, default=8)
    options = parser.parse_args()
    words = [options.shape, "--pairs", str(options.pairs), "--few", str(options.few)]
    here = Path(__file__).resolve().parents[1]
    runs = {"before": [], "after": []}
    for _ in range(RUNS):
        runs["before"].append(climb(Path(options.before_folder).resolve(), words))
        runs["after"].append(climb(here, words))
    sizes = {"shape": options.shape, "pairs": options.pairs, "few": options.few}
    numbers = {"what": WHAT, "before": options.before, "after": options.after}
    numbers |= {"command": COMMAND.format(**sizes, warm=WARM), **sizes}
    numbers["machine"] = runs["after"][0]["machine"]
    for name in ("peak_tflops", "fp8_relative_change"):
        numbers[name] = {version: [run.get(name) for run in runs[version]] for version in runs}
    numbers["bit_for_bit"] = {
        version: [all(run["bit_for_bit"].values()) for run in runs[version]] for version in runs
    }
    numbers["rungs"] = compare_rungs(runs["before"], runs["after"])
    write_json(options.result, numbers)


if __name__ == "__main__":
    main()

"""Read every file of a folder under limits of memory and time; print what came of each, as JSON.

python hostile_child.py FOLDER
"""

import json
import resource
import sys
import time
from pathlib import Path

import torch

from dtreward.models.checkpoint import read_head
from dtreward.models.checkpoint_folder import read_config, weight_files
from dtreward.pairs.readers import read_table
from dtreward.study.settings import read_study
from dtreward.tree.tree import PreferenceTree

MEMORY = 2**30  # bytes that all files together may take beyond what is there after the imports


def read(path):
    kind = path.name.split(".", 1)[1]
    if kind == "pkl":
        return PreferenceTree.from_pickle(path, attributes=["a", "b", "c", "d", "e"])
    if kind == "tree.json":
        return PreferenceTree.load(path)
    if kind == "yaml":
        return read_study(path)
    if kind in ("jsonl", "csv", "parquet", "jsonl.gz"):
        return read_table(path)
    read_config(path)  # a checkpoint's folder
    return read_head(weight_files(path), torch.float32)


def address_space():
    return 4096 * int(Path("/proc/self/statm").read_text().split()[0])


def main(folder):
    limit = address_space() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CPU, (120, 120))
    before, told = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, {}
    for path in sorted(Path(folder).iterdir()):
        started = time.process_time()
        try:
            found = read(path)
            told[path.name] = ["", str(type(found).__name__)]
        except Exception as error:  # noqa: BLE001 (the parent says which kinds are right)
            told[path.name] = [type(error).__name__, str(error)[:500]]
        told[path.name].append(round(time.process_time() - started, 3))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(json.dumps({"told": told, "grown_mb": grown / 1024}))


if __name__ == "__main__":
    main(sys.argv[1])

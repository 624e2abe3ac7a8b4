"""Compare what two runs of a study have left: byte by byte, but for what this file names."""

import hashlib
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd

# In the records of 02 and 10: how the run went on this machine, not what it found.
OF_THE_RUN = {"seconds", "resumed", "here"}
RECORDS_OF_RUNS = ("02_extract_features.json", "10_measure_throughput.json")
# Cells: in 06 what was still to be asked and what that cost, in 10 the time on this machine.
OF_THIS_RUN = {
    "06": ("expected = expected_cost(", "paid = cost_table("),
    "10": ("climb(ladder_here",),
}
SAID_OF_THE_RUN = (b" tokens/s", b"found or resumed", b" new answers, ")  # in notebooks 02 and 06
# Coordinates come from the eigenvectors of a solver whose sums depend on the number of threads.
COORDINATES, NEAR = "07_umap.parquet", 1e-9
ARRIVAL = "judges.sqlite"  # answers are kept in the order in which they came


def contents(folder):
    """Name each file of a study with a hash of what must not change; locks and leftovers apart."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {
        str(path.relative_to(folder)): _content(path)
        for path in paths
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and ".partial" not in path.name
        and path.suffix not in (".sqlite-wal", ".sqlite-shm")
    }


def _content(path):
    if path.name == ARRIVAL:
        with closing(sqlite3.connect(path)) as database:
            rows = sorted(map(repr, database.execute("SELECT * FROM answers")))
        return _hash("\n".join(rows).encode())
    if path.name == COORDINATES:
        return "compared by `far_coordinates`"
    data = path.read_bytes()
    if path.suffix == ".json" and path.name[:2].isdigit():
        record = json.loads(data)
        record["numbers"] = {
            key: value for key, value in record["numbers"].items() if key not in OF_THE_RUN
        }
        inputs = record["provenance"]["inputs"]  # hashes of records that hold seconds
        record["provenance"]["inputs"] = {
            name: value
            for name, value in inputs.items()
            if name not in (*RECORDS_OF_RUNS, COORDINATES)
        }
        data = json.dumps(record).encode()
    if path.suffix == ".ipynb" and path.name[:2] in OF_THIS_RUN:
        data = _without_cells(data, OF_THIS_RUN[path.name[:2]])
    if path.suffix == ".ipynb" and path.name[:2] in ("02", "06"):
        lines = data.splitlines()
        data = b"\n".join(
            line for line in lines if not any(said in line for said in SAID_OF_THE_RUN)
        )
    return _hash(data)


def _without_cells(data, words):
    """Leave out of a notebook the cell of each of some words; an error where it has none."""
    cells = json.loads(data)["cells"]
    sources = ["".join(cell["source"]) for cell in cells]
    left_out = [place for place, source in enumerate(sources) if any(w in source for w in words)]
    assert len(left_out) == len(words), words
    kept = [cell for place, cell in enumerate(cells) if place not in left_out]
    return json.dumps(kept, indent=1).encode()  # in lines, as before


def _hash(data):
    return hashlib.sha256(data).hexdigest()


def differing(one, other):
    """List files that differ, or that only one of two folders has."""
    first, second = contents(Path(one)), contents(Path(other))
    wrong = {name for name in {*first, *second} if first.get(name) != second.get(name)}
    return sorted(wrong | set(far_coordinates(Path(one), Path(other))))


def far_coordinates(one, other):
    """Name the coordinates where two runs are further apart than rounding takes them."""
    if not (one / COORDINATES).exists():
        return []
    first, second = (pd.read_parquet(folder / COORDINATES) for folder in (one, other))
    numbers = ["x", "y"]
    same = first.drop(columns=numbers).equals(second.drop(columns=numbers))
    near = np.abs(first[numbers].to_numpy() - second[numbers].to_numpy()).max() <= NEAR
    return [] if same and near else [COORDINATES]

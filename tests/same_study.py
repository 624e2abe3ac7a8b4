"""Compare what two folders of one study have computed: arrays, tables and numbers of records.

python tests/same_study.py FOLDER1 FOLDER2 [--near '07_compare_judges.json: importances*']

Values must be equal bit for bit. `--near` names places, as this command prints them, where 1e-12 is
enough because a library's statistic replaced one of the package. What a change of words changes is
not compared: claims, provenance with its hashes of inputs, notebooks, figures, texts of the paper's
tables. Neither is what a run says of the machine that it ran on.
"""

import argparse
import json
import math
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors.torch import load_file

NEAR = 1e-12  # as a share of the larger value, or absolute below 1
# The coordinates come from a solver whose sums depend on the number of threads.
COORDINATES = ("07_umap.parquet", 1e-9)
OF_THE_RUN = {"seconds", "resumed", "here"}  # keys of records: how a run went on this machine
OF_WORDS = {"drawn", "caption", "captions", "claims", "provenance"}  # words, and hashes of them
SUFFIXES = {".json", ".parquet", ".csv", ".safetensors", ".sqlite"}
WORDS_ONLY = {"paper/index.json"}


@dataclass(frozen=True)
class Difference:
    """A value that two studies do not share: the file, the key in it, and both values."""

    file: str
    key: str
    first: object
    second: object

    def __str__(self) -> str:
        return f"{self.place}: {self.first!r:.60} and {self.second!r:.60}"

    @property
    def place(self) -> str:
        return f"{self.file}: {self.key}" if self.key else self.file


def compare_studies(first: Path, second: Path, near: tuple[str, ...] = ()) -> list[Difference]:
    """List every value in which two folders of a study differ.

    Args:
        near: patterns of places ("file: key", with * and ?) where 1e-12 is near enough.
    """
    files_of_first = _files(first)
    files_of_second = _files(second)
    differences = []
    for name in sorted(files_of_first | files_of_second):
        if name not in files_of_second:
            differences.append(Difference(name, "", "there", "absent"))
        elif name not in files_of_first:
            differences.append(Difference(name, "", "absent", "there"))
        else:
            one = _values(first / name, name)
            other = _values(second / name, name)
            differences += _compare_files(name, one, other, near)
    return differences


def _files(folder: Path) -> set[str]:
    """Name the files of a study that hold values; locks and leftovers are none."""
    names = set()
    for path in folder.rglob("*"):
        relative = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in relative.parts)
        if path.is_file() and path.suffix in SUFFIXES and not hidden:
            names.add(str(relative))
    return names - WORDS_ONLY


def _values(path: Path, name: str) -> dict[str, object]:
    """Read a file as its values by key: an array for a column or tensor, else plain values."""
    if path.suffix == ".json":
        return dict(_leaves(json.loads(path.read_text(encoding="utf-8"))))
    if path.suffix == ".safetensors":
        return {key: _bits_or_numbers(tensor) for key, tensor in load_file(path).items()}
    if path.suffix == ".sqlite":
        return _answers(path)
    if path.suffix == ".parquet":
        table = pd.read_parquet(path)
    else:
        table = pd.read_csv(path)
        if name.startswith("paper/"):  # its texts are labels
            table = table.select_dtypes("number")
    columns = {str(column): table[column].to_numpy() for column in table}
    return columns | {"index": table.index.to_numpy(), "columns": " ".join(map(str, table))}


def _leaves(value: object, key: str = "") -> Iterator[tuple[str, object]]:
    """Give the values of a JSON document by their path, such as "numbers.floor"."""
    if isinstance(value, dict):
        items = [(name, part) for name, part in value.items()]
        skipped = OF_THE_RUN | OF_WORDS
    elif isinstance(value, list):
        items = [(str(place), part) for place, part in enumerate(value)]
        skipped = set()
    else:
        yield key, value
        return
    for name, part in items:
        if name not in skipped:
            yield from _leaves(part, f"{key}.{name}" if key else name)


def _bits_or_numbers(tensor) -> np.ndarray:
    """Give a tensor as an array; formats that numpy lacks become float64, which holds them all."""
    try:
        return tensor.numpy()
    except TypeError:
        return tensor.double().numpy()


def _answers(path: Path) -> dict[str, object]:
    """Read the judges' answers, each by its row's text; they are kept in order of arrival."""
    with closing(sqlite3.connect(path)) as database:
        rows = database.execute("SELECT * FROM answers").fetchall()
    return {repr(row): "an answer" for row in rows}


def _compare_files(
    name: str, first: dict, second: dict, near: tuple[str, ...]
) -> Iterator[Difference]:
    for key in sorted(first.keys() | second.keys()):
        if key not in first or key not in second:
            one = first.get(key, "absent")
            yield Difference(name, key, one, second.get(key, "absent"))
            continue
        place = f"{name}: {key}"
        is_near = any(fnmatch(place, pattern) for pattern in near)
        tolerance = NEAR if is_near else 0.0
        if name == COORDINATES[0] and key in ("x", "y"):
            tolerance = COORDINATES[1]
        yield from _compare_values(name, key, first[key], second[key], tolerance)


def _compare_values(
    name: str, key: str, first: object, second: object, tolerance: float
) -> Iterator[Difference]:
    """Give the first difference of two columns or tensors, or the one of two plain values."""
    if not isinstance(first, np.ndarray):
        if not _is_same(first, second, tolerance):
            yield Difference(name, key, first, second)
        return
    if first.shape != second.shape or first.dtype != second.dtype:
        yield Difference(name, key, (first.shape, first.dtype), (second.shape, second.dtype))
        return
    if _bits(first) == _bits(second):
        return
    pairs = zip(first.ravel().tolist(), second.ravel().tolist(), strict=True)
    for row, (one, other) in enumerate(pairs):
        if not _is_same(one, other, tolerance):
            yield Difference(name, f"{key}[{row}]", one, other)
            return


def _bits(array: np.ndarray) -> bytes | None:
    return None if array.dtype == object else array.tobytes()


def _is_same(first: object, second: object, tolerance: float) -> bool:
    if isinstance(first, list | np.ndarray) and isinstance(second, list | np.ndarray):
        if len(first) != len(second):
            return False
        parts = zip(first, second, strict=True)
        return all(_is_same(one, other, tolerance) for one, other in parts)
    if first is pd.NA or second is pd.NA:
        return first is second
    if isinstance(first, float) and isinstance(second, float):
        if math.isnan(first) or math.isnan(second):
            return math.isnan(first) and math.isnan(second)
        if math.isinf(first) or math.isinf(second):
            return first == second
        scale = max(1.0, abs(first), abs(second))
        return abs(first - second) <= tolerance * scale
    return type(first) is type(second) and first == second


def main(arguments: list[str] | None = None) -> int:
    """Print the differences of two folders; 1 if there are any."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    parser.add_argument("--near", action="append", default=[], metavar="PATTERN")
    options = parser.parse_args(arguments)
    for folder in (options.first, options.second):
        if not folder.is_dir():
            parser.error(f"there is no folder {folder}; expected the data folder of a study")
    differences = compare_studies(options.first, options.second, tuple(options.near))
    print(*differences, sep="\n", end="\n" if differences else "")
    print(f"differences: {len(differences)} in {len(_files(options.first))} files")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())

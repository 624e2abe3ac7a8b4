"""Read one table from one file."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import pandas as pd

from dtreward.pairs.columns import TEXTS

SUFFIXES = (".parquet", ".csv", ".jsonl")
HALF_CHARACTER = re.compile("[\ud800-\udfff]")  # half of a surrogate pair: no file can store it


def read_table(path: Path) -> pd.DataFrame:
    """Read a Parquet, CSV or JSONL file; CSV and JSONL may be gzipped.

    Raises:
        ValueError: if there is no such file, or it is empty, damaged or of another type.
    """
    suffix = Path(path.name.removesuffix(".gz")).suffix
    if not path.exists():
        raise ValueError(f"there is no {path}; expected a .parquet, .csv or .jsonl file (or .gz)")
    if not path.is_file() or suffix not in SUFFIXES:
        ending = path.suffix or "no ending"
        raise ValueError(
            f"{path} is not a table ({ending}); expected a .parquet, .csv or .jsonl file (or .gz)"
        )
    if not path.stat().st_size:
        raise ValueError(f"{path} is empty; expected rows with {', '.join(TEXTS)}")
    try:
        return _parse(path, suffix)
    except Exception as error:  # readers of damaged files raise any exception
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(
            f"{path} is not a whole {suffix} table in UTF-8 ({reason}); save it again"
        ) from error


def _parse(path: Path, suffix: str) -> pd.DataFrame:
    if suffix == ".parquet":
        return _read_parquet(path)
    if suffix == ".csv":
        return _read_csv(path)
    return _read_jsonl(path)


def _read_parquet(path: Path) -> pd.DataFrame:
    table = pd.read_parquet(path).reset_index(drop=True)
    # Decodes every text now: one that is not UTF-8 is an error of this file, not of later code.
    table.select_dtypes("str").astype(object)
    return table


def _read_csv(path: Path) -> pd.DataFrame:
    """Read a CSV file; texts stay as they are, so that "NA" and "4" are responses."""
    as_text = {"dtype": str, "keep_default_na": False}
    header = pd.read_csv(path, header=None, nrows=1, **as_text).iloc[0]
    if header.duplicated().any():
        twice = sorted(set(header[header.duplicated()]))
        raise ValueError(f"columns {twice} stand twice; rename or drop one")
    if len(header) == 1 and ";" in header[0]:
        raise ValueError("columns are separated by semicolons; expected commas")
    texts = pd.read_csv(path, usecols=lambda name: name in {*TEXTS, "response"}, **as_text)
    table = pd.read_csv(path, low_memory=False)
    is_shifted = not isinstance(table.index, pd.RangeIndex)
    if is_shifted:
        raise ValueError("a row has more fields than the header; quote texts that hold commas")
    return table.assign(**texts)


def _read_jsonl(path: Path) -> pd.DataFrame:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8-sig") as file:
        records = [_parse_line(line, f"line {number}") for number, line in enumerate(file, 1)]
    return pd.DataFrame(records)


def _parse_line(line: str, place: str) -> dict:
    try:
        record = dict(json.loads(line))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{place} is not a JSON object: {line!r:.60}") from error
    if r"\ud" not in line.lower():
        return record
    # A field with half a character counts as missing.
    return {
        name: value for name, value in record.items() if not HALF_CHARACTER.search(f"{name}{value}")
    }

"""Read a table from a file."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import pandas as pd

from dtreward.pairs.columns import HELPSTEER2, TEXTS


def read_table(path: Path) -> pd.DataFrame:
    """Read a Parquet, CSV or JSONL (also .gz) file; a ValueError says what else `path` is."""
    kind = Path(path.name.removesuffix(".gz")).suffix
    if not path.is_file() or kind not in (".parquet", ".csv", ".jsonl"):
        legal = f'"demo", "{HELPSTEER2}", a folder of its layout, a .parquet, .csv or .jsonl file'
        came = f"of another kind ({path.suffix or 'no ending'})" if path.exists() else "absent"
        raise ValueError(f"expected {legal}; {path} is {came}")
    if not path.stat().st_size:
        raise ValueError(f"{path} is empty: expected rows with {', '.join(TEXTS)}")
    try:
        return _parsed(path, kind)
    except Exception as error:  # readers of damaged files raise any kind
        told = f"{type(error).__name__}: {error}; mend it, or save it once more"
        raise ValueError(f"{path}: expected a whole {kind} table in UTF-8; {told}") from error


def _parsed(path: Path, kind: str) -> pd.DataFrame:
    if kind == ".parquet":
        table = pd.read_parquet(path).reset_index(drop=True)
        table.select_dtypes("str").astype(object)  # here, not later, text that is no UTF-8 is found
        return table
    if kind == ".csv":  # texts are read as they stand: "NA" and "4" are responses
        options = {"dtype": str, "keep_default_na": False}
        header = pd.read_csv(path, header=None, nrows=1, **options).iloc[0]
        if header.duplicated().any():
            raise ValueError(f"expected each column once, came {list(header)}; rename or drop one")
        if len(header) == 1 and ";" in header[0]:
            raise ValueError("expected commas between its columns, came semicolons")
        texts = pd.read_csv(path, usecols=lambda name: name in {*TEXTS, "response"}, **options)
        table = pd.read_csv(path, low_memory=False)
        if not isinstance(table.index, pd.RangeIndex):  # else columns are shifted, silently
            raise ValueError("expected no more fields in a row than in the header; quote commas")
        return table.assign(**texts)
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8-sig") as file:
        return pd.DataFrame([_record(line, f"{path}:{n}") for n, line in enumerate(file, 1)])


def _record(line: str, where: str) -> dict:
    try:
        record = dict(json.loads(line))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{where}: expected a JSON object, came {line!r:.60}") from error
    if r"\ud" in line.lower():  # half a surrogate pair cannot be stored: its text counts as missing
        return {k: v for k, v in record.items() if not re.search("[\ud800-\udfff]", f"{k}{v}")}
    return record

"""Read one table from a file, or from a folder of Parquet or Arrow files."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import shlex
import sys
from functools import partial
from pathlib import Path

import pandas as pd
import pyarrow as pa

from dtreward.pairs.columns import SPLITS, TEXT_NAMES, TEXTS, expect_distinct

TEXT_SUFFIXES = (".csv", ".tsv", ".jsonl", ".json")  # may also be gzipped
SUFFIXES = (*TEXT_SUFFIXES, ".parquet", ".arrow")
SEPARATORS = {"\t": "tabs", ";": "semicolons", "|": "bars"}
SPREADSHEETS = {".xlsx": "openpyxl", ".xlsm": "openpyxl", ".xls": "xlrd", ".ods": "odfpy"}
LEGAL = "a .parquet, .csv, .tsv, .jsonl, .json or .arrow file (.csv, .tsv and JSON also as .gz)"
HALF_CHARACTER = re.compile("[\ud800-\udfff]")  # half of a surrogate pair: no file can store it


def read_table(path: Path) -> pd.DataFrame:
    """Read a table from one file, or from a folder of Parquet or Arrow files.

    The ending of a file says what it is, in small or capital letters. A folder holds the parts of
    one table, such as `train-00000-of-00002.parquet`, or what `save_to_disk` of the library
    `datasets` wrote. Files or folders named train, validation or test give a column `split`.

    Raises:
        ValueError: if there is no such file, or it is empty, damaged or of another type.
    """
    if not path.exists():
        raise ValueError(f"there is no {path}; expected {LEGAL}, or a folder of such parts")
    if path.is_dir():
        return _read_folder(path)
    suffix = _suffix(path)
    _refuse_other_types(path, suffix)
    try:
        table = _parse(path, suffix) if path.stat().st_size else pd.DataFrame()
    except Exception as error:  # readers of damaged files raise any exception
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        cure = "save it again"
        if isinstance(error, UnicodeDecodeError) and suffix in TEXT_SUFFIXES:
            cure += " as UTF-8 (in a spreadsheet: as CSV UTF-8)"
        raise ValueError(
            f"{path} is not a whole {suffix} table in UTF-8 ({reason}); {cure}"
        ) from error
    if not len(table.columns):
        raise ValueError(f"{path} is empty; expected rows with {', '.join(TEXTS)}")
    return plain_columns(table, str(path))


def plain_columns(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Give a table whose columns have texts as names; an index with a name becomes a column.

    Args:
        name: of the table, for the error.

    Raises:
        ValueError: if two columns have one name.

    Example:
        >>> table = pd.DataFrame({"prompt": ["2 + 2?"], "response": ["4"]}).set_index("prompt")
        >>> list(plain_columns(table, "the table"))
        ['prompt', 'response']
    """
    named = [level for level in table.index.names if level is not None and level not in table]
    unnamed = [place for place, level in enumerate(table.index.names) if level not in named]
    if len(unnamed) == table.index.nlevels:
        table = table.reset_index(drop=True)
    else:
        table = table.reset_index(unnamed, drop=True).reset_index()
    table = table.set_axis(table.columns.map(str), axis=1)
    expect_distinct(table.columns, name)
    return table


def _suffix(path: Path) -> str:
    """Give a file's ending in small letters, that of the file inside where it is gzipped."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes[-1:] == [".gz"] and suffixes[-2:-1] and suffixes[-2] in TEXT_SUFFIXES:
        return suffixes[-2]
    return suffixes[-1] if suffixes else ""


def _refuse_other_types(path: Path, suffix: str) -> None:
    if suffix in SPREADSHEETS:
        files = f"{str(path)!r}).to_csv({str(path.with_suffix('.csv'))!r}"
        code = f"import pandas; pandas.read_excel({files}, index=False)"
        is_plain = not set(code) & set('"$`!\\')
        quoted = f'"{code}"' if is_plain else shlex.quote(code)
        python = shlex.quote(sys.executable)
        raise ValueError(
            f"{path} is a spreadsheet; expected {LEGAL}. This line makes a .csv file of its first "
            f"sheet: {python} -m pip install {SPREADSHEETS[suffix]} && {python} -c {quoted}"
        )
    if not path.is_file() or suffix not in SUFFIXES:
        ending = path.suffix or "no ending"
        raise ValueError(f"{path} is not a table ({ending}); expected {LEGAL}")


def _parse(path: Path, suffix: str) -> pd.DataFrame:
    if suffix == ".parquet":
        return _whole_texts(pd.read_parquet(path))
    if suffix == ".arrow":
        return _whole_texts(_read_arrow(path))
    opener = gzip.open if path.suffix.lower() == ".gz" else open
    with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
        text = file.read()
    if suffix == ".jsonl":
        return _read_jsonl(text)
    if suffix == ".json":
        return _read_json(text)
    return _read_csv(text)


def _whole_texts(table: pd.DataFrame) -> pd.DataFrame:
    """Decode every text now: one that is not UTF-8 is an error of its file, not of later code."""
    table.select_dtypes("str").astype(object)
    return table


def _read_arrow(path: Path) -> pd.DataFrame:
    """Read an Arrow file, in the stream format that `datasets` writes or the file format."""
    with pa.memory_map(str(path)) as file:
        is_stream = file.read(6) != b"ARROW1"
        file.seek(0)
        reader = pa.ipc.open_stream if is_stream else pa.ipc.open_file
        return reader(file).read_all().to_pandas()


def _read_csv(text: str) -> pd.DataFrame:
    """Read a CSV table; texts stay as they are, so that "NA" and "4" are responses."""
    if text[:4].lower() == "sep=":  # how Excel is told the separator, in a line before the header
        text = text.partition("\n")[2]
    separator = _separator(text)
    read = partial(pd.read_csv, sep=separator, low_memory=False)
    read_texts = partial(read, dtype=str, keep_default_na=False)
    header = read_texts(io.StringIO(text), header=None, nrows=1).iloc[0]
    expect_distinct(header, "the header")
    is_text = {*TEXTS, *TEXT_NAMES}.__contains__
    texts = read_texts(io.StringIO(text), usecols=is_text)
    table = read(io.StringIO(text))
    is_shifted = not isinstance(table.index, pd.RangeIndex)
    if is_shifted:
        name = SEPARATORS.get(separator, "commas")
        raise ValueError(f"a row has more fields than the header; quote texts that hold {name}")
    return table.assign(**texts)


def _separator(text: str) -> str:
    """Give what separates the columns: a comma, unless the header has more tabs or semicolons.

    Example:
        >>> _separator("prompt;response_1,a;response_2\\n")
        ';'
    """
    fields = {}
    for separator in (",", *SEPARATORS):
        header = next(csv.reader(io.StringIO(text), delimiter=separator), [])
        fields[separator] = len(header)
    return max(fields, key=fields.__getitem__)


def _read_json(text: str) -> pd.DataFrame:
    """Read a list of objects, an object of columns, or one object a line."""
    try:
        content = json.loads(text)
    except ValueError:
        return _read_jsonl(text)
    if isinstance(content, dict) and not all(isinstance(e, list | dict) for e in content.values()):
        content = [content]
    if isinstance(content, list):
        for number, record in enumerate(content):
            if not isinstance(record, dict):
                raise TypeError(f"entry {number} is not an object: {record!r:.60}")
        if r"\ud" in text.lower():
            content = [_without_half_characters(record) for record in content]
    elif not isinstance(content, dict):
        raise TypeError(f"expected a list of objects, one a row, came {content!r:.60}")
    lengths = {len(column) for column in content.values()} if isinstance(content, dict) else set()
    if len(lengths) > 1:
        keys = ", ".join(map(str, content))
        raise TypeError(f"expected a list of objects, one a row, came an object with {keys}")
    return pd.DataFrame(content)


def _read_jsonl(text: str) -> pd.DataFrame:
    """Read one object a line; a line without one, such as an empty last line, is no row."""
    lines = enumerate(io.StringIO(text, newline=None), 1)
    return pd.DataFrame([_parse_line(line, f"line {n}") for n, line in lines if line.strip()])


def _parse_line(line: str, place: str) -> dict:
    try:
        record = dict(json.loads(line))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{place} is not a JSON object: {line!r:.60}") from error
    return _without_half_characters(record) if r"\ud" in line.lower() else record


def _without_half_characters(record: dict) -> dict:
    """Leave out the fields with half a character, which then count as missing."""
    return {
        name: value for name, value in record.items() if not HALF_CHARACTER.search(f"{name}{value}")
    }


def _read_folder(folder: Path) -> pd.DataFrame:
    """Read the Parquet or Arrow files of a folder, in the order of their names, as one table."""
    files = _saved_parts(folder) or _parquet_parts(folder)
    if not files:
        raise ValueError(
            f"{folder} is a folder without Parquet files, and save_to_disk of `datasets` did not "
            f"write it; name one file: {LEGAL}"
        )
    tables = [read_table(file) for file in files]
    for file, table in zip(files, tables, strict=True):
        different = ", ".join(sorted(set(table) ^ set(tables[0])))
        if different:
            raise ValueError(
                f"{files[0]} and {file} do not both have {different}; the files of a folder are "
                "parts of one table: name one file, or move the others away"
            )
    if "split" not in tables[0]:
        splits = [_split_of(file.relative_to(folder)) for file in files]
        _refuse_some_splits(folder, splits)
        if all(splits):
            tables = [one.assign(split=split) for one, split in zip(tables, splits, strict=True)]
    return pd.concat(tables, ignore_index=True)


def _saved_parts(folder: Path) -> list[Path]:
    """List the Arrow files that `save_to_disk` wrote; its caches beside them are no parts."""
    files = []
    for state in sorted(folder.rglob("state.json")):
        try:
            parts = json.loads(state.read_text(encoding="utf-8"))["_data_files"]
            files += [state.parent / Path(part["filename"]).name for part in parts]
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise ValueError(
                f"{state} is not as save_to_disk of `datasets` writes it "
                f"({type(error).__name__}: {error}); save the data set again"
            ) from error
    return files


def _parquet_parts(folder: Path) -> list[Path]:
    """List the Parquet files of a folder; names with . or _ are marks of other programs."""
    files = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() == ".parquet"]
    return [file for file in files if not _is_hidden(file.relative_to(folder))]


def _is_hidden(path: Path) -> bool:
    return any(part[0] in "._" for part in path.parts)


def _split_of(path: Path) -> str:
    """Name the split that a part of a table says it is of; "" if it says none.

    Example:
        >>> _split_of(Path("data/train-00000-of-00002.parquet")), _split_of(Path("part-0.parquet"))
        ('train', '')
    """
    words = [re.split(r"[-.]", part)[0] for part in reversed(path.parts)]
    return next((word for word in words if word in SPLITS), "")


def _refuse_some_splits(folder: Path, splits: list[str]) -> None:
    if any(splits) and not all(splits):
        named = ", ".join(sorted(set(splits) - {""}))
        raise ValueError(
            f"some files of {folder} are of the splits {named}, others do not "
            f"say of which; name one file or folder, or call the others {', '.join(SPLITS)}"
        )

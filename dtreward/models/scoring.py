"""What a reward model says of every pair of a table, in a Parquet file that grows part by part."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm.auto import tqdm

from dtreward.engine.backbone import differing_fields
from dtreward.engine.tokens import Unread
from dtreward.files import digest, write_atomically, write_json
from dtreward.models.comparison import Comparison, RewardModel

ROWS = 128  # of a part: what an interrupted run computes again at most
KEY = b"dtreward_scores"  # entry of the Parquet file's metadata
TEXTS = ["prompt", "response_1", "response_2"]
KEPT = ["prompt_id", "pair_id", *TEXTS]  # columns of the pairs that stand before the scores
GIVEN = "given_preference"
WHAT_TO_DO = "name another output, or delete this one"


@dataclass(frozen=True)
class Scored:
    """What a run of `score_pairs` did.

    Attributes:
        rows: of the output.
        kept: rows that an earlier run had computed.
        unread: rows that the model could not read; the output's column `unread` says why.
    """

    rows: int
    kept: int
    unread: int


def score_pairs(
    model: RewardModel, pairs: pd.DataFrame, path: str | Path, *, rows: int = ROWS
) -> Scored:
    """Write what a model says of each pair; continue where an interrupted run stopped.

    The output has a row for each row of the pairs, in their order: `prompt_id`, `pair_id`, the
    texts, the rewards `<attribute>_1` and `<attribute>_2`, `score_1` and `score_2` where the model
    gives scores, its `preference` (0: response 1, 1: response 2), the `probability` that response 2
    is better, `given_preference` of the pairs, and `unread`: why the model could not read a row,
    whose numbers are then missing. `load_pairs` reads it.

    Finished parts lie in a folder named as the output with ".parts" behind it, until all are done.

    Args:
        pairs: of `load_pairs(..., rated=False)`.
        path: of the output.
        rows: of one part.

    Raises:
        ValueError: if there is an output, or a part, that is damaged or that another model or other
            pairs made; if the model has several attributes and no tree.
    """
    path = Path(path)
    _refuse_other_endings(path)
    key = _key(model, pairs, rows)
    starts = range(0, len(pairs), rows)
    if path.exists():
        table = _read(path, key, len(pairs))
        return Scored(len(pairs), len(pairs), _count_unread([table]))
    folder = path.with_name(f"{path.name}.parts")
    _begin(folder, key)
    files = [folder / f"{start:09d}.parquet" for start in starts]
    done = [
        file for start, file in zip(starts, files, strict=True) if _is_done(file, start, pairs, key)
    ]
    kept = sum(min(rows, len(pairs) - int(file.stem)) for file in done)
    with tqdm(total=len(pairs), initial=kept, unit=" pairs", disable=kept == len(pairs)) as bar:
        for start, file in zip(starts, files, strict=True):
            if file in done:
                continue
            part = pairs.iloc[start : start + rows]
            _write(file, _score(model, part), key)
            bar.update(len(part))
    unread = _join(files, path, key)
    return Scored(len(pairs), kept, unread)


def _refuse_other_endings(path: Path) -> None:
    if path.suffix != ".parquet":
        raise ValueError(
            f"the output is a Parquet file, came {path}: name one that ends in .parquet"
        )
    if path.is_dir():
        raise ValueError(f"the output {path} is a folder; name a file")


def _key(model: RewardModel, pairs: pd.DataFrame, rows: int) -> dict[str, str]:
    """Say what makes the output, so that nothing else is taken for it."""
    texts = json.dumps(pairs[[*KEPT, "preference"]].to_dict("list"), default=str)
    flat = {f"model's {name}": str(value) for name, value in _flat(model.identity)}
    return {"pairs": digest(texts), "rows of a part": str(rows), **flat}


def _flat(identity: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """List the entries of nested objects."""
    entries = []
    for name, value in identity.items():
        if isinstance(value, Mapping):
            entries += _flat(value, f"{prefix}{name} ")
        else:
            entries.append((f"{prefix}{name}", value))
    return entries


def _begin(folder: Path, key: dict[str, str]) -> None:
    """Make the folder of the parts, or check that it is this run's."""
    file = folder / "key.json"
    if not folder.exists():
        write_json(file, key)
        return
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
        differences = differing_fields(stored, key, "now")
    except (OSError, ValueError, TypeError, AttributeError):
        raise ValueError(f"{folder} holds no parts of scores; {WHAT_TO_DO}") from None
    if differences:
        raise ValueError(f"{folder} is of another run ({differences:.300}); {WHAT_TO_DO}")


def _is_done(file: Path, start: int, pairs: pd.DataFrame, key: dict[str, str]) -> bool:
    """Whether a part is finished; a ValueError if it is not as this run wrote it."""
    if not file.exists():
        return False
    rows = int(key["rows of a part"])
    part = pairs.iloc[start : start + rows]
    table = _read(file, key, len(part), "delete this file: the other parts are kept")
    if table.column("response_1").to_pylist() != part["response_1"].tolist():
        raise ValueError(f"{file} is of other rows; delete this file: the other parts are kept")
    return True


def _read(path: Path, key: dict[str, str], rows: int, advice: str = WHAT_TO_DO) -> pa.Table:
    """Read a file of scores; a ValueError if it is damaged, or if another run made it."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            table = file.read()
    except (OSError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path} is damaged ({reason:.120}); {advice}") from None
    stored = (table.schema.metadata or {}).get(KEY)
    if stored is None:
        raise ValueError(f"{path} was not written by `dtreward score`; {advice}")
    differences = differing_fields(json.loads(stored), key, "now")
    if differences:
        raise ValueError(f"{path} is of another run ({differences:.300}); {advice}")
    if table.num_rows != rows:
        raise ValueError(f"{path} has {table.num_rows} rows, expected {rows}; {advice}")
    return table


def _score(model: RewardModel, part: pd.DataFrame) -> pd.DataFrame:
    """Compare the pairs of a part; rows of the same texts, such as two votes, are read once."""
    different = part.drop_duplicates(TEXTS)
    columns = [different[name].tolist() for name in TEXTS]
    compared = model.compare_many(*columns, on_error="record")
    scores = pd.DataFrame([_row(comparison) for comparison in compared])
    scores[TEXTS] = different[TEXTS].to_numpy()
    table = part[[*KEPT, "preference"]].rename(columns={"preference": GIVEN})
    table = table.merge(scores, on=TEXTS, how="left", validate="many_to_one")
    last = [name for name in ("preference", "probability", GIVEN, "unread") if name in table]
    return table[[*table.columns.difference(last, sort=False), *last]]


def _row(compared: Comparison | Unread) -> dict[str, Any]:
    """Give the columns of one pair."""
    if isinstance(compared, Unread):
        return {"unread": compared.reason}
    row: dict[str, Any] = {}
    for place, attribute in enumerate(compared.attributes):
        for side in (0, 1):
            row[f"{attribute}_{side + 1}"] = compared.rewards[side][place]
    if compared.scores is not None:
        row["score_1"] = compared.scores[0]
        row["score_2"] = compared.scores[1]
    row["preference"] = compared.preference
    row["probability"] = compared.probability
    row["unread"] = None
    return row


def _write(path: Path, frame: pd.DataFrame, key: dict[str, str]) -> None:
    """Write a part, with checksums, by which damage is found."""
    frame = frame.astype({GIVEN: "Float64", "unread": "str"})
    if "preference" in frame:
        frame = frame.astype({"preference": "Int8"})
    table = pa.Table.from_pandas(frame, preserve_index=False)
    table = table.replace_schema_metadata({KEY: json.dumps(key).encode()})
    write_atomically(
        path, lambda temporary: pq.write_table(table, temporary, write_page_checksum=True)
    )


def _join(files: Sequence[Path], path: Path, key: dict[str, str]) -> int:
    """Write all parts into one file, delete them, and count the rows that were not read."""
    schemas = [pq.read_schema(file) for file in files]
    # A part of which no row was read lacks the columns of the rewards.
    schema = pa.unify_schemas(schemas, promote_options="permissive")
    widest = max(schemas, key=len)
    names = [*widest.names, *[name for name in schema.names if name not in widest.names]]
    schema = pa.schema([schema.field(name) for name in names], {KEY: json.dumps(key).encode()})

    def write(temporary: Path) -> None:
        with pq.ParquetWriter(temporary, schema, write_page_checksum=True) as writer:
            for file in files:
                writer.write_table(_with_schema(pq.read_table(file), schema))

    write_atomically(path, write)
    unread = _count_unread([pq.read_table(path, columns=["unread"])])
    for file in [*files, files[0].with_name("key.json")]:
        file.unlink()
    files[0].parent.rmdir()
    return unread


def _with_schema(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Give a part the columns of the whole; what it lacks is missing."""
    columns = []
    for field in schema:
        if field.name in table.column_names:
            columns.append(table.column(field.name).cast(field.type))
        else:
            columns.append(pa.nulls(table.num_rows, field.type))
    return pa.table(columns, schema=schema)


def _count_unread(tables: Sequence[pa.Table]) -> int:
    return sum(table.num_rows - table.column("unread").null_count for table in tables)

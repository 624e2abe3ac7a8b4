"""Preferences of LLM judges that others have collected, read from their files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from huggingface_hub import snapshot_download

from dtreward.judges.verdict import ORDERS, OUTCOMES, judged_frame
from dtreward.pairs.columns import TEXTS, expect_columns
from dtreward.pairs.readers import read_table

PREFERENCES, PINNED = "RLHFlow/LLM-Preferences-HelpSteer2", "a65aa58"  # its long form is not known


def read_preferences(
    source: str | Path, pairs: pd.DataFrame, *, table: str | Path = "", revision: str = ""
) -> pd.DataFrame:
    """Read published preferences as `verdicts` gives them, joined by texts, in either order.

    Args:
        source: "RLHFlow/LLM-Preferences-HelpSteer2" or a folder of its layout (which has no
            positions: given and swapped are None, and what is not decided counts as inconsistent);
            or a CSV file of the authors' collector, or a folder of such.
        pairs: the study's; each gets a row a judge, "missing" where none was read.
        table: file with the pairs whose rows (of the CSV's split, if it has that column) the
            CSV's `index` counts, such as HelpSteer2's preference.jsonl.gz.
        revision: commit of the hub's preferences; "" means the pinned one.

    Raises:
        ValueError: for other files, columns or values, or if none is of a pair of the study.
    """
    hub = str(source) == PREFERENCES or (Path(source) / "train.jsonl.gz").is_file()
    rows = _published(source, revision) if hub else _authors_csv(Path(source), table)
    rows = rows[[*TEXTS, "judge", "given", "swapped"]].copy()
    turned = ["prompt", "response_2", "response_1", "judge", "swapped", "given"]
    known = pairs[TEXTS].copy()
    for frame in (rows, known):
        frame[TEXTS] = frame[TEXTS].apply(lambda texts: texts.str.strip())
    both = pd.concat([rows, rows.query("response_1 != response_2").set_axis(turned, axis=1)])
    joined = known.rename_axis("pair").reset_index().merge(both, on=TEXTS)
    if joined.empty:
        came = f"none of {len(rows)} rows of {source} has the texts of one of {len(pairs)} pairs"
        raise ValueError(f"{came}: expected preferences on the study's own source")
    joined = joined.drop_duplicates(["judge", "pair", *ORDERS])
    if (twice := joined.duplicated(["judge", "pair"])).any():
        came = f"{joined.loc[twice, 'judge'].iloc[0]} answers {twice.sum()} pairs twice, otherwise"
        raise ValueError(f"{source}: expected one answer a judge and pair, but {came}")
    joined = joined.set_index(["judge", "pair"])
    rows = [joined.index.levels[0], pairs.index]
    every = pd.MultiIndex.from_product(rows, names=joined.index.names)
    found = judged_frame(joined.reindex(every).reset_index().assign(family=""), pairs)
    return found.assign(**dict.fromkeys(ORDERS)) if hub else found


def _published(source, revision):
    folder, files = Path(source), ["train.jsonl.gz", "validation.jsonl.gz"]
    own = ["dataset", "split", "id", "prompt", "response_A", "response_B"]
    if str(source) == PREFERENCES:
        options = {"revision": revision or "main", "allow_patterns": files}
        folder = Path(snapshot_download(PREFERENCES, repo_type="dataset", **options))
        if not (revision or folder.name.startswith(PINNED)):
            raise ValueError(f"expected {PREFERENCES} at {PINNED}, found {folder.name}: say which")
    parts = [read_table(folder / name) for name in files]
    for part in parts:
        expect_columns(part, own)
    table = pd.concat(parts, ignore_index=True)
    rows = table.melt(own, var_name="judge").query("judge.str.lower() != 'human'").dropna()
    odd = rows[~rows["value"].isin([-1, 0, 1])]
    if len(odd) or rows.empty:
        came = f"{odd['judge'].iloc[0]} with {odd['value'].iloc[0]!s:.60}" if len(odd) else "none"
        wanted = "a column a judge of -1 (response_A in both orders), 1 (response_B), 0 (neither)"
        raise ValueError(f"{folder}: expected beside {own} {wanted}; found {came}")
    given, swapped = (rows["value"].map({-1: a, 1: b, 0: OUTCOMES[1]}) for a, b in ("AB", "BA"))
    rows = rows.rename(columns={"response_A": "response_1", "response_B": "response_2"})
    return rows.assign(given=given, swapped=swapped)


def _authors_csv(source, table):
    files = sorted(source.glob("*.csv")) if source.is_dir() else [source]
    if not (files and table):
        raise ValueError(f"expected CSV files in {source}, and the table whose rows they count")
    rows, counted = pd.concat(map(read_table, files), ignore_index=True), read_table(Path(table))
    columns = dict(zip(["preference_orig_order", "preference_swapped_order"], ORDERS, strict=True))
    expect_columns(rows, ["split", "index", "model", "preference", *columns])
    expect_columns(counted, TEXTS)
    states = {"A": "A", "B": "B", "FORMAT-ERROR": "unparsed", "API-ERROR": "error"}
    if odd := set(rows[[*columns]].stack()) - set(states):
        raise ValueError(f"expected {', '.join(states)} as preferences, came {sorted(odd)[:3]}")
    wanted = rows["preference"].map({-1: "AB", 1: "BA"})
    if (wrong := wanted.notna() & (rows[[*columns]].fillna("").sum(axis=1) != wanted)).any():
        raise ValueError(f"{wrong.sum()} rows of {source} prefer otherwise than their two orders")
    by = ["split", "index"] if "split" in counted else ["index"]
    if "split" not in counted and rows["split"].nunique() > 1:
        raise ValueError(f"{source} counts rows in splits, {table} has no column split; add it")
    counted["index"] = counted.groupby(by[:-1] or np.zeros(len(counted))).cumcount()
    rows = rows.merge(counted[[*by, *TEXTS]], on=by, how="left")
    if lost := int(rows["prompt"].isna().sum()):
        raise ValueError(f"{lost} rows count beyond {table}: is it the table that was judged?")
    rows = rows.replace(dict.fromkeys(columns, states))
    return rows.rename(columns=columns | {"model": "judge"})

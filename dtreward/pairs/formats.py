"""Public data sets and tables with one response a row, as tables of pairs."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pandas as pd
from huggingface_hub import snapshot_download

from dtreward.pairs.columns import (
    HELPSTEER2,
    HELPSTEER2_FILES,
    HELPSTEER2_REVISION,
    TEXTS,
    expect_columns,
)
from dtreward.pairs.readers import read_table


def _helpsteer2(source: str | Path, revision: str, counts: Counter) -> pd.DataFrame:
    if source == HELPSTEER2:
        commit = {"revision": revision or HELPSTEER2_REVISION, "allow_patterns": HELPSTEER2_FILES}
        source = snapshot_download(HELPSTEER2, repo_type="dataset", **commit)
    train, test, votes = (read_table(Path(source) / name) for name in HELPSTEER2_FILES)
    for half in (train, test):
        expect_columns(half, ["prompt", "response"])
    halves = pd.concat([train.assign(split="train"), test.assign(split="test")], ignore_index=True)
    given = halves[["prompt", "split"]]
    run = (given != given.shift()).any(axis=1).cumsum()
    second = np.flatnonzero(halves.groupby(run).cumcount() % 2)
    counts["unpaired responses"] = len(halves) - 2 * len(second)
    rated = _side_by_side(halves, second - 1, second)
    expect_columns(votes, columns := [*TEXTS, "preference_strength"])
    keys = list(zip(*(rated[name] for name in TEXTS), strict=True))
    # Summed: votes on the same two responses add up, also where they contradict each other.
    known, strength = set(keys), defaultdict(float)
    for prompt, one, two, vote in votes[columns].dropna().itertuples(index=False):
        strength[prompt, one, two] += vote
        strength[prompt, two, one] -= vote
        met = {(prompt, one, two), (prompt, two, one)} & known
        counts["preferences without ratings"] += not met
    more = np.array([strength.get(key, np.nan) for key in keys], dtype=float)
    return rated.assign(preference=_from_sign(more, counts))


def _all_pairs(table: pd.DataFrame, order_by: str, rng: np.random.Generator, counts: Counter):
    expect_columns(table, ["prompt", "response"])
    table = table.drop(columns="prompt_id", errors="ignore")
    if order_by not in (numeric := list(table.select_dtypes("number"))):
        raise ValueError(f"order_by must name one of the columns {numeric}, came {order_by!r}")
    twice = table.astype(str).duplicated()
    table, counts["duplicate responses"] = table[~twice], int(twice.sum())
    by = [name for name in ("prompt", "split") if name in table]
    rows = table[by].assign(row=np.arange(len(table))).dropna()
    both = rows.merge(rows, on=by).query("row_x < row_y")[["row_x", "row_y"]].to_numpy()
    counts["unpaired responses"] = len(table) - len(np.unique(both))
    swap = rng.random(len(both)) < 0.5
    pairs = _side_by_side(table, *np.where(swap, both.T[::-1], both.T))
    more = pairs[f"{order_by}_2"] - pairs[f"{order_by}_1"]
    return pairs.assign(preference=_from_sign(more.to_numpy(float), counts))


def _from_sign(more: np.ndarray, counts: Counter) -> np.ndarray:
    counts["ties"] = int((more == 0).sum())
    return np.select([more < 0, more > 0], [0.0, 1.0], np.nan)


def _side_by_side(table: pd.DataFrame, first: np.ndarray, second: np.ndarray) -> pd.DataFrame:
    shared = [name for name in ("prompt", "split") if name in table]
    one, two = (table.iloc[rows].reset_index(drop=True) for rows in (first, second))
    own = [one.drop(columns=shared).add_suffix("_1"), two.drop(columns=shared).add_suffix("_2")]
    return pd.concat([one[shared], *own], axis=1)

"""Preferences of LLM judges that others have collected, read from their files."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
from huggingface_hub import snapshot_download

from dtreward.judges.public_verdicts import (
    INCONSISTENT,
    has_pandalm,
    read_llmbar,
    read_pandalm,
)
from dtreward.judges.verdict import ORDERS, judged_frame
from dtreward.pairs.columns import TEXTS, expect_columns
from dtreward.pairs.data_sets.llmbar import has_llmbar
from dtreward.pairs.forms import Reading, form_pairs
from dtreward.pairs.readers import read_table

PREFERENCES = "RLHFlow/LLM-Preferences-HelpSteer2"
PINNED = "a65aa58"  # the first digits of its commit; the others are not known
FILES = ["train.jsonl.gz", "validation.jsonl.gz"]
BESIDE_JUDGES = ["dataset", "split", "id", "prompt", "response_A", "response_B"]
COLLECTOR_ORDERS = {"preference_orig_order": "given", "preference_swapped_order": "swapped"}
COLLECTOR_STATES = {"A": "A", "B": "B", "FORMAT-ERROR": "unparsed", "API-ERROR": "error"}


def read_preferences(
    source: str | Path, pairs: pd.DataFrame, *, table: str | Path = "", revision: str = ""
) -> pd.DataFrame:
    """Read published preferences as `verdicts` gives them, joined to pairs by their texts.

    The two responses may stand in either order.

    Args:
        source: "RLHFlow/LLM-Preferences-HelpSteer2" or a folder with its files; they hold no
            positions, so `given` and `swapped` are None, and what is not decided counts as
            inconsistent. Or a CSV file of the authors' collector, or a folder of such files. Or a
            folder of LLMBar, or a file of PandaLM's LLM verdicts (no positions either).
        pairs: the study's; each gets a row for each judge, "missing" where none was read. Of
            LLMBar, a judge has rows for the pairs that it was asked about.
        table: for CSV files: the file with the pairs whose rows their `index` counts (of the
            CSV's split, if it has that column), such as HelpSteer2's preference.jsonl.gz. For
            PandaLM's verdicts: the test set.
        revision: commit of the hub's preferences; "" means the pinned one.

    Raises:
        ValueError: for other files, columns or values, or if none is about a pair of the study.
    """
    path = Path(source)
    is_published = str(source) == PREFERENCES or (path / FILES[0]).is_file()
    has_positions = not (is_published or has_pandalm(path))
    asks_some = has_llmbar(path)
    if is_published:
        rows = _read_published(source, revision)
    elif asks_some:
        rows = read_llmbar(path)
    elif has_positions:
        rows = _read_collector(path, table)
    else:
        rows = read_pandalm(path, Path(table))
    answers = _join(rows, pairs, source)
    if not asks_some:
        every = pd.MultiIndex.from_product(
            [answers.index.unique(0).sort_values(), pairs.index], names=answers.index.names
        )
        answers = answers.reindex(every)
    states = answers.reset_index()
    families = rows.groupby("judge")["family"].first() if "family" in rows else {}
    frame = judged_frame(states.assign(family=states["judge"].map(families).fillna("")), pairs)
    frame.attrs = dict(rows.attrs)
    return frame if has_positions else frame.assign(**dict.fromkeys(ORDERS))


def _join(rows: pd.DataFrame, pairs: pd.DataFrame, source: str | Path) -> pd.DataFrame:
    """Find the pair of each answer, in its subset where both know it; by judge and pair."""
    keys = [*TEXTS, *(["subset"] if "subset" in rows and "subset" in pairs else [])]
    rows = rows[[*keys, "judge", *ORDERS]].copy()
    wanted = pairs[keys].copy()
    for frame in (rows, wanted):
        frame[TEXTS] = frame[TEXTS].apply(lambda texts: texts.str.strip())
    other_side = {"response_1": "response_2", "given": "swapped"}
    other_side |= {name: side for side, name in other_side.items()}
    swapped = rows.query("response_1 != response_2").rename(columns=other_side)
    in_both_orders = pd.concat([rows, swapped])
    joined = wanted.rename_axis("pair").reset_index().merge(in_both_orders, on=keys)
    if joined.empty:
        raise ValueError(
            f"none of {len(rows)} rows of {source} has the texts of one of {len(pairs)} pairs; "
            "expected preferences on the study's own source"
        )
    joined = joined.drop_duplicates(["judge", "pair", *ORDERS])
    is_second = joined.duplicated(["judge", "pair"])
    if is_second.any():
        judge = joined.loc[is_second, "judge"].iloc[0]
        raise ValueError(
            f"{source}: {judge} answers {is_second.sum()} pairs twice, and not alike; expected "
            "one answer for each judge and pair"
        )
    return joined.set_index(["judge", "pair"])


def _read_published(source: str | Path, revision: str) -> pd.DataFrame:
    folder = Path(source)
    if str(source) == PREFERENCES:
        folder = _download(revision)
    parts = [read_table(folder / name) for name in FILES]
    for part in parts:
        expect_columns(part, BESIDE_JUDGES)
    table = pd.concat(parts, ignore_index=True)
    rows = table.melt(BESIDE_JUDGES, var_name="judge")
    rows = rows.query("judge.str.lower() != 'human'").dropna()
    odd = rows[~rows["value"].isin([-1, 0, 1])]
    if len(odd) or rows.empty:
        problem = "none"
        if len(odd):
            problem = f"{odd['judge'].iloc[0]} with {odd['value'].iloc[0]!s:.60}"
        raise ValueError(
            f"{folder}: expected beside {BESIDE_JUDGES} a column for each judge, with -1 "
            f"(response_A in both orders), 1 (response_B) or 0 (neither); found {problem}"
        )
    return rows.rename(columns={"response_A": "response_1", "response_B": "response_2"}).assign(
        given=rows["value"].map({-1: "A", 1: "B", 0: INCONSISTENT}),
        swapped=rows["value"].map({-1: "B", 1: "A", 0: INCONSISTENT}),
    )


def _download(revision: str) -> Path:
    folder = Path(
        snapshot_download(
            PREFERENCES, repo_type="dataset", revision=revision or "main", allow_patterns=FILES
        )
    )
    if not revision and not folder.name.startswith(PINNED):
        raise ValueError(
            f"{PREFERENCES} is at {folder.name}, expected {PINNED}; name the commit you want"
        )
    return folder


def _read_collector(source: Path, table: str | Path) -> pd.DataFrame:
    files = sorted(source.glob("*.csv")) if source.is_dir() else [source]
    if not files or not table:
        raise ValueError(f"expected CSV files in {source}, and the table whose rows they count")
    rows = pd.concat(map(read_table, files), ignore_index=True)
    expect_columns(rows, ["split", "index", "model", "preference", *COLLECTOR_ORDERS])
    _check_collector(rows, source)
    counted = _counted_pairs(Path(table))
    has_split = "split" in counted
    if not has_split and rows["split"].nunique() > 1:
        raise ValueError(f"{source} counts rows in splits, {table} has no column split; add it")
    groups = counted["split"] if has_split else np.zeros(len(counted))
    counted["index"] = counted.groupby(groups).cumcount()
    keys = ["split", "index"] if has_split else ["index"]
    rows = rows.merge(counted[[*keys, *TEXTS]], on=keys, how="left")
    lost = int(rows["prompt"].isna().sum())
    if lost:
        raise ValueError(f"{lost} rows count beyond {table}: is it the table that was judged?")
    rows = rows.replace(dict.fromkeys(COLLECTOR_ORDERS, COLLECTOR_STATES))
    return rows.rename(columns=COLLECTOR_ORDERS | {"model": "judge"})


def _counted_pairs(path: Path) -> pd.DataFrame:
    """Read the table whose rows are counted, with its prompts as `load_pairs` writes them."""
    formed = form_pairs(read_table(path), "", Reading(np.random.default_rng(0), Counter(), ""))
    if formed.form == "chosen-rejected":
        raise ValueError(
            f"{path} has chosen and rejected, which do not say which response was shown first; "
            "expected the columns prompt, response_1 and response_2"
        )
    expect_columns(formed.table, TEXTS)
    return formed.table


def _check_collector(rows: pd.DataFrame, source: Path) -> None:
    """Refuse unknown answers, and preferences that the two orders do not bear out."""
    answers = rows[[*COLLECTOR_ORDERS]]
    odd = sorted(set(answers.stack()) - set(COLLECTOR_STATES))
    if odd:
        raise ValueError(
            f"{source}: {odd[:3]} are no preferences; expected {', '.join(COLLECTOR_STATES)}"
        )
    wanted = rows["preference"].map({-1: "AB", 1: "BA"})
    is_wrong = wanted.notna() & (answers.fillna("").sum(axis=1) != wanted)
    if is_wrong.any():
        raise ValueError(
            f"{is_wrong.sum()} rows of {source} prefer otherwise than their two orders"
        )

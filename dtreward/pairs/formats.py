"""HelpSteer2, and tables with one response a row, as tables of pairs."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from huggingface_hub import snapshot_download

from dtreward.pairs.attributes import ordering_column
from dtreward.pairs.columns import TEXTS, expect_columns
from dtreward.pairs.identity import group_prompts, number_pairs, plain_line_ends, prompt_keys
from dtreward.pairs.readers import read_table

HELPSTEER2 = "nvidia/HelpSteer2"
HELPSTEER2_REVISION = "990b2711a36180dd19d9c94b8627844866f8982a"
HELPSTEER2_FILES = ["train.jsonl.gz", "validation.jsonl.gz", "preference/preference.jsonl.gz"]


def has_helpsteer2(folder: Path) -> bool:
    """Whether a folder has one of HelpSteer2's files."""
    return any((folder / name).exists() for name in HELPSTEER2_FILES)


def read_helpsteer2(source: str | Path, revision: str, counts: Counter) -> pd.DataFrame:
    """Read HelpSteer2 from the hub or a folder, and join its preferences to its ratings by text.

    Rows of its rating files come in twos, one response each. Its validation file is the test set.

    Args:
        source: "nvidia/HelpSteer2", or a folder with its files.
        revision: commit on the hub; "" means the pinned one.
        counts: gets "unpaired responses", "preferences without ratings", "ties" and "repeated
            pairs" (copies of a whole row, which are dropped).
    """
    folder = Path(source)
    if source == HELPSTEER2:
        commit = revision or HELPSTEER2_REVISION
        folder = Path(
            snapshot_download(
                HELPSTEER2, repo_type="dataset", revision=commit, allow_patterns=HELPSTEER2_FILES
            )
        )
    train, test, votes = (read_table(folder / name) for name in HELPSTEER2_FILES)
    expect_columns(train, ["prompt", "response"])
    expect_columns(test, ["prompt", "response"])
    halves = pd.concat([train.assign(split="train"), test.assign(split="test")], ignore_index=True)
    rated = _pair_neighbours(halves, counts)
    strength = _summed_strength(votes, rated, counts)
    rated = rated.assign(preference=_preference_of(strength, counts))
    # The votes on a pair are summed, so a pair that is rated twice has its preference once.
    is_repeated = pd.Series(number_pairs(rated)).duplicated()
    rated["preference"] = rated["preference"].mask(is_repeated)
    whole = rated.drop(columns="preference").astype(str)
    is_copy = whole.duplicated()
    counts["repeated pairs"] = int(is_copy.sum())
    return rated[~is_copy].reset_index(drop=True)


def pair_responses(
    table: pd.DataFrame,
    order_by: str,
    rng: np.random.Generator,
    counts: Counter,
    *,
    attributes: Sequence[str] = (),
    readers: str = "within",
) -> pd.DataFrame:
    """Make all pairs of each prompt's different responses; chance decides which stands first.

    Args:
        table: one response a row: prompt, response, ratings, and `reader` where there are readers.
        order_by: the column whose larger value is preferred, or with "-" before its name the
            smaller; equal values are a tie.
        counts: gets "repeated responses" (rows averaged into an earlier one), "unpaired responses"
            and "ties".
        attributes: columns of numbers, which are averaged where a response is repeated.
        readers: "within" pairs the responses that one reader rated, which makes each pair a vote
            of that reader; "mean" first averages each response over its readers.
    """
    expect_columns(table, ["prompt", "response"])
    if readers not in ("within", "mean"):
        raise ValueError(f'readers={readers!r}; expected "within" or "mean"')
    order, sign = ordering_column(table, order_by)
    table = table.assign(**{str(order.name): order})
    if readers == "mean":
        table = table.drop(columns="reader", errors="ignore")
    keys = prompt_keys(table["prompt"])
    table = table.assign(prompt_id=group_prompts(table, keys))[keys.notna()]
    table["place"] = pd.factorize(keys[keys.notna()])[0]
    counts["unpaired responses"] = int(keys.isna().sum())
    within = [name for name in ("place", "split", "reader") if name in table]
    table = _average_repeated(table, within, [*attributes, str(order.name)], counts)
    rows = table[within].assign(row=np.arange(len(table)))
    rows = rows.dropna(subset="split") if "split" in table else rows
    meetings = rows.merge(rows, on=within).query("row_x < row_y")
    couples = meetings[["row_x", "row_y"]].to_numpy()
    counts["unpaired responses"] += len(table) - len(np.unique(couples))
    swapped = rng.random(len(couples)) < 0.5
    first, second = np.where(swapped, couples.T[::-1], couples.T)
    pairs = _side_by_side(table.drop(columns="place"), first, second)
    more = sign * (pairs[f"{order.name}_2"] - pairs[f"{order.name}_1"])
    return pairs.assign(preference=_preference_of(more.to_numpy(float), counts))


def _average_repeated(
    table: pd.DataFrame, within: list[str], ratings: list[str], counts: Counter
) -> pd.DataFrame:
    """Give each response of a prompt (and of a reader) one row, with its mean ratings."""
    text = table["response"].map(plain_line_ends, na_action="ignore").rename("text")
    names = [table[name] for name in within]
    group = table.groupby([*names, text], sort=False, dropna=False).ngroup()
    is_repeated = group.duplicated()
    counts["repeated responses"] = int(is_repeated.sum())
    if not is_repeated.any():
        return table
    means = table[ratings].groupby(group).mean()
    kept = table[~is_repeated]
    return kept.assign(**means.loc[group[~is_repeated]].set_axis(kept.index))


def _pair_neighbours(halves: pd.DataFrame, counts: Counter) -> pd.DataFrame:
    """Pair the first row of a run of one prompt with the second, the third with the fourth."""
    prompt = halves[["prompt", "split"]]
    run = (prompt != prompt.shift()).any(axis=1).cumsum()
    is_second = halves.groupby(run).cumcount() % 2
    second = np.flatnonzero(is_second)
    counts["unpaired responses"] = len(halves) - 2 * len(second)
    return _side_by_side(halves, second - 1, second)


def _summed_strength(votes: pd.DataFrame, rated: pd.DataFrame, counts: Counter) -> np.ndarray:
    """Sum for each rated pair how strongly people preferred response 2; nan without a vote.

    Votes on the same two responses add up, also where they contradict each other.
    """
    columns = [*TEXTS, "preference_strength"]
    expect_columns(votes, columns)
    keys = list(zip(*(rated[name] for name in TEXTS), strict=True))
    rated_keys = set(keys)
    strength: dict[tuple, float] = defaultdict(float)
    for prompt, one, two, vote in votes[columns].dropna().itertuples(index=False):
        strength[prompt, one, two] += vote
        strength[prompt, two, one] -= vote
        is_unrated = not {(prompt, one, two), (prompt, two, one)} & rated_keys
        counts["preferences without ratings"] += int(is_unrated)
    return np.array([strength.get(key, np.nan) for key in keys], dtype=float)


def _preference_of(more: np.ndarray, counts: Counter) -> np.ndarray:
    """Turn how much response 2 is better into a preference: 0, 1, or nan for a tie."""
    counts["ties"] = int((more == 0).sum())
    return np.select([more < 0, more > 0], [0.0, 1.0], np.nan)


def _side_by_side(table: pd.DataFrame, first: np.ndarray, second: np.ndarray) -> pd.DataFrame:
    """Put rows `first` and `second` of a table of responses beside each other, as pairs."""
    shared = [name for name in ("prompt", "prompt_id", "split", "reader") if name in table]
    one = table.iloc[first].reset_index(drop=True)
    two = table.iloc[second].reset_index(drop=True)
    sides = [one.drop(columns=shared).add_suffix("_1"), two.drop(columns=shared).add_suffix("_2")]
    return pd.concat([one[shared], *sides], axis=1)

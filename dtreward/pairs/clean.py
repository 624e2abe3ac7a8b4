"""Drop pairs that cannot be used, and count them by reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np
import pandas as pd

from dtreward.conversation import messages
from dtreward.pairs.columns import SPLITS, TEXTS
from dtreward.pairs.split import draw_prompts

LARGEST_RATING = 1e30  # trees are fitted in float32, which ends at 3e38


def drop_unusable(
    table: pd.DataFrame,
    ratings: Sequence[str],
    limit: int,
    rng: np.random.Generator,
    counts: Counter,
) -> pd.DataFrame:
    """Keep the pairs that a study can use, and number their prompts.

    Args:
        table: one pair a row; `preference` and `split` may be missing.
        ratings: columns that must hold finite numbers.
        limit: draw the fewest prompts that have so many pairs; 0 means all.
        counts: gets the number of pairs dropped, by reason.

    Raises:
        ValueError: for a preference other than 0, 1 or missing, or an unknown split.
    """
    table = table.assign(preference=_preferences(table), split=_splits(table))
    counts["pairs read"] = len(table)
    table = _drop(table, "duplicates", table.astype(str).duplicated(), counts)
    unreadable = [not _is_readable(*texts) for texts in table[TEXTS].itertuples(index=False)]
    table = _drop(table, "unreadable", unreadable, counts)
    # Prompts that a model reads alike are one prompt, for example with newlines at their end.
    as_read = table["prompt"].map(lambda prompt: str(messages(prompt)))
    table["prompt_id"] = pd.factorize(as_read)[0]
    in_range = table[list(ratings)].astype(float).abs() < LARGEST_RATING
    table = _drop(table, "missing ratings", ~in_range.all(axis=1), counts)
    place = table["split"].map(SPLITS.index)
    last = place.groupby(table["prompt_id"]).transform("max")
    table = _drop(table, "prompt in a later split", place < last, counts)
    table = _drop(table, "over limit", ~draw_prompts(table["prompt_id"], limit, rng), counts)
    return table.assign(prompt_id=pd.factorize(table["prompt_id"])[0])


def _drop(
    table: pd.DataFrame, reason: str, bad: pd.Series | np.ndarray | list, counts: Counter
) -> pd.DataFrame:
    dropped = np.asarray(bad, dtype=bool)
    counts[reason] = int(dropped.sum())
    return table[~dropped].reset_index(drop=True)


def _preferences(table: pd.DataFrame) -> pd.Series:
    """Read preferences as 0, 1 or missing."""
    values = pd.Series(table.get("preference", np.nan), table.index, dtype=object)
    values = values.map(lambda value: value if isinstance(value, Hashable) else str(value))
    preference = values.map({0: 0, 1: 1}.get)
    wrong = values[values.notna() & preference.isna()]
    if len(wrong):
        raise ValueError(
            f"column preference holds {wrong.unique()[:3].tolist()}, first in row "
            f"{wrong.index[0]}; expected 0 (response 1), 1 (response 2) or nothing"
        )
    return preference.astype("Int8")


def _splits(table: pd.DataFrame) -> pd.Series:
    split = pd.Series(table.get("split", "train"), table.index).astype(str)
    wrong = sorted(set(split) - set(SPLITS), key=str)
    if wrong:
        raise ValueError(f"column split holds {wrong}; expected {', '.join(SPLITS)}")
    return split


def _is_readable(prompt: object, *responses: object) -> bool:
    """Whether prompt and responses are a conversation without an empty text."""
    try:
        for response in responses:
            messages(prompt, "" if response is None else response)
    except ValueError:
        return False
    return True

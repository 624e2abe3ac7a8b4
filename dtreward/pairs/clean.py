"""Drop votes on pairs that cannot be used, and count them by reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd

from dtreward.conversation import messages
from dtreward.pairs.columns import SPLITS, TEXTS, rating_columns, wrong_value
from dtreward.pairs.forms import WINNERS
from dtreward.pairs.identity import group_prompts, number_pairs, prompt_keys, repeated_votes
from dtreward.pairs.numbers import to_number
from dtreward.pairs.split import draw_prompts

LARGEST_RATING = 1e30  # trees are fitted in float32, which ends at 3e38


def drop_unusable(
    table: pd.DataFrame,
    attributes: Sequence[str],
    limit: int,
    rng: np.random.Generator,
    counts: Counter,
) -> pd.DataFrame:
    """Keep the votes that a study can use, and number their prompts and pairs.

    Prompts that a model reads alike get the text of the first one. A rating that is infinite or
    beyond 1e30 becomes a missing one.

    Args:
        table: one vote on a pair a row; `preference`, `split`, `reader` and `prompt_id` may be
            missing.
        attributes: names of the rating columns, which hold numbers.
        limit: draw the fewest prompts that have so many pairs; 0 means all.
        counts: gets the number of rows dropped, by reason.

    Raises:
        ValueError: for a preference other than 0, 1 or missing, or an unknown split.
    """
    table = table.assign(preference=_preferences(table), split=_splits(table))
    counts["rows read"] = len(table)
    unreadable = [not _is_readable(*texts) for texts in table[TEXTS].itertuples(index=False)]
    table = _drop(table, "unreadable", unreadable, counts)
    keys = prompt_keys(table["prompt"])
    table["prompt"] = table["prompt"].groupby(keys.to_numpy()).transform("first")
    table["prompt_id"] = group_prompts(table, keys)
    table["pair_id"] = number_pairs(table)
    table = _drop_unrated(table, attributes, counts)
    table = _drop(table, "duplicates", repeated_votes(table, attributes), counts)
    place = table["split"].map(SPLITS.index)
    last = place.groupby(table["prompt_id"]).transform("max")
    table = _drop(table, "prompt in a later split", place < last, counts)
    prompt_of_pair = pd.Series(table.groupby("pair_id")["prompt_id"].first())
    drawn = prompt_of_pair[draw_prompts(prompt_of_pair, limit, rng)]
    table = _drop(table, "over limit", ~table["prompt_id"].isin(drawn), counts)
    for name in ("prompt_id", "pair_id"):
        table[name] = pd.factorize(table[name])[0]
    return table


def _drop_unrated(table: pd.DataFrame, attributes: Sequence[str], counts: Counter) -> pd.DataFrame:
    """Drop rows in which no attribute is rated on both responses, if there are attributes."""
    columns = rating_columns(attributes)
    ratings = table[columns].astype(float)
    table[columns] = ratings.where(ratings.abs() < LARGEST_RATING)
    lacks_one = [table[rating_columns([name])].isna().any(axis=1) for name in attributes]
    is_unrated = np.all(lacks_one, axis=0) if lacks_one else np.zeros(len(table), bool)
    return _drop(table, "no attribute rated on both", is_unrated, counts)


def _drop(
    table: pd.DataFrame, reason: str, bad: pd.Series | np.ndarray | list, counts: Counter
) -> pd.DataFrame:
    dropped = np.asarray(bad, dtype=bool)
    counts[reason] = int(dropped.sum())
    return table[~dropped].reset_index(drop=True)


def _preferences(table: pd.DataFrame) -> pd.Series:
    """Read preferences as 0, 1 or missing; numbers as text, true and false are read too."""
    values = pd.Series(table.get("preference", np.nan), table.index, dtype=object)
    numbers = [to_number(value) for value in values]
    legal = [number is not None and (number in (0, 1) or np.isnan(number)) for number in numbers]
    wrong = values[np.logical_not(legal)]
    if len(wrong):
        expected = "0 (response 1), 1 (response 2) or nothing (a tie)"
        if str(wrong.iloc[0]).strip().lower() in WINNERS:
            expected += "; to have it read as a word for the winner, call the column winner"
        raise wrong_value("preference", wrong.iloc[0], wrong.index[0], expected)
    return pd.Series(numbers, table.index, dtype=float).astype("Int8")


def _splits(table: pd.DataFrame) -> pd.Series:
    split = pd.Series(table.get("split", "train"), table.index)
    wrong = split[~split.isin(SPLITS)]
    if len(wrong):
        expected = f"{', '.join(SPLITS)} in every row, or no column split"
        raise wrong_value("split", wrong.iloc[0], wrong.index[0], expected)
    return split.astype(str)


def _is_readable(prompt: object, *responses: object) -> bool:
    """Whether prompt and responses are a conversation without an empty text."""
    try:
        for response in responses:
            messages(prompt, "" if response is None else response)
    except ValueError:
        return False
    return True

"""What makes two rows the same prompt, the same pair, the same vote."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from dtreward.conversation import messages
from dtreward.pairs.columns import rating_columns

READERS = (
    *("reader", "reader_id", "rater", "rater_id", "annotator", "annotator_id"),
    *("worker", "worker_id", "judge", "judge_id", "evaluator", "evaluator_id"),
    *("labeler", "labeler_id", "labeller", "labeller_id", "participant", "participant_id"),
)


def reader_column(table: pd.DataFrame, asked: str = "") -> str:
    """Give the column that names who read each row: the one asked for, or of `READERS`; else "".

    Raises:
        ValueError: if the column that is asked for is absent.

    Example:
        >>> reader_column(pd.DataFrame({"prompt": ["Why?"], "rater": [1]}))
        'rater'
    """
    if asked and asked not in table:
        nearest = get_close_matches(asked, [str(name) for name in table], n=1)
        hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
        columns = ", ".join(map(str, table))
        raise ValueError(f"reader={asked!r} is not one of the columns {columns}{hint}")
    return asked or next((name for name in READERS if name in table), "")


def name_readers(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """Rename a column to `reader`, and its values to texts or missing ones; "" changes nothing."""
    if not column:
        return table
    named = table[column].map(str, na_action="ignore").astype("str")
    return table.drop(columns=[*({column, "reader"} & set(table))]).assign(reader=named)


def prompt_keys(prompts: pd.Series) -> pd.Series:
    """Give one text to prompts that a model reads alike; missing where there is no prompt.

    They may differ in line ends and in newlines at the end of a turn.

    Example:
        >>> prompt_keys(pd.Series(["Why?", "Why?\\r\\n"])).nunique()
        1
    """
    return prompts.map(_prompt_key, na_action="ignore")


def group_prompts(table: pd.DataFrame, keys: pd.Series) -> Int[np.ndarray, " rows"]:
    """Number the prompts 0, 1, ... by first appearance, for splits.

    Rows share a number if their prompts are read alike, or if the column `prompt_id`, where there
    is one, gives them one value.

    Args:
        table: pairs or responses.
        keys: `prompt_keys` of its prompts.

    Example:
        >>> table = pd.DataFrame({"prompt": ["a", "b", "c", "a"], "prompt_id": [7, 7, 8, 8]})
        >>> group_prompts(table, prompt_keys(table["prompt"])).tolist()
        [0, 0, 0, 0]
    """
    code, distinct = pd.factorize(keys, use_na_sentinel=False)
    if "prompt_id" not in table:
        return code
    names = table["prompt_id"].map(str, na_action="ignore")
    name, _ = pd.factorize(names)
    has_name = name >= 0
    edges = (code[has_name], len(distinct) + name[has_name])
    nodes = len(distinct) + len(table)
    graph = coo_array((np.ones(has_name.sum()), edges), shape=(nodes, nodes))
    group = connected_components(graph, directed=False)[1][code]
    return pd.factorize(group)[0]


def number_pairs(table: pd.DataFrame) -> Int[np.ndarray, " votes"]:
    """Number the pairs 0, 1, ... by first appearance: the same prompt, the same two responses.

    Example:
        >>> table = pd.DataFrame({"prompt": "p", "response_1": ["a", "b"], "response_2": ["b", "a"]})
        >>> number_pairs(table).tolist()
        [0, 0]
    """
    first, second = _response_codes(table)
    sides = {"low": np.minimum(first, second), "high": np.maximum(first, second)}
    prompt = pd.factorize(prompt_keys(table["prompt"]))[0]
    return (
        pd.DataFrame({"prompt": prompt, **sides})
        .groupby(["prompt", "low", "high"], sort=False)
        .ngroup()
        .to_numpy()
    )


def align_votes(frame: pd.DataFrame, attributes: Sequence[str]) -> pd.DataFrame:
    """Turn votes on pairs that were shown the other way round, so that votes can be compared.

    Responses, ratings and preference of a row change sides where its pair's first row has the
    responses in the other order.

    Example:
        >>> frame = pd.DataFrame(
        ...     {"pair_id": 0, "response_1": ["a", "b"], "response_2": ["b", "a"], "preference": 0}
        ... )
        >>> align_votes(frame, [])["preference"].tolist()
        [0, 1]
    """
    first, _ = _response_codes(frame)
    of_first_row = pd.Series(first, frame.index).groupby(frame["pair_id"]).transform("first")
    is_turned = first != of_first_row.to_numpy()
    frame = frame.copy()
    frame["preference"] = frame["preference"].mask(is_turned, 1 - frame["preference"])
    for name in ("response", *attributes):
        one = frame[f"{name}_1"]
        two = frame[f"{name}_2"]
        frame[f"{name}_1"] = one.mask(is_turned, two)
        frame[f"{name}_2"] = two.mask(is_turned, one)
    return frame


def repeated_votes(table: pd.DataFrame, attributes: Sequence[str]) -> Bool[np.ndarray, " votes"]:
    """Mark rows that say nothing new of their pair.

    That is the same verdict of the same reader, or a row without a preference whose ratings (and
    reader) another such row has too. A vote of nobody in particular is never one: without readers,
    every row with a preference is somebody's vote.

    Args:
        table: votes with `pair_id`, `preference`, ratings, and `reader` where there are readers.
        attributes: whose ratings are compared.
    """
    votes = align_votes(table, attributes)
    reader = votes.get("reader", pd.Series(None, votes.index, dtype=object))
    votes = votes.assign(reader=reader)
    has_voted = votes["preference"].notna().to_numpy()
    same_vote = votes.duplicated(["pair_id", "reader", "preference"]).to_numpy()
    ratings = rating_columns(attributes)
    silent = votes[~has_voted]
    is_repeated = has_voted & same_vote & votes["reader"].notna().to_numpy()
    is_repeated[~has_voted] = silent.duplicated(["pair_id", "reader", *ratings])
    return is_repeated


def _prompt_key(prompt: object) -> str:
    try:
        turns = messages(prompt)
    except ValueError:
        return str(prompt)  # no conversation; it is dropped later, and equals itself until then
    return str([{**turn, "content": plain_line_ends(turn["content"])} for turn in turns])


def plain_line_ends(text: str) -> str:
    """Write line ends as newlines, and none at the end."""
    return text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")


def _response_codes(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Number the responses; those that differ in line ends alone share a number."""
    texts = pd.concat([table["response_1"], table["response_2"]])
    codes, _ = pd.factorize(texts.map(plain_line_ends, na_action="ignore"))
    return codes[: len(table)], codes[len(table) :]

"""One validated table of pairs, whatever it was read from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from dtreward.pairs.attributes import choose_attributes
from dtreward.pairs.clean import drop_unusable
from dtreward.pairs.columns import TEXTS, expect_columns, rating_columns
from dtreward.pairs.formats import HELPSTEER2, has_helpsteer2, pair_responses, read_helpsteer2
from dtreward.pairs.readers import plain_columns, read_table
from dtreward.pairs.split import cut_splits


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of one source, and how many were dropped or kept for which reason.

    Attributes:
        frame: one pair a row. Columns: `prompt_id` (0, 1, ... by first appearance; prompts that
            differ only in newlines at the end of a turn share one), `prompt`, `response_1`,
            `response_2`, ratings `<attribute>_1` and `<attribute>_2`, `preference` (0: response 1,
            1: response 2, or missing), `split` (one for all pairs of a prompt), then the source's
            other columns (mixed types as text).
        attributes: names, in the order of the rating columns.
        counts: "pairs read"; pairs dropped as "duplicates" (of whole rows), "unreadable" (no
            conversation, or an empty text), for "missing ratings" (infinite and beyond 1e30 among
            them), for a "prompt in a later split" and "over limit"; of the "pairs" kept, those
            with "no preference" or "identical responses"; "ties" that the source calls equal,
            before any pair was dropped.
        left_out: why other columns of the source are no attributes, by column.
    """

    frame: pd.DataFrame
    attributes: tuple[str, ...]
    counts: dict[str, int]
    left_out: dict[str, str] = field(default_factory=dict)


def load_pairs(  # noqa: PLR0913
    source: str | Path | pd.DataFrame,
    *,
    attributes: Sequence[str] = (),
    order_by: str = "",
    revision: str = "",
    limit: int = 0,
    seed: int = 0,
    validation_share: float = 0.1,
    test_share: float = 0.2,
) -> Pairs:
    """Read pairs, drop and count what cannot be used, and split by prompt.

    A table has one pair a row (`prompt, response_1, response_2`, ratings, `preference` 0, 1 or
    missing), or one response a row (`prompt, response`, ratings). In the second form all pairs of
    a prompt's responses are made, and chance decides which response stands first. Splits of the
    source stay; "validation" and "test", where it has none, are cut from its training prompts.

    Args:
        source: a DataFrame; a file or folder that `dtreward.pairs.readers.read_table` reads;
            "nvidia/HelpSteer2"; or a folder with HelpSteer2's files.
        attributes: ratings to use, in this order; () means all numeric ones but row numbers, ids
            and times. Those that are named may also be true and false, or numbers as text.
        order_by: for one response a row: the column whose larger value is preferred, or with "-"
            before its name the smaller: "-rank".
        revision: commit of nvidia/HelpSteer2; "" means the pinned one.
        limit: draw the fewest prompts that have so many pairs; 0 means all.
        seed: of what chance decides.
        validation_share: share of the training prompts to cut as "validation".
        test_share: share of the training prompts to cut as "test".

    Raises:
        ValueError: for files, columns or values that are not as described, or if no pair is left.

    Example:
        >>> table = pd.DataFrame({"prompt": ["2 + 2?"], "response_1": ["4"], "response_2": ["5"]})
        >>> load_pairs(table.assign(correctness_1=4, correctness_2=0)).attributes
        ('correctness',)
    """
    _check_arguments(source, attributes, revision, limit, seed, (validation_share, test_share))
    rng = np.random.default_rng(seed)
    counts = Counter(ties=0)
    name = "the DataFrame" if isinstance(source, pd.DataFrame) else str(source)
    table = _read(source, revision, counts)
    has_responses = "response" in table and "response_1" not in table
    choice = choose_attributes(table, tuple(attributes), order_by if has_responses else "")
    table = choice.table
    if has_responses:
        table = pair_responses(table, order_by, rng, counts)
    elif order_by:
        raise ValueError(f"order_by={order_by!r} is for one response a row; {name} has pairs")
    expect_columns(table, TEXTS)
    ratings = rating_columns(choice.names)
    table = drop_unusable(table, ratings, limit, rng, counts)
    if table.empty:
        raise ValueError(f"no pair of {name} can be used; dropped and counted: {dict(counts)}")
    table[ratings] = table[ratings].astype(float)
    table["split"] = cut_splits(table, test_share, validation_share, rng)
    _count_kept(table, counts)
    return Pairs(_ordered(table, ratings), choice.names, dict(counts), choice.left_out)


def differences(frame: pd.DataFrame, attributes: Sequence[str]) -> Float[np.ndarray, "pairs n"]:
    """Subtract the ratings of response 1 from those of response 2, shape (pairs, attributes).

    Example:
        >>> differences(pd.DataFrame({"coherence_1": [3.0], "coherence_2": [1.0]}), ["coherence"])
        array([[-2.]])
    """
    one = frame[[f"{attribute}_1" for attribute in attributes]].to_numpy(float)
    two = frame[[f"{attribute}_2" for attribute in attributes]].to_numpy(float)
    return two - one


def responses(frame: pd.DataFrame, attributes: Sequence[str]) -> pd.DataFrame:
    """List each response once: prompt_id (ascending), prompt, split, response, mean ratings.

    Where the spellings of a prompt differ (see `Pairs`), `prompt` is the first one.
    """
    shared = ["prompt_id", "prompt", "split"]
    own = ["response", *attributes]
    sides = [
        frame[[*shared, *(f"{name}_{side}" for name in own)]].set_axis([*shared, *own], axis=1)
        for side in (1, 2)
    ]
    table = pd.concat(sides)
    table["prompt"] = table.groupby("prompt_id")["prompt"].transform("first")
    return table.groupby([*shared, "response"])[list(attributes)].mean().reset_index()


def response_index(frame: pd.DataFrame, responses: pd.DataFrame) -> Int[np.ndarray, "pairs 2"]:
    """Find the two rows of `responses` that each pair consists of.

    Raises:
        ValueError: if a response is not among them.
    """
    places = pd.MultiIndex.from_frame(responses[["prompt_id", "response"]])
    columns = []
    for side in (1, 2):
        wanted = pd.MultiIndex.from_frame(frame[["prompt_id", f"response_{side}"]])
        columns.append(places.get_indexer(wanted))
    rows = np.stack(columns, axis=1)
    if (rows < 0).any():
        raise ValueError(f"{(rows < 0).sum()} responses of the pairs are not among `responses`")
    return rows


def attributes_of(frame: pd.DataFrame) -> tuple[str, ...]:
    """Read the attributes off a saved frame: between `response_2` and `preference`."""
    expect_columns(frame, [*TEXTS, "preference"])
    rated = frame.loc[:, "response_2":"preference"].columns[1:-1]
    return tuple(name.removesuffix("_1") for name in rated if name.endswith("_1"))


def _read(source: str | Path | pd.DataFrame, revision: str, counts: Counter) -> pd.DataFrame:
    if isinstance(source, pd.DataFrame):
        return plain_columns(source, "the DataFrame")
    if source == "demo":
        raise ValueError(
            "the demo world is no file; hand its pairs over: load_pairs(make_pairs(seed=0)), with "
            "make_pairs from dtreward.demo.world"
        )
    if source == HELPSTEER2 or has_helpsteer2(Path(source)):
        return read_helpsteer2(source, revision, counts)
    return read_table(Path(source))


def _check_arguments(
    source: object,
    attributes: object,
    revision: str,
    limit: object,
    seed: object,
    shares: Sequence[float],
) -> None:
    """Refuse arguments of `load_pairs` that are of another kind, or out of range."""
    if isinstance(attributes, str):
        raise ValueError(  # noqa: TRY004 (a wrong value, as of every other argument)
            f"expected a list of names, came {attributes!r}; write attributes=[{attributes!r}]"
        )
    wanted = {"limit": "a whole number of pairs", "seed": "a whole number"}
    for (name, meaning), value in zip(wanted.items(), (limit, seed), strict=True):
        if not isinstance(value, int | np.integer) or value < 0:
            raise ValueError(f"expected {name} as {meaning}, 0 or more, came {value!r:.40}")
    is_legal = min(shares) >= 0 and sum(shares) < 1  # False for nan
    if not is_legal:
        raise ValueError(
            f"validation_share and test_share must not be negative, and their sum below 1; came "
            f"{shares}"
        )
    is_table = isinstance(source, pd.DataFrame) or str(source) != HELPSTEER2
    if revision and is_table:
        raise ValueError(
            f"revision={revision!r} is a commit of {HELPSTEER2}, expected none for another source; "
            'write revision=""'
        )


def _count_kept(table: pd.DataFrame, counts: Counter) -> None:
    counts["pairs"] = len(table)
    counts["prompts"] = table["prompt_id"].nunique()
    counts["no preference"] = int(table["preference"].isna().sum())
    counts["identical responses"] = int((table["response_1"] == table["response_2"]).sum())


def _ordered(table: pd.DataFrame, ratings: Sequence[str]) -> pd.DataFrame:
    """Put the study's columns first; those of mixed types become text, for Parquet's sake."""
    first = ["prompt_id", *TEXTS, *ratings, "preference", "split"]
    others = table.drop(columns=first)
    mixed = [name for name in others if others[name].dtype == object]
    table[mixed] = table[mixed].astype("str")
    return table[[*first, *table.columns.difference(first, sort=False)]]

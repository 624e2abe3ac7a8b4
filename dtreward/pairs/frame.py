"""One validated table of pairs, whatever it was read from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from dtreward.conversation import messages
from dtreward.demo import world as demo
from dtreward.pairs.columns import HELPSTEER2, SPLITS, TAKEN, TEXTS, expect_columns
from dtreward.pairs.formats import _all_pairs, _helpsteer2
from dtreward.pairs.readers import read_table


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of one source, and how many were dropped or kept for which reason.

    Columns of `frame`: `prompt_id` (0, 1, ... by first appearance of the text, newlines at its turns'
    ends apart), `prompt`, `response_1`, `response_2`, ratings `<attribute>_1`, `<attribute>_2`,
    `preference` (0: response 1, 1: response 2, or missing), `split` (one for all pairs of a
    prompt), then the source's own (those of mixed kinds as text).

    `counts`: of the "pairs read", "duplicates" (of whole rows), "unreadable" ones (no conversation,
    or an empty text), those with "missing ratings" (infinite and beyond 1e30 among them), with a
    "prompt in a later split" and "over limit" were dropped; of the `pairs` kept, some have "no
    preference" or "identical responses".
    `ties`: pairs that the source calls equal, before any was dropped.
    """

    frame: pd.DataFrame
    attributes: tuple[str, ...]
    counts: dict[str, int]


def load_pairs(
    source: str | Path,
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

    A table has one row a pair (`prompt, response_1, response_2`, ratings, `preference` 0, 1 or
    missing), or one row a response (`prompt, response`, ratings): then all pairs of a prompt are
    made, and chance decides which response stands first. Splits of the source stay; "validation"
    and "test", where it has none, are cut from its training prompts.

    Args:
        source: "demo", "nvidia/HelpSteer2" or a folder of its layout (rows in twos, preferences
            joined by text, validation as test), or a Parquet, CSV or JSONL (also .gz) table.
        attributes: ratings to use, in this order; () means every numeric one.
        order_by: for one row a response: the response with more of this is preferred, equal ties.
        revision: commit of nvidia/HelpSteer2; "" means the pinned one.
        limit: draw the fewest prompts that have so many pairs; 0 means all.

    Raises:
        ValueError: for files, columns or values that are not as described, or if no pair is left.
    """
    if not (min(limit, validation_share, test_share) >= 0 and validation_share + test_share < 1):
        raise ValueError("limit and shares must not be negative, and the shares' sum below 1")
    rng, counts = np.random.default_rng(seed), Counter(ties=0)
    if source == "demo":
        table = demo.make_pairs(seed=seed)
    elif source == HELPSTEER2 or Path(source).is_dir():
        table = _helpsteer2(source, revision, counts)
    else:
        table = read_table(Path(source))
    if "response" in table and "response_1" not in table:
        table = _all_pairs(table, order_by, rng, counts)
    elif order_by:
        raise ValueError(f"order_by={order_by!r} is for a table of responses, {source} has pairs")
    expect_columns(table, TEXTS)
    names = _attributes(table, tuple(attributes), order_by)
    ratings = [f"{name}_{side}" for name in names for side in (1, 2)]
    table = _usable(table, ratings, limit, rng, counts)
    if table.empty:
        raise ValueError(f"no pair of {source} can be used, mend what was dropped: {dict(counts)}")
    table[ratings] = table[ratings].astype(float)
    own, rest = set(table["split"]), table.loc[table["split"] == "train", "prompt_id"].unique()
    rest, prompts = rng.permutation(rest), len(rest)
    for name, share in {"test": test_share, "validation": validation_share}.items():
        if name not in own:
            cut, rest = np.split(rest, [round(share * prompts)])
            table.loc[table["prompt_id"].isin(cut), "split"] = name
    counts["pairs"], counts["prompts"] = len(table), table["prompt_id"].nunique()
    counts["no preference"] = int(table["preference"].isna().sum())
    counts["identical responses"] = int((table["response_1"] == table["response_2"]).sum())
    first = ["prompt_id", *TEXTS, *ratings, "preference", "split"]
    mixed = list(table.drop(columns=first).select_dtypes(object))  # Parquet has one type a column
    table[mixed] = table[mixed].astype("str")
    return Pairs(table[[*first, *table.columns.difference(first, sort=False)]], names, dict(counts))


def differences(frame: pd.DataFrame, attributes: Sequence[str]) -> Float[np.ndarray, "pairs n"]:
    """Subtract the ratings of response 1 from those of response 2.

    Example:
        >>> differences(pd.DataFrame({"coherence_1": [3.0], "coherence_2": [1.0]}), ["coherence"])
        array([[-2.]])
    """
    one, two = (frame[[f"{name}_{side}" for name in attributes]].to_numpy(float) for side in (1, 2))
    return two - one


def responses(frame: pd.DataFrame, attributes: Sequence[str]) -> pd.DataFrame:
    """List each response once: prompt_id (ascending), prompt, split, response, mean ratings.

    Of a prompt with several spellings (`Pairs`), `prompt` is the first.
    """
    shared, own = ["prompt_id", "prompt", "split"], ["response", *attributes]
    sides = [frame[[*shared, *(f"{name}_{side}" for name in own)]] for side in (1, 2)]
    both = pd.concat([side.set_axis([*shared, *own], axis=1) for side in sides])
    both["prompt"] = both.groupby("prompt_id")["prompt"].transform("first")
    return both.groupby([*shared, "response"])[list(attributes)].mean().reset_index()


def response_index(frame: pd.DataFrame, responses: pd.DataFrame) -> Int[np.ndarray, "pairs 2"]:
    """Find the rows of `responses` with each pair's two; ValueError if one is not among them."""
    known = pd.MultiIndex.from_frame(responses[["prompt_id", "response"]])
    sides = [frame[["prompt_id", f"response_{side}"]] for side in (1, 2)]
    rows = np.stack([known.get_indexer(pd.MultiIndex.from_frame(side)) for side in sides], axis=1)
    if (rows < 0).any():
        raise ValueError(f"{(rows < 0).sum()} responses of the pairs are not among `responses`")
    return rows


def attributes_of(frame: pd.DataFrame) -> tuple[str, ...]:
    """Read the attributes off a saved frame: between `response_2` and `preference`."""
    expect_columns(frame, [*TEXTS, "preference"])
    rated = frame.loc[:, "response_2":"preference"].columns[1:-1]
    return tuple(name.removesuffix("_1") for name in rated if name.endswith("_1"))


def _attributes(table: pd.DataFrame, asked: tuple[str, ...], order_by: str) -> tuple[str, ...]:
    numeric = set(table.select_dtypes("number", exclude="timedelta"))
    numeric -= {"response_1", f"{order_by}_1"}
    both = [name for name in table if {name, f"{name[:-1]}2"} <= numeric and name[-2:] == "_1"]
    found = tuple(name.removesuffix("_1") for name in both)
    asked_for = {f"{name}_{side}" for name in asked for side in (1, 2)}
    rated = asked_for or {name for name in table if name[-2:] in ("_1", "_2")} - {*TEXTS}
    for name in sorted((rated & set(table)) - numeric - {f"{order_by}_1", f"{order_by}_2"}):
        column = table[name].astype(str) if table[name].dtype == object else table[name]
        values = pd.to_numeric(column, errors="coerce")
        if values.notna().mean() > 0.5:
            bad = table.loc[values.isna() & table[name].notna(), name]
            told = f"such as {bad.iloc[0]!r}" if len(bad) else f"stored as {table[name].dtype}"
            advice = "mend it, or name the attributes to use"
            raise ValueError(f"column {name} is mostly numbers, but not all ({told}); {advice}")
    if taken := TAKEN.intersection(asked or found):
        raise ValueError(f"attributes cannot be named {sorted(taken)}, as other columns; rename")
    if not set(asked) <= set(found):
        raise ValueError(f"attributes {asked} asked for, found {found} with two numeric columns")
    half = {name for name in rated & numeric if f"{name[:-1]}{3 - int(name[-1])}" not in numeric}
    if half - {f"{order_by}_2"}:
        raise ValueError(f"columns {sorted(half)} have no partner of numbers; add or mend it")
    return asked or found


def _usable(
    table: pd.DataFrame, ratings: list[str], limit: int, rng: np.random.Generator, counts: Counter
) -> pd.DataFrame:
    def drop(reason: str, bad: Any) -> pd.DataFrame:
        counts[reason], keep = int(np.sum(bad)), ~np.asarray(bad, dtype=bool)
        return table[keep].reset_index(drop=True)

    given = pd.Series(table.get("preference", np.nan), table.index, dtype=object)
    given = given.map(lambda value: value if isinstance(value, Hashable) else str(value))
    preference = given.map({0: 0, 1: 1}.get)
    if len(wrong := given[given.notna() & preference.isna()]):
        raise ValueError(f"preference must be 0, 1 or missing, came {wrong.unique()[:3].tolist()}")
    split = pd.Series(table.get("split", "train"), table.index).astype(str)
    if wrong := set(split) - set(SPLITS):
        raise ValueError(f"split must be one of {SPLITS}, came {wrong}")
    table = table.assign(preference=preference.astype("Int8"), split=split)
    counts["pairs read"] = len(table)
    table = drop("duplicates", table.astype(str).duplicated())
    texts = table[TEXTS].itertuples(index=False)
    table = drop("unreadable", [not _readable(*each) for each in texts])
    # One prompt is what a model reads alike: newlines at the end of a turn are no difference.
    table["prompt_id"] = pd.factorize(table["prompt"].map(lambda text: str(messages(text))))[0]
    # Trees are fitted in float32, which ends at 3e38.
    table = drop("missing ratings", ~(table[ratings].astype(float).abs() < 1e30).all(axis=1))
    late = table["split"].map(SPLITS.index)
    last = late.groupby(table["prompt_id"]).transform("max")
    table = drop("prompt in a later split", late < last)
    prompt, distinct = pd.factorize(table["prompt_id"])
    order = rng.permutation(len(distinct))
    enough = np.searchsorted(np.bincount(prompt)[order].cumsum(), limit or len(table)) + 1
    table = drop("over limit", ~np.isin(prompt, order[:enough]))
    return table.assign(prompt_id=pd.factorize(table["prompt_id"])[0])


def _readable(prompt: object, *both: object) -> bool:
    try:
        return all(messages(prompt, "" if one is None else one) for one in both)
    except ValueError:
        return False

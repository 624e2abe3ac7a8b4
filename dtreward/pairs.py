"""Pairs from the demo world, HelpSteer2 or your own table, as one validated frame."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from huggingface_hub import snapshot_download
from jaxtyping import Float, Int

from dtreward import demo
from dtreward.conversation import messages

HELPSTEER2 = "nvidia/HelpSteer2"
HELPSTEER2_REVISION = "990b2711a36180dd19d9c94b8627844866f8982a"
HELPSTEER2_FILES = ["train.jsonl.gz", "validation.jsonl.gz", "preference/preference.jsonl.gz"]
TEXTS = ["prompt", "response_1", "response_2"]
SPLITS = ["train", "validation", "test"]
TAKEN = {"prompt", "prompt_id", "response", "split", "preference"}  # no names for attributes


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


def read_table(path: Path) -> pd.DataFrame:
    """Read a Parquet, CSV or JSONL (also .gz) file; a ValueError says what else `path` is."""
    kind = Path(path.name.removesuffix(".gz")).suffix
    if not path.is_file() or kind not in (".parquet", ".csv", ".jsonl"):
        legal = f'"demo", "{HELPSTEER2}", a folder of its layout, a .parquet, .csv or .jsonl file'
        came = f"of another kind ({path.suffix or 'no ending'})" if path.exists() else "absent"
        raise ValueError(f"expected {legal}; {path} is {came}")
    if not path.stat().st_size:
        raise ValueError(f"{path} is empty: expected rows with {', '.join(TEXTS)}")
    try:
        return _parsed(path, kind)
    except Exception as error:  # readers of damaged files raise any kind
        told = f"{type(error).__name__}: {error}; mend it, or save it once more"
        raise ValueError(f"{path}: expected a whole {kind} table in UTF-8; {told}") from error


def _parsed(path: Path, kind: str) -> pd.DataFrame:
    if kind == ".parquet":
        table = pd.read_parquet(path).reset_index(drop=True)
        table.select_dtypes("str").astype(object)  # here, not later, text that is no UTF-8 is found
        return table
    if kind == ".csv":  # texts are read as they stand: "NA" and "4" are responses
        options = {"dtype": str, "keep_default_na": False}
        header = pd.read_csv(path, header=None, nrows=1, **options).iloc[0]
        if header.duplicated().any():
            raise ValueError(f"expected each column once, came {list(header)}; rename or drop one")
        if len(header) == 1 and ";" in header[0]:
            raise ValueError("expected commas between its columns, came semicolons")
        texts = pd.read_csv(path, usecols=lambda name: name in {*TEXTS, "response"}, **options)
        table = pd.read_csv(path, low_memory=False)
        if not isinstance(table.index, pd.RangeIndex):  # else columns are shifted, silently
            raise ValueError("expected no more fields in a row than in the header; quote commas")
        return table.assign(**texts)
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8-sig") as file:
        return pd.DataFrame([_record(line, f"{path}:{n}") for n, line in enumerate(file, 1)])


def _record(line: str, where: str) -> dict:
    try:
        record = dict(json.loads(line))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{where}: expected a JSON object, came {line!r:.60}") from error
    if r"\ud" in line.lower():  # half a surrogate pair cannot be stored: its text counts as missing
        return {k: v for k, v in record.items() if not re.search("[\ud800-\udfff]", f"{k}{v}")}
    return record


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


def expect_columns(table: pd.DataFrame, columns: list[str]) -> None:
    """Raise a ValueError that names the columns expected, missing and found, if one is missing."""
    if missing := [name for name in columns if name not in table]:
        raise ValueError(f"expected columns {columns}, missing {missing}, found {list(table)}")


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

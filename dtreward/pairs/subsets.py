"""Pairs that come from several sets, each of which came about in its own way.

A source says so with two columns: `subset` (the set of a pair) and `selection` (how the pairs of
the set came about). Rates of such sets are not averaged: a share over pairs that were selected to
mislead and pairs that were not is a share of nothing in particular.
"""

from __future__ import annotations

import difflib

import pandas as pd

from dtreward.stats import Interval, accuracy_interval

SUBSET = "subset"
SELECTION = "selection"
ORDINARY = "not selected to mislead"  # the selection of pairs that nobody chose for their answer


def has_subsets(frame: pd.DataFrame) -> bool:
    """Say whether pairs come from several sets that came about in different ways."""
    return {SUBSET, SELECTION} <= set(frame) and frame[SUBSET].nunique() > 1


def name_subsets(frame: pd.DataFrame) -> pd.Series:
    """Name the set of each pair, with how it came about where that is not the ordinary way.

    Example:
        >>> columns = {"subset": ["Natural", "Manual"], "selection": [ORDINARY, "constructed"]}
        >>> name_subsets(pd.DataFrame(columns)).tolist()
        ['Natural', 'Manual (constructed)']
    """
    notes = " (" + frame[SELECTION].astype(str) + ")"
    notes = notes.where(frame[SELECTION] != ORDINARY, "")
    return (frame[SUBSET].astype(str) + notes).rename(SUBSET)


def choose_subset(frame: pd.DataFrame, wanted: str = "") -> str:
    """Choose the set whose pairs are studied where rates must not be averaged over sets.

    Args:
        frame: pairs.
        wanted: the name of the set; "" takes the largest one that is `ORDINARY`, or the largest of
            all where none is.

    Returns:
        Its name, "" where the pairs do not come from several sets and nothing is wanted.

    Raises:
        ValueError: if no pair is of the set that is wanted.

    Example:
        >>> columns = {"subset": ["x", "x", "y"], "selection": ["constructed"] * 2 + [ORDINARY]}
        >>> choose_subset(pd.DataFrame(columns)), choose_subset(pd.DataFrame({"pair_id": [0]}))
        ('y', '')
    """
    if wanted:
        names = sorted(set(frame[SUBSET])) if SUBSET in frame else []
        if wanted not in names:
            near = difflib.get_close_matches(wanted, names, n=1)
            nearest = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(
                f"no pair is of the subset {wanted!r}; there are: {', '.join(names) or 'none'}"
                f"{nearest}"
            )
        return wanted
    if not has_subsets(frame):
        return ""
    is_ordinary = frame[SELECTION] == ORDINARY
    names = frame.loc[is_ordinary, SUBSET] if is_ordinary.any() else frame[SUBSET]
    return str(names.value_counts().sort_index().idxmax())


def take_subset(frame: pd.DataFrame, subset: str) -> pd.DataFrame:
    """Take the pairs of one set, with their row numbers; all pairs where the name is "".

    Example:
        >>> frame = pd.DataFrame({"subset": ["x", "y"]})
        >>> take_subset(frame, "y").index.tolist(), take_subset(frame, "").index.tolist()
        ([1], [0, 1])
    """
    return frame[frame[SUBSET] == subset] if subset else frame


def label_subset(frame: pd.DataFrame, subset: str, world: str) -> str:
    """Label what is shown of one set: the label of the data, and the set's name.

    Args:
        world: the label of the data ("demo world"); returned as it is where the set is "".

    Example:
        >>> frame = pd.DataFrame({"subset": ["Manual"], "selection": ["constructed"]})
        >>> label_subset(frame, "Manual", "llm-judges"), label_subset(frame, "", "demo world")
        ('llm-judges, Manual (constructed)', 'demo world')
    """
    if not subset:
        return world
    pairs = take_subset(frame, subset)
    name = name_subsets(pairs).iloc[0] if SELECTION in pairs else subset
    return f"{world}, {name}"


def describe_subsets(frame: pd.DataFrame, **options: int) -> pd.DataFrame:
    """Describe the preferences of each set of pairs; never of all sets together.

    Args:
        frame: pairs with texts and preferences.
        options: `resamples` and `seed` of the intervals.

    Returns:
        A row a set (`name_subsets`): pairs, prompts, and the shares of pairs in which people prefer
        response 2 and the longer response; equally long ones say nothing. None where fewer than two
        prompts tell.
    """
    words = frame[["response_1", "response_2"]].apply(lambda texts: texts.str.split().str.len())
    longer = words["response_2"] - words["response_1"]
    preferred = frame["preference"].astype("Float64")
    prefers_longer = (preferred == (longer > 0)).astype("Float64").where(longer != 0)
    rows = {}
    for name, part in frame.groupby(name_subsets(frame)):
        rows[name] = {
            "pairs": len(part),
            "prompts": part["prompt_id"].nunique(),
            "prefer response 2": _share(preferred[part.index], part["prompt_id"], options),
            "prefer the longer": _share(prefers_longer[part.index], part["prompt_id"], options),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("set of pairs")


def _share(values: pd.Series, prompts: pd.Series, options: dict[str, int]) -> Interval | None:
    known = values.dropna()
    of_known = prompts[known.index]
    if of_known.nunique() < 2:
        return None
    return accuracy_interval(known.to_numpy(float), of_known, **options)

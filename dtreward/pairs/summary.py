"""Tables that describe the ratings and preferences of pairs."""

from __future__ import annotations

import numpy as np
import pandas as pd
from jaxtyping import Float, Real, Shaped

from dtreward.stats import Prompts, share_interval

MOST_RATINGS = 12  # an attribute with more different ratings has a fine scale, which is pooled
MOST_DIFFERENCES = 9  # the same for differences
LEAST_PAIRS = 10  # a share of fewer pairs is not shown
LEAST_PROMPTS = 3  # one for each split
VERDICTS = (  # names of columns, in small letters, that may hold preferences
    *("preference", "preferences", "preferred", "label", "labels", "winner", "choice", "verdict"),
    *("chosen", "better", "best", "vote"),
)


def what_is_lacking(frame: pd.DataFrame) -> str:
    """Say what a study needs and these pairs lack, and what to do; "" if they lack nothing.

    Args:
        frame: of `Pairs`.

    Example:
        >>> what_is_lacking(pd.DataFrame({"prompt_id": [0, 1, 2], "preference": 1, "split": "train"}))
        'all preferences are the same: give them in both orders, or name the form of the source'
    """
    prompts = frame["prompt_id"].nunique()
    if prompts < LEAST_PROMPTS:
        return f"expected 3 or more different prompts, to split by, came {prompts}: add pairs"
    decided = frame[frame["preference"].notna()]
    if decided.empty:
        others = frame.columns.drop("preference")
        verdicts = [name for name in others if name.lower() in VERDICTS]
        hint = f"; is {' or '.join(verdicts)} meant?" if verdicts else ""
        return (
            "no pair of the source has a preference: give a column preference (0: response 1 is "
            f"better, 1: response 2), or order_by for one response a row{hint}"
        )
    if decided["preference"].nunique() == 1:
        return (
            "all preferences are the same: give them in both orders, or name the form of the source"
        )
    if not {"train", "test"} <= set(decided["split"]):
        return (
            "no preference in train, or none in test: give more prompts, a larger limit or a larger "
            "test_share"
        )
    return ""


def rating_shares(ratings: pd.DataFrame) -> dict[str, pd.Series]:
    """Give the share of each rating by attribute, by ascending rating.

    An attribute with more than 12 different ratings is pooled into ten bins of equal width, named
    by their middles.

    Args:
        ratings: one response a row, one attribute a column.

    Example:
        >>> rating_shares(pd.DataFrame({"coherence": [4.0, 3.0, 4.0, 4.0]}))["coherence"].to_dict()
        {3.0: 0.25, 4.0: 0.75}
    """
    shares = {}
    for attribute, values in ratings.items():
        if values.nunique() > MOST_RATINGS:
            values = pd.cut(values, 10).map(lambda interval: interval.mid)
        rounded = values.astype(float).round(2)
        shares[str(attribute)] = rounded.value_counts(normalize=True).sort_index()
    return shares


def closest_attributes(correlation: pd.DataFrame) -> tuple[str, str] | None:
    """Name the two attributes with the largest absolute correlation; None if there are no two.

    A constant attribute correlates with nothing (nan) and is left out.

    Example:
        >>> table = pd.DataFrame({"length": [1, 0.2], "depth": [0.2, 1]}, ["length", "depth"])
        >>> closest_attributes(table)
        ('length', 'depth')
    """
    above_diagonal = np.triu(np.ones(correlation.shape, bool), 1)
    values = correlation.where(above_diagonal).stack().dropna()
    return values.abs().idxmax() if len(values) else None


def pool_differences(difference: Real[np.ndarray, " pairs"]) -> Real[np.ndarray, " pairs"]:
    """Name the group of each pair: its difference, or its eighth of the pairs.

    Eighths are taken where there are more than 9 different differences, rounded to two digits.
    Their names are whole numbers from 0 on, by ascending difference.

    Args:
        difference: rating of response 2 minus rating of response 1, of one attribute.

    Example:
        >>> pool_differences(np.array([1.0, -2.0, 1.0])).tolist()
        [1.0, -2.0, 1.0]
        >>> pool_differences(np.arange(10.0)).tolist()
        [0, 0, 1, 2, 3, 4, 5, 6, 7, 7]
    """
    values = difference.round(2)
    if len(np.unique(values)) > MOST_DIFFERENCES:
        return pd.qcut(values, 8, duplicates="drop").codes
    return values


def preference_by_difference(
    difference: Float[np.ndarray, " pairs"],
    preference: Shaped[np.ndarray, " pairs"],
    prompts: Prompts,
) -> pd.DataFrame:
    """Give the share of pairs that prefer response 2, by the difference of one attribute.

    More than 9 different differences are pooled into eighths. Pairs without a difference (nan)
    and groups of fewer than 10 pairs are left out.

    Args:
        difference: rating of response 2 minus rating of response 1; nan where one is missing.
        preference: 0 (response 1) or 1 (response 2).

    Returns:
        One group a row: `difference` (its mean), `share`, `low` and `high` (95 % Wilson interval,
        each prompt counted as one trial), and `pairs`.

    Example:
        >>> preference = np.repeat([0, 1], 10)
        >>> preference_by_difference(preference * 2.0 - 1, preference, range(20)).round(2)
           difference  share   low  high  pairs
        0        -1.0    0.0  0.00  0.28     10
        1         1.0    1.0  0.72  1.00     10
    """
    is_rated = ~np.isnan(difference)
    values = difference[is_rated].round(2)
    group = pool_differences(values)
    preference = preference[is_rated]
    prompt_of_pair = pd.Series(prompts).to_numpy()[is_rated]
    rows = []
    for code in np.unique(group):
        inside = np.flatnonzero(group == code)
        if len(inside) < LEAST_PAIRS:
            continue
        share = share_interval(preference[inside], prompt_of_pair[inside])
        rows.append((values[inside].mean(), share.estimate, share.low, share.high, len(inside)))
    return pd.DataFrame(rows, columns=["difference", "share", "low", "high", "pairs"])

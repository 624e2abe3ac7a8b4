"""How judges differ: consistency under swapping, and agreement with people and each other."""

from collections.abc import Hashable, Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from dtreward.judges.verdict import OUTCOMES, asked_once
from dtreward.stats import Interval, Prompts, lies_above, resampled_sums, share_interval


def consistency(judges: pd.DataFrame) -> pd.DataFrame:
    """Count each judge's outcomes, and say how consistent it is and to which position it leans.

    Takes rows of `judges.parquet`. `consistency`: share decided (the same response in both orders)
    of the pairs answered in both. `first`: of the inconsistent ones whose answers are known, the
    share in which it took the response shown first, twice. Both with `share_interval`'s bounds in
    `_low` and `_high`, nan where fewer than two prompts tell; `_prompts` counts these. Judges that
    saw each pair in one order tell nothing.

    >>> rows = [("J", "F", 0, "A", "decided"), ("J", "F", 1, "A", "inconsistent")]
    >>> names = ["judge", "family", "prompt_id", "given", "outcome"]
    >>> consistency(pd.DataFrame(rows, columns=names))["consistency"].to_dict()
    {'J': 0.5}
    """
    unknown = set(judges["outcome"]) - set(OUTCOMES)
    if unknown:
        raise ValueError(f"outcome must be one of {', '.join(OUTCOMES)}; found {unknown}")
    rows = {}
    saw_both = not asked_once(judges)
    for judge, answers in judges.groupby("judge"):
        row = {"family": answers["family"].iloc[0], "pairs": len(answers)}
        for outcome in OUTCOMES:
            row[outcome] = int((answers["outcome"] == outcome).sum())
        both = answers[answers["outcome"].isin(["decided", "inconsistent"]) & saw_both]
        is_torn = (both["outcome"] == "inconsistent") & both["given"].notna()
        torn = both[is_torn]
        row |= _share_columns("consistency", both["outcome"] == "decided", both["prompt_id"])
        row |= _share_columns("first", torn["given"] == "A", torn["prompt_id"])
        rows[judge] = row
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("judge")


def agreement(
    votes: pd.DataFrame, prompts: Prompts, *, level: float = 0.95, **options: int
) -> pd.DataFrame:
    """Compare each two columns on the pairs that both decided: share alike, and Cohen's kappa.

    `pairs` and `prompts` count what both decided.
    Intervals (`_low`, `_high`) are percentile bootstrap by prompt, with `stats.bootstrap`'s options,
    the same resamples for all rows; nan where both decided no pair, or for kappa where both always
    say the same.
    Source: Cohen (1960), https://doi.org/10.1177/001316446002000104.

    Args:
        votes: preferences, 0 or 1 or nan (undecided), one row a pair, one column a judge.
        prompts: of each row.

    >>> votes = pd.DataFrame({"x": [0, 0, 1, 1], "y": [0, 1, 1, np.nan]})
    >>> agreement(votes, [1, 2, 3, 4])[["judge", "other", "pairs", "agreement", "kappa"]].round(2)
      judge other  pairs  agreement  kappa
    0     x     y      3       0.67    0.4
    """
    values = votes.to_numpy(float)
    if not (np.isin(values, [0, 1]) | np.isnan(values)).all():
        raise ValueError("votes must be 0 (response 1), 1 (response 2) or nan; map them first")
    couples = list(combinations(range(votes.shape[1]), 2))
    one = values[:, [first for first, _ in couples]]
    other = values[:, [second for _, second in couples]]
    both_decided = ~np.isnan(one + other)
    counted = np.hstack(
        [
            both_decided,
            both_decided & (one == other),
            both_decided & (one == 1),
            both_decided & (other == 1),
        ]
    ).astype(float)
    draws = resampled_sums(counted, prompts, **{"resamples": 2000} | options)
    observed_first = np.vstack([counted.sum(axis=0), draws])
    pairs, same, one_takes_2, other_takes_2 = np.split(observed_first, 4, axis=1)
    share, kappa = _share_and_kappa(pairs, same, one_takes_2, other_takes_2)
    table = pd.DataFrame(combinations(votes, 2), columns=["judge", "other"])
    table["pairs"] = both_decided.sum(axis=0)
    prompt = pd.Series(prompts).to_numpy()
    table["prompts"] = [len(np.unique(prompt[both])) for both in both_decided.T]
    for name, values in (("agreement", share), ("kappa", kappa)):
        quantiles = [(1 - level) / 2, (1 + level) / 2]
        bounds = pd.DataFrame(values[1:]).quantile(quantiles)  # leaves nan out
        columns = [name, f"{name}_low", f"{name}_high"]
        table[columns] = np.vstack([values[0], bounds]).T
    return table


def _share_and_kappa(
    pairs: np.ndarray, same: np.ndarray, one_takes_2: np.ndarray, other_takes_2: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    with np.errstate(invalid="ignore"):  # 0 / 0 is nan: there is nothing to tell
        share = same / pairs
        p = one_takes_2 / pairs
        q = other_takes_2 / pairs
        by_chance = p * q + (1 - p) * (1 - q)
        return share, (share - by_chance) / (1 - by_chance)


def lie_above(
    table: pd.DataFrame, name: str, limit: float, prompts: pd.Series
) -> dict[Hashable, bool | None]:
    """Say of each row whether a number lies above a limit: True, False, or None (cannot tell).

    Args:
        table: the number in the column of that name, its interval in `<name>_low` and `<name>_high`.
        prompts: how many prompts each row rests on; fewer than 20 can tell nothing.

    Returns:
        The outcomes of `stats.lies_above` by the names in the index.

    Example:
        >>> table = pd.DataFrame({"x": 0.5, "x_low": [0.1, 0.4], "x_high": [0.6, 0.9]})
        >>> lie_above(table, "x", 0.3, pd.Series([50, 50]))
        {0: None, 1: True}
    """
    outcomes = {}
    columns = (table[name], table[f"{name}_low"], table[f"{name}_high"], prompts)
    for row, *bounds, count in zip(table.index, *columns, strict=True):
        is_known = not np.isnan(bounds).any()
        outcomes[row] = lies_above(Interval(*bounds), limit, count) if is_known else None
    return outcomes


def as_square(table: pd.DataFrame, column: str, judges: Sequence[str]) -> pd.DataFrame:
    """Arrange a column of `agreement`'s table as a square, rows and columns in the order of judges.

    The diagonal is nan: nobody is compared with itself.

    >>> votes = pd.DataFrame({"x": [0, 0, 1], "y": [0, 1, 1]})
    >>> as_square(agreement(votes, [1, 2, 3]), "agreement", ["y", "x"]).round(2).to_numpy().tolist()
    [[nan, 0.67], [0.67, nan]]
    """
    mirrored = table.rename(columns={"judge": "other", "other": "judge"})
    both = pd.concat([table, mirrored])
    square = both.pivot(index="judge", columns="other", values=column)
    return square.reindex(index=judges, columns=judges)


def nearest_to_people(table: pd.DataFrame) -> pd.DataFrame:
    """Take the rows of people and each judge from `agreement`'s table, the nearest judge first.

    People are the column "Human", the first one of the votes.

    >>> votes = pd.DataFrame({"Human": [0, 0, 1], "x": [1, 1, 0], "y": [0, 1, 1]})
    >>> nearest_to_people(agreement(votes, [1, 2, 3]))["other"].to_list()
    ['y', 'x']
    """
    people = table[table["judge"] == "Human"]
    return people.sort_values("agreement", ascending=False, kind="stable")


def reasons_to_drop(
    judges: pd.DataFrame, *, min_consistency: float, least_pairs: int, least_each: int
) -> pd.Series:
    """Say of each judge why it should not be studied; "" where nothing speaks against it.

    Args:
        judges: rows of `judges.parquet`.
        min_consistency: lowest `consistency`; a judge whose consistency is not known is below it,
            unless judges saw each pair in one order only.
        least_pairs: fewest pairs that the judge must have decided.
        least_each: fewest of these pairs with each of the two preferences.

    >>> rows = [("J", "F", 0, "A", "decided", 0), ("J", "F", 1, "A", "inconsistent", None)]
    >>> names = ["judge", "family", "prompt_id", "given", "outcome", "preference"]
    >>> limits = {"min_consistency": 0.6, "least_pairs": 1, "least_each": 0}
    >>> reasons_to_drop(pd.DataFrame(rows, columns=names), **limits).to_dict()
    {'J': 'consistency < 0.6'}
    """
    table = consistency(judges)
    decided = judges[judges["outcome"] == "decided"]
    sides = pd.crosstab(decided["judge"], decided["preference"].astype(int))
    sides = sides.reindex(index=table.index, columns=[0, 1], fill_value=0)
    has_few = (sides.min(axis=1) < least_each) | (table["decided"] < least_pairs)
    reasons = pd.Series("", index=table.index)
    reasons[has_few] = "too few pairs for a tree"
    is_consistent = (table["consistency"] >= min_consistency) | asked_once(judges)
    reasons[~is_consistent] = f"consistency < {min_consistency:g}"
    return reasons


def _share_columns(name: str, values: pd.Series, prompts: pd.Series) -> dict[str, float]:
    """Give a share and its interval as columns; nan where fewer than two prompts tell."""
    columns = [name, f"{name}_low", f"{name}_high"]
    count = {f"{name}_prompts": prompts.nunique()}
    if prompts.nunique() < 2:
        return dict.fromkeys(columns, np.nan) | count
    interval = share_interval(values.to_numpy(float), prompts)
    bounds = [interval.estimate, interval.low, interval.high]
    return dict(zip(columns, bounds, strict=True)) | count

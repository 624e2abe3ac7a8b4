"""How judges differ: consistency under swapping, agreement, and how steady their trees are."""

from itertools import combinations

import numpy as np
import pandas as pd

from dtreward.judges.verdict import OUTCOMES
from dtreward.stats import Prompts, Rows, resampled_rows, resampled_sums, share_interval
from dtreward.tree.tree import Differences, PreferenceTree


def consistency(judges: pd.DataFrame) -> pd.DataFrame:
    """Count each judge's outcomes, and say how consistent it is and to which position it leans.

    Takes rows of `judges.parquet`. `consistency`: share decided (the same response in both orders)
    of the pairs answered in both. `first`: of the inconsistent ones whose answers are known, the
    share in which it took the response shown first, twice. Both with `share_interval`'s bounds in
    `_low` and `_high`; nan where fewer than two prompts tell.

    >>> rows = [("J", "F", 0, "A", "decided"), ("J", "F", 1, "A", "inconsistent")]
    >>> names = ["judge", "family", "prompt_id", "given", "outcome"]
    >>> consistency(pd.DataFrame(rows, columns=names))["consistency"].to_dict()
    {'J': 0.5}
    """
    unknown = set(judges["outcome"]) - set(OUTCOMES)
    if unknown:
        raise ValueError(f"outcome must be one of {', '.join(OUTCOMES)}; found {unknown}")
    rows = {}
    for judge, answers in judges.groupby("judge"):
        row = {"family": answers["family"].iloc[0], "pairs": len(answers)}
        for outcome in OUTCOMES:
            row[outcome] = int((answers["outcome"] == outcome).sum())
        both = answers[answers["outcome"].isin(["decided", "inconsistent"])]
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


def bootstrap_trees(
    differences: Differences,
    preference: Rows,
    prompts: Prompts,
    *,
    resamples: int = 100,
    seed: int = 0,
    **options,  # of `PreferenceTree.fit`
) -> list[PreferenceTree]:
    """Fit a tree to each resample of prompts, with the two responses in random order.

    A random half of the drawn pairs is swapped: differences change sign, preferences flip. So what
    the trees say does not hang on which response stood first.

    >>> d, preference = np.array([[-1.0, 0.0], [1.0, 0.0]] * 9), np.array([0, 1] * 9)
    >>> [tree] = bootstrap_trees(d, preference, range(18), resamples=1, attributes=["h", "v"])
    >>> tree.importances.tolist()
    [1.0, 0.0]
    """
    preference = np.asarray(preference, int)
    generator = np.random.default_rng(seed)
    trees = []
    for rows in resampled_rows(prompts, resamples, seed=seed):
        is_swapped = generator.permutation(len(rows)) % 2
        sign = 1 - 2 * is_swapped
        drawn = differences[rows] * sign[:, None]
        trees.append(PreferenceTree.fit(drawn, preference[rows] ^ is_swapped, **options))
    return trees


def _share_columns(name: str, values: pd.Series, prompts: pd.Series) -> dict[str, float]:
    """Give a share and its interval as columns; nan where fewer than two prompts tell."""
    columns = [name, f"{name}_low", f"{name}_high"]
    if prompts.nunique() < 2:
        return dict.fromkeys(columns, np.nan)
    interval = share_interval(values.to_numpy(float), prompts)
    return dict(zip(columns, [interval.estimate, interval.low, interval.high], strict=True))

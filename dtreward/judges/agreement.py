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
    if unknown := set(judges["outcome"]) - set(OUTCOMES):
        raise ValueError(f"outcome must be one of {', '.join(OUTCOMES)}; found {unknown}")
    rows = {}
    for judge, own in judges.groupby("judge"):
        answered = own[own["outcome"].isin(OUTCOMES[:2])]
        torn = answered[(answered["outcome"] == "inconsistent") & answered["given"].notna()]
        row = {"family": own["family"].iloc[0], "pairs": len(own)}
        row |= {outcome: int((own["outcome"] == outcome).sum()) for outcome in OUTCOMES}
        row |= _share("consistency", answered["outcome"] == "decided", answered["prompt_id"])
        rows[judge] = row | _share("first", torn["given"] == "A", torn["prompt_id"])
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
    values, two = votes.to_numpy(float), list(combinations(range(votes.shape[1]), 2))
    if not (np.isin(values, [0, 1]) | np.isnan(values)).all():
        raise ValueError("votes must be 0 (response 1), 1 (response 2) or nan; map them first")
    one, other = (values[:, [pair[side] for pair in two]] for side in (0, 1))
    both = ~np.isnan(one + other)
    counted = [both, both & (one == other), both & (one == 1), both & (other == 1)]
    counted = np.hstack(counted).astype(float)
    draws = resampled_sums(counted, prompts, **{"resamples": 2000} | options)
    pairs, *sums = np.split(np.vstack([counted.sum(axis=0), draws]), 4, axis=1)
    with np.errstate(invalid="ignore"):  # 0 / 0 is nan: nobody can tell
        same, p, q = (total / pairs for total in sums)
        chance = p * q + (1 - p) * (1 - q)
        kappa = (same - chance) / (1 - chance)
    table = pd.DataFrame(combinations(votes, 2), columns=["judge", "other"])
    table["pairs"] = both.sum(axis=0)
    for name, draws in {"agreement": same, "kappa": kappa}.items():
        bounds = pd.DataFrame(draws[1:]).quantile([(1 - level) / 2, (1 + level) / 2])  # skips nan
        table[[name, f"{name}_low", f"{name}_high"]] = np.vstack([draws[0], bounds]).T
    return table


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
    preference, generator, trees = np.asarray(preference, int), np.random.default_rng(seed), []
    for rows in resampled_rows(prompts, resamples, seed=seed):
        swap = generator.permutation(len(rows)) % 2
        drawn = differences[rows] * (1 - 2 * swap)[:, None]
        trees.append(PreferenceTree.fit(drawn, preference[rows] ^ swap, **options))
    return trees


def _share(name, values, prompts):
    keys = name, f"{name}_low", f"{name}_high"
    known = share_interval(values.to_numpy(float), prompts) if prompts.nunique() > 1 else None
    return dict(zip(keys, vars(known).values() if known else [np.nan] * 3, strict=True))

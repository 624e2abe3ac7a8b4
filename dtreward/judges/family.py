"""What changes between judges of one family, for example one LLM under two prompts."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
from jaxtyping import Float

from dtreward.stats import FEWEST_PROMPTS, alike_interval, holm, resampled_sums

MEASURES = ("right", "consistent")  # columns of `biases.list_answers`
RESAMPLES_A_TEST = 100  # so that p can still be 0.02 after correction for all tests


def compare_in_families(
    answers: pd.DataFrame, *, resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Compare each two judges of one family on the pairs that both answered in both orders.

    Args:
        answers: as `biases.list_answers` gives them.
        resamples: of prompts; as many more as it takes to find a difference among all tests.

    Returns:
        A row for each measure and two judges: measure ("right" by what people prefer, or
        "consistent"), family, judge, other, pairs, prompts, difference (other minus judge) with
        `_low` and `_high` (95 %, by prompt), and p of "the difference is 0", corrected for the
        tests of the measure (Holm); nan with fewer than 20 prompts. Empty where no family has two
        judges.

    Example:
        >>> row = {"family": "F", "consistent": 1.0}
        >>> rows = [{"judge": "F/a", "pair": n, "prompt_id": n, "right": 1.0} for n in range(30)]
        >>> rows += [one | {"judge": "F/b", "right": 0.5} for one in rows]
        >>> table = compare_in_families(pd.DataFrame(rows).assign(**row))
        >>> table[["measure", "other", "difference"]].values.tolist()
        [['right', 'F/b', -0.5], ['consistent', 'F/b', 0.0]]
    """
    families = answers.groupby("family", sort=False)["judge"].unique()
    couples = []
    for family, judges in families.items():
        couples.extend((family, *couple) for couple in combinations(sorted(judges), 2))
    names = ["measure", "family", "judge", "other", "pairs", "prompts", "difference"]
    names += ["difference_low", "difference_high", "p"]
    if not couples:
        return pd.DataFrame(columns=names)
    prompts = answers.drop_duplicates("pair").set_index("pair")["prompt_id"]
    draws = max(resamples, RESAMPLES_A_TEST * len(couples))
    tables = []
    for measure in MEASURES:
        wide = answers.pivot(index="pair", columns="judge", values=measure)
        gains = pd.DataFrame({two: wide[two[2]] - wide[two[1]] for two in couples})
        table = _test_means(gains, prompts.reindex(gains.index).to_numpy(), draws, seed)
        table[["family", "judge", "other"]] = couples
        tables.append(table.assign(measure=measure)[names])
    return pd.concat(tables, ignore_index=True)


def _test_means(
    gains: pd.DataFrame, prompts: np.ndarray, resamples: int, seed: int
) -> pd.DataFrame:
    """Give the mean of each column over the pairs that have a value, its interval and p of 0."""
    known = gains.notna()
    sums = resampled_sums(
        np.hstack([gains.fillna(0), known]).astype(float), prompts, resamples, seed=seed
    )
    total, count = np.split(sums, 2, axis=1)
    means = total / np.where(count > 0, count, np.nan)
    table = pd.DataFrame({"pairs": known.sum().to_numpy()})
    table["prompts"] = [len(np.unique(prompts[column])) for column in known.to_numpy().T]
    table["difference"] = gains.mean().to_numpy()
    low, high = np.nanquantile(means, [0.025, 0.975], axis=0)
    width = np.array([_least_width(gains[name].dropna(), prompts[known[name]]) for name in gains])
    table["difference_low"] = np.minimum(low, table["difference"] - width)
    table["difference_high"] = np.maximum(high, table["difference"] + width)
    table["p"] = two_sided(means)
    table.loc[table["prompts"] < FEWEST_PROMPTS, "p"] = np.nan
    is_tested = table["p"].notna()
    if is_tested.any():
        table.loc[is_tested, "p"] = holm(table.loc[is_tested, "p"])
    return table


def _least_width(gains: pd.Series, prompts: np.ndarray) -> float:
    """Give what pairs might have shown that are all alike; 0 where they are not."""
    if gains.nunique() != 1:
        return 0.0
    largest = pd.Series(prompts).value_counts(normalize=True).max()
    return alike_interval(0.0, float(largest)).high


def two_sided(
    means: Float[np.ndarray, "resamples tests"],
) -> Float[np.ndarray, " tests"]:
    """Give p of "the mean is 0": twice the smaller share of resamples on one side of 0.

    The data count as one of the resamples, so that p is never 0. Resamples without a mean (nan)
    count for both sides.

    >>> two_sided(np.array([[1.0, -1.0], [2.0, 1.0], [3.0, np.nan]])).tolist()
    [0.5, 1.0]
    """
    below = (~(means > 0)).sum(axis=0)
    above = (~(means < 0)).sum(axis=0)
    return np.minimum(1.0, 2 * (1 + np.minimum(below, above)) / (1 + len(means)))

"""Scores that are weighted sums of means, and their intervals: what all benches share."""

from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pandas as pd
from jaxtyping import Float

from dtreward.stats import Interval, alike_interval, bootstrap

OTHER = "Other"  # the section of subsets that a bench does not know


@dataclass(frozen=True)
class Parts:
    """What the scores of a bench are made of: each is a weighted sum of means.

    Args:
        values: a row an item, a column a part; nan where an item does not count in a part.
        weights: (parts, scores); points that a mean of 1 gives. A column with nan has no score.
    """

    values: pd.DataFrame = field(repr=False)
    weights: pd.DataFrame

    def scores(self) -> pd.Series:
        """Give each score in percent; nan where there is none.

        >>> values = pd.DataFrame({"easy": [1.0, None], "hard": [None, 0.0]})
        >>> weights = pd.DataFrame({"all": [50.0, 50.0]}, index=["easy", "hard"])
        >>> Parts(values, weights).scores().to_dict()
        {'all': 50.0}
        """
        means = self._moments().mean(axis=0)
        return pd.Series(
            {
                name: float(_weighted_sum(means, weights=weights.to_numpy(float)))
                for name, weights in self.weights.items()
            }
        )

    def intervals(
        self, problems: pd.Series, *, level: float = 0.95, **options: int
    ) -> dict[str, Interval]:
        """Give the scores that there are, each with its interval, in percent.

        Whole problems are drawn, so that related items stay together, also across parts. A resample
        without any item of a part that counts is left out. Where all items of a score have the same
        value (all are right, say), a bootstrap would give an interval without width; the interval
        is then `stats.alike_interval`, which is that of Clopper and Pearson with a problem as a
        trial, and wider where some problems weigh more than others. A single problem says nothing
        about others: its interval holds all scores that there can be.

        Args:
            problems: of each item.
            level: of the intervals.
            options: `resamples` and `seed` of `stats.bootstrap`.
        """
        moments = self._moments()
        intervals = {}
        for column, weights in self.weights.dropna(axis=1).items():
            name = str(column)
            used = self.values.loc[:, weights != 0]
            different = np.unique(used.to_numpy(float)[used.notna().to_numpy()])
            if len(different) > 1 and problems.nunique() == 1:
                low = weights.clip(upper=0).sum()
                high = weights.clip(lower=0).sum()
                intervals[name] = Interval(float(self.scores()[name]), float(low), float(high))
            elif len(different) > 1:
                score = partial(_weighted_sum, weights=weights.to_numpy(float))
                intervals[name] = bootstrap(moments, problems, score, level=level, **options)
            elif len(different) == 1:
                largest = self._largest_share(weights, problems)
                alike = alike_interval(float(different[0]), largest, level=level)
                ends = (weights.sum() * end for end in alike.as_dict().values())
                intervals[name] = Interval(*map(float, ends))
        return intervals

    def _moments(self) -> Float[np.ndarray, "items twice_parts"]:
        """Give the values with 0 for nan, and beside them where there are values."""
        values = self.values.to_numpy(float)
        return np.hstack([np.nan_to_num(values), ~np.isnan(values)])

    def _largest_share(self, weights: pd.Series, problems: pd.Series) -> float:
        """Give the largest share that one problem has in a score."""
        is_there = self.values.notna()
        positive = weights.clip(lower=0)
        share = is_there @ (positive / is_there.sum().clip(lower=1)) / positive.sum()
        return float(share.groupby(problems).sum().max())


@np.errstate(invalid="ignore", divide="ignore")
def _weighted_sum(
    means: Float[np.ndarray, "... twice_parts"], weights: Float[np.ndarray, " parts"]
) -> Float[np.ndarray, "..."]:
    """Give a score from the means over items of values, and of where there are values."""
    value, counted = np.split(means, 2, axis=-1)
    return np.asarray(np.where(weights, value / counted, 0) @ weights)


def expect_judged(results: pd.DataFrame) -> None:
    """Refuse results with items that nobody judged.

    Raises:
        ValueError: if there is no row, or one whose `correct` is not from 0 to 1.
    """
    if results.empty or not results["correct"].between(0, 1).all():
        raise ValueError(
            "expected correct from 0 to 1 in each row; drop pairs that nobody judged, as "
            "results[results['unread'] == ''] does"
        )


def one_part_each(values: pd.Series, parts: pd.Series) -> pd.DataFrame:
    """Put each item's value in the column of its part.

    >>> one_part_each(pd.Series([1.0, 0.0]), pd.Series(["a", "b"])).to_dict("list")
    {'a': [1.0, nan], 'b': [nan, 0.0]}
    """
    columns = {name: values.where(parts == name) for name in sorted(parts.unique())}
    return pd.DataFrame(columns, index=values.index).astype(float)

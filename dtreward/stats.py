"""Intervals and tests in which the pairs of one prompt stay together.

Pairs of one prompt are not independent, so whole prompts are resampled. `options` of a function are
those of `bootstrap`: resamples, level and seed.
"""

from collections.abc import Callable, Collection, Hashable, Iterator, Mapping
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, Shaped

Rows = Shaped[np.ndarray, "rows"] | pd.Series
Prompts = Collection[Hashable]  # the prompt of each row; none missing, at least two different
MANY = 2**15  # from so many on, equal prompts are drawn together: as exact, and much faster
MOST_DIFFERENT = 1 / 8  # but only if at most this share of the prompts differs from the others
FEWEST_PROMPTS = 20  # fewer can tell nothing about accuracies
SMALLEST_VARIANCE = 1e-12  # of values standardised to variance 1; less is rounding

SHUFFLES_AT_ONCE = 100  # as fast as more of them, and little memory
SMALLEST_DIFFERENCE = 1e-12  # of two values of one pair; less is rounding


@dataclass(frozen=True)
class Interval:
    """An estimate with its interval.

    >>> print(Interval(0.912, 0.901, 0.923))
    0.912 [0.901, 0.923]
    """

    estimate: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float]:
        """Give estimate, low and high by name."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.estimate:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class PairedTest:
    """Accuracy of a minus accuracy of b on the same pairs, with a two-sided p-value."""

    difference: Interval
    p_value: float
    method: str


@dataclass(frozen=True)
class DifferenceTest:
    """A mean difference (a minus b), with p-values of two opposite questions.

    Attributes:
        p_different: two-sided, of "the difference is 0".
        p_equal: of "the difference is as large as the margin, or larger".
    """

    difference: Interval
    p_different: float
    p_equal: float


def bootstrap(
    values: Float[np.ndarray, "rows moments"],
    prompts: Prompts,
    statistic: Callable[[np.ndarray], np.ndarray],
    *,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Give the percentile bootstrap interval of a statistic of means, drawing whole prompts.

    Copies of a row do not narrow the interval. Resamples in which the statistic is nan are left
    out.

    Args:
        statistic: maps the means of the columns, shape (..., moments), to shape (...).
        level: share of the resamples that lie inside the interval.

    Source: Efron and Tibshirani (1993), An Introduction to the Bootstrap, chapter 13.

    >>> print(bootstrap(np.array([[0.0], [1.0]]), ["a", "b"], lambda means: means[..., 0]))
    0.500 [0.000, 1.000]
    """
    draws = statistic(_resampled_means(values, prompts, resamples, seed))
    low, high = np.nanquantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(statistic(values.mean(axis=0))), float(low), float(high))


def mean_interval(values: Rows, prompts: Prompts, **options) -> Interval:
    """Average over rows, with an interval; of 0 and 1 the average is an accuracy.

    >>> print(mean_interval(np.array([0.0, 1.0]), ["a", "b"]))
    0.500 [0.000, 1.000]
    """
    column = _checked(values, "values")[:, None]
    return bootstrap(column, prompts, lambda means: means[..., 0], **options)


def alike_interval(value: float, share: float, *, level: float = 0.95) -> Interval:
    """Give the mean of rows that all have one value an interval that has a width.

    A bootstrap of equal rows has no width, although other prompts might have given other values.
    With n prompts of equal weight, all right, this is the exact interval of Clopper and Pearson
    (1934, Biometrika 26, 404-413) for n successes in n trials. With unequal weights it is wide
    rather than narrow: if q is the chance of each prompt to be right, all are right with chance
    prod(q), which is at most mean(q) ** (1 / share) by Jensen's inequality.

    Args:
        value: the value of all rows, from 0 to 1.
        share: the largest share that one prompt has in the mean.

    >>> print(alike_interval(1.0, 1 / 10))
    1.000 [0.692, 1.000]
    """
    most_otherwise = 1 - ((1 - level) / 2) ** share  # share of the mean that may be otherwise
    low = value * (1 - most_otherwise)
    return Interval(value, low, value + most_otherwise * (1 - value))


def accuracy_interval(right: Rows, prompts: Prompts, **options) -> Interval:
    """Average rows from 0 to 1, with an interval that has a width also where all are right.

    This is `mean_interval`, but `alike_interval` where all rows are 0 or all are 1. If all rows are
    0.5 (a constant answer in both orders), they could not be otherwise: the interval has no width.

    >>> print(accuracy_interval(np.ones(10), np.arange(10)))
    1.000 [0.692, 1.000]
    >>> print(accuracy_interval(np.full(10, 0.5), np.arange(10)))
    0.500 [0.500, 0.500]
    """
    values = _checked(right, "right")
    all_right_or_wrong = np.ptp(values) == 0 and values[0] in (0, 1)
    if not all_right_or_wrong:
        return mean_interval(values, prompts, **options)
    codes, _ = _prompt_codes(prompts, len(values))
    largest_share = np.bincount(codes).max() / len(values)
    level = options.get("level", 0.95)
    return alike_interval(float(values[0]), float(largest_share), level=level)


def mean_intervals(
    values: Float[np.ndarray, "rows columns"],
    prompts: Prompts,
    *,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> list[Interval]:
    """Give the `mean_interval` of each column, all over the same resamples.

    >>> print(*mean_intervals(np.array([[0.0, 2.0], [1.0, 2.0]]), ["a", "b"]))
    0.500 [0.000, 1.000] 2.000 [2.000, 2.000]
    """
    draws = _resampled_means(values, prompts, resamples, seed)
    bounds = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0)
    columns = np.vstack([values.mean(axis=0), bounds]).T.tolist()
    return [Interval(*column) for column in columns]


def resampled_rows(
    prompts: Prompts, resamples: int, *, seed: int = 0
) -> Iterator[Int[np.ndarray, " drawn"]]:
    """Draw whole prompts with replacement, and yield the row numbers of each resample.

    >>> [rows.tolist() for rows in resampled_rows(["a", "b", "a"], 2)]
    [[1, 1], [1, 0, 2]]
    """
    codes, count = _prompt_codes(prompts, len(prompts))
    rows_by_prompt = np.argsort(codes, kind="stable")
    sizes = np.bincount(codes)
    starts = np.cumsum(sizes) - sizes  # of each prompt in rows_by_prompt
    generator = np.random.default_rng(seed)
    for _ in range(resamples):
        drawn = generator.integers(count, size=count)
        drawn_ends = np.cumsum(sizes[drawn])
        drawn_starts = drawn_ends - sizes[drawn]
        shift = np.repeat(starts[drawn] - drawn_starts, sizes[drawn])
        yield rows_by_prompt[shift + np.arange(drawn_ends[-1])]


def resampled_sums(
    values: Float[np.ndarray, "rows columns"], prompts: Prompts, resamples: int, *, seed: int = 0
) -> Float[np.ndarray, "resamples columns"]:
    """Sum the rows of each resample, column by column.

    The resamples are those of `resampled_rows`. From 32,768 prompts on, of which few differ, they
    are other draws from the same distribution.

    >>> resampled_sums(np.array([[1.0], [10.0], [100.0]]), ["a", "b", "a"], 2).tolist()
    [[20.0], [111.0]]
    """
    codes, count = _prompt_codes(prompts, len(values))
    sums = np.stack([np.bincount(codes, column, minlength=count) for column in values.T], axis=1)
    generator = np.random.default_rng(seed)
    if count > MANY:
        different, times = count_rows(sums)
        if len(different) < count * MOST_DIFFERENT:
            # How often each different row is among `count` draws is multinomial.
            shares = times / count
            draws = (generator.multinomial(count, shares) for _ in range(resamples))
            return np.stack([drawn_times @ different for drawn_times in draws])
    draws = (generator.integers(count, size=count) for _ in range(resamples))
    return np.stack([np.bincount(drawn, minlength=count) @ sums for drawn in draws])


def count_rows(
    table: Float[np.ndarray, "rows columns"],
) -> tuple[Float[np.ndarray, "different columns"], Float[np.ndarray, " different"]]:
    """Give the different rows of a table, and how often each occurs.

    >>> different, times = count_rows(np.array([[0.0, 1.0], [2.0, 1.0], [0.0, 1.0]]))
    >>> different.tolist(), times.tolist()
    ([[0.0, 1.0], [2.0, 1.0]], [2.0, 1.0])
    """
    counted = pd.DataFrame(table).value_counts(sort=False).reset_index().to_numpy(float)
    return counted[:, :-1], counted[:, -1]


def pearson_interval(x: Rows, y: Rows, prompts: Prompts, **options) -> Interval:
    """Give Pearson's correlation over rows, with an interval.

    Raises:
        ValueError: if x or y is constant; says which.
    """
    x = _standardised(x, "x")
    y = _standardised(y, "y")
    moments = np.stack([x, x * x, y, y * y, x * y], axis=1)

    def correlation(means):
        spread = np.sqrt(_variance(means) * _variance(means[..., 2:]))
        return (means[..., 4] - means[..., 0] * means[..., 2]) / spread

    return bootstrap(moments, prompts, correlation, **options)


def spearman_interval(x: Rows, y: Rows, prompts: Prompts, **options) -> Interval:
    """Give Pearson's correlation of ranks, taken once over all rows (not in each resample).

    >>> x = np.array([1.0, 2.0, 3.0])
    >>> print(spearman_interval(x, x**3, range(3)))
    1.000 [1.000, 1.000]
    """
    from scipy.stats import rankdata  # scipy.stats takes a second

    rank_x = rankdata(_checked(x, "x"))
    rank_y = rankdata(_checked(y, "y"))
    return pearson_interval(rank_x, rank_y, prompts, **options)


def correlation_gain_interval(
    truth: Rows,
    predicted: Rows,
    other: Rows,
    prompts: Prompts,
    *,
    truth_of_other: Rows | None = None,
    **options,
) -> Interval:
    """Give how much better one prediction correlates with the truth than another.

    It is Pearson's r of `predicted` minus that of `other`, both in the same resamples. A constant
    prediction has an r of 0.

    Args:
        truth_of_other: what `other` predicts, where that is not `truth`.

    >>> truth = np.array([0.0, 1.0, 2.0, 3.0])
    >>> print(correlation_gain_interval(truth, truth, -truth, range(4)))
    2.000 [2.000, 2.000]
    """
    columns = []
    second = truth if truth_of_other is None else truth_of_other
    given = {"truth": truth, "predicted": predicted, "truth_of_other": second, "other": other}
    for name, values in given.items():
        checked = _checked(values, name)
        columns.append(checked - checked.mean())
    y, a, z, b = columns
    moments = np.stack([y * y, a * a, y * a, z * z, b * b, z * b], axis=1)

    def correlation(means):
        squares = np.maximum(means[..., :2], SMALLEST_VARIANCE)
        return means[..., 2] / np.sqrt(squares[..., 0] * squares[..., 1])

    def gain(means):
        return correlation(means[..., :3]) - correlation(means[..., 3:])

    return bootstrap(moments, prompts, gain, **options)


def r2_interval(truth: Rows, predicted: Rows, prompts: Prompts, **options) -> Interval:
    """Give the coefficient of determination; negative if the mean of truth predicts better.

    >>> r2_interval(np.array([0.0, 2.0]), np.array([1.0, 1.0]), ["a", "b"]).estimate
    0.0
    """
    standardised = _standardised(truth, "truth")
    values = np.asarray(truth, float)
    error = (values - _checked(predicted, "predicted")) / values.std()
    moments = np.stack([standardised, standardised**2, error**2], axis=1)

    def explained(means):
        return 1 - means[..., 2] / _variance(means)

    return bootstrap(moments, prompts, explained, **options)


def floor(train_preference: Rows, test_preference: Shaped[np.ndarray, "test"] | pd.Series) -> float:
    """Give the accuracy on test of the constant answer that is best on train, at least 0.5.

    A tie on train is answered with 0 (response 1).

    >>> train = np.array([0, 0, 1])
    >>> floor(train, np.array([0, 1, 1])), floor(train, np.array([0, 0]))
    (0.5, 1.0)
    """
    constant = 1 if _checked(train_preference, "preference").mean() > 0.5 else 0
    accuracy = (_checked(test_preference, "preference") == constant).mean()
    return max(0.5, float(accuracy))


def log_loss_terms(probability: Rows, preference: Rows) -> Float[np.ndarray, "rows"]:
    """Give each pair's log loss in nats; the probability of response 2 is clipped at 1e-12.

    >>> log_loss_terms(np.array([0.5, 0.9]), np.array([0, 1])).round(3).tolist()
    [0.693, 0.105]
    """
    p = np.clip(_checked(probability, "probability"), 1e-12, 1 - 1e-12)
    return -np.log(np.where(_checked(preference, "preference") == 1, p, 1 - p))


def brier_terms(probability: Rows, preference: Rows) -> Float[np.ndarray, "rows"]:
    """Give each pair's squared error of the probability of response 2, from 0 to 1.

    >>> brier_terms(np.array([0.5, 1.0]), np.array([0, 1])).tolist()
    [0.25, 0.0]
    """
    return (_checked(probability, "probability") - _checked(preference, "preference")) ** 2


def share_interval(won: Rows, prompts: Prompts) -> Interval:
    """Give a share of pairs with its 95 % Wilson interval, each prompt counted as one trial.

    The interval is exact in this sense where each prompt has one pair, and wide rather than narrow
    where prompts have more.

    >>> print(share_interval(np.array([1.0, 1.0, 0.0, 1.0]), [1, 2, 3, 4]))
    0.750 [0.301, 0.954]
    """
    share = float(_checked(won, "preference").mean())
    trials = len(set(prompts))
    from statsmodels.stats.proportion import proportion_confint  # takes a second

    low, high = proportion_confint(share * trials, trials, method="wilson")
    return Interval(share, float(min(low, share)), float(max(high, share)))


def ratio_interval(part: Rows, whole: Rows, prompts: Prompts, **options) -> Interval:
    """Give the sum of `part` over the sum of `whole`, with an interval.

    Where every part is its whole, or every part is 0, it is `alike_interval`, which has a width.

    >>> print(ratio_interval(np.array([1.0, 0.0]), np.array([1.0, 3.0]), ["a", "b"]))
    0.250 [0.000, 1.000]
    """
    columns = np.stack([_checked(part, "part"), _checked(whole, "whole")], axis=1)
    share = columns[:, 0].sum() / columns[:, 1].sum()
    if share in (0, 1):
        codes, _ = _prompt_codes(prompts, len(columns))
        by_prompt = np.bincount(codes, columns[:, 1])
        largest_share = by_prompt.max() / by_prompt.sum()
        level = options.get("level", 0.95)
        return alike_interval(float(share), float(largest_share), level=level)
    return bootstrap(columns, prompts, lambda means: means[..., 0] / means[..., 1], **options)


def alpha_interval(
    zeros: Rows,
    ones: Rows,
    prompts: Prompts,
    *,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Give Krippendorff's alpha of votes for 0 or 1, with an interval.

    1 is perfect agreement, 0 the agreement of chance. It is nan where all votes of all units are
    the same, because then nothing tells agreement from chance. Where the votes of each unit agree
    but the units differ, the lower end is that of the share of agreement (`alike_interval`).

    Args:
        zeros: votes for 0 on each unit; a unit with fewer than two votes says nothing.
        ones: votes for 1.

    Source: Krippendorff (2011), Computing Krippendorff's Alpha-Reliability, section A.

    >>> votes = np.array([[1, 1], [2, 0], [0, 2], [2, 0]])
    >>> print(f"{alpha_interval(votes[:, 0], votes[:, 1], range(4)).estimate:.3f}")
    0.533
    """
    both = np.stack([_checked(zeros, "votes"), _checked(ones, "votes")], axis=1)
    has_several = both.sum(axis=1) > 1
    both = both[has_several]
    kept = pd.Series(prompts)[has_several]
    disagreement = both[:, :1] * both[:, 1:] / (both.sum(axis=1, keepdims=True) - 1)
    sums = resampled_sums(np.hstack([both, disagreement]), kept, resamples, seed=seed)

    def alpha(zero, one, apart):
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(zero * one > 0, 1 - (zero + one - 1) * apart / (zero * one), np.nan)

    total = np.append(both.sum(axis=0), disagreement.sum())
    estimate = float(alpha(*total))
    if np.isnan(estimate):
        return Interval(np.nan, np.nan, np.nan)
    if disagreement.any():
        low, high = np.nanquantile(alpha(*sums.T), [(1 - level) / 2, (1 + level) / 2])
        return Interval(estimate, float(low), float(high))
    share = ratio_interval(both.sum(axis=1), both.sum(axis=1), kept, level=level)
    by_chance = 2 * total[0] * total[1] / (total[:2].sum() * (total[:2].sum() - 1))
    low = max(-1.0, 1 - (1 - share.low) / by_chance)
    return Interval(estimate, float(low), 1.0)


def calibration_table(
    probability: Rows, preference: Rows, prompts: Prompts, bins: int = 10
) -> pd.DataFrame:
    """Set the mean probability of response 2 beside the share that prefers it, bin by bin.

    Bins have equal width and include their low edge, the last one 1.0 too. Empty bins are left out.
    share_low and share_high are the `share_interval` of the share.
    """
    p = _checked(probability, "probability")
    won = _checked(preference, "preference")
    prompt_of_row = np.asarray(prompts)
    edges = np.arange(bins + 1) / bins
    bin_of_row = np.searchsorted(edges[1:-1], p, side="right")
    rows = []
    for place in np.unique(bin_of_row):
        is_inside = bin_of_row == place
        share = share_interval(won[is_inside], prompt_of_row[is_inside])
        row = {
            "low": edges[place],
            "high": edges[place + 1],
            "n": is_inside.sum(),
            "probability": p[is_inside].mean(),
            "share": share.estimate,
            "share_low": share.low,
            "share_high": share.high,
        }
        rows.append(row)
    return pd.DataFrame(rows)


def expected_calibration_error(probability: Rows, preference: Rows, bins: int = 10) -> float:
    """Average |probability - share| over the bins of `calibration_table`, weighted by n.

    Source: Guo et al. (2017), On Calibration of Modern Neural Networks, equation 3.

    >>> expected_calibration_error(np.array([0.75, 0.75]), np.array([1, 0]))
    0.25
    """
    table = calibration_table(probability, preference, np.arange(len(probability)), bins)
    return float(np.average((table["probability"] - table["share"]).abs(), weights=table["n"]))


def paired_test(
    correct_a: Rows, correct_b: Rows, prompts: Prompts, *, resamples: int = 2000, seed: int = 0
) -> PairedTest:
    """Test whether a and b are equally accurate; the difference is a minus b.

    The test is McNemar's exact one where each prompt has one pair and all entries are 0 or 1. Else
    it is the bootstrap by prompt: p is twice the smaller share of resamples on one side of 0. The
    data count as one of the resamples, so that p is never 0.

    >>> paired_test(np.array([1, 1, 1, 0]), np.array([0, 1, 0, 0]), list("pqrs")).p_value
    0.5
    """
    gain = _gains(correct_a, correct_b)
    difference = mean_interval(gain, prompts, resamples=resamples, seed=seed)
    is_right_or_wrong = np.isin([correct_a, correct_b], [0, 1]).all()
    if pd.Series(prompts).is_unique and is_right_or_wrong:
        a_alone = int((gain > 0).sum())
        discordant = max(1, int((gain != 0).sum()))  # none gives p = 1
        from scipy.stats import binomtest  # scipy.stats takes a second

        p_value = float(binomtest(a_alone, discordant).pvalue)
        return PairedTest(difference, p_value, "exact McNemar")
    draws = _resampled_means(gain[:, None], prompts, resamples, seed)
    smaller_side = min((draws <= 0).sum(), (draws >= 0).sum())
    p_value = float(2 * (1 + smaller_side) / (1 + resamples))
    return PairedTest(difference, min(1.0, p_value), "paired bootstrap by prompt")


def _gains(values_a: Rows, values_b: Rows) -> Float[np.ndarray, " rows"]:
    """Subtract b from a; a difference that is only rounding is none."""
    gain = _checked(values_a, "values of a") - _checked(values_b, "values of b")
    return np.where(np.abs(gain) > SMALLEST_DIFFERENCE, gain, 0.0)


def difference_test(
    values_a: Rows,
    values_b: Rows,
    prompts: Prompts,
    *,
    margin: float,
    resamples: int = 2000,
    seed: int = 0,
) -> DifferenceTest:
    """Test whether two models differ in the mean of some value, and whether they are equal.

    The models *differ* by `paired_test`. They are *equal within the margin* if too few resamples of
    prompts lie beyond either end of it (two one-sided tests). Few prompts give neither. The data
    count as one of the resamples, so that no p is 0.

    Where all pairs have the same value in both models, all resamples are alike, although other pairs
    might have differed. A share of `margin` of the prompts, each by 1, would then have been missed
    with a chance of (1 - margin) ** prompts (`alike_interval`), which is p of equality.

    Args:
        values_a: for example the log loss of model a on each pair.
        values_b: the same of model b, on the same pairs.
        margin: the largest mean difference that counts as equal; above 0.

    Source: Schuirmann (1987), A comparison of the two one-sided tests procedure and the power
    approach, Journal of Pharmacokinetics and Biopharmaceutics 15, 657-680.

    Example:
        >>> loss = np.linspace(0, 1, 40)
        >>> test = difference_test(loss, loss + 0.001, range(40), margin=0.02)
        >>> test.p_equal < 0.05, round(test.difference.estimate, 3)
        (True, -0.001)
        >>> right = np.ones(40)
        >>> round(difference_test(right, right, range(40), margin=0.02).p_equal, 2)
        0.45
    """
    if not margin > 0:
        raise ValueError(f"expected a margin above 0, came {margin}")
    gain = _gains(values_a, values_b)
    test = paired_test(values_a, values_b, prompts, resamples=resamples, seed=seed)
    if gain.any():
        draws = _resampled_means(gain[:, None], prompts, resamples, seed)[:, 0]
        beyond_margin = max((draws <= -margin).sum(), (draws >= margin).sum())
        p_equal = (1 + beyond_margin) / (1 + resamples)
    else:
        codes, _ = _prompt_codes(prompts, len(gain))
        p_equal = max(0.0, 1 - margin) ** (len(gain) / np.bincount(codes).max())
    return DifferenceTest(test.difference, test.p_value, float(p_equal))


def are_equal(test: DifferenceTest, margin: float, prompts: int) -> bool | None:
    """Say whether two models are equal within a margin: yes, no, or None where it cannot be told.

    Args:
        test: `difference_test` with this margin.
        prompts: number of different prompts that it rests on.

    Example:
        >>> loss = np.linspace(0, 1, 40)
        >>> test = difference_test(loss, loss + 0.001, range(40), margin=0.02)
        >>> are_equal(test, 0.02, prompts=40), are_equal(test, 0.02, prompts=12)
        (True, None)
    """
    if prompts < FEWEST_PROMPTS:
        return None
    if test.p_equal < 0.05:
        return True
    is_beyond = test.difference.low > margin or test.difference.high < -margin
    return False if is_beyond else None


def lies_above(interval: Interval, limit: float, prompts: int) -> bool | None:
    """Say whether a number is above a limit: yes, no, or None where the data cannot tell.

    They cannot where the interval holds the limit, or rests on fewer than 20 prompts.

    Args:
        prompts: number of different prompts that the interval rests on.

    Example:
        >>> lies_above(Interval(0.9, 0.8, 0.95), 0.5, prompts=60)
        True
        >>> lies_above(Interval(0.9, 0.8, 0.95), 0.95, prompts=60) is None
        True
        >>> lies_above(Interval(0.9, 0.8, 0.95), 0.5, prompts=12) is None
        True
    """
    if prompts < FEWEST_PROMPTS or interval.low <= limit <= interval.high:
        return None
    return bool(interval.low > limit)


def lies_within(interval: Interval, value: float, margin: float, prompts: int) -> bool | None:
    """Say whether a number is a value within a margin: yes, no, or None where it cannot be told.

    It is where the whole interval is within the margin, and it is not where no part of it is. Fewer
    than 20 prompts cannot tell. An interval that merely holds the value says little.

    Example:
        >>> lies_within(Interval(0.51, 0.48, 0.54), 0.5, 0.05, prompts=60)
        True
        >>> lies_within(Interval(0.51, 0.41, 0.61), 0.5, 0.05, prompts=60) is None
        True
        >>> lies_within(Interval(0.61, 0.56, 0.66), 0.5, 0.05, prompts=60)
        False
    """
    if prompts < FEWEST_PROMPTS:
        return None
    if value - margin <= interval.low and interval.high <= value + margin:
        return True
    is_outside = interval.low > value + margin or interval.high < value - margin
    return False if is_outside else None


def holm(p_values: Collection[float]) -> Float[np.ndarray, "tests"]:
    """Adjust p-values for their number (Holm 1979), in the order given.

    >>> holm([0.01, 0.5, 0.03]).round(3).tolist()
    [0.03, 0.5, 0.06]
    """
    p = _checked(p_values, "probability")
    order = np.argsort(p)
    times = len(p) - np.arange(len(p))  # the smallest p counts once for each test
    adjusted = np.empty(len(p))
    adjusted[order] = np.maximum.accumulate(p[order] * times).clip(max=1)
    return adjusted


def rates_by_group(
    values: Rows,
    groups: Rows,
    prompts: Prompts,
    *,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
    shuffles: int = 0,
) -> pd.DataFrame:
    """Give the rate of each group of rows, and test whether it differs from that of the others.

    The test is a permutation test: what a prompt has in one group is one unit, and the groups are
    shuffled among the units. Where a prompt is in several groups, p is large rather than small. No
    p-value is given (nan) to a group with fewer than 20 prompts, or with fewer than 20 outside it:
    whether such a group differs cannot be told.

    Args:
        values: from 0 to 1, for example whether a model is right.
        groups: the group of each row. Rows without one (missing) are left out.
        resamples: of the intervals.
        shuffles: of the test; 0 means as many as `resamples`.

    Returns:
        A row a group, in their sorted order: group, n (rows), prompts, estimate, low, high (nan
        where the group has a single prompt), p (adjusted by `holm` over the groups).

    Source: Good (2005), Permutation, Parametric and Bootstrap Tests of Hypotheses, chapter 3.

    Example:
        >>> right = np.repeat([1.0, 0.0, 1.0], 30)
        >>> table = rates_by_group(right, np.repeat(["x", "y", "x"], 30), range(90))
        >>> table[["group", "n", "estimate", "p"]].round(4).to_dict("records")[1]
        {'group': 'y', 'n': 30, 'estimate': 0.0, 'p': 0.001}
    """
    rows = pd.DataFrame({"value": _checked(values, "rate"), "group": np.asarray(groups)})
    rows["prompt"], _ = _prompt_codes(prompts, len(rows))
    rows = rows[rows["group"].notna()]
    if rows.empty:
        raise ValueError("groups: got no row with a group, expected one or more")
    options = {"resamples": resamples, "level": level, "seed": seed}
    described = [_describe_group(name, part, options) for name, part in rows.groupby("group")]
    table = pd.DataFrame(described)
    table["p"] = np.nan
    outside = [rows.loc[rows["group"] != name, "prompt"].nunique() for name in table["group"]]
    can_tell = np.minimum(table["prompts"], outside) >= FEWEST_PROMPTS
    if can_tell.any():
        p_values = _shuffled_groups(rows, shuffles or resamples, seed)
        table.loc[can_tell, "p"] = holm(p_values[can_tell])
    return table


def _describe_group(name: Hashable, rows: pd.DataFrame, options: Mapping) -> dict:
    """Describe one group in the columns of `rates_by_group` without p."""
    prompts = rows["prompt"].nunique()
    rate = Interval(float(rows["value"].mean()), np.nan, np.nan)
    if prompts > 1:
        rate = accuracy_interval(rows["value"], rows["prompt"], **options)
    return {"group": name, "n": len(rows), "prompts": prompts} | rate.as_dict()


def _shuffled_groups(rows: pd.DataFrame, resamples: int, seed: int) -> Float[np.ndarray, " groups"]:
    """Give for each group, in sorted order, p of "its rate is that of the others"."""
    units = rows.groupby(["group", "prompt"])["value"].agg(["sum", "size"])
    codes, names = pd.factorize(units.index.get_level_values("group"))
    sums = units["sum"].to_numpy()
    sizes = units["size"].to_numpy(float)
    count = len(names)

    def distances(group_of_unit):  # one shuffle a row
        shuffles = len(group_of_unit)
        places = (group_of_unit + count * np.arange(shuffles)[:, None]).ravel()
        cells = shuffles * count
        size = np.bincount(places, np.tile(sizes, shuffles), cells).reshape(shuffles, count)
        inside = np.bincount(places, np.tile(sums, shuffles), cells).reshape(shuffles, count)
        return np.abs(inside / size - (sums.sum() - inside) / (sizes.sum() - size))

    generator = np.random.default_rng(seed)
    beyond = np.ones(count)  # the data count as one of the shuffles
    with np.errstate(invalid="ignore"):  # of a single group, which has no others
        least = distances(codes[None]) - SMALLEST_VARIANCE
        for start in range(0, resamples, SHUFFLES_AT_ONCE):
            together = min(SHUFFLES_AT_ONCE, resamples - start)
            shuffled = np.stack([generator.permutation(codes) for _ in range(together)])
            beyond += (distances(shuffled) >= least).sum(axis=0)
    return beyond / (1 + resamples)


def _prompt_codes(prompts: Prompts, rows: int) -> tuple[Int[np.ndarray, " rows"], int]:
    """Number the prompts of rows 0, 1, ... by first appearance; and count the different ones."""
    codes, names = pd.factorize(pd.Series(prompts))
    missing = int((codes < 0).sum())
    if len(codes) != rows or missing or len(names) < 2:
        raise ValueError(
            f"an interval needs a prompt for each of {rows} rows, and 2 or more different ones; "
            f"got {len(codes)} prompts ({missing} missing), {len(names)} different; give more prompts"
        )
    return codes, len(names)


def _resampled_means(
    values: Float[np.ndarray, "rows columns"], prompts: Prompts, resamples: int, seed: int
) -> Float[np.ndarray, "resamples columns"]:
    with_ones = np.column_stack([_checked(values, "values"), np.ones(len(values))])
    totals = resampled_sums(with_ones, prompts, resamples, seed=seed)
    counts = totals[:, -1:]
    return totals[:, :-1] / counts


def _checked(values: Collection, name: str) -> Float[np.ndarray, "..."]:
    """Copy values as floats; ValueError where one is not legal for what `name` says they are."""
    array = np.array(values, float)
    if name in ("probability", "rate"):
        legal = (array >= 0) & (array <= 1)
        expected = "numbers from 0 to 1"
    elif name == "preference":
        legal = np.isin(array, [0, 1])
        expected = "0 or 1; drop ties"
    else:
        legal = np.isfinite(array)
        expected = "finite numbers; drop the other rows"
    if not array.size:
        raise ValueError(f"{name}: got no values, expected {expected}")
    if not legal.all():
        first = int(np.argwhere(~legal)[0][0])
        raise ValueError(
            f"{name}: got {array[~legal][:3]}, first in row {first}; expected {expected}"
        )
    return array


def _standardised(values: Rows, name: str) -> Float[np.ndarray, "rows"]:
    """Shift and scale values to mean 0 and variance 1."""
    array = _checked(values, name)
    if np.ptp(array) == 0:
        raise ValueError(f"{name} is constant ({array[0]}), so nothing correlates with it; drop it")
    return (array - array.mean()) / array.std()


def _variance(means: Float[np.ndarray, "... moments"]) -> Float[np.ndarray, "..."]:
    """Give the variance from the means of values and of squares; nan where it is only rounding."""
    variance = means[..., 1] - means[..., 0] ** 2
    return np.where(variance > SMALLEST_VARIANCE, variance, np.nan)

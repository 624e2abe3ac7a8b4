"""Intervals and tests that know that pairs of one prompt belong together."""

from collections.abc import Callable, Collection, Hashable, Iterator
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, Shaped
from scipy.stats import binomtest, rankdata
from statsmodels.stats.proportion import proportion_confint

Rows = Shaped[np.ndarray, "rows"] | pd.Series
MANY = 2**15  # prompts, from which on equal ones are drawn together: as exact, and much faster
Prompts = Collection[Hashable]  # of each row; none missing, at least two different


@dataclass(frozen=True)
class Interval:
    """An estimate with its interval; printed as 0.912 [0.901, 0.923]."""

    estimate: float
    low: float
    high: float
    as_dict = asdict

    def __str__(self) -> str:
        return f"{self.estimate:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class PairedTest:
    """Accuracy of a minus accuracy of b on the same pairs, with a two-sided p-value."""

    difference: Interval
    p_value: float
    method: str


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

    `statistic` maps the means of columns, (..., moments), to (...). Copies of a row add no
    certainty. Resamples in which the statistic is nan are left out.
    Source: Efron and Tibshirani (1993), An Introduction to the Bootstrap, chapter 13.

    >>> print(bootstrap(np.array([[0.0], [1.0]]), ["a", "b"], lambda means: means[..., 0]))
    0.500 [0.000, 1.000]
    """
    draws = statistic(_resampled_means(values, prompts, resamples, seed))
    low, high = np.nanquantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(statistic(values.mean(axis=0))), float(low), float(high))


def mean_interval(values: Rows, prompts: Prompts, **options) -> Interval:
    """Average over rows (an accuracy, of 0 and 1); here and below options are `bootstrap`'s."""
    return bootstrap(_checked(values, "values")[:, None], prompts, lambda m: m[..., 0], **options)


def alike_interval(value: float, share: float, *, level: float = 0.95) -> Interval:
    """Give an interval to a mean of rows that all have one value, to which a bootstrap gives no width.

    Rows are from 0 to 1; `share` is the largest share that one prompt has in the mean. With n
    prompts of the same weight (share 1/n) and all right, it is the exact interval of Clopper and
    Pearson (1934, Biometrika 26, 404-413) for n successes in n trials. With other weights it is
    wide rather than narrow: that all are alike has the chance prod(q), at most mean(q) ** (1 /
    share), if q is the chance of each prompt and the mean is weighted, by Jensen's inequality.

    >>> print(alike_interval(1.0, 1 / 10))
    1.000 [0.692, 1.000]
    """
    rest = 1 - ((1 - level) / 2) ** share  # at most so much of the mean may be otherwise
    return Interval(value, value * (1 - rest), value + rest * (1 - value))


def accuracy_interval(right: Rows, prompts: Prompts, **options) -> Interval:
    """Average rows from 0 to 1 as `mean_interval`; all right, or all wrong, as `alike_interval`.

    Rows that are all one half, as those of a constant answer in both orders, are so by design.

    >>> print(accuracy_interval(np.ones(10), np.arange(10)))
    1.000 [0.692, 1.000]
    >>> print(accuracy_interval(np.full(10, 0.5), np.arange(10)))
    0.500 [0.500, 0.500]
    """
    if np.ptp(right := _checked(right, "right")) or 0 < right[0] < 1:
        return mean_interval(right, prompts, **options)
    largest = np.bincount(_prompt_codes(prompts, len(right))[0]).max() / len(right)
    return alike_interval(float(right[0]), float(largest), level=options.get("level", 0.95))


def mean_intervals(
    values: Float[np.ndarray, "rows columns"],
    prompts: Prompts,
    *,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> list[Interval]:
    """Give the `mean_interval` of each column, over the same resamples and much faster."""
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
    codes, names = _prompt_codes(prompts, len(prompts))
    by_prompt, sizes = np.argsort(codes, kind="stable"), np.bincount(codes)
    starts, generator = np.cumsum(sizes) - sizes, np.random.default_rng(seed)
    for _ in range(resamples):
        drawn = generator.integers(names, size=names)
        ends = np.cumsum(sizes[drawn])
        shift = np.repeat(starts[drawn] - ends + sizes[drawn], sizes[drawn])
        yield by_prompt[shift + np.arange(ends[-1])]


def resampled_sums(
    values: Float[np.ndarray, "rows columns"], prompts: Prompts, resamples: int, *, seed: int = 0
) -> Float[np.ndarray, "resamples columns"]:
    """Sum the rows of each of `resampled_rows`; of many prompts in another order of chance.

    >>> resampled_sums(np.array([[1.0], [10.0], [100.0]]), ["a", "b", "a"], 2).tolist()
    [[20.0], [111.0]]
    """
    codes, n = _prompt_codes(prompts, len(values))
    sums = np.stack([np.bincount(codes, column, minlength=n) for column in values.T], axis=1)
    generator = np.random.default_rng(seed)
    if n > MANY:
        kinds, counts = count_rows(sums)
        if len(kinds) < n / 8:  # how often each comes among n draws is multinomial
            draws = (generator.multinomial(n, counts / n) for _ in range(resamples))
            return np.stack([draw @ kinds for draw in draws])
    drawn = (generator.integers(n, size=n) for _ in range(resamples))
    return np.stack([np.bincount(draw, minlength=n) @ sums for draw in drawn])


def count_rows(
    table: Float[np.ndarray, "rows columns"],
) -> tuple[Float[np.ndarray, "different columns"], Float[np.ndarray, " different"]]:
    """Give the different rows of a table, and how often each comes.

    >>> [each.tolist() for each in count_rows(np.array([[0.0, 1.0], [2.0, 1.0], [0.0, 1.0]]))]
    [[[0.0, 1.0], [2.0, 1.0]], [2.0, 1.0]]
    """
    found = pd.DataFrame(table).value_counts(sort=False).reset_index().to_numpy(float)
    return found[:, :-1], found[:, -1]


def pearson_interval(x: Rows, y: Rows, prompts: Prompts, **options) -> Interval:
    """Give Pearson's correlation over rows; constant x or y is an error that says which."""
    x, y = _standardised(x, "x"), _standardised(y, "y")
    moments = np.stack([x, x * x, y, y * y, x * y], axis=1)

    def correlation(m):
        spread = np.sqrt(_variance(m) * _variance(m[..., 2:]))
        return (m[..., 4] - m[..., 0] * m[..., 2]) / spread

    return bootstrap(moments, prompts, correlation, **options)


def spearman_interval(x: Rows, y: Rows, prompts: Prompts, **options) -> Interval:
    """Give Pearson's correlation of ranks, taken once over all rows (not in each resample)."""
    ranks = rankdata(_checked(x, "x")), rankdata(_checked(y, "y"))
    return pearson_interval(*ranks, prompts, **options)


def r2_interval(truth: Rows, predicted: Rows, prompts: Prompts, **options) -> Interval:
    """Give the coefficient of determination; negative where the mean of truth predicts better."""
    t, truth = _standardised(truth, "truth"), np.asarray(truth, float)
    error = (truth - _checked(predicted, "predicted")) / truth.std()
    moments = np.stack([t, t**2, error**2], axis=1)
    return bootstrap(moments, prompts, lambda m: 1 - m[..., 2] / _variance(m), **options)


def floor(train_preference: Rows, test_preference: Shaped[np.ndarray, "test"] | pd.Series) -> float:
    """Give the accuracy on test of the constant answer that is best on train; a coin's, if that is more.

    >>> floor(np.array([0, 0, 1]), np.array([0, 1, 1])), floor(np.array([0, 0, 1]), np.array([0, 0]))
    (0.5, 1.0)
    """
    constant = _checked(train_preference, "preference").mean() > 0.5
    return max(0.5, float((_checked(test_preference, "preference") == constant).mean()))


def log_loss_terms(probability: Rows, preference: Rows) -> Float[np.ndarray, "rows"]:
    """Give each pair's log loss in nats; probability (of response 2) is clipped at 1e-12."""
    p = np.clip(_checked(probability, "probability"), 1e-12, 1 - 1e-12)
    return -np.log(np.where(_checked(preference, "preference") == 1, p, 1 - p))


def brier_terms(probability: Rows, preference: Rows) -> Float[np.ndarray, "rows"]:
    """Give each pair's squared error of the probability of response 2, from 0 to 1."""
    return (_checked(probability, "probability") - _checked(preference, "preference")) ** 2


def share_interval(won: Rows, prompts: Prompts) -> Interval:
    """Give a share of pairs with its 95 % Wilson interval, one trial a prompt.

    Pairs of one prompt are not independent. Counted as a single trial they give an interval that
    is right where a prompt has one pair, and wide rather than narrow where it has more.

    >>> print(share_interval(np.array([1.0, 1.0, 0.0, 1.0]), [1, 2, 3, 4]))
    0.750 [0.301, 0.954]
    """
    share, trials = float(_checked(won, "preference").mean()), len(set(prompts))
    low, high = proportion_confint(share * trials, trials, method="wilson")
    return Interval(share, float(min(low, share)), float(max(high, share)))


def calibration_table(
    probability: Rows, preference: Rows, prompts: Prompts, bins: int = 10
) -> pd.DataFrame:
    """Set the mean probability of response 2 beside the share that prefers it, bin by bin.

    Bins are of equal width, [low, high), the last with 1.0; empty ones are left out. share_low and
    share_high are the `share_interval` of the share.
    """
    p, won = _checked(probability, "probability"), _checked(preference, "preference")
    prompt_of, edges = np.asarray(prompts), np.arange(bins + 1) / bins
    bin_of, rows = np.searchsorted(edges[1:-1], p, side="right"), []
    for at in np.unique(bin_of):
        here = bin_of == at
        share = share_interval(won[here], prompt_of[here])
        row = {"low": edges[at], "high": edges[at + 1], "n": here.sum()}
        row |= {"probability": p[here].mean(), "share": share.estimate}
        rows.append(row | {"share_low": share.low, "share_high": share.high})
    return pd.DataFrame(rows)


def expected_calibration_error(probability: Rows, preference: Rows, bins: int = 10) -> float:
    """Average |probability - share| over `calibration_table`, by n (Guo et al. 2017, eq. 3)."""
    table = calibration_table(probability, preference, np.arange(len(probability)), bins)
    return float(np.average((table["probability"] - table["share"]).abs(), weights=table["n"]))


def paired_test(
    correct_a: Rows, correct_b: Rows, prompts: Prompts, *, resamples: int = 2000, seed: int = 0
) -> PairedTest:
    """Test whether a and b are equally accurate; the difference is a minus b.

    Exact McNemar where each prompt has one pair and entries are 0 or 1. Else the bootstrap by
    prompt: twice the smaller share of resamples at or beyond 0, the data counted as one of them.

    >>> paired_test(np.array([1, 1, 1, 0]), np.array([0, 1, 0, 0]), list("pqrs")).p_value
    0.5
    """
    gain = _checked(correct_a, "correct_a") - _checked(correct_b, "correct_b")
    difference = mean_interval(gain, prompts, resamples=resamples, seed=seed)
    if pd.Series(prompts).is_unique and np.isin([correct_a, correct_b], [0, 1]).all():
        discordant = max(1, int((gain != 0).sum()))  # none gives p = 1
        p = float(binomtest(int((gain > 0).sum()), discordant).pvalue)
        return PairedTest(difference, p, "exact McNemar")
    draws = _resampled_means(gain[:, None], prompts, resamples, seed)
    p = 2 * (1 + min((draws <= 0).sum(), (draws >= 0).sum())) / (1 + resamples)
    return PairedTest(difference, min(1.0, float(p)), "paired bootstrap by prompt")


def holm(p_values: Collection[float]) -> Float[np.ndarray, "tests"]:
    """Adjust p-values for their number (Holm 1979), in the order given."""
    p = _checked(p_values, "probability")
    order = np.argsort(p)
    p[order] = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)).clip(max=1)
    return p


def _prompt_codes(prompts, rows):
    codes, names = pd.factorize(pd.Series(prompts))
    if len(codes) != rows or (codes < 0).any() or len(names) < 2:
        came = f"{len(codes)} ({(codes < 0).sum()} missing), {len(names)} different"
        wanted = f"a prompt for each of {rows} rows, and 2 or more different ones"
        raise ValueError(f"an interval needs {wanted}; got {came}: give it more prompts")
    return codes, len(names)


def _resampled_means(values, prompts, resamples, seed):
    columns = np.column_stack([_checked(values, "values"), np.ones(len(values))])
    totals = resampled_sums(columns, prompts, resamples, seed=seed)
    return totals[:, :-1] / totals[:, -1:]


def _checked(values, name):
    array = np.array(values, float)
    legal, words = np.isfinite(array), "finite numbers; drop the other rows"
    if name == "probability":
        legal, words = (array >= 0) & (array <= 1), "numbers from 0 to 1"
    if name == "preference":
        legal, words = np.isin(array, [0, 1]), "0 or 1; drop ties"
    if not (legal.size and legal.all()):
        raise ValueError(f"{name}: got {array[~legal]}, expected {words}")
    return array


def _standardised(values, name):
    array = _checked(values, name)
    if not np.ptp(array):
        raise ValueError(f"{name} is constant ({array[0]}), nothing correlates with it; drop it")
    return (array - array.mean()) / array.std()


def _variance(means):
    variance = means[..., 1] - means[..., 0] ** 2
    return np.where(variance > 1e-12, variance, np.nan)  # less is rounding: inputs have variance 1

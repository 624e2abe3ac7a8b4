"""Intervals cover at their rate and respect prompts; tests agree with scipy, sklearn, statsmodels."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from sklearn.metrics import log_loss, r2_score
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from dtreward import stats


def clustered(generator, prompts=60, rows=5, shared=1.0):
    """Rows of a prompt share a normal effect; the true mean is 0."""
    effect = generator.normal(scale=shared, size=(prompts, 1))
    values = effect + generator.normal(size=(prompts, rows))
    return values.ravel(), np.repeat(np.arange(prompts), rows)


def covers(interval, truth):
    return interval.low <= truth <= interval.high


def width(interval):
    return interval.high - interval.low


def test_intervals_cover_at_about_their_rate_only_if_resampled_by_prompt():
    generator, by_prompt, by_row = np.random.default_rng(0), [], []
    for _ in range(120):
        values, prompts = clustered(generator)
        options = {"resamples": 300, "seed": 1}
        by_prompt.append(covers(stats.mean_interval(values, prompts, **options), 0))
        by_row.append(covers(stats.mean_interval(values, np.arange(len(values)), **options), 0))
    # With 60 prompts a percentile interval is about 1.96 * sqrt(59 / 60) standard errors wide and
    # normal where t is due: 94.0 % rather than 95. Four binomial standard deviations around that.
    assert abs(np.mean(by_prompt) - 0.940) < 4 * np.sqrt(0.94 * 0.06 / 120)
    # By row the standard error is too small by sqrt((1 + 1 / 5) / (2 / 5)) = 1.73: 74 %.
    assert np.mean(by_row) < 0.82


def test_correlation_interval_covers_at_about_its_rate():
    generator, covered = np.random.default_rng(3), []
    for _ in range(120):
        effect = generator.multivariate_normal([0, 0], [[1, 0.5], [0.5, 1]], size=100)
        x, y = np.repeat(effect, 2, axis=0).T  # each row twice: 100 independent ones, not 200
        prompts = np.repeat(np.arange(100), 2)
        interval = stats.pearson_interval(x, y, prompts, resamples=250, seed=2)
        covered.append(covers(interval, 0.5))
    # Nominal less about 1.5 points for the percentile method at n = 100; four binomial sds.
    assert abs(np.mean(covered) - 0.935) < 4 * np.sqrt(0.935 * 0.065 / 120)


def test_resampling_by_prompt_is_wider_where_rows_of_a_prompt_agree():
    values, prompts = clustered(np.random.default_rng(0), prompts=300, rows=4, shared=10.0)
    by_row = stats.mean_interval(values, np.arange(len(values)))
    assert width(stats.mean_interval(values, prompts)) / width(by_row) == pytest.approx(
        2, rel=0.15
    )  # sqrt(4 rows); quantiles of 2,000 draws: 3 % each


def test_prompts_make_no_difference_where_rows_are_independent():
    values, prompts = clustered(np.random.default_rng(0), prompts=300, rows=4, shared=0.0)
    by_row = stats.mean_interval(values, np.arange(len(values)))
    assert width(stats.mean_interval(values, prompts)) / width(by_row) == pytest.approx(1, rel=0.15)


def test_duplicated_rows_of_the_same_prompts_change_nothing():
    values, prompts = clustered(np.random.default_rng(0))
    twice = stats.mean_interval(np.tile(values, 2), np.tile(prompts, 2))
    assert twice.as_dict() == pytest.approx(stats.mean_interval(values, prompts).as_dict())
    assert width(stats.mean_interval(np.tile(values, 2), np.arange(600))) < 0.8 * width(twice)


@pytest.mark.parametrize(
    "name", [str, lambda i: f"prompt {i}", lambda i: -i, lambda i: (i, "x"), lambda i: i / 7]
)
def test_prompts_may_be_any_hashable_values(name):
    values, prompts = clustered(np.random.default_rng(0))
    named = [name(int(i)) for i in prompts]
    expected = stats.mean_interval(values, prompts)
    assert stats.mean_interval(values, named) == expected
    assert stats.mean_interval(pd.Series(values), pd.Series(named)) == expected


def test_intervals_depend_on_seed_alone_and_widen_with_level():
    values, prompts = clustered(np.random.default_rng(0))
    first = stats.mean_interval(values, prompts, seed=5)
    assert first == stats.mean_interval(values, prompts, seed=5)
    assert first != stats.mean_interval(values, prompts, seed=6)
    assert width(first) < width(stats.mean_interval(values, prompts, seed=5, level=0.99))
    assert str(stats.Interval(0.912, 0.901, 0.923)) == "0.912 [0.901, 0.923]"


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), offset=st.sampled_from([0.0, 1e6]), scale=st.floats(1e-3, 1e3))
def test_correlations_and_r2_equal_scipy_and_sklearn(seed, offset, scale):
    generator = np.random.default_rng(seed)
    x = generator.integers(0, 5, size=40).astype(float)
    y = x + generator.normal(size=40)
    shifted, options = offset + scale * x, {"resamples": 20}
    prompts = np.arange(40) // 2
    pearson = stats.pearson_interval(shifted, y, prompts, **options).estimate
    spearman = stats.spearman_interval(x, y, prompts, **options).estimate
    r2 = stats.r2_interval(shifted, offset + scale * y, prompts, **options).estimate
    # 1e6 + 1e-3 * x keeps about 7 digits of x
    assert pearson == pytest.approx(scipy_stats.pearsonr(x, y).statistic, abs=1e-6)
    assert spearman == pytest.approx(scipy_stats.spearmanr(x, y).statistic, abs=1e-12)
    assert r2 == pytest.approx(r2_score(x, y), abs=1e-5)


def test_perfect_prediction_has_r2_and_correlation_of_one_in_every_resample():
    x, prompts = np.array([1.0, 1.0, 2.0, 2.0]), [0, 0, 1, 1]  # half the resamples are constant
    for interval in (stats.r2_interval, stats.pearson_interval):
        assert list(interval(x, x, prompts).as_dict().values()) == pytest.approx([1, 1, 1])


def test_the_constant_input_of_a_correlation_is_named():
    x, constant, prompts = np.arange(4.0), np.full(4, 2.5), np.arange(4)
    with pytest.raises(ValueError, match=r"y is constant \(2\.5\)"):
        stats.pearson_interval(x, constant, prompts)
    with pytest.raises(ValueError, match="x is constant"):
        stats.spearman_interval(constant, x, prompts)
    with pytest.raises(ValueError, match="truth is constant"):
        stats.r2_interval(constant, x, prompts)


def test_bad_input_is_named():
    values = np.arange(3.0)
    with pytest.raises(ValueError, match="1 missing"):
        stats.mean_interval(values, ["a", None, "b"])
    with pytest.raises(ValueError, match="each of 3 rows, and 2 or more different ones; got 2"):
        stats.mean_interval(values, ["a", "b"])
    with pytest.raises(ValueError, match="1 different"):
        stats.mean_interval(values, ["a", "a", "a"])
    with pytest.raises(ValueError, match=r"values: got \[nan\], first in row 1; expected finite"):
        stats.mean_interval(np.array([0.0, np.nan, 1.0]), [1, 2, 3])
    with pytest.raises(ValueError, match="numbers from 0 to 1"):
        stats.brier_terms(np.array([1.2]), np.array([1]))
    with pytest.raises(ValueError, match="0 or 1; drop ties"):
        stats.floor(pd.Series([0, 1, pd.NA], dtype="Int8"), np.array([1]))
    with pytest.raises(ValueError, match="preference"):
        stats.floor(np.array([1]), np.array([], dtype=int))


def test_floor_takes_the_best_constant_of_train_or_a_coin_and_ties_answer_0():
    test = np.array([1, 0, 0, 0])
    assert stats.floor(np.array([0, 1, 1]), test) == 0.5  # the constant 1 reaches a quarter
    assert stats.floor(np.array([0, 0, 1]), test) == 0.75
    assert stats.floor(np.array([0, 1]), test) == 0.75
    assert stats.floor(pd.Series([1, 1], dtype="Int8"), pd.Series([1, 0], dtype="Int8")) == 0.5


def test_losses_equal_sklearn_and_certain_mistakes_are_clipped():
    generator = np.random.default_rng(0)
    p, y = generator.random(50), generator.integers(0, 2, 50)
    assert stats.log_loss_terms(p, y).mean() == pytest.approx(log_loss(y, p))
    assert stats.brier_terms(p, y).mean() == pytest.approx(np.mean((p - y) ** 2))
    certain = stats.log_loss_terms(np.array([0.0, 0.0]), np.array([1, 0]))
    assert certain == pytest.approx([-np.log(1e-12), 0], abs=1e-9)


def test_a_calibrated_forecaster_lies_in_its_intervals_at_their_rate():
    generator, inside, errors = np.random.default_rng(0), [], []
    for _ in range(60):
        p = generator.random(1000)
        y = (generator.random(1000) < p).astype(int)
        table = stats.calibration_table(p, y, np.arange(len(p)))
        inside += list(table["probability"].between(table["share_low"], table["share_high"]))
        errors.append(stats.expected_calibration_error(p, y))
    # 600 bins: four binomial sds, and 1 point for Wilson's oscillation at about 100 pairs a bin.
    assert abs(np.mean(inside) - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 600) + 0.01
    # |share - p| of 100 pairs a bin: sqrt(2 / pi) * mean sqrt(p (1 - p)) / 10 = 0.031 on average
    assert np.mean(errors) == pytest.approx(0.031, abs=0.003)


def test_an_overconfident_forecaster_falls_outside_its_intervals():
    generator = np.random.default_rng(0)
    p = generator.random(5000)
    y = (generator.random(5000) < 0.25 + p / 2).astype(int)
    table = stats.calibration_table(p, y, np.arange(len(p)))
    assert not table["probability"].between(table["share_low"], table["share_high"])[[0, 9]].any()
    assert stats.expected_calibration_error(p, y) == pytest.approx(0.125, abs=0.03)


@settings(max_examples=25, deadline=None)
@given(
    p=st.lists(st.one_of(st.floats(0, 1), st.sampled_from([0.3, 0.7, 1.0])), min_size=1),
    bins=st.integers(1, 12),
)
def test_every_pair_is_in_the_one_bin_that_holds_its_probability(p, bins):
    p = np.array(p)
    table = stats.calibration_table(p, np.zeros(len(p), dtype=int), np.arange(len(p)), bins=bins)
    for row in table.itertuples():
        held = (p >= row.low) & ((p < row.high) | (row.high == 1.0))
        assert held.sum() == row.n > 0
        assert row.probability == pytest.approx(p[held].mean())
    assert table["n"].sum() == len(p)


def test_mcnemar_equals_statsmodels():
    generator = np.random.default_rng(0)
    a, b = generator.random((2, 60)) < np.array([[0.8], [0.6]])
    result = stats.paired_test(a, b, np.arange(60))
    table = [[(a & b).sum(), (a & ~b).sum()], [(~a & b).sum(), (~a & ~b).sum()]]
    assert result.method == "exact McNemar"
    assert result.p_value == pytest.approx(mcnemar(table, exact=True).pvalue)
    assert result.difference.estimate == pytest.approx(a.mean() - b.mean())


@pytest.mark.parametrize("prompts", [np.arange(20), np.arange(20) // 2])
def test_identical_predictors_differ_by_nothing(prompts):
    correct = np.arange(20) % 3 > 0
    result = stats.paired_test(correct, correct, prompts)
    assert result.difference == stats.Interval(0.0, 0.0, 0.0)
    assert result.p_value == 1


def test_swapping_the_predictors_negates_the_difference_and_keeps_p():
    generator = np.random.default_rng(0)
    a, b = generator.random((2, 60)) < np.array([[0.8], [0.6]])
    for prompts in (np.arange(60), np.arange(60) // 3):
        one, other = stats.paired_test(a, b, prompts), stats.paired_test(b, a, prompts)
        assert other.p_value == one.p_value
        assert other.difference.low == pytest.approx(-one.difference.high)


def test_paired_bootstrap_is_below_5_percent_just_where_the_interval_leaves_zero():
    generator, decided = np.random.default_rng(0), []
    for gain in np.linspace(0, 0.3, 30):
        a, b = generator.random((2, 120)) < np.array([[0.6 + gain], [0.6]])
        result = stats.paired_test(a, b, np.arange(120) // 2, resamples=999)
        assert result.method == "paired bootstrap by prompt"
        if abs(result.p_value - 0.05) > 0.005:  # at the edge quantiles interpolate
            outside = not covers(result.difference, 0)
            assert outside == (result.p_value < 0.05)
            decided.append(outside)
    assert 5 < sum(decided) < len(decided) - 5


def test_shuffled_predictors_are_seldom_significant():
    generator, p_values = np.random.default_rng(0), []
    for _ in range(120):
        a, b = np.repeat(generator.random((2, 80)) < 0.7, 2, axis=1)
        p_values.append(stats.paired_test(a, b, np.arange(160) // 2, resamples=199).p_value)
    # 5 %, one more for the percentile method at 80 prompts; four binomial sds
    assert np.mean(np.array(p_values) < 0.05) < 0.06 + 4 * np.sqrt(0.06 * 0.94 / 120)


@pytest.mark.parametrize("resamples", [1, 19, 199])
def test_a_bootstrap_has_no_smaller_p_value_than_its_number_of_resamples_allows(resamples):
    """The data count as one resample: without it, p would be 0 where all resamples agree."""
    better = np.ones(40)
    prompts = np.arange(40) // 2  # two pairs a prompt
    for first, second in ((better, 0 * better), (0 * better, better)):
        result = stats.paired_test(first, second, prompts, resamples=resamples)
        assert result.method == "paired bootstrap by prompt"
        assert result.p_value == min(1.0, 2 / (1 + resamples))


def test_mean_accuracy_over_both_orders_is_bootstrapped():
    result = stats.paired_test(np.array([0.5, 1.0, 1.0]), np.array([0.5, 0.0, 0.5]), [1, 2, 3])
    assert result.method == "paired bootstrap by prompt"
    assert result.difference.estimate == 0.5


@settings(max_examples=4, deadline=None)  # statsmodels collects garbage in each call
@given(st.lists(st.floats(0, 1) | st.just(0.5), min_size=1, max_size=8))
def test_holm_equals_statsmodels(p_values):
    given_, adjusted = np.array(p_values), stats.holm(p_values)
    assert adjusted == pytest.approx(multipletests(p_values, method="holm")[1])
    stats.holm(given_)
    assert given_.tolist() == p_values  # what was given stays


def test_holm_refuses_what_is_no_probability():
    for p_values in ([0.1, np.nan], [1.5], []):
        with pytest.raises(ValueError, match="numbers from 0 to 1"):
            stats.holm(p_values)


def test_holm_of_one_is_itself_and_of_three_is_as_by_hand():
    assert stats.holm([0.04]).tolist() == [0.04]
    assert stats.holm([0.01, 0.5, 0.03]) == pytest.approx([0.03, 0.5, 0.06])


def test_copies_of_a_prompt_do_not_narrow_a_share():
    won, prompts = np.array([1.0, 0.0, 1.0, 1.0]), np.arange(4)
    once = stats.share_interval(won, prompts)
    assert stats.share_interval(np.tile(won, 9), np.tile(prompts, 9)) == once
    assert stats.share_interval(np.tile(won, 9), np.arange(36)).low > once.low  # positive control


def test_intervals_of_many_columns_are_those_of_each():
    generator = np.random.default_rng(5)
    values, prompts = generator.random((80, 3)), np.repeat(np.arange(20), 4)
    together = stats.mean_intervals(values, prompts, resamples=200, seed=3)
    alone = [stats.mean_interval(column, prompts, resamples=200, seed=3) for column in values.T]
    for one, other in zip(together, alone, strict=True):
        assert list(one.as_dict().values()) == pytest.approx(list(other.as_dict().values()))


def test_resampled_rows_are_whole_prompts_and_give_the_bootstrap_s_interval():
    generator = np.random.default_rng(6)
    values, prompts = clustered(generator)
    rows = list(stats.resampled_rows(prompts, 2000, seed=2))
    drawn, counts = np.unique(prompts[rows[0]], return_counts=True)
    assert (counts % 5 == 0).all() and 1 < len(drawn) < 60 and counts.sum() == len(values)
    low, high = np.quantile([values[each].mean() for each in rows], [0.025, 0.975])
    interval = stats.mean_interval(values, prompts, seed=2)  # the same draws
    assert (low, high) == pytest.approx((interval.low, interval.high))


@given(
    prompts=st.lists(st.integers(0, 6), min_size=2, max_size=30).filter(lambda p: len(set(p)) > 1),
    seed=st.integers(0, 9),
)
def test_a_resample_has_all_rows_of_every_prompt_as_often_as_it_is_drawn(prompts, seed):
    codes, names = pd.factorize(pd.Series(prompts))
    generator = np.random.default_rng(seed)
    for rows in stats.resampled_rows(prompts, 3, seed=seed):
        drawn = generator.integers(len(names), size=len(names))
        assert rows.tolist() == [row for code in drawn for row in np.flatnonzero(codes == code)]


def test_sums_of_resamples_are_those_of_their_rows():
    generator = np.random.default_rng(0)
    values, prompts = generator.normal(size=(50, 3)), generator.integers(20, size=50)
    sums = stats.resampled_sums(values, prompts, 40, seed=7)
    expected = [values[rows].sum(axis=0) for rows in stats.resampled_rows(prompts, 40, seed=7)]
    assert np.allclose(sums, expected, rtol=1e-12)


def test_equal_prompts_drawn_together_give_the_same_distribution_of_means(monkeypatch):
    generator = np.random.default_rng(3)
    prompts = np.repeat(np.arange(400), generator.integers(1, 3, size=400))
    values = generator.integers(0, 3, size=(len(prompts), 2)).astype(float)
    values = np.column_stack([values, np.ones(len(values))])
    apart = stats.resampled_sums(values, prompts, 4000)
    monkeypatch.setattr("dtreward.stats.MANY", 0)
    together = stats.resampled_sums(values, prompts, 4000)
    assert not np.array_equal(apart, together)  # it did go the other way
    # Of 4,000 draws a mean has a standard error of sd / 63, a spread one of about 1 / 90 of itself.
    spread = apart.std(axis=0)
    assert (
        np.abs(apart.mean(axis=0) - together.mean(axis=0)) < 5 * spread * np.sqrt(2 / 4000)
    ).all()
    assert np.allclose(spread, together.std(axis=0), rtol=5 / 63)
    assert np.allclose(np.corrcoef(apart.T), np.corrcoef(together.T), atol=5 / 63)


def test_values_that_hardly_repeat_are_drawn_as_few_are(monkeypatch):
    values = np.random.default_rng(0).normal(size=(300, 1))
    direct = stats.resampled_sums(values, range(300), 20)
    monkeypatch.setattr("dtreward.stats.MANY", 0)
    assert np.array_equal(direct, stats.resampled_sums(values, range(300), 20))


def test_a_gain_in_correlation_is_the_difference_of_both_and_pairs_them():
    random = np.random.default_rng(0)
    truth = random.normal(size=400)
    close = truth + 0.1 * random.normal(size=400)
    far = truth + 2 * random.normal(size=400)
    gain = stats.correlation_gain_interval(truth, close, far, range(400), resamples=200)
    expected = np.corrcoef(truth, close)[0, 1] - np.corrcoef(truth, far)[0, 1]
    assert gain.estimate == pytest.approx(expected, abs=1e-12)
    assert gain.low > 0
    none = stats.correlation_gain_interval(truth, far, far, range(400), resamples=200)
    assert max(abs(none.low), abs(none.high)) < 1e-12, "only rounding is left"
    mixed = random.permutation(truth)
    options = {"truth_of_other": mixed, "resamples": 200}
    gain = stats.correlation_gain_interval(truth, close, far, range(400), **options)
    expected = np.corrcoef(truth, close)[0, 1] - np.corrcoef(mixed, far)[0, 1]
    assert gain.estimate == pytest.approx(expected, abs=1e-12)


def test_a_difference_is_found_at_its_rate_and_equality_only_within_the_margin():
    """Of models that are equal, 5 % are called different; of those a margin apart, 5 % equal."""
    generator = np.random.default_rng(0)
    prompts = np.repeat(np.arange(80), 2)
    called_different = 0
    called_equal = 0
    for _ in range(200):
        a, b = generator.normal(size=(2, 160))
        options = {"margin": 0.3, "resamples": 300, "seed": 1}
        called_different += stats.difference_test(a, b, prompts, **options).p_different <= 0.05
        called_equal += stats.difference_test(a + 0.3, b, prompts, **options).p_equal <= 0.05
    assert called_different <= 20 and called_equal <= 20


def test_few_prompts_show_neither_a_difference_nor_equality():
    values = np.random.default_rng(0).normal(size=(2, 6))
    test = stats.difference_test(*values, range(6), margin=0.02)
    assert test.p_different > 0.05 and test.p_equal > 0.05


def test_many_prompts_show_that_two_models_are_equal_within_the_margin():
    right = np.random.default_rng(0).random(4000) < 0.8
    test = stats.difference_test(right, right, range(4000), margin=0.02)
    assert test.p_equal < 0.001 and test.p_different == 1


@pytest.mark.parametrize(
    ("interval", "prompts", "found"),
    [
        (stats.Interval(0.8, 0.6, 0.9), 20, True),
        (stats.Interval(0.3, 0.1, 0.4), 20, False),
        (stats.Interval(0.6, 0.4, 0.9), 200, None),
        (stats.Interval(0.8, 0.5, 0.9), 200, None),
        (stats.Interval(0.8, 0.6, 0.9), 19, None),
    ],
)
def test_what_an_interval_says_of_a_limit(interval, prompts, found):
    assert stats.lies_above(interval, 0.5, prompts) is found


def rates_with_prompt_effects(generator, prompts=60, rows=3):
    """Right or wrong, alike within a prompt; every prompt is in one of two groups."""
    rate = np.repeat(generator.beta(2, 2, size=prompts), rows)
    right = (generator.random(prompts * rows) < rate).astype(float)
    group = np.repeat(generator.permutation(np.arange(prompts) % 2), rows)
    return right, group, np.repeat(np.arange(prompts), rows)


def test_groups_without_a_difference_are_told_apart_at_most_at_the_rate_of_the_test():
    generator = np.random.default_rng(0)
    found = []
    for _ in range(40):
        right, group, prompts = rates_with_prompt_effects(generator)
        table = stats.rates_by_group(right, group, prompts, resamples=200)
        found.append(table["p"].min() <= 0.05)
    # Both groups have one p, which Holm doubles: 0.025. Four binomial standard deviations more.
    assert np.mean(found) <= 0.025 + 4 * np.sqrt(0.025 * 0.975 / 40)


def test_a_group_that_differs_is_found_and_one_that_is_all_right_by_chance_is_not():
    generator = np.random.default_rng(1)
    right, group, prompts = rates_with_prompt_effects(generator, prompts=200)
    right[(group == 1) & (generator.random(len(right)) < 0.5)] = 1.0
    assert stats.rates_by_group(right, group, prompts)["p"].max() < 0.01
    mostly = np.repeat([1.0, 0.0, 1.0], [180, 20, 20])  # 20 of 20 beside 180 of 200: p = 0.23
    table = stats.rates_by_group(mostly, np.repeat(["a", "b"], [200, 20]), np.arange(220))
    assert table["p"].min() > 0.2
    assert table["low"][1] < 0.9 and table["high"][1] == 1.0


def test_a_group_of_few_prompts_has_a_rate_but_no_test_and_rows_without_a_group_are_left_out():
    group = np.array(["a"] * 30 + ["b"] * 25 + ["c"] * 19 + [None], dtype=object)
    right = np.arange(75) % 2 * 1.0
    table = stats.rates_by_group(right, group, np.arange(75)).set_index("group")
    assert table["n"].to_dict() == {"a": 30, "b": 25, "c": 19}
    assert table["p"].isna().to_dict() == {"a": False, "b": False, "c": True}
    alone = stats.rates_by_group(right[:30], group[:30], np.arange(30))
    assert alone["p"].isna().all()


def test_models_that_never_differ_are_equal_only_on_enough_prompts():
    for prompts, outcome in {40: None, 148: None, 149: True}.items():  # 0.98 ** 149 < 0.05
        right = np.arange(prompts) % 2
        test = stats.difference_test(right, right, range(prompts), margin=0.02, resamples=50)
        assert stats.are_equal(test, 0.02, prompts) is outcome
    apart = stats.difference_test(np.ones(60), np.zeros(60), range(60), margin=0.02, resamples=50)
    assert stats.are_equal(apart, 0.02, 60) is False and stats.are_equal(apart, 0.02, 12) is None

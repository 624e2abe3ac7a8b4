"""What sways each judge: position, length, and what is left of its agreement with people.

Everything here is measured on the pairs that a judge answered in both orders. It is *right* on
such a pair by the share of its two answers that name the response that people prefer: 1 or 0
where both answers name one response, one half where it names one position twice. So a judge that
answers by position, or by a coin, is right in one half of all pairs, short and long alike.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Real

from dtreward.judges.outcomes import ANSWERED
from dtreward.judges.verdict import asked_once
from dtreward.stats import Interval, alike_interval, resampled_sums

SHARES = ("consistency", "first", "right_is_longer", "right_is_shorter", "takes_longer")
EFFECTS = {"length_effect": -1.0, "beyond_length": 1.0}  # sign of the second share
MEASURES = ("consistency", "first", "length_effect", "beyond_length", "takes_longer")
DRAWS_A_TAIL = 5  # of the resamples beyond each end of a corrected interval, at least
# What a judge would reach that tosses coins, follows a position, follows length, or people.
REFERENCES = pd.DataFrame(
    {
        "a coin": (0.5, 0.5, 0.0, 0.0, 0.5),
        "always the first": (0.0, 1.0, 0.0, 0.0, 0.5),
        "always the longer": (1.0, np.nan, 1.0, 0.0, 1.0),
        "people": (1.0, np.nan, 0.0, 1.0, np.nan),
    },
    index=pd.Index(MEASURES, name="measure"),
).T


def list_answers(
    judges: pd.DataFrame, people: pd.Series, longer: Real[np.ndarray, " pairs"]
) -> pd.DataFrame:
    """List what each judge did on each pair that it answered in both orders.

    Args:
        judges: rows of `judges.parquet`: judge, family, pair, prompt_id, given, outcome, preference.
        people: their preference by pair: 0, 1, or missing.
        longer: words that response 2 has more than response 1, of each pair in `people`.

    Returns:
        A row for each judge and pair: judge, family, pair, prompt_id, and five numbers, each from 0
        to 1: consistent (nan where judges saw one order only), first (it named the first position twice; nan where it did not contradict
        itself or nobody knows its answers), right, is_longer (people prefer the longer response),
        takes_longer (share of its two answers). Without a preference of people right and is_longer
        are nan; so are is_longer and takes_longer where lengths are equal.

    Example:
        >>> row = {"judge": "J", "family": "F", "pair": 3, "prompt_id": 0}
        >>> row |= {"given": "A", "outcome": "inconsistent", "preference": None}
        >>> answers = list_answers(pd.DataFrame([row]), pd.Series([1], index=[3]), np.array([5]))
        >>> answers[["consistent", "first", "right", "is_longer"]].values.tolist()
        [[0.0, 1.0, 0.5, 1.0]]
    """
    answers = judges[judges["outcome"].isin(ANSWERED)]
    preferred = people.astype("Float64").reindex(answers["pair"]).to_numpy(float, na_value=np.nan)
    words = pd.Series(longer, people.index).reindex(answers["pair"]).to_numpy(float)
    second_is_longer = np.where(words == 0, np.nan, (words > 0).astype(float))
    is_consistent = (answers["outcome"] == "decided").to_numpy()
    verdict = answers["preference"].astype("Float64").to_numpy(float, na_value=np.nan)
    verdict = np.where(is_consistent, verdict, 0.5)
    is_torn = ~is_consistent & answers["given"].notna().to_numpy()
    rows = answers[["judge", "family", "pair", "prompt_id"]].copy()
    rows["consistent"] = np.nan if asked_once(judges) else is_consistent.astype(float)
    rows["first"] = np.where(is_torn, answers["given"] == "A", np.nan).astype(float)
    rows["right"] = 1 - np.abs(verdict - preferred)
    rows["is_longer"] = 1 - np.abs(second_is_longer - preferred)
    rows["takes_longer"] = 1 - np.abs(verdict - second_is_longer)
    return rows.reset_index(drop=True)


def measure_biases(answers: pd.DataFrame, *, resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Measure what sways each judge, with intervals that hold for all judges together.

    Args:
        answers: as `list_answers` gives them.
        resamples: of prompts; more are drawn where the correction for many judges needs them.

    Returns:
        A row a judge, in the order of `answers`: family, pairs, and five measures, each with
        `_low`, `_high` and `_prompts` (different prompts that it rests on):

        - consistency: share of pairs on which both orders name one response
        - first: of the pairs on which it contradicts itself, the share in which it names the first
          position
        - length_effect: how often it is right where people prefer the longer response, minus how
          often where they prefer the shorter one; 1 if it follows length alone
        - beyond_length: the sum of the two, minus 1 (Youden's J): agreement with people that
          following length cannot give; 1 if it is always right, 0 for a coin, a position or length
        - takes_longer: share of its answers that name the longer response

        The intervals are percentile bootstraps by prompt at the level 1 - 0.05 / judges
        (Bonferroni), nan where fewer than two prompts tell. Where all pairs of a share are alike,
        its interval is `stats.alike_interval`, and an effect has the ends that its two shares allow.

    Source: Youden (1950), Index for rating diagnostic tests, Cancer 3, 32-35.
    """
    judges = list(dict.fromkeys(answers["judge"]))
    level = 1 - 0.05 / max(1, len(judges))
    options = {"resamples": max(resamples, _enough(level)), "seed": seed}
    parts = {name: _share_of(answers, name, judges) for name in SHARES}
    draws = _draw_shares(parts, answers, options)
    table = answers.groupby("judge", sort=False).agg(
        family=("family", "first"), pairs=("pair", "size")
    )
    for name in ("consistency", "first", "takes_longer"):
        bounds = [
            _share_interval(parts[name][judge], draws[name][judge], level) for judge in judges
        ]
        _add(table, name, bounds, [_prompts(parts[name][judge]) for judge in judges])
    longer = parts["right_is_longer"]
    shorter = parts["right_is_shorter"]
    fewest = [min(_prompts(longer[judge]), _prompts(shorter[judge])) for judge in judges]
    for name, sign in EFFECTS.items():
        bounds = []
        for judge in judges:
            ends = [(longer[judge], draws["right_is_longer"][judge])]
            ends.append((shorter[judge], draws["right_is_shorter"][judge]))
            bounds.append(_effect_interval(ends, sign, level))
        _add(table, name, bounds, fewest)
    return table


def biases_by_subset(
    answers: pd.DataFrame, subset_of_pair: pd.Series, **options: int
) -> pd.DataFrame:
    """Measure biases in each set of pairs, corrected for the judges of that set; never over sets.

    Args:
        subset_of_pair: the name of each pair's set.
        options: of `measure_biases`.

    Returns:
        The rows of `measure_biases` behind the columns subset and judge.
    """
    subset = subset_of_pair.reindex(answers["pair"]).to_numpy()
    tables = {}
    for name, part in answers.groupby(subset, sort=True):
        if part["prompt_id"].nunique() > 1:
            tables[name] = measure_biases(part, **options)
    return pd.concat(tables, names=["subset"]).reset_index()


def common_subsets(judges: pd.DataFrame, subset_of_pair: pd.Series) -> list[str]:
    """Name the sets of pairs all of which all judges were asked about.

    Example:
        >>> judges = pd.DataFrame({"judge": ["I", "J", "I"], "pair": [0, 0, 1]})
        >>> common_subsets(judges, pd.Series(["x", "y"]))
        ['x']
    """
    asked = judges.groupby("pair")["judge"].nunique().reindex(subset_of_pair.index, fill_value=0)
    is_common = (asked == judges["judge"].nunique()).groupby(subset_of_pair).all()
    return sorted(is_common.index[is_common])


def favoured_position(table: pd.DataFrame, fewest: int) -> pd.Series:
    """Say which position each judge names when it contradicts itself: first, second or "".

    Args:
        table: as `measure_biases` gives it.
        fewest: prompts with a contradiction that a judge needs to tell.

    Returns:
        "" where the interval holds one half, or rests on too few prompts.
    """
    enough = table["first_prompts"] >= fewest
    is_first = enough & (table["first_low"] > 0.5)
    is_second = enough & (table["first_high"] < 0.5)
    named = np.select([is_first, is_second], ["first", "second"], "")
    return pd.Series(named, table.index, name="favours")


def _share_of(answers: pd.DataFrame, name: str, judges: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Give the value and the prompt of each pair that counts in a share, by judge."""
    column = {"consistency": "consistent", "first": "first", "takes_longer": "takes_longer"}
    value = answers[column.get(name, "right")]
    if name == "right_is_longer":
        value = value.where(answers["is_longer"] == 1)
    elif name == "right_is_shorter":
        value = value.where(answers["is_longer"] == 0)
    rows = answers[["judge", "prompt_id"]].assign(value=value).dropna()
    by_judge = dict(list(rows.groupby("judge")))
    return {judge: by_judge.get(judge, rows.head(0)) for judge in judges}


def _draw_shares(
    parts: dict[str, dict[str, pd.DataFrame]], answers: pd.DataFrame, options: dict[str, int]
) -> dict[str, pd.DataFrame]:
    """Draw prompts once for all judges and shares, and give the share of each in each resample."""
    codes, prompts = pd.factorize(answers["prompt_id"])
    code_of = pd.Series(codes, answers.index)
    totals = {}
    for name, by_judge in parts.items():
        for judge, rows in by_judge.items():
            of_row = code_of.loc[rows.index]
            values = rows["value"].to_numpy()
            totals[name, judge, "sum"] = np.bincount(of_row, values, minlength=len(prompts))
            totals[name, judge, "size"] = np.bincount(of_row, minlength=len(prompts))
    table = pd.DataFrame(totals)
    sums = resampled_sums(table.to_numpy(float), prompts, **options)
    drawn = pd.DataFrame(sums, columns=table.columns)
    part = drawn.xs("sum", axis=1, level=2)
    whole = drawn.xs("size", axis=1, level=2)
    shares = part / whole.where(whole > 0)
    return {name: shares[name] for name in parts}


def _share_interval(rows: pd.DataFrame, draws: pd.Series, level: float) -> Interval:
    """Give the interval of a share, with a width also where all its pairs are alike."""
    if rows["prompt_id"].nunique() < 2:
        return Interval(float(rows["value"].mean()), np.nan, np.nan)
    if rows["value"].nunique() == 1:
        largest = rows["prompt_id"].value_counts(normalize=True).max()
        return alike_interval(float(rows["value"].iloc[0]), float(largest), level=level)
    low, high = np.nanquantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(rows["value"].mean()), float(low), float(high))


def _effect_interval(
    ends: Sequence[tuple[pd.DataFrame, pd.Series]], sign: float, level: float
) -> Interval:
    """Give the interval of one share plus or minus another, which rest on different pairs."""
    (longer, longer_draws), (shorter, shorter_draws) = ends
    shift = -1.0 if sign > 0 else 0.0
    estimate = longer["value"].mean() + sign * shorter["value"].mean() + shift
    if min(_prompts(longer), _prompts(shorter)) < 2:
        return Interval(float(estimate), np.nan, np.nan)
    if min(longer["value"].nunique(), shorter["value"].nunique()) > 1:
        draws = longer_draws + sign * shorter_draws + shift
        low, high = np.nanquantile(draws, [(1 - level) / 2, (1 + level) / 2])
        return Interval(float(estimate), float(low), float(high))
    # A bootstrap of equal values has no width: each share gets half of the error instead.
    each = 1 - (1 - level) / 2
    first = _share_interval(longer, longer_draws, each)
    second = _share_interval(shorter, shorter_draws, each)
    other = (second.low, second.high) if sign > 0 else (-second.high, -second.low)
    return Interval(float(estimate), first.low + other[0] + shift, first.high + other[1] + shift)


def _prompts(rows: pd.DataFrame) -> int:
    return int(rows["prompt_id"].nunique())


def _enough(level: float) -> int:
    """Give the resamples that leave `DRAWS_A_TAIL` of them beyond each end of an interval."""
    return round(2 * DRAWS_A_TAIL / (1 - level))


def _add(
    table: pd.DataFrame, name: str, intervals: Sequence[Interval], prompts: Sequence[int]
) -> None:
    """Add a measure's columns to the table."""
    table[name] = [interval.estimate for interval in intervals]
    table[f"{name}_low"] = [interval.low for interval in intervals]
    table[f"{name}_high"] = [interval.high for interval in intervals]
    table[f"{name}_prompts"] = list(prompts)

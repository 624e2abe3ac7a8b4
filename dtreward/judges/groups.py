"""How people and judges differ from one group of pairs to another: rates, and a tree a group."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
from jaxtyping import Real, Shaped

from dtreward.judges.trees import DecidedPairs, Fit, root_attribute
from dtreward.judges.verdict import asked_once
from dtreward.stats import (
    FEWEST_PROMPTS,
    accuracy_interval,
    holm,
    paired_test,
    rates_by_group,
)

CONSISTENCY = "names the same response in both orders"
AGREEMENT = "agrees with people"
LONGER = "prefers the longer response"
RESAMPLES_A_TEST = 40  # so that p can still be below 0.05 after correction for all tests
LEAST_EACH = 5  # pairs with either preference that a tree of a group needs


def judged_values(
    judges: pd.DataFrame, votes: pd.DataFrame, longer: Real[np.ndarray, " pairs"]
) -> pd.DataFrame:
    """List what each judge did on each pair, as values of 0 and 1 to average.

    Args:
        judges: rows of `judges.parquet`.
        votes: preferences, 0 or 1 or nan (undecided), one row a pair, one column a judge;
            "Human" is one of them.
        longer: words that response 2 has more than response 1, of the rows of `votes`.

    Returns:
        A row a value: measure, judge, pair, value. Consistency needs answers in both orders,
        agreement a preference of both, and the longer response two different lengths.

    Example:
        >>> judges = pd.DataFrame({"judge": ["J"], "pair": [3], "outcome": ["decided"]})
        >>> votes = pd.DataFrame({"Human": [1.0], "J": [1.0]}, index=[3])
        >>> table = judged_values(judges, votes, np.array([-4]))
        >>> table[table["judge"] == "J"].set_index("measure")["value"].to_dict()[LONGER]
        0.0
    """
    saw_both = not asked_once(judges)
    answered = judges[judges["outcome"].isin(["decided", "inconsistent"]) & saw_both]
    outcome = answered.pivot(index="pair", columns="judge", values="outcome")
    consistent = (outcome == "decided").astype(float).where(outcome.notna())
    people = votes["Human"]
    has_longer = pd.Series(np.where(longer == 0, np.nan, longer > 0), votes.index)
    columns = {}
    for judge in votes.columns.drop("Human").intersection(consistent.columns, sort=False):
        columns[CONSISTENCY, judge] = consistent[judge]
    for judge in votes.columns.drop("Human"):
        columns[AGREEMENT, judge] = _is_same(votes[judge], people)
    for judge in votes:
        columns[LONGER, judge] = _is_same(votes[judge], has_longer)
    return (
        pd.concat(columns, names=["measure", "judge", "pair"])
        .rename("value")
        .dropna()
        .reset_index()
    )


def _is_same(one: pd.Series, other: pd.Series) -> pd.Series:
    """Say 1 where both are the same and 0 where not; nan where one is not known."""
    return (one == other).astype(float).where(one.notna() & other.notna())


def compare_rates(
    values: pd.DataFrame,
    group: pd.Series,
    prompt: pd.Series,
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Give each judge's rates by group of pairs, and test whether a group differs from the others.

    Args:
        values: as `judged_values` lists them.
        group: of each pair, by the pairs' row numbers; missing: in no group.
        prompt: of each pair.
        resamples: for intervals and tests; where a measure has many tests, as many more shuffles as
            it takes to find a difference among them.

    Returns:
        A row for each measure, judge and group: measure, judge, group, n, prompts, estimate, low,
        high, p. The p-values are corrected for all tests of the measure, and nan where 20 prompts
        are not there to tell.

    Raises:
        ValueError: if no judged pair has a group.
    """
    rows = values.assign(group=group.reindex(values["pair"]).to_numpy()).dropna(subset="group")
    if rows.empty:
        raise ValueError("no judged pair has a group: name another column, or fill it")
    tables = []
    for measure, of_measure in rows.groupby("measure", sort=False):
        judges = of_measure["judge"].nunique()
        tests = judges * of_measure["group"].nunique()
        shuffles = max(resamples, RESAMPLES_A_TEST * tests)
        options = {"resamples": resamples, "seed": seed, "shuffles": shuffles}
        for judge, part in of_measure.groupby("judge", sort=False):
            prompts = prompt.reindex(part["pair"]).to_numpy()
            if len(np.unique(prompts)) > 1:
                table = rates_by_group(part["value"], part["group"], prompts, **options)
                table["p"] = (table["p"] * judges).clip(
                    upper=1.0
                )  # Holm within it, Bonferroni over
                tables.append(table.assign(measure=measure, judge=judge))
    names = ["measure", "judge", "group", "n", "prompts", "estimate", "low", "high", "p"]
    return pd.concat(tables, ignore_index=True)[names] if tables else pd.DataFrame(columns=names)


def compare_trees(
    decided: Mapping[str, DecidedPairs],
    groups: Mapping[str, Shaped[np.ndarray, " pairs"]],
    fit: Fit,
    *,
    folds: int = 5,
    least_pairs: int = 20,
    seed: int = 0,
    **options: int,
) -> pd.DataFrame:
    """Ask whether a group of pairs needs a tree of its own.

    A judge's tree of one group, cross-validated by prompt within it, is set beside a tree of all
    pairs whose prompts are not in the group. Both are measured on the group's pairs.

    Args:
        decided: the pairs of each judge.
        groups: the group of each of these pairs, by judge; missing: in no group.
        folds: parts of cross-validation, at least 2.
        least_pairs: fewest pairs of a group that get a tree, `LEAST_EACH` or more with either
            preference.
        options: `resamples` of intervals and tests.

    Returns:
        A row for each judge and group that has pairs enough: judge, group, pairs, prompts, root (of
        the tree of all its pairs), own (accuracy of the group's tree), others (of the other tree),
        gain (own minus others), each with _low and _high, and p of "gain is 0", corrected for the
        number of rows (Holm); nan with fewer than 20 prompts.
    """
    tests = sum(pd.Series(own).nunique() for own in groups.values())
    rows = []
    for judge, pairs in decided.items():
        group_of_pair = pd.Series(groups[judge])
        for name in sorted(group_of_pair.dropna().unique()):
            is_inside = (group_of_pair == name).to_numpy()
            is_outside = ~np.isin(pairs.prompts, pairs.prompts[is_inside])
            inside = replace(pairs.take(is_inside), is_test=np.zeros(is_inside.sum(), dtype=bool))
            outside = pairs.take(is_outside)
            is_large = len(inside) >= least_pairs and inside.least_preferred >= LEAST_EACH
            can_be_tested = inside.can_be_tested(folds=folds, seed=seed)
            if is_large and can_be_tested and outside.least_preferred >= LEAST_EACH:
                row = {"judge": judge, "group": name}
                rows.append(row | _measure(inside, outside, fit, folds, seed, options, tests))
    columns = ["judge", "group", "pairs", "prompts", "root"]
    for name in ("own", "others", "gain"):
        columns += [name, f"{name}_low", f"{name}_high"]
    table = pd.DataFrame(rows, columns=[*columns, "p"])
    is_tested = table["p"].notna()
    if is_tested.any():
        table.loc[is_tested, "p"] = holm(table.loc[is_tested, "p"])
    return table


def _measure(
    group: DecidedPairs,
    others: DecidedPairs,
    fit: Fit,
    folds: int,
    seed: int,
    options: Mapping[str, int],
    tests: int,
) -> dict[str, float | int | str]:
    """Measure a group's own tree and that of the other pairs on the group's pairs."""
    own_is_right = np.zeros(len(group))
    for part in group.evaluations(folds=folds, seed=seed):
        tree = fit(group.differences[part.train], group.preference[part.train])
        predicted = tree.predict(group.differences[part.test])
        own_is_right[part.test] = predicted == group.preference[part.test]
    other_tree = fit(others.differences, others.preference)
    other_is_right = (other_tree.predict(group.differences) == group.preference).astype(float)
    settings = {"seed": seed, **options}
    is_one_pair_a_prompt = len(np.unique(group.prompts)) == len(group)
    draws = settings.get("resamples", 2000)
    if not is_one_pair_a_prompt:  # else the test is exact, and needs no resamples
        draws = max(draws, RESAMPLES_A_TEST * tests)
    test = paired_test(
        own_is_right, other_is_right, group.prompts, **settings | {"resamples": draws}
    )
    prompts = len(np.unique(group.prompts))
    own_tree = fit(group.differences, group.preference)
    row = {"pairs": len(group), "prompts": prompts, "root": root_attribute(own_tree)}
    intervals = {
        "own": accuracy_interval(own_is_right, group.prompts, **settings),
        "others": accuracy_interval(other_is_right, group.prompts, **settings),
        "gain": test.difference,
    }
    for name, interval in intervals.items():
        row |= {name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}
    return row | {"p": test.p_value if prompts >= FEWEST_PROMPTS else np.nan}

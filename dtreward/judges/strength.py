"""Which attributes go with a judge's preferences, one attribute at a time.

A tree names the first of two attributes that say the same, and hides the other. These measures look
at each attribute alone, so that twins stand beside each other.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float, Real, Shaped

from dtreward.judges.trees import DecidedPairs
from dtreward.names import isolate
from dtreward.stats import Interval, Prompts, resampled_sums
from dtreward.tree.tree import Differences

TWINS = 0.5  # correlation of differences from which two attributes say much the same
ALL_BUT_EQUAL = 0.999  # a correlation from which two regressors cannot be told apart
BOUNDS = ("estimate", "low", "high")
MEASURES = ("differs", "kappa", "strength", "effect at equal length")


def attribute_strengths(
    differences: Differences,
    preference: Shaped[np.ndarray, " pairs"],
    longer: Real[np.ndarray, " pairs"],
    prompts: Prompts,
    attributes: Sequence[str],
    **options: int,
) -> pd.DataFrame:
    """Measure how each attribute alone goes with preferences, with intervals by prompt.

    Args:
        differences: response 2 minus response 1.
        preference: 0 (response 1) or 1 (response 2).
        longer: words that response 2 has more than response 1.
        prompts: of each pair.
        attributes: names of the columns.
        options: of the bootstrap: `resamples`, `seed`.

    Returns:
        A row an attribute and measure: attribute, measure, estimate, low, high. The measures:

        - "differs": share of pairs in which the two responses differ on the attribute
        - "kappa": Cohen's kappa of "response 2 has more of it" and "response 2 is preferred", on
          the pairs that differ; 1 if the judge always wants more, -1 if always less
        - "strength": kappa times the share that differs
        - "effect at equal length": rise of the log odds of response 2 for one standard deviation
          of the difference, in a logistic regression with the length difference beside it; nan
          where the data do not bound it

    Source: kappa and strength as in Feedback Forensics (github.com/rdnfn/feedback-forensics).

    Example:
        >>> d = np.array([[-1.0], [1.0], [1.0], [0.0]] * 9)
        >>> preference = np.array([0, 1, 0, 1] * 9)
        >>> table = attribute_strengths(d, preference, d[:, 0], range(36), ["h"], resamples=50)
        >>> table.set_index("measure")["estimate"].round(2)[["differs", "kappa", "strength"]].tolist()
        [0.75, 0.4, 0.3]
    """
    by_answer = _kappa_and_strength(differences, preference, prompts, **options)
    rows = []
    for place, name in enumerate(attributes):
        column = differences[:, place]
        measured = {measure: intervals[place] for measure, intervals in by_answer.items()}
        measured["effect at equal length"] = _effect(column, preference, longer, prompts)
        for measure in MEASURES:
            row = {"attribute": name, "measure": measure}
            rows.append(row | measured[measure].as_dict())
    return pd.DataFrame(rows)


def judge_strengths(
    decided: Mapping[str, DecidedPairs],
    longer: Mapping[str, Real[np.ndarray, " pairs"]],
    attributes: Sequence[str],
    **options: int,
) -> pd.DataFrame:
    """Measure `attribute_strengths` of each judge: its rows, behind a column judge.

    Args:
        decided: the pairs that each judge decided; may be empty.
        longer: by judge, words that response 2 has more than response 1 in these pairs.
    """
    tables = [pd.DataFrame(columns=["judge", "attribute", "measure", *BOUNDS])]
    for judge, pairs in decided.items():
        table = attribute_strengths(
            pairs.differences,
            pairs.preference,
            longer[judge],
            pairs.prompts,
            attributes,
            **options,
        )
        tables.append(table.assign(judge=judge))
    return pd.concat(tables[1:] or tables, ignore_index=True)[list(tables[0])]


def beside_importance(strengths: pd.DataFrame, importances: pd.DataFrame) -> pd.DataFrame:
    """Set each attribute's strength beside its importance in the tree.

    Args:
        strengths: as `judge_strengths` gives them.
        importances: as `trees.importance_spreads` gives them.

    Returns:
        A row a judge and attribute: judge, attribute, strength, strength_low, strength_high,
        importance, importance_low, importance_high, and hidden: by how much the strength, without
        its sign, is above the importance.

    Example:
        >>> row = {"judge": "J", "attribute": "h", "estimate": -0.5, "low": -0.6, "high": -0.4}
        >>> importances = pd.DataFrame(
        ...     {"importance": [0.1], "low": [0.0], "high": [0.2], "tree": [0.1]},
        ...     index=pd.MultiIndex.from_tuples([("J", "h")], names=["judge", "attribute"]),
        ... )
        >>> table = beside_importance(pd.DataFrame([row | {"measure": "strength"}]), importances)
        >>> table[["strength", "importance", "hidden"]].round(2).values.tolist()
        [[-0.5, 0.1, 0.4]]
    """
    strength = strengths[strengths["measure"] == "strength"].drop(columns="measure")
    names = dict(zip(BOUNDS, ["strength", "strength_low", "strength_high"], strict=True))
    importance = importances.drop(columns="tree").add_prefix("importance_")
    importance = importance.rename(columns={"importance_importance": "importance"}).reset_index()
    table = strength.rename(columns=names).merge(importance, on=["judge", "attribute"])
    return table.assign(hidden=table["strength"].abs() - table["importance"])


def _kappa_and_strength(
    differences: Differences,
    preference: Shaped[np.ndarray, " pairs"],
    prompts: Prompts,
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, list[Interval]]:
    """Give the measures that rest on which response has more, an interval an attribute."""
    differs = differences != 0
    has_more = differences > 0
    prefers = (np.asarray(preference) == 1)[:, None]
    # Sums of these columns give every measure; a constant answer would agree by chance.
    moments = (differs, (has_more == prefers) & differs, has_more, prefers & differs)
    counted = np.column_stack([np.ones(len(differences)), *moments]).astype(float)
    draws = resampled_sums(counted, prompts, resamples, seed=seed)
    sums = np.vstack([counted.sum(axis=0), draws])
    pairs = sums[:, :1]
    differ, agree, more, second = np.split(sums[:, 1:], 4, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):  # nan where no two responses differ
        by_chance = (more * second + (differ - more) * (differ - second)) / differ**2
        kappa = (agree / differ - by_chance) / (1 - by_chance)
    share = differ / pairs
    return {
        "differs": _intervals(share),
        "kappa": _intervals(kappa),
        "strength": _intervals(kappa * share),
    }


def _intervals(values: Float[np.ndarray, "rows attributes"]) -> list[Interval]:
    """Take the first row as estimates and the others as their resamples; leaves nan out."""
    bounds = pd.DataFrame(values[1:]).quantile([0.025, 0.975]).to_numpy()
    return [Interval(*column) for column in np.vstack([values[0], bounds]).T.tolist()]


def _effect(
    difference: Float[np.ndarray, " pairs"],
    preference: Shaped[np.ndarray, " pairs"],
    longer: Real[np.ndarray, " pairs"],
    prompts: Prompts,
) -> Interval:
    """Give a logistic regression's effect of an attribute, beside the length, with errors by prompt."""
    import statsmodels.api as sm  # takes a second

    nothing = Interval(np.nan, np.nan, np.nan)
    length = np.asarray(longer, float)
    if np.ptp(difference) == 0 or len(set(np.asarray(preference).tolist())) < 2:
        return nothing
    columns = [np.ones(len(difference)), difference / difference.std()]
    if np.ptp(length) > 0:
        if abs(np.corrcoef(difference, length)[0, 1]) > ALL_BUT_EQUAL:
            return nothing
        columns.append(length / length.std())
    groups = pd.factorize(pd.Series(prompts))[0]
    model = sm.Logit(np.asarray(preference, float), np.column_stack(columns))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of a regression that found no end
        try:
            fitted = model.fit(disp=0, cov_type="cluster", cov_kwds={"groups": groups})
        except (Warning, np.linalg.LinAlgError, ValueError):
            return nothing
    low, high = fitted.conf_int()[1]
    return Interval(float(fitted.params[1]), float(low), float(high))


def describe_both(beside: pd.DataFrame, attribute: str) -> str:
    """Write strength and importance of an attribute to one judge, with their intervals.

    Args:
        beside: the rows of one judge in the table of `beside_importance`.

    Example:
        >>> row = {"attribute": "h", "strength": 0.5, "strength_low": 0.4, "strength_high": 0.6}
        >>> row |= {"importance": 0.2, "importance_low": 0.1, "importance_high": 0.3}
        >>> describe_both(pd.DataFrame([row]), "h")
        'has strength 0.500 [0.400, 0.600] and importance 0.200 [0.100, 0.300]'
    """
    row = beside.set_index("attribute").loc[attribute]
    texts = []
    for name in ("strength", "importance"):
        texts.append(f"{name} {Interval(row[name], row[f'{name}_low'], row[f'{name}_high'])}")
    return f"has {' and '.join(texts)}"


def strength_reading(beside: pd.DataFrame, top: str, correlation: pd.DataFrame) -> str:
    """Say where strength and importance part, for people and over all judges.

    Args:
        beside: as `beside_importance` gives it, "Human" among the judges.
        top: the attribute that people's trees lean on most.
        correlation: of the differences of the attributes.
    """
    of_people = beside[beside["judge"] == "Human"]
    hidden = of_people.set_index("attribute")["hidden"].idxmax()
    names = dict.fromkeys((top, hidden))
    both = "; ".join(f"**{isolate(name)}** {describe_both(of_people, name)}" for name in names)
    reading = f"For people, {both}. "
    together = correlation.loc[top, hidden]
    if together >= TWINS and hidden != top:
        reading += f"Their differences correlate at {together:.2f}: the tree asks about one. "
    judge, name = beside.loc[beside["hidden"].idxmax(), ["judge", "attribute"]]
    return reading + f"Strength is farthest above importance for {judge}, on {isolate(name)}."

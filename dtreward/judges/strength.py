"""Which attributes go with a judge's preferences, one attribute at a time.

A tree names the first of two attributes that say the same, and hides the other. These measures look
at each attribute alone, so that twins stand beside each other.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float, Real, Shaped

from dtreward.stats import Interval, Prompts, bootstrap
from dtreward.tree.tree import Differences

ALL_BUT_EQUAL = 0.999  # a correlation from which two regressors cannot be told apart
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
    rows = []
    for name, column in zip(attributes, differences.T, strict=True):
        measured = _kappa_and_strength(column, preference, prompts, **options)
        measured["effect at equal length"] = _effect(column, preference, longer, prompts)
        for measure in MEASURES:
            row = {"attribute": name, "measure": measure}
            rows.append(row | measured[measure].as_dict())
    return pd.DataFrame(rows)


def _kappa_and_strength(
    difference: Float[np.ndarray, " pairs"],
    preference: Shaped[np.ndarray, " pairs"],
    prompts: Prompts,
    **options: int,
) -> dict[str, Interval]:
    """Give the measures that rest on which response has more."""
    differs = difference != 0
    has_more = (difference > 0).astype(float)
    prefers = np.asarray(preference, float)
    agree = (has_more == prefers) & differs
    # Means of these columns give every measure; a constant answer would agree by chance.
    moments = np.stack([differs, agree, has_more * differs, prefers * differs], axis=1)

    def kappa(means):
        with np.errstate(invalid="ignore", divide="ignore"):
            agreement, more, second = np.moveaxis(means[..., 1:] / means[..., :1], -1, 0)
            by_chance = more * second + (1 - more) * (1 - second)
            return (agreement - by_chance) / (1 - by_chance)

    def strength(means):
        return kappa(means) * means[..., 0]

    def share(means):
        return means[..., 0]

    if not differs.any():
        nothing = Interval(np.nan, np.nan, np.nan)
        return {"differs": Interval(0.0, 0.0, 0.0), "kappa": nothing, "strength": nothing}
    values = moments.astype(float)
    return {
        "differs": bootstrap(values, prompts, share, **options),
        "kappa": bootstrap(values, prompts, kappa, **options),
        "strength": bootstrap(values, prompts, strength, **options),
    }


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

"""Tables of what sways judges, as a notebook shows them: estimates with their intervals, as text."""

from __future__ import annotations

import math

import pandas as pd

from dtreward.judges.biases import MEASURES, REFERENCES
from dtreward.stats import Interval

TITLES = {
    "consistency": "consistency",
    "first": "names the first, contradicting itself",
    "length_effect": "length effect",
    "beyond_length": "agreement beyond length",
    "takes_longer": "takes the longer",
}
MOST_ROWS = 12
NOT_KNOWN = "–"


def bias_table(biases: pd.DataFrame, prefers_longer: float) -> pd.DataFrame:
    """Show the biases of each judge, and below them what a coin, a position, length and people reach.

    Args:
        biases: as `biases.measure_biases` gives them.
        prefers_longer: share of pairs in which people prefer the longer response.
    """
    shown = pd.DataFrame({"pairs": biases["pairs"].map(str)})
    references = REFERENCES.map("{:.3f}".format)
    references.loc["people", "takes_longer"] = f"{prefers_longer:.3f}"
    for name in MEASURES:
        shown[name] = interval_texts(biases, name)
    table = pd.concat([shown, references]).fillna(NOT_KNOWN).replace("nan", NOT_KNOWN)
    return table.rename(columns=TITLES)


def largest_changes(changes: pd.DataFrame) -> pd.DataFrame:
    """Show the largest differences between judges of one family that are told (p below 0.05).

    Args:
        changes: as `family.compare_in_families` gives them, with the set of pairs in `pairs_of`.
    """
    told = changes[changes["p"] < 0.05]
    told = told.loc[told["difference"].abs().sort_values(ascending=False).index].head(MOST_ROWS)
    shown = told[["pairs_of", "judge", "other", "measure", "pairs"]].copy()
    shown["other minus judge"] = interval_texts(told, "difference")
    shown["p"] = told["p"].map("{:.3f}".format)
    return shown.set_index("pairs_of")


def kept_table(kept: pd.DataFrame) -> pd.DataFrame:
    """Show where kept and contradicted pairs differ most clearly (the smallest p first).

    Args:
        kept: as `kept.compare_kept` gives it.
    """
    tested = kept[kept["p"].notna()].sort_values("p", kind="stable").head(MOST_ROWS)
    shown = tested[["measure", "judge", "prompts"]].copy()
    for name in ("kept", "dropped", "p"):
        shown[name] = tested[name].map("{:.3f}".format)
    shown["difference"] = interval_texts(tested, "difference")
    return shown.set_index(["measure", "judge"])


def interval_texts(table: pd.DataFrame, name: str) -> list[str]:
    """Write the intervals of one column, from name, name_low and name_high.

    >>> table = pd.DataFrame({"x": [0.5, None], "x_low": [0.4, None], "x_high": [0.6, None]})
    >>> interval_texts(table, "x")
    ['0.500 [0.400, 0.600]', '–']
    """
    ends = table[[name, f"{name}_low", f"{name}_high"]].astype(float)
    texts = []
    for estimate, low, high in ends.itertuples(index=False):
        is_known = not math.isnan(estimate)
        texts.append(str(Interval(estimate, low, high)) if is_known else NOT_KNOWN)
    return texts
